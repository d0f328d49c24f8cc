//! What happened meanwhile, for the footer of the next answer.
//!
//! Folds the session's own event stream; costs no call. What must hold: each piece of news is told once, and
//! nothing that the agent did or has already been shown is news. Answers and events overtake each other, so
//! both are compared by revision.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mesh_client::proto::event::Event as Kind;
use mesh_client::proto::{
    AcquireLocksRequest, EventBatch, LeaveCause, ListLocksRequest, ListMessagesRequest, Lock, LockMode,
    MessageSent, UnlockCause,
};
use mesh_client::{Acquired, ErrorReason, Session, SessionEvents, SessionNews};
use tokio::time::Instant;

use crate::args::is_replaced;
use crate::mail::Letters;
use crate::render::{duration, left, word, words};

/// Unread messages remembered one by one; older ones are only counted.
const MAIL: usize = 1000;
/// Own locks listed in an answer.
const LISTED: usize = 20;
/// Senders and paths named in a footer.
const NAMED: usize = 3;

/// A lock of this peer, as last granted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    /// Fencing token: the revision of the grant.
    pub(crate) token: u64,
    /// Whether others may share it.
    pub(crate) shared: bool,
    /// Why it was taken.
    pub(crate) reason: String,
    /// When it ends by itself.
    pub(crate) until: Instant,
}

/// A message that was not yet acknowledged.
#[derive(Debug)]
struct Unread {
    revision: u64,
    from: String,
    urgent: bool,
}

/// Whether an answer came from the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// It did.
    Yes,
    /// It may not have.
    Unknown,
}

/// What the agent may not know yet.
#[derive(Debug, Default)]
pub(crate) struct News {
    me: String,
    /// Unread messages as of `counted`, and those since.
    unread: u32,
    counted: u64,
    since: VecDeque<Unread>,
    /// The newest message that was told.
    told: u64,
    locks: BTreeMap<String, Held>,
    lost: BTreeMap<String, &'static str>,
    /// How often the session began anew, and whether the connection broke.
    rejoined: bool,
    interrupted: bool,
    incomplete: bool,
    /// Another process of the same conversation is this peer now.
    pub(crate) replaced: bool,
    /// Messages that may be answered.
    pub(crate) letters: Letters,
}

/// The news of one session, shared between the calls and the task that follows the events.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedNews(Arc<Mutex<News>>);

impl SharedNews {
    /// News of a session that has just begun.
    pub(crate) fn new(session: &Session) -> Self {
        let revision = session.joined_at().map(|cursor| cursor.revision).unwrap_or_default();
        let news = News {
            me: session.peer().name,
            unread: session.unread_at_join(),
            counted: revision,
            ..News::default()
        };
        Self(Arc::new(Mutex::new(news)))
    }

    /// The news. Never held across an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, News> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the session's events until it is left, or taken over by another process.
    pub(crate) async fn follow(self, session: Session, mut events: SessionEvents) {
        while let Some(item) = events.next().await {
            match item {
                Ok(SessionNews::Batch(batch)) => {
                    let mut news = self.lock();
                    news.happened(&batch);
                    news.replaced |= replaces(&batch, &session);
                }
                Ok(SessionNews::Rejoined(_)) => {
                    self.lock().rejoined = true;
                    self.take_locks_again(&session).await;
                }
                Ok(SessionNews::Interrupted(_)) => self.lock().interrupted = true,
                // A kind of news that a later client knows.
                Ok(_) => {}
                Err(error) if is_replaced(&error) => {
                    self.lock().replaced = true;
                    return;
                }
                // Joining again follows, and is told then.
                Err(error) if error.reason() == Some(ErrorReason::SessionExpired) => {}
                Err(error) => {
                    tracing::warn!(%error, "events of the session are missing");
                    self.count_anew(&session).await;
                }
            }
        }
    }

    /// Locks of this very peer from a session that broke off, as when the host starts the adapter anew: they
    /// linger for a moment, waiting for this.
    pub(crate) async fn take_over_locks(&self, session: &Session) {
        let peer = session.peer();
        let request = ListLocksRequest {
            scope: peer.scope,
            holder: peer.name,
            page_size: 1000,
            ..ListLocksRequest::default()
        };
        let Ok(answer) = session.list_locks(request).await else { return };
        for lock in answer.locks.into_iter().filter(|lock| lock.session_id != peer.session_id) {
            let request = AcquireLocksRequest {
                mode: lock.mode,
                ttl: lock.ttl,
                reason: lock.reason,
                ..AcquireLocksRequest::default()
            };
            self.take_again(session, lock.path, request).await;
        }
    }

