//! The history in the store: how far it goes back, and how what is past retention leaves it.

use mesh_core::limits::HISTORY_SLOTS;
use mesh_core::revision::Revision;
use mesh_core::state::Transaction;
use mesh_core::time::Timestamp;

use super::Writer;
use crate::records;
use crate::store::{Batch, MAX_BATCH_OPS, Op, StoreError};

/// History items deleted at a time, beside the day's work.
const TRIM_CHUNK: u64 = 64;

/// How far the history in the store goes back.
#[derive(Debug)]
pub(super) struct History {
    pub(super) oldest: Revision,
    /// When the oldest one was committed.
    pub(super) oldest_at: Timestamp,
}

impl Writer {
    pub(super) fn note_history(&mut self, committed: &[Transaction]) {
        let (Some(first), Some(last)) = (committed.first(), committed.last()) else { return };
        let oldest = Revision((last.log.revision.0 + 1).saturating_sub(HISTORY_SLOTS));
        if self.history.oldest >= first.log.revision {
            self.history.oldest_at = first.log.at;
        }
        self.history.oldest = self.history.oldest.max(oldest);
    }

    /// Empties the slot that the item of a revision will take, where what is in it leaves no room for that: an item is
    /// several operations of the store, and so is the removal of a longer one. The one in it is the oldest, and would
    /// go with the commit anyway.
    pub(super) fn empty_slot(&mut self, revision: Revision) -> Result<(), StoreError> {
        let oldest = Revision((revision.0 + 1).saturating_sub(HISTORY_SLOTS));
        if oldest > self.history.oldest {
            self.history.oldest = oldest;
            self.publisher.compacted(oldest);
        }
        self.store.commit(&Batch::from_iter([Op::Delete { key: records::log_key(revision) }]))
    }

    /// When the oldest item of the history is too old; the newest item always stays.
    pub(super) fn trim_deadline(&self) -> Option<Timestamp> {
        let head = self.state.revision();
        if self.history.oldest >= head {
            return None;
        }
        if head.0 - self.history.oldest.0 >= self.config.history_count + TRIM_CHUNK {
            return Some(Timestamp::default());
        }
        Some(self.history.oldest_at.after(self.config.history_age))
    }

    /// Deletes a chunk of the history that is past retention.
    pub fn trim(&mut self) -> Result<(), StoreError> {
        let now = self.clock.at();
        if self.trim_deadline().is_none_or(|at| at > now) {
            return Ok(());
        }
        let head = self.state.revision();
        let by_count = (head.0 + 1).saturating_sub(self.config.history_count);
        let mut batch = Batch::new();
        let mut cost = 0;
        let mut revision = self.history.oldest;
        while revision < head && revision.0 < self.history.oldest.0 + TRIM_CHUNK {
            let at = self.committed_at(revision)?;
            self.history.oldest_at = at;
            if revision.0 >= by_count && at.after(self.config.history_age) > now {
                break;
            }
            let delete = Op::Delete { key: records::log_key(revision) };
            cost += self.store.cost(&Batch::from_iter([delete.clone()]));
            if cost > MAX_BATCH_OPS {
                break;
            }
            batch.push(delete);
            revision = revision.next();
        }
        if revision == head {
            self.history.oldest_at = now;
        }
        self.publisher.compacted(revision);
        self.history.oldest = revision;
        if batch.is_empty() { Ok(()) } else { self.store.commit(&batch) }
    }

    /// When a transaction of the history was committed.
    fn committed_at(&self, revision: Revision) -> Result<Timestamp, StoreError> {
        let value = self.store.get(&records::log_key(revision))?;
        // A slot that is empty or taken is history that is gone, however it went.
        let log = value.as_deref().map(records::decode_log).transpose()?.flatten();
        Ok(log.filter(|log| log.revision == revision).map_or(Timestamp::default(), |log| log.at))
    }
}
