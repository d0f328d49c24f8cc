//! The event log as readers see it: a ring of recent transactions in memory, the whole history in the store, and
//! a [`Subscription`] that is a cursor over both.
//!
//! What must hold: a subscription sees every transaction after its cursor once and in order, or learns that the
//! history no longer goes back that far. It holds no queue: a slow reader costs the others nothing and reads the
//! store when the ring has moved on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use mesh_core::limits::{CHUNK, CHUNK_BYTES, HISTORY_SLOTS, RING_BYTES};
use mesh_core::mutation::{Mutation, planted};
use mesh_core::record::LogRecord;
use mesh_core::revision::Revision;
use thiserror::Error;
use tokio::sync::Notify;

use crate::records;
use crate::store::{Store, StoreError};

/// Why the log cannot be read on.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The history no longer goes back that far.
    #[error("the history goes back to revision {}", oldest.0)]
    Compacted {
        /// The oldest revision kept.
        oldest: Revision,
        /// The newest revision.
        head: Revision,
    },
    /// The broker is shutting down.
    #[error("the broker is shutting down")]
    Closed,
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The shared log.
#[derive(Clone, Debug)]
pub struct EventLog {
    ring: Arc<RwLock<Ring>>,
    head: Arc<Head>,
    store: Arc<dyn Store>,
}

/// The writer's end of the log.
#[derive(Debug)]
pub struct Publisher {
    ring: Arc<RwLock<Ring>>,
    head: Arc<Head>,
}

/// How far the log goes. Who waits for more is woken in the order of waiting.
#[derive(Debug)]
struct Head {
    revision: AtomicU64,
    closed: AtomicBool,
    moved: Notify,
}

#[derive(Debug)]
struct Ring {
    /// Consecutive revisions, the newest last.
    recent: VecDeque<Arc<LogRecord>>,
    /// About how many bytes they take.
    bytes: usize,
    capacity: usize,
    /// Oldest revision in the store; one past the newest when there is none.
    oldest: Revision,
}

/// A cursor over the log.
#[derive(Debug)]
pub struct Subscription {
    log: EventLog,
    next: Revision,
}

/// A log whose recent part is `recent` (consecutive, ending at `head`) and whose history begins at `oldest`.
#[must_use]
pub fn open(
    store: Arc<dyn Store>,
    recent: VecDeque<Arc<LogRecord>>,
    oldest: Revision,
    head: Revision,
    capacity: usize,
) -> (EventLog, Publisher) {
    let bytes = recent.iter().map(|log| log.weight()).sum();
    let mut ring = Ring { recent, bytes, capacity, oldest };
    ring.shrink();
    let ring = Arc::new(RwLock::new(ring));
    let head =
        Head { revision: AtomicU64::new(head.0), closed: AtomicBool::new(false), moved: Notify::new() };
    let head = Arc::new(head);
    (EventLog { ring: ring.clone(), head: head.clone(), store }, Publisher { ring, head })
}

impl Publisher {
    /// Makes durable transactions visible, and wakes the readers once.
    pub fn publish(&self, batch: impl Iterator<Item = Arc<LogRecord>>) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        for log in batch {
            ring.bytes += log.weight();
            ring.recent.push_back(log);
        }
        ring.shrink();
        let Some(head) = ring.recent.back().map(|log| log.revision) else { return };
        // The slot of each new transaction was that of an old one.
        ring.oldest = ring.oldest.max(Revision((head.0 + 1).saturating_sub(HISTORY_SLOTS)));
        drop(ring);
        self.head.revision.store(head.0, Ordering::Release);
        self.head.moved.notify_waiters();
    }

    /// History before this revision is gone.
    pub fn compacted(&self, oldest: Revision) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        ring.oldest = ring.oldest.max(oldest);
        while ring.recent.front().is_some_and(|log| log.revision < oldest) {
            ring.drop_oldest();
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.head.closed.store(true, Ordering::Release);
        self.head.moved.notify_waiters();
    }
}

impl Ring {
    /// Lets go of what is beyond the bounds; the newest always stays.
    fn shrink(&mut self) {
        while self.recent.len() > self.capacity.max(1) || (self.bytes > RING_BYTES && self.recent.len() > 1) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(log) = self.recent.pop_front() {
            self.bytes -= log.weight();
        }
    }
}

impl EventLog {
    /// The newest revision.
    #[must_use]
    pub fn head(&self) -> Revision {
        Revision(self.head.revision.load(Ordering::Acquire))
    }

