//! From a snapshot to a backup.

use std::io::{self, Write};

use super::{BACKUP_FORMAT, BackupError, END, HEADER, Header, MAGIC, RECORD, Summary};
use crate::records::{self, Loaded};
use crate::store::{Snapshot, StoreError};

/// Writes everything to `out`, in the order of the keys.
pub fn write(
    header: &Header,
    snapshot: &mut dyn Snapshot,
    out: &mut dyn Write,
) -> Result<Summary, BackupError> {
    let mut out = Digesting { out, hasher: blake3::Hasher::new() };
    out.put(MAGIC)?;
    out.put(&BACKUP_FORMAT.to_le_bytes())?;
    let header = postcard::to_stdvec(header).map_err(io::Error::other)?;
    out.frame(HEADER, &[&header])?;
    let mut summary = Summary { records: 0, revision: 0 };
    loop {
        let rows = snapshot.next()?;
        if rows.is_empty() {
            break;
        }
        for (key, value) in rows {
            summary.records += 1;
            summary.revision = summary.revision.max(revision(key.as_bytes(), &value)?);
            let key = key.as_bytes();
            let length = u16::try_from(key.len()).map_err(io::Error::other)?;
            out.frame(RECORD, &[&length.to_le_bytes(), key, &value])?;
        }
    }
    out.end(summary)?;
    Ok(summary)
}

/// Of an item of the history its revision; a record that cannot be read does not go into a backup unnoticed.
fn revision(key: &[u8], value: &[u8]) -> Result<u64, StoreError> {
    Ok(match records::decode(key, value)? {
        Loaded::Log(log) => log.revision.0,
        Loaded::OldLog(log) => log.revision.0,
        Loaded::Record(_) => 0,
    })
}

struct Digesting<'a> {
    out: &'a mut dyn Write,
    hasher: blake3::Hasher,
}

impl Digesting<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }

    fn frame(&mut self, kind: u8, parts: &[&[u8]]) -> io::Result<()> {
        let length =
            u32::try_from(parts.iter().map(|part| part.len()).sum::<usize>()).map_err(io::Error::other)?;
        self.put(&[kind])?;
        self.put(&length.to_le_bytes())?;
        self.put(&super::checksum(kind, length, parts).to_le_bytes())?;
        parts.iter().try_for_each(|part| self.put(part))
    }

    /// The last frame. Its digest covers itself up to there, its checksum all but the digest.
    fn end(mut self, summary: Summary) -> io::Result<()> {
        let numbers = [summary.records.to_le_bytes(), summary.revision.to_le_bytes()].concat();
        let length = super::END_BYTES as u32;
        self.put(&[END])?;
        self.put(&length.to_le_bytes())?;
        self.put(&super::checksum(END, length, &[&numbers]).to_le_bytes())?;
        self.put(&numbers)?;
        let digest = self.hasher.finalize();
        self.out.write_all(digest.as_bytes())?;
        self.out.flush()
    }
}
