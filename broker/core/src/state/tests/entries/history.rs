use std::sync::Arc;

use super::{Mesh, UNREAD, delete, key, named, put, written};
use crate::command::{Command, Precondition, Put, Restore};
use crate::event::Event;
use crate::limits::{self, DELETED_RETENTION};
use crate::outcome::Outcome;
use crate::record::{EntryRecord, PastRecord, Record, Write};
use crate::rejection::Rejection;
use crate::revision::Version;
use crate::state::tests::{scope, target};
use crate::time::{Millis, Timestamp};

fn restore(version: u64, precondition: Precondition) -> Command {
    Command::Restore(Restore { scope: None, key: key(), version: Version(version), precondition })
}

#[test]
fn the_last_ten_former_versions_are_kept() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    for n in 1..=25 {
        mesh.put(ann, &format!("value {n}"), UNREAD).unwrap();
    }
    assert_eq!(mesh.versions(), ((15..=25).rev().collect(), false));
    for n in 15..=25 {
        let version = mesh.state.entries.version(&scope(), &key(), Version(n)).unwrap();
        assert_eq!(*version.value, format!("value {n}"));
    }
    assert_eq!(mesh.state.entries.version(&scope(), &key(), Version(14)), None);
    mesh.restart();
    assert_eq!(mesh.versions(), ((15..=25).rev().collect(), false));
    assert_eq!(mesh.stored.len(), 1 + 1 + 1 + 10, "the scope, the peer, the entry and its former versions");
}

#[test]
fn former_versions_are_kept_as_far_as_their_bytes_go() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let large = "x".repeat(limits::VALUE_BYTES);
    let half = "x".repeat(limits::VALUE_BYTES / 2);
    for value in [&half, &half, &large, &large, &large, ""] {
        mesh.put(ann, value, UNREAD).unwrap();
    }
    assert_eq!(mesh.versions().0, [6, 5, 4, 3, 2, 1], "exactly as many bytes as there may be");
    mesh.put(ann, &large, UNREAD).unwrap();
    assert_eq!(mesh.versions().0, [7, 6, 5, 4, 3, 2, 1], "an empty one costs nothing");
    mesh.put(ann, "x", UNREAD).unwrap();
    assert_eq!(mesh.versions().0, [8, 7, 6, 5, 4, 3], "another large one costs both halves");
    mesh.delete(ann, UNREAD).unwrap();
    assert_eq!(mesh.versions(), (vec![8, 7, 6, 5, 4], true), "one byte costs a large one");
    mesh.restart();
    assert_eq!(mesh.versions(), (vec![8, 7, 6, 5, 4], true));
}

#[test]
fn a_key_expires_with_versions_that_are_about_many_paths() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let paths: Vec<_> = (0..32).map(|n| target(&format!("{n}/{}", "x".repeat(1_000)))).collect();
    for n in 1..=12 {
        let value = "x".repeat(limits::VERSIONS_KEPT.1 / limits::VERSIONS_KEPT.0);
        let ttl = Some(Millis::seconds(n));
        mesh.by(ann, Command::Put(Put { value: value.into(), paths: paths.clone(), ttl, ..put(UNREAD) }))
            .unwrap();
    }
    assert_eq!(mesh.versions().0, [12, 11, 10, 9, 8], "what they are about takes room too");
    mesh.pass(Millis::seconds(12));
    assert_eq!(mesh.versions(), (vec![], false));
}

#[test]
fn versions_go_on_after_a_deletion_while_they_are_kept() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.put(ann, "one", UNREAD).unwrap();
    mesh.put(ann, "two", UNREAD).unwrap();
    mesh.delete(ann, UNREAD).unwrap();
    assert_eq!(mesh.versions(), (vec![2, 1], true));
    let anew = written(mesh.put(ann, "three", UNREAD));
    assert_eq!((anew.version, anew.create_revision), (Version(3), anew.revision));
    assert_eq!(mesh.versions(), (vec![3, 2, 1], false));
    mesh.pass(Millis(DELETED_RETENTION.0 * 2));
    assert_eq!(mesh.versions(), (vec![3, 2, 1], false), "what is not deleted has no deadline");

    let ann = mesh.join("ann");
    mesh.delete(ann, UNREAD).unwrap();
    mesh.events();
    mesh.pass(Millis(DELETED_RETENTION.0 - 1));
    assert_eq!(mesh.versions(), (vec![3, 2, 1], true));
    mesh.restart();
    mesh.events();
    mesh.pass(Millis(1));
    assert_eq!((mesh.versions(), mesh.events()), ((vec![], false), vec![]), "it is no news");
    assert_eq!(mesh.stored.len(), 2, "the scope and the peer");
    let ann = mesh.join("ann");
    assert_eq!(written(mesh.put(ann, "four", UNREAD)).version, Version(1));
}

#[test]
fn a_deadline_of_former_versions_does_not_depend_on_the_order_of_recovery() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    for value in ["one", "two", "three"] {
        mesh.put(ann, value, UNREAD).unwrap();
        mesh.pass(Millis::minutes(1));
    }
    let forward = |mesh: &Mesh| mesh.stored.values().cloned().collect::<Vec<_>>();
    let deadline = |records: Vec<Record>| {
        let mut state = crate::State::default();
        for record in records {
            state.apply(&Write::Put(record), Timestamp(0));
        }
        state.remaining(&crate::state::deadlines::Due::Past(scope(), key()), Timestamp(0))
    };
    let mut backward = forward(&mesh);
    backward.reverse();
    assert_eq!([deadline(forward(&mesh)), deadline(backward)], [None, None]);
    mesh.delete(ann, UNREAD).unwrap();
    let until = Some(Millis(mesh.now + DELETED_RETENTION.0));
    let mut backward = forward(&mesh);
    backward.reverse();
    assert_eq!([deadline(forward(&mesh)), deadline(backward)], [until, until]);
}