    /// The oldest revision kept; one past the newest when none is.
    #[must_use]
    pub fn oldest(&self) -> Revision {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).oldest
    }

    /// Waits until everything up to this revision can be read. Cancel safe.
    pub async fn reached(&self, revision: Revision) -> Result<(), ReadError> {
        loop {
            // Listening before looking, so that nothing comes between.
            let mut moved = std::pin::pin!(self.head.moved.notified());
            moved.as_mut().enable();
            if self.head() >= revision {
                return Ok(());
            }
            if self.head.closed.load(Ordering::Acquire) {
                return Err(ReadError::Closed);
            }
            moved.await;
        }
    }

    /// One transaction; none when it is not kept any more, or not there yet.
    pub async fn get(&self, revision: Revision) -> Result<Option<Arc<LogRecord>>, ReadError> {
        {
            let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
            if revision < ring.oldest || revision > self.head() {
                return Ok(None);
            }
            if let Some(first) = ring.recent.front()
                && first.revision <= revision
            {
                let at = usize::try_from(revision.0 - first.revision.0).unwrap_or(usize::MAX);
                return Ok(ring.recent.get(at).cloned());
            }
        }
        let found = self.read_store(revision, revision).await?;
        Ok(found.into_iter().next())
    }

    /// A cursor whose next revision is `start`.
    #[must_use]
    pub fn subscribe(&self, start: Revision) -> Subscription {
        Subscription { log: self.clone(), next: start }
    }

    /// Up to a chunk of transactions from a revision on; none when there are none yet.
    async fn read(&self, from: Revision) -> Result<Vec<Arc<LogRecord>>, ReadError> {
        let from = if planted(Mutation::CompactionNotTold) { from.max(self.oldest()) } else { from };
        let head = self.head();
        if from > head {
            return Ok(Vec::new());
        }
        {
            let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
            if from < ring.oldest && !planted(Mutation::CompactionNotTold) {
                return Err(ReadError::Compacted { oldest: ring.oldest, head });
            }
            if let Some(first) = ring.recent.front()
                && first.revision <= from
            {
                let late = u64::from(from < head && planted(Mutation::RingOffByOne));
                let skip = usize::try_from(from.0 - first.revision.0 + late).unwrap_or(usize::MAX);
                let seen = ring.recent.iter().skip(skip).take_while(|log| log.revision <= head);
                let mut room = CHUNK_BYTES;
                let fits = |log: &&Arc<LogRecord>| {
                    let fits = room > 0;
                    room = room.saturating_sub(log.weight());
                    fits
                };
                let chunk = seen.take(usize::try_from(CHUNK).unwrap_or(usize::MAX)).take_while(fits);
                return Ok(chunk.cloned().collect());
            }
        }
        let to = Revision(head.0.min(from.0 + CHUNK - 1));
        let found = self.read_store(from, to).await?;
        // The writer may have taken slots over while they were read, and not have said so yet.
        if found.first().is_none_or(|log| log.revision != from) {
            return Err(ReadError::Compacted { oldest: self.oldest().max(from.next()), head });
        }
        Ok(found)
    }
}

impl EventLog {
    /// Reads slots on a thread of their own, if the store may be waited for.
    async fn read_store(&self, from: Revision, to: Revision) -> Result<Vec<Arc<LogRecord>>, ReadError> {
        if !self.store.reads_wait() {
            return Ok(read_slots(self.store.as_ref(), from, to)?);
        }
        let store = self.store.clone();
        let read = move || read_slots(store.as_ref(), from, to);
        Ok(tokio::task::spawn_blocking(read).await.map_err(|_| ReadError::Closed)??)
    }
}

impl Subscription {
    /// The next revision to be delivered.
    #[must_use]
    pub fn position(&self) -> Revision {
        self.next
    }

    /// The next transactions, waiting until there are some. Cancel safe.
    pub async fn next(&mut self) -> Result<Vec<Arc<LogRecord>>, ReadError> {
        loop {
            let found = self.ready().await?;
            if !found.is_empty() {
                return Ok(found);
            }
            let next = self.next;
            self.log.reached(next).await?;
        }
    }

    /// The next transactions that are there already. Cancel safe.
    pub async fn ready(&mut self) -> Result<Vec<Arc<LogRecord>>, ReadError> {
        let found = self.log.read(self.next).await?;
        if let Some(last) = found.last() {
            self.next = last.revision.next();
        }
        Ok(found)
    }
}

/// The transactions of these revisions, as many as make a chunk, up to the first whose slot holds another by now.
fn read_slots(store: &dyn Store, from: Revision, to: Revision) -> Result<Vec<Arc<LogRecord>>, StoreError> {
    let mut found = Vec::new();
    let mut bytes = 0;
    let from = if planted(Mutation::HistoryOffByOne) { from.next() } else { from };
    for revision in from.0..=to.0 {
        if bytes > CHUNK_BYTES {
            break;
        }
        let Some(value) = store.get(&records::log_key(Revision(revision)))? else { break };
        bytes += value.len();
        let Some(log) = records::decode_log(&value)? else { break };
        if log.revision.0 != revision {
            break;
        }
        found.push(Arc::new(log));
    }
    Ok(found)
}
