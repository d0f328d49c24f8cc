mod force;
mod handover;
mod narrowing;
mod queue;
mod random;
mod requests;

use super::{Mesh, name, scope, target};
use crate::command::{Acquire, Command, Request};
use crate::event::{Event, LeaveCause, UnlockCause};
use crate::id::SessionId;
use crate::limits::{self, LOCK_DELAY};
use crate::outcome::{Conflict, Obstacle, Outcome};
use crate::record::LockMode::{Exclusive, Shared};
use crate::record::{LockMode, LockRecord};
use crate::rejection::Rejection;
use crate::revision::Ticket;
use crate::time::{Millis, Timestamp};

fn only(outcome: Outcome) -> LockRecord {
    let Outcome::Granted { locks } = outcome else { panic!("{outcome:?}") };
    assert_eq!(locks.len(), 1);
    LockRecord::clone(&locks[0])
}

fn is_refused(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Conflicts(conflicts) if !conflicts.is_empty())
}

fn remaining(mesh: &Mesh, lock: &LockRecord) -> Millis {
    mesh.state.lock_status(lock, Timestamp(mesh.now)).1
}

fn ended(session: SessionId, cause: LeaveCause) -> Request {
    Request::internal(Command::End { session, cause })
}

fn release(targets: &[&str]) -> Command {
    let targets = targets.iter().map(|text| target(text)).collect();
    Command::Release { targets, keep: Vec::new(), note: String::new() }
}

fn queued(outcome: Result<Outcome, Rejection>) -> Ticket {
    match outcome {
        Ok(Outcome::Queued { ticket }) => ticket,
        other => panic!("{other:?}"),
    }
}

/// The locks in the way, with whether they linger.
fn locks_of(conflicts: &[Conflict]) -> Vec<(LockRecord, bool)> {
    let mut found = Vec::new();
    for conflict in conflicts {
        match &conflict.obstacle {
            Obstacle::Lock { lock, lingering } => found.push((LockRecord::clone(lock), *lingering)),
            Obstacle::Waiter(waiter) => panic!("{waiter:?}"),
        }
    }
    found
}

/// Who holds a lock on exactly this target, by name.
fn holders(mesh: &Mesh, on: &str) -> Vec<String> {
    let on = target(on);
    let locks = mesh.state.locks.list(None, None).filter(|lock| lock.target == on);
    locks.map(|lock| lock.holder.to_string()).collect()
}

/// Who waits, in the order of the queue.
fn waiting(mesh: &Mesh) -> Vec<String> {
    mesh.state.locks.waiters(&scope()).map(|waiter| waiter.peer.to_string()).collect()
}

/// How many locks ended together, and why, since this was last asked.
fn unlocks(mesh: &mut Mesh) -> Vec<(usize, UnlockCause)> {
    let mut found = Vec::new();
    for event in mesh.events() {
        if let Event::FileUnlocked { targets, cause, .. } = event {
            found.push((targets.len(), cause));
        }
    }
    found
}

#[test]
fn taking_an_own_lock_again_renews_it_and_keeps_its_token() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let first = only(mesh.lock(ann, Exclusive, &["a"]));
    mesh.pass(Millis::minutes(20));
    mesh.events();
    let second = only(mesh.lock(ann, Exclusive, &["a"]));
    assert_eq!(second.token, first.token);
    assert_eq!(remaining(&mesh, &second), Millis::minutes(30));
    assert_eq!(mesh.events(), [], "it is not news");
}

#[test]
fn taking_an_own_lock_again_never_shortens_its_life() {
    let (short, long) = (Millis::minutes(15), Millis::minutes(60));
    // As it was held, as it is asked for, with what ttl: renewed, upgraded, taken up again by the next session.
    for (before, asked, anew) in
        [(Exclusive, Exclusive, false), (Shared, Exclusive, false), (Exclusive, Shared, true)]
    {
        for (first, second, ttl) in [(long, short, long), (short, long, long), (short, short, short)] {
            let mut mesh = Mesh::default();
            let ann = mesh.join("ann");
            only(mesh.lock_for(ann, before, &["a"], first));
            mesh.pass(Millis::minutes(10));
            let ann = if anew { mesh.join("ann") } else { ann };
            let again = only(mesh.lock_for(ann, asked, &["a"], second));
            assert_eq!((again.ttl, remaining(&mesh, &again)), (ttl, ttl), "{before:?} {asked:?}");
            let Ok(Outcome::Renewed { locks }) =
                mesh.by(ann, Command::Renew { targets: Vec::new(), ttl: Some(Millis::minutes(1)) })
            else {
                panic!("not renewed")
            };
            assert_eq!(locks[0].ttl, Millis::minutes(1), "a renewal sets what it says");
        }
    }
}

