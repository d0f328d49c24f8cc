//! What a record looks like on disk.
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

use super::{Identity, MAX_KEY_BYTES, MAX_VALUE_BYTES, OLDEST_FORMAT, STORE_FORMAT, Secret, StoreError};

/// Kind, and whole key, of the meta record.
pub(super) const META_KIND: u8 = 0x00;

/// Name of the record by which the store shows that it works. Nothing reads it later.
pub(super) const PROBE: &[u8] = &[META_KIND, b'p'];

/// Kind of the physical keys that hold second and later chunks.
pub(super) const CONTINUATION_KIND: u8 = 0xff;

/// The longest record on disk, envelope included.
///
/// A page that sled would write at more than a quarter of a segment goes to a file of its own, which sled
/// never syncs. A leaf grows to 17 records before it is split, to 20 when a small neighbour is merged into
/// it; even that many of the longest fit.
const MAX_RECORD_BYTES: usize = 4 * 1024 + 256;

/// Payload of a full chunk.
pub(super) const CHUNK_BYTES: usize = MAX_RECORD_BYTES - SPLIT_HEADER_BYTES;

const RECORD_VERSION: u8 = 1;
const CRC_AT: usize = 1;
const BODY_AT: usize = 5;
const HEADER_BYTES: usize = 6;
const SPLIT_HEADER_BYTES: usize = 14;
const META_BYTES: usize = 4 + 16 + 32 + 8;

const SLED_PAGE_BYTES: usize = 512 * 1024 / 4 - 64;
const SLED_LEAF_RECORDS: usize = 20;
const SLED_RECORD_OVERHEAD: usize = 16;

const _: () = assert!(
    SLED_LEAF_RECORDS * (MAX_RECORD_BYTES + MAX_KEY_BYTES + 2 + SLED_RECORD_OVERHEAD) <= SLED_PAGE_BYTES
);
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

