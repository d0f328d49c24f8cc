use super::{Mesh, UNREAD, delete, is_unread, named, problem, put};
use crate::command::{Command, Delete, Fence, Operation, Precondition, Put, Transact};
use crate::event::Event;
use crate::id::{ScopeId, SessionId};
use crate::limits;
use crate::outcome::Outcome;
use crate::record::PolicyKind;
use crate::rejection::Rejection;
use crate::revision::{FencingToken, Revision, Version};
use crate::state::tests::{scope, target};

fn write(key: &str, value: &str, precondition: Precondition) -> Operation {
    Operation::Put(Put { key: named(key), value: value.into(), ..put(precondition) })
}

fn remove(key: &str, precondition: Precondition) -> Operation {
    Operation::Delete(Delete { key: named(key), ..delete(precondition) })
}

fn check(key: &str, precondition: Precondition) -> Operation {
    Operation::Check { key: named(key), precondition }
}

impl Mesh {
    fn transact(&mut self, who: SessionId, operations: Vec<Operation>) -> Result<Outcome, Rejection> {
        self.by(who, Command::Transact(Transact { scope: None, operations }))
    }

    /// Keys and values of the scope.
    fn all(&self) -> Vec<String> {
        let entries = self.state.entries.all(None);
        entries.map(|entry| format!("{}={}", entry.key, entry.value)).collect()
    }
}

#[test]
fn several_keys_change_in_one_transaction() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.transact(ann, vec![write("a", "1", UNREAD), write("b", "1", UNREAD)]).unwrap();
    mesh.events();
    let before = mesh.state.revision();
    let operations = vec![
        write("c", "2", Precondition::MustNotExist),
        remove("b", Precondition::Version(Version(1))),
        check("z", Precondition::MustNotExist),
        write("a", "2", UNREAD),
    ];
    let Ok(Outcome::Transacted(metas)) = mesh.transact(ann, operations) else { panic!("refused") };
    let met: Vec<_> = metas.iter().map(|meta| (meta.key.as_str(), meta.version.0)).collect();
    assert_eq!(met, [("c", 1), ("a", 2)], "those written, in their order");
    assert!(metas.iter().all(|meta| meta.revision == before.next()));
    assert_eq!(mesh.state.revision(), before.next());
    assert_eq!(mesh.all(), ["a=2", "c=2"]);
    let events = mesh.events();
    let mut kinds = Vec::new();
    for event in &events {
        if let Event::StateChanged { key, .. } = event {
            kinds.push(format!("+{key}"));
        } else if let Event::StateDeleted { key, .. } = event {
            kinds.push(format!("-{key}"));
        }
    }
    assert_eq!((kinds.join(" "), events.len()), ("+c -b +a".to_owned(), 3));
    mesh.restart();
    assert_eq!(mesh.state.entries.versions(&scope(), &named("b")).0.len(), 1);
    assert_eq!(mesh.state.entries.versions(&scope(), &named("a")).0.len(), 2);
}

#[test]
fn the_first_operation_that_fails_refuses_the_whole() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.transact(ann, vec![write("a", "1", UNREAD)]).unwrap();
    let fence = Some(Fence { target: target("x"), token: FencingToken(Revision(1)) });
    let fenced = Operation::Put(Put { key: named("q"), fence, ..put(UNREAD) });
    type Fits = fn(&Rejection) -> bool;
    let table: Vec<(Operation, Fits)> = vec![
        (write("a", "2", UNREAD), |r| matches!(r, Rejection::OverwriteNeedsVersion(_))),
        (write("a", "2", Precondition::Version(Version(9))), |r| matches!(r, Rejection::VersionMismatch(_))),
        (remove("a", UNREAD), |r| matches!(r, Rejection::OverwriteNeedsVersion(_))),
        (remove("none", UNREAD), |r| matches!(r, Rejection::KeyNotFound { .. })),
        (check("a", Precondition::MustNotExist), |r| matches!(r, Rejection::KeyExists { .. })),
        (check("none", Precondition::Version(Version(1))), |r| matches!(r, Rejection::KeyNotFound { .. })),
        (fenced, |r| matches!(r, Rejection::Fenced { .. })),
    ];
    mesh.events();
    for (failing, fits) in table {
        let operations = vec![write("b", "2", UNREAD), failing.clone(), write("c", "2", UNREAD)];
        let refused = mesh.transact(bob, operations).unwrap_err();
        assert!(fits(&refused), "{failing:?}: {refused:?}");
        assert_eq!((mesh.all(), mesh.events()), (vec!["a=1".to_owned()], vec![]));
    }
}

#[test]
fn a_transaction_names_a_key_once_and_checks_something() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.transact(ann, vec![write("a", "1", UNREAD)]).unwrap();
    let many = (0..=limits::OPERATIONS).map(|n| write(&format!("k{n}"), "v", UNREAD)).collect();
    let bad = [
        vec![],
        many,
        vec![write("a", "2", UNREAD), write("a", "3", UNREAD)],
        vec![write("a", "2", UNREAD), check("a", Precondition::Version(Version(1)))],
        vec![check("a", Precondition::Any)],
        vec![check("a", UNREAD)],
    ];
    for operations in bad {
        let shown = format!("{operations:?}");
        assert_eq!(problem(mesh.transact(ann, operations)).0, "operations", "{shown}");
    }
    assert_eq!(mesh.all(), ["a=1"]);
}

#[test]
fn checks_alone_change_nothing() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.transact(ann, vec![write("a", "1", UNREAD)]).unwrap();
    let before = mesh.state.revision();
    let held = mesh.transact(ann, vec![check("a", Precondition::Version(Version(1)))]);
    assert_eq!((held, mesh.state.revision()), (Ok(Outcome::Transacted(vec![])), before));
}

#[test]
fn a_transaction_is_of_one_scope_whatever_its_operations_say() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let scoped = Put { scope: Some(ScopeId::parse("acme/other").unwrap()), ..put(UNREAD) };
    let transact = |scope| Transact { scope, operations: vec![Operation::Put(scoped.clone())] };
    let foreign = Some(ScopeId::parse("acme/other").unwrap());
    let refused = mesh.by(ann, Command::Transact(transact(foreign)));
    assert!(matches!(refused, Err(Rejection::PermissionDenied { .. })), "{refused:?}");
    let done = mesh.by(ann, Command::Transact(transact(Some(ScopeId::global())))).unwrap();
    let Outcome::Transacted(metas) = done else { panic!("{done:?}") };
    assert_eq!(metas[0].scope, ScopeId::global());
}

#[test]
fn each_write_of_a_transaction_has_its_policy() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.policy(ann, "log/", Some(PolicyKind::Append)).unwrap();
    mesh.policy(ann, "json/", Some(PolicyKind::MergePatch)).unwrap();
    let both = |line: &str, patch: &str| vec![write("log/a", line, UNREAD), write("json/a", patch, UNREAD)];
    mesh.transact(ann, both("one", r#"{"a":1}"#)).unwrap();
    mesh.transact(bob, both("two", r#"{"b":2}"#)).unwrap();
    assert_eq!(mesh.all(), [r#"json/a={"a":1,"b":2}"#, "log/a=one\ntwo"]);
    assert!(is_unread(&mesh.transact(ann, both("three", r#"{"b":3}"#))));
    assert_eq!(mesh.all(), [r#"json/a={"a":1,"b":2}"#, "log/a=one\ntwo"]);
}
