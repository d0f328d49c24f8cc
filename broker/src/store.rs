//! The store: named byte strings on disk, changed by atomic, durable batches.
//!
//! Owns what survives the process. It knows keys, values and batches, and nothing of peers, locks or
//! events: the typed records sit above. State in memory is a cache of these records; the store is the
//! truth.
//!
//! What must hold, for every backend (`conformance` checks it):
//!
//! * a [`Batch`] is in the store wholly or not at all, and is on disk when [`Store::commit`] returns;
//! * what is read is what was written, or an error that names the record; never other bytes;
//! * after a failed commit nobody can tell what is on disk, so every later commit is refused until the
//!   store is opened again;
//! * the [`Identity`] given at creation is the identity ever after.

mod codec;
#[cfg(test)]
mod conformance;
mod directory;
mod memory;
mod rewrite;
mod sled;
mod snapshot;
mod swap;

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;
use uuid::Uuid;

pub use self::codec::chunks;
pub use self::memory::{Fault, MemoryDisk, MemoryStore};
pub use self::rewrite::{Filler, Growth, compact, write_anew};
pub use self::sled::{Durability, SledOptions, SledStore};
pub use self::snapshot::Snapshot;
pub use self::swap::{finish, is_unfinished, put_in_place, scratch};

/// The most physical operations one commit may cost. Larger batches make sled leak disk and memory
/// without bound; up to about 300 it stays flat.
pub const MAX_BATCH_OPS: usize = 256;

/// The longest key, in bytes. Few keys may be near it: sled writes an index of up to 256 keys as one page,
/// and pages over 128 KiB to files it never syncs, so keys that callers can choose stay under 500 bytes.
pub const MAX_KEY_BYTES: usize = 2 * 1024;

/// The longest value, in bytes. Values longer than one record are split by the store.
pub const MAX_VALUE_BYTES: usize = 512 * 1024;

/// Version of the whole store's layout, and of what is in its records. A store of a later version is refused, not
/// guessed at.
pub const STORE_FORMAT: u32 = 4;

/// The oldest version that is read. Opening such a store makes it one of [`STORE_FORMAT`], which an older broker then
/// refuses; the records stay as they are until they are written again.
pub const OLDEST_FORMAT: u32 = 1;

/// What [`Store::load`] calls with every key and value.
pub type Visitor<'a> = dyn FnMut(&[u8], Bytes) -> Result<(), StoreError> + 'a;

/// Durable records under atomic batches. One thread commits; any thread reads.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// Which store this is: given at creation, the same at every open.
    fn identity(&self) -> &Identity;

    /// Visits every record in key order. Used once, at start, before the first commit. An error of `visit`
    /// ends the walk and is returned.
    fn load(&self, visit: &mut Visitor<'_>) -> Result<(), StoreError>;

    /// The value under `key`.
    ///
    /// While a commit is under way this may already show it, hence before it is durable: a reader of
    /// history goes no further than the revision the writer has published.
    fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError>;

    /// Whether reading may wait for a device. Then readers on an async thread read elsewhere.
    fn reads_wait(&self) -> bool {
        true
    }

    /// How many physical operations `batch` would cost on top of what is stored: for each key as many as
    /// the longer of the new and the stored value has chunks, since surplus chunks are removed with it.
    ///
    /// Exact for a batch committed next. The sum over several batches is enough for their merger, so a
    /// writer packs transactions by adding their costs up to [`MAX_BATCH_OPS`]; it must not ask while its
    /// own commit is under way.
    fn cost(&self, batch: &Batch) -> usize;

    /// Writes `batch`, all or nothing; durable when it returns.
    ///
    /// A batch that is [`StoreError::TooLarge`] is refused untried and harms nothing. Any other error
    /// leaves open whether the batch is on disk and poisons the store.
    fn commit(&self, batch: &Batch) -> Result<(), StoreError>;

    /// Bytes taken on disk.
    fn size_bytes(&self) -> u64;

    /// All records as they are between two commits, which go on meanwhile. There may be no more than one at a time.
    ///
    /// By default a copy, for backends whose `load` is in one piece.
    fn snapshot(self: Arc<Self>) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(snapshot::Copied::of(self.as_ref())?))
    }

    /// Notes, beside the records and at no cost of a sync, how far the writer has come: a number that rises. Only what
    /// is durable is noted, so a store that has come less far when it is opened again has lost something.
    ///
    /// By default nothing is noted.
    fn mark(&self, _position: u64) -> Result<(), StoreError> {
        Ok(())
    }

    /// The number that was noted when the store was opened, as far as that is known.
    fn marked(&self) -> Option<u64> {
        None
    }
}

/// Who a store is, from its creation on. The caller brings the randomness and the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Names this incarnation of the mesh's history: revisions of another incarnation mean nothing here.
    pub incarnation: Uuid,
    /// Key for authenticating what the broker hands out, session tokens first.
    pub secret: Secret,
    /// When the store was created, in milliseconds since the Unix epoch. For display.
    pub created_ms: u64,
}

/// 32 random bytes that never leave the broker; not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Wraps freshly drawn random bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for keying a MAC.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Name of a record: 1 to [`MAX_KEY_BYTES`] bytes, the first of which is the record's kind. Kinds `0x00`
/// and `0xff` are the store's own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

