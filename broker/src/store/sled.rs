//! The embedded store: sled 0.34.7, used within the limits in which it keeps its promises.
//!
//! Owns one directory: its lock, sled's files, one tree. What sled does not do by itself is done here:
//!
//! * a batch is at most [`super::MAX_BATCH_OPS`] operations in one tree: only within a tree is a batch
//!   atomic, and larger ones leak disk and memory;
//! * `flush` writes but does not sync, so an `fdatasync` through a second descriptor follows it;
//! * a snapshot left half-written by a kill is taken for the newest one and makes the store unreadable
//!   for good (spacejam/sled#1533), so such leftovers are removed before sled sees them;
//! * a log whose end is torn or gone opens as the store of an earlier time, so what the writer last noted as durable is
//!   kept beside it, and held against what is found (`mark`);
//! * the background flusher stays on, for only there are segments cleaned; `flush_async` and
//!   `watch_prefix` stay unused, for they hang and leak.
//!
//! What must hold: nobody touches the directory without its lock; a key has as many chunks on disk as
//! `SledStore::split` says; a value is read under the same lock as its length changes.

mod damage;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;

pub(super) use self::damage::next_step;
use self::damage::{changing, lost, opening, reading, tell_panics};
use super::directory::{Directory, Note};
use super::snapshot::{Kept, STEP};
use super::{Batch, Identity, Key, STORE_FORMAT, Snapshot, Store, StoreError, Visitor, codec};

const CACHE_BYTES: u64 = 16 * 1024 * 1024;
const FLUSH_EVERY_MS: u64 = 500;

/// What an acknowledged commit survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// The loss of power: every commit waits for the disk.
    #[default]
    Power,
    /// The death of the process, not of the machine. About a fifth faster.
    Process,
}

/// How to open a [`SledStore`].
#[derive(Debug, Clone)]
pub struct SledOptions {
    /// What a commit survives.
    pub durability: Durability,
    /// Taken by the store if it is created now; otherwise the stored one counts.
    pub identity: Identity,
}

/// What a store is opened for.
#[derive(Debug)]
enum Purpose {
    /// To be a broker's. It is created, or brought to the present format, if need be.
    Serve(SledOptions),
    /// To be read as it is.
    Read,
}

/// A [`Store`] in a directory of its own.
pub struct SledStore {
    identity: Identity,
    format: u32,
    durability: Durability,
    db: sled::Db,
    /// Second descriptor on sled's file, for syncing it.
    data: File,
    /// How many chunks each value of more than one has. Held for writing while a batch is applied, so that
    /// no reader puts a value together from two commits.
    split: RwLock<HashMap<Key, u8>>,
    /// Serialises commits; true from the start of one until it has succeeded.
    poisoned: Mutex<bool>,
    /// What the snapshot that is being read still needs. Taken after `split`.
    kept: Mutex<Option<Kept>>,
    /// What the writer had noted when the store was opened.
    marked: Option<u64>,
    /// Last, so that sled has written all before the next broker may come.
    directory: Directory,
}

impl SledStore {
    /// Opens the store in `dir`, creating both if need be.
    pub fn open(dir: &Path, options: SledOptions) -> Result<Self, StoreError> {
        Self::open_for(Directory::take(dir)?, Purpose::Serve(options))
    }

    /// Opens the store in `dir`, where there must be one, to read it. Its format stays what it is.
    pub fn open_to_read(dir: &Path) -> Result<Self, StoreError> {
        Self::open_for(Directory::take_existing(dir)?, Purpose::Read)
    }

    /// Opens a copy, in the directory `to`, of the store in `from`, in which nothing is changed by that.
    pub fn open_copy(from: &Path, to: &Path) -> Result<Self, StoreError> {
        Directory::copy(from, to)?;
        Self::open_for(Directory::take_existing(to)?.standing_for(from), Purpose::Read)
    }

