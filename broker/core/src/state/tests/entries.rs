mod about;
mod contracts;
mod history;
mod policies;
mod transactions;

use std::sync::Arc;

use super::{Mesh, scope, target};
use crate::command::{Command, Delete, Fence, Join, Labels, Precondition, Put, Request, SetPolicy};
use crate::event::{DeleteCause, Event};
use crate::id::{EntryKey, ScopeId, SessionId};
use crate::outcome::{EntryMeta, Outcome};
use crate::record::{EntryRecord, LockMode, PolicyKind};
use crate::rejection::{Rejection, WriteConflict};
use crate::revision::{FencingToken, Revision, Version};
use crate::state::entries::EntryFilter;
use crate::time::Millis;

const UNREAD: Precondition = Precondition::LastRead(None);

fn named(text: &str) -> EntryKey {
    EntryKey::parse(text).unwrap()
}

fn key() -> EntryKey {
    named("plan")
}

pub(super) fn put(precondition: Precondition) -> Put {
    Put {
        scope: None,
        key: key(),
        value: "v".into(),
        precondition,
        ttl: None,
        paths: vec![],
        tags: vec![],
        labels: Labels::Replace,
        fence: None,
    }
}

fn delete(precondition: Precondition) -> Delete {
    Delete { scope: None, key: key(), precondition, fence: None }
}

fn written(outcome: Result<Outcome, Rejection>) -> EntryMeta {
    match outcome {
        Ok(Outcome::Written(meta)) => meta,
        other => panic!("{other:?}"),
    }
}

/// What a refusal shows to merge with.
fn shown(outcome: Result<Outcome, Rejection>) -> WriteConflict {
    match outcome {
        Err(Rejection::OverwriteNeedsVersion(conflict) | Rejection::VersionMismatch(conflict)) => *conflict,
        other => panic!("{other:?}"),
    }
}

fn is_unread(outcome: &Result<Outcome, Rejection>) -> bool {
    matches!(outcome, Err(Rejection::OverwriteNeedsVersion(_)))
}

fn problem(outcome: Result<Outcome, Rejection>) -> (&'static str, String) {
    match outcome {
        Err(Rejection::InvalidField { field, problem }) => (field, problem),
        other => panic!("{other:?}"),
    }
}

impl Mesh {
    fn put(&mut self, who: SessionId, value: &str, precondition: Precondition) -> Result<Outcome, Rejection> {
        self.by(who, Command::Put(Put { value: value.into(), ..put(precondition) }))
    }

    fn delete(&mut self, who: SessionId, precondition: Precondition) -> Result<Outcome, Rejection> {
        self.by(who, Command::Delete(delete(precondition)))
    }

    fn policy(
        &mut self,
        who: SessionId,
        prefix: &str,
        kind: Option<PolicyKind>,
    ) -> Result<Outcome, Rejection> {
        self.by(who, Command::SetPolicy(SetPolicy { scope: None, prefix: prefix.to_owned(), kind }))
    }

    fn entry(&self) -> &Arc<EntryRecord> {
        self.state.entries.get(&scope(), &key()).unwrap()
    }

    fn value(&self) -> &str {
        &self.entry().value
    }

    /// Versions kept of the key, newest first, and whether it is deleted.
    fn versions(&self) -> (Vec<u64>, bool) {
        let (versions, deleted) = self.state.entries.versions(&scope(), &key());
        (versions.iter().map(|entry| entry.version.0).collect(), deleted)
    }
}

#[test]
fn preconditions_hold_or_say_what_is_there() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let missing = Err(Rejection::KeyNotFound { key: key() });
    assert_eq!(mesh.put(ann, "v", Precondition::Version(Version(1))), missing);
    assert_eq!(mesh.put(ann, "v", Precondition::Revision(Revision(1))), missing);
    assert_eq!(mesh.delete(ann, Precondition::Any), missing);
    let first = written(mesh.put(ann, "v", Precondition::MustNotExist));
    let exists = mesh.put(ann, "v", Precondition::MustNotExist);
    assert_eq!(
        exists,
        Err(Rejection::KeyExists { key: key(), version: Version(1), revision: first.revision })
    );
    for stale in [Precondition::Version(Version(2)), Precondition::Revision(first.revision.next())] {
        for command in [Command::Put(put(stale)), Command::Delete(delete(stale))] {
            let refused = mesh.by(ann, command);
            assert!(matches!(refused, Err(Rejection::VersionMismatch(_))), "{refused:?}");
        }
    }
    let second = written(mesh.put(ann, "v", Precondition::Version(Version(1))));
    assert_eq!((second.version, second.create_revision), (Version(2), first.revision));
    let third = written(mesh.put(ann, "v", Precondition::Revision(second.revision)));
    assert_eq!(mesh.delete(ann, Precondition::Revision(third.revision)), Ok(Outcome::Deleted));
}

