//! What a record looks like on disk, format version 1.
//!
//! Owns the envelope around every value, the splitting of values longer than one record, and the meta
//! record. Pure: bytes in, bytes out.
//!
//! A record under physical key `k` is
//!
//! ```text
//! 0       version   1
//! 1..5    crc32     little endian, over version, k, and everything from byte 5 on
//! 5       chunks    how many records the value takes
//! 6..10   length    of the whole value, little endian       } only if
//! 10..14  crc32     of the whole value, little endian       } chunks > 1
//! ..      payload
//! ```
//!
//! The first chunk lies under the record's own key, chunk `i > 0` under `0xff ‖ key ‖ i`, outside the range
//! that [`super::Store::load`] walks. All chunks of a value carry the same tag (chunks, length, crc), so a
//! chunk of another value is never taken for one of this.
//!
//! What must hold: any change of a stored byte is found, and a change of this layout comes with a new
//! version and a reader for the old one.

use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use super::{Identity, MAX_VALUE_BYTES, STORE_FORMAT, Secret, StoreError};

/// Kind, and whole key, of the meta record.
pub(super) const META_KIND: u8 = 0x00;

/// Kind of the physical keys that hold second and later chunks.
pub(super) const CONTINUATION_KIND: u8 = 0xff;

/// The longest record on disk, envelope included.
const MAX_RECORD_BYTES: usize = 32 * 1024;

/// Payload of a full chunk.
pub(super) const CHUNK_BYTES: usize = MAX_RECORD_BYTES - SPLIT_HEADER_BYTES;

const RECORD_VERSION: u8 = 1;
const CRC_AT: usize = 1;
const BODY_AT: usize = 5;
const HEADER_BYTES: usize = 6;
const SPLIT_HEADER_BYTES: usize = 14;
const META_BYTES: usize = 4 + 16 + 32 + 8;

// The count of chunks is one byte on disk, the length four.
const _: () = assert!(MAX_VALUE_BYTES.div_ceil(CHUNK_BYTES) <= u8::MAX as usize);
const _: () = assert!(MAX_VALUE_BYTES <= u32::MAX as usize);

/// How many physical records a value of `len` bytes takes.
pub const fn chunks(len: usize) -> usize {
    if len == 0 { 1 } else { len.div_ceil(CHUNK_BYTES) }
}

/// [`chunks`] of a value that may be absent.
pub(super) fn chunks_of(value: Option<&Bytes>) -> usize {
    value.map_or(0, |value| chunks(value.len()))
}

