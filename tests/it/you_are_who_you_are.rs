//! The caller is taken from the connection or the credential, never from the request.

mod tokens;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mesh_client::proto::{
    GetStatusRequest, ListMessagesRequest, ListPeersRequest, StopRequest, WatchRequest,
};
use mesh_client::{Client, ErrorReason, JoinOptions, Refusal, Session, Token};
use mesh_tests::{Mesh, lock, message, put, refused, status_refused, unattended};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// Makes every kind of call that changes something with the client's credentials, and returns the refusals.
async fn all_changes(client: &Client) -> Vec<Refusal> {
    use mesh_client::proto::*;
    let entry = put("k", "v");
    let claim = lock(&["src/"]);
    vec![
        status_refused(client, client.peers().heartbeat(HeartbeatRequest {}).await),
        status_refused(
            client,
            client
                .peers()
                .update_peer(UpdatePeerRequest {
                    update_mask: Some(prost_types::FieldMask { paths: vec!["focus".into()] }),
                    ..Default::default()
                })
                .await,
        ),
        status_refused(client, client.peers().leave(LeaveRequest::default()).await),
        status_refused(client, client.messages().send(message("owl", "hello")).await),
        status_refused(client, client.messages().list_messages(ListMessagesRequest::default()).await),
        status_refused(
            client,
            client.messages().acknowledge_messages(AcknowledgeMessagesRequest::default()).await,
        ),
        status_refused(client, client.state().put(entry).await),
        status_refused(
            client,
            client.state().delete(DeleteRequest { key: "k".into(), ..Default::default() }).await,
        ),
        status_refused(client, client.locks().acquire_locks(claim).await),
        status_refused(client, client.locks().renew_locks(RenewLocksRequest::default()).await),
        status_refused(client, client.locks().release_locks(ReleaseLocksRequest::default()).await),
    ]
}

#[tokio::test]
async fn a_change_needs_a_session_of_this_mesh_that_is_live() {
    let (mesh, other) = (Mesh::new(), Mesh::new());
    let (_broker, _other) = (mesh.serve(&[]), other.serve(&[]));
    let fox = mesh.join_unattended("fox").await;
    let client = mesh.client();
    for refusal in all_changes(&client).await {
        assert_eq!((refusal.code, refusal.reason), (Code::FailedPrecondition, ErrorReason::SessionRequired));
    }
    let foreign = other.join_unattended("fox").await.token();
    let own = fox.token();
    let own = own.expose();
    let last = if own.ends_with('0') { '1' } else { '0' };
    let forged = format!("{}{last}", &own[..own.len() - 1]);
    for forged in
        [foreign.expose(), &forged, &own[1..], &own[..32], "x", &"0".repeat(own.len()), &"f".repeat(9_000)]
    {
        let client = client.with_session(&Token::parse(forged).unwrap()).unwrap();
        for refusal in all_changes(&client).await {
            assert_eq!((refusal.code, refusal.reason), (Code::Unauthenticated, ErrorReason::Unauthenticated));
        }
    }
    fox.leave().await.unwrap();
    for refusal in all_changes(&fox.client()).await {
        assert_eq!((refusal.code, refusal.reason), (Code::FailedPrecondition, ErrorReason::SessionExpired));
    }
    let stream = client.with_session(&fox.token()).unwrap().events().watch(WatchRequest::default()).await;
    assert_eq!(status_refused(&client, stream).reason, ErrorReason::SessionExpired);
    let head = client.admin().get_status(GetStatusRequest {}).await.unwrap().into_inner().header.unwrap();
    assert_eq!(head.revision, 2, "a join, a leave, and nothing else");
}

#[tokio::test]
async fn a_sender_and_a_writer_are_who_their_session_says() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    fox.send(message("owl", "from: owl")).await.unwrap();
    assert_eq!(owl.inbox(ListMessagesRequest::default()).await.unwrap().messages[0].from, "fox");
    assert_eq!(fox.put(put("k", "v")).await.unwrap().entry.unwrap().writer, "fox");
    let elsewhere =
        mesh_client::proto::PutRequest { scope: "example.com/acme/other".into(), ..put("k", "v") };
    let refusal = refused(fox.put(elsewhere).await);
    assert_eq!((refusal.code, refusal.reason), (Code::PermissionDenied, ErrorReason::PermissionDenied));
    let global = mesh_client::proto::PutRequest { scope: "global".into(), ..put("k", "v") };
    assert_eq!(fox.put(global).await.unwrap().entry.unwrap().scope, "global");
}

#[tokio::test]
async fn a_live_name_is_taken_and_a_resume_key_is_never_shown() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let fox = mesh.join_unattended("fox").await;
    let thief = JoinOptions { resume_key: Some("another".into()), ..unattended("fox") };
    let refusal = refused(Session::join(&mesh.client(), thief.clone()).await);
    assert_eq!((refusal.code, refusal.reason), (Code::AlreadyExists, ErrorReason::PeerNameTaken));
    assert_eq!(refusal.metadata["name"], "fox");
    let keyless = JoinOptions { resume_key: None, ..thief.clone() };
    assert_eq!(refused(Session::join(&mesh.client(), keyless).await).reason, ErrorReason::PeerNameTaken);
    let listed = fox.list_peers(ListPeersRequest::default()).await.unwrap();
    let log = mesh_tests::history(&mesh.client(), 1).await;
    assert!(!format!("{listed:?} {log:?}").contains("test:fox"));
    let nameless = JoinOptions { name: None, ..unattended("fox") };
    let again = Session::join(&mesh.client(), nameless).await.unwrap();
    assert_eq!(again.peer().name, "fox", "the key says who it is");
}