/// Takes in a key that was deleted at a time, and what that makes due.
fn deleted_at(mesh: &mut Mesh, n: usize, at: u64, value: &Arc<str>) {
    let entry = EntryRecord {
        key: named(&format!("k{n}")),
        value: value.clone(),
        version: Version(1),
        ..EntryRecord::clone(mesh.entry())
    };
    let past = Arc::new(PastRecord { entry: Arc::new(entry), ended: Timestamp(at) });
    mesh.stored.insert(Record::Past(past.clone()).key(), Record::Past(past.clone()));
    mesh.state.apply(&Write::Put(Record::Past(past)), Timestamp(mesh.now));
}

fn is_kept(mesh: &Mesh, n: usize) -> bool {
    mesh.state.entries.versions(&scope(), &named(&format!("k{n}"))).1
}

#[test]
fn the_longest_deleted_key_gives_way_where_too_many_are() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.put(ann, "one", UNREAD).unwrap();
    let value: Arc<str> = "".into();
    for n in 0..limits::DELETED_KEYS.0 {
        deleted_at(&mut mesh, n, n as u64, &value);
    }
    mesh.pass(Millis(limits::DELETED_KEYS.0 as u64));
    assert!(is_kept(&mesh, 0), "as many as there may be");
    mesh.delete(ann, UNREAD).unwrap();
    mesh.pass(Millis::ZERO);
    assert_eq!(mesh.versions(), (vec![1], true));
    assert_eq!([0, 1].map(|n| is_kept(&mesh, n)), [false, true]);
    mesh.put(ann, "two", UNREAD).unwrap();
    mesh.pass(Millis::ZERO);
    mesh.restart();
    mesh.pass(Millis::ZERO);
    assert_eq!((is_kept(&mesh, 1), mesh.versions()), (true, (vec![2, 1], false)));
}

#[test]
fn deleted_keys_take_only_so_many_bytes() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.put(ann, "one", UNREAD).unwrap();
    let large: Arc<str> = "x".repeat(limits::VALUE_BYTES).into();
    let count = limits::DELETED_KEYS.1 / limits::VALUE_BYTES;
    for n in 0..=count {
        deleted_at(&mut mesh, n, n as u64, &large);
    }
    mesh.pass(Millis(1));
    assert_eq!([0, 1, count].map(|n| is_kept(&mesh, n)), [false, true, true]);
}

#[test]
fn the_versions_of_an_expired_key_go_with_it() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.put(ann, "one", UNREAD).unwrap();
    mesh.by(ann, Command::Put(Put { ttl: Some(Millis::seconds(5)), ..put(UNREAD) })).unwrap();
    mesh.pass(Millis::seconds(5));
    assert_eq!((mesh.versions(), mesh.stored.len()), ((vec![], false), 2));
    assert_eq!(mesh.state.next_deadline().map(|_| mesh.state.entries.count()), Some(0));
    assert_eq!(written(mesh.put(ann, "two", UNREAD)).version, Version(1));
}

#[test]
fn restoring_writes_a_former_version_anew() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    let first = Put {
        value: "one".into(),
        paths: vec![target("src/")],
        tags: vec!["x".to_owned()],
        ttl: Some(Millis::days(1)),
        ..put(UNREAD)
    };
    mesh.by(ann, Command::Put(first)).unwrap();
    mesh.put(ann, "two", UNREAD).unwrap();
    mesh.events();
    let back = written(mesh.by(ann, restore(1, UNREAD)));
    assert_eq!((back.version, back.ttl), (Version(3), None));
    assert_eq!((back.paths, back.tags), (vec![target("src/")], vec!["x".to_owned()]));
    assert_eq!(mesh.value(), "one");
    let events = mesh.events();
    assert!(matches!(&events[..], [Event::StateChanged { version: Version(3), .. }]), "{events:?}");
    assert_eq!(mesh.versions().0, [3, 2, 1]);

    let missing = Err(Rejection::VersionNotFound { key: key(), version: Version(9) });
    assert_eq!(mesh.by(ann, restore(9, UNREAD)), missing);
    let unread = mesh.by(bob, restore(1, UNREAD));
    assert!(super::is_unread(&unread), "{unread:?}");
    let stale = mesh.by(bob, restore(1, Precondition::Version(Version(2))));
    assert!(matches!(stale, Err(Rejection::VersionMismatch(_))), "{stale:?}");
    assert!(mesh.by(bob, restore(2, Precondition::Version(Version(3)))).is_ok());
    assert_eq!((mesh.value(), mesh.entry().writer.as_str()), ("two", "bob"));
}

#[test]
fn restoring_brings_a_deleted_key_back() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.put(ann, "one", UNREAD).unwrap();
    assert_eq!(mesh.by(ann, Command::Delete(delete(UNREAD))), Ok(Outcome::Deleted));
    let back = written(mesh.by(bob, restore(1, UNREAD)));
    assert_eq!((back.version, back.create_revision), (Version(2), back.revision));
    assert_eq!((mesh.value(), mesh.versions()), ("one", (vec![2, 1], false)));
    mesh.pass(Millis(DELETED_RETENTION.0 * 2));
    assert_eq!(mesh.versions(), (vec![2, 1], false));
}
