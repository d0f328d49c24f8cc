//! Who gets in, and what stands beside the six services.

use super::*;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

#[tokio::test]
async fn nobody_gets_in_unknown() {
    let broker = Broker::start();
    let status = |caller: Caller| async move {
        let answer = caller.admin().get_status(pb::GetStatusRequest {}).await;
        answer.map_or_else(|status| refusal::<()>(Err(status)).1, |_| "OK".to_owned())
    };
    assert_eq!(status(broker.nobody()).await, "OK");
    assert_eq!(status(broker.caller(Dial { connection: None, ..broker.dial() })).await, "UNAUTHENTICATED");
    let other =
        ConnectionInfo { transport: Transport::Unix { uid: UID + 1 }, alive: Arc::downgrade(&broker.socket) };
    assert_eq!(
        status(broker.caller(Dial { connection: Some(other), ..broker.dial() })).await,
        "PERMISSION_DENIED"
    );
    assert_eq!(status(broker.tcp(None)).await, "UNAUTHENTICATED");
    assert_eq!(status(broker.tcp(Some("Bearer wrong"))).await, "UNAUTHENTICATED");
    assert_eq!(status(broker.tcp(Some("Bearer open sesame"))).await, "OK");
    assert_eq!(status(broker.with_token("forged")).await, "UNAUTHENTICATED");
}

#[tokio::test]
async fn health_and_reflection_stand_behind_the_gate() {
    let broker = Broker::start();
    let check = |wire: Wire, service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        async move { HealthClient::new(wire).check(request).await.map(|answer| answer.into_inner().status()) }
    };
    let local = broker.nobody().wire;
    for service in ["", "mesh.v1.EventService"] {
        assert_eq!(check(local.clone(), service).await.unwrap(), ServingStatus::Serving);
    }
    assert_eq!(check(local.clone(), "no.Such").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(check(broker.tcp(None).wire, "").await.unwrap_err().code(), Code::Unauthenticated);
    let request = HealthCheckRequest::default();
    let mut watched = HealthClient::new(local.clone()).watch(request).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    broker.mesh.shutdown.cancel();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(watched.message().await.unwrap(), None);
    assert_eq!(check(local, "").await.unwrap(), ServingStatus::NotServing);
}

#[tokio::test]
async fn reflection_names_the_services() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let broker = Broker::start();
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let ask = |wire| {
        let requests = tokio_stream::iter([request.clone()]);
        async move { ServerReflectionClient::new(wire).server_reflection_info(requests).await }
    };
    assert_eq!(ask(broker.tcp(None).wire).await.unwrap_err().code(), Code::Unauthenticated);
    let mut answers = ask(broker.nobody().wire).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(listed) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = listed.service.iter().map(|service| service.name.as_str()).collect();
    for service in ["Peer", "Message", "State", "Lock", "Event", "Admin"] {
        assert!(names.contains(&format!("mesh.v1.{service}Service").as_str()), "{names:?}");
    }
}

#[tokio::test]
async fn the_status_tells_what_there_is() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    broker.join_in("global", "gone").await.leave().await;
    fox.put("k", "v").await;
    fox.lock(&["a", "b"]).await;
    fox.tell(&[], "hi").await;
    let status = fox.admin().get_status(pb::GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.header.unwrap().revision, broker.revision());
    assert_eq!((status.scopes, status.peers_online, status.peers_known), (2, 1, 2));
    assert_eq!((status.locks, status.entries, status.messages, status.watches), (2, 1, 1, 0));
    assert_eq!((status.start_time.unwrap().seconds, status.oldest_revision), (1, 1));
    assert_eq!((status.endpoints, status.idle_exit), (texts(&["unix:///socket"]), None));
    let vitals = status.vitals.unwrap();
    assert!(vitals.commits > 3 && vitals.last_commit.is_some() && vitals.longest_commit.is_some());
    assert_eq!((vitals.queue_depth, vitals.watch_lag, vitals.refused_credentials), (0, 0, 0));
    let locks = vitals.limits.iter().find(|limit| limit.name == "locks").unwrap();
    assert_eq!((locks.used, locks.limit), (2, mesh_core::limits::LOCKS as u64));
}

#[tokio::test]
async fn only_a_local_caller_stops_the_broker_and_it_may_do_so_twice() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let far = broker.tcp(Some("Bearer open sesame"));
    assert_eq!(reason(far.admin().stop(pb::StopRequest {}).await), "PERMISSION_DENIED");
    assert!(!broker.mesh.shutdown.is_cancelled());
    let near = broker.nobody();
    let first = near.admin().stop(pb::StopRequest {}).await.unwrap().into_inner();
    assert_eq!(revision(&first.header), 1);
    assert_eq!(near.admin().stop(pb::StopRequest {}).await.unwrap().into_inner(), first);
    assert_eq!(reason(fox.peers().heartbeat(pb::HeartbeatRequest {}).await), "DRAINING");
}

#[tokio::test]
async fn a_call_is_a_sign_of_life_even_one_that_only_reads() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let session = broker.mesh.tokens.verify(fox.token.as_bytes()).unwrap();
    let joined = broker.mesh.leases.last_seen(session).unwrap();
    soon(async {
        while broker.mesh.leases.last_seen(session).unwrap() == joined {
            fox.peers().list_peers(pb::ListPeersRequest::default()).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_call_is_a_sign_of_life_even_one_that_an_ending_broker_refuses() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let session = broker.mesh.tokens.verify(fox.token.as_bytes()).unwrap();
    let joined = broker.mesh.leases.last_seen(session).unwrap();
    broker.mesh.shutdown.cancel();
    soon(async {
        while broker.mesh.leases.last_seen(session).unwrap() == joined {
            assert_eq!(reason(fox.peers().heartbeat(pb::HeartbeatRequest {}).await), "DRAINING");
        }
    })
    .await;
}