/// The TCP endpoint of a broker that listens on one.
async fn tcp_endpoint(client: &Client) -> String {
    let status = client.admin().get_status(GetStatusRequest {}).await.unwrap().into_inner();
    status.endpoints.into_iter().find(|endpoint| endpoint.starts_with("http://127.0.0.1:")).unwrap()
}

#[tokio::test]
async fn tcp_needs_the_token_for_everything() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&["--listen", "127.0.0.1:0"]);
    let endpoint = tcp_endpoint(&mesh.client()).await;
    let token = std::fs::read_to_string(mesh.home().token_path()).unwrap();
    assert!(token.trim().len() >= 32, "a guess is hopeless");
    let session = Session::join(&mesh.tcp_client(&endpoint), unattended("fox")).await.unwrap();
    session.put(put("k", "v")).await.unwrap();
    for wrong in ["wrong".to_owned(), token.trim()[1..].to_owned(), format!("{}0", token.trim())] {
        let client = mesh.tcp_client_with(&endpoint, &wrong);
        for refusal in all_changes(&client).await {
            assert_eq!((refusal.code, refusal.reason), (Code::Unauthenticated, ErrorReason::Unauthenticated));
            assert!(!refusal.message.contains(&wrong));
        }
        let status = status_refused(&client, client.admin().get_status(GetStatusRequest {}).await);
        assert_eq!(status.reason, ErrorReason::Unauthenticated);
        let stream = status_refused(&client, client.events().watch(WatchRequest::default()).await);
        assert_eq!(stream.reason, ErrorReason::Unauthenticated);
    }
    let bare = Endpoint::from_shared(endpoint).unwrap().connect().await.unwrap();
    let mut peers = mesh_client::proto::peer_service_client::PeerServiceClient::new(bare.clone());
    let status = peers.list_peers(ListPeersRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let health = HealthClient::new(bare).check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(health.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_broker_is_stopped_over_its_unix_socket_only() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&["--listen", "127.0.0.1:0"]);
    let endpoint = tcp_endpoint(&mesh.client()).await;
    let client = mesh.tcp_client(&endpoint);
    let refusal = status_refused(&client, client.admin().stop(StopRequest {}).await);
    assert_eq!((refusal.code, refusal.reason), (Code::PermissionDenied, ErrorReason::PermissionDenied));
    mesh.join_unattended("fox").await;
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn nothing_of_a_home_is_open_to_other_users() {
    let mesh = Mesh::new();
    let home = mesh_client::Home::at(mesh.path().join("new")).unwrap();
    let mut command = mesh.meshctl(&["serve", "--auto", "--idle-exit", "3600"]);
    command
        .env("MESH_HOME", home.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let mut broker = tokio::process::Command::from(command);
    let mut broker = broker.kill_on_drop(true).spawn().unwrap();
    let mut lines =
        tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(broker.stdout.take().unwrap()));
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
    assert_eq!(mode(home.path()), 0o700);
    for private in [home.socket_path(), home.token_path(), home.broker_lock_path()] {
        assert_eq!(mode(&private), 0o600, "{}", private.display());
    }
    let mut directories = vec![home.store_path()];
    while let Some(directory) = directories.pop() {
        assert_eq!(mode(&directory), 0o700, "{}", directory.display());
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            }
        }
    }
    broker.kill().await.unwrap();
}

async fn unix_channel(mesh: &Mesh) -> Channel {
    let endpoint = format!("unix://{}", mesh.home().socket_path().display());
    Endpoint::from_shared(endpoint).unwrap().connect().await.unwrap()
}

#[tokio::test]
async fn the_standard_health_client_learns_that_it_serves() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut health = HealthClient::new(unix_channel(&mesh).await);
    for service in ["", "mesh.v1.PeerService", "mesh.v1.EventService"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = health.check(HealthCheckRequest { service: "mesh.v1.Nothing".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn the_standard_reflection_client_finds_the_contract() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut reflection = ServerReflectionClient::new(unix_channel(&mesh).await);
    let ask = |request| ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let requests = vec![
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("mesh.v1.LockService".into())),
    ];
    let mut answers =
        reflection.server_reflection_info(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(listed)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list of services")
    };
    let names: Vec<_> = listed.service.iter().map(|service| service.name.as_str()).collect();
    for service in ["Admin", "Event", "Lock", "Message", "Peer", "State"] {
        assert!(names.contains(&format!("mesh.v1.{service}Service").as_str()), "{names:?}");
    }
    let file = answers.message().await.unwrap().unwrap().message_response;
    assert!(
        matches!(file, Some(MessageResponse::FileDescriptorResponse(file)) if !file.file_descriptor_proto.is_empty())
    );
}
