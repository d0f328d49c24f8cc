//! What every backend must do, run against each of them.
//!
//! A behaviour is a function generic over [`Backend`]; the macro at the end turns the list of behaviours
//! into one test for each backend.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::codec::CHUNK_BYTES;
use super::{
    Batch, Fault, Identity, Key, MAX_BATCH_OPS, MAX_KEY_BYTES, MAX_VALUE_BYTES, MemoryDisk, MemoryStore, Op,
    Secret, SledOptions, SledStore, Snapshot, Store, StoreError, chunks,
};

/// A place for one store, which outlives the store's handles.
pub(super) trait Backend {
    type Store: Store;

    /// An empty place.
    fn new() -> Self;

    /// Opens the store there.
    fn open_as(&self, identity: Identity) -> Result<Self::Store, StoreError>;

    /// Makes the store's next commit fail.
    fn break_next_commit(&self, store: &mut Self::Store);

    fn open(&self) -> Self::Store {
        self.open_as(identity(1)).unwrap()
    }
}

pub(super) struct Disk(pub(super) tempfile::TempDir);

impl Backend for Disk {
    type Store = SledStore;

    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open_as(&self, identity: Identity) -> Result<SledStore, StoreError> {
        let durability = super::Durability::Power;
        SledStore::open(&self.0.path().join("store"), SledOptions { durability, identity })
    }

    fn break_next_commit(&self, store: &mut SledStore) {
        store.break_sync();
    }
}

impl Backend for MemoryDisk {
    type Store = MemoryStore;

    fn new() -> Self {
        Self::default()
    }

    fn open_as(&self, identity: Identity) -> Result<MemoryStore, StoreError> {
        MemoryStore::open(self, identity)
    }

    fn break_next_commit(&self, _store: &mut MemoryStore) {
        self.inject(1, Fault::AnswerLost);
    }
}

pub(super) fn identity(seed: u8) -> Identity {
    Identity {
        incarnation: Uuid::from_bytes([seed; 16]),
        secret: Secret::new([seed; 32]),
        created_ms: u64::from(seed),
    }
}

pub(super) fn key(text: &str) -> Key {
    Key::new(text.as_bytes().to_vec()).unwrap()
}

pub(super) fn put(name: &str, value: impl Into<Bytes>) -> Op {
    Op::Put { key: key(name), value: value.into() }
}

pub(super) fn delete(name: &str) -> Op {
    Op::Delete { key: key(name) }
}

/// Bytes that differ from chunk to chunk and from seed to seed.
pub(super) fn value(seed: u8, len: usize) -> Bytes {
    (0..len).map(|at| seed ^ (at / 251) as u8 ^ (at % 251) as u8).collect()
}

pub(super) fn commit(store: &impl Store, ops: impl IntoIterator<Item = Op>) {
    store.commit(&ops.into_iter().collect()).unwrap();
}

pub(super) fn contents(store: &impl Store) -> Vec<(Vec<u8>, Bytes)> {
    let mut all = Vec::new();
    store
        .load(&mut |key, value| {
            all.push((key.to_vec(), value));
            Ok(())
        })
        .unwrap();
    all
}

fn assert_contents(store: &impl Store, expected: &[(&str, Bytes)]) {
    let expected: Vec<_> =
        expected.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.clone())).collect();
    assert!(contents(store) == expected, "the store holds other records than expected");
}

fn a_new_store_is_empty<B: Backend>() {
    let place = B::new();
    let store = place.open();
    assert_contents(&store, &[]);
    assert_eq!(store.get(&key("a")).unwrap(), None);
}

fn load_visits_every_record_in_key_order<B: Backend>() {
    let place = B::new();
    let store = place.open();
    commit(&store, ["m", "b", "z", "a", "ab", "b\u{0}"].map(|name| put(name, name)));
    let in_order = ["a", "ab", "b", "b\u{0}", "m", "z"].map(|name| (name, Bytes::from(name)));
    assert_contents(&store, &in_order);
}

fn load_ends_with_the_error_of_its_visitor<B: Backend>() {
    let place = B::new();
    let store = place.open();
    commit(&store, [put("a", "1"), put("b", "2")]);
    let mut visits = 0;
    let result = store.load(&mut |_, _| {
        visits += 1;
        Err(StoreError::Corrupt { what: "unreadable".to_owned() })
    });
    assert!(matches!(result, Err(StoreError::Corrupt { what }) if what == "unreadable"));
    assert_eq!(visits, 1);
}

