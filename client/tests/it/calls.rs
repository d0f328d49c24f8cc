//! Calls: lazy connection, credentials, what is repeated and what is not.

use std::time::{Duration, Instant};

use mesh_client::proto::{GetRequest, PutRequest};
use mesh_client::{Client, ClientError, Config, Endpoint, ErrorReason, Token, request_id};
use tonic::Code;
use tonic_types::{ErrorDetails, StatusExt};

use crate::fake::{Fake, refusal};

async fn put(client: &Client) -> Result<(), ClientError> {
    let request = PutRequest { key: "k".into(), request_id: request_id(), ..PutRequest::default() };
    let call = client.call(|client| {
        let request = request.clone();
        async move { client.state().put(request).await }
    });
    call.await.map(|_| ())
}

/// A client of a live session, made without one.
fn session_client(fake: &Fake) -> Client {
    fake.state.sessions.lock().unwrap().push("given".into());
    fake.client().with_session(&Token::parse("given").unwrap()).unwrap()
}

#[tokio::test]
async fn a_client_connects_with_its_first_call_only() {
    let fake = Fake::stopped();
    let client = session_client(&fake);
    fake.start();
    put(&client).await.unwrap();
}

#[tokio::test]
async fn credentials_go_with_every_call_and_stay_out_of_debug() {
    let fake = Fake::running();
    let config = Config { token: Some(Token::parse("s3cret").unwrap()), ..fake.config() };
    fake.state.sessions.lock().unwrap().push("given".into());
    let client = Client::new(config).unwrap().with_session(&Token::parse("given").unwrap()).unwrap();
    put(&client).await.unwrap();
    let (_, session, authorization) = fake.state.puts.lock().unwrap()[0].clone();
    assert_eq!((session.as_str(), authorization.as_str()), ("given", "Bearer s3cret"));
    let shown = format!("{client:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("given"), "{shown}");
}

#[tokio::test]
async fn a_broker_that_never_was_there_fails_at_once() {
    let fake = Fake::stopped();
    let began = Instant::now();
    let error = put(&fake.client()).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(2));
    let text = error.to_string();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{text}");
    assert!(text.contains("mesh.sock: No such file"), "{text}");
}

#[tokio::test]
async fn nobody_at_a_tcp_endpoint_fails_at_once() {
    let fake = Fake::stopped();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = Endpoint::parse(&format!("http://{closed}")).unwrap();
    let client = Client::new(Config { endpoint, ..fake.config() }).unwrap();
    let error = put(&client).await.unwrap_err();
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn a_call_on_a_killed_broker_is_repeated_with_the_same_request_id() {
    let fake = Fake::running();
    let client = session_client(&fake);
    fake.state.script.lock().unwrap().push_back(None);
    let call = tokio::spawn(async move { put(&client).await });
    while fake.state.puts.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    fake.kill();
    fake.start();
    call.await.unwrap().unwrap();
    let puts = fake.state.puts.lock().unwrap().clone();
    assert_eq!(puts.len(), 2);
    assert_eq!(puts[0].0, puts[1].0);
}

#[tokio::test]
async fn draining_is_waited_for_as_long_as_the_broker_says() {
    let fake = Fake::running();
    let client = session_client(&fake);
    let mut details = ErrorDetails::with_error_info("DRAINING", "mesh.v1", []);
    details.set_retry_info(Some(Duration::from_millis(400)));
    let draining = tonic::Status::with_error_details(Code::Unavailable, "draining", details);
    fake.state.script.lock().unwrap().push_back(Some(draining));
    let began = Instant::now();
    put(&client).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(400));
}

#[tokio::test]
async fn other_refusals_are_not_repeated() {
    let fake = Fake::running();
    let client = session_client(&fake);
    for (code, reason) in [(Code::Aborted, "VERSION_MISMATCH"), (Code::ResourceExhausted, "LIMIT_REACHED")] {
        fake.state.script.lock().unwrap().push_back(Some(refusal(code, reason, &[("version", "7")])));
        let error = put(&client).await.unwrap_err();
        assert_eq!(error.refusal().unwrap().metadata["version"], "7");
    }
    assert_eq!(fake.state.puts.lock().unwrap().len(), 2);
    let get = client.call(|client| async move { client.state().get(GetRequest::default()).await });
    assert_eq!(get.await.unwrap_err().reason(), Some(ErrorReason::KeyNotFound));
}
