//! Acknowledged is durable: nothing is answered, shown or published before the commit, and nothing after a failure.

use std::sync::Arc;

use mesh_core::command::{Command, Delete, Operation, Precondition, Request, Transact};
use mesh_core::rejection::Rejection;
use mesh_core::revision::Revision;
use tokio::sync::oneshot::error::TryRecvError;

use super::{Bench, by, key, lock, now_or_never, open, put, release_all, send, with_id};
use crate::queue::CallError;
use crate::store::{Fault, MAX_BATCH_OPS, MemoryDisk};
use crate::writer::{self, WriterConfig};

const FAULTS: [Fault; 4] = [Fault::Refused, Fault::AnswerLost, Fault::CrashBefore, Fault::CrashAfter];

fn forget(at: &str) -> Command {
    Command::Delete(Delete { scope: None, key: key(at), precondition: Precondition::Any, fence: None })
}

#[test]
fn nothing_is_answered_or_shown_before_the_commit() {
    let mut bench = Bench::new();
    let session = bench.join("ann");
    let before = bench.seen.view.revision();
    let mut written = bench.submit(by(session, put("a", "1")));
    let mut refused = bench.submit(by(session, forget("b")));
    let mut unchanged = bench.submit(by(session, release_all()));
    for answer in [&mut written, &mut refused, &mut unchanged] {
        assert_eq!(answer.try_recv(), Err(TryRecvError::Empty));
    }
    assert_eq!(bench.seen.view.revision(), before);
    assert_eq!(bench.seen.events.head(), before);
    assert_eq!(bench.value("a"), None);
    bench.turn().unwrap();
    assert_eq!(written.try_recv().unwrap().unwrap().revision, before.next());
    assert!(matches!(refused.try_recv(), Ok(Err(CallError::Rejected(Rejection::KeyNotFound { .. })))));
    assert_eq!(unchanged.try_recv().unwrap().unwrap().revision, before.next());
    assert_eq!(bench.value("a").as_deref(), Some("1"));
    assert_eq!(bench.seen.events.head(), before.next());
}

#[test]
fn all_that_waits_is_one_commit() {
    let mut bench = Bench::new();
    let session = bench.join("ann");
    bench.store.costs();
    let answers: Vec<_> = (0..40).map(|n| bench.submit(by(session, put(&format!("k{n}"), "v")))).collect();
    bench.turn().unwrap();
    // 40 entries, 40 items of the history, and one head of the scope, written over 40 times.
    assert_eq!(bench.store.costs(), [81]);
    for mut answer in answers {
        assert!(answer.try_recv().unwrap().is_ok());
    }
}

#[test]
fn nobody_is_answered_when_the_commit_fails() {
    for fault in FAULTS {
        let mut bench = Bench::new();
        let session = bench.join("ann");
        let before = bench.seen.view.revision();
        bench.disk.inject(1, fault);
        let mut written = bench.submit(by(session, put("a", "1")));
        let mut refused = bench.submit(by(session, forget("b")));
        assert!(bench.turn().is_err(), "{fault:?}");
        assert_eq!(written.try_recv(), Err(TryRecvError::Closed), "{fault:?}");
        assert_eq!(refused.try_recv(), Err(TryRecvError::Closed), "{fault:?}");
        assert_eq!(bench.seen.view.revision(), before, "{fault:?}");
        assert_eq!(bench.seen.events.head(), before, "{fault:?}");
        assert_eq!(bench.value("a"), None, "{fault:?}");
    }
}

#[test]
fn a_failed_batch_is_there_wholly_or_not_at_all_after_a_restart() {
    for (fault, kept) in FAULTS.into_iter().zip([false, true, false, true]) {
        let mut bench = Bench::new();
        let (ann, bob) = (bench.join("ann"), bench.join("bob"));
        bench.disk.inject(1, fault);
        let _first = bench.submit(by(ann, put("a", "1")));
        let _second = bench.submit(by(ann, lock("src/")));
        let _third = bench.submit(by(bob, send(1, "ann", "hello")));
        assert!(bench.turn().is_err());
        let bench = bench.reopen();
        assert_eq!(bench.value("a").is_some(), kept, "{fault:?}");
        assert_eq!(bench.locked().len(), usize::from(kept), "{fault:?}");
        assert_eq!(bench.seen.view.read().messages.count(), usize::from(kept), "{fault:?}");
        let head = if kept { Revision(5) } else { Revision(2) };
        assert_eq!((bench.seen.view.revision(), bench.seen.events.head()), (head, head), "{fault:?}");
        assert_eq!(bench.log().len() as u64, head.0, "{fault:?}");
    }
}

