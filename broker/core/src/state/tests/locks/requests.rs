//! Asking holders to make way.

use std::sync::Arc;

use super::{ended, only, release};
use crate::command::{AnswerRelease, Command, RequestRelease};
use crate::event::{Event, LeaveCause};
use crate::id::SessionId;
use crate::limits::{self, LOCK_DELAY};
use crate::outcome::Outcome;
use crate::record::LockMode::{self, Exclusive, Shared};
use crate::record::ReleaseAnswer::{self, Keep, Narrow, Release};
use crate::record::ReleaseRequestRecord;
use crate::rejection::Rejection;
use crate::revision::Revision;
use crate::state::tests::{Mesh, name, scope, target};
use crate::time::Millis;

fn all(texts: &[&str]) -> Vec<crate::target::Target> {
    texts.iter().map(|text| target(text)).collect()
}

fn asking(on: &[&str], mode: LockMode) -> Command {
    let (reason, urgent) = ("please".to_owned(), true);
    Command::RequestRelease(RequestRelease { targets: all(on), mode, reason, urgent })
}

fn ask(mesh: &mut Mesh, peer: SessionId, on: &[&str], mode: LockMode) -> Vec<Arc<ReleaseRequestRecord>> {
    let outcome = mesh.by(peer, asking(on, mode)).unwrap();
    let Outcome::ReleaseRequested { requests } = outcome else { panic!("{outcome:?}") };
    requests
}

fn answer(id: Revision, answer: ReleaseAnswer, keep: &[&str]) -> Command {
    Command::AnswerRelease(AnswerRelease { id, answer, keep: all(keep), note: "well".to_owned() })
}

fn open(mesh: &Mesh) -> usize {
    mesh.state.locks.release_requests(&scope()).count()
}

/// The answers since this was last asked.
fn answers(mesh: &mut Mesh) -> Vec<(Revision, ReleaseAnswer, Vec<String>, String)> {
    let mut found = Vec::new();
    for event in mesh.events() {
        if let Event::LockReleaseAnswered { request, answer, keep, note } = event {
            found.push((request.id, answer, keep.iter().map(ToString::to_string).collect(), note));
        }
    }
    found
}

#[test]
fn each_holder_in_the_way_is_asked_once() {
    let mut mesh = Mesh::default();
    let (ann, bob, cid, dan) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"), mesh.join("dan"));
    mesh.lock(ann, Exclusive, &["src/a", "src/b"]);
    mesh.lock(bob, Shared, &["lib/"]);
    mesh.lock(dan, Exclusive, &["src/own"]);
    mesh.events();
    assert_eq!(ask(&mut mesh, cid, &["lib/x"], Shared), [], "nobody is in the way of sharing");
    let requests = ask(&mut mesh, dan, &["src/", "lib/x"], Exclusive);
    let asked = |request: &ReleaseRequestRecord| (request.holder.clone(), request.locks.clone());
    let expected = [(name("ann"), all(&["src/a", "src/b"])), (name("bob"), all(&["lib/"]))];
    assert_eq!(requests.iter().map(|request| asked(request)).collect::<Vec<_>>(), expected);
    let told = mesh.events();
    assert!(
        matches!(&told[..], [Event::LockReleaseRequested { request }, Event::LockReleaseRequested { .. }]
        if *request == requests[0] && request.from == name("dan") && request.urgent && request.reason == "please")
    );
    assert_eq!(ask(&mut mesh, dan, &["src/a", "src/b", "lib/"], Exclusive), requests, "they are open");
    assert_eq!(mesh.events(), []);
    assert_eq!(ask(&mut mesh, cid, &["src/a"], Exclusive).len(), 1, "cid has not asked yet");
    assert_eq!(open(&mesh), 3);
    mesh.restart();
    assert_eq!(open(&mesh), 3);
}

