//! Who passes whom, who may not wait, and how a wait ends without locks.

use super::{ended, holders, is_refused, only, queued, release, waiting};
use crate::command::{Acquire, Command};
use crate::event::{Event, LeaveCause, WaitEndCause};
use crate::limits;
use crate::outcome::{Obstacle, Outcome};
use crate::record::LockMode::{Exclusive, Shared};
use crate::record::{Contract, LockMode};
use crate::rejection::Rejection;
use crate::revision::Ticket;
use crate::state::tests::{Mesh, name, scope, target};
use crate::time::{Millis, Timestamp};

/// The waits that ended without locks since this was last asked.
fn wait_ends(mesh: &mut Mesh) -> Vec<(Ticket, WaitEndCause)> {
    let mut found = Vec::new();
    for event in mesh.events() {
        if let Event::LockWaitEnded { ticket, cause, .. } = event {
            found.push((ticket, cause));
        }
    }
    found
}

fn refused_as_deadlock(outcome: Result<Outcome, Rejection>) -> Vec<String> {
    let Err(Rejection::Deadlock { cycle }) = outcome else { panic!("{outcome:?}") };
    cycle.iter().map(ToString::to_string).collect()
}

fn acquire(on: &[&str], mode: LockMode, wait: Millis, contract: Option<&str>) -> Command {
    let targets = on.iter().map(|text| target(text)).collect();
    let contract = contract.map(|text| Contract { text: text.into(), paths: Vec::new() });
    let (ttl, reason) = (Millis::minutes(30), String::new());
    Command::Acquire(Acquire { targets, mode, ttl, reason, wait, contract })
}

#[test]
fn a_request_that_can_be_granted_does_not_wait() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let lock = only(mesh.wait(ann, Exclusive, &["a"]).unwrap());
    assert_eq!(lock.ticket, None);
    assert_eq!(waiting(&mesh), [""; 0]);
}

#[test]
fn a_request_that_waits_is_told_with_those_it_waits_for() {
    let mut mesh = Mesh::default();
    let (ann, bob, cid, dan) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"), mesh.join("dan"));
    mesh.lock(ann, Exclusive, &["src/"]);
    mesh.events();
    let first = queued(mesh.wait(bob, Exclusive, &["src/a", "b"]));
    let second = queued(mesh.wait(cid, Shared, &["b"]));
    assert!(first < second);
    let told = mesh.events();
    let [Event::LockQueued { waits_for: by_bob, waiter }, Event::LockQueued { waits_for: by_cid, .. }] =
        &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((&by_bob[..], &by_cid[..]), (&[name("ann")][..], &[name("bob")][..]));
    assert_eq!((waiter.ticket, &waiter.peer), (first, &name("bob")));
    assert_eq!(mesh.state.locks.waiter(first), Some(waiter));
    mesh.pass(Millis::minutes(1));
    let Outcome::Conflicts(conflicts) = mesh.lock(dan, Shared, &["b", "src/a"]) else { panic!("granted") };
    let shown: Vec<_> = conflicts.iter().map(|one| (one.target.as_str(), one.remaining)).collect();
    let (lock, wait) = (Millis::minutes(29), Millis::minutes(9));
    assert_eq!(shown, [("src/a", lock), ("b", wait), ("src/a", wait)], "locks first");
    assert!(matches!(&conflicts[1].obstacle, Obstacle::Waiter(waiter) if waiter.ticket == first));
}

#[test]
fn a_request_in_the_way_of_a_target_is_shown_once_however_much_of_it_is_wanted() {
    let mut mesh = Mesh::default();
    let (ann, bob, cid) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"));
    mesh.lock(ann, Exclusive, &["b"]);
    let ticket = queued(mesh.wait(bob, Exclusive, &["src/a", "src/b", "b"]));
    let Outcome::Conflicts(conflicts) = mesh.lock(cid, Exclusive, &["src/", "src/a"]) else {
        panic!("granted")
    };
    let shown: Vec<_> = conflicts
        .iter()
        .map(|conflict| match &conflict.obstacle {
            Obstacle::Waiter(waiter) => (conflict.target.to_string(), waiter.ticket),
            Obstacle::Lock { lock, .. } => panic!("{lock:?}"),
        })
        .collect();
    assert_eq!(shown, [("src/".to_owned(), ticket), ("src/a".to_owned(), ticket)]);
}

