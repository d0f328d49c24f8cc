//! No lost event: a subscription reads the log without a gap from memory, from the store and across the two, or
//! learns that the history no longer goes back that far.

use std::sync::Arc;

use mesh_core::command::{Command, Operation, Transact};
use mesh_core::event::{DeleteCause, Event};
use mesh_core::limits::{self, HISTORY_SLOTS};
use mesh_core::record::{Fingerprint, LogRecord};
use mesh_core::revision::{Revision, Sequence, Version};
use mesh_core::time::{Millis, Timestamp, WallTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Bench, by, key, now_or_never, open, put, scope};
use crate::events::{EventLog, ReadError};
use crate::records;
use crate::shutdown::on_idle;
use crate::store::{Batch, MAX_BATCH_OPS, MemoryDisk, Op, Store, chunks};
use crate::writer::WriterConfig;

fn small() -> WriterConfig {
    WriterConfig { history_count: 100, ring: 10, ..WriterConfig::default() }
}

/// A mesh with so many transactions: one join, then writes, each committed by itself.
fn with_history(config: WriterConfig, transactions: u64) -> Bench {
    let mut bench = Bench::with(config);
    let ann = bench.join_for("ann", Millis::days(1));
    for n in 1..transactions {
        bench.outcome(ann, put("a", format!("{n}")));
    }
    bench
}

/// Reads all there is from a revision on.
fn read(bench: &Bench, from: Revision) -> Result<Vec<u64>, ReadError> {
    let mut subscription = bench.seen.events.subscribe(from);
    let mut found = Vec::new();
    loop {
        let chunk = now_or_never(subscription.ready())?;
        if chunk.is_empty() {
            return Ok(found);
        }
        found.extend(chunk.iter().map(|log| log.revision.0));
    }
}

fn is_stored(bench: &Bench, revision: u64) -> bool {
    let value = bench.store.get(&records::log_key(Revision(revision))).unwrap();
    value.is_some_and(|value| {
        records::decode_log(&value).unwrap().is_some_and(|log| log.revision.0 == revision)
    })
}

#[test]
fn a_subscription_reads_store_and_memory_without_a_gap() {
    let bench = with_history(WriterConfig { ring: 10, ..WriterConfig::default() }, 700);
    assert_eq!(read(&bench, Revision(1)).unwrap(), (1..=700).collect::<Vec<_>>());
    assert_eq!(read(&bench, Revision(400)).unwrap(), (400..=700).collect::<Vec<_>>());
    assert_eq!(read(&bench, Revision(695)).unwrap(), (695..=700).collect::<Vec<_>>());
    assert_eq!(read(&bench, Revision(701)).unwrap(), [0; 0]);
}

#[test]
fn one_transaction_is_found_wherever_it_is() {
    let bench = with_history(small(), 400);
    let oldest = bench.seen.events.oldest().0;
    for revision in [oldest, 390, 391, 400] {
        let found = now_or_never(bench.seen.events.get(Revision(revision))).unwrap();
        assert_eq!(found.map(|log| log.revision), Some(Revision(revision)));
    }
    for revision in [0, oldest - 1, 401] {
        assert_eq!(now_or_never(bench.seen.events.get(Revision(revision))).unwrap(), None);
    }
}

#[test]
fn history_is_trimmed_by_count() {
    let bench = with_history(small(), 400);
    let oldest = bench.seen.events.oldest().0;
    let kept = 400 - oldest + 1;
    assert!((100..=200).contains(&kept), "{kept} are kept");
    assert!(!is_stored(&bench, oldest - 1) && is_stored(&bench, oldest));
    assert_eq!(read(&bench, Revision(oldest)).unwrap(), (oldest..=400).collect::<Vec<_>>());
    let gone = read(&bench, Revision(oldest - 1));
    assert!(
        matches!(gone, Err(ReadError::Compacted { oldest: at, head: Revision(400) }) if at.0 == oldest),
        "{gone:?}"
    );
    let reopened = bench.reopen();
    assert_eq!(reopened.seen.events.oldest(), Revision(oldest));
}

#[test]
fn history_is_trimmed_by_age_but_for_the_newest() {
    let config = WriterConfig { history_age: Millis::minutes(60), ..WriterConfig::default() };
    let mut bench = with_history(config, 200);
    bench.pass(Millis::minutes(30));
    let ann = bench.join_for("bob", Millis::days(1));
    assert_eq!(bench.seen.events.oldest(), Revision(1));
    bench.seen.clock.advance(Millis::minutes(30));
    (0..10).for_each(|_| bench.turn().unwrap());
    assert_eq!(bench.seen.events.oldest(), Revision(201), "only what is an hour old goes");
    bench.outcome(ann, put("b", "1"));
    bench.seen.clock.advance(Millis::minutes(300));
    (0..10).for_each(|_| bench.turn().unwrap());
    assert_eq!(bench.seen.events.oldest(), bench.seen.events.head());
    let mut bench = bench.reopen();
    let next = bench.ask(by(ann, put("b", "2"))).unwrap().revision;
    assert_eq!(next, Revision(203), "revisions go on");
    assert_eq!(read(&bench, Revision(202)).unwrap(), [202, 203]);
}

