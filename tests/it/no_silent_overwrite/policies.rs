//! A scope says for the keys of a prefix how writes treat each other.

use mesh_client::Session;
use mesh_client::proto::{ListPoliciesRequest, PolicyKind, SetPolicyRequest};
use mesh_tests::{Mesh, put, refused};
use tonic::Code;

use super::{conflict, value};

async fn set(session: &Session, prefix: &str, kind: PolicyKind) {
    let request =
        SetPolicyRequest { prefix: prefix.into(), kind: kind.into(), ..SetPolicyRequest::default() };
    session.set_policy(request).await.unwrap();
}

#[tokio::test]
async fn the_longest_prefix_decides() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    set(&fox, "status/", PolicyKind::LastWriteWins).await;
    set(&fox, "status/strict/", PolicyKind::RequireVersion).await;
    broker.kill();
    let _broker = mesh.serve(&[]);
    for key in ["status/a", "status/strict/a", "elsewhere"] {
        fox.put(put(key, "fox")).await.unwrap();
    }
    owl.put(put("status/a", "owl")).await.unwrap();
    conflict(owl.put(put("status/strict/a", "owl")).await);
    conflict(owl.put(put("elsewhere", "owl")).await);
    let policies = owl.list_policies(ListPoliciesRequest::default()).await.unwrap().policies;
    assert_eq!(
        policies.iter().map(|policy| policy.prefix.as_str()).collect::<Vec<_>>(),
        ["status/", "status/strict/"]
    );
    set(&owl, "status/", PolicyKind::Unspecified).await;
    conflict(fox.put(put("status/a", "fox")).await);
}

#[tokio::test]
async fn merge_patches_of_different_fields_go_together_and_of_the_same_field_do_not() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    set(&fox, "config/", PolicyKind::MergePatch).await;
    fox.put(put("config/ci", r#"{"cache": true, "jobs": {"test": 1, "lint": 1}}"#)).await.unwrap();
    value(&owl, "config/ci").await;
    fox.put(put("config/ci", r#"{"jobs": {"test": 2}}"#)).await.unwrap();
    owl.put(put("config/ci", r#"{"jobs": {"lint": null}, "image": "small"}"#)).await.unwrap();
    let merged: serde_json::Value = serde_json::from_str(&value(&fox, "config/ci").await).unwrap();
    assert_eq!(merged, serde_json::json!({"cache": true, "jobs": {"test": 2}, "image": "small"}));
    // That patch did not show owl what fox had changed, so it has still to be read.
    conflict(owl.put(put("config/ci", r#"{"jobs": {"test": 4}}"#)).await);
    owl.put(put("config/ci", r#"{"jobs": {"test": 4}}"#)).await.unwrap();
    let (_, both) = conflict(fox.put(put("config/ci", r#"{"jobs": {"test": 8}, "cache": false}"#)).await);
    assert_eq!(both.fields, ["/jobs/test"]);
    assert_eq!(refused(fox.put(put("config/ci", "not json")).await).code, Code::InvalidArgument);
}

#[tokio::test]
async fn appending_never_conflicts_and_never_loses_a_line() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    set(&fox, "log/", PolicyKind::Append).await;
    for n in 0..4 {
        let writer = if n % 2 == 0 { &fox } else { &owl };
        writer.put(put("log/day", &format!("line {n}"))).await.unwrap();
    }
    assert_eq!(value(&fox, "log/day").await, "line 0\nline 1\nline 2\nline 3");
    fox.put(put("log/full", &"x".repeat(65_000))).await.unwrap();
    let full = refused(owl.put(put("log/full", &"y".repeat(600))).await);
    assert_eq!((full.code, full.field_violations[0].field.as_str()), (Code::InvalidArgument, "value"));
}