#[test]
fn an_answer_ends_the_request() {
    let table = [
        (Keep, &[][..], 2, Keep, &[][..]),
        (Release, &[], 1, Release, &[]),
        (Narrow, &["src/a"], 2, Narrow, &["src/a"]),
        (Narrow, &["src/"], 2, Keep, &[]),
    ];
    for (said, keep, left, meant, kept) in table {
        let mut mesh = Mesh::default();
        let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
        mesh.lock(ann, Exclusive, &["src/", "lib/"]);
        let id = ask(&mut mesh, bob, &["src/b"], Exclusive)[0].id;
        mesh.events();
        let not_found = Err(Rejection::ReleaseRequestNotFound { id });
        assert_eq!(mesh.by(bob, answer(id, said, keep)), not_found, "it is for ann");
        mesh.by(ann, answer(id, said, keep)).unwrap();
        let told = kept.iter().map(ToString::to_string).collect();
        assert_eq!(answers(&mut mesh), [(id, meant, told, "well".to_owned())]);
        assert_eq!((mesh.state.locks.count(), open(&mesh)), (left, 0), "{said:?} {keep:?}");
        assert_eq!(mesh.by(ann, answer(id, said, keep)), not_found);
    }
}

#[test]
fn an_answer_says_what_is_kept_only_if_something_is() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.lock(ann, Exclusive, &["src/"]);
    let id = ask(&mut mesh, bob, &["src/b"], Exclusive)[0].id;
    for (said, keep) in [(Narrow, &[][..]), (Narrow, &["lib/"]), (Keep, &["src/a"]), (Release, &["src/a"])] {
        let refused = mesh.by(ann, answer(id, said, keep));
        assert!(
            matches!(refused, Err(Rejection::InvalidField { field: "keep", .. })),
            "{said:?} {refused:?}"
        );
    }
    assert_eq!((mesh.state.locks.count(), open(&mesh)), (1, 1));
}

#[test]
fn giving_locks_up_answers_the_requests_that_this_settles() {
    // What ann gives up of `a/`, `b/` and `c/`, what she keeps, and what the requests for a and b and for c hear.
    type Heard<'a> = Option<(ReleaseAnswer, &'a [&'a str])>;
    let table: [(&[&str], &[&str], Heard<'_>, Heard<'_>); 7] = [
        (&["a/", "b/"], &[], Some((Release, &[])), None),
        (&["a/"], &[], None, None),
        (&["a/", "b/"], &["a/x"], Some((Narrow, &["a/x"])), None),
        (&["a/", "b/", "c/"], &["a/x"], Some((Narrow, &["a/x"])), Some((Release, &[]))),
        (&["a/", "b/", "c/"], &["a/", "c/x"], Some((Narrow, &["a/"])), Some((Narrow, &["c/x"]))),
        (&["a/", "b/"], &["a/", "b/"], Some((Keep, &[])), None),
        (&["a/", "c/"], &["a/", "c/"], None, Some((Keep, &[]))),
    ];
    for (given, keep, by_bob, by_cid) in table {
        let mut mesh = Mesh::default();
        let (ann, bob, cid) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"));
        mesh.lock(ann, Exclusive, &["a/", "b/", "c/"]);
        let first = ask(&mut mesh, bob, &["a/1", "b/1"], Shared)[0].id;
        let second = ask(&mut mesh, cid, &["c/1"], Shared)[0].id;
        mesh.events();
        mesh.by(ann, Command::Release { targets: all(given), keep: all(keep), note: "ok".into() }).unwrap();
        let mut expected = Vec::new();
        for (id, heard) in [(first, by_bob), (second, by_cid)] {
            if let Some((answer, keep)) = heard {
                expected.push((id, answer, keep.iter().map(ToString::to_string).collect(), "ok".to_owned()));
            }
        }
        assert_eq!(open(&mesh), 2 - expected.len(), "{given:?} {keep:?}");
        assert_eq!(answers(&mut mesh), expected, "{given:?} {keep:?}");
        mesh.pass(Millis::ZERO);
        assert_eq!(answers(&mut mesh), []);
    }
}

#[test]
fn a_request_ends_with_the_last_of_its_locks() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.lock(ann, Exclusive, &["a", "b"]);
    let id = ask(&mut mesh, bob, &["/"], Exclusive)[0].id;
    mesh.events();
    mesh.by(ann, release(&["a"])).unwrap();
    assert_eq!((answers(&mut mesh), open(&mesh)), (Vec::new(), 1), "one is held still");
    mesh.by(ann, release(&["b"])).unwrap();
    assert_eq!(answers(&mut mesh), [(id, Release, Vec::new(), String::new())]);
    assert_eq!(open(&mesh), 0);
}

