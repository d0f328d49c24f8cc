//! A token is good for as long as its lock is held, and no longer.

use mesh_client::proto::event::Event;
use mesh_client::proto::{CheckFenceRequest, Contract, Fence, PutRequest};
use mesh_client::{ErrorReason, Session};
use mesh_tests::{Mesh, follow, get, lock, put, refused, share};

use super::granted;

/// Whether a token is good for a path.
pub(super) async fn is_valid(session: &Session, path: &str, token: u64) -> bool {
    let request =
        CheckFenceRequest { path: path.into(), fencing_token: token, ..CheckFenceRequest::default() };
    session.check_fence(request).await.unwrap().valid
}

fn guarded(key: &str, value: &str, path: &str, token: u64) -> PutRequest {
    PutRequest { fence: Some(Fence { path: path.into(), fencing_token: token }), ..put(key, value) }
}

#[tokio::test]
async fn a_token_is_good_while_its_lock_covers_the_path() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (one, two) = (mesh.join_unattended("one").await, mesh.join_unattended("two").await);
    let old = granted(&one, lock(&["src/"])).await[0].fencing_token;
    assert!(is_valid(&two, "src/a.rs", old).await);
    assert!(is_valid(&two, "src/", old).await);
    assert!(!is_valid(&two, "docs/a.md", old).await, "it does not cover this");
    assert!(!is_valid(&two, "src/a.rs", old + 1).await);
    one.release(vec![]).await.unwrap();
    assert!(!is_valid(&two, "src/a.rs", old).await);
    let new = granted(&two, lock(&["src/a.rs"])).await[0].fencing_token;
    assert!(!is_valid(&one, "src/a.rs", old).await && is_valid(&one, "src/a.rs", new).await);
}

#[tokio::test]
async fn a_write_under_a_lock_that_is_lost_is_refused() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (one, two) = (mesh.join_unattended("one").await, mesh.join_unattended("two").await);
    let old = granted(&one, lock(&["task:deploy"])).await[0].fencing_token;
    one.put(guarded("deploy", "started", "task:deploy", old)).await.unwrap();
    one.release(vec![]).await.unwrap();
    let new = granted(&two, lock(&["task:deploy"])).await[0].fencing_token;
    let refusal = refused(one.put(guarded("deploy", "finished", "task:deploy", old)).await);
    assert_eq!(refusal.reason, ErrorReason::Fenced);
    assert_eq!(
        (refusal.metadata["holder"].as_str(), &refusal.metadata["current_token"]),
        ("two", &new.to_string())
    );
    assert_eq!(two.get(get("deploy")).await.unwrap().entry.unwrap().value, "started");
}

#[tokio::test]
async fn who_depends_on_a_contract_is_told_when_it_changes() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let (owner, user) = (mesh.join_unattended("owner").await, mesh.join_unattended("client").await);
    let mut changing = lock(&["api:billing"]);
    changing.contract = Some(Contract { text: "charge(amount)".into(), paths: vec!["src/billing/".into()] });
    granted(&owner, changing).await;
    let entry = user.get(get("contract/api:billing")).await.unwrap().entry.unwrap();
    assert_eq!(
        (entry.value.as_str(), entry.paths),
        ("charge(amount)", vec!["api:billing".to_owned(), "src/billing/".to_owned()])
    );
    owner.release(vec![]).await.unwrap();
    granted(&user, share(&["api:billing/v2"])).await;
    owner.put(put("contract/api:billing", "charge(amount, currency)")).await.unwrap();
    let (_, changed) = watch
        .until("the new contract", |event| match event {
            Event::ContractChanged(changed) if changed.version == 2 => Some(changed.clone()),
            _ => None,
        })
        .await;
    assert_eq!((changed.subject.as_str(), changed.changed_by.as_str()), ("api:billing", "owner"));
    assert_eq!(
        (changed.dependents, changed.preview.as_str()),
        (vec!["client".to_owned()], "charge(amount, currency)")
    );
    let mut wrong = lock(&["src/a.rs"]);
    wrong.contract = Some(Contract { text: "x".into(), paths: vec![] });
    assert_eq!(refused(owner.acquire(wrong).await).field_violations[0].field, "contract");
}
