use super::{Mesh, UNREAD, delete, named, put};
use crate::command::{Command, Delete, Operation, Precondition, Put, Restore, Transact};
use crate::event::Event;
use crate::id::EntryKey;
use crate::limits;
use crate::outcome::Outcome;
use crate::record::{Contract, LockMode, Record, WaiterRecord, Write};
use crate::rejection::Rejection;
use crate::revision::{Revision, Ticket, Version};
use crate::state::Change;
use crate::state::contracts::{contract_key, contract_subject};
use crate::state::tests::{name, scope, target};
use crate::time::{Millis, Now, Timestamp, WallTime};

const SUBJECT: &str = "api:billing/v2";

fn contract() -> EntryKey {
    named("contract/api:billing/v2")
}

/// What was told of contracts since this was last asked: version, whether it is gone, who changed it, who depends.
fn told(mesh: &mut Mesh) -> Vec<(u64, bool, Option<String>, String)> {
    let mut told = Vec::new();
    for event in mesh.events() {
        if let Event::ContractChanged { subject, key, version, deleted, by, dependents, .. } = event {
            assert_eq!((subject, key), (target(SUBJECT), contract()));
            let dependents: Vec<_> = dependents.iter().map(|name| name.as_str()).collect();
            told.push((version.0, deleted, by.map(|by| by.to_string()), dependents.join(" ")));
        }
    }
    told
}

fn one(
    version: u64,
    deleted: bool,
    by: Option<&str>,
    dependents: &str,
) -> Vec<(u64, bool, Option<String>, String)> {
    vec![(version, deleted, by.map(str::to_owned), dependents.to_owned())]
}

#[test]
fn a_subject_has_a_key_unless_it_is_too_long() {
    assert_eq!(contract_key(&target(SUBJECT)), Some(contract()));
    assert_eq!(contract_subject(&contract()), Some(target(SUBJECT)));
    for other in ["src/a.rs", "src/", "/"] {
        assert_eq!(contract_key(&target(other)), None, "{other}");
        assert_eq!(contract_subject(&named(&format!("contract/{other}"))), None, "{other}");
    }
    for other in ["contract/", "api:billing/v2", "contracts/api:billing/v2", "contract/api:cafe\u{301}"] {
        assert_eq!(contract_subject(&named(other)), None, "{other}");
    }
    let longest = target(&format!("api:{}", "x".repeat(limits::KEY_BYTES - "contract/api:".len())));
    let longer = target(&format!("{longest}x"));
    assert!(contract_key(&longest).is_some());
    let mesh = Mesh::default();
    assert_eq!(mesh.state.check_contract(&scope(), &longest), Ok(()));
    let refused = mesh.state.check_contract(&scope(), &longer);
    assert!(matches!(refused, Err(Rejection::InvalidField { field: "contract", .. })), "{refused:?}");
}

#[test]
fn those_who_depend_on_a_subject_are_told_whatever_changes_its_contract() {
    let mut mesh = Mesh::default();
    let peers = ["ann", "bob", "cyd", "dan", "eve"].map(|who| mesh.join(who));
    let [ann, bob, cyd, dan, eve] = peers;
    mesh.lock(bob, LockMode::Shared, &["api:billing"]);
    mesh.lock(cyd, LockMode::Shared, &["api:billing/v2/refunds", "api:billing/v2/quotes"]);
    mesh.lock(dan, LockMode::Shared, &["api:billing/v1", "src/"]);
    mesh.lock(eve, LockMode::Exclusive, &["api:billing/v2/eve"]);
    mesh.lock(ann, LockMode::Shared, &[SUBJECT]);
    let write =
        |value: &str, ttl| Put { key: contract(), value: value.into(), ttl, ..put(Precondition::Any) };

    mesh.by(ann, Command::Put(write("one", None))).unwrap();
    assert_eq!(told(&mut mesh), one(1, false, Some("ann"), "bob cyd"));
    mesh.by(bob, Command::Put(write("two", None))).unwrap();
    assert_eq!(told(&mut mesh), one(2, false, Some("bob"), "ann cyd"));
    let (version, precondition) = (Version(1), Precondition::Any);
    mesh.by(dan, Command::Restore(Restore { scope: None, key: contract(), version, precondition })).unwrap();
    assert_eq!(told(&mut mesh), one(3, false, Some("dan"), "ann bob cyd"));
    let removal = Delete { key: contract(), ..delete(Precondition::Any) };
    mesh.by(ann, Command::Delete(removal.clone())).unwrap();
    assert_eq!(told(&mut mesh), one(3, true, Some("ann"), "bob cyd"));
    let operations = vec![Operation::Put(write("three", None)), Operation::Put(put(UNREAD))];
    mesh.by(eve, Command::Transact(Transact { scope: None, operations })).unwrap();
    assert_eq!(told(&mut mesh), one(4, false, Some("eve"), "ann bob cyd"));
    let operations = vec![Operation::Delete(removal)];
    mesh.by(eve, Command::Transact(Transact { scope: None, operations })).unwrap();
    assert_eq!(told(&mut mesh), one(4, true, Some("eve"), "ann bob cyd"));
    mesh.by(eve, Command::Put(write("four", Some(Millis::seconds(1))))).unwrap();
    mesh.events();
    mesh.pass(Millis::seconds(1));
    assert_eq!(told(&mut mesh), one(5, true, None, "ann bob cyd"));
}

