//! What ends goes to those who wait, in the same transaction.

use super::{ended, holders, only, queued, release, waiting};
use crate::command::{Acquire, Command, Precondition, Put};
use crate::event::{Event, LeaveCause};
use crate::id::{EntryKey, SessionId};
use crate::limits::{self, LOCK_DELAY};
use crate::outcome::Outcome;
use crate::record::LockMode::{Exclusive, Shared};
use crate::record::{Contract, Record, RecordKey, Write};
use crate::state::deadlines::Due;
use crate::state::tests::entries::put;
use crate::state::tests::{Mesh, name, scope, target};
use crate::time::{Millis, Timestamp};

type End = fn(&mut Mesh, SessionId);

/// Every way in which a lock on `src/` ends, or no longer covers `src/a`.
const ENDS: [(&str, End); 8] = [
    ("released", |mesh, ann| drop(mesh.by(ann, release(&["src/"])).unwrap())),
    ("narrowed", |mesh, ann| {
        let (targets, keep) = (vec![target("src/")], vec![target("src/b")]);
        mesh.by(ann, Command::Release { targets, keep, note: String::new() }).unwrap();
    }),
    ("expired", |mesh, ann| {
        let ttl = Some(Millis::seconds(1));
        mesh.by(ann, Command::Renew { targets: Vec::new(), ttl }).unwrap();
        mesh.pass(Millis::seconds(1));
    }),
    ("left", |mesh, ann| drop(mesh.by(ann, Command::Leave).unwrap())),
    ("lost", |mesh, ann| {
        mesh.ask(&ended(ann, LeaveCause::Disconnected)).unwrap();
        mesh.pass(LOCK_DELAY);
    }),
    ("replaced", |mesh, _| {
        mesh.join("ann");
        mesh.pass(LOCK_DELAY);
    }),
    ("forced", |mesh, _| {
        let eve = mesh.join("eve");
        let (targets, reason) = (vec![target("src/")], "asleep".to_owned());
        mesh.by(eve, Command::ForceRelease { targets, reason }).unwrap();
    }),
    ("answered", |mesh, ann| {
        let eve = mesh.join("eve");
        let ask = crate::command::RequestRelease {
            targets: vec![target("src/a")],
            mode: Shared,
            reason: String::new(),
            urgent: false,
        };
        let outcome = mesh.by(eve, Command::RequestRelease(ask)).unwrap();
        let Outcome::ReleaseRequested { requests } = outcome else { panic!("{outcome:?}") };
        let (id, answer) = (requests[0].id, crate::record::ReleaseAnswer::Release);
        let answer = crate::command::AnswerRelease { id, answer, keep: Vec::new(), note: String::new() };
        mesh.by(ann, Command::AnswerRelease(answer)).unwrap();
    }),
];

#[test]
fn whatever_ends_a_lock_grants_it_to_who_waits_in_the_same_transaction() {
    for (how, end) in ENDS {
        let mut mesh = Mesh::default();
        let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
        let first = only(mesh.lock(ann, Exclusive, &["src/"]));
        let ticket = queued(mesh.wait(bob, Exclusive, &["src/a"]));
        mesh.log.clear();
        end(&mut mesh, ann);
        assert_eq!((waiting(&mesh), holders(&mesh, "src/a")), (Vec::new(), vec!["bob".to_owned()]), "{how}");
        let lock = mesh.state.locks.get(&scope(), &target("src/a"), &name("bob")).unwrap();
        assert!(lock.token > first.token && lock.ticket == Some(ticket), "{how}");
        let at_once = mesh.log.iter().any(|log| {
            let ended = |event: &Event| matches!(event, Event::FileUnlocked { .. });
            let granted =
                |event: &Event| matches!(event, Event::FileLocked { ticket: Some(by), .. } if *by == ticket);
            log.revision == lock.token.0 && log.events.iter().any(ended) && log.events.iter().any(granted)
        });
        assert!(at_once, "{how}: {:?}", mesh.log);
        assert_eq!(mesh.state.lock_status(lock, Timestamp(mesh.now)), (false, Millis::minutes(30)), "{how}");
    }
}

