//! No ghosts, and late but never early: how the writer tells who is still there.

use std::sync::Arc;

use mesh_core::command::{Command, Join, Request};
use mesh_core::event::{Event, LeaveCause, UnlockCause};
use mesh_core::id::SessionId;
use mesh_core::limits::LOCK_DELAY;
use mesh_core::time::Millis;

use super::{Bench, by, lock, lock_for, name, put};
use crate::leases::Attachment;

const GRACE: Millis = Millis(500);

/// How sessions ended, in order.
fn ends(bench: &Bench) -> Vec<(SessionId, LeaveCause)> {
    let events = bench.log().into_iter().flat_map(|log| log.events.clone());
    let end = |event| {
        let Event::PeerLeft { session, cause, .. } = event else { return None };
        Some((session, cause))
    };
    events.filter_map(end).collect()
}

fn unlocks(bench: &Bench) -> Vec<UnlockCause> {
    let events = bench.log().into_iter().flat_map(|log| log.events.clone());
    let cause = |event| {
        let Event::FileUnlocked { cause, .. } = event else { return None };
        Some(cause)
    };
    events.filter_map(cause).collect()
}

fn attach(bench: &Bench, session: SessionId, connection: &Arc<()>) -> Attachment {
    bench.seen.leases.attach(session, Arc::downgrade(connection)).expect("a live session")
}

#[test]
fn a_silent_session_expires_and_its_locks_follow_after_the_delay() {
    let mut bench = Bench::new();
    let session = bench.join_for("ann", Millis::seconds(10));
    bench.outcome(session, lock("src/"));
    bench.pass(Millis::seconds(9));
    assert_eq!(bench.online(), ["ann"]);
    bench.pass(Millis::seconds(1));
    assert_eq!(ends(&bench), [(session, LeaveCause::Expired)]);
    assert!(!bench.seen.leases.touch(session), "there is no such session any more");
    bench.pass(Millis(LOCK_DELAY.0 - 1_000));
    assert_eq!(bench.locked(), ["src/"]);
    bench.pass(Millis::seconds(1));
    assert_eq!(bench.locked(), [""; 0]);
    assert_eq!(unlocks(&bench), [UnlockCause::SessionEnded]);
}

#[test]
fn a_sign_of_life_postpones_the_end_and_writes_nothing() {
    let mut bench = Bench::new();
    let session = bench.join_for("ann", Millis::seconds(10));
    bench.store.costs();
    for _ in 0..10 {
        bench.pass(Millis::seconds(8));
        assert!(bench.seen.leases.touch(session));
    }
    assert_eq!(bench.store.costs(), [0; 0]);
    bench.pass(Millis::seconds(8));
    assert_eq!(bench.online(), ["ann"]);
    bench.pass(Millis::seconds(2));
    assert_eq!(ends(&bench), [(session, LeaveCause::Expired)]);
}

#[test]
fn a_lock_expires_by_itself_while_its_holder_lives() {
    let mut bench = Bench::new();
    let session = bench.join("ann");
    bench.outcome(session, lock_for("src/", Millis::seconds(20)));
    bench.pass(Millis::seconds(18));
    assert_eq!(bench.locked(), ["src/"]);
    bench.pass(Millis::seconds(2));
    assert_eq!(unlocks(&bench), [UnlockCause::Expired]);
    assert_eq!(bench.online(), ["ann"]);
}

#[test]
fn an_overdue_lock_is_gone_before_the_next_request_is_decided() {
    let mut bench = Bench::new();
    let (ann, bob) = (bench.join("ann"), bench.join("bob"));
    bench.outcome(ann, lock_for("src/", Millis::seconds(20)));
    bench.seen.clock.advance(Millis::seconds(20));
    bench.outcome(bob, lock("src/a.rs"));
    assert_eq!(bench.locked(), ["src/a.rs"]);
}

#[test]
fn an_open_stream_keeps_a_session() {
    let mut bench = Bench::new();
    let session = bench.join_for("ann", Millis::seconds(10));
    let connection = Arc::new(());
    let stream = attach(&bench, session, &connection);
    bench.pass(Millis::days(1));
    assert_eq!(bench.online(), ["ann"]);
    drop(stream);
    bench.pass(Millis::seconds(9));
    assert_eq!(bench.online(), ["ann"], "its connection lives, so its lease decides");
    bench.pass(Millis::seconds(1));
    assert_eq!(ends(&bench), [(session, LeaveCause::Expired)]);
}

#[test]
fn a_dead_connection_ends_the_session_after_the_grace() {
    let mut bench = Bench::new();
    let session = bench.join("ann");
    let connection = Arc::new(());
    let stream = attach(&bench, session, &connection);
    drop(connection);
    drop(stream);
    bench.turn().unwrap();
    assert_eq!(bench.online(), ["ann"]);
    bench.pass(GRACE);
    assert_eq!(ends(&bench), [(session, LeaveCause::Disconnected)]);
    assert_eq!(bench.online(), [""; 0]);
}

