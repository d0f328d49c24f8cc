//! A store in memory, for tests: the same contract, with faults on order.
//!
//! [`MemoryDisk`] is what survives a crash, [`MemoryStore`] is one broker's hold on it. The disk carries
//! the script of faults, so a test keeps the disk while the writer owns the store. No record is split, but
//! every limit is that of the splitting store.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Batch, Identity, Key, Store, StoreError, Visitor, codec};

/// How an ordered commit goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk refuses: an error, and nothing of the batch is kept.
    Refused,
    /// The batch is kept, yet the answer is an error, as when only the last sync fails.
    AnswerLost,
    /// The broker dies before the batch reaches the disk. The store answers nothing any more.
    CrashBefore,
    /// The broker dies after the batch reached the disk, before it could say so.
    CrashAfter,
}

/// The durable image. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Image>>);

#[derive(Debug, Default)]
struct Image {
    identity: Option<Identity>,
    records: BTreeMap<Key, Bytes>,
    /// Rises with every open and crash: a store of an earlier one is dead.
    epoch: u64,
    held: bool,
    /// Commits tried so far, over all epochs.
    commits: u64,
    faults: BTreeMap<u64, Fault>,
    marked: Option<u64>,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Orders `fault` for the `nth` commit from now; 1 is the next one.
    pub fn inject(&self, nth: u64, fault: Fault) {
        let mut image = self.image();
        let at = image.commits + nth;
        image.faults.insert(at, fault);
    }

    /// Kills whichever broker holds the disk. What was committed stays.
    pub fn crash(&self) {
        self.image().crash();
    }

    /// A panic elsewhere leaves the image whole: nothing here panics between two changes of it.
    fn image(&self) -> MutexGuard<'_, Image> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Image {
    fn crash(&mut self) {
        self.epoch += 1;
        self.held = false;
    }

    fn apply(&mut self, batch: &Batch) {
        for (key, value) in batch.writes() {
            match value {
                Some(value) => self.records.insert(key.clone(), value.clone()),
                None => self.records.remove(key),
            };
        }
    }

    fn cost(&self, batch: &Batch) -> usize {
        batch.cost_over(|key| codec::chunks_of(self.records.get(key)))
    }
}

/// One broker's hold on a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryStore {
    disk: MemoryDisk,
    identity: Identity,
    epoch: u64,
    marked: Option<u64>,
    poisoned: Mutex<bool>,
}

impl MemoryStore {
    /// Opens `disk`, which takes `identity` if it is new.
    pub fn open(disk: &MemoryDisk, identity: Identity) -> Result<Self, StoreError> {
        let mut image = disk.image();
        if image.held {
            return Err(StoreError::Locked { dir: PathBuf::from("memory") });
        }
        image.held = true;
        image.epoch += 1;
        let identity = image.identity.get_or_insert(identity).clone();
        let (epoch, marked) = (image.epoch, image.marked);
        Ok(Self { disk: disk.clone(), identity, epoch, marked, poisoned: Mutex::new(false) })
    }

    /// Crashes this store and opens its disk again.
    pub fn reopen(&self) -> Result<Self, StoreError> {
        self.disk.crash();
        Self::open(&self.disk, self.identity.clone())
    }

    /// The image, while this store still lives.
    fn image(&self) -> Result<MutexGuard<'_, Image>, StoreError> {
        let image = self.disk.image();
        if image.epoch == self.epoch { Ok(image) } else { Err(StoreError::Poisoned) }
    }

    fn fail(&self, why: &str) -> StoreError {
        StoreError::Io {
            action: "commit to",
            path: PathBuf::from("memory"),
            source: std::io::Error::other(why.to_owned()),
        }
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        if let Ok(mut image) = self.image() {
            image.held = false;
        }
    }
}

impl Store for MemoryStore {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn load(&self, visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        let records = self.image()?.records.clone();
        let own = |key: &Key| key.as_bytes().starts_with(&[codec::META_KIND]);
        let mut records = records.into_iter().filter(|(key, _)| !own(key));
        records.try_for_each(|(key, value)| visit(key.as_bytes(), value))
    }

    fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        Ok(self.image()?.records.get(key).cloned())
    }

    fn reads_wait(&self) -> bool {
        false
    }

    fn cost(&self, batch: &Batch) -> usize {
        self.disk.image().cost(batch)
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut poisoned = self.poisoned.lock().unwrap_or_else(PoisonError::into_inner);
        if *poisoned {
            return Err(StoreError::Poisoned);
        }
        let mut image = self.image()?;
        batch.check(image.cost(batch))?;
        image.commits += 1;
        let number = image.commits;
        let fault = image.faults.remove(&number);
        *poisoned = fault.is_some();
        if matches!(fault, None | Some(Fault::AnswerLost | Fault::CrashAfter)) {
            image.apply(batch);
        }
        if matches!(fault, Some(Fault::CrashBefore | Fault::CrashAfter)) {
            image.crash();
        }
        match fault {
            None => Ok(()),
            Some(fault) => Err(self.fail(&format!("ordered fault: {fault:?}"))),
        }
    }

    fn size_bytes(&self) -> u64 {
        let image = self.disk.image();
        image.records.iter().map(|(key, value)| (key.as_bytes().len() + value.len()) as u64).sum()
    }

    fn mark(&self, position: u64) -> Result<(), StoreError> {
        self.image()?.marked = Some(position);
        Ok(())
    }

    fn marked(&self) -> Option<u64> {
        self.marked
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{commit, contents, identity, put};
    use super::*;

    fn fresh() -> (MemoryDisk, MemoryStore) {
        let disk = MemoryDisk::new();
        let store = MemoryStore::open(&disk, identity(1)).unwrap();
        (disk, store)
    }

    fn try_put(store: &MemoryStore, name: &str) -> Result<(), StoreError> {
        store.commit(&[put(name, "x")].into_iter().collect())
    }

    fn names(store: &MemoryStore) -> Vec<String> {
        contents(store).into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
    }

    #[test]
    fn a_fault_strikes_the_commit_it_was_ordered_for() {
        let (disk, store) = fresh();
        commit(&store, [put("a", "x")]);
        disk.inject(2, Fault::Refused);
        commit(&store, [put("b", "x")]);
        assert!(matches!(try_put(&store, "c"), Err(StoreError::Io { .. })));
        assert!(matches!(try_put(&store, "d"), Err(StoreError::Poisoned)));
        assert_eq!(names(&store.reopen().unwrap()), ["a", "b"]);
    }

    #[test]
    fn a_lost_answer_keeps_the_batch() {
        let (disk, store) = fresh();
        disk.inject(1, Fault::AnswerLost);
        assert!(try_put(&store, "a").is_err());
        assert_eq!(names(&store.reopen().unwrap()), ["a"]);
    }

    #[test]
    fn a_crash_drops_what_was_not_committed_and_frees_the_disk() {
        for (fault, survives) in [(Fault::CrashBefore, false), (Fault::CrashAfter, true)] {
            let (disk, store) = fresh();
            commit(&store, [put("a", "x")]);
            disk.inject(1, fault);
            assert!(try_put(&store, "b").is_err());
            assert!(store.get(&super::super::conformance::key("a")).is_err(), "the dead do not answer");
            let next = MemoryStore::open(&disk, identity(2)).unwrap();
            assert_eq!(next.identity(), &identity(1));
            drop(store);
            assert_eq!(names(&next), if survives { vec!["a", "b"] } else { vec!["a"] });
            let locked = MemoryStore::open(&disk, identity(1)).err();
            assert!(matches!(locked, Some(StoreError::Locked { .. })), "dropping the dead frees nothing");
        }
    }

    #[test]
    fn a_killed_store_commits_no_more() {
        let (disk, store) = fresh();
        commit(&store, [put("a", "x")]);
        disk.crash();
        assert!(matches!(try_put(&store, "b"), Err(StoreError::Poisoned)));
        assert_eq!(names(&MemoryStore::open(&disk, identity(1)).unwrap()), ["a"]);
    }
}