#[test]
fn compatible_requests_pass_and_writers_do_not_starve() {
    // What ann holds, what bob waits for, and whether cid, who holds nothing, is granted something at once.
    let table = [
        (Shared, "a", Exclusive, "a", Shared, "a", false),
        (Shared, "a", Exclusive, "a", Shared, "b", true),
        (Exclusive, "a", Shared, "/", Shared, "b", true),
        (Exclusive, "a", Shared, "/", Exclusive, "b", false),
        (Exclusive, "src/a", Exclusive, "src/", Shared, "src/b", false),
        (Exclusive, "src/a", Exclusive, "src/", Exclusive, "lib/b", true),
    ];
    for (held, on, waits, at, asked, to, granted) in table {
        let mut mesh = Mesh::default();
        let (ann, bob, cid) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"));
        mesh.lock(ann, held, &[on]);
        queued(mesh.wait(bob, waits, &[at]));
        let free = mesh.state.is_free(&scope(), Some(&name("cid")), &target(to), asked);
        assert_eq!(free, granted, "{held:?} {on}, {waits:?} {at}, {asked:?} {to}");
        assert_eq!(mesh.state.is_free(&scope(), None, &target(to), asked), granted);
        assert_eq!(!is_refused(&mesh.lock(cid, asked, &[to])), granted);
    }
}

#[test]
fn who_holds_what_an_earlier_request_waits_for_passes_it() {
    let mut mesh = Mesh::default();
    let (ann, bob, cid) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"));
    mesh.lock(ann, Exclusive, &["a"]);
    queued(mesh.wait(bob, Exclusive, &["a", "b"]));
    assert!(is_refused(&mesh.lock(cid, Exclusive, &["b"])), "bob is before cid");
    assert!(mesh.state.is_free(&scope(), Some(&name("ann")), &target("b"), Exclusive));
    only(mesh.lock(ann, Exclusive, &["b"]));
    mesh.by(ann, release(&[])).unwrap();
    assert_eq!((holders(&mesh, "a"), holders(&mesh, "b")), (vec!["bob".into()], vec!["bob".into()]));
}

#[test]
fn who_is_waited_for_through_others_passes_too() {
    let mut mesh = Mesh::default();
    let (ann, bob, cid) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"));
    mesh.lock(ann, Exclusive, &["a"]);
    mesh.lock(bob, Exclusive, &["b"]);
    queued(mesh.wait(bob, Exclusive, &["a"]));
    queued(mesh.wait(cid, Exclusive, &["b", "c"]));
    only(mesh.lock(ann, Exclusive, &["c"]));
}

#[test]
fn an_own_lock_that_covers_a_target_is_enough_to_pass() {
    let mut mesh = Mesh::default();
    let (ann, bob, cid) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"));
    mesh.lock(ann, Shared, &["src/"]);
    mesh.lock(cid, Shared, &["src/"]);
    queued(mesh.wait(bob, Exclusive, &["src/"]));
    only(mesh.lock(ann, Shared, &["src/"]));
    only(mesh.lock(cid, Shared, &["src/a"]));
    assert_eq!(waiting(&mesh), ["bob"]);
}

#[test]
fn an_upgrade_passes_those_that_wait_for_it() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    let shared = only(mesh.lock(ann, Shared, &["a"]));
    queued(mesh.wait(bob, Exclusive, &["a"]));
    let upgraded = only(mesh.lock(ann, Exclusive, &["a"]));
    assert!(upgraded.mode == Exclusive && upgraded.token > shared.token);
}