#[test]
fn a_live_connection_outlasts_the_grace() {
    let mut bench = Bench::new();
    let session = bench.join("ann");
    let connection = Arc::new(());
    drop(attach(&bench, session, &connection));
    bench.turn().unwrap();
    bench.pass(GRACE);
    bench.pass(GRACE);
    assert_eq!(ends(&bench), []);
}

#[test]
fn who_streams_again_within_the_grace_stays() {
    let mut bench = Bench::new();
    let session = bench.join("ann");
    let (dead, alive) = (Arc::new(()), Arc::new(()));
    let stream = attach(&bench, session, &dead);
    drop(dead);
    drop(stream);
    bench.turn().unwrap();
    let again = attach(&bench, session, &alive);
    bench.pass(GRACE);
    bench.pass(Millis::seconds(5));
    assert_eq!(ends(&bench), []);
    drop(alive);
    drop(again);
    bench.turn().unwrap();
    bench.pass(GRACE);
    assert_eq!(ends(&bench), [(session, LeaveCause::Disconnected)]);
}

#[test]
fn who_calls_again_within_the_grace_stays() {
    let mut bench = Bench::new();
    let session = bench.join("ann");
    drop(attach(&bench, session, &Arc::new(())));
    // The writer is busy with the disk and hears of the end of the stream only after the call.
    bench.seen.clock.advance(Millis(20));
    assert!(bench.seen.leases.touch(session));
    bench.seen.clock.advance(Millis(20));
    bench.turn().unwrap();
    bench.pass(GRACE);
    assert_eq!(ends(&bench), []);
}

#[test]
fn the_last_of_several_streams_counts() {
    let mut bench = Bench::new();
    let session = bench.join("ann");
    let streams = [(); 2].map(|()| attach(&bench, session, &Arc::new(())));
    let [first, second] = streams;
    drop(first);
    bench.turn().unwrap();
    bench.pass(Millis::seconds(5));
    assert_eq!(ends(&bench), []);
    drop(second);
    bench.turn().unwrap();
    bench.pass(GRACE);
    assert_eq!(ends(&bench), [(session, LeaveCause::Disconnected)]);
}

#[test]
fn a_session_ends_once() {
    let mut bench = Bench::new();
    let session = bench.join_for("ann", Millis::seconds(1));
    drop(attach(&bench, session, &Arc::new(())));
    bench.turn().unwrap();
    bench.outcome(session, Command::Leave);
    bench.pass(GRACE);
    bench.pass(Millis::seconds(2));
    assert_eq!(ends(&bench), [(session, LeaveCause::Left)]);
}

#[test]
fn the_end_of_an_old_stream_does_not_end_the_next_session() {
    let mut bench = Bench::new();
    let first = bench.join("ann");
    let stream = attach(&bench, first, &Arc::new(()));
    let second = bench.join("ann");
    assert_eq!(ends(&bench), [(first, LeaveCause::Replaced)]);
    drop(stream);
    bench.turn().unwrap();
    bench.pass(GRACE);
    bench.pass(GRACE);
    assert_eq!(bench.online(), ["ann"]);
    assert!(bench.seen.leases.touch(second));
    assert!(bench.seen.leases.attach(first, Arc::downgrade(&Arc::new(()))).is_none());
}

#[test]
fn a_lease_begins_when_the_join_is_durable() {
    let mut bench = Bench::new();
    let join = Join { ttl: Millis::seconds(10), ..bench.a_join("ann") };
    let session = join.session;
    let mut answer = bench.submit(Request::internal(Command::Join(join)));
    bench.seen.clock.advance(Millis::seconds(8));
    bench.turn().unwrap();
    assert!(answer.try_recv().unwrap().is_ok());
    bench.pass(Millis::seconds(8));
    assert_eq!(bench.online(), ["ann"]);
    bench.pass(Millis::seconds(2));
    assert_eq!(ends(&bench), [(session, LeaveCause::Expired)]);
}

#[test]
fn a_slow_commit_expires_nobody_who_waits_for_it() {
    let mut bench = Bench::new();
    let join = Join { ttl: Millis::seconds(1), ..bench.a_join("ann") };
    let session = join.session;
    let mut joined = bench.submit(Request::internal(Command::Join(join)));
    // Other requests of the same turn take longer than the lease.
    bench.seen.clock.advance(Millis::seconds(2));
    let mut written = bench.submit(by(session, put("a", "1")));
    bench.turn().unwrap();
    assert!(joined.try_recv().unwrap().is_ok());
    assert!(written.try_recv().unwrap().is_ok());
    assert_eq!(bench.seen.view.read().peers.by_session(session).unwrap().name, name("ann"));
}

#[test]
fn a_lease_looked_at_too_late_starts_anew_once_in_a_silence() {
    let mut bench = Bench::new();
    let session = bench.join_for("ann", Millis::seconds(10));
    bench.pass(Millis::seconds(11));
    assert_eq!(bench.online(), ["ann"], "nobody listened when it ended");
    assert!(bench.seen.leases.touch(session));
    bench.pass(Millis::seconds(11));
    assert_eq!(bench.online(), ["ann"], "a new silence");
    bench.pass(Millis::seconds(11));
    assert_eq!(ends(&bench), [(session, LeaveCause::Expired)], "not a second time");
}