    /// After the session began anew: its locks linger for this very peer, unless it was away for too long.
    async fn take_locks_again(&self, session: &Session) {
        let held = self.lock().locks.clone();
        for (path, lock) in held {
            let left = lock.until.saturating_duration_since(Instant::now());
            if left < Duration::from_secs(1) {
                continue;
            }
            let mode = if lock.shared { LockMode::Shared } else { LockMode::Exclusive };
            let request = AcquireLocksRequest {
                mode: mode.into(),
                ttl: left.try_into().ok(),
                reason: lock.reason,
                ..AcquireLocksRequest::default()
            };
            self.take_again(session, path, request).await;
        }
    }

    async fn take_again(&self, session: &Session, path: String, request: AcquireLocksRequest) {
        let request = AcquireLocksRequest { paths: vec![path.clone()], ..request };
        match session.acquire(request).await {
            Ok(Acquired::Granted(locks)) => self.lock().granted(&locks),
            Ok(Acquired::Refused(_)) => self.lock().lose(path, "another agent took it while you were away"),
            Err(error) => {
                tracing::warn!(%error, path, "a lock could not be taken again");
                self.lock().lose(path, "it could not be taken again");
            }
        }
    }

    /// After a gap in the events: asks for what they would have told.
    async fn count_anew(&self, session: &Session) {
        self.lock().incomplete = true;
        let request = ListMessagesRequest { limit: 1, ..ListMessagesRequest::default() };
        if let Ok(inbox) = session.inbox(request).await {
            let revision = inbox.header.map(|header| header.revision).unwrap_or_default();
            self.lock().count(inbox.unread, revision);
        }
        let holder = self.lock().me.clone();
        let request =
            ListLocksRequest { scope: session.scope(), holder, page_size: 1000, ..Default::default() };
        if let Ok(answer) = session.list_locks(request).await {
            let revision = answer.header.map(|header| header.revision).unwrap_or_default();
            let mut news = self.lock();
            let gone = |(path, held): (&String, &Held)| {
                let there = answer.locks.iter().any(|lock| lock.path == *path);
                (!there && held.token <= revision).then(|| path.clone())
            };
            let gone: Vec<_> = news.locks.iter().filter_map(gone).collect();
            for path in gone {
                news.lose(path, "it ended");
            }
        }
    }
}

impl News {
    /// A batch of events.
    fn happened(&mut self, batch: &EventBatch) {
        for event in &batch.events {
            match &event.event {
                Some(Kind::MessageSent(message)) => self.message(batch.revision, message),
                Some(Kind::FileUnlocked(ended)) if ended.holder == self.me => {
                    self.unlocked(batch.revision, &ended.paths, ended.cause());
                }
                _ => {}
            }
        }
    }

    fn message(&mut self, revision: u64, message: &MessageSent) {
        let for_me = message.from != self.me && (message.broadcast || message.to.contains(&self.me));
        if !for_me || revision <= self.counted {
            return;
        }
        if self.since.len() == MAIL {
            self.since.pop_front();
            self.unread += 1;
        }
        self.since.push_back(Unread { revision, from: message.from.clone(), urgent: message.urgent });
    }

    fn unlocked(&mut self, revision: u64, paths: &[String], cause: UnlockCause) {
        let why = match cause {
            UnlockCause::Expired => Some("its ttl ran out"),
            UnlockCause::SessionEnded => Some("your session had ended"),
            // The agent's own doing.
            UnlockCause::Released | UnlockCause::Left | UnlockCause::Unspecified => None,
        };
        for path in paths {
            // A lock granted since is another one.
            if self.locks.get(path).is_none_or(|held| held.token > revision) {
                continue;
            }
            match why {
                Some(why) => self.lose(path.clone(), why),
                None => drop(self.locks.remove(path)),
            }
        }
    }

    fn lose(&mut self, path: String, why: &'static str) {
        self.locks.remove(&path);
        self.lost.insert(path, why);
    }

    /// Own locks, as an answer told them.
    pub(crate) fn granted(&mut self, locks: &[Lock]) {
        for lock in locks {
            let held = Held {
                token: lock.fencing_token,
                shared: lock.mode() == LockMode::Shared,
                reason: lock.reason.clone(),
                until: Instant::now() + duration(lock.remaining.or(lock.ttl)),
            };
            self.lost.remove(&lock.path);
            self.locks.insert(lock.path.clone(), held);
        }
    }