fn a_put_overwrites_and_a_delete_removes<B: Backend>() {
    let place = B::new();
    let store = place.open();
    commit(&store, [put("a", "1"), put("b", "2")]);
    commit(&store, [put("a", "3"), delete("b"), delete("never there")]);
    assert_eq!(store.get(&key("a")).unwrap(), Some(Bytes::from("3")));
    assert_eq!(store.get(&key("b")).unwrap(), None);
    assert_contents(&store, &[("a", Bytes::from("3"))]);
}

fn the_last_change_of_a_key_in_a_batch_counts<B: Backend>() {
    let place = B::new();
    let store = place.open();
    commit(&store, [put("a", "1"), delete("a"), put("b", "1"), put("b", "2"), put("c", "1"), delete("c")]);
    assert_contents(&store, &[("b", Bytes::from("2"))]);
    let mut batch: Batch = [put("a", "1"), put("b", "3")].into_iter().collect();
    batch.merge([put("a", "2"), delete("b")].into_iter().collect());
    store.commit(&batch).unwrap();
    assert_contents(&store, &[("a", Bytes::from("2"))]);
}

fn an_empty_batch_changes_nothing<B: Backend>() {
    let place = B::new();
    let store = place.open();
    store.commit(&Batch::new()).unwrap();
    assert_contents(&store, &[]);
}

fn values_of_every_length_come_back<B: Backend>() {
    let place = B::new();
    let lengths = [
        0,
        1,
        CHUNK_BYTES - 1,
        CHUNK_BYTES,
        CHUNK_BYTES + 1,
        2 * CHUNK_BYTES - 1,
        2 * CHUNK_BYTES,
        2 * CHUNK_BYTES + 1,
        32 * 1024 - 1,
        32 * 1024,
        32 * 1024 + 1,
        MAX_VALUE_BYTES - 1,
        MAX_VALUE_BYTES,
    ];
    let store = place.open();
    for len in lengths {
        commit(&store, [put(&format!("{len:06}"), value(7, len))]);
    }
    drop(store);
    let store = place.open();
    for len in lengths {
        let found = store.get(&key(&format!("{len:06}"))).unwrap();
        assert!(found == Some(value(7, len)), "a value of {len} bytes came back otherwise");
    }
    let loaded: Vec<usize> = contents(&store).into_iter().map(|(_, value)| value.len()).collect();
    assert_eq!(loaded, lengths);
}

fn values_shrink_grow_and_go_without_a_trace<B: Backend>() {
    let place = B::new();
    let steps = [5, 2, 1, 4, 0, 3, 3, 1, 0].map(|chunks| chunks * CHUNK_BYTES);
    for len in steps {
        let store = place.open();
        commit(&store, [put("big", value(len as u8, len)), put("bigger", "neighbour")]);
        assert!(store.get(&key("big")).unwrap() == Some(value(len as u8, len)), "{len} bytes");
        drop(store);
        assert_contents(
            &place.open(),
            &[("big", value(len as u8, len)), ("bigger", Bytes::from("neighbour"))],
        );
    }
    let store = place.open();
    commit(&store, [put("big", value(1, 4 * CHUNK_BYTES))]);
    commit(&store, [delete("big")]);
    commit(&store, [put("big", "small")]);
    drop(store);
    assert_contents(&place.open(), &[("big", Bytes::from("small")), ("bigger", Bytes::from("neighbour"))]);
}

fn keys_that_look_like_parts_of_others_are_records<B: Backend>() {
    let place = B::new();
    let store = place.open();
    let long = value(3, 3 * CHUNK_BYTES);
    commit(&store, [put("a", long.clone()), put("a\u{1}", long.clone()), put("a\u{1}\u{1}", "x")]);
    commit(&store, [put("a", "short")]);
    drop(store);
    assert_contents(
        &place.open(),
        &[("a", Bytes::from("short")), ("a\u{1}", long), ("a\u{1}\u{1}", Bytes::from("x"))],
    );
}