/// A key for people: its kind and its bytes in hexadecimal.
pub(super) fn name_of(key: &[u8]) -> String {
    let kind = key.first().copied().unwrap_or_default();
    let mut name = format!("kind 0x{kind:02x}, key ");
    for byte in key {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Physical key of chunk `index` (from 1) of the record under `key`.
pub(super) fn continuation(key: &[u8], index: u8) -> Vec<u8> {
    [&[CONTINUATION_KIND], key, &[index]].concat()
}

/// The record and the index that a physical key of [`CONTINUATION_KIND`] belongs to.
pub(super) fn parse_continuation(physical: &[u8]) -> Option<(&[u8], u8)> {
    let (&index, rest) = physical.split_last()?;
    let (_kind, key) = rest.split_first()?;
    (!key.is_empty() && index > 0).then_some((key, index))
}

/// The physical records of a value: its key and chunks, first chunk first.
///
/// The value is at most [`MAX_VALUE_BYTES`] long.
pub(super) fn encode(key: &[u8], value: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let tag = Tag::of(value);
    if tag.chunks == 1 {
        return vec![(key.to_vec(), seal(key, tag, value))];
    }
    (0u8..)
        .zip(value.chunks(CHUNK_BYTES))
        .map(|(index, payload)| {
            let physical = if index == 0 { key.to_vec() } else { continuation(key, index) };
            let record = seal(&physical, tag, payload);
            (physical, record)
        })
        .collect()
}

/// A value, put together from its first record and those that `fetch` finds under continuation keys.
pub(super) fn decode<R: AsRef<[u8]>>(
    key: &[u8],
    first: &[u8],
    mut fetch: impl FnMut(&[u8]) -> Result<Option<R>, StoreError>,
) -> Result<(Bytes, usize), StoreError> {
    let (tag, payload) = unseal(key, first)?;
    if tag.chunks == 1 {
        return Ok((Bytes::copy_from_slice(payload), 1));
    }
    let mut value = BytesMut::with_capacity(tag.len as usize);
    value.extend_from_slice(payload);
    for index in 1..tag.chunks {
        let physical = continuation(key, index);
        let record = fetch(&physical)?.ok_or_else(|| damaged(key, &format!("chunk {index} is missing")))?;
        let (of, payload) = unseal(&physical, record.as_ref())?;
        if of != tag {
            return Err(damaged(key, &format!("chunk {index} belongs to another value")));
        }
        value.extend_from_slice(payload);
    }
    if value.len() != tag.len as usize {
        return Err(damaged(key, &format!("{} bytes instead of {}", value.len(), tag.len)));
    }
    Ok((value.freeze(), usize::from(tag.chunks)))
}

/// What all chunks of one value have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag {
    chunks: u8,
    /// Zero, like `crc`, for a value in one record, whose envelope says it all.
    len: u32,
    crc: u32,
}

impl Tag {
    fn of(value: &[u8]) -> Self {
        debug_assert!(value.len() <= MAX_VALUE_BYTES, "the batch was checked");
        match chunks(value.len()) {
            1 => Self { chunks: 1, len: 0, crc: 0 },
            // Both fit, by the assertions on the constants above.
            many => Self { chunks: many as u8, len: value.len() as u32, crc: crc32fast::hash(value) },
        }
    }
}

fn seal(physical: &[u8], tag: Tag, payload: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(SPLIT_HEADER_BYTES + payload.len());
    record.extend_from_slice(&[RECORD_VERSION, 0, 0, 0, 0, tag.chunks]);
    if tag.chunks > 1 {
        record.extend_from_slice(&tag.len.to_le_bytes());
        record.extend_from_slice(&tag.crc.to_le_bytes());
    }
    record.extend_from_slice(payload);
    let crc = checksum(physical, &record);
    record[CRC_AT..BODY_AT].copy_from_slice(&crc.to_le_bytes());
    record
}

fn unseal<'a>(physical: &[u8], record: &'a [u8]) -> Result<(Tag, &'a [u8]), StoreError> {
    let too_short = || damaged(physical, &format!("only {} bytes", record.len()));
    let version = *record.first().ok_or_else(too_short)?;
    if version != RECORD_VERSION {
        return Err(damaged(
            physical,
            &format!("record version {version}, this broker reads {RECORD_VERSION}"),
        ));
    }
    let stored = u32_at(record, CRC_AT).ok_or_else(too_short)?;
    let chunks = *record.get(BODY_AT).ok_or_else(too_short)?;
    if checksum(physical, record) != stored {
        return Err(damaged(physical, "checksum mismatch"));
    }
    if chunks == 1 {
        return Ok((Tag { chunks, len: 0, crc: 0 }, &record[HEADER_BYTES..]));
    }
    let len = u32_at(record, HEADER_BYTES).ok_or_else(too_short)?;
    let crc = u32_at(record, HEADER_BYTES + 4).ok_or_else(too_short)?;
    if chunks == 0 || len as usize > MAX_VALUE_BYTES {
        return Err(damaged(physical, &format!("{chunks} chunks, {len} bytes")));
    }
    Ok((Tag { chunks, len, crc }, &record[SPLIT_HEADER_BYTES..]))
}

/// Over all of `record` but the place of the checksum itself. `record` has a version byte.
fn checksum(physical: &[u8], record: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&record[..CRC_AT]);
    crc.update(physical);
    crc.update(&record[BODY_AT..]);
    crc.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*four))
}

fn damaged(key: &[u8], how: &str) -> StoreError {
    StoreError::Corrupt { what: format!("record of {}: {how}", name_of(key)) }
}

/// The meta record: its key and bytes.
///
/// Its envelope stays at version 1 whatever the store's format, so that every broker can read every
/// store's format number.
pub(super) fn encode_meta(identity: &Identity) -> (Vec<u8>, Vec<u8>) {
    let key = vec![META_KIND];
    let mut payload = Vec::with_capacity(META_BYTES);
    payload.extend_from_slice(&STORE_FORMAT.to_le_bytes());
    payload.extend_from_slice(identity.incarnation.as_bytes());
    payload.extend_from_slice(identity.secret.as_bytes());
    payload.extend_from_slice(&identity.created_ms.to_le_bytes());
    let record = seal(&key, Tag::of(&payload), &payload);
    (key, record)
}

/// Reads the meta record; a store of another format is [`StoreError::Version`].
pub(super) fn decode_meta(record: &[u8]) -> Result<Identity, StoreError> {
    let key = [META_KIND];
    let (_tag, payload) = unseal(&key, record)?;
    let malformed = || damaged(&key, &format!("{} bytes of meta", payload.len()));
    let (format, rest) = payload.split_first_chunk().ok_or_else(malformed)?;
    let found = u32::from_le_bytes(*format);
    if found != STORE_FORMAT {
        return Err(StoreError::Version { found, supported: STORE_FORMAT });
    }
    let (incarnation, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
    let (secret, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
    let created_ms = rest.try_into().map_err(|_| malformed())?;
    Ok(Identity {
        incarnation: Uuid::from_bytes(*incarnation),
        secret: Secret::new(*secret),
        created_ms: u64::from_le_bytes(created_ms),
    })
}
