//! The embedded store: sled 0.34.7, used within the limits in which it keeps its promises.
//!
//! Owns one directory: its lock, sled's files, one tree. What sled does not do by itself is done here:
//!
//! * a batch is at most [`super::MAX_BATCH_OPS`] operations in one tree: only within a tree is a batch
//!   atomic, and larger ones leak disk and memory;
//! * `flush` writes but does not sync, so an `fdatasync` through a second descriptor follows it;
//! * a snapshot left half-written by a kill is taken for the newest one and makes the store unreadable
//!   for good (spacejam/sled#1533), so such leftovers are removed before sled sees them;
//! * the background flusher stays on, for only there are segments cleaned; `flush_async` and
//!   `watch_prefix` stay unused, for they hang and leak.
//!
//! What must hold: nobody touches the directory without its lock; a key has as many chunks on disk as
//! `State::split` says; a value is read under the same lock as its length changes.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;

use super::directory::Directory;
use super::{Batch, Identity, Key, Store, StoreError, Visitor, codec};

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

/// A [`Store`] in a directory of its own.
pub struct SledStore {
    identity: Identity,
    durability: Durability,
    db: sled::Db,
    /// Second descriptor on sled's file, for syncing it.
    data: File,
    /// How many chunks each value of more than one has. Held for writing while a batch is applied, so that
    /// no reader puts a value together from two commits.
    split: RwLock<HashMap<Key, u8>>,
    /// Serialises commits; true from the start of one until it has succeeded.
    poisoned: Mutex<bool>,
    /// Last, so that sled has closed its files before the next broker may come.
    directory: Directory,
}

impl SledStore {
    /// Opens the store in `dir`, creating both if need be.
    pub fn open(dir: &Path, options: SledOptions) -> Result<Self, StoreError> {
        let SledOptions { durability, identity } = options;
        let directory = Directory::take(dir)?;
        directory.remove_leftovers()?;
        let db = open_sled(dir)?;
        directory.restrict_files()?;
        let identity = match db.get([codec::META_KIND]).map_err(|e| sled_error("read", dir, e))? {
            Some(record) => codec::decode_meta(&record)?,
            None => create(&db, &directory, identity)?,
        };
        let data = directory.data_file()?;
        let split = RwLock::new(split_values(&db, dir)?);
        Ok(Self { identity, durability, db, data, split, poisoned: Mutex::new(false), directory })
    }

    /// Writing `split` cannot be cut short between two changes that belong together: only sled can panic
    /// there, and a commit that panics leaves the store poisoned.
    fn split(&self) -> RwLockReadGuard<'_, HashMap<Key, u8>> {
        self.split.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn fetch(&self, physical: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        self.db.get(physical).map_err(|e| self.error("read", e))
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

    /// Applies and syncs. Whether an error left the batch on disk is unknown.
    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let physical = self.physical(batch);
        let mut split = self.split.write().unwrap_or_else(PoisonError::into_inner);
        self.db.apply_batch(physical).map_err(|e| self.error("write to", e))?;
        for (key, value) in batch.writes() {
            match u8::try_from(codec::chunks_of(value.as_ref())) {
                Ok(0 | 1) | Err(_) => split.remove(key),
                Ok(chunks) => split.insert(key.clone(), chunks),
            };
        }
        drop(split);
        self.db.flush().map_err(|e| self.error("flush", e))?;
        match self.durability {
            Durability::Process => Ok(()),
            Durability::Power => self.data.sync_data().map_err(|source| StoreError::Io {
                action: "sync",
                path: self.directory.path().to_owned(),
                source,
            }),
        }
    }

    fn error(&self, action: &'static str, error: sled::Error) -> StoreError {
        sled_error(action, self.directory.path(), error)
    }
}

impl Store for SledStore {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn load(&self, visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        let mut split = 0;
        for entry in self.db.range([codec::META_KIND + 1]..[codec::CONTINUATION_KIND]) {
            let (key, record) = entry.map_err(|e| self.error("read", e))?;
            let (value, chunks) = codec::decode(&key, &record, |name| self.fetch(name))?;
            split += usize::from(chunks > 1);
            visit(&key, value)?;
        }
        let expected = self.split().len();
        if split != expected {
            let what = format!(
                "{expected} values have further chunks, {split} have a first one; {}",
                next_step(self.directory.path())
            );
            return Err(StoreError::Corrupt { what });
        }
        Ok(())
    }

    fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let _unchanged = self.split();
        let Some(record) = self.fetch(key.as_bytes())? else { return Ok(None) };
        let (value, _chunks) = codec::decode(key.as_bytes(), &record, |name| self.fetch(name))?;
        Ok(Some(value))
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

/// sled panics over some damaged files. Where panics unwind, that becomes an error; where they abort, as
/// in release builds, the process ends with the panic's message before anything has been written.
fn open_sled(dir: &Path) -> Result<sled::Db, StoreError> {
    let config =
        sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_EVERY_MS));
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(opened) => opened.map_err(|e| sled_error("open", dir, e)),
        Err(panic) => {
            let what = format!("sled panicked: {}; {}", panic_message(&*panic), next_step(dir));
            Err(StoreError::Corrupt { what })
        }
    }
}

/// Gives a new store its identity, durable before anything else is written.
fn create(db: &sled::Db, directory: &Directory, identity: Identity) -> Result<Identity, StoreError> {
    let dir = directory.path();
    if !db.is_empty() {
        let what = format!("it has records but no meta record; {}", next_step(dir));
        return Err(StoreError::Corrupt { what });
    }
    let (key, record) = codec::encode_meta(&identity);
    db.insert(key, record).map_err(|e| sled_error("write to", dir, e))?;
    db.flush().map_err(|e| sled_error("flush", dir, e))?;
    directory.sync_created()?;
    Ok(identity)
}

/// Reads off the continuation keys how many chunks each split value has.
fn split_values(db: &sled::Db, dir: &Path) -> Result<HashMap<Key, u8>, StoreError> {
    let mut split = HashMap::new();
    for name in db.scan_prefix([codec::CONTINUATION_KIND]).keys() {
        let name = name.map_err(|e| sled_error("read", dir, e))?;
        let Some((key, index)) = codec::parse_continuation(&name) else {
            let what = format!("record of {} continues nothing; {}", codec::name_of(&name), next_step(dir));
            return Err(StoreError::Corrupt { what });
        };
        let chunks = split.entry(Key(Bytes::copy_from_slice(key))).or_insert(1);
        *chunks = (*chunks).max(index.saturating_add(1));
    }
    Ok(split)
}

fn sled_error(action: &'static str, dir: &Path, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(source) => StoreError::Io { action, path: dir.to_owned(), source },
        other @ (sled::Error::Corruption { .. }
        | sled::Error::Unsupported(_)
        | sled::Error::ReportableBug(_)
        | sled::Error::CollectionNotFound(_)) => {
            StoreError::Corrupt { what: format!("{other}; {}", next_step(dir)) }
        }
    }
}

fn next_step(dir: &Path) -> String {
    format!("move {} aside and restore a copy, or start anew without it", dir.display())
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