#[test]
fn an_upgrade_waits_for_those_that_share_and_the_second_one_is_a_deadlock() {
    let mut mesh = Mesh::default();
    let (ann, bob, cid) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"));
    for peer in [ann, bob] {
        mesh.lock(peer, Shared, &["a"]);
    }
    queued(mesh.wait(cid, Exclusive, &["a"]));
    let ticket = queued(mesh.wait(ann, Exclusive, &["a"]));
    assert_eq!(refused_as_deadlock(mesh.wait(bob, Exclusive, &["a"])), ["bob", "ann", "bob"]);
    mesh.by(bob, release(&[])).unwrap();
    let lock = mesh.state.locks.get(&scope(), &target("a"), &name("ann")).unwrap();
    assert_eq!((lock.mode, lock.ticket), (Exclusive, Some(ticket)), "it passes cid, who came before");
    assert_eq!(waiting(&mesh), ["cid"]);
}

#[test]
fn a_request_that_would_close_a_circle_is_refused_with_the_circle() {
    let mut mesh = Mesh::default();
    let (ann, bob, cid) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"));
    for (peer, on) in [(ann, "a"), (bob, "b"), (cid, "c")] {
        mesh.lock(peer, Exclusive, &[on]);
    }
    queued(mesh.wait(ann, Exclusive, &["b"]));
    assert_eq!(refused_as_deadlock(mesh.wait(bob, Exclusive, &["a"])), ["bob", "ann", "bob"]);
    queued(mesh.wait(bob, Exclusive, &["c"]));
    assert_eq!(refused_as_deadlock(mesh.wait(cid, Shared, &["x", "a"])), ["cid", "ann", "bob", "cid"]);
    assert!(is_refused(&mesh.lock(cid, Exclusive, &["a"])), "who does not wait is refused as ever");
    mesh.by(cid, release(&[])).unwrap();
    assert_eq!(holders(&mesh, "c"), ["bob"]);
}

#[test]
fn a_circle_through_a_place_in_the_queue_is_one_too() {
    let mut mesh = Mesh::default();
    let (ann, bob, cid) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"));
    mesh.lock(ann, Exclusive, &["a"]);
    mesh.lock(cid, Exclusive, &["c"]);
    queued(mesh.wait(bob, Exclusive, &["a", "b"]));
    queued(mesh.wait(cid, Exclusive, &["b"]));
    assert_eq!(refused_as_deadlock(mesh.wait(ann, Exclusive, &["c"])), ["ann", "cid", "bob", "ann"]);
}

#[test]
fn two_requests_of_one_peer_are_no_way_around_a_circle() {
    let mut mesh = Mesh::default();
    let (ann, bob, cid, dan) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"), mesh.join("dan"));
    mesh.lock(ann, Exclusive, &["a"]);
    mesh.lock(cid, Exclusive, &["c"]);
    mesh.lock(dan, Exclusive, &["d"]);
    queued(mesh.wait(bob, Exclusive, &["c", "x"]));
    queued(mesh.wait(bob, Exclusive, &["a"]));
    queued(mesh.wait(ann, Exclusive, &["d", "x"]));
    // Bob could have his first request, but he also waits for ann, and she would wait for him.
    mesh.by(cid, release(&[])).unwrap();
    assert_eq!(holders(&mesh, "x"), [""; 0]);
    mesh.by(dan, release(&[])).unwrap();
    assert_eq!(holders(&mesh, "x"), ["ann"]);
    mesh.by(ann, release(&[])).unwrap();
    assert_eq!((holders(&mesh, "x"), holders(&mesh, "a")), (vec!["bob".into()], vec!["bob".into()]));
}

