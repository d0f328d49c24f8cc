//! From a backup to its records, none of which is more than claimed until the end has been read.

use std::io::{self, Read};

use bytes::Bytes;

use super::{
    BACKUP_FORMAT, BackupError, DIGEST_BYTES, END, END_BYTES, HEADER, Header, MAGIC, RECORD, Summary,
};
use crate::store::{Key, MAX_KEY_BYTES, MAX_VALUE_BYTES, OLDEST_FORMAT, STORE_FORMAT};

/// Longest payload that can be one.
const LONGEST: usize = 2 + MAX_KEY_BYTES + MAX_VALUE_BYTES;

/// Reads a backup from its beginning to its end.
#[derive(Debug)]
pub struct Reader<R> {
    input: Digesting<R>,
    header: Header,
    records: u64,
    end: Option<Summary>,
}

impl<R: Read> Reader<R> {
    /// Reads what the backup says of itself.
    pub fn open(input: R) -> Result<Self, BackupError> {
        let mut input = Digesting { input, hasher: blake3::Hasher::new() };
        let mut start = [0; MAGIC.len() + 4];
        input.fill(&mut start)?;
        let (magic, version) = start.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(damaged("it does not begin like one"));
        }
        let version = number(version);
        if version != u64::from(BACKUP_FORMAT) {
            let found = u32::try_from(version).unwrap_or(u32::MAX);
            return Err(BackupError::Version { what: "backup", found, supported: BACKUP_FORMAT });
        }
        let (kind, payload) = input.frame()?;
        if kind != HEADER {
            return Err(damaged("its header is missing"));
        }
        let header: Header =
            postcard::from_bytes(&payload).map_err(|_| damaged("its header cannot be read"))?;
        let found = header.store_format;
        if !(OLDEST_FORMAT..=STORE_FORMAT).contains(&found) {
            return Err(BackupError::Version { what: "backed up store", found, supported: STORE_FORMAT });
        }
        Ok(Self { input, header, records: 0, end: None })
    }

    /// Where the backup is from.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What it holds, once all was read.
    pub fn summary(&self) -> Option<Summary> {
        self.end
    }

    /// The next record; none after the last one, once the whole file has proved to be what was written.
    pub fn read_next(&mut self) -> Result<Option<(Key, Bytes)>, BackupError> {
        if self.end.is_some() {
            return Ok(None);
        }
        let (kind, payload) = self.input.frame()?;
        match kind {
            RECORD => {
                self.records += 1;
                record(payload).map(Some)
            }
            END => self.finish(&payload).map(|()| None),
            _ => Err(damaged("it has a part of an unknown kind")),
        }
    }

    fn finish(&mut self, numbers: &[u8]) -> Result<(), BackupError> {
        let expected = self.input.hasher.finalize();
        let mut digest = [0; DIGEST_BYTES];
        self.input.fill(&mut digest)?;
        if expected != digest {
            return Err(damaged("its digest does not match"));
        }
        let (records, revision) = numbers.split_at(8);
        let summary = Summary { records: number(records), revision: number(revision) };
        if summary.records != self.records {
            return Err(damaged(&format!("it has {} records and says {}", self.records, summary.records)));
        }
        if self.input.input.read(&mut [0])? > 0 {
            return Err(damaged("something follows its end"));
        }
        self.end = Some(summary);
        Ok(())
    }
}

fn record(payload: Vec<u8>) -> Result<(Key, Bytes), BackupError> {
    let malformed = || damaged("one of its records is malformed");
    let (length, rest) = payload.split_first_chunk::<2>().ok_or_else(malformed)?;
    let key = rest.get(..usize::from(u16::from_le_bytes(*length))).ok_or_else(malformed)?;
    let key = Key::new(key.to_vec()).map_err(|_| malformed())?;
    let value = Bytes::from(payload).split_off(2 + key.as_bytes().len());
    if value.len() > MAX_VALUE_BYTES {
        return Err(malformed());
    }
    Ok((key, value))
}

/// Up to eight bytes, the least first.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn damaged(what: &str) -> BackupError {
    BackupError::Damaged(what.to_owned())
}

#[derive(Debug)]
struct Digesting<R> {
    input: R,
    hasher: blake3::Hasher,
}

impl<R: Read> Digesting<R> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        self.input.read_exact(bytes).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                damaged("it ends too early")
            } else {
                error.into()
            }
        })?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// A frame; of the last one the part before the digest.
    fn frame(&mut self) -> Result<(u8, Vec<u8>), BackupError> {
        let mut start = [0; 9];
        self.fill(&mut start)?;
        let kind = start[0];
        let (length, crc) = start[1..].split_at(4);
        let (length, crc) = (number(length) as usize, number(crc));
        let is_sane = if kind == END { length == END_BYTES } else { length <= LONGEST };
        if !is_sane {
            return Err(damaged("one of its parts has an impossible length"));
        }
        let mut payload = vec![0; if kind == END { length - DIGEST_BYTES } else { length }];
        self.fill(&mut payload)?;
        if u64::from(super::checksum(kind, length as u32, &[&payload])) != crc {
            return Err(damaged("a checksum does not match"));
        }
        Ok((kind, payload))
    }
}
