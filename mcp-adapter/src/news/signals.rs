//! When to look: for what pushes mail to the agent, and for who has subscribed to the inbox.

use std::sync::Arc;

use tokio::sync::watch;

use super::SharedNews;

/// What has changed how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    mail: u64,
    turns: u64,
}

/// What a batch of events has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    /// The unread mail.
    pub(super) mail: bool,
    /// Whether there may be something to wake the agent for.
    pub(super) turn: bool,
}

/// The end of those who tell. Clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals(Arc<watch::Sender<Counts>>);

/// The end of one who looks.
#[derive(Debug)]
pub(crate) struct Changes {
    counts: watch::Receiver<Counts>,
    seen: Counts,
}

impl Signals {
    /// The unread mail has changed.
    pub(crate) fn mail(&self) {
        self.raise(Touched { mail: true, turn: false });
    }

    /// There may be something to wake the agent for, though there is no new mail.
    pub(crate) fn turn(&self) {
        self.raise(Touched { mail: false, turn: true });
    }

    pub(super) fn raise(&self, touched: Touched) {
        if touched != Touched::default() {
            self.0.send_modify(|counts| {
                counts.mail += u64::from(touched.mail);
                counts.turns += u64::from(touched.turn);
            });
        }
    }

    /// Changes from now on.
    pub(crate) fn changes(&self) -> Changes {
        let counts = self.0.subscribe();
        let seen = *counts.borrow();
        Changes { counts, seen }
    }
}

impl Changes {
    /// Returns at the next change; false when there can be none.
    pub(crate) async fn any(&mut self) -> bool {
        self.next(|_, _| true).await
    }

    /// Returns when the unread mail has changed; false when it no longer can.
    pub(crate) async fn mail(&mut self) -> bool {
        self.next(|seen, now| now.mail != seen.mail).await
    }

    async fn next(&mut self, matters: impl Fn(Counts, Counts) -> bool) -> bool {
        loop {
            let now = *self.counts.borrow_and_update();
            let seen = std::mem::replace(&mut self.seen, now);
            if now != seen && matters(seen, now) {
                return true;
            }
            if self.counts.changed().await.is_err() {
                return false;
            }
        }
    }
}

/// A call that waits for mail.
#[derive(Debug)]
pub(crate) struct Waiting(SharedNews);

impl Waiting {
    pub(super) fn new(news: SharedNews) -> Self {
        Self(news)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
        self.0.signals.turn();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_looks_for_mail_is_told_of_mail_alone() {
        let signals = Signals::default();
        let (mut all, mut mail) = (signals.changes(), signals.changes());
        signals.turn();
        assert!(all.any().await);
        signals.mail();
        signals.mail();
        assert!(mail.mail().await && all.any().await);
        drop(signals);
        assert!(!mail.mail().await && !all.any().await, "what came together is one change");
    }

    #[tokio::test]
    async fn the_end_of_a_wait_is_a_time_to_look() {
        let news = SharedNews::default();
        let mut changes = news.signals.changes();
        let waiting = news.waiting();
        assert_eq!(news.lock().waiting, 1);
        drop(waiting);
        assert_eq!(news.lock().waiting, 0);
        assert!(changes.any().await);
    }
}