#[test]
fn a_wait_ends_with_its_time_also_after_a_restart() {
    let mut mesh = Mesh::default();
    let (ann, bob, cid) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"));
    mesh.lock(ann, Exclusive, &["a"]);
    let ticket = queued(mesh.wait(bob, Exclusive, &["a", "b"]));
    queued(mesh.wait(cid, Exclusive, &["b"]));
    mesh.pass(Millis(Millis::minutes(10).0 - 1));
    mesh.restart();
    assert_eq!(waiting(&mesh), ["bob", "cid"]);
    mesh.events();
    mesh.by(ann, Command::Renew { targets: Vec::new(), ttl: None }).unwrap();
    mesh.pass(Millis(1));
    assert_eq!(wait_ends(&mut mesh), [(ticket, WaitEndCause::TimedOut)]);
    assert_eq!(holders(&mesh, "b"), ["cid"], "who was behind it is granted at once");
    assert_eq!(mesh.state.next_deadline(), Some(Timestamp(mesh.now - 1 + Millis::minutes(30).0)));
}

#[test]
fn a_request_that_is_cancelled_waits_no_longer() {
    let mut mesh = Mesh::default();
    let (ann, bob, cid) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"));
    mesh.lock(ann, Exclusive, &["a"]);
    let ticket = queued(mesh.wait(bob, Exclusive, &["a", "b"]));
    queued(mesh.wait(cid, Exclusive, &["b"]));
    assert_eq!(mesh.by(cid, Command::Abandon { ticket }), Ok(Outcome::Done));
    assert_eq!(waiting(&mesh), ["bob", "cid"], "it is not cid's");
    mesh.events();
    assert_eq!(mesh.by(bob, Command::Abandon { ticket }), Ok(Outcome::Done));
    assert_eq!(wait_ends(&mut mesh), [(ticket, WaitEndCause::Cancelled)]);
    assert_eq!(holders(&mesh, "b"), ["cid"]);
}

#[test]
fn a_session_takes_its_requests_along_however_it_ends() {
    let causes = [
        LeaveCause::Left,
        LeaveCause::Expired,
        LeaveCause::Disconnected,
        LeaveCause::Replaced,
        LeaveCause::Revoked,
    ];
    for cause in causes {
        let mut mesh = Mesh::default();
        let (ann, bob, cid) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"));
        mesh.lock(ann, Exclusive, &["a"]);
        let first = queued(mesh.wait(bob, Exclusive, &["a", "b"]));
        let second = queued(mesh.wait(bob, Shared, &["a"]));
        queued(mesh.wait(cid, Exclusive, &["b"]));
        mesh.events();
        match cause {
            LeaveCause::Left => drop(mesh.by(bob, Command::Leave).unwrap()),
            LeaveCause::Expired | LeaveCause::Disconnected | LeaveCause::Revoked => {
                drop(mesh.ask(&ended(bob, cause)).unwrap());
            }
            LeaveCause::Replaced => drop(mesh.join("bob")),
        }
        let over = [(first, WaitEndCause::SessionEnded), (second, WaitEndCause::SessionEnded)];
        assert_eq!(wait_ends(&mut mesh), over, "{cause:?}");
        assert_eq!((waiting(&mesh), holders(&mesh, "b")), (Vec::new(), vec!["cid".to_owned()]), "{cause:?}");
    }
}

#[test]
fn a_conversation_that_takes_another_name_ends_the_waits_of_both() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.lock(ann, Exclusive, &["a"]);
    queued(mesh.wait(bob, Exclusive, &["a"]));
    mesh.try_join(Some("eve"), Some("bob")).unwrap();
    assert_eq!(waiting(&mesh), [""; 0]);
}

