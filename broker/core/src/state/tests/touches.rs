use std::sync::Arc;

use super::{Mesh, name, scope, target};
use crate::command::{Command, Request, Touch, Update};
use crate::event::Event;
use crate::id::{ScopeId, SessionId};
use crate::limits;
use crate::outcome::Outcome;
use crate::record::{Record, RecordKey, TouchKind, TouchRecord, TouchTime, Write};
use crate::rejection::Rejection;
use crate::revision::Revision;
use crate::state::Decision;
use crate::time::{Millis, Now, Timestamp, WallTime};

use TouchKind::{Edit, Read};

fn touch(mesh: &mut Mesh, who: SessionId, touches: &[(&str, TouchKind)]) -> Result<Outcome, Rejection> {
    on_branch(mesh, who, None, touches)
}

fn on_branch(
    mesh: &mut Mesh,
    who: SessionId,
    branch: Option<&str>,
    touches: &[(&str, TouchKind)],
) -> Result<Outcome, Rejection> {
    let touches = touches.iter().map(|(path, kind)| (target(path), *kind)).collect();
    mesh.by(who, Command::Touch(Touch { touches, branch: branch.map(str::to_owned), worktree: None }))
}

/// A report as its event tells it: who, on which branch, and what was done.
type Told = (String, String, Vec<(String, TouchKind)>);

/// What the events since last asked say was done.
fn told(mesh: &mut Mesh) -> Vec<Told> {
    let told = |event: Event| {
        let Event::FileTouched { peer, branch, touches } = event else { panic!("{event:?}") };
        let touches = touches.iter().map(|(path, kind)| (path.to_string(), *kind)).collect();
        (peer.to_string(), branch, touches)
    };
    mesh.events().into_iter().map(told).collect()
}

fn record(mesh: &Mesh, path: &str, who: &str) -> TouchRecord {
    (**mesh.state.touches.get(&scope(), &target(path), &name(who)).unwrap()).clone()
}

fn about(mesh: &Mesh, path: &str) -> Vec<(String, String)> {
    let (scope, path) = (scope(), target(path));
    let touches = mesh.state.touches.about(&scope, &path);
    let mut found: Vec<_> = touches.map(|touch| (touch.path.to_string(), touch.peer.to_string())).collect();
    found.sort();
    found
}

#[test]
fn the_latest_read_and_edit_of_a_file_are_known() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let update = Update { branch: Some("main".into()), worktree: Some("/w".into()), ..Update::default() };
    mesh.by(ann, Command::Update(update)).unwrap();
    mesh.events();
    touch(&mut mesh, ann, &[("a", Read), ("b", Read)]).unwrap();
    let read = TouchTime { revision: mesh.state.revision(), at: Timestamp(0), wall: WallTime(0) };
    mesh.pass(Millis(70));
    on_branch(&mut mesh, ann, Some("fix"), &[("a", Edit)]).unwrap();
    let edit = TouchTime { revision: mesh.state.revision(), at: Timestamp(70), wall: WallTime(70) };
    for restarted in [false, true] {
        if restarted {
            mesh.restart();
        }
        let expected = TouchRecord {
            scope: scope(),
            path: target("a"),
            peer: name("ann"),
            branch: "fix".into(),
            worktree: "/w".into(),
            read: Some(read),
            edit: Some(edit),
        };
        assert_eq!(record(&mesh, "a", "ann"), expected);
        let other = TouchRecord { path: target("b"), branch: "main".into(), edit: None, ..expected };
        assert_eq!(record(&mesh, "b", "ann"), other);
        assert_eq!(mesh.state.touches.count(), 2);
    }
    let first = vec![("a".to_owned(), Read), ("b".to_owned(), Read)];
    let events = [
        ("ann".to_owned(), "main".to_owned(), first),
        ("ann".to_owned(), "fix".to_owned(), vec![("a".to_owned(), Edit)]),
    ];
    assert_eq!(told(&mut mesh), events);
}

#[test]
fn a_file_read_and_edited_in_one_report_is_one_record() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    touch(&mut mesh, ann, &[("a", Read), ("a", Edit)]).unwrap();
    let record = record(&mesh, "a", "ann");
    assert!(record.read.is_some() && record.read == record.edit);
    assert_eq!(mesh.state.touches.count(), 1);
}