#[test]
fn a_retry_after_a_lost_answer_gets_the_first_one() {
    for (fault, happened) in FAULTS.into_iter().zip([false, true, false, true]) {
        let mut bench = Bench::new();
        let session = bench.join("ann");
        let request = with_id(by(session, put("a", "1")), "once");
        bench.disk.inject(1, fault);
        let _lost = bench.submit(request.clone());
        assert!(bench.turn().is_err());
        let mut bench = bench.reopen();
        let between = bench.ask(by(session, put("b", "1"))).unwrap();
        let answer = bench.ask(request.clone()).unwrap();
        assert_eq!(answer.revision < between.revision, happened, "{fault:?}");
        assert_eq!(bench.ask(request).unwrap(), answer, "{fault:?}");
        let version = bench.seen.view.read().entries.get(&super::scope(), &key("a")).unwrap().version;
        assert_eq!(version.0, 1, "{fault:?}");
    }
}

#[test]
fn a_repeat_in_the_same_batch_changes_nothing() {
    let mut bench = Bench::new();
    let session = bench.join("ann");
    let request = with_id(by(session, put("a", "1")), "once");
    let mut first = bench.submit(request.clone());
    let mut second = bench.submit(request);
    bench.turn().unwrap();
    assert_eq!(first.try_recv().unwrap(), second.try_recv().unwrap());
    assert_eq!(bench.seen.view.revision(), Revision(2));
}

#[test]
fn a_caller_that_is_gone_harms_nobody() {
    let mut bench = Bench::new();
    let session = bench.join("ann");
    drop(bench.submit(by(session, put("a", "1"))));
    let mut heard = bench.submit(by(session, put("b", "1")));
    bench.turn().unwrap();
    assert!(heard.try_recv().unwrap().is_ok());
    assert_eq!(bench.value("a").as_deref(), Some("1"), "dropping the answer takes nothing back");
}

#[test]
fn what_costs_too_much_for_one_commit_becomes_several() {
    let mut bench = Bench::new();
    let session = bench.join("ann");
    bench.store.costs();
    let answers: Vec<_> = (0..400).map(|n| bench.submit(by(session, put(&format!("k{n}"), "v")))).collect();
    bench.turn().unwrap();
    let costs = bench.store.costs();
    assert!(costs.len() > 3 && costs.iter().all(|cost| *cost <= MAX_BATCH_OPS), "{costs:?}");
    for (mut answer, revision) in answers.into_iter().zip(2..) {
        assert_eq!(answer.try_recv().unwrap().unwrap().revision, Revision(revision));
    }
}

#[test]
fn a_request_is_weighed_anew_after_the_commit_that_makes_room_for_it() {
    let long = "v".repeat(65_536);
    let mut bench = Bench::new();
    let ann = bench.join("ann");
    bench.store.costs();
    let mut answers = Vec::new();
    for n in 0..14 {
        answers.push(bench.submit(by(ann, put(&format!("a{n}"), long.clone()))));
    }
    // Cheap while what it replaces is not stored yet, and dear once it is: it is what overfills the commit.
    let replace = |n: usize| {
        let Command::Put(put) = put(&format!("a{n}"), "short") else { panic!("it is a Put") };
        Operation::Put(put)
    };
    let replacements = Transact { scope: None, operations: (0..4).map(replace).collect() };
    answers.push(bench.submit(by(ann, Command::Transact(replacements))));
    assert_eq!(bench.store.costs().len(), 1, "the replacements did not fit");
    for n in 0..13 {
        answers.push(bench.submit(by(ann, put(&format!("b{n}"), long.clone()))));
    }
    bench.turn().unwrap();
    let costs = bench.store.costs();
    assert!(costs.iter().all(|cost| *cost <= MAX_BATCH_OPS), "{costs:?}");
    assert!(answers.into_iter().all(|mut answer| answer.try_recv().unwrap().is_ok()));
}

