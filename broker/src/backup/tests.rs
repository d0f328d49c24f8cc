//! A backup says what was there, or that it is not whole.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{BackupError, Header, Reader, Summary, write};
use crate::records::tests::golden;
use crate::store::{Batch, Identity, Key, MemoryDisk, MemoryStore, Op, Secret, Store};

const SECRET: [u8; 32] = [0x5e; 32];

/// One of every kind of record, and the store's own account of them.
fn store() -> (Arc<MemoryStore>, Vec<(Key, Bytes)>) {
    let identity = Identity { incarnation: Uuid::from_u128(1), secret: Secret::new(SECRET), created_ms: 3 };
    let store = Arc::new(MemoryStore::open(&MemoryDisk::new(), identity).unwrap());
    let rows: Vec<_> =
        golden().into_iter().map(|(key, value)| (Key::new(key).unwrap(), Bytes::from(value))).collect();
    for (key, value) in &rows {
        store.commit(&Batch::from_iter([Op::Put { key: key.clone(), value: value.clone() }])).unwrap();
    }
    (store, rows)
}

fn header(store: &MemoryStore) -> Header {
    crate::maintenance::header(store.identity(), crate::store::STORE_FORMAT)
}

fn backup() -> (Vec<u8>, Summary, Vec<(Key, Bytes)>) {
    let (store, rows) = store();
    let mut bytes = Vec::new();
    let mut snapshot = store.clone().snapshot().unwrap();
    let summary = write(&header(&store), snapshot.as_mut(), &mut bytes).unwrap();
    (bytes, summary, rows)
}

fn read(bytes: &[u8]) -> Result<(Vec<(Key, Bytes)>, Summary), BackupError> {
    let mut reader = Reader::open(bytes)?;
    let mut rows = Vec::new();
    while let Some(row) = reader.read_next()? {
        rows.push(row);
    }
    Ok((rows, reader.summary().unwrap()))
}

#[test]
fn every_kind_of_record_comes_back_and_the_secret_stays() {
    let (bytes, summary, rows) = backup();
    let (found, told) = read(&bytes).unwrap();
    assert_eq!(found, rows);
    assert_eq!((told, told.records), (summary, rows.len() as u64));
    assert!(summary.revision > 0);
    assert!(!bytes.windows(8).any(|window| *window == SECRET[..8]), "the secret is in the backup");
}

#[test]
fn a_change_of_any_byte_is_found() {
    let (bytes, ..) = backup();
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        assert!(read(&bytes).is_err(), "byte {at} of {}", bytes.len());
    }
}

#[test]
fn a_backup_that_ends_early_or_late_is_refused() {
    let (mut bytes, ..) = backup();
    for end in 0..bytes.len() {
        assert!(read(&bytes[..end]).is_err(), "{end} bytes of {}", bytes.len());
    }
    bytes.push(0);
    assert!(read(&bytes).unwrap_err().to_string().contains("something follows its end"));
}

#[test]
fn backups_of_newer_formats_are_refused_by_name() {
    let (mut bytes, ..) = backup();
    bytes[8] = 9;
    let refused = read(&bytes).unwrap_err().to_string();
    assert!(refused.starts_with("the backup has format 9, this program reads formats up to 1"), "{refused}");
    let (store, _) = store();
    let newer = Header { store_format: 99, ..header(&store) };
    let mut bytes = Vec::new();
    write(&newer, store.snapshot().unwrap().as_mut(), &mut bytes).unwrap();
    let refused = read(&bytes).unwrap_err().to_string();
    assert!(refused.starts_with("the backed up store has format 99"), "{refused}");
}
