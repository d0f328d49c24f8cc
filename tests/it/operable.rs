//! Whoever runs a broker sees how it is: figures, health, status, logs; and takes a newer version into use.

mod figures;
mod logs;
mod traces;
mod upgrade;

use mesh_client::proto::GetStatusRequest;
use mesh_tests::{Mesh, overwrite};
use serde_json::{Value, json};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

fn status(mesh: &Mesh, arguments: &[&str]) -> Value {
    let output = mesh.run(&[&["--json", "status"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_status_tells_how_the_broker_works_and_a_probe_proves_it_without_a_trace() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let fox = mesh.join("fox").await;
    fox.put(overwrite("k", "v")).await.unwrap();
    let before = status(&mesh, &[]);
    assert_eq!((&before["works"], &before["findings"]), (&Value::Null, &json!([])));
    assert_eq!(before["log"], json!(mesh.home().log_path()));
    let vitals = &before["vitals"];
    assert!(vitals["commits"].as_u64() >= Some(2) && vitals["last_commit_seconds"].as_f64() > Some(0.0));
    assert!(vitals["free_bytes"].as_u64() > Some(0) && vitals["open_files"].as_u64() > Some(3), "{vitals}");
    assert!(vitals["connections"].as_u64() >= Some(1), "{vitals}");

    let after = status(&mesh, &["--probe"]);
    assert_eq!(after["works"], json!(true));
    assert_eq!((&after["revision"], &after["entries"]), (&before["revision"], &before["entries"]));
    let told = String::from_utf8(mesh.run(&["status", "--probe"]).stdout).unwrap();
    assert!(told.contains("probe     writes and reads\n") && told.contains("commits   "), "{told}");
    assert!(!told.contains("needs attention"), "{told}");
}

#[tokio::test]
async fn what_is_wrong_is_told_with_the_next_step() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&["--listen", "127.0.0.1:0"]);
    let at = status(&mesh, &[])["endpoints"][1].as_str().unwrap().to_owned();
    let stranger = mesh.tcp_client_with(&at, &"0".repeat(64));
    assert!(stranger.admin().get_status(GetStatusRequest {}).await.is_err());
    let told = status(&mesh, &[]);
    assert_eq!(told["vitals"]["refused_credentials"], json!(1));
    let finding = &told["findings"][0];
    assert!(finding["problem"].as_str().unwrap().starts_with("1 call came without"), "{finding}");
    assert!(!finding["next"].as_str().unwrap().is_empty());
    let told = String::from_utf8(mesh.run(&["status"]).stdout).unwrap();
    assert!(told.contains("\nneeds attention\n  1 call came without"), "{told}");
}

#[tokio::test]
async fn a_broker_that_cannot_write_is_not_healthy_before_it_is_gone() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let client = mesh.client();
    let healthy = |client: mesh_client::Client| async move {
        client.health().check(HealthCheckRequest::default()).await.map(|answer| answer.into_inner().status())
    };
    assert_eq!(healthy(client.clone()).await.unwrap(), ServingStatus::Serving);
    // A process that is stopped answers nobody, and a probe asks it for nothing in advance.
    broker.pause();
    let asked = tokio::spawn(healthy(client));
    broker.resume();
    assert_eq!(asked.await.unwrap().unwrap(), ServingStatus::Serving);
    assert_eq!(broker.terminate(), Some(0));
    assert_eq!(mesh.run(&["status", "--probe"]).status.code(), Some(3));
}