#[test]
fn a_trimmed_history_is_trimmed_on_after_a_restart() {
    let bench = with_history(small(), 400);
    let mut bench = Bench::on(bench.disk, WriterConfig { history_age: Millis::minutes(60), ..small() });
    bench.seen.clock.advance(Millis::minutes(61));
    (0..10).for_each(|_| bench.turn().unwrap());
    assert_eq!(bench.seen.events.oldest(), Revision(400));
    assert!(!is_stored(&bench, 399) && is_stored(&bench, 400));
}

#[test]
fn a_waiting_subscription_is_woken_by_the_next_commit() {
    let mut bench = with_history(small(), 5);
    let mut subscription = bench.seen.events.subscribe(Revision(6));
    let reader = std::thread::spawn(move || now_or_never(subscription.next()).unwrap());
    let session = bench.join("bob");
    let seen = reader.join().unwrap();
    assert_eq!(seen[0].revision, Revision(6));
    assert_eq!(seen[0].session, None);
    assert!(bench.seen.leases.touch(session));
}

#[test]
fn a_subscription_ends_with_its_writer() {
    let bench = with_history(small(), 5);
    let mut subscription = bench.seen.events.subscribe(Revision(6));
    drop(bench.writer);
    assert!(matches!(now_or_never(subscription.next()), Err(ReadError::Closed)));
}

fn item(revision: u64) -> LogRecord {
    LogRecord {
        revision: Revision(revision),
        scope: scope(),
        sequence: Sequence::default(),
        prev_revision: Revision::ZERO,
        actor: None,
        session: None,
        request_id: None,
        credential: None,
        fingerprint: Fingerprint::default(),
        at: Timestamp(revision),
        committed: WallTime(revision),
        events: Vec::new(),
        outcome: None,
    }
}

/// A disk whose history fills every slot, up to this revision.
fn full_history(head: u64) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let revisions: Vec<u64> = (head + 1 - HISTORY_SLOTS..=head).collect();
    for chunk in revisions.chunks(256) {
        let ops = chunk.iter().map(|revision| Op::Put {
            key: records::log_key(Revision(*revision)),
            value: records::encode_log(&item(*revision)).unwrap().into(),
        });
        store.commit(&ops.collect::<Batch>()).unwrap();
    }
    disk
}

/// Reads on until the head is reached, and notes where the history was lost. Everything else is without a gap.
fn follow(log: &EventLog, start: u64, head: u64) -> (Vec<u64>, Vec<Revision>) {
    let mut subscription = log.subscribe(Revision(start));
    let (mut seen, mut lost) = (Vec::new(), Vec::new());
    while subscription.position() <= Revision(head) {
        let from = subscription.position();
        match now_or_never(subscription.next()) {
            Ok(chunk) => {
                let expected: Vec<u64> = (from.0..).take(chunk.len()).collect();
                let got: Vec<u64> = chunk.iter().map(|log| log.revision.0).collect();
                assert_eq!(got, expected);
                seen.extend(got);
            }
            Err(ReadError::Compacted { oldest, .. }) => {
                assert!(oldest > from, "{from:?} is lost, yet the oldest is {oldest:?}");
                lost.push(from);
                subscription = log.subscribe(oldest);
            }
            Err(error) => panic!("{error}"),
        }
    }
    (seen, lost)
}

#[test]
fn a_reader_at_the_edge_of_the_ring_reads_on_or_learns_that_it_is_too_late() {
    let head = 2 * HISTORY_SLOTS + 17;
    let config = WriterConfig { ring: 8, ..WriterConfig::default() };
    let mut bench = Bench::on(full_history(head), config);
    let first = head + 1 - HISTORY_SLOTS;
    assert_eq!(bench.seen.events.oldest(), Revision(first));
    let readers = [first, first + 150].map(|start| {
        let log = bench.seen.events.clone();
        std::thread::spawn(move || follow(&log, start, first + 2_000))
    });
    let ann = bench.join_for("ann", Millis::days(1));
    for n in 0..300 {
        let _answer = bench.submit(by(ann, put("a", format!("{n}"))));
        if n % 3 == 0 {
            bench.turn().unwrap();
        }
    }
    bench.turn().unwrap();
    for reader in readers {
        let (seen, lost) = reader.join().unwrap();
        assert!(seen.len() > 1_000 && *seen.last().unwrap() > first + 1_999, "{lost:?}");
    }
    assert!(bench.seen.events.oldest() >= Revision(first + 301), "slots were taken over");
    let gone = read(&bench, Revision(first));
    assert!(matches!(gone, Err(ReadError::Compacted { .. })), "{gone:?}");
    let bench = bench.reopen();
    assert_eq!(bench.seen.events.head(), Revision(head + 301));
    assert_eq!(bench.log().len() as u64, head + 301 - bench.seen.events.oldest().0 + 1);
}

