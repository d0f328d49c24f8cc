//! Restart is a non-event: what was acknowledged is there, and leases start again in full.

use std::sync::Arc;

use mesh_core::State;
use mesh_core::command::{Command, Precondition, Put};
use mesh_core::event::LeaveCause;
use mesh_core::limits::LOCK_DELAY;
use mesh_core::record::Record;
use mesh_core::revision::Revision;
use mesh_core::time::{Millis, Timestamp};

use super::{Bench, acknowledge, by, key, lock, lock_for, name, put, scope, send, with_id};
use crate::records;
use crate::store::{Batch, Op, Store};

/// Every record of a state, in listing order.
fn contents(state: &State) -> Vec<Record> {
    let peers = state.peers.list(None, None).cloned().map(Record::Peer);
    let locks = state.locks.list(None, None).cloned().map(Record::Lock);
    let entries = state.entries.all(None).cloned().map(Record::Entry);
    let heads = state.heads(None).cloned().map(Record::Scope);
    heads.chain(peers).chain(locks).chain(entries).collect()
}

fn mail(bench: &Bench, who: &str) -> (Vec<String>, u32) {
    let view = bench.seen.view.read();
    let peer = view.peers.get(&scope(), &name(who)).unwrap();
    let page = mesh_core::state::PageSize::of(0);
    let (messages, _) = view.messages.inbox(peer, Revision::ZERO, page);
    (messages.iter().map(|message| message.body.to_string()).collect(), view.messages.unread(peer))
}

#[test]
fn everything_acknowledged_survives() {
    let mut bench = Bench::new();
    let (ann, bob) = (bench.join("ann"), bench.join("bob"));
    bench.outcome(ann, lock("src/"));
    bench.outcome(bob, lock("docs/"));
    bench.outcome(ann, put("plan", "v".repeat(20_000)));
    bench.outcome(ann, put("plan", "short"));
    for n in 0..3 {
        bench.outcome(ann, send(n, "bob", format!("mail {n}")));
    }
    let read = bench.seen.view.revision();
    bench.outcome(ann, send(9, "bob", "unread"));
    bench.outcome(bob, acknowledge(read));
    bench
        .ask(mesh_core::command::Request::internal(Command::End {
            session: bob,
            cause: LeaveCause::Disconnected,
        }))
        .unwrap();
    let before = contents(&bench.seen.view.read());
    let (log, mails) = (bench.log(), mail(&bench, "bob"));
    let all = ["mail 0", "mail 1", "mail 2", "unread"].map(ToOwned::to_owned);
    assert_eq!(mails, (all.to_vec(), 1), "what was read is kept for a while");
    let bench = bench.reopen();
    assert_eq!(contents(&bench.seen.view.read()), before);
    assert_eq!(bench.log(), log);
    assert_eq!(mail(&bench, "bob"), mails);
    assert_eq!(bench.seen.events.head(), bench.seen.view.revision());
}

#[test]
fn revisions_and_sequences_go_on() {
    let mut bench = Bench::new();
    let ann = bench.join("ann");
    let last = bench.ask(by(ann, put("a", "1"))).unwrap().revision;
    let mut bench = bench.reopen();
    assert_eq!(bench.ask(by(ann, put("a", "2"))).unwrap().revision, last.next());
    let sequences: Vec<u64> = bench.log().iter().map(|log| log.sequence.0).collect();
    assert_eq!(sequences, [1, 2, 3]);
}

#[test]
fn mesh_time_goes_on_from_the_last_commit() {
    let mut bench = Bench::new();
    let ann = bench.join("ann");
    bench.pass(Millis::seconds(100));
    bench.outcome(ann, put("a", "1"));
    let committed = bench.log().last().unwrap().at;
    bench.pass(Millis::seconds(400));
    let bench = bench.reopen();
    let at = bench.seen.clock.at();
    assert!(at >= committed && at < committed.after(Millis::seconds(60)), "{at:?} {committed:?}");
}

#[test]
fn leases_are_full_again() {
    let mut bench = Bench::new();
    let ann = bench.join_for("ann", Millis::seconds(30));
    bench.outcome(ann, lock_for("src/", Millis::seconds(30)));
    bench.pass(Millis::seconds(25));
    let mut bench = bench.reopen();
    bench.pass(Millis::seconds(25));
    assert_eq!((bench.online(), bench.locked()), (vec!["ann".to_owned()], vec!["src/".to_owned()]));
    bench.pass(Millis::seconds(5));
    assert_eq!((bench.online(), bench.locked()), (vec![], vec![]));
}