#[test]
fn a_writer_whose_store_fails_ends_and_answers_nobody() {
    let disk = MemoryDisk::new();
    let started = writer::start(WriterConfig::default(), Arc::new(open(&disk))).unwrap();
    disk.inject(1, Fault::AnswerLost);
    let mut bench = Bench::new();
    let join = Command::Join(bench.a_join("ann"));
    let request = Request::internal(join);
    let answer = now_or_never(started.handle.submit(request.clone()));
    assert_eq!(answer, Err(CallError::Draining));
    assert!(started.thread.join().unwrap().is_err());
    assert_eq!(now_or_never(started.handle.submit(request)), Err(CallError::Draining));
    assert_eq!(started.view.revision(), Revision::ZERO);
    assert_eq!(started.events.head(), Revision::ZERO);
}

#[test]
fn a_stop_finishes_what_was_asked_before_it() {
    let disk = MemoryDisk::new();
    let started = writer::start(WriterConfig::default(), Arc::new(open(&disk))).unwrap();
    let mut bench = Bench::new();
    let mut join = |who| started.handle.submit(Request::internal(Command::Join(bench.a_join(who))));
    let (ann, bob, cat) = (join("ann"), join("bob"), join("cat"));
    let late = join("dan");
    let (ann, bob, cat) = now_or_never(async {
        let stop = async { started.handle.stop() };
        let (ann, bob, cat, ()) = tokio::join!(ann, bob, cat, stop);
        (ann, bob, cat)
    });
    assert!(ann.is_ok() && bob.is_ok() && cat.is_ok());
    assert_eq!(now_or_never(late), Err(CallError::Draining));
    assert!(started.thread.join().unwrap().is_ok());
    let reopened = Bench::on(disk, WriterConfig::default());
    assert_eq!(reopened.online(), ["ann", "bob", "cat"]);
}

#[test]
fn a_probe_is_answered_once_it_is_durable_and_is_no_revision() {
    let mut bench = Bench::new();
    bench.join("ann");
    let before = bench.seen.view.revision();
    let mut probes: Vec<_> = (0..3).map(|_| bench.probe()).collect();
    assert_eq!(probes[0].try_recv(), Err(TryRecvError::Empty));
    bench.store.costs();
    bench.turn().unwrap();
    assert_eq!(bench.store.costs(), [1], "one write for all who ask");
    assert!(probes.iter_mut().all(|probe| probe.try_recv() == Ok(())));
    assert_eq!((bench.seen.view.revision(), bench.seen.events.head()), (before, before));
    let bench = bench.reopen();
    assert_eq!(bench.seen.view.revision(), before);
}

#[test]
fn a_probe_of_a_disk_that_fails_is_not_answered_and_ends_the_writer() {
    for fault in FAULTS {
        let mut bench = Bench::new();
        bench.disk.inject(1, fault);
        let mut probe = bench.probe();
        assert!(bench.turn().is_err(), "{fault:?}");
        assert_eq!(probe.try_recv(), Err(TryRecvError::Closed), "{fault:?}");
    }
}

#[test]
fn commits_are_counted_with_what_is_in_them() {
    let mut bench = Bench::new();
    let session = bench.join("ann");
    let before = bench.seen.commits.count();
    let answers: Vec<_> = (0..3).map(|n| bench.submit(by(session, put(&format!("k{n}"), "v")))).collect();
    bench.turn().unwrap();
    drop(answers);
    let seen = bench.seen.commits.clone();
    assert_eq!(seen.count(), before + 1);
    assert_eq!(seen.transactions().sum, 4.0, "the join, and three together");
    assert!(seen.bytes().sum > 100.0 && seen.last_and_longest().1 >= seen.last_and_longest().0);
}