    /// Own locks that were given up.
    pub(crate) fn released(&mut self, paths: &[String]) {
        for path in paths {
            self.locks.remove(path);
        }
    }

    /// Own locks by path.
    pub(crate) fn locks(&self) -> &BTreeMap<String, Held> {
        &self.locks
    }

    /// The inbox as an answer told it to the agent.
    pub(crate) fn shown(&mut self, unread: u32, revision: u64) {
        self.count(unread, revision);
        self.told = self.told.max(revision);
    }

    fn count(&mut self, unread: u32, revision: u64) {
        if revision >= self.counted {
            self.unread = unread;
            self.counted = revision;
            self.since.retain(|message| message.revision > revision);
        }
    }

    /// Lines to append to an answer, each after `\n`; empty without news. What they tell is no longer news.
    /// `reached` says that the answer came from the broker, so that the connection is there.
    pub(crate) fn footer(&mut self, reached: Reached) -> String {
        let mut out = String::new();
        if self.rejoined {
            _ = write!(out, "\n[mesh] your session had ended; you are {} again", self.me);
            (self.rejoined, self.interrupted) = (false, false);
        }
        if self.interrupted && reached == Reached::Yes {
            out.push_str("\n[mesh] the connection to the broker was lost and is back; nothing was missed");
            self.interrupted = false;
        }
        if std::mem::take(&mut self.incomplete) {
            out.push_str("\n[mesh] some events are no longer kept: see mesh_who and mesh_locks");
        }
        if let Some(why) = self.lost.values().next() {
            let paths = words(self.lost.keys(), NAMED);
            _ = write!(out, "\n[mesh] you lost the lock on {paths} ({why}). mesh_lock again before editing");
            self.lost.clear();
        }
        self.mail_footer(&mut out);
        out
    }

    fn mail_footer(&mut self, out: &mut String) {
        let newest = self.since.back().map_or(self.counted, |message| message.revision);
        let unread = self.unread as usize + self.since.len();
        if unread == 0 || newest <= self.told {
            return;
        }
        _ = write!(out, "\n[mesh] {unread} unread");
        let mut senders = Vec::new();
        for message in self.since.iter().rev() {
            if senders.len() < NAMED && !senders.contains(&&message.from) {
                senders.push(&message.from);
            }
        }
        if !senders.is_empty() {
            _ = write!(out, " (newest from {})", words(senders, NAMED));
        }
        let urgent = self.since.iter().any(|message| message.urgent && message.revision > self.told);
        out.push_str(if urgent { ", URGENT: mesh_inbox now" } else { ": mesh_inbox" });
        self.told = newest;
    }
}

/// Whether the session ended because another process joined as this peer.
fn replaces(batch: &EventBatch, session: &Session) -> bool {
    batch.events.iter().any(|event| match &event.event {
        Some(Kind::PeerLeft(left)) if left.cause() == LeaveCause::Replaced => {
            left.session_id == session.peer().session_id
        }
        _ => false,
    })
}

/// Own locks as `path (29m left)`.
pub(crate) fn held_list(locks: &BTreeMap<String, Held>) -> String {
    let now = Instant::now();
    let item = |(path, held): (&String, &Held)| {
        let left = left(held.until.saturating_duration_since(now));
        format!("{} ({left} left)", word(path))
    };
    let mut out = locks.iter().take(LISTED).map(item).collect::<Vec<_>>().join(", ");
    if locks.len() > LISTED {
        _ = write!(out, " and {} more", locks.len() - LISTED);
    }
    out
}

#[cfg(test)]
mod tests {
    use mesh_client::proto::{Event, FileUnlocked};

    use super::*;

    fn news() -> News {
        News { me: "me".into(), ..News::default() }
    }

    fn batch(revision: u64, kind: Kind) -> EventBatch {
        EventBatch { revision, events: vec![Event { event: Some(kind) }], ..EventBatch::default() }
    }

    fn mail(revision: u64, from: &str, to: &[&str], urgent: bool) -> EventBatch {
        let to: Vec<String> = to.iter().map(|&name| name.to_owned()).collect();
        let broadcast = to.is_empty();
        let message = MessageSent { from: from.into(), to, broadcast, urgent, ..MessageSent::default() };
        batch(revision, Kind::MessageSent(message))
    }

