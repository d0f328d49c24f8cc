//! The core's records as the store's bytes: one schema table for all keys, one encoding for all values.
//!
//! | kind | record | key after the kind |
//! |---|---|---|
//! | `01` | item of the event history | slot: revision modulo [`HISTORY_SLOTS`], 4 bytes big-endian |
//! | `02` | head of a scope | digest of the scope |
//! | `03` | peer | digest of scope and name |
//! | `04` | lock | digest of scope, target and holder |
//! | `05` | entry | digest of scope and key |
//! | `06` | message | slot, 4 bytes big-endian |
//! | `07` | former version of an entry | digest of scope, key and slot: the version modulo how many are kept |
//! | `08` | policy of a prefix | digest of scope and prefix |
//! | `09` | request that waits for locks | ticket, 8 bytes big-endian |
//! | `0a` | request to make way | digest of scope, id and holder |
//! | `0b` | what a peer did to a file | digest of scope, path and peer |
//! | `0c` | token | digest of its id |
//!
//! The history comes first because recovery takes the mesh's time from it, and peers before locks because a lock
//! is judged by its holder's session. Digests keep keys short whatever callers choose as names; the names are in
//! the values.
//!
//! A value is two bytes of format, `00 04`, and a postcard record; the store wraps it in a checksum. Values of formats
//! 2 and 3 begin with `00 02` and `00 03`; `v2` and `v3` read those that differ. Values of format 1 had no such bytes, and never began like that;
//! `v1` reads them. They all stay until they are written again.

mod reader;
#[cfg(test)]
pub(crate) mod tests;
mod v1;
mod v2;
mod v3;

use mesh_core::limits::HISTORY_SLOTS;
use mesh_core::record::{LogRecord, Record, RecordKey, Write};
use mesh_core::revision::Revision;
use mesh_core::state::Transaction;
use mesh_core::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::{Batch, Key, Op, StoreError};

const LOG: u8 = 0x01;
const SCOPE: u8 = 0x02;
const PEER: u8 = 0x03;
const LOCK: u8 = 0x04;
const ENTRY: u8 = 0x05;
const MESSAGE: u8 = 0x06;
const PAST: u8 = 0x07;
const POLICY: u8 = 0x08;
const WAITER: u8 = 0x09;
const RELEASE_REQUEST: u8 = 0x0a;
const TOUCH: u8 = 0x0b;
const TOKEN: u8 = 0x0c;

/// What a value begins with. In format 1 the first byte was zero only in a message, whose second one was `10`.
const FORMAT: [u8; 2] = [0x00, 0x04];

/// A record as recovery finds it.
#[derive(Debug)]
pub enum Loaded {
    /// An item of the history.
    Log(std::sync::Arc<LogRecord>),
    /// An item of the history from a broker of format 1, of which only its place and time are known.
    OldLog(OldLog),
    /// A record of the state.
    Record(Record),
}

/// What is read of an item of the history of format 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OldLog {
    /// Its place in the mesh's order.
    pub revision: Revision,
    /// When it was committed, for the mesh's clock.
    pub at: Timestamp,
}

/// The writes of a transaction, and its item of the history.
pub fn encode(transaction: &Transaction) -> Result<Batch, StoreError> {
    let mut batch = Batch::new();
    for write in &transaction.writes {
        batch.push(match write {
            Write::Put(record) => Op::Put { key: key(&record.key()), value: value(record)?.into() },
            Write::Delete(name) => Op::Delete { key: key(name) },
        });
    }
    let log = &*transaction.log;
    batch.push(Op::Put { key: log_key(log.revision), value: encode_log(log)?.into() });
    Ok(batch)
}

/// Reads what the store holds under a key.
pub fn decode(key: &[u8], value: &[u8]) -> Result<Loaded, StoreError> {
    let record = match key.first() {
        Some(&LOG) => {
            return Ok(match decode_log(value)? {
                Some(log) => Loaded::Log(log.into()),
                None => Loaded::OldLog(v1::log(value)?),
            });
        }
        Some(kind) if !is_of(&[FORMAT, v3::FORMAT, v2::FORMAT], value) => {
            return v1::decode(*kind, value).map(Loaded::Record);
        }
        Some(&PEER) if is_of(&[v2::FORMAT], value) => Record::Peer(v2::peer(&value[v2::FORMAT.len()..])?),
        Some(&PEER) if is_of(&[v3::FORMAT], value) => Record::Peer(v3::peer(&value[v3::FORMAT.len()..])?),
        Some(&SCOPE) => Record::Scope(parse("scope", value)?),
        Some(&PEER) => Record::Peer(parse("peer", value)?),
        Some(&LOCK) => Record::Lock(parse("lock", value)?),
        Some(&ENTRY) => Record::Entry(parse("entry", value)?),
        Some(&MESSAGE) => Record::Message(parse("message", value)?),
        Some(&PAST) => Record::Past(parse("former version", value)?),
        Some(&POLICY) => Record::Policy(parse("policy", value)?),
        Some(&WAITER) => Record::Waiter(parse("waiting request", value)?),
        Some(&RELEASE_REQUEST) => Record::ReleaseRequest(parse("request to make way", value)?),
        Some(&TOUCH) => Record::Touch(parse("touch", value)?),
        Some(&TOKEN) => Record::Token(parse("token", value)?),
        kind => return Err(unknown(kind)),
    };
    Ok(Loaded::Record(record))
}

