//! The stored format, pinned: an example of every record, event and outcome as the bytes it has always had.

mod examples;

use std::sync::Arc;

use mesh_core::event::{Event, PeerChange};
use mesh_core::id::CredentialId;
use mesh_core::outcome::Outcome;
use mesh_core::record::{Activity, LogRecord, PeerRecord, Record, Write};
use mesh_core::revision::Revision;
use mesh_core::state::Transaction;
use mesh_core::time::Timestamp;
use proptest::prelude::*;

use self::examples::{items, items_of_4, log, records, records_of_4};
use super::{FORMAT, Loaded, OldLog, decode, decode_log, encode, v2, v3};

/// One line for each example: its name, its key and its value in hexadecimal.
const GOLDEN: &str = include_str!("golden.txt");

/// As [`GOLDEN`], of the records, events and outcomes of format 3 as its brokers wrote them.
const GOLDEN_V3: &str = include_str!("golden_v3.txt");

/// As [`GOLDEN`], of the records, events and outcomes of format 2 as its brokers wrote them.
const GOLDEN_V2: &str = include_str!("golden_v2.txt");

/// As [`GOLDEN`], of the records, events and outcomes of format 1 as its brokers wrote them.
const GOLDEN_V1: &str = include_str!("golden_v1.txt");

/// The line of an example, as the broker writes it.
fn line(what: &str, write: Option<Record>, log: LogRecord) -> String {
    let keeps_state = write.is_some();
    let writes = write.into_iter().map(Write::Put).collect();
    let batch = encode(&Transaction { writes, log: log.into(), outcome: Outcome::Done }).unwrap();
    let mut ops = batch.writes();
    let (key, value) = if keeps_state { ops.nth(1) } else { ops.next() }.unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("{what}: {} = {}", hex(key.as_bytes()), hex(value.as_deref().unwrap()))
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The first example under each key.
pub(crate) fn golden() -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    for line in GOLDEN.lines() {
        let (key, value) = line.split_once(": ").unwrap().1.split_once(" = ").unwrap();
        found.entry(bytes(key)).or_insert_with(|| bytes(value));
    }
    found
}

/// A failure means that stores written before cannot be read: bump the format, keep a reader of the old one.
#[test]
fn records_have_the_bytes_they_always_had() {
    let state = records().into_iter().chain(records_of_4());
    let state = state.map(|(what, record)| line(&what, Some(record), log(vec![], None)));
    let logs = items().into_iter().chain(items_of_4()).map(|(what, log)| line(&what, None, log));
    let found: Vec<String> = state.chain(logs).collect();
    let golden: Vec<&str> = GOLDEN.lines().collect();
    assert_eq!(found, golden, "the stored format has changed:\n{}", found.join("\n"));
}

/// What is read of these lines: the records of the state, and the items of the history.
fn read(golden: &str) -> (Vec<Record>, Vec<LogRecord>) {
    let (mut state, mut history) = (Vec::new(), Vec::new());
    for line in golden.lines() {
        let (key, value) = line.split_once(": ").unwrap().1.split_once(" = ").unwrap();
        match decode(&bytes(key), &bytes(value)).unwrap() {
            Loaded::Record(record) => state.push(record),
            Loaded::Log(log) => history.push(LogRecord::clone(&log)),
            Loaded::OldLog(log) => panic!("{log:?} is not of format 1"),
        }
    }
    (state, history)
}

#[test]
fn the_bytes_of_old_are_read_as_what_was_written() {
    let (state, history) = read(GOLDEN);
    let records = records().into_iter().chain(records_of_4());
    assert_eq!(state, records.map(|(_, record)| record).collect::<Vec<_>>());
    assert_eq!(history, items().into_iter().chain(items_of_4()).map(|(_, log)| log).collect::<Vec<_>>());
}

/// Whoever was let in in format 3 was the broker's own user, and the history does not tell it.
fn peer_as_of_format_3(peer: &mut Arc<PeerRecord>) {
    Arc::make_mut(peer).credential = CredentialId::unix();
}

fn as_of_format_3(mut record: Record) -> Record {
    if let Record::Peer(peer) = &mut record {
        peer_as_of_format_3(peer);
    }
    record
}

fn log_as_of_format_3(mut log: LogRecord) -> LogRecord {
    log.credential = None;
    for event in &mut log.events {
        if let Event::PeerJoined { peer, .. } | Event::PeerUpdated { peer, .. } = event {
            peer_as_of_format_3(peer);
        }
    }
    if let Some(Outcome::Joined { peer, .. } | Outcome::Updated { peer }) = &mut log.outcome {
        peer_as_of_format_3(peer);
    }
    log
}

#[test]
fn records_and_history_of_format_3_are_read_as_what_was_written() {
    let (state, history) = read(GOLDEN_V3);
    assert_eq!(state, records().into_iter().map(|(_, record)| as_of_format_3(record)).collect::<Vec<_>>());
    assert_eq!(history, items().into_iter().map(|(_, log)| log_as_of_format_3(log)).collect::<Vec<_>>());
}

/// What a peer did not tell in format 2 is not there.
fn peer_as_of_format_2(peer: &mut Arc<PeerRecord>) {
    let info = &mut Arc::make_mut(peer).info;
    (info.activity, info.wake, info.children) = (Activity::Unknown, String::new(), Vec::new());
}