#[test]
fn a_mismatch_shows_the_version_that_was_named_if_it_is_kept() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    let first = written(mesh.put(ann, "one", UNREAD));
    mesh.put(ann, "two", UNREAD).unwrap();
    for stale in [Precondition::Version(Version(1)), Precondition::Revision(first.revision)] {
        let conflict = shown(mesh.put(bob, "mine", stale));
        assert_eq!((&*conflict.base.unwrap().value, &*conflict.theirs.value), ("one", "two"));
    }
    for unknown in [Precondition::Version(Version(7)), Precondition::Revision(Revision(7_000))] {
        assert_eq!(shown(mesh.put(bob, "mine", unknown)).base, None);
    }
}

#[test]
fn another_peers_value_is_overwritten_or_deleted_only_as_it_was_read() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    assert!(mesh.put(ann, "one", UNREAD).is_ok(), "creating is free");
    let one = written(mesh.put(ann, "one", UNREAD)).revision;
    let blind = shown(mesh.put(bob, "mine", UNREAD));
    assert_eq!((blind.base, &*blind.theirs.value, blind.fields), (None, "one", vec![]));
    assert!(is_unread(&mesh.delete(bob, UNREAD)));

    let two = written(mesh.put(ann, "two", UNREAD)).revision;
    for late in [
        mesh.put(bob, "mine", Precondition::LastRead(Some(one))),
        mesh.delete(bob, Precondition::LastRead(Some(one))),
    ] {
        let conflict = shown(late);
        assert_eq!((&*conflict.base.unwrap().value, &*conflict.theirs.value), ("one", "two"));
    }
    mesh.put(bob, "merged", Precondition::LastRead(Some(two))).unwrap();
    assert!(is_unread(&mesh.put(ann, "three", Precondition::LastRead(Some(two)))), "it is another's now");
    mesh.put(ann, "three", Precondition::Any).unwrap();
    assert_eq!(mesh.value(), "three");
    let three = mesh.entry().revision;
    assert_eq!(mesh.delete(bob, Precondition::LastRead(Some(three))), Ok(Outcome::Deleted));
    assert!(mesh.put(ann, "four", UNREAD).is_ok(), "so is bringing a deleted key back");
}

#[test]
fn what_was_read_before_the_key_was_written_anew_does_not_count() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    let short = Put { ttl: Some(Millis::seconds(1)), ..put(UNREAD) };
    let read = written(mesh.by(ann, Command::Put(short)));
    mesh.pass(Millis::seconds(1));
    let now = written(mesh.put(ann, "v", UNREAD));
    assert_eq!(now.version, read.version, "the version does not tell");
    let stale = mesh.put(bob, "v", Precondition::Revision(read.revision));
    assert!(matches!(stale, Err(Rejection::VersionMismatch(_))), "{stale:?}");
    assert!(is_unread(&mesh.put(bob, "v", Precondition::LastRead(Some(read.revision)))));
}

#[test]
fn in_global_a_name_alone_does_not_make_a_value_ones_own() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let join = Join { scope: ScopeId::parse("acme/other").unwrap(), ..mesh.joining(Some("ann"), None) };
    let namesake = join.session;
    mesh.ask(&Request::internal(Command::Join(join))).unwrap();
    let to_global = |precondition| Command::Put(Put { scope: Some(ScopeId::global()), ..put(precondition) });
    let wrote = written(mesh.by(ann, to_global(UNREAD)));
    assert!(is_unread(&mesh.by(namesake, to_global(UNREAD))));
    let own = mesh.by(ann, to_global(Precondition::LastRead(Some(wrote.revision))));
    assert!(own.is_ok(), "an own write counts as read");
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