#[test]
fn a_read_that_repeats_a_recent_one_is_no_news() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    touch(&mut mesh, ann, &[("a", Read)]).unwrap();
    mesh.events();
    let before = mesh.state.revision();
    mesh.pass(Millis(limits::READ_INTERVAL.0 - 1));
    assert_eq!(touch(&mut mesh, ann, &[("a", Read)]), Ok(Outcome::Done));
    assert_eq!(touch(&mut mesh, ann, &[]), Ok(Outcome::Done));
    assert_eq!((mesh.state.revision(), mesh.events()), (before, vec![]));
    let news = |mesh: &mut Mesh, who: SessionId, branch: Option<&str>, touches: &[(&str, TouchKind)]| {
        on_branch(mesh, who, branch, touches).unwrap();
        told(mesh).into_iter().flat_map(|(_, _, touches)| touches).collect::<Vec<_>>()
    };
    let only_new = news(&mut mesh, ann, None, &[("a", Read), ("b", Read), ("a", Edit)]);
    assert_eq!(only_new, [("b".to_owned(), Read), ("a".to_owned(), Edit)]);
    let a = vec![("a".to_owned(), Read)];
    assert_eq!(news(&mut mesh, ann, None, &[("a", Read)]), [], "one's own edit changes nothing for oneself");
    assert_eq!(news(&mut mesh, bob, None, &[("a", Read)]), a, "it is another peer's");
    assert_eq!(news(&mut mesh, ann, Some("fix"), &[("a", Read)]), a, "on another branch");
    assert_eq!(news(&mut mesh, ann, Some("fix"), &[("a", Read)]), []);
    mesh.pass(limits::READ_INTERVAL);
    assert_eq!(news(&mut mesh, ann, Some("fix"), &[("a", Read)]), a, "the former one is old");
}

#[test]
fn a_report_names_the_checkout_that_the_files_are_in() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.events();
    let in_checkout = |mesh: &mut Mesh, worktree: Option<&str>| {
        let touches = vec![(target("a"), Read)];
        let report = Touch { touches, branch: None, worktree: worktree.map(str::to_owned) };
        mesh.by(ann, Command::Touch(report)).unwrap();
        (record(mesh, "a", "ann").worktree, told(mesh).len())
    };
    assert_eq!(in_checkout(&mut mesh, Some("/other")), ("/other".to_owned(), 1));
    assert_eq!(in_checkout(&mut mesh, Some("/other")).1, 0);
    assert_eq!(in_checkout(&mut mesh, Some("/third")), ("/third".to_owned(), 1), "another copy of it");
    assert_eq!(in_checkout(&mut mesh, None).1, 1);
}

#[test]
fn a_read_after_an_edit_of_another_peer_is_news() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    touch(&mut mesh, bob, &[("a", Edit)]).unwrap();
    touch(&mut mesh, ann, &[("a", Read)]).unwrap();
    touch(&mut mesh, bob, &[("a", Edit)]).unwrap();
    let edited = mesh.state.revision();
    touch(&mut mesh, ann, &[("a", Read)]).unwrap();
    let read = record(&mesh, "a", "ann").read.unwrap().revision;
    assert!(read > edited, "what was read is stale no longer");
    touch(&mut mesh, ann, &[("a", Read)]).unwrap();
    assert_eq!(mesh.state.revision(), read);
}

#[test]
fn an_edit_is_news_each_time() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.events();
    touch(&mut mesh, ann, &[("a", Edit)]).unwrap();
    touch(&mut mesh, ann, &[("a", Edit)]).unwrap();
    assert_eq!(told(&mut mesh).len(), 2);
    assert_eq!(record(&mesh, "a", "ann").edit.unwrap().revision, mesh.state.revision());
}

#[test]
fn only_files_are_touched() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let refused = touch(&mut mesh, ann, &[("a", Read), ("src/", Read)]);
    assert!(matches!(refused, Err(Rejection::InvalidField { field: "touches", .. })), "{refused:?}");
    assert_eq!(mesh.state.touches.count(), 0, "all or nothing");
}

#[test]
fn a_file_that_is_spelled_with_brackets_is_one_file() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    touch(&mut mesh, ann, &[("app/[slug].tsx", TouchKind::Edit)]).unwrap();
    assert!(touch(&mut mesh, ann, &[("app/*.tsx", TouchKind::Edit)]).is_err());
}

#[test]
fn touches_are_found_by_what_overlaps_their_file() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    touch(&mut mesh, ann, &[("src/a", Read), ("src/b", Edit), ("doc", Read)]).unwrap();
    touch(&mut mesh, bob, &[("src/a", Edit)]).unwrap();
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(path, peer)| ((*path).to_owned(), (*peer).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(about(&mesh, "src/a"), pairs(&[("src/a", "ann"), ("src/a", "bob")]));
    assert_eq!(about(&mesh, "src/"), pairs(&[("src/a", "ann"), ("src/a", "bob"), ("src/b", "ann")]));
    assert_eq!(about(&mesh, "src/c"), pairs(&[]));
    assert_eq!(mesh.state.touches.about(&ScopeId::global(), &target("/")).count(), 0);
}