fn as_of_format_2(record: Record) -> Record {
    let mut record = as_of_format_3(record);
    if let Record::Peer(peer) = &mut record {
        peer_as_of_format_2(peer);
    }
    record
}

fn log_as_of_format_2(log: LogRecord) -> LogRecord {
    let mut log = log_as_of_format_3(log);
    for event in &mut log.events {
        if let Event::PeerJoined { peer, .. } | Event::PeerUpdated { peer, .. } = event {
            peer_as_of_format_2(peer);
        }
        if let Event::PeerUpdated { changed, .. } = event {
            *changed = PeerChange::default();
        }
    }
    if let Some(Outcome::Joined { peer, .. } | Outcome::Updated { peer }) = &mut log.outcome {
        peer_as_of_format_2(peer);
    }
    if let Some(Outcome::Sent { deliveries, .. }) = &mut log.outcome {
        for delivery in deliveries {
            (delivery.activity, delivery.wake) = (Activity::Unknown, String::new());
        }
    }
    log
}

#[test]
fn records_and_history_of_format_2_are_read_as_what_was_written() {
    let (state, history) = read(GOLDEN_V2);
    assert_eq!(state, records().into_iter().map(|(_, record)| as_of_format_2(record)).collect::<Vec<_>>());
    assert_eq!(history, items().into_iter().map(|(_, log)| log_as_of_format_2(log)).collect::<Vec<_>>());
}

/// What format 1 did not have is not there.
fn as_of_format_1(record: Record) -> Record {
    match as_of_format_2(record) {
        Record::Scope(mut scope) => {
            scope.handover_due = false;
            Record::Scope(scope)
        }
        Record::Peer(mut peer) => {
            Arc::make_mut(&mut peer).topics.clear();
            Record::Peer(peer)
        }
        Record::Lock(mut lock) => {
            Arc::make_mut(&mut lock).ticket = None;
            Record::Lock(lock)
        }
        Record::Message(mut message) => {
            let record = Arc::make_mut(&mut message);
            (record.thread, record.paths) = (None, Vec::new());
            Record::Message(message)
        }
        same @ (Record::Entry(_)
        | Record::Past(_)
        | Record::Policy(_)
        | Record::Waiter(_)
        | Record::ReleaseRequest(_)
        | Record::Touch(_)
        | Record::Token(_)) => same,
    }
}

#[test]
fn records_of_format_1_are_read_as_what_was_written() {
    let (mut state, mut places) = (Vec::new(), Vec::new());
    for line in GOLDEN_V1.lines() {
        let (key, value) = line.split_once(": ").unwrap().1.split_once(" = ").unwrap();
        match decode(&bytes(key), &bytes(value)).unwrap() {
            Loaded::Record(record) => state.push(record),
            Loaded::OldLog(log) => places.push(log),
            Loaded::Log(log) => panic!("{log:?} is of format 1"),
        }
    }
    let expected: Vec<Record> =
        records().into_iter().map(|(_, record)| as_of_format_1(record)).take(state.len()).collect();
    assert_eq!(state, expected);
    assert_eq!(places, vec![OldLog { revision: Revision(304), at: Timestamp(8_000) }; 26]);
}

#[test]
fn a_message_of_format_1_in_the_first_slot_is_not_taken_for_another() {
    let line = GOLDEN_V1.lines().find(|line| line.starts_with("message broadcast")).unwrap();
    let mut value = bytes(line.split_once(" = ").unwrap().1);
    assert_eq!(value[0], 7, "its slot");
    value[0] = 0;
    let Loaded::Record(Record::Message(message)) = decode(&[6, 0, 0, 0, 0], &value).unwrap() else {
        panic!("not a message")
    };
    assert_eq!(message.slot, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_is_an_error_and_never_a_panic(kind in 0_u8..15, value in prop::collection::vec(any::<u8>(), 0..300)) {
        let known = (1..=12).contains(&kind);
        prop_assert!(decode(&[kind, 0, 0, 0, 1], &value).is_err() || known);
        for format in [FORMAT, v3::FORMAT, v2::FORMAT] {
            let in_format = [format.as_slice(), &value].concat();
            prop_assert!(decode(&[kind, 0, 0, 0, 1], &in_format).is_err() || known);
        }
    }

    #[test]
    fn a_damaged_record_is_never_a_panic(which: prop::sample::Index, at: prop::sample::Index, byte: u8, cut: bool) {
        let lines: Vec<&str> = GOLDEN.lines().chain(GOLDEN_V3.lines()).chain(GOLDEN_V2.lines()).collect();
        let (key, value) = which.get(&lines).split_once(": ").unwrap().1.split_once(" = ").unwrap();
        let (key, mut value) = (bytes(key), bytes(value));
        let place = FORMAT.len() + at.index(value.len() - FORMAT.len());
        value[place] = byte;
        if cut {
            value.truncate(place);
        }
        let read = decode(&key, &value);
        prop_assert!(!cut || read.is_err(), "a record that was cut short is not a record");
        let is_log = matches!(decode(&[1], &value), Ok(Loaded::Log(_)));
        prop_assert_eq!(matches!(decode_log(&value), Ok(Some(_))), is_log);
    }
}