#[test]
fn labels_go_or_stay_where_none_are_given() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let mut label = |labels, paths: &[&str], tags: &[&str]| {
        let paths = paths.iter().map(|path| target(path)).collect();
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let meta = written(mesh.by(ann, Command::Put(Put { labels, paths, tags, ..put(UNREAD) })));
        (meta.paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), meta.tags.join(" "))
    };
    let pair = |paths: &str, tags: &str| (paths.to_owned(), tags.to_owned());
    assert_eq!(label(Labels::Keep, &["a"], &["x"]), pair("a", "x"));
    assert_eq!(label(Labels::Keep, &[], &[]), pair("a", "x"));
    assert_eq!(label(Labels::Keep, &["b"], &[]), pair("b", "x"));
    assert_eq!(label(Labels::Keep, &[], &["y", "z"]), pair("b", "y z"));
    assert_eq!(label(Labels::Replace, &[], &["y"]), pair("", "y"));
}

#[test]
fn entries_are_found_by_the_paths_they_carry_at_present() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let about = |mesh: &mut Mesh, key: &str, paths: &[&str]| {
        let paths = paths.iter().map(|path| target(path)).collect();
        mesh.by(ann, Command::Put(Put { key: named(key), paths, ..put(UNREAD) })).unwrap();
    };
    let found = |mesh: &Mesh, path: &str| {
        let target = target(path);
        let about: Vec<String> =
            mesh.state.entries.about(&scope(), &target).map(|entry| entry.key.to_string()).collect();
        let filter = EntryFilter { path: Some(target), ..EntryFilter::default() };
        let listed: Vec<String> =
            mesh.state.entries.list(&scope(), &filter, None).map(|entry| entry.key.to_string()).collect();
        assert_eq!(about, listed);
        about.join(" ")
    };
    about(&mut mesh, "both", &["src/", "src/a.rs"]);
    about(&mut mesh, "one", &["src/b.rs"]);
    about(&mut mesh, "none", &[]);
    assert_eq!(found(&mesh, "src/a.rs"), "both");
    assert_eq!(found(&mesh, "src/b.rs"), "both one");
    assert_eq!(found(&mesh, "/"), "both one");
    about(&mut mesh, "both", &["docs/"]);
    assert_eq!(found(&mesh, "src/"), "one");
    mesh.restart();
    assert_eq!(found(&mesh, "/"), "both one");
    mesh.by(ann, Command::Delete(Delete { key: named("one"), ..delete(UNREAD) })).unwrap();
    assert_eq!(found(&mesh, "/"), "both");
}

#[test]
fn a_page_by_path_begins_after_a_key_and_keeps_to_the_prefix() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    for key in ["a/1", "a/2", "a/3", "b/1"] {
        let paths = vec![target("src/")];
        mesh.by(ann, Command::Put(Put { key: named(key), paths, ..put(UNREAD) })).unwrap();
    }
    let filter = EntryFilter { prefix: "a/".to_owned(), path: Some(target("src/x")), tags: vec![] };
    let (scope, after) = (scope(), named("a/1"));
    let page = mesh.state.entries.list(&scope, &filter, Some(&after));
    assert_eq!(page.map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["a/2", "a/3"]);
}

#[test]
fn a_write_under_a_lock_that_is_gone_is_fenced() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let token = FencingToken(Revision(1));
    let fence = || Some(Fence { target: target("src/a.rs"), token });
    let refused = mesh.by(ann, Command::Put(Put { fence: fence(), ..put(UNREAD) }));
    assert_eq!(refused, Err(Rejection::Fenced { path: target("src/a.rs"), token, current: None }));
    mesh.put(ann, "v", UNREAD).unwrap();
    let refused = mesh.by(ann, Command::Delete(Delete { fence: fence(), ..delete(UNREAD) }));
    assert!(matches!(refused, Err(Rejection::Fenced { .. })), "{refused:?}");
}

#[test]
fn a_write_under_a_live_lock_goes_through() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    let Outcome::Granted { locks } = mesh.lock(ann, LockMode::Exclusive, &["src/"]) else {
        panic!("refused")
    };
    let fence = Some(Fence { target: target("src/a.rs"), token: locks[0].token });
    assert!(mesh.by(bob, Command::Put(Put { fence: fence.clone(), ..put(UNREAD) })).is_ok());
    assert_eq!(mesh.by(bob, Command::Delete(Delete { fence, ..delete(UNREAD) })), Ok(Outcome::Deleted));
}