#[test]
fn who_waits_to_share_a_subject_depends_on_it_too() {
    let mut mesh = Mesh::default();
    let [ann, bob, cyd, dan] = ["ann", "bob", "cyd", "dan"].map(|who| mesh.join(who));
    for (n, (who, session, mode, on)) in (1..).zip([
        ("bob", bob, LockMode::Shared, "api:billing"),
        ("cyd", cyd, LockMode::Exclusive, "api:billing"),
        ("dan", dan, LockMode::Shared, "api:other"),
        ("ann", ann, LockMode::Shared, "api:billing"),
    ]) {
        let waiter = WaiterRecord {
            scope: scope(),
            ticket: Ticket(Revision(n)),
            peer: name(who),
            session,
            targets: vec![target("src/"), target(on)],
            mode,
            ttl: Millis::minutes(30),
            reason: String::new(),
            contract: None,
            wait: Millis::minutes(30),
            at: Timestamp(0),
            queued: WallTime(0),
        };
        mesh.state.apply(&Write::Put(Record::Waiter(waiter.into())), Timestamp(0));
    }
    mesh.by(ann, Command::Put(Put { key: contract(), ..put(UNREAD) })).unwrap();
    assert_eq!(told(&mut mesh), one(1, false, Some("ann"), "bob"));
}

#[test]
fn what_is_no_contract_tells_nobody() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.lock(bob, LockMode::Shared, &[SUBJECT]);
    for key in ["contract/src/a.rs", "plan", SUBJECT] {
        mesh.by(ann, Command::Put(Put { key: named(key), ..put(UNREAD) })).unwrap();
    }
    assert_eq!(told(&mut mesh), []);
}

#[test]
fn a_contract_that_comes_with_a_lock_is_an_entry_about_its_subject() {
    let mut mesh = Mesh::default();
    let bob = mesh.join("bob");
    let foreign = Put { key: contract(), value: "old".into(), ttl: Some(Millis::days(1)), ..put(UNREAD) };
    mesh.by(bob, Command::Put(foreign)).unwrap();
    let text = "charge(cents) -> Receipt";
    let paths = vec![target("src/billing/"), target(SUBJECT), target("src/billing/")];
    let mut change = Change::new(scope(), Some(name("bob")), Outcome::Done);
    let now = Now { at: Timestamp(5), wall: WallTime(5) };
    mesh.state.write_contract(
        &mut change,
        &target(SUBJECT),
        &Contract { text: text.into(), paths },
        &name("ann"),
        now,
    );
    for write in &change.writes {
        mesh.state.apply(write, now.at);
    }
    let entry = mesh.state.entries.get(&scope(), &contract()).unwrap();
    assert_eq!((&*entry.value, entry.version, entry.ttl), (text, Version(2), None));
    assert_eq!(entry.writer, name("ann"), "whoever caused the hand-over");
    assert_eq!(entry.paths, [target(SUBJECT), target("src/billing/")]);
    assert_eq!(mesh.state.entries.versions(&scope(), &contract()).0.len(), 2);
    let [Event::StateChanged { writer, .. }, Event::ContractChanged { by, preview, .. }] = &change.events[..]
    else {
        panic!("{:?}", change.events)
    };
    assert_eq!((writer, by.as_ref(), preview.as_str()), (&name("ann"), Some(&name("ann")), text));
}

#[test]
fn of_two_contracts_that_one_change_brings_the_last_one_stands() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.by(ann, Command::Put(Put { key: contract(), value: "old".into(), ..put(UNREAD) })).unwrap();
    let mut change = Change::new(scope(), None, Outcome::Done);
    for text in ["one", "two"] {
        let contract = Contract { text: text.into(), paths: Vec::new() };
        mesh.state.write_contract(&mut change, &target(SUBJECT), &contract, &name("ann"), Now::default());
    }
    for write in &change.writes {
        mesh.state.apply(write, Timestamp(0));
    }
    let (versions, _) = mesh.state.entries.versions(&scope(), &contract());
    let kept: Vec<_> = versions.iter().map(|entry| (entry.version.0, &*entry.value)).collect();
    assert_eq!(kept, [(2, "two"), (1, "old")]);
}