impl Key {
    /// Checks and wraps the bytes of a key, kind first.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, StoreError> {
        let bytes = bytes.into();
        match bytes.first() {
            None => return Err(StoreError::BadKey { why: "it is empty" }),
            Some(&(codec::META_KIND | codec::CONTINUATION_KIND)) => {
                return Err(StoreError::BadKey { why: "its kind is reserved for the store" });
            }
            Some(_) => {}
        }
        if bytes.len() > MAX_KEY_BYTES {
            return Err(StoreError::TooLarge { what: "key", found: bytes.len(), limit: MAX_KEY_BYTES });
        }
        Ok(Self(bytes))
    }

    /// The whole key, kind included.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", codec::name_of(&self.0))
    }
}

/// One change to one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes the value, over any that was there.
    Put {
        /// The record to write.
        key: Key,
        /// Its new value, at most [`MAX_VALUE_BYTES`].
        value: Bytes,
    },
    /// Removes the record; one that is not there is no error.
    Delete {
        /// The record to remove.
        key: Key,
    },
}

/// Changes that happen together or not at all: at most one for each key, the last one pushed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    writes: BTreeMap<Key, Option<Bytes>>,
}

impl Batch {
    /// A batch that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a change, in place of an earlier one of the same key.
    pub fn push(&mut self, op: Op) {
        let (key, value) = match op {
            Op::Put { key, value } => (key, Some(value)),
            Op::Delete { key } => (key, None),
        };
        self.writes.insert(key, value);
    }

    /// Adds all changes of `later`, in place of earlier ones of the same keys.
    pub fn merge(&mut self, later: Self) {
        self.writes.extend(later.writes);
    }

    /// Physical operations after splitting, were nothing stored yet. [`Store::cost`] adds the removal of
    /// what longer values leave behind.
    pub fn len(&self) -> usize {
        self.writes.values().map(|value| codec::chunks_of(value.as_ref()).max(1)).sum()
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.writes.iter().map(|(key, value)| key.0.len() + value.as_ref().map_or(0, Bytes::len)).sum()
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Every key with its new value (`None`: removed), in key order.
    pub fn writes(&self) -> btree_map::Iter<'_, Key, Option<Bytes>> {
        self.writes.iter()
    }

    /// [`Store::cost`], given how many chunks each key has in the store (0: it is not there).
    fn cost_over(&self, stored: impl Fn(&Key) -> usize) -> usize {
        self.writes.iter().map(|(key, value)| codec::chunks_of(value.as_ref()).max(1).max(stored(key))).sum()
    }

    /// Refuses what no backend may try: a value too long, or a batch of `cost` too many operations.
    fn check(&self, cost: usize) -> Result<(), StoreError> {
        let longest = self.writes.values().flatten().map(Bytes::len).max().unwrap_or(0);
        if longest > MAX_VALUE_BYTES {
            return Err(StoreError::TooLarge { what: "value", found: longest, limit: MAX_VALUE_BYTES });
        }
        if cost > MAX_BATCH_OPS {
            return Err(StoreError::TooLarge { what: "batch", found: cost, limit: MAX_BATCH_OPS });
        }
        Ok(())
    }
}

/// Writes a record of the store's own, durably, and reads it back. Nothing that [`Store::load`] visits changes.
///
/// As with any commit, an error leaves the store poisoned.
pub fn probe(store: &dyn Store, nonce: u64) -> Result<(), StoreError> {
    let key = Key(Bytes::from_static(codec::PROBE));
    let value = Bytes::copy_from_slice(&nonce.to_be_bytes());
    let batch = Batch { writes: BTreeMap::from([(key.clone(), Some(value.clone()))]) };
    store.commit(&batch)?;
    if store.get(&key)?.is_some_and(|read| read == value) {
        return Ok(());
    }
    Err(StoreError::Corrupt { what: "what was just written does not read back".to_owned() })
}

impl FromIterator<Op> for Batch {
    fn from_iter<I: IntoIterator<Item = Op>>(ops: I) -> Self {
        let mut batch = Self::new();
        ops.into_iter().for_each(|op| batch.push(op));
        batch
    }
}

/// Why the store could not do as asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process, or another handle in this one, has the store open. Nothing was touched.
    #[error("another broker holds {}; stop it or choose another directory", dir.display())]
    Locked {
        /// The store's directory.
        dir: PathBuf,
    },
    /// What is on disk is not what was written. Nothing was changed by finding out.
    #[error("the store is damaged: {what}")]
    Corrupt {
        /// Which file or record, in what way, and the next step.
        what: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A key, value or batch is over its limit. It was not tried; the store is as before.
    #[error("{what} of {found} is over the limit of {limit}")]
    TooLarge {
        /// `key` and `value` count bytes, `batch` counts physical operations.
        what: &'static str,
        /// Its size.
        found: usize,
        /// The most allowed.
        limit: usize,
    },
    /// The bytes cannot name a record.
    #[error("not a key: {why}")]
    BadKey {
        /// The rule they break.
        why: &'static str,
    },
    /// The store was written by a broker of another format. Nothing was touched.
    #[error(
        "the store has format {found}, this broker reads formats up to {supported}; open it with the broker that wrote it"
    )]
    Version {
        /// The format on disk.
        found: u32,
        /// The newest format this build reads, [`STORE_FORMAT`].
        supported: u32,
    },
    /// Another snapshot is being read. Nothing was touched.
    #[error("another backup is under way; try again when it is done")]
    SnapshotBusy,
    /// So much was written since a snapshot began that what was there before could not be kept.
    #[error("the backup was too slow for what is written meanwhile; write it to a faster disk, or try again")]
    SnapshotLost,
    /// An earlier commit failed, so what is on disk is unknown until the store is opened again.
    #[error("an earlier commit failed; restart the broker to read back what is on disk")]
    Poisoned,
}