fn the_cost_counts_chunks_written_and_removed<B: Backend>() {
    let place = B::new();
    let store = place.open();
    let cost = |op: Op| store.cost(&[op].into_iter().collect());
    assert_eq!(cost(delete("a")), 1);
    assert_eq!(cost(put("a", "")), 1);
    assert_eq!(cost(put("a", value(1, 3 * CHUNK_BYTES))), 3);
    commit(&store, [put("a", value(1, 3 * CHUNK_BYTES))]);
    assert_eq!(cost(put("a", "")), 3);
    assert_eq!(cost(delete("a")), 3);
    assert_eq!(cost(put("a", value(1, 4 * CHUNK_BYTES))), 4);
    let mut batch: Batch = [delete("a"), put("b", value(1, CHUNK_BYTES + 1))].into_iter().collect();
    assert_eq!((batch.len(), store.cost(&batch)), (3, 5));
    batch.push(put("a", ""));
    assert_eq!((batch.len(), store.cost(&batch)), (3, 5));
    store.commit(&batch).unwrap();
    assert_eq!(cost(delete("a")), 1);
    assert_eq!(cost(delete("b")), 2);
}

fn a_batch_may_be_as_large_as_the_limit<B: Backend>() {
    let place = B::new();
    let store = place.open();
    let ops = |count: usize| (0..count).map(|i| put(&format!("{i:04}"), "x")).collect::<Batch>();
    store.commit(&ops(MAX_BATCH_OPS)).unwrap();
    assert_eq!(contents(&store).len(), MAX_BATCH_OPS);
    let refused = store.commit(&ops(MAX_BATCH_OPS + 1));
    assert!(
        matches!(refused, Err(StoreError::TooLarge { what: "batch", found, limit: MAX_BATCH_OPS }) if found == MAX_BATCH_OPS + 1)
    );
}

fn removing_many_chunks_counts_towards_the_limit<B: Backend>() {
    let place = B::new();
    let store = place.open();
    let values = MAX_BATCH_OPS / chunks(MAX_VALUE_BYTES) + 1;
    let names: Vec<String> = (0..values).map(|i| format!("v{i}")).collect();
    for name in &names {
        commit(&store, [put(name, value(1, MAX_VALUE_BYTES))]);
    }
    let all: Batch = names.iter().map(|name| delete(name)).collect();
    assert!(all.len() <= MAX_BATCH_OPS && store.cost(&all) > MAX_BATCH_OPS);
    assert!(matches!(store.commit(&all), Err(StoreError::TooLarge { what: "batch", .. })));
    for name in &names {
        commit(&store, [delete(name)]);
    }
    assert_contents(&store, &[]);
}

fn a_batch_too_large_is_refused_whole_and_harms_nothing<B: Backend>() {
    let place = B::new();
    let store = place.open();
    let batch = [put("a", "1"), put("b", value(1, MAX_VALUE_BYTES + 1))].into_iter().collect();
    assert!(matches!(store.commit(&batch), Err(StoreError::TooLarge { what: "value", .. })));
    assert_contents(&store, &[]);
    commit(&store, [put("a", "2")]);
    assert_contents(&store, &[("a", Bytes::from("2"))]);
}

fn the_longest_keys_work<B: Backend>() {
    let place = B::new();
    let store = place.open();
    let names: Vec<String> = (0..40).map(|i| format!("{i:02}{}", "k".repeat(MAX_KEY_BYTES - 2))).collect();
    for name in &names {
        commit(&store, [put(name, value(5, CHUNK_BYTES + 1))]);
    }
    drop(store);
    let expected: Vec<_> = names.iter().map(|name| (name.as_str(), value(5, CHUNK_BYTES + 1))).collect();
    assert_contents(&place.open(), &expected);
}

fn an_open_store_is_locked<B: Backend>() {
    let place = B::new();
    let store = place.open();
    commit(&store, [put("a", "1")]);
    let refused = place.open_as(identity(1)).err();
    assert!(matches!(refused, Some(StoreError::Locked { .. })), "{refused:?}");
    commit(&store, [put("a", "2")]);
    drop(store);
    assert_contents(&place.open(), &[("a", Bytes::from("2"))]);
}

fn the_identity_is_that_of_the_creation<B: Backend>() {
    let place = B::new();
    assert_eq!(place.open_as(identity(1)).unwrap().identity(), &identity(1));
    let store = place.open_as(identity(2)).unwrap();
    assert_eq!(store.identity(), &identity(1));
    assert_contents(&store, &[]);
}