#[test]
fn requests_are_granted_in_their_order_and_those_that_share_together() {
    let mut mesh = Mesh::default();
    let peers: Vec<SessionId> =
        ["ann", "bob", "cid", "dan", "eve"].iter().map(|who| mesh.join(who)).collect();
    mesh.lock(peers[0], Exclusive, &["a"]);
    for (peer, mode) in [(1, Shared), (2, Exclusive), (3, Shared), (4, Shared)] {
        queued(mesh.wait(peers[peer], mode, &["a"]));
    }
    mesh.by(peers[0], release(&[])).unwrap();
    assert_eq!((holders(&mesh, "a"), waiting(&mesh).len()), (vec!["bob".to_owned()], 3));
    mesh.by(peers[1], release(&[])).unwrap();
    assert_eq!((holders(&mesh, "a"), waiting(&mesh).len()), (vec!["cid".to_owned()], 2));
    mesh.by(peers[2], release(&[])).unwrap();
    assert_eq!((holders(&mesh, "a"), waiting(&mesh).len()), (vec!["dan".to_owned(), "eve".to_owned()], 0));
}

#[test]
fn a_request_is_granted_wholly_or_goes_on_waiting() {
    let mut mesh = Mesh::default();
    let (ann, bob, cid, dan) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"), mesh.join("dan"));
    mesh.lock(ann, Exclusive, &["a"]);
    mesh.lock(bob, Exclusive, &["b"]);
    queued(mesh.wait(cid, Exclusive, &["a", "b"]));
    queued(mesh.wait(dan, Exclusive, &["a"]));
    mesh.by(ann, release(&[])).unwrap();
    assert_eq!(waiting(&mesh), ["cid", "dan"], "dan does not pass cid");
    mesh.by(bob, release(&[])).unwrap();
    assert_eq!((holders(&mesh, "a"), holders(&mesh, "b")), (vec!["cid".into()], vec!["cid".into()]));
}

#[test]
fn two_requests_of_one_peer_for_the_same_are_granted_together() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.lock(ann, Exclusive, &["a"]);
    let tickets = [queued(mesh.wait(bob, Exclusive, &["a"])), queued(mesh.wait(bob, Shared, &["a"]))];
    mesh.by(ann, release(&[])).unwrap();
    assert_eq!((holders(&mesh, "a"), waiting(&mesh)), (vec!["bob".to_owned()], Vec::new()));
    for ticket in tickets {
        mesh.by(bob, Command::Abandon { ticket }).unwrap();
    }
    assert_eq!(holders(&mesh, "a"), ["bob"], "each may rely on it, so neither gives it back");
}

#[test]
fn what_does_not_fit_into_a_transaction_follows_in_the_next_ones() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.lock(ann, Exclusive, &["/"]);
    let count = 200;
    for n in 0..count / 2 {
        let peer = mesh.join(&format!("p{n}"));
        queued(mesh.wait(peer, Exclusive, &[&format!("{n}/a"), &format!("{n}/b")]));
    }
    mesh.log.clear();
    mesh.by(ann, release(&[])).unwrap();
    assert_eq!(mesh.state.locks.count(), limits::HANDOVERS_PER_TRANSACTION);
    mesh.restart();
    assert_eq!(mesh.state.due(Timestamp(mesh.now)), Some(Due::Handover(scope())), "it is not forgotten");
    mesh.pass(Millis::ZERO);
    assert_eq!((mesh.state.locks.count(), waiting(&mesh).len()), (count, 0));
    assert_eq!(mesh.log.len(), count.div_ceil(limits::HANDOVERS_PER_TRANSACTION));
    assert_eq!(mesh.state.due(Timestamp(mesh.now)), None);
    let left = mesh.stored.get(&RecordKey::Scope(scope()));
    assert!(matches!(left, Some(Record::Scope(head)) if !head.handover_due), "{left:?}");
}

