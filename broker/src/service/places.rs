//! Where each open Watch stream is in the event log, for whoever asks how far the slowest is behind.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_core::revision::Revision;

/// The places of all readers.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<Mutex<Readers>>);

#[derive(Debug, Default)]
struct Readers {
    next: u64,
    at: BTreeMap<u64, Arc<AtomicU64>>,
}

/// The place of one reader, known for as long as it lives.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    at: Arc<AtomicU64>,
    places: Places,
}

impl Places {
    /// A reader that is not behind until it says where it is.
    pub(super) fn take(&self) -> Place {
        let at = Arc::new(AtomicU64::new(u64::MAX));
        let mut readers = self.readers();
        let id = readers.next;
        readers.next += 1;
        readers.at.insert(id, at.clone());
        Place { id, at, places: self.clone() }
    }

    /// How many revisions the slowest reader has not looked at.
    pub(super) fn lag(&self, head: Revision) -> u64 {
        let slowest = self.readers().at.values().map(|at| at.load(Ordering::Relaxed)).min();
        slowest.map_or(0, |slowest| head.0.saturating_sub(slowest))
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Everything up to here was looked at.
    pub(super) fn reached(&self, revision: Revision) {
        self.at.store(revision.0, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.readers().at.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_reader_tells_the_lag_for_as_long_as_it_reads() {
        let places = Places::default();
        assert_eq!(places.lag(Revision(10)), 0);
        let (fast, slow) = (places.take(), places.take());
        assert_eq!(places.lag(Revision(10)), 0);
        fast.reached(Revision(10));
        slow.reached(Revision(3));
        assert_eq!(places.lag(Revision(10)), 7);
        drop(slow);
        assert_eq!(places.lag(Revision(11)), 1);
    }
}