#[test]
fn a_lingering_lock_waits_a_whole_delay_again() {
    let mut bench = Bench::new();
    let ann = bench.join_for("ann", Millis::seconds(30));
    bench.outcome(ann, lock("src/"));
    bench.pass(Millis::seconds(30));
    assert_eq!(bench.online(), [""; 0]);
    bench.pass(Millis(LOCK_DELAY.0 - 1_000));
    let mut bench = bench.reopen();
    bench.pass(Millis(LOCK_DELAY.0 - 1_000));
    assert_eq!(bench.locked(), ["src/"]);
    bench.pass(Millis::seconds(1));
    assert_eq!(bench.locked(), [""; 0]);
}

#[test]
fn an_entry_lives_its_ttl_of_mesh_time() {
    let mut bench = Bench::new();
    let ann = bench.join("ann");
    let Command::Put(short) = put("a", "1") else { unreachable!("a put") };
    let ttl = Some(Millis::seconds(100));
    bench.outcome(ann, Command::Put(Put { ttl, precondition: Precondition::MustNotExist, ..short }));
    bench.pass(Millis::seconds(60));
    bench.outcome(ann, put("b", "1"));
    let mut bench = bench.reopen();
    bench.pass(Millis::seconds(35));
    assert_eq!(bench.value("a").as_deref(), Some("1"));
    bench.pass(Millis::seconds(6));
    assert_eq!(bench.value("a"), None);
}

#[test]
fn a_later_session_of_the_same_peer_gets_the_first_answer_too() {
    let mut bench = Bench::new();
    let (ann, bob) = (bench.join("ann"), bench.join("bob"));
    let first = bench.ask(with_id(by(ann, put("a", "1")), "once")).unwrap();
    let mut bench = bench.reopen();
    let later = bench.join("ann");
    assert_eq!(bench.ask(with_id(by(later, put("a", "1")), "once")).unwrap(), first);
    assert!(bench.ask(with_id(by(bob, put("a", "1")), "once")).is_err(), "it is not bob's");
}

#[test]
fn a_repeat_from_a_session_that_is_over_is_told_so() {
    let mut bench = Bench::new();
    let former = bench.join("ann");
    bench
        .ask(mesh_core::command::Request::internal(Command::End {
            session: former,
            cause: LeaveCause::Expired,
        }))
        .unwrap();
    let later = bench.join("ann");
    bench.ask(with_id(by(later, put("a", "1")), "once")).unwrap();
    let late = bench.ask(with_id(by(former, put("a", "1")), "once")).unwrap_err();
    assert!(late.to_string().contains("session has ended"), "{late}");
}

#[test]
fn a_grace_that_was_running_is_forgotten_and_the_lease_decides() {
    let mut bench = Bench::new();
    let ann = bench.join_for("ann", Millis::seconds(30));
    drop(bench.seen.leases.attach(ann, Arc::downgrade(&Arc::new(()))));
    bench.turn().unwrap();
    let mut bench = bench.reopen();
    bench.pass(Millis::seconds(29));
    assert_eq!(bench.online(), ["ann"]);
    bench.pass(Millis::seconds(1));
    assert_eq!(bench.online(), [""; 0]);
}

#[test]
fn a_trim_that_was_cut_short_leaves_the_newest_run() {
    let mut bench = Bench::new();
    let ann = bench.join("ann");
    for n in 0..20 {
        bench.outcome(ann, put("a", format!("{n}")));
    }
    let gap = Op::Delete { key: records::log_key(Revision(9)) };
    bench.store.commit(&Batch::from_iter([gap])).unwrap();
    let bench = bench.reopen();
    assert_eq!(bench.seen.events.oldest(), Revision(10));
    assert_eq!(bench.log().len(), 12);
    assert_eq!(bench.seen.view.revision(), Revision(21));
}

#[test]
fn an_empty_store_is_an_empty_mesh() {
    let bench = Bench::new().reopen();
    assert_eq!(bench.seen.view.revision(), Revision::ZERO);
    assert_eq!(bench.seen.events.oldest(), Revision(1));
    assert_eq!(bench.seen.view.read().entries.get(&scope(), &key("a")), None);
    assert!(bench.seen.clock.at() < Timestamp(60_000));
}
