//! Signs of life: when each session was last heard of, and how many streams it holds open.
//!
//! Touched by every call on a session and never written to disk. The writer asks here before it ends a session,
//! so a heartbeat costs one look-up and one store, and no deadline moves until it is reached.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use mesh_core::id::SessionId;
use mesh_core::time::Timestamp;

use crate::clock::Clock;
use crate::queue::{Connection, Handle};

/// All sessions' signs of life.
#[derive(Clone, Debug)]
pub struct Leases {
    clock: Clock,
    sessions: Arc<RwLock<HashMap<SessionId, Arc<Life>>>>,
    writer: Handle,
}

#[derive(Debug, Default)]
struct Life {
    last_seen: AtomicU64,
    streams: AtomicU32,
}

/// An open stream of a session; dropping it tells that the stream ended.
#[derive(Debug)]
pub struct Attachment {
    session: SessionId,
    connection: Connection,
    life: Arc<Life>,
    leases: Leases,
}

impl Leases {
    /// No sessions yet; the writer is told when one loses its last stream.
    #[must_use]
    pub fn new(clock: Clock, writer: Handle) -> Self {
        Self { clock, sessions: Arc::default(), writer }
    }

    /// A session begins, or is known again after a restart.
    pub fn begin(&self, session: SessionId) {
        let life = Life { last_seen: AtomicU64::new(self.clock.at().0), streams: AtomicU32::new(0) };
        self.sessions.write().unwrap_or_else(PoisonError::into_inner).insert(session, Arc::new(life));
    }

    /// A session is over.
    pub fn end(&self, session: SessionId) {
        self.sessions.write().unwrap_or_else(PoisonError::into_inner).remove(&session);
    }

    /// The session showed a sign of life. False when there is no such session.
    pub fn touch(&self, session: SessionId) -> bool {
        let Some(life) = self.life(session) else { return false };
        life.last_seen.fetch_max(self.clock.at().0, Ordering::Relaxed);
        true
    }

    /// Holds a stream on this connection open for the session; none when there is no such session.
    #[must_use]
    pub fn attach(&self, session: SessionId, connection: Connection) -> Option<Attachment> {
        let life = self.life(session)?;
        life.streams.fetch_add(1, Ordering::AcqRel);
        Some(Attachment { session, connection, life, leases: self.clone() })
    }

    /// When the session was last heard of: now while it holds a stream; none when there is no such session.
    #[must_use]
    pub fn last_seen(&self, session: SessionId) -> Option<Timestamp> {
        let life = self.life(session)?;
        Some(match life.streams.load(Ordering::Acquire) {
            0 => Timestamp(life.last_seen.load(Ordering::Relaxed)),
            _ => self.clock.at(),
        })
    }

    /// True while the session holds a stream.
    #[must_use]
    pub fn is_attached(&self, session: SessionId) -> bool {
        self.life(session).is_some_and(|life| life.streams.load(Ordering::Acquire) > 0)
    }

    fn life(&self, session: SessionId) -> Option<Arc<Life>> {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner).get(&session).cloned()
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let now = self.leases.clock.at();
        self.life.last_seen.fetch_max(now.0, Ordering::Relaxed);
        if self.life.streams.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.leases.writer.detached(self.session, self.connection.clone(), now);
        }
    }
}