#[test]
fn a_shared_lock_is_upgraded_when_nobody_shares_it() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    let shared = only(mesh.lock(ann, Shared, &["a"]));
    mesh.lock(bob, Shared, &["/"]);
    assert!(is_refused(&mesh.lock(ann, Exclusive, &["a"])));
    mesh.by(bob, release(&[])).unwrap();
    let upgraded = only(mesh.lock(ann, Exclusive, &["a"]));
    assert_eq!(upgraded.mode, Exclusive);
    assert!(upgraded.token > shared.token);
    assert!(is_refused(&mesh.lock(bob, Shared, &["a"])));
}

#[test]
fn asking_to_share_what_one_holds_exclusively_changes_nothing() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    let held = only(mesh.lock(ann, Exclusive, &["a"]));
    let again = only(mesh.lock(ann, Shared, &["a"]));
    assert_eq!((again.mode, again.token), (Exclusive, held.token));
    assert!(is_refused(&mesh.lock(bob, Shared, &["a"])));
}

#[test]
fn locks_exclude_each_other_by_mode_and_overlap() {
    let table = [
        (Exclusive, "src/", Exclusive, "src/a.rs", false),
        (Exclusive, "src/a.rs", Shared, "src/", false),
        (Shared, "/", Exclusive, "src/a.rs", false),
        (Shared, "src/", Shared, "src/a.rs", true),
        (Exclusive, "src/", Exclusive, "src", true),
        (Exclusive, "src/", Exclusive, "src0", true),
        (Exclusive, "src/a/", Exclusive, "src/b/", true),
    ];
    for (held, on, asked, at, granted) in table {
        let mut mesh = Mesh::default();
        let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
        mesh.lock(ann, held, &[on]);
        let outcome = mesh.lock(bob, asked, &[at]);
        assert_eq!(!is_refused(&outcome), granted, "{held:?} {on} against {asked:?} {at}");
    }
}

#[test]
fn a_set_of_targets_is_granted_wholly_or_not_at_all() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.lock(ann, Exclusive, &["b"]);
    mesh.events();
    let Outcome::Conflicts(conflicts) = mesh.lock(bob, Exclusive, &["a", "b", "c"]) else {
        panic!("granted")
    };
    assert_eq!(conflicts.len(), 1);
    let (lock, _) = &locks_of(&conflicts)[0];
    assert_eq!((&conflicts[0].target, &lock.holder), (&target("b"), &name("ann")));
    assert_eq!(mesh.state.locks.count(), 1);
    assert_eq!(mesh.events(), []);
}

#[test]
fn a_refusal_names_at_most_a_hundred_locks() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    for n in 0..120 {
        mesh.lock(ann, Exclusive, &[&format!("src/{n}")]);
    }
    let Outcome::Conflicts(conflicts) = mesh.lock(bob, Shared, &["/"]) else { panic!("granted") };
    assert_eq!(conflicts.len(), limits::TARGETS);
}

#[test]
fn locks_of_a_lost_session_linger_for_the_delay() {
    for cause in [LeaveCause::Disconnected, LeaveCause::Expired] {
        let mut mesh = Mesh::default();
        let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
        let lock = only(mesh.lock(ann, Exclusive, &["a"]));
        mesh.ask(&ended(ann, cause)).unwrap();
        assert_eq!(mesh.state.lock_status(&lock, Timestamp(mesh.now)), (true, LOCK_DELAY));
        mesh.pass(Millis(LOCK_DELAY.0 - 1));
        let Outcome::Conflicts(conflicts) = mesh.lock(bob, Exclusive, &["a"]) else { panic!("granted") };
        assert!(locks_of(&conflicts)[0].1 && conflicts[0].remaining == Millis(1), "{conflicts:?}");
        mesh.events();
        mesh.pass(Millis(1));
        assert_eq!(unlocks(&mut mesh), [(1, UnlockCause::SessionEnded)]);
        assert!(!is_refused(&mesh.lock(bob, Exclusive, &["a"])));
    }
}

#[test]
fn the_same_peer_takes_a_lingering_lock_up_again() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let lock = only(mesh.lock(ann, Exclusive, &["a"]));
    mesh.ask(&ended(ann, LeaveCause::Disconnected)).unwrap();
    let again = mesh.join("ann");
    mesh.pass(Millis(LOCK_DELAY.0 - 1));
    let taken = only(mesh.lock(again, Exclusive, &["a"]));
    assert!(taken.token > lock.token);
    let stays = only(mesh.lock(again, Shared, &["a"]));
    assert_eq!(stays.mode, Exclusive);
    mesh.pass(LOCK_DELAY);
    assert_eq!(
        mesh.state.lock_status(&taken, Timestamp(mesh.now)),
        (false, Millis(1_800_000 - LOCK_DELAY.0))
    );
}