/// An item of many changes is several operations of the store to write, and as many to remove.
#[test]
fn the_longest_item_of_a_full_history_makes_way_for_a_large_transaction() {
    let head = 2 * HISTORY_SLOTS + 17;
    let disk = full_history(head);
    // The join takes the slot of the oldest, the transaction the next one.
    let oldest = head + 1 - HISTORY_SLOTS;
    let deleted = |n: usize| Event::StateDeleted {
        key: key(&format!("{n:03}/{}", "k".repeat(500))),
        version: Version(1),
        cause: DeleteCause::Deleted,
        paths: Vec::new(),
    };
    let long = LogRecord { events: (0..700).map(deleted).collect(), ..item(oldest + 1) };
    let value = records::encode_log(&long).unwrap();
    let removal = chunks(value.len());
    assert!(removal > 1);
    let slot = Op::Put { key: records::log_key(Revision(oldest + 1)), value: value.into() };
    open(&disk).commit(&Batch::from_iter([slot])).unwrap();

    let mut bench = Bench::on(disk, WriterConfig::default());
    let ann = bench.join_for("ann", Millis::days(1));
    bench.store.costs();
    let value = "v".repeat(limits::VALUE_BYTES);
    let operations = (0..12).map(|n| {
        let Command::Put(put) = put(&format!("large{n}"), value.as_str()) else { unreachable!() };
        Operation::Put(put)
    });
    let large = Transact { scope: None, operations: operations.collect() };
    bench.outcome(ann, Command::Transact(large));
    let costs = bench.store.costs();
    assert_eq!(costs.len(), 2, "the slot is emptied first: {costs:?}");
    assert!(costs.iter().all(|cost| *cost <= MAX_BATCH_OPS) && costs[0] >= removal, "{costs:?}");
    assert!(costs.iter().sum::<usize>() > MAX_BATCH_OPS, "both would not have fit: {costs:?}");
    let gone = read(&bench, Revision(oldest + 1));
    assert!(matches!(gone, Err(ReadError::Compacted { .. })), "{gone:?}");
    let bench = bench.reopen();
    assert_eq!(bench.seen.events.head(), Revision(head + 2));
    assert_eq!(bench.seen.events.oldest(), Revision(oldest + 2));
}

#[test]
fn a_slot_that_is_being_taken_over_is_history_that_is_gone() {
    let config = WriterConfig { ring: 2, ..WriterConfig::default() };
    let bench = with_history(config, 50);
    // What a reader finds between the writer's commit and its publication.
    let taken = Op::Put {
        key: records::log_key(Revision(1)),
        value: postcard::to_stdvec(&item(1 + HISTORY_SLOTS)).unwrap().into(),
    };
    let store: Arc<dyn Store> = bench.store.clone();
    store.commit(&Batch::from_iter([taken])).unwrap();
    let gone = read(&bench, Revision(1));
    assert!(matches!(gone, Err(ReadError::Compacted { oldest: Revision(2), .. })), "{gone:?}");
    assert_eq!(read(&bench, Revision(2)).unwrap(), (2..=50).collect::<Vec<_>>());
}

#[test]
fn a_history_too_short_to_follow_does_not_end_a_broker_in_use() {
    let mut bench = Bench::with(small());
    let ann = bench.join_for("ann", Millis::days(1));
    let (view, events) = (bench.seen.view.clone(), bench.seen.events.clone());
    let (stop, streams) = (CancellationToken::new(), watch::Sender::new(0));
    now_or_never(async {
        let patience = std::time::Duration::from_secs(3_600);
        tokio::spawn(on_idle(patience, view, events, streams.subscribe(), stop.clone()));
        tokio::task::yield_now().await;
        for n in 0..400 {
            bench.outcome(ann, put("a", format!("{n}")));
        }
        let second = std::time::Duration::from_millis(50);
        assert!(tokio::time::timeout(second, stop.cancelled()).await.is_err());
    });
}