/// What a key names, in a word for people.
#[must_use]
pub fn kind_of(key: &[u8]) -> &'static str {
    match key.first() {
        Some(&LOG) => "history",
        Some(&SCOPE) => "scopes",
        Some(&PEER) => "peers",
        Some(&LOCK) => "locks",
        Some(&ENTRY) => "entries",
        Some(&MESSAGE) => "messages",
        Some(&PAST) => "former versions",
        Some(&POLICY) => "policies",
        Some(&WAITER) => "waiting requests",
        Some(&RELEASE_REQUEST) => "requests to make way",
        Some(&TOUCH) => "touches",
        Some(&TOKEN) => "tokens",
        Some(_) | None => "unknown",
    }
}

/// Whether a record lies under the key that it belongs under.
#[must_use]
pub fn belongs_under(key: &[u8], loaded: &Loaded) -> bool {
    let own = match loaded {
        Loaded::Log(log) => log_key(log.revision),
        Loaded::OldLog(log) => log_key(log.revision),
        Loaded::Record(record) => self::key(&record.key()),
    };
    own.as_bytes() == key
}

/// The key of a revision's slot in the history.
#[must_use]
pub fn log_key(revision: Revision) -> Key {
    let slot = u32::try_from(revision.0 % HISTORY_SLOTS).expect("the history has fewer than 2^32 slots");
    slot_key(LOG, slot)
}

/// An item of the history as it is stored.
pub fn encode_log(log: &LogRecord) -> Result<Vec<u8>, StoreError> {
    bytes(log)
}

/// Reads an item of the history; none when it is of format 1, whose events are no longer understood.
pub fn decode_log(value: &[u8]) -> Result<Option<LogRecord>, StoreError> {
    if let Some(value) = value.strip_prefix(&v2::FORMAT) {
        return v2::log(value).map(Some);
    }
    if let Some(value) = value.strip_prefix(&v3::FORMAT) {
        return v3::log(value).map(Some);
    }
    if !value.starts_with(&FORMAT) {
        return Ok(None);
    }
    parse("history", value).map(Some)
}

/// Whether a value is of one of these formats.
fn is_of(formats: &[[u8; 2]], value: &[u8]) -> bool {
    formats.iter().any(|format| value.starts_with(format))
}

fn unknown(kind: Option<&u8>) -> StoreError {
    let what = format!("a record of unknown kind {kind:?}; was it written by a newer mesh?");
    StoreError::Corrupt { what }
}

fn key(name: &RecordKey) -> Key {
    match name {
        RecordKey::Scope(scope) => digest_key(SCOPE, &[scope.as_str()]),
        RecordKey::Peer(key) => digest_key(PEER, &[key.scope.as_str(), key.name.as_str()]),
        RecordKey::Lock(key) => {
            digest_key(LOCK, &[key.scope.as_str(), key.target.as_str(), key.holder.as_str()])
        }
        RecordKey::Entry(scope, key) => digest_key(ENTRY, &[scope.as_str(), key.as_str()]),
        RecordKey::Message(slot) => slot_key(MESSAGE, *slot),
        RecordKey::Past(scope, key, slot) => {
            digest_key(PAST, &[scope.as_str(), key.as_str(), &slot.to_string()])
        }
        RecordKey::Policy(scope, prefix) => digest_key(POLICY, &[scope.as_str(), prefix]),
        RecordKey::Waiter(ticket) => number_key(WAITER, ticket.0.0),
        RecordKey::ReleaseRequest(key) => {
            digest_key(RELEASE_REQUEST, &[key.scope.as_str(), &key.id.0.to_string(), key.holder.as_str()])
        }
        RecordKey::Token(id) => digest_key(TOKEN, &[id.as_str()]),
        RecordKey::Touch(key) => {
            digest_key(TOUCH, &[key.scope.as_str(), key.path.as_str(), key.peer.as_str()])
        }
    }
}

fn digest_key(kind: u8, parts: &[&str]) -> Key {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let mut bytes = vec![kind];
    bytes.extend_from_slice(hasher.finalize().as_bytes());
    Key::new(bytes).expect("33 bytes of a kind of ours make a key")
}

fn slot_key(kind: u8, slot: u32) -> Key {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&slot.to_be_bytes());
    Key::new(bytes).expect("5 bytes of a kind of ours make a key")
}

fn number_key(kind: u8, number: u64) -> Key {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&number.to_be_bytes());
    Key::new(bytes).expect("9 bytes of a kind of ours make a key")
}

fn value(record: &Record) -> Result<Vec<u8>, StoreError> {
    match record {
        Record::Scope(r) => bytes(r),
        Record::Peer(r) => bytes(&**r),
        Record::Lock(r) => bytes(&**r),
        Record::Entry(r) => bytes(&**r),
        Record::Message(r) => bytes(&**r),
        Record::Past(r) => bytes(&**r),
        Record::Policy(r) => bytes(r),
        Record::Waiter(r) => bytes(&**r),
        Record::ReleaseRequest(r) => bytes(&**r),
        Record::Touch(r) => bytes(&**r),
        Record::Token(r) => bytes(&**r),
    }
}

fn bytes(record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    postcard::to_extend(record, FORMAT.to_vec())
        .map_err(|error| StoreError::Corrupt { what: format!("a record cannot be encoded: {error}") })
}

fn parse<T: DeserializeOwned>(what: &str, value: &[u8]) -> Result<T, StoreError> {
    let unreadable = |error: &dyn std::fmt::Display| StoreError::Corrupt {
        what: format!("a {what} record cannot be read: {error}"),
    };
    // What did not change since is read as what it is.
    let record = [FORMAT, v3::FORMAT, v2::FORMAT].iter().find_map(|format| value.strip_prefix(format));
    let record = record.ok_or_else(|| unreadable(&"its format is unknown"))?;
    postcard::from_bytes(record).map_err(|error| unreadable(&error))
}