fn a_failed_commit_poisons_until_reopened<B: Backend>() {
    let place = B::new();
    let mut store = place.open();
    commit(&store, [put("a", "1"), put("b", "1")]);
    place.break_next_commit(&mut store);
    let batch: Batch = [put("a", "2"), put("b", "2")].into_iter().collect();
    assert!(matches!(store.commit(&batch), Err(StoreError::Io { .. })));
    assert!(matches!(store.commit(&batch), Err(StoreError::Poisoned)));
    assert!(matches!(store.commit(&Batch::new()), Err(StoreError::Poisoned)));
    assert!(store.get(&key("a")).unwrap().is_some(), "reading goes on");
    drop(store);
    let store = place.open();
    let found = contents(&store);
    assert_eq!(found[0].1, found[1].1, "the failed batch is there wholly or not at all");
    commit(&store, [put("a", "3")]);
}

fn a_probe_is_a_commit_that_nobody_sees<B: Backend>() {
    let disk = B::new();
    let mut store = disk.open();
    commit(&store, [put("a", "1")]);
    for nonce in 0..3 {
        super::probe(&store, nonce).unwrap();
    }
    assert_contents(&store, &[("a", "1".into())]);
    drop(store);
    store = disk.open();
    assert_contents(&store, &[("a", "1".into())]);
    disk.break_next_commit(&mut store);
    assert!(super::probe(&store, 4).is_err());
    assert!(matches!(super::probe(&store, 5), Err(StoreError::Poisoned)));
}

fn a_reader_never_sees_a_mixture_of_two_commits<B: Backend>() {
    let place = B::new();
    let store = place.open();
    let versions = [vec![1; 3 * CHUNK_BYTES], vec![2; 4 * CHUNK_BYTES], vec![3; 10]].map(Bytes::from);
    commit(&store, [put("a", versions[0].clone())]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(Ordering::Acquire) || reads == 0 {
                let found = store.get(&key("a")).unwrap().unwrap();
                assert!(versions.contains(&found), "{} bytes", found.len());
                reads += 1;
            }
        });
        for round in 0..60 {
            commit(&store, [put("a", versions[round % 3].clone())]);
        }
        done.store(true, Ordering::Release);
        reader.join().unwrap();
    });
}

fn the_size_grows_with_the_contents<B: Backend>() {
    let place = B::new();
    let store = place.open();
    commit(&store, [put("a", value(1, MAX_VALUE_BYTES))]);
    assert!(store.size_bytes() >= MAX_VALUE_BYTES as u64);
}

fn any_history_equals_the_model<B: Backend>() {
    let op = (0u8..12, prop_oneof![3 => 0..40usize, 1 => 0..4 * CHUNK_BYTES], any::<u8>(), 0..4u8).prop_map(
        |(name, len, seed, kind)| {
            let name = format!("k{name}");
            if kind == 0 { delete(&name) } else { put(&name, value(seed, len)) }
        },
    );
    // An empty batch stands for a restart.
    let history = prop::collection::vec(prop::collection::vec(op, 0..6), 1..12);
    proptest!(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() }, |(history in history)| {
        let place = B::new();
        let mut store = place.open();
        let mut model = BTreeMap::new();
        for ops in history {
            if ops.is_empty() {
                drop(store);
                store = place.open();
            }
            for op in &ops {
                match op.clone() {
                    Op::Put { key, value } => model.insert(key.as_bytes().to_vec(), value),
                    Op::Delete { key } => model.remove(key.as_bytes()),
                };
            }
            commit(&store, ops);
        }
        for (name, value) in &model {
            let found = store.get(&Key::new(name.clone()).unwrap()).unwrap();
            prop_assert!(found.as_ref() == Some(value));
        }
        drop(store);
        let expected: Vec<_> = model.into_iter().collect();
        prop_assert!(contents(&place.open()) == expected);
    });
}

/// Reads a snapshot on while `meanwhile` is done after every step.
fn read(snapshot: &mut dyn Snapshot, mut meanwhile: impl FnMut(usize)) -> Vec<(Vec<u8>, Bytes)> {
    let mut all = Vec::new();
    for step in 0.. {
        let rows = snapshot.next().unwrap();
        if rows.is_empty() {
            break;
        }
        all.extend(rows.into_iter().map(|(key, value)| (key.as_bytes().to_vec(), value)));
        meanwhile(step);
    }
    all
}