/// Reads the meta record: identity and format; a store of a format that is not read is [`StoreError::Version`].
pub(super) fn decode_meta(record: &[u8]) -> Result<(Identity, u32), StoreError> {
    let key = [META_KIND];
    let (_tag, payload) = unseal(&key, record)?;
    let malformed = || damaged(&key, &format!("{} bytes of meta", payload.len()));
    let (format, rest) = payload.split_first_chunk().ok_or_else(malformed)?;
    let found = u32::from_le_bytes(*format);
    if !(OLDEST_FORMAT..=STORE_FORMAT).contains(&found) {
        return Err(StoreError::Version { found, supported: STORE_FORMAT });
    }
    let (incarnation, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
    let (secret, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
    let created_ms = rest.try_into().map_err(|_| malformed())?;
    let identity = Identity {
        incarnation: Uuid::from_bytes(*incarnation),
        secret: Secret::new(*secret),
        created_ms: u64::from_le_bytes(created_ms),
    };
    Ok((identity, found))
}

/// A meta record of which only the format number is known.
#[cfg(test)]
pub(super) fn meta_of_format(format: u32) -> Vec<u8> {
    let payload = format.to_le_bytes();
    seal(&[META_KIND], Tag::of(&payload), &payload)
}

/// A meta record as brokers of an older format have written it.
#[cfg(test)]
pub(super) fn meta_of_old(format: u32) -> Vec<u8> {
    tests::unhex(if format == 1 { tests::META_V1 } else { tests::META_V2 })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    // Bytes as brokers of these formats have written them; they change with no later version.
    pub(super) const META_V1: &str = "01075aa0840101000000303132333435363738396162636465666120736563726574206f6620\
        7468697274792d74776f206279746573202e2e2e0068e5cf8b010000";
    const META_V4: &str = "0136e2dfd30104000000303132333435363738396162636465666120736563726574206f6620\
        7468697274792d74776f206279746573202e2e2e0068e5cf8b010000";
    const META_V3: &str = "01584176ca0103000000303132333435363738396162636465666120736563726574206f6620\
        7468697274792d74776f206279746573202e2e2e0068e5cf8b010000";
    pub(super) const META_V2: &str = "01d7cfa5000102000000303132333435363738396162636465666120736563726574206f6620\
        7468697274792d74776f206279746573202e2e2e0068e5cf8b010000";
    const SHORT_V1: &str = "01c22d78970176616c7565";
    const SPLIT_V1_TAIL: &str = "01ef3a999902f71000000a7f169f2526272829";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn identity() -> Identity {
        Identity {
            incarnation: Uuid::from_bytes(*b"0123456789abcdef"),
            secret: Secret::new(*b"a secret of thirty-two bytes ..."),
            created_ms: 1_700_000_000_000,
        }
    }

    fn read(key: &[u8], records: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Bytes, StoreError> {
        let value = decode(key, &records[key], |name| Ok(records.get(name).cloned()))?;
        Ok(value.0)
    }

    fn split_value() -> Bytes {
        (0..CHUNK_BYTES + 5).map(|at| (at % 253) as u8).collect()
    }

    #[test]
    fn records_of_format_1_are_read() {
        let none = |_: &[u8]| Ok(None::<Vec<u8>>);
        let (value, chunks) = decode(b"\x05name", &unhex(SHORT_V1), none).unwrap();
        assert_eq!((&value[..], chunks), (&b"value"[..], 1));

        let mut records: BTreeMap<_, _> = encode(b"\x05big", &split_value()).into_iter().collect();
        assert_eq!(records.len(), 2);
        records.insert(b"\xff\x05big\x01".to_vec(), unhex(SPLIT_V1_TAIL));
        assert_eq!(read(b"\x05big", &records).unwrap(), split_value());

        assert_eq!(decode_meta(&unhex(META_V1)).unwrap(), (identity(), 1));
        assert_eq!(decode_meta(&unhex(META_V2)).unwrap(), (identity(), 2));
        assert_eq!(decode_meta(&unhex(META_V3)).unwrap(), (identity(), 3));
        assert_eq!(decode_meta(&unhex(META_V4)).unwrap(), (identity(), 4));
    }

    #[test]
    fn records_are_written_as_they_always_were_and_the_meta_record_says_format_4() {
        assert_eq!(hex(&encode(b"\x05name", b"value")[0].1), SHORT_V1);
        assert_eq!(hex(&encode(b"\x05big", &split_value())[1].1), SPLIT_V1_TAIL);
        assert_eq!(hex(&encode_meta(&identity()).1), META_V4);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        for value in [&b""[..], b"v", b"a small record"] {
            let (key, record) = encode(b"\x05name", value).remove(0);
            for bit in 0..record.len() * 8 {
                let mut flipped = record.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let read = decode(&key, &flipped, |_| Ok(None::<Vec<u8>>));
                assert!(matches!(read, Err(StoreError::Corrupt { .. })), "bit {bit} of {value:?}");
            }
        }
        let meta = encode_meta(&identity()).1;
        for bit in 0..meta.len() * 8 {
            let mut flipped = meta.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode_meta(&flipped), Err(StoreError::Corrupt { .. })), "bit {bit} of meta");
        }
    }

    #[test]
    fn every_flipped_bit_of_a_further_chunk_is_found() {
        let key = b"\x05big";
        let records: BTreeMap<_, _> = encode(key, &split_value()).into_iter().collect();
        let tail = continuation(key, 1);
        for bit in 0..records[&tail].len() * 8 {
            let mut records = records.clone();
            records.get_mut(&tail).unwrap()[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(read(key, &records), Err(StoreError::Corrupt { .. })), "bit {bit}");
        }
    }

    #[test]
    fn every_truncation_is_found() {
        let (key, record) = encode(b"\x05name", b"a small record").remove(0);
        for len in 0..record.len() {
            let read = decode(&key, &record[..len], |_| Ok(None::<Vec<u8>>));
            assert!(matches!(read, Err(StoreError::Corrupt { .. })), "{len} bytes");
        }
    }

    #[test]
    fn a_record_under_another_key_is_refused() {
        let (_, record) = encode(b"\x05name", b"value").remove(0);
        let read = decode(b"\x05nane", &record, |_| Ok(None::<Vec<u8>>));
        assert!(matches!(read, Err(StoreError::Corrupt { .. })));
    }

    #[test]
    fn a_missing_or_foreign_chunk_is_refused_by_name() {
        let key = b"\x05big";
        let mut records: BTreeMap<_, _> = encode(key, &split_value()).into_iter().collect();
        let tail = continuation(key, 1);
        let own = records.remove(&tail).unwrap();
        assert_eq!(
            read(key, &records).unwrap_err().to_string(),
            "the store is damaged: record of kind 0x05, key 05626967: chunk 1 is missing"
        );
        let older: Bytes = vec![9; CHUNK_BYTES + 5].into();
        records.insert(tail.clone(), encode(key, &older).remove(1).1);
        assert_eq!(
            read(key, &records).unwrap_err().to_string(),
            "the store is damaged: record of kind 0x05, key 05626967: chunk 1 belongs to another value"
        );
        records.insert(tail, own);
        assert_eq!(read(key, &records).unwrap(), split_value());
    }

    #[test]
    fn an_unknown_record_version_is_refused_by_name() {
        let (key, mut record) = encode(b"\x05a", b"value").remove(0);
        record[0] = 2;
        let error = decode(&key, &record, |_| Ok(None::<Vec<u8>>)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the store is damaged: record of kind 0x05, key 0561: record version 2, this broker reads 1"
        );
    }

    #[test]
    fn another_store_format_is_refused_whatever_follows_its_number() {
        for found in [0, STORE_FORMAT + 1] {
            let error = decode_meta(&meta_of_format(found)).unwrap_err();
            assert!(matches!(error, StoreError::Version { found: of, .. } if of == found), "{error}");
        }
    }

    #[test]
    fn continuation_keys_lead_back_to_their_record() {
        assert_eq!(parse_continuation(&continuation(b"\x05k", 7)), Some((&b"\x05k"[..], 7)));
        for bad in [&b""[..], b"\xff", b"\xff\x05", b"\xff\x05\x00"] {
            assert_eq!(parse_continuation(bad), None);
        }
    }
}
