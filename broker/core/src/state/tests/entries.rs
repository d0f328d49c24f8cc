use super::{Mesh, scope};
use crate::command::{Command, Delete, Precondition, Put};
use crate::event::{DeleteCause, Event};
use crate::id::{EntryKey, ScopeId};
use crate::outcome::{EntryMeta, Outcome};
use crate::rejection::Rejection;
use crate::revision::{Revision, Version};
use crate::time::Millis;

fn key() -> EntryKey {
    EntryKey::parse("plan").unwrap()
}

fn put(precondition: Precondition) -> Put {
    Put { scope: None, key: key(), value: "v".into(), precondition, ttl: None, paths: vec![], tags: vec![] }
}

fn delete(precondition: Precondition) -> Command {
    Command::Delete(Delete { scope: None, key: key(), precondition })
}

fn written(outcome: Result<Outcome, Rejection>) -> EntryMeta {
    match outcome {
        Ok(Outcome::Written(meta)) => meta,
        other => panic!("{other:?}"),
    }
}

#[test]
fn preconditions_hold_or_say_what_is_there() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let missing = Err(Rejection::KeyNotFound { key: key() });
    assert_eq!(mesh.by(ann, Command::Put(put(Precondition::Version(Version(1))))), missing);
    assert_eq!(mesh.by(ann, Command::Put(put(Precondition::Revision(Revision(1))))), missing);
    assert_eq!(mesh.by(ann, delete(Precondition::Any)), missing);
    let first = written(mesh.by(ann, Command::Put(put(Precondition::MustNotExist))));
    let exists = mesh.by(ann, Command::Put(put(Precondition::MustNotExist)));
    assert_eq!(
        exists,
        Err(Rejection::KeyExists { key: key(), version: Version(1), revision: first.revision })
    );
    for stale in [Precondition::Version(Version(2)), Precondition::Revision(first.revision.next())] {
        for command in [Command::Put(put(stale)), delete(stale)] {
            let refused = mesh.by(ann, command);
            assert!(matches!(refused, Err(Rejection::VersionMismatch { .. })), "{refused:?}");
        }
    }
    let second = written(mesh.by(ann, Command::Put(put(Precondition::Version(Version(1))))));
    assert_eq!((second.version, second.create_revision), (Version(2), first.revision));
    let third = written(mesh.by(ann, Command::Put(put(Precondition::Revision(second.revision)))));
    assert_eq!(mesh.by(ann, delete(Precondition::Revision(third.revision))), Ok(Outcome::Deleted));
}

#[test]
fn a_revision_tells_a_rewritten_entry_from_the_one_that_was_read() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let read = written(mesh.by(ann, Command::Put(put(Precondition::Any))));
    mesh.by(ann, delete(Precondition::Any)).unwrap();
    let now = written(mesh.by(ann, Command::Put(put(Precondition::Any))));
    assert_eq!(now.version, read.version, "the version does not tell");
    let stale = mesh.by(ann, Command::Put(put(Precondition::Revision(read.revision))));
    assert!(matches!(stale, Err(Rejection::VersionMismatch { .. })), "{stale:?}");
}

#[test]
fn a_peer_writes_to_its_own_scope_and_to_global_only() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let to = |scope| Command::Put(Put { scope: Some(scope), ..put(Precondition::Any) });
    let foreign = ScopeId::parse("acme/other").unwrap();
    let refused = mesh.by(ann, to(foreign));
    assert!(matches!(refused, Err(Rejection::PermissionDenied { .. })), "{refused:?}");
    assert_eq!(written(mesh.by(ann, to(ScopeId::global()))).scope, ScopeId::global());
    assert_eq!(written(mesh.by(ann, to(scope()))).scope, scope());
    assert_eq!(mesh.state.entries.count(), 2);
}

#[test]
fn an_entry_lives_its_ttl_from_its_last_write_whatever_is_applied_again() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let short = || Command::Put(Put { ttl: Some(Millis::seconds(10)), ..put(Precondition::Any) });
    mesh.by(ann, short()).unwrap();
    mesh.pass(Millis::seconds(9));
    mesh.by(ann, short()).unwrap();
    mesh.pass(Millis::seconds(9));
    mesh.restart();
    assert_eq!(mesh.state.entries.count(), 1);
    mesh.events();
    mesh.pass(Millis::seconds(1));
    let events = mesh.events();
    assert!(matches!(&events[..], [Event::StateDeleted { cause: DeleteCause::Expired, .. }]), "{events:?}");
}

#[test]
fn a_write_without_a_ttl_makes_an_entry_stay() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let short = Put { ttl: Some(Millis::seconds(10)), ..put(Precondition::Any) };
    mesh.by(ann, Command::Put(short)).unwrap();
    mesh.by(ann, Command::Put(put(Precondition::Any))).unwrap();
    mesh.pass(Millis::days(400));
    assert_eq!(mesh.state.entries.count(), 1);
}
