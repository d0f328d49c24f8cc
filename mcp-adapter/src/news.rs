//! What happened meanwhile, for the footer of the next answer.
//!
//! Folds the session's own event stream; costs no call. What must hold: each piece of news is told once, and
//! nothing that the agent did or has already been shown is news. Answers and events overtake each other, so
//! both are compared by revision. What is remembered is bounded, whatever happens.

mod fold;
mod requests;
mod signals;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mesh_client::proto::event::Event as Kind;
use mesh_client::proto::{
    AcquireLocksRequest, EventBatch, LeaveCause, ListLocksRequest, ListMessagesRequest,
    ListReleaseRequestsRequest, LockMode,
};
use mesh_client::{Acquired, ClientError, ErrorReason, Session, SessionEvents, SessionNews};
use tokio::time::Instant;

pub(crate) use self::fold::{Held, News};
pub(crate) use self::requests::asked;
pub use self::requests::asks;
pub(crate) use self::signals::{Changes, Signals, Waiting};
use crate::args::is_replaced;
use crate::render::{left, word};

/// Own locks listed in an answer.
const LISTED: usize = 20;
/// Senders, paths and the like named in a footer.
const NAMED: usize = 3;

/// Whether an answer came from the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// It did.
    Yes,
    /// It may not have.
    Unknown,
}

/// The news of one session, shared between the calls and the task that follows the events.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedNews {
    news: Arc<Mutex<News>>,
    /// For those who look when something has changed.
    pub(crate) signals: Signals,
}

impl SharedNews {
    /// News of a session that has just begun.
    pub(crate) fn new(session: &Session, signals: Signals) -> Self {
        let revision = session.joined_at().map(|cursor| cursor.revision).unwrap_or_default();
        let news = News::new(&session.peer(), session.unread_at_join(), revision);
        Self { news: Arc::new(Mutex::new(news)), signals }
    }

    /// The news. Never held across an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While this lives, a call reads mail or waits for it, whose answer the agent gets: nothing else need tell it.
    pub(crate) fn waiting(&self) -> Waiting {
        self.lock().waiting += 1;
        Waiting::new(self.clone())
    }

    /// Follows the session's events until it is left, or taken over by another process.
    pub(crate) async fn follow(self, session: Session, mut events: SessionEvents) {
        while let Some(item) = events.next().await {
            match item {
                Ok(SessionNews::Batch(batch)) => {
                    let touched = {
                        let mut news = self.lock();
                        news.replaced |= !session.is_shared() && replaces(&batch, &session);
                        news.happened(&batch)
                    };
                    self.signals.raise(touched);
                }
                Ok(SessionNews::Rejoined(_)) => {
                    self.lock().rejoined = true;
                    self.take_locks_again(&session).await;
                    self.learn_requests(&session).await;
                    self.signals.mail();
                }
                Ok(SessionNews::Interrupted(_)) => self.lock().interrupted = true,
                // A kind of news that a later client knows.
                Ok(_) => {}
                Err(error) if is_replaced(&error) => {
                    self.lock().replaced = true;
                    return;
                }
                Err(ClientError::SessionLeft) => {
                    self.lock().left = true;
                    self.signals.turn();
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

    /// Requests to make way that this peer has not answered, from a time whose events it did not see.
    pub(crate) async fn learn_requests(&self, session: &Session) {
        let peer = session.peer();
        let request =
            ListReleaseRequestsRequest { scope: peer.scope, holder: peer.name, from: String::new() };
        match session.list_release_requests(request).await {
            Ok(answer) => answer.requests.iter().for_each(|request| self.lock().asked(request)),
            Err(error) => tracing::warn!(%error, "requests to make way may be missing"),
        }
    }

    /// After the session began anew: its locks linger for this very peer, unless it was away for too long.
    async fn take_locks_again(&self, session: &Session) {
        let held = self.lock().locks().clone();
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
        match session.acquire_again(request).await {
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
        self.catch_up(session).await;
        self.signals.mail();
    }

    /// What there is to know of a session that was there before: unread mail, its locks, who asks for them.
    pub(crate) async fn catch_up(&self, session: &Session) {
        let request = ListMessagesRequest { limit: 1, ..ListMessagesRequest::default() };
        if let Ok(inbox) = session.inbox(request).await {
            let revision = inbox.header.map(|header| header.revision).unwrap_or_default();
            self.lock().count(inbox.unread, revision);
        }
        let peer = session.peer();
        let request = ListLocksRequest {
            scope: peer.scope,
            holder: peer.name,
            page_size: 1000,
            ..ListLocksRequest::default()
        };
        if let Ok(answer) = session.list_locks(request).await {
            let revision = answer.header.map(|header| header.revision).unwrap_or_default();
            let mut news = self.lock();
            news.only_these(&answer.locks, revision);
            news.granted(&answer.locks);
        }
        self.learn_requests(session).await;
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