    fn open_for(directory: Directory, purpose: Purpose) -> Result<Self, StoreError> {
        let dir = &directory.shown().to_owned();
        directory.await_release()?;
        directory.remove_leftovers()?;
        let noted = directory.noted()?;
        if noted.is_some() {
            directory.require_data_file()?;
        }
        let db = open_sled(&directory)?;
        directory.restrict_files()?;
        let (identity, format) = match (reading(dir, || db.get([codec::META_KIND]))?, &purpose) {
            (Some(record), Purpose::Serve(_)) => {
                let (identity, format) = codec::decode_meta(&record)?;
                if format < STORE_FORMAT {
                    adopt(&db, &directory, &identity)?;
                }
                (identity, STORE_FORMAT)
            }
            (Some(record), Purpose::Read) => codec::decode_meta(&record)?,
            (None, Purpose::Serve(options)) if noted.is_none() => {
                (create(&db, &directory, options.identity.clone())?, STORE_FORMAT)
            }
            (None, Purpose::Serve(_) | Purpose::Read) if db.is_empty() => {
                return Err(lost(dir, "all records are gone"));
            }
            (None, Purpose::Serve(_) | Purpose::Read) => {
                return Err(lost(dir, "there are records but no meta record"));
            }
        };
        match &noted {
            Some(note) if note.incarnation != identity.incarnation => {
                return Err(lost(dir, "the files are not all of one store"));
            }
            Some(_) => {}
            None => directory.note(&Note { incarnation: identity.incarnation, position: 0 })?,
        }
        directory.sync_names()?;
        let data = directory.data_file()?;
        let split = RwLock::new(split_values(&db, dir)?);
        let marked = noted.map(|note| note.position);
        let (poisoned, kept) = (Mutex::new(false), Mutex::new(None));
        let durability = match purpose {
            Purpose::Serve(options) => options.durability,
            Purpose::Read => Durability::Power,
        };
        Ok(Self { identity, format, durability, db, data, split, poisoned, kept, marked, directory })
    }

    /// The format that its records are of, at most.
    pub fn format(&self) -> u32 {
        self.format
    }

    /// Closes a store that was just made: all its files are on disk when it returns.
    pub(super) fn close(self) -> Result<(), StoreError> {
        changing("flush", self.dir(), || self.db.flush())?;
        let Self { db, data, directory, .. } = self;
        drop((db, data));
        directory.await_release()?;
        directory.sync_names()
    }

    /// Visits every record, or what is wrong with it, and goes on; an error when the walk itself cannot go on.
    pub fn examine(&self, mut visit: impl FnMut(&[u8], Result<Bytes, StoreError>)) -> Result<(), StoreError> {
        let mut split = 0;
        let mut rows = self.db.range([codec::META_KIND + 1]..[codec::CONTINUATION_KIND]);
        let dir = self.dir();
        while let Some((key, record)) = reading(dir, || rows.next().transpose())? {
            let found = codec::decode(&key, &record, |name| self.fetch(name));
            split += usize::from(self.split().contains_key(&Key(Bytes::copy_from_slice(&key))));
            visit(&key, found.map(|(value, _)| value));
        }
        let expected = self.split().len();
        if split != expected {
            let what = format!("{expected} values have further chunks, {split} have a first one");
            return Err(StoreError::Corrupt { what });
        }
        Ok(())
    }

    /// Writing `split` cannot be cut short between two changes that belong together: only sled can panic
    /// there, and a commit that panics leaves the store poisoned.
    fn split(&self) -> RwLockReadGuard<'_, HashMap<Key, u8>> {
        self.split.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn fetch(&self, physical: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        reading(self.dir(), || self.db.get(physical))
    }

    /// `batch` in physical records, the removal of surplus chunks included.
    fn physical(&self, batch: &Batch) -> sled::Batch {
        let split = self.split();
        let mut physical = sled::Batch::default();
        for (key, value) in batch.writes() {
            match value {
                Some(value) => {
                    for (name, record) in codec::encode(key.as_bytes(), value) {
                        physical.insert(name, record);
                    }
                }
                None => physical.remove(key.as_bytes()),
            }
            let kept = codec::chunks_of(value.as_ref()).max(1);
            let stored = split.get(key).copied().unwrap_or(1);
            for index in (1..stored).filter(|&index| usize::from(index) >= kept) {
                physical.remove(codec::continuation(key.as_bytes(), index));
            }
        }
        physical
    }