#[test]
fn the_oldest_touches_of_a_peer_give_way() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    touch(&mut mesh, bob, &[("f0", Read)]).unwrap();
    for first in (0..limits::TOUCHES_PER_PEER).step_by(limits::TOUCHES) {
        let names: Vec<String> = (first..first + limits::TOUCHES).map(|at| format!("f{at}")).collect();
        let touches: Vec<_> = names.iter().map(|name| (name.as_str(), Read)).collect();
        touch(&mut mesh, ann, &touches).unwrap();
    }
    assert_eq!(mesh.state.touches.count(), limits::TOUCHES_PER_PEER + 1);
    touch(&mut mesh, ann, &[("f0", Edit)]).unwrap();
    touch(&mut mesh, ann, &[("new1", Read), ("f1", Edit)]).unwrap();
    assert_eq!(mesh.state.touches.count(), limits::TOUCHES_PER_PEER + 1);
    let known =
        |mesh: &Mesh, path: &str| mesh.state.touches.get(&scope(), &target(path), &name("ann")).is_some();
    // In one report the order of the paths counts.
    assert!(!known(&mesh, "f10") && known(&mesh, "f11"), "the oldest that is not touched again");
    assert!(known(&mesh, "f0") && known(&mesh, "f1") && known(&mesh, "new1"));
    assert_eq!(about(&mesh, "f0").len(), 2, "no other peer's");
    let names: Vec<String> = (0..limits::TOUCHES).map(|at| format!("g{at}")).collect();
    let touches = names.iter().map(|name| (target(name), Edit)).collect();
    let command = Command::Touch(Touch { touches, branch: None, worktree: None });
    let request = Request { caller: Some(ann), ..Request::internal(command) };
    let Ok(Decision::Commit(transaction)) = mesh.state.decide(&request, Now::default()) else {
        panic!("refused")
    };
    assert_eq!(transaction.writes.len(), 2 * limits::TOUCHES + 1, "deletions, records and the head");
}

#[test]
fn touches_are_forgotten_after_a_day_those_of_a_peer_together() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let names: Vec<String> = (0..limits::TOUCHES).map(|at| format!("f{at}")).collect();
    let touches: Vec<_> = names.iter().map(|name| (name.as_str(), Read)).collect();
    touch(&mut mesh, ann, &touches).unwrap();
    touch(&mut mesh, ann, &[("one", Read), ("more", Read)]).unwrap();
    mesh.pass(Millis(10));
    touch(&mut mesh, ann, &[("f0", Edit)]).unwrap();
    mesh.restart();
    mesh.pass(Millis(limits::TOUCH_RETENTION.0 - 11));
    mesh.events();
    let before = mesh.state.revision().0;
    assert_eq!(mesh.state.touches.count(), limits::TOUCHES + 2);
    mesh.pass(Millis(1));
    assert_eq!(about(&mesh, "/"), [("f0".to_owned(), "ann".to_owned())], "it was touched again");
    assert_eq!((mesh.state.revision().0 - before, mesh.events()), (3, vec![]));
    mesh.pass(Millis(10));
    assert_eq!(mesh.state.touches.count(), 0);
    let left = mesh.stored.keys().filter(|key| matches!(key, RecordKey::Touch(_))).count();
    assert_eq!(left, 0);
}

#[test]
fn long_touches_are_forgotten_as_many_as_a_transaction_takes() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let worktree = Some("/w".repeat(limits::WORKTREE_BYTES / 2));
    mesh.by(ann, Command::Update(Update { worktree, ..Update::default() })).unwrap();
    let paths: Vec<String> = (0..limits::TOUCHES).map(|n| format!("{n}/{}", "x".repeat(1_000))).collect();
    touch(&mut mesh, ann, &paths.iter().map(|path| (path.as_str(), Edit)).collect::<Vec<_>>()).unwrap();
    mesh.pass(limits::TOUCH_RETENTION);
    assert_eq!(mesh.state.touches.count(), 0);
}

#[test]
fn a_mesh_holds_only_so_many_touches() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    touch(&mut mesh, ann, &[("mine", Read)]).unwrap();
    let time = TouchTime { revision: Revision(1), at: Timestamp(0), wall: WallTime(0) };
    for at in 1..limits::TOUCHES_PER_MESH {
        let record = TouchRecord {
            scope: scope(),
            path: target(&format!("f{}", at / 10)),
            peer: name(&format!("p{}", at % 10)),
            branch: String::new(),
            worktree: String::new(),
            read: Some(time),
            edit: None,
        };
        mesh.state.apply(&Write::Put(Record::Touch(Arc::new(record))), Timestamp(0));
    }
    let full = Err(Rejection::LimitReached { what: "touches", limit: limits::TOUCHES_PER_MESH });
    assert_eq!(touch(&mut mesh, ann, &[("other", Read)]), full);
    assert_eq!(touch(&mut mesh, ann, &[("mine", Edit)]), Ok(Outcome::Done), "it is known already");
    let gone = record(&mesh, "f1", "p1").key();
    mesh.state.apply(&Write::Delete(RecordKey::Touch(gone)), Timestamp(0));
    assert_eq!(touch(&mut mesh, ann, &[("other", Read)]), Ok(Outcome::Done));
    assert!(mesh.stored.values().any(|record| matches!(record, Record::Touch(_))));
}
