//! Another peer's value is not overwritten unread; a conflict answers with what is needed to merge.

mod history;
mod policies;

use mesh_client::proto::precondition::Condition;
use mesh_client::proto::{
    Check, DeleteRequest, ListEntriesRequest, Operation, Precondition, PutRequest, TransactRequest,
    WriteConflict, operation,
};
use mesh_client::{ClientError, ErrorReason, Refusal, Session};
use mesh_tests::{Mesh, get, put, refused};
use tonic::Code;

async fn value(session: &Session, key: &str) -> String {
    session.get(get(key)).await.unwrap().entry.unwrap().value
}

fn only_if(condition: Condition, request: PutRequest) -> PutRequest {
    PutRequest { precondition: Some(Precondition { condition: Some(condition) }), ..request }
}

/// The refusal of an overwrite, with what it carries for the merge.
fn conflict<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (Refusal, WriteConflict) {
    let refusal = refused(result);
    assert_eq!(
        (refusal.code, refusal.reason),
        (Code::FailedPrecondition, ErrorReason::OverwriteNeedsVersion)
    );
    let conflict = refusal.conflict.clone().expect("the detail is there");
    (refusal, conflict)
}

#[tokio::test]
async fn an_unread_value_of_another_peer_is_not_overwritten_and_the_merge_is_one_call() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    fox.put(put("plan", "a, b")).await.unwrap();
    fox.put(put("plan", "a, b, c")).await.unwrap();
    let (refusal, first) = conflict(owl.put(put("plan", "d")).await);
    assert_eq!(
        (&refusal.metadata["key"], &refusal.metadata["version"]),
        (&"plan".to_owned(), &"2".to_owned())
    );
    assert_eq!(refusal.metadata["writer"], "fox");
    let theirs = first.theirs.unwrap();
    assert_eq!((theirs.value.as_str(), theirs.writer.as_str(), theirs.version), ("a, b, c", "fox", 2));
    assert!(first.base.is_none(), "owl has never read it");
    // What the refusal showed counts as read.
    owl.put(put("plan", "a, b, c, d")).await.unwrap();
    assert_eq!(value(&fox, "plan").await, "a, b, c, d");

    // Now fox has read version 3, and owl writes another one.
    owl.put(put("plan", "a, b, d")).await.unwrap();
    let (_, second) = conflict(fox.put(put("plan", "z")).await);
    assert_eq!(second.base.unwrap().value, "a, b, c, d");
    assert_eq!(second.theirs.unwrap().value, "a, b, d");
}

#[tokio::test]
async fn ones_own_value_and_a_new_key_are_written_freely_and_reading_is_enough_for_anothers() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    for n in 0..3 {
        fox.put(put("mine", &n.to_string())).await.unwrap();
    }
    owl.list_entries(ListEntriesRequest::default()).await.unwrap();
    owl.put(put("mine", "seen in a list")).await.unwrap();
    // fox's last sight of it is its own write.
    let (_, of_fox) = conflict(fox.put(put("mine", "3")).await);
    assert_eq!(of_fox.base.unwrap().value, "2");
    let forget = DeleteRequest { key: "mine".into(), ..DeleteRequest::default() };
    owl.put(put("mine", "once more")).await.unwrap();
    conflict(fox.delete(forget.clone()).await);
    fox.delete(forget).await.unwrap();
    owl.put(put("mine", "anew")).await.unwrap();
}

#[tokio::test]
async fn who_says_so_overwrites_and_who_names_a_version_is_held_to_it() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    fox.put(put("k", "1")).await.unwrap();
    owl.put(only_if(Condition::Overwrite(true), put("k", "2"))).await.unwrap();
    let stale = refused(fox.put(only_if(Condition::Version(1), put("k", "3"))).await);
    assert_eq!((stale.code, stale.reason), (Code::Aborted, ErrorReason::VersionMismatch));
    let conflict = stale.conflict.unwrap();
    assert_eq!(
        (conflict.base.unwrap().value, conflict.theirs.unwrap().value),
        ("1".to_owned(), "2".to_owned())
    );
    fox.put(only_if(Condition::Version(2), put("k", "3"))).await.unwrap();
    assert_eq!(
        refused(owl.put(only_if(Condition::Overwrite(false), put("k", "4"))).await).code,
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn values_too_long_for_a_refusal_are_left_out_and_read_by_themselves() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    let long = "x".repeat(60_000);
    let mut of_fox = put("long", &long);
    of_fox.paths = (0..32).map(|n| format!("{}/{n}", "deep".repeat(200))).collect();
    fox.put(of_fox).await.unwrap();
    let (_, omitted) = conflict(owl.put(put("long", "short")).await);
    assert!(omitted.values_omitted && omitted.theirs.unwrap().value.is_empty());
    // It was not shown, so it still is not overwritten unread.
    conflict(owl.put(put("long", "short")).await);
    assert_eq!(value(&owl, "long").await, long);
    owl.put(put("long", "short")).await.unwrap();
}

#[tokio::test]
async fn several_keys_change_together_or_not_at_all() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    fox.put(put("balance/a", "10")).await.unwrap();
    fox.put(put("balance/b", "0")).await.unwrap();
    fox.put(put("rate", "1")).await.unwrap();
    let write = |request| Operation { operation: Some(operation::Operation::Put(request)) };
    let check = |key: &str, version| {
        let precondition = Some(Precondition { condition: Some(Condition::Version(version)) });
        Operation { operation: Some(operation::Operation::Check(Check { key: key.into(), precondition })) }
    };
    let operations = vec![write(put("balance/a", "5")), write(put("balance/b", "5")), check("rate", 1)];
    let transfer = TransactRequest { operations: operations.clone(), ..TransactRequest::default() };
    let (refusal, _) = conflict(owl.transact(transfer.clone()).await);
    assert_eq!(refusal.metadata["key"], "balance/a");
    assert_eq!((value(&owl, "balance/a").await, value(&owl, "balance/b").await), ("10".into(), "0".into()));
    let answer = owl.transact(transfer.clone()).await.unwrap();
    assert_eq!(answer.entries.iter().map(|entry| entry.version).collect::<Vec<_>>(), [2, 2]);
    let same = answer.entries[0].revision;
    assert!(answer.entries.iter().all(|entry| entry.revision == same), "one transaction, one revision");
    // The check fails now, and with it everything.
    fox.put(put("rate", "2")).await.unwrap();
    assert_eq!(refused(owl.transact(transfer).await).reason, ErrorReason::VersionMismatch);
    let twice = TransactRequest {
        operations: vec![operations[0].clone(), operations[0].clone()],
        ..TransactRequest::default()
    };
    assert_eq!(refused(owl.transact(twice).await).code, Code::InvalidArgument);
}