#[test]
fn requests_that_do_not_fit_into_the_end_of_their_session_end_right_after_it() {
    let mut mesh = Mesh::default();
    let (ann, bob, cid) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"));
    mesh.lock(ann, Exclusive, &["/"]);
    let long = |n: usize, m: usize| format!("{}/{n}/{m}", "x".repeat(1_000));
    for n in 0..limits::WAITERS_PER_PEER {
        let targets: Vec<String> = (0..limits::WAIT_TARGETS).map(|m| long(n, m)).collect();
        queued(mesh.wait(bob, Exclusive, &targets.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    queued(mesh.wait(cid, Exclusive, &[&long(limits::WAITERS_PER_PEER - 1, 0)]));
    mesh.events();
    mesh.ask(&ended(bob, LeaveCause::Disconnected)).unwrap();
    assert!(waiting(&mesh).len() > 1, "half a megabyte does not fit");
    mesh.by(ann, release(&[])).unwrap();
    assert_eq!(mesh.state.locks.count(), 1, "what is over is granted nothing");
    mesh.restart();
    mesh.pass(Millis::ZERO);
    assert_eq!(waiting(&mesh), [""; 0]);
    let ends = wait_ends(&mut mesh);
    assert_eq!(ends.len(), limits::WAITERS_PER_PEER);
    assert!(ends.iter().all(|(_, cause)| *cause == WaitEndCause::SessionEnded));
}

#[test]
fn requests_with_long_contracts_end_with_their_session_and_make_room() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.lock(ann, Shared, &["api:x"]);
    let paths: Vec<_> = (0..32).map(|n| target(&format!("{n}/{}", "x".repeat(1_000)))).collect();
    for n in 0..limits::WAITERS_PER_PEER {
        let contract = Contract { text: "x".repeat(limits::CONTRACT_BYTES).into(), paths: paths.clone() };
        let (targets, reason) = (vec![target("api:x"), target(&format!("{n}"))], String::new());
        let (ttl, wait, contract) = (Millis::minutes(30), Millis::minutes(10), Some(contract));
        let mode = Exclusive;
        queued(mesh.by(bob, Command::Acquire(Acquire { targets, mode, ttl, reason, wait, contract })));
    }
    for n in 0..100 {
        let peer = mesh.join(&format!("p{n}"));
        queued(mesh.wait(peer, Shared, &["api:x", &format!("{n}/")]));
    }
    mesh.ask(&ended(bob, LeaveCause::Disconnected)).unwrap();
    mesh.pass(Millis::ZERO);
    assert_eq!((waiting(&mesh), mesh.state.locks.count()), (Vec::<String>::new(), 201));
}

#[test]
fn what_was_granted_to_a_caller_that_is_gone_is_given_back() {
    let mut mesh = Mesh::default();
    let (ann, bob, cid) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cid"));
    mesh.lock(ann, Exclusive, &["a"]);
    mesh.lock(bob, Exclusive, &["own"]);
    let ticket = queued(mesh.wait(bob, Exclusive, &["a", "own"]));
    mesh.by(ann, release(&[])).unwrap();
    let bob_key = mesh.state.peers.by_session(bob).unwrap().key();
    assert_eq!(mesh.state.locks.granted_under(&bob_key, ticket).len(), 1, "bob had the other one");
    queued(mesh.wait(cid, Exclusive, &["a"]));
    mesh.by(bob, Command::Abandon { ticket }).unwrap();
    assert_eq!((holders(&mesh, "a"), holders(&mesh, "own")), (vec!["cid".into()], vec!["bob".into()]));
    assert_eq!(mesh.by(bob, Command::Abandon { ticket }), Ok(Outcome::Done));
}

#[test]
fn what_was_renewed_since_its_grant_is_not_given_back() {
    for again in [acquire(&["a"], Shared, Millis::ZERO, None), Command::Renew { targets: vec![], ttl: None }]
    {
        let mut mesh = Mesh::default();
        let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
        mesh.lock(ann, Exclusive, &["a"]);
        let ticket = queued(mesh.wait(bob, Exclusive, &["a"]));
        mesh.by(ann, release(&[])).unwrap();
        mesh.by(bob, again).unwrap();
        assert_eq!(mesh.state.locks.get(&scope(), &target("a"), &name("bob")).unwrap().ticket, None);
        mesh.by(bob, Command::Abandon { ticket }).unwrap();
        assert_eq!(holders(&mesh, "a"), ["bob"]);
    }
}

#[test]
fn a_contract_needs_an_exclusive_lock_on_one_subject() {
    let table = [
        (&["task:a"][..], Exclusive, true),
        (&["task:a", "src/a"], Exclusive, true),
        (&["task:a"], Shared, false),
        (&["task:a", "task:b"], Exclusive, false),
        (&["src/a"], Exclusive, false),
    ];
    for (on, mode, taken) in table {
        let mut mesh = Mesh::default();
        let ann = mesh.join("ann");
        for wait in [Millis::ZERO, Millis::minutes(1)] {
            let outcome = mesh.by(ann, acquire(on, mode, wait, Some("new shape")));
            let refused = matches!(outcome, Err(Rejection::InvalidField { field: "contract", .. }));
            assert_eq!(refused, !taken, "{on:?} {mode:?}");
        }
    }
}

#[test]
fn a_contract_is_written_with_the_grant() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    let change = |text| acquire(&["api:x"], Exclusive, Millis::minutes(10), Some(text));
    mesh.by(ann, change("one")).unwrap();
    queued(mesh.by(bob, change("two")));
    let written = |mesh: &Mesh| {
        let key = crate::id::EntryKey::parse("contract/api:x").unwrap();
        mesh.state
            .entries
            .get(&scope(), &key)
            .map(|entry| (entry.value.to_string(), entry.writer.to_string()))
    };
    assert_eq!(written(&mesh), Some(("one".into(), "ann".into())));
    mesh.by(ann, change("one and a half")).unwrap();
    assert_eq!(written(&mesh), Some(("one and a half".into(), "ann".into())), "a renewal writes it too");
    mesh.by(ann, release(&[])).unwrap();
    assert_eq!(written(&mesh), Some(("two".into(), "bob".into())));
}

#[test]
fn a_waiting_request_may_name_only_so_much() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.lock(ann, Exclusive, &["0"]);
    let names = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    let some = |count| names(count).iter().map(|name| target(name)).collect::<Vec<_>>();
    for (count, waits) in [(limits::WAIT_TARGETS, true), (limits::WAIT_TARGETS + 1, false)] {
        let (ttl, reason, wait) = (Millis::minutes(30), String::new(), Millis::minutes(1));
        let acquire = Acquire { targets: some(count), mode: Exclusive, ttl, reason, wait, contract: None };
        let outcome = mesh.by(bob, Command::Acquire(acquire));
        assert_eq!(matches!(outcome, Ok(Outcome::Queued { .. })), waits);
        assert_eq!(matches!(outcome, Err(Rejection::InvalidField { field: "paths", .. })), !waits);
    }
}