#[test]
fn a_lingering_lock_is_taken_up_again_as_strong_as_it_was() {
    for (before, asked, mode) in
        [(Exclusive, Shared, Exclusive), (Shared, Exclusive, Exclusive), (Shared, Shared, Shared)]
    {
        let mut mesh = Mesh::default();
        let ann = mesh.join("ann");
        let former = only(mesh.lock(ann, before, &["a"]));
        let again = mesh.join("ann");
        let taken = only(mesh.lock(again, asked, &["a"]));
        assert!(taken.mode == mode && taken.token > former.token, "{before:?} {asked:?}");
    }
}

#[test]
fn coming_back_alone_does_not_keep_a_lingering_lock() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.lock(ann, Exclusive, &["a"]);
    let again = mesh.join("ann");
    let renew = |targets| Command::Renew { targets, ttl: None };
    let refused = mesh.by(again, renew(vec![target("a")]));
    assert_eq!(refused, Err(Rejection::LockNotHeld { path: target("a") }));
    assert_eq!(mesh.by(again, renew(Vec::new())), Ok(Outcome::Renewed { locks: Vec::new() }));
    mesh.pass(LOCK_DELAY);
    assert_eq!(mesh.state.locks.count(), 0);
}

#[test]
fn a_lock_whose_ttl_is_shorter_than_the_delay_ends_with_its_ttl() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.lock(ann, Exclusive, &["a"]);
    mesh.by(ann, Command::Renew { targets: Vec::new(), ttl: Some(Millis::seconds(3)) }).unwrap();
    mesh.ask(&ended(ann, LeaveCause::Disconnected)).unwrap();
    mesh.pass(Millis::seconds(3));
    assert_eq!(mesh.state.locks.count(), 0);
}

#[test]
fn leaving_frees_locks_at_once_however_many() {
    let mut mesh = Mesh::default();
    let before = mesh.join("ann");
    mesh.lock(before, Exclusive, &["z/lingering"]);
    let ann = mesh.join("ann");
    for n in 0..250 {
        mesh.lock(ann, Exclusive, &[&format!("src/{n}")]);
    }
    mesh.events();
    mesh.by(ann, Command::Leave).unwrap();
    mesh.pass(Millis::ZERO);
    assert_eq!(mesh.state.locks.count(), 0);
    let ends = unlocks(&mut mesh);
    assert!(ends.iter().all(|(many, cause)| *many <= 100 && *cause == UnlockCause::Left), "{ends:?}");
    assert_eq!(ends.iter().map(|(many, _)| many).sum::<usize>(), 251);
}

#[test]
fn a_leave_that_a_crash_cut_short_is_finished_after_it() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    for n in 0..150 {
        mesh.lock(ann, Exclusive, &[&format!("src/{n}")]);
    }
    mesh.by(ann, Command::Leave).unwrap();
    mesh.restart();
    mesh.events();
    mesh.pass(Millis::ZERO);
    assert_eq!(mesh.state.locks.count(), 0);
    assert_eq!(unlocks(&mut mesh), [(50, UnlockCause::Left)]);
}

#[test]
fn releasing_all_releases_a_hundred_a_call() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    for n in 0..130 {
        mesh.lock(ann, Shared, &[&format!("src/{n}")]);
    }
    for (count, left) in [(100, 30), (30, 0), (0, 0)] {
        let outcome = mesh.by(ann, release(&[])).unwrap();
        let Outcome::Released { targets, remaining, kept: _ } = outcome else { panic!("{outcome:?}") };
        assert_eq!((targets.len(), remaining), (count, left));
    }
}

#[test]
fn nothing_is_released_or_renewed_when_one_target_is_not_held() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let lock = only(mesh.lock(ann, Exclusive, &["a"]));
    mesh.pass(Millis::minutes(1));
    let targets = || vec![target("a"), target("b")];
    let missing = Err(Rejection::LockNotHeld { path: target("b") });
    assert_eq!(mesh.by(ann, release(&["a", "b"])), missing);
    assert_eq!(mesh.by(ann, Command::Renew { targets: targets(), ttl: None }), missing);
    assert_eq!(remaining(&mesh, &lock), Millis::minutes(29));
}

#[test]
fn a_peer_may_hold_only_so_many_locks() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let acquire = |n: usize| {
        let targets = (n..n + 100).map(|n| target(&format!("src/{n}"))).collect();
        let (mode, ttl, reason) = (LockMode::Shared, Millis::minutes(30), String::new());
        Command::Acquire(Acquire { targets, mode, ttl, reason, wait: Millis::ZERO, contract: None })
    };
    for n in (0..limits::LOCKS_PER_PEER).step_by(100) {
        mesh.by(ann, acquire(n)).unwrap();
    }
    let refused = mesh.by(ann, acquire(limits::LOCKS_PER_PEER - 99));
    assert!(matches!(refused, Err(Rejection::LimitReached { limit: limits::LOCKS_PER_PEER, .. })));
    assert!(mesh.by(ann, acquire(0)).is_ok(), "own locks are renewed at the limit");
    assert_eq!(mesh.state.locks.get(&scope(), &target("src/10000"), &name("ann")), None);
}
