//! A newer version takes over in place, and programs made for an older one go on.

use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

use mesh_client::{Acquired, Session};
use mesh_tests::released::v1 as old;
use mesh_tests::released::{Wire, wire};
use mesh_tests::{Mesh, Signal, follow, lock, options, overwrite, signal, within};
use old::event_service_client::EventServiceClient;
use old::lock_service_client::LockServiceClient;
use old::message_service_client::MessageServiceClient;
use old::peer_service_client::PeerServiceClient;
use old::state_service_client::StateServiceClient;
use old::watch_response::Payload;
use serde_json::{Value, json};
use tonic::Streaming;

/// Joins, and returns the token of the session.
async fn join(mesh: &Mesh, name: &str) -> String {
    let request = old::JoinRequest {
        scope: mesh_tests::SCOPE.into(),
        name: name.into(),
        resume_key: format!("old:{name}"),
        ..old::JoinRequest::default()
    };
    let joined = PeerServiceClient::new(wire(mesh.home().socket_path(), None)).join(request).await.unwrap();
    joined.into_inner().session_token
}

/// The next batch of events.
async fn next(stream: &mut Streaming<old::WatchResponse>) -> old::EventBatch {
    loop {
        let item = within("an event", stream.message()).await.unwrap().expect("the stream goes on");
        if let Some(Payload::Events(batch)) = item.payload {
            return batch;
        }
    }
}

async fn watch(wire: &Wire, start_revision: u64, incarnation: &str) -> Streaming<old::WatchResponse> {
    let request = old::WatchRequest {
        scopes: vec![mesh_tests::SCOPE.into()],
        start_revision,
        incarnation: incarnation.into(),
        ..old::WatchRequest::default()
    };
    EventServiceClient::new(wire.clone()).watch(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_program_made_for_the_released_contract_works_with_this_broker_and_after_its_restart() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let tokens = [join(&mesh, "fox").await, join(&mesh, "owl").await];
    let connect = || tokens.each_ref().map(|token| wire(mesh.home().socket_path(), Some(token)));
    let [fox, owl] = connect();
    let mut events = watch(&owl, 1, "").await;

    let put = old::PutRequest { key: "k".into(), value: "v".into(), ..old::PutRequest::default() };
    let written = StateServiceClient::new(fox.clone()).put(put).await.unwrap().into_inner();
    let targets = old::AcquireLocksRequest {
        paths: vec!["src/".into()],
        mode: old::LockMode::Exclusive.into(),
        ..old::AcquireLocksRequest::default()
    };
    let held = LockServiceClient::new(fox.clone()).acquire_locks(targets.clone()).await.unwrap().into_inner();
    let refused =
        LockServiceClient::new(owl.clone()).acquire_locks(targets.clone()).await.unwrap().into_inner();
    assert_eq!((held.locks.len(), refused.locks.len()), (1, 0));
    assert_eq!(refused.conflicts[0].lock.as_ref().unwrap().holder, "fox");
    let hello =
        old::SendRequest { to: vec!["owl".into()], body: "hello".into(), ..old::SendRequest::default() };
    MessageServiceClient::new(fox.clone()).send(hello).await.unwrap();
    let header = written.header.unwrap();
    let mut seen = next(&mut events).await;
    while seen.revision < header.revision {
        seen = next(&mut events).await;
    }
    assert_eq!((seen.revision, seen.actor.as_str()), (header.revision, "fox"));
    assert_eq!(broker.terminate(), Some(0));

    let _next = mesh.serve(&[]);
    let [fox, owl] = connect();
    let inbox = old::ListMessagesRequest::default();
    let inbox = MessageServiceClient::new(owl.clone()).list_messages(inbox).await.unwrap().into_inner();
    assert_eq!(inbox.messages[0].body, "hello", "the session of before is still good");
    let get = old::GetRequest { key: "k".into(), ..old::GetRequest::default() };
    let read = StateServiceClient::new(owl.clone()).get(get).await.unwrap().into_inner();
    assert_eq!(read.entry.unwrap().value, "v");
    let mut events = watch(&owl, seen.revision + 1, &header.incarnation).await;
    assert_eq!(next(&mut events).await.revision, seen.revision + 1, "no event is lost, and none comes twice");
    let again = LockServiceClient::new(fox).acquire_locks(targets).await.unwrap().into_inner();
    assert_eq!(again.locks[0].fencing_token, held.locks[0].fencing_token, "the same lock");
    let missing = old::GetRequest { key: "no".into(), ..old::GetRequest::default() };
    let refused = StateServiceClient::new(owl).get(missing).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn a_restart_takes_this_version_into_use_and_nothing_is_lost() {
    let mesh = Mesh::new();
    let client = mesh.starting_client();
    let fox = Session::join(&client, options("fox")).await.unwrap();
    let Acquired::Granted(held) = fox.acquire(lock(&["src/"])).await.unwrap() else { panic!("refused") };
    let mut watch = follow(&mesh.client(), 0).await;
    let before = mesh.broker_pid().unwrap();

    let output = mesh.run(&["--json", "restart"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["former_pid"], &told["former_version"]), (&json!(before), &told["version"]));
    assert_eq!(told["pid"], json!(mesh.broker_pid().unwrap()));
    assert_ne!(told["pid"], json!(before));

    let written = fox.put(overwrite("k", "v")).await.unwrap().entry.unwrap();
    watch.reach(written.revision).await;
    watch.assert_gapless();
    let Acquired::Granted(again) = fox.acquire(lock(&["src/"])).await.unwrap() else { panic!("refused") };
    assert_eq!(again[0].fencing_token, held[0].fencing_token);
}

#[test]
fn a_service_manager_is_told_and_keeps_its_broker() {
    let mesh = Mesh::new();
    let path = mesh.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let heard = || {
        let mut text = [0; 64];
        let length = manager.recv(&mut text).expect("the broker tells how it is");
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    let mut serve = mesh.meshctl(&["serve"]);
    let mut broker = serve.env("NOTIFY_SOCKET", &path).stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(heard(), "READY=1");
    assert!(super::status(&mesh, &[])["log"].is_null());

    let refused = mesh.run(&["restart"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("systemctl"));
    signal(broker.id(), Signal::TERM);
    assert_eq!(heard(), "STOPPING=1");
    assert_eq!(broker.wait().unwrap().code(), Some(0));
}