#[test]
fn a_due_hand_over_ends_when_those_who_wait_are_gone() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.lock(ann, Exclusive, &["/"]);
    queued(mesh.wait(bob, Exclusive, &["a"]));
    let Some(Record::Scope(head)) = mesh.stored.get(&RecordKey::Scope(scope())).cloned() else { panic!() };
    let due = crate::record::ScopeRecord { handover_due: true, ..head };
    mesh.state.apply(&Write::Put(Record::Scope(due)), Timestamp(mesh.now));
    mesh.pass(Millis::ZERO);
    assert_eq!(mesh.state.due(Timestamp(mesh.now)), None);
    assert_eq!(waiting(&mesh), ["bob"], "there was nothing to hand over");
}

#[test]
fn large_requests_are_granted_one_by_one() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let long = |n: usize, m: usize| format!("{n}/{m}/{}", "x".repeat(1_000));
    for n in 0..100 {
        mesh.lock(ann, Exclusive, &[&long(n, 0)]);
    }
    for n in 0..20 {
        let peer = mesh.join(&format!("p{n}"));
        let on: Vec<String> = (0..limits::WAIT_TARGETS).map(|m| long(n, m)).collect();
        queued(mesh.wait(peer, Exclusive, &on.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    mesh.log.clear();
    mesh.by(ann, release(&[])).unwrap();
    mesh.pass(Millis::ZERO);
    assert_eq!(mesh.state.locks.count(), 20 * limits::WAIT_TARGETS);
    assert!(mesh.log.len() > 5, "it does not fit into fewer: {}", mesh.log.len());
}

#[test]
fn the_longest_contract_is_handed_over_where_the_longest_entries_were() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    let long = |n: usize| target(&format!("{n}/{}", "x".repeat(1_020)));
    let paths: Vec<_> = (0..limits::ENTRY_PATHS).map(long).collect();
    let key = EntryKey::parse("contract/api:x").unwrap();
    let values = [limits::VALUE_BYTES, 1, 1, 1, 30_000, 30_000, limits::VALUE_BYTES, limits::VALUE_BYTES];
    for bytes in values {
        let (value, paths) = ("x".repeat(bytes).into(), paths.clone());
        let put = Put { key: key.clone(), value, paths, ..put(Precondition::Any) };
        mesh.by(ann, Command::Put(put)).unwrap();
    }
    mesh.lock(ann, Exclusive, &["/"]);
    mesh.lock(ann, Exclusive, &["api:x"]);
    let contract = Some(Contract { text: "x".repeat(limits::CONTRACT_BYTES).into(), paths: paths.clone() });
    let targets = paths[1..].iter().cloned().chain([target("api:x")]).collect();
    let (reason, wait) = ("x".repeat(limits::SENTENCE_BYTES), Millis::minutes(10));
    let ttl = Millis::minutes(30);
    queued(mesh.by(bob, Command::Acquire(Acquire { targets, mode: Exclusive, ttl, reason, wait, contract })));
    mesh.by(ann, release(&[])).unwrap();
    mesh.pass(Millis::ZERO);
    assert_eq!((mesh.state.locks.count(), waiting(&mesh)), (limits::WAIT_TARGETS, Vec::new()));
}

#[test]
fn tokens_rise_on_targets_that_overlap() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    let mut last = only(mesh.lock(ann, Exclusive, &["src/"])).token;
    for (peer, who, other, on) in [
        (bob, "bob", ann, "src/a"),
        (ann, "ann", bob, "src/"),
        (bob, "bob", ann, "/"),
        (ann, "ann", bob, "src/a"),
    ] {
        queued(mesh.wait(peer, Exclusive, &[on]));
        mesh.by(other, release(&[])).unwrap();
        let token = mesh.state.locks.get(&scope(), &target(on), &name(who)).unwrap().token;
        assert!(token > last, "{on}");
        last = token;
    }
}