fn a_snapshot_is_of_the_moment_it_began_whatever_is_committed_meanwhile<B: Backend>() {
    let place = B::new();
    let store = Arc::new(place.open());
    let name = |i: usize| format!("k{i:04}");
    for chunk in (0..1_000).collect::<Vec<_>>().chunks(50) {
        commit(&*store, chunk.iter().map(|i| put(&name(*i), value(1, 1 + i * 7 % 9_000))));
    }
    let before = contents(&*store);
    let mut snapshot = store.clone().snapshot().unwrap();
    let mut dice = 1_u64;
    let read = read(snapshot.as_mut(), |step| {
        for _ in 0..20 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let [at, again] = [33, 44].map(|bits| (dice >> bits) as usize % 1_100);
            let changes = [put(&name(at), value(step as u8, (dice >> 50) as usize)), delete(&name(again))];
            commit(&*store, changes);
            commit(&*store, [put(&format!("new{at}"), "x"), put(&name(again), "back")]);
        }
    });
    assert!(read == before, "{} records in place of {}", read.len(), before.len());
    drop(snapshot);
    let after = contents(&*store);
    let mut snapshot = store.snapshot().unwrap();
    assert!(self::read(snapshot.as_mut(), |_| {}) == after, "the next one is of its own moment");
}

fn the_snapshot_of_an_empty_store_is_empty<B: Backend>() {
    let place = B::new();
    let store = Arc::new(place.open());
    let mut snapshot = store.clone().snapshot().unwrap();
    commit(&*store, [put("a", "1")]);
    assert_eq!(snapshot.next().unwrap(), []);
}

fn what_was_noted_is_known_to_who_opens_next<B: Backend>() {
    let place = B::new();
    let store = place.open();
    commit(&store, [put("a", "1")]);
    store.mark(41).unwrap();
    store.mark(42).unwrap();
    drop(store);
    assert_eq!(place.open().marked(), Some(42));
}

macro_rules! for_every_backend {
    ($($behaviour:ident),+ $(,)?) => {
        mod sled {
            $(#[test] fn $behaviour() { super::$behaviour::<super::Disk>(); })+
        }
        mod memory {
            $(#[test] fn $behaviour() { super::$behaviour::<super::MemoryDisk>(); })+
        }
    };
}

for_every_backend!(
    a_new_store_is_empty,
    load_visits_every_record_in_key_order,
    load_ends_with_the_error_of_its_visitor,
    a_put_overwrites_and_a_delete_removes,
    the_last_change_of_a_key_in_a_batch_counts,
    an_empty_batch_changes_nothing,
    values_of_every_length_come_back,
    values_shrink_grow_and_go_without_a_trace,
    keys_that_look_like_parts_of_others_are_records,
    the_cost_counts_chunks_written_and_removed,
    a_batch_may_be_as_large_as_the_limit,
    removing_many_chunks_counts_towards_the_limit,
    a_batch_too_large_is_refused_whole_and_harms_nothing,
    the_longest_keys_work,
    an_open_store_is_locked,
    the_identity_is_that_of_the_creation,
    a_failed_commit_poisons_until_reopened,
    a_probe_is_a_commit_that_nobody_sees,
    a_reader_never_sees_a_mixture_of_two_commits,
    the_size_grows_with_the_contents,
    any_history_equals_the_model,
    a_snapshot_is_of_the_moment_it_began_whatever_is_committed_meanwhile,
    the_snapshot_of_an_empty_store_is_empty,
    what_was_noted_is_known_to_who_opens_next,
);

#[test]
fn a_key_is_neither_empty_nor_reserved_nor_too_long() {
    for bytes in [vec![], vec![0x00], vec![0xff, 1]] {
        assert!(matches!(Key::new(bytes), Err(StoreError::BadKey { .. })));
    }
    assert!(Key::new(vec![1; MAX_KEY_BYTES]).is_ok());
    assert!(matches!(
        Key::new(vec![1; MAX_KEY_BYTES + 1]),
        Err(StoreError::TooLarge { what: "key", found: 2049, limit: 2048 })
    ));
}

#[test]
fn a_secret_does_not_show_itself() {
    assert_eq!(format!("{:?}", Secret::new([0x42; 32])), "Secret(..)");
}