#[test]
fn a_request_may_name_only_so_many_globs() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let globs: Vec<String> = (0..=limits::GLOBS).map(|n| format!("{n}/*.rs")).collect();
    let globs: Vec<&str> = globs.iter().map(String::as_str).collect();
    let refused = mesh.by(ann, acquire(&globs, Exclusive, Millis::ZERO, None));
    assert!(matches!(refused, Err(Rejection::InvalidField { field: "paths", .. })), "{refused:?}");
    assert!(mesh.by(ann, acquire(&globs[1..], Exclusive, Millis::ZERO, None)).is_ok());
    let braces =
        |count: usize| format!("*.{{{}}}", (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    let (half, more) = (braces(limits::GLOB_ALTERNATIVES / 2), braces(limits::GLOB_ALTERNATIVES / 2 - 1));
    let fits = acquire(&[&half, &format!("a/{more}"), "b/*"], Exclusive, Millis::ZERO, None);
    assert!(mesh.by(ann, fits).is_ok());
    let refused = mesh.by(ann, acquire(&[&half, &format!("a/{half}"), "b/*"], Exclusive, Millis::ZERO, None));
    assert!(matches!(refused, Err(Rejection::InvalidField { field: "paths", .. })), "{refused:?}");
}

#[test]
fn a_scope_names_only_so_many_globs() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    for n in 0..limits::GLOBS_PER_SCOPE - 2 {
        only(mesh.lock(ann, Exclusive, &[&format!("{n}/*.rs")]));
    }
    let ticket = queued(mesh.wait(bob, Exclusive, &["0/*.rs", "1/a*"]));
    let refused = mesh.by(ann, acquire(&["x/*"], Exclusive, Millis::ZERO, None));
    let limit = limits::GLOBS_PER_SCOPE;
    assert_eq!(refused, Err(Rejection::LimitReached { what: "globs of one scope", limit }));
    only(mesh.lock(ann, Exclusive, &["2/*.rs"]));
    mesh.by(bob, Command::Abandon { ticket }).unwrap();
    only(mesh.lock(ann, Exclusive, &["x/*"]));
}

