//! Taking locks away, and what a token is good for then.

use super::{ended, is_refused, only, release};
use crate::command::Command;
use crate::event::{Event, LeaveCause, UnlockCause};
use crate::id::SessionId;
use crate::limits;
use crate::outcome::Outcome;
use crate::record::LockMode::{Exclusive, Shared};
use crate::record::LockRecord;
use crate::rejection::Rejection;
use crate::revision::{FencingToken, Revision};
use crate::state::tests::{Mesh, scope, target};

fn force(mesh: &mut Mesh, peer: SessionId, on: &[&str]) -> (Vec<LockRecord>, u32) {
    let (targets, reason) = (on.iter().map(|text| target(text)).collect(), "asleep".to_owned());
    let outcome = mesh.by(peer, Command::ForceRelease { targets, reason }).unwrap();
    let Outcome::Forced { locks, remaining } = outcome else { panic!("{outcome:?}") };
    (locks.iter().map(|lock| LockRecord::clone(lock)).collect(), remaining)
}

/// The token that is good for a target, or else that of the newest lock there.
fn fence(mesh: &Mesh, on: &str, token: FencingToken) -> Result<FencingToken, Option<FencingToken>> {
    let found = mesh.state.check_fence(&scope(), &target(on), token);
    found.map(|lock| lock.token).map_err(|lock| lock.map(|lock| lock.token))
}

#[test]
fn all_that_overlaps_is_taken_away_but_own_locks() {
    let mut mesh = Mesh::default();
    let (ann, bob, cid) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"));
    mesh.lock(ann, Shared, &["src/a", "src/b", "lib/"]);
    mesh.lock(bob, Shared, &["src/"]);
    mesh.lock(cid, Shared, &["src/a"]);
    mesh.events();
    let (locks, remaining) = force(&mut mesh, cid, &["src/a", "src/"]);
    assert_eq!((locks.len(), remaining), (3, 0));
    assert_eq!(mesh.state.locks.count(), 2);
    let events = mesh.events();
    let told = |event: &Event, who: &str, count: usize| {
        matches!(event, Event::FileUnlocked { holder, targets, cause: UnlockCause::Forced, reason }
            if holder.as_str() == who && targets.len() == count && reason == "asleep")
    };
    assert!(matches!(&events[..], [one, two] if told(one, "ann", 2) && told(two, "bob", 1)), "{events:?}");
    assert_eq!(force(&mut mesh, cid, &["src/"]), (Vec::new(), 0));
    assert_eq!(mesh.events(), []);
}

#[test]
fn a_reason_must_be_given() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let refused = mesh.by(ann, Command::ForceRelease { targets: vec![target("/")], reason: String::new() });
    assert!(matches!(refused, Err(Rejection::InvalidField { field: "reason", .. })), "{refused:?}");
}

#[test]
fn a_hundred_locks_are_taken_away_a_call() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    for n in 0..limits::UNLOCKS_PER_TRANSACTION + 20 {
        mesh.lock(ann, Exclusive, &[&n.to_string()]);
    }
    for (count, left) in [(100, 20), (20, 0), (0, 0)] {
        let (locks, remaining) = force(&mut mesh, bob, &["/"]);
        assert_eq!((locks.len(), remaining), (count, left));
    }
}

#[test]
fn a_token_is_good_for_what_its_lock_covers_while_it_is_held() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    let lock = only(mesh.lock(ann, Exclusive, &["src/"]));
    let other = only(mesh.lock(bob, Exclusive, &["lib/a"]));
    let wrong = FencingToken(Revision(1));
    assert_eq!(fence(&mesh, "src/", lock.token), Ok(lock.token));
    assert_eq!(fence(&mesh, "src/a", lock.token), Ok(lock.token));
    assert_eq!(fence(&mesh, "src/a", wrong), Err(Some(lock.token)));
    assert_eq!(fence(&mesh, "src/a", other.token), Err(Some(lock.token)), "it is for something else");
    assert_eq!(fence(&mesh, "/", lock.token), Err(Some(other.token)), "it covers not all of it");
    assert_eq!(fence(&mesh, "doc", lock.token), Err(None));
    mesh.by(ann, release(&[])).unwrap();
    assert_eq!(fence(&mesh, "src/a", lock.token), Err(None));
}

#[test]
fn a_token_of_a_lingering_lock_is_good_no_longer() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let lock = only(mesh.lock(ann, Exclusive, &["a"]));
    mesh.ask(&ended(ann, LeaveCause::Expired)).unwrap();
    assert_eq!(fence(&mesh, "a", lock.token), Err(Some(lock.token)));
    let again = mesh.join("ann");
    let taken = only(mesh.lock(again, Exclusive, &["a"]));
    assert_eq!(fence(&mesh, "a", lock.token), Err(Some(taken.token)));
    assert_eq!(fence(&mesh, "a", taken.token), Ok(taken.token));
}

#[test]
fn who_was_forced_out_is_fenced_and_comes_after_those_who_wait() {
    let mut mesh = Mesh::default();
    let (ann, bob, cid) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"));
    let former = only(mesh.lock(ann, Exclusive, &["a"]));
    super::queued(mesh.wait(bob, Exclusive, &["a"]));
    force(&mut mesh, cid, &["a"]);
    assert_eq!(super::holders(&mesh, "a"), ["bob"]);
    assert!(matches!(fence(&mesh, "a", former.token), Err(Some(token)) if token > former.token));
    assert!(is_refused(&mesh.lock(ann, Exclusive, &["a"])));
}