#[test]
fn leaving_answers_and_other_ends_do_not() {
    type End = fn(&mut Mesh, SessionId, SessionId);
    let table: [(End, usize); 4] = [
        (|mesh, ann, _| drop(mesh.by(ann, Command::Leave).unwrap()), 1),
        (|mesh, _, _| mesh.pass(Millis::minutes(30)), 0),
        (
            |mesh, ann, _| {
                mesh.ask(&ended(ann, LeaveCause::Disconnected)).unwrap();
                mesh.pass(LOCK_DELAY);
            },
            0,
        ),
        (
            |mesh, _, bob| {
                let (targets, reason) = (all(&["/"]), "now".to_owned());
                mesh.by(bob, Command::ForceRelease { targets, reason }).unwrap();
            },
            0,
        ),
    ];
    for (at, (end, told)) in table.into_iter().enumerate() {
        let mut mesh = Mesh::default();
        let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
        mesh.lock(ann, Exclusive, &["a"]);
        ask(&mut mesh, bob, &["a"], Exclusive);
        mesh.events();
        end(&mut mesh, ann, bob);
        mesh.pass(Millis::ZERO);
        assert_eq!((answers(&mut mesh).len(), open(&mesh)), (told, 0), "{at}");
    }
}

#[test]
fn a_long_goodbye_answers_too() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    for n in 0..150 {
        mesh.lock(ann, Exclusive, &[&format!("{n:03}")]);
    }
    let id = ask(&mut mesh, bob, &["001", "149"], Exclusive)[0].id;
    mesh.by(ann, Command::Leave).unwrap();
    mesh.events();
    mesh.pass(Millis::ZERO);
    assert_eq!(answers(&mut mesh), [(id, Release, Vec::new(), String::new())]);
}

#[test]
fn a_request_stays_open_for_an_hour() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.lock(ann, Exclusive, &["a"]);
    ask(&mut mesh, bob, &["a"], Exclusive);
    for _ in 0..2 {
        mesh.pass(Millis::minutes(29));
        mesh.by(ann, Command::Renew { targets: Vec::new(), ttl: None }).unwrap();
    }
    mesh.restart();
    mesh.pass(Millis(Millis::minutes(2).0 - 1));
    assert_eq!(open(&mesh), 1);
    mesh.events();
    mesh.pass(Millis(1));
    assert_eq!((open(&mesh), mesh.events()), (0, Vec::new()));
}

#[test]
fn a_holder_has_only_so_many_requests() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    for n in 0..=limits::RELEASE_REQUESTS_PER_PEER {
        let on = n.to_string();
        only(mesh.lock(ann, Exclusive, &[&on]));
        let asked = mesh.by(bob, asking(&[&on], Exclusive));
        let full = n == limits::RELEASE_REQUESTS_PER_PEER;
        assert_eq!(matches!(asked, Err(Rejection::LimitReached { .. })), full, "{n} {asked:?}");
    }
    assert_eq!(ask(&mut mesh, bob, &["0"], Exclusive).len(), 1, "an open one is told still");
}

#[test]
fn requests_too_large_for_one_answer_end_without_one() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let long = |n: usize| format!("{}/{n}", "x".repeat(1_000));
    let on: Vec<String> = (0..limits::WAIT_TARGETS).map(long).collect();
    let on: Vec<&str> = on.iter().map(String::as_str).collect();
    mesh.lock(ann, Exclusive, &on);
    let mut last = Revision::ZERO;
    for n in 0..20 {
        let peer = mesh.join(&format!("p{n}"));
        last = ask(&mut mesh, peer, &on, Exclusive)[0].id;
    }
    mesh.events();
    mesh.by(ann, answer(last, Release, &[])).unwrap();
    let told = answers(&mut mesh);
    assert!(told.len() > 1 && told.len() < 20, "{}", told.len());
    assert_eq!(told[0].0, last, "the one that was answered hears of it");
    mesh.pass(Millis::ZERO);
    assert_eq!(open(&mesh), 0);
}