    /// The value under a key, for who holds `split`.
    fn value(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let Some(record) = self.fetch(key.as_bytes())? else { return Ok(None) };
        let (value, _chunks) = codec::decode(key.as_bytes(), &record, |name| self.fetch(name))?;
        Ok(Some(value))
    }

    /// Changed in one step each time, so a panic elsewhere leaves it whole.
    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next records of the snapshot that is being read.
    fn read_on(&self) -> Result<Vec<(Key, Bytes)>, StoreError> {
        let _unchanged = self.split();
        let mut kept = self.kept();
        let Some(kept) = kept.as_mut() else { return Err(StoreError::SnapshotLost) };
        if kept.is_over() {
            return Ok(Vec::new());
        }
        let from = match kept.read() {
            Some(read) => Bound::Excluded(read.as_bytes().to_vec()),
            None => Bound::Included(vec![codec::META_KIND + 1]),
        };
        let to = Bound::Excluded(vec![codec::CONTINUATION_KIND]);
        let (mut found, mut bytes, mut is_end) = (Vec::new(), 0, true);
        let mut rows = self.db.range::<Vec<u8>, _>((from, to));
        while let Some((key, record)) = reading(self.dir(), || rows.next().transpose())? {
            let (value, _chunks) = codec::decode(&key, &record, |name| self.fetch(name))?;
            bytes += value.len();
            found.push((Key(Bytes::copy_from_slice(&key)), value));
            if found.len() == STEP.0 || bytes > STEP.1 {
                is_end = false;
                break;
            }
        }
        kept.settle(found, is_end)
    }

    /// Applies and syncs. Whether an error left the batch on disk is unknown.
    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let physical = self.physical(batch);
        let mut split = self.split.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = self.kept().as_mut() {
            kept.keep(batch, |key| self.value(key))?;
        }
        changing("write to", self.dir(), || self.db.apply_batch(physical))?;
        for (key, value) in batch.writes() {
            match u8::try_from(codec::chunks_of(value.as_ref())) {
                Ok(0 | 1) | Err(_) => split.remove(key),
                Ok(chunks) => split.insert(key.clone(), chunks),
            };
        }
        drop(split);
        changing("flush", self.dir(), || self.db.flush())?;
        match self.durability {
            Durability::Process => Ok(()),
            Durability::Power => self.data.sync_data().map_err(|source| StoreError::Io {
                action: "sync",
                path: self.directory.path().to_owned(),
                source,
            }),
        }
    }

    /// What errors call it.
    fn dir(&self) -> &Path {
        self.directory.shown()
    }
}

impl Store for SledStore {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn load(&self, visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        let mut split = 0;
        let mut rows = self.db.range([codec::META_KIND + 1]..[codec::CONTINUATION_KIND]);
        let dir = self.dir();
        while let Some((key, record)) = reading(dir, || rows.next().transpose())? {
            let (value, chunks) = codec::decode(&key, &record, |name| self.fetch(name))?;
            split += usize::from(chunks > 1);
            visit(&key, value)?;
        }
        let expected = self.split().len();
        if split != expected {
            let what = format!(
                "{expected} values have further chunks, {split} have a first one; {}",
                next_step(self.dir())
            );
            return Err(StoreError::Corrupt { what });
        }
        Ok(())
    }

    fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let _unchanged = self.split();
        self.value(key)
    }

    fn cost(&self, batch: &Batch) -> usize {
        let split = self.split();
        batch.cost_over(|key| split.get(key).copied().map_or(0, usize::from))
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut poisoned = self.poisoned.lock().unwrap_or_else(PoisonError::into_inner);
        if *poisoned {
            return Err(StoreError::Poisoned);
        }
        batch.check(self.cost(batch))?;
        // Set beforehand, so that a panic inside sled poisons as an error does.
        *poisoned = true;
        self.write(batch)?;
        *poisoned = false;
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        self.directory.size_bytes()
    }

    fn snapshot(self: Arc<Self>) -> Result<Box<dyn Snapshot>, StoreError> {
        // Held, no commit is under way: what is there is durable.
        let poisoned = self.poisoned.lock().unwrap_or_else(PoisonError::into_inner);
        if *poisoned {
            return Err(StoreError::Poisoned);
        }
        let mut kept = self.kept();
        if kept.is_some() {
            return Err(StoreError::SnapshotBusy);
        }
        *kept = Some(Kept::default());
        drop((kept, poisoned));
        Ok(Box::new(Walk(self)))
    }

    fn mark(&self, position: u64) -> Result<(), StoreError> {
        match self.durability {
            Durability::Power => {
                self.directory.note(&Note { incarnation: self.identity.incarnation, position })
            }
            // What is not on the disk yet may be lost with the power, and is not to be missed then.
            Durability::Process => Ok(()),
        }
    }

    fn marked(&self) -> Option<u64> {
        self.marked
    }
}