#[test]
fn only_so_many_globs_of_a_scope_are_waited_for() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.lock(ann, Exclusive, &["/"]);
    let mut tickets = Vec::new();
    for n in 0..limits::WAITING_GLOBS_PER_SCOPE / 10 {
        let globs: Vec<String> = (0..10).map(|m| format!("{n}/{m}/*.rs")).collect();
        tickets.push(queued(mesh.wait(
            bob,
            Exclusive,
            &globs.iter().map(String::as_str).collect::<Vec<_>>(),
        )));
    }
    let limit = limits::WAITING_GLOBS_PER_SCOPE;
    let refused = Err(Rejection::LimitReached { what: "globs of waiting requests of one scope", limit });
    assert_eq!(mesh.wait(bob, Exclusive, &["x/*"]), refused);
    mesh.by(bob, Command::Abandon { ticket: tickets[0] }).unwrap();
    queued(mesh.wait(bob, Exclusive, &["x/*"]));
}

#[test]
fn a_peer_and_a_scope_have_only_so_many_requests_that_wait() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.lock(ann, Exclusive, &["a"]);
    let peers = limits::WAITERS_PER_SCOPE / limits::WAITERS_PER_PEER;
    let full = |limit| move |refused: &_| matches!(refused, Err(Rejection::LimitReached { limit: at, .. }) if *at == limit);
    for n in 0..peers {
        let peer = mesh.join(&format!("p{n}"));
        for _ in 0..limits::WAITERS_PER_PEER {
            queued(mesh.wait(peer, Shared, &["a"]));
        }
        let refused = mesh.wait(peer, Shared, &["a"]);
        assert!(full(limits::WAITERS_PER_PEER)(&refused), "{refused:?}");
    }
    let last = mesh.join("last");
    for _ in 0..limits::WAITERS_PER_SCOPE % limits::WAITERS_PER_PEER {
        queued(mesh.wait(last, Shared, &["a"]));
    }
    let refused = mesh.wait(last, Shared, &["a"]);
    assert!(full(limits::WAITERS_PER_SCOPE)(&refused), "{refused:?}");
}

#[test]
fn what_a_peer_waits_for_counts_as_held() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.lock(bob, Exclusive, &["b"]);
    for n in 0..limits::LOCKS_PER_PEER / 100 {
        let on: Vec<String> = (0..100).map(|m| format!("{n}/{m}")).collect();
        let on: Vec<&str> = on.iter().map(String::as_str).collect();
        mesh.lock(ann, Exclusive, if n == 0 { &on[1..] } else { &on });
    }
    let ticket = queued(mesh.wait(ann, Exclusive, &["b"]));
    let refused = mesh.by(ann, acquire(&["c"], Exclusive, Millis::ZERO, None));
    assert!(matches!(refused, Err(Rejection::LimitReached { limit: limits::LOCKS_PER_PEER, .. })));
    mesh.by(ann, Command::Abandon { ticket }).unwrap();
    only(mesh.lock(ann, Exclusive, &["c"]));
}
