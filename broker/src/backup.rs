//! A backup: all records of a store as they were at one revision, in one file that proves itself whole.
//!
//! ```text
//! "MESHBAK\n"  version of this layout, 4 bytes
//! frames       kind, 1 byte; length, 4 bytes; crc32 of kind, length and payload, 4 bytes; payload
//!   'H'        header: what the store is. The first one, once
//!   'R'        a record: length of the key, 2 bytes; key; value
//!   'E'        the end: how many records, 8 bytes; the newest revision, 8 bytes; blake3 of every byte before the digest
//! ```
//!
//! Numbers are little endian. The store's secret is not in it: whoever reads a backup reads what is remembered and said,
//! but cannot pose as a session.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::io;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

pub use self::reader::Reader;
pub use self::writer::write;
use crate::store::StoreError;

/// Version of the layout.
pub const BACKUP_FORMAT: u32 = 1;

const MAGIC: &[u8; 8] = b"MESHBAK\n";
const HEADER: u8 = b'H';
const RECORD: u8 = b'R';
const END: u8 = b'E';
const DIGEST_BYTES: usize = 32;
const END_BYTES: usize = 8 + 8 + DIGEST_BYTES;

/// Where a backup is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The format of the store, and so of its records, at most.
    pub store_format: u32,
    /// Names the history of the store.
    pub incarnation: Uuid,
    /// When the store was created, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When the backup was begun, likewise.
    pub taken_ms: u64,
    /// Version of the program that wrote it.
    pub program: String,
}

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many records.
    pub records: u64,
    /// The newest revision.
    pub revision: u64,
}

/// Why a backup cannot be written or read.
#[derive(Debug, Error)]
pub enum BackupError {
    /// It is no backup, or not what was written.
    #[error("it is not a whole backup: {0}")]
    Damaged(String),
    /// It is of a layout, or of a store, that this program does not know.
    #[error(
        "the {what} has format {found}, this program reads formats up to {supported}; use the program that wrote it"
    )]
    Version {
        /// Whose format.
        what: &'static str,
        /// The one found.
        found: u32,
        /// The newest one known.
        supported: u32,
    },
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn checksum(kind: u8, length: u32, parts: &[&[u8]]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[kind]);
    crc.update(&length.to_le_bytes());
    parts.iter().for_each(|part| crc.update(part));
    crc.finalize()
}