    fn unlocked(revision: u64, holder: &str, path: &str, cause: UnlockCause) -> EventBatch {
        let ended = FileUnlocked { holder: holder.into(), paths: vec![path.into()], cause: cause.into() };
        batch(revision, Kind::FileUnlocked(ended))
    }

    fn lock(path: &str, token: u64) -> Lock {
        Lock { path: path.into(), holder: "me".into(), fencing_token: token, ..Lock::default() }
    }

    #[tokio::test]
    async fn mail_is_told_once_and_again_when_it_grows() {
        let mut news = news();
        assert_eq!(news.footer(Reached::Yes), "");
        news.happened(&mail(5, "birch", &["me"], false));
        news.happened(&mail(6, "elm", &[], false));
        news.happened(&mail(7, "me", &[], false));
        news.happened(&mail(8, "elm", &["other"], false));
        assert_eq!(news.footer(Reached::Yes), "\n[mesh] 2 unread (newest from elm, birch): mesh_inbox");
        assert_eq!(news.footer(Reached::Yes), "");
        news.happened(&mail(9, "birch", &["me"], true));
        assert_eq!(
            news.footer(Reached::Yes),
            "\n[mesh] 3 unread (newest from birch, elm), URGENT: mesh_inbox now"
        );
    }

    #[tokio::test]
    async fn what_an_answer_showed_is_not_news_whichever_came_first() {
        let mut news = news();
        news.happened(&mail(5, "birch", &["me"], false));
        news.shown(1, 6);
        assert_eq!(news.footer(Reached::Yes), "");
        // The event of a message that the answer already counted.
        news.happened(&mail(6, "elm", &["me"], false));
        assert_eq!(news.footer(Reached::Yes), "");
        news.happened(&mail(9, "fir", &["me"], false));
        // An older answer arrives late, then one after an acknowledgement.
        news.shown(0, 4);
        assert_eq!(news.footer(Reached::Yes), "\n[mesh] 2 unread (newest from fir): mesh_inbox");
        news.shown(0, 10);
        assert_eq!(news.footer(Reached::Yes), "");
    }

    #[tokio::test]
    async fn mail_that_waited_is_told_at_the_first_answer() {
        let mut news = News { unread: 2, counted: 3, ..news() };
        assert_eq!(news.footer(Reached::Yes), "\n[mesh] 2 unread: mesh_inbox");
        assert_eq!(news.footer(Reached::Yes), "");
    }

    #[tokio::test]
    async fn only_a_lock_that_ended_by_itself_is_lost() {
        let mut news = news();
        news.granted(&[lock("a", 5), lock("b", 5), lock("c", 5), lock("d", 9)]);
        news.happened(&unlocked(7, "me", "a", UnlockCause::Expired));
        news.happened(&unlocked(7, "me", "b", UnlockCause::Released));
        news.happened(&unlocked(7, "other", "c", UnlockCause::Expired));
        news.happened(&unlocked(7, "me", "d", UnlockCause::Expired));
        assert_eq!(news.locks().keys().collect::<Vec<_>>(), ["c", "d"]);
        let footer = news.footer(Reached::Yes);
        assert_eq!(
            footer,
            "\n[mesh] you lost the lock on a (its ttl ran out). mesh_lock again before editing"
        );
        assert_eq!(news.footer(Reached::Yes), "");
    }

    #[tokio::test]
    async fn a_lock_taken_again_was_not_lost() {
        let mut news = news();
        news.granted(&[lock("a", 5)]);
        news.happened(&unlocked(7, "me", "a", UnlockCause::SessionEnded));
        news.granted(&[lock("a", 8)]);
        news.rejoined = true;
        news.interrupted = true;
        assert_eq!(news.footer(Reached::Yes), "\n[mesh] your session had ended; you are me again");
        assert_eq!(news.footer(Reached::Yes), "");
    }

    #[tokio::test]
    async fn a_connection_is_back_when_the_broker_answers() {
        let mut news = News { interrupted: true, ..news() };
        assert_eq!(news.footer(Reached::Unknown), "");
        assert!(news.footer(Reached::Yes).contains("is back"));
        assert_eq!(news.footer(Reached::Yes), "");
    }

    #[tokio::test]
    async fn the_memory_of_mail_is_bounded() {
        let mut news = news();
        for revision in 1..=2 * MAIL as u64 {
            news.happened(&mail(revision, "birch", &["me"], false));
        }
        assert_eq!(news.since.len(), MAIL);
        assert!(news.footer(Reached::Yes).contains("2000 unread"));
    }
}