/// The snapshot of a store; while it lives, commits keep what it needs.
#[derive(Debug)]
struct Walk(Arc<SledStore>);

impl Snapshot for Walk {
    fn next(&mut self) -> Result<Vec<(Key, Bytes)>, StoreError> {
        self.0.read_on()
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        *self.0.kept() = None;
    }
}

/// Not derived: sled's own `Debug` prints every record.
impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore")
            .field("dir", &self.directory.path())
            .field("incarnation", &self.identity.incarnation)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

fn open_sled(directory: &Directory) -> Result<sled::Db, StoreError> {
    tell_panics(directory.shown());
    let config = sled::Config::new().path(directory.path());
    let config = config.cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_EVERY_MS));
    opening(directory.shown(), || config.open())
}

/// Gives a new store its identity, before anything else is written.
fn create(db: &sled::Db, directory: &Directory, identity: Identity) -> Result<Identity, StoreError> {
    let dir = directory.shown();
    if !db.is_empty() {
        let what = format!("it has records but no meta record; {}", next_step(dir));
        return Err(StoreError::Corrupt { what });
    }
    let (key, record) = codec::encode_meta(&identity);
    changing("write to", dir, || db.insert(key, record))?;
    changing("flush", dir, || db.flush())?;
    Ok(identity)
}

/// Makes a store of an older format one of the present format, before anything of that is written to it.
fn adopt(db: &sled::Db, directory: &Directory, identity: &Identity) -> Result<(), StoreError> {
    let dir = directory.shown();
    let (key, record) = codec::encode_meta(identity);
    changing("write to", dir, || db.insert(key, record))?;
    changing("flush", dir, || db.flush())?;
    Ok(())
}

/// Reads off the continuation keys how many chunks each split value has.
fn split_values(db: &sled::Db, dir: &Path) -> Result<HashMap<Key, u8>, StoreError> {
    let mut split = HashMap::new();
    let mut names = db.scan_prefix([codec::CONTINUATION_KIND]).keys();
    while let Some(name) = reading(dir, || names.next().transpose())? {
        let Some((key, index)) = codec::parse_continuation(&name) else {
            let what = format!("record of {} continues nothing; {}", codec::name_of(&name), next_step(dir));
            return Err(StoreError::Corrupt { what });
        };
        let chunks = split.entry(Key(Bytes::copy_from_slice(key))).or_insert(1);
        *chunks = (*chunks).max(index.saturating_add(1));
    }
    Ok(split)
}

#[cfg(test)]
impl SledStore {
    /// Makes every later sync fail: the null device cannot be synced.
    pub(super) fn break_sync(&mut self) {
        self.data = File::open("/dev/null").unwrap();
    }

    /// The format that the store says it is of.
    pub(crate) fn stored_format(&self) -> u32 {
        let record = self.db.get([codec::META_KIND]).unwrap().unwrap();
        codec::decode_meta(&record).unwrap().1
    }

    /// Leaves a store with these records as a broker of an older format would have.
    pub(crate) fn leave_of_format(
        format: u32,
        dir: &Path,
        records: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) {
        let directory = Directory::take(dir).unwrap();
        let db = open_sled(&directory).unwrap();
        db.insert([codec::META_KIND], codec::meta_of_old(format)).unwrap();
        for (key, value) in records {
            for (name, record) in codec::encode(&key, &value) {
                db.insert(name, record).unwrap();
            }
        }
        db.flush().unwrap();
        drop((db, directory));
    }
}

#[cfg(test)]
mod tests;
