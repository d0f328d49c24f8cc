//! Holding something narrower instead.

use super::{is_refused, only, release};
use crate::command::Command;
use crate::event::{Event, UnlockCause};
use crate::id::SessionId;
use crate::limits;
use crate::outcome::Outcome;
use crate::record::LockMode::{Exclusive, Shared};
use crate::record::LockRecord;
use crate::rejection::Rejection;
use crate::state::tests::{Mesh, name, scope, target};
use crate::time::{Millis, Timestamp};

fn narrow(mesh: &mut Mesh, peer: SessionId, from: &[&str], keep: &[&str]) -> Result<Outcome, Rejection> {
    let all = |texts: &[&str]| texts.iter().map(|text| target(text)).collect();
    mesh.by(peer, Command::Release { targets: all(from), keep: all(keep), note: String::new() })
}

/// What was released, how many own locks are left, and what is held instead.
fn given_up(outcome: Result<Outcome, Rejection>) -> (Vec<String>, u32, Vec<LockRecord>) {
    let Ok(Outcome::Released { targets, remaining, kept }) = outcome else { panic!("{outcome:?}") };
    let kept = kept.iter().map(|lock| LockRecord::clone(lock)).collect();
    (targets.iter().map(ToString::to_string).collect(), remaining, kept)
}

#[test]
fn what_is_kept_has_mode_reason_and_ttl_of_what_covered_it_and_a_new_token() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    let wide = only(mesh.lock(ann, Shared, &["src/"]));
    let ttl = Some(Millis::minutes(7));
    mesh.by(ann, Command::Renew { targets: Vec::new(), ttl }).unwrap();
    mesh.pass(Millis::minutes(2));
    mesh.events();
    let (released, remaining, kept) =
        given_up(narrow(&mut mesh, ann, &["src/"], &["src/b", "src/a/", "src/b"]));
    assert_eq!((&released[..], remaining, kept.len()), (&["src/".to_owned()][..], 2, 2));
    for lock in &kept {
        assert_eq!((lock.mode, lock.ttl, &lock.reason), (Shared, Millis::minutes(7), &wide.reason));
        assert!(lock.token > wide.token);
        assert_eq!(mesh.state.lock_status(lock, Timestamp(mesh.now)), (false, Millis::minutes(7)));
    }
    let events = mesh.events();
    let [Event::FileUnlocked { cause, .. }, Event::FileLocked { locks, ticket: None }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((*cause, locks.len()), (UnlockCause::Narrowed, 2));
    assert!(is_refused(&mesh.lock(bob, Exclusive, &["src/a/x"])));
    only(mesh.lock(bob, Exclusive, &["src/c"]));
}

#[test]
fn only_what_is_covered_can_be_kept() {
    let table: [(&[&str], &[&str]); 4] =
        [(&["src/"], &["lib/a"]), (&["src/"], &["/"]), (&["src/"], &["src/a", "src"]), (&[], &["src/a"])];
    for (from, keep) in table {
        let mut mesh = Mesh::default();
        let ann = mesh.join("ann");
        only(mesh.lock(ann, Exclusive, &["src/"]));
        let refused = narrow(&mut mesh, ann, from, keep);
        assert!(
            matches!(refused, Err(Rejection::InvalidField { field: "keep", .. })),
            "{keep:?} {refused:?}"
        );
        assert_eq!(mesh.state.locks.count(), 1, "nothing is released");
    }
}

#[test]
fn naming_what_is_released_keeps_it_as_it_is() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.lock(ann, Exclusive, &["a", "b"]);
    mesh.log.clear();
    let (released, remaining, kept) = given_up(narrow(&mut mesh, ann, &["a"], &["a"]));
    assert_eq!((released.len(), remaining, kept.len(), mesh.log.len()), (0, 2, 1, 0), "nothing has changed");
    let before = mesh.state.locks.get(&scope(), &target("a"), &name("ann")).unwrap().token;
    let (released, remaining, kept) = given_up(narrow(&mut mesh, ann, &["a", "b"], &["a"]));
    assert_eq!((&released[..], remaining, kept[0].token), (&["b".to_owned()][..], 1, before));
}

#[test]
fn what_is_held_already_inside_is_kept_with_its_token() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.lock(ann, Exclusive, &["src/"]);
    let inner = only(mesh.lock(ann, Exclusive, &["src/a"]));
    let shared = only(mesh.lock(ann, Shared, &["src/b"]));
    let (released, remaining, kept) = given_up(narrow(&mut mesh, ann, &["src/"], &["src/a", "src/b"]));
    assert_eq!((released.len(), remaining), (1, 2));
    assert_eq!(kept[0].token, inner.token);
    assert!(
        kept[1].mode == Exclusive && kept[1].token > shared.token,
        "it is as strong as what it was inside"
    );
}

#[test]
fn narrowing_passes_those_that_wait() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.lock(ann, Exclusive, &["src/"]);
    super::queued(mesh.wait(bob, Exclusive, &["src/a", "src/b"]));
    given_up(narrow(&mut mesh, ann, &["src/"], &["src/a"]));
    assert_eq!(super::waiting(&mesh), ["bob"]);
    mesh.by(ann, release(&[])).unwrap();
    assert_eq!(super::holders(&mesh, "src/a"), ["bob"]);
}

#[test]
fn only_so_much_can_be_kept() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    only(mesh.lock(ann, Exclusive, &["src/"]));
    let keep: Vec<String> = (0..=limits::WAIT_TARGETS).map(|n| format!("src/{n}")).collect();
    let keep: Vec<&str> = keep.iter().map(String::as_str).collect();
    let refused = narrow(&mut mesh, ann, &["src/"], &keep);
    assert!(matches!(refused, Err(Rejection::InvalidField { field: "keep", .. })), "{refused:?}");
    assert_eq!(given_up(narrow(&mut mesh, ann, &["src/"], &keep[1..])).2.len(), limits::WAIT_TARGETS);
}

#[test]
fn what_is_kept_counts_towards_the_locks_of_a_peer() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let all: Vec<String> = (0..limits::LOCKS_PER_PEER).map(|n| format!("{n}/")).collect();
    for some in all.chunks(limits::TARGETS) {
        mesh.lock(ann, Shared, &some.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let refused = narrow(&mut mesh, ann, &["0/"], &["0/a", "0/b"]);
    assert!(matches!(refused, Err(Rejection::LimitReached { limit: limits::LOCKS_PER_PEER, .. })));
    given_up(narrow(&mut mesh, ann, &["0/"], &["0/a"]));
}
