//! Presence, as a client sees it.

use super::*;

#[tokio::test]
async fn a_repeated_join_is_the_same_session_and_another_content_is_refused() {
    let broker = Broker::start();
    let request = pb::JoinRequest { scope: SCOPE.into(), request_id: "one".into(), ..Default::default() };
    let first = broker.nobody().peers().join(request.clone()).await.unwrap().into_inner();
    let again = broker.nobody().peers().join(request.clone()).await.unwrap().into_inner();
    assert_eq!(first.session_token, again.session_token);
    assert_eq!(first.header, again.header);
    assert_eq!(first.peer.as_ref().unwrap().name, again.peer.unwrap().name);
    assert!(!first.resumed);

    let other = pb::JoinRequest { name: "amber-fox".into(), ..request };
    let refused = broker.nobody().peers().join(other).await;
    assert_eq!(refusal(refused), (Code::InvalidArgument, "REQUEST_ID_REUSED".into(), vec![]));
}

#[tokio::test]
async fn a_peer_joins_updates_and_leaves() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let info = pb::PeerInfo { focus: "auth".into(), branch: "ignored".into(), ..Default::default() };
    let update = pb::UpdatePeerRequest {
        info: Some(info),
        update_mask: Some(prost_types::FieldMask { paths: texts(&["focus"]) }),
        ..Default::default()
    };
    let updated = fox.peers().update_peer(update.clone()).await.unwrap().into_inner();
    let peer = updated.peer.unwrap();
    assert_eq!((peer.info.as_ref().unwrap().focus.as_str(), peer.status()), ("auth", pb::PeerStatus::Online));
    assert_eq!(peer.info.unwrap().branch, "");
    assert_eq!(revision(&updated.header), 2);

    let again = fox.peers().update_peer(update.clone()).await.unwrap().into_inner();
    assert_eq!(revision(&again.header), 2, "nothing changed, so nothing happened");

    let beat = fox.peers().heartbeat(pb::HeartbeatRequest {}).await.unwrap().into_inner();
    assert_eq!((beat.lease_ttl, beat.peer.unwrap().name.as_str()), (seconds(60), "amber-fox"));
    fox.leave().await;
    assert_eq!(reason(fox.peers().heartbeat(pb::HeartbeatRequest {}).await), "SESSION_EXPIRED");
    assert_eq!(reason(fox.peers().update_peer(update).await), "SESSION_EXPIRED");
    assert_eq!(
        refusal(broker.nobody().peers().heartbeat(pb::HeartbeatRequest {}).await),
        (Code::FailedPrecondition, "SESSION_REQUIRED".into(), vec![])
    );
}

#[tokio::test]
async fn a_repeated_leave_gets_the_first_answer_though_the_session_is_over() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let request = pb::LeaveRequest { request_id: "bye".into() };
    let first = fox.peers().leave(request.clone()).await.unwrap().into_inner();
    let again = fox.peers().leave(request).await.unwrap().into_inner();
    assert_eq!(first, again);
}

#[tokio::test]
async fn a_taken_name_and_a_bad_update_mask_are_refused() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let request = pb::JoinRequest { scope: SCOPE.into(), name: "amber-fox".into(), ..Default::default() };
    let taken = broker.nobody().peers().join(request).await;
    let name = vec![("name".to_owned(), "amber-fox".to_owned())];
    assert_eq!(refusal(taken), (Code::AlreadyExists, "PEER_NAME_TAKEN".into(), name));
    for mask in [None, Some(texts(&[])), Some(texts(&["focus", "name"]))] {
        let update_mask = mask.map(|paths| prost_types::FieldMask { paths });
        let request = pb::UpdatePeerRequest { update_mask, ..Default::default() };
        assert_eq!(field(fox.peers().update_peer(request).await), "update_mask");
    }
}

#[tokio::test]
async fn pages_of_peers_are_complete_and_in_order() {
    let broker = Broker::start();
    for (scope, name) in [(SCOPE, "c"), (SCOPE, "a"), ("global", "b"), (SCOPE, "b"), ("zoo/x", "a")] {
        broker.join_in(scope, name).await;
    }
    let gone = broker.join("gone").await;
    gone.leave().await;
    let list = |scope: &str, include_offline, page_token: &str| {
        let request = pb::ListPeersRequest {
            scope: scope.into(),
            include_offline,
            page_size: 2,
            page_token: page_token.into(),
        };
        let mut client = broker.nobody().peers();
        async move { client.list_peers(request).await.unwrap().into_inner() }
    };
    let mut names = Vec::new();
    let mut token = String::new();
    loop {
        let page = list("", true, &token).await;
        assert_eq!(revision(&page.header), broker.revision());
        names.extend(page.peers.iter().map(|peer| format!("{} {}", peer.scope, peer.name)));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let expected = ["a", "b", "c", "gone"].map(|name| format!("{SCOPE} {name}"));
    assert_eq!(names, [&expected[..], &["global b".to_owned(), "zoo/x a".to_owned()]].concat());

    let online = list(SCOPE, false, &list(SCOPE, false, "").await.next_page_token).await;
    assert_eq!(online.peers.len(), 1);
    assert_eq!(online.next_page_token, "");
    let bad = pb::ListPeersRequest { page_token: "zz".into(), ..Default::default() };
    assert_eq!(field(broker.nobody().peers().list_peers(bad).await), "page_token");
}

#[tokio::test]
async fn an_offline_peer_was_last_seen_when_its_session_ended() {
    let broker = Broker::start();
    broker.join("amber-fox").await.leave().await;
    let request = pb::ListPeersRequest { include_offline: true, ..Default::default() };
    let peers = broker.nobody().peers().list_peers(request).await.unwrap().into_inner().peers;
    let fox = &peers[0];
    assert_eq!((fox.status(), fox.session_id.as_str(), fox.lease_ttl), (pb::PeerStatus::Offline, "", None));
    let now = broker.mesh.clock.now().wall.0 / 1000;
    let seen = fox.last_seen_time.unwrap().seconds.unsigned_abs();
    assert!(now - seen < 20, "{seen} {now}");
}
