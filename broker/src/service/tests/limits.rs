//! Every bound that the contract states, one past it: refused by the name of its field, and never a panic.

use super::*;
use crate::service::shares::Holder;
use mesh_core::Rejection;

fn long(bytes: usize) -> String {
    "a".repeat(bytes)
}

#[tokio::test]
async fn a_join_is_bounded() {
    let broker = Broker::start();
    let good = || pb::JoinRequest { scope: SCOPE.into(), ..Default::default() };
    let info = |info| pb::JoinRequest { info: Some(info), ..good() };
    let it = pb::PeerInfo::default;
    let child = |id: &str| pb::ChildAgent { id: id.into(), ..Default::default() };
    let children = |children| info(pb::PeerInfo { children, ..it() });
    let table = [
        ("scope", pb::JoinRequest { scope: String::new(), ..good() }),
        ("scope", pb::JoinRequest { scope: long(257), ..good() }),
        ("name", pb::JoinRequest { name: long(65), ..good() }),
        ("name", pb::JoinRequest { name: "Fox".into(), ..good() }),
        ("resume_key", pb::JoinRequest { resume_key: long(257), ..good() }),
        ("request_id", pb::JoinRequest { request_id: long(129), ..good() }),
        ("request_id", pb::JoinRequest { request_id: "a\n".into(), ..good() }),
        ("lease_ttl", pb::JoinRequest { lease_ttl: seconds(0), ..good() }),
        ("lease_ttl", pb::JoinRequest { lease_ttl: seconds(86_401), ..good() }),
        ("lease_ttl", pb::JoinRequest { lease_ttl: seconds(-1), ..good() }),
        ("lease_ttl", pb::JoinRequest { lease_ttl: seconds(i64::MAX), ..good() }),
        ("info.agent_kind", info(pb::PeerInfo { agent_kind: long(65), ..it() })),
        ("info.agent_version", info(pb::PeerInfo { agent_version: long(65), ..it() })),
        ("info.host", info(pb::PeerInfo { host: long(257), ..it() })),
        ("info.worktree", info(pb::PeerInfo { worktree: long(4_097), ..it() })),
        ("info.branch", info(pb::PeerInfo { branch: long(257), ..it() })),
        ("info.head", info(pb::PeerInfo { head: long(65), ..it() })),
        ("info.focus", info(pb::PeerInfo { focus: long(513), ..it() })),
        ("info.focus", info(pb::PeerInfo { focus: "a\u{1b}[2J".into(), ..it() })),
        ("info.files", info(pb::PeerInfo { files: vec!["a".into(); 101], ..it() })),
        ("info.files", info(pb::PeerInfo { files: vec!["../a".into()], ..it() })),
        ("info.activity", info(pb::PeerInfo { activity: 3, ..it() })),
        ("info.wake", info(pb::PeerInfo { wake: long(33), ..it() })),
        ("info.wake", info(pb::PeerInfo { wake: "a\tb".into(), ..it() })),
        ("info.children", children((0..33).map(|n| child(&n.to_string())).collect())),
        ("info.children.id", children(vec![child("")])),
        ("info.children.id", children(vec![child(&long(129))])),
        ("info.children.id", children(vec![child("a\u{7}")])),
        ("info.children.id", children(vec![child("a"), child("b"), child("a")])),
        ("info.children.kind", children(vec![pb::ChildAgent { kind: long(65), ..child("a") }])),
        ("info.children.focus", children(vec![pb::ChildAgent { focus: long(513), ..child("a") }])),
        ("info.children.focus", children(vec![pb::ChildAgent { focus: "a\nb".into(), ..child("a") }])),
    ];
    for (named, request) in table {
        assert_eq!(field(broker.nobody().peers().join(request).await), named);
    }
    let most = pb::PeerInfo {
        agent_kind: long(64),
        host: long(256),
        worktree: long(4_096),
        focus: long(512),
        files: (0..100).map(|n| format!("{}/{n:03}", long(1_020))).collect(),
        activity: 2,
        wake: long(32),
        children: (100..132)
            .map(|n| pb::ChildAgent { id: format!("{}{n}", long(125)), kind: long(64), focus: long(512) })
            .collect(),
        ..it()
    };
    let full = pb::JoinRequest {
        scope: long(256),
        name: long(64),
        resume_key: long(256),
        request_id: long(128),
        lease_ttl: seconds(86_400),
        info: Some(most),
    };
    broker.nobody().peers().join(full).await.unwrap();
}

#[tokio::test]
async fn a_write_is_bounded() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let good = || pb::PutRequest { key: "k".into(), ..Default::default() };
    let table = [
        ("scope", pb::PutRequest { scope: "A b".into(), ..good() }),
        ("key", pb::PutRequest { key: String::new(), ..good() }),
        ("key", pb::PutRequest { key: long(513), ..good() }),
        ("key", pb::PutRequest { key: "a\0".into(), ..good() }),
        ("value", pb::PutRequest { value: long(65_537), ..good() }),
        ("ttl", pb::PutRequest { ttl: seconds(0), ..good() }),
        ("ttl", pb::PutRequest { ttl: seconds(365 * 86_400 + 1), ..good() }),
        ("paths", pb::PutRequest { paths: vec!["a".into(); 33], ..good() }),
        ("paths", pb::PutRequest { paths: vec![long(1_025)], ..good() }),
        ("tags", pb::PutRequest { tags: vec!["a".into(); 17], ..good() }),
        ("tags", pb::PutRequest { tags: vec![long(65)], ..good() }),
        ("request_id", pb::PutRequest { request_id: long(129), ..good() }),
    ];
    for (named, request) in table {
        assert_eq!(field(fox.state().put(request).await), named);
    }
    let full = pb::PutRequest {
        key: long(512),
        value: long(65_536),
        ttl: seconds(365 * 86_400),
        paths: (0..32).map(|n| format!("{}/{n:03}", long(1_020))).collect(),
        tags: (0..16).map(|n| format!("{}{n:04}", long(60))).collect(),
        ..good()
    };
    fox.state().put(full).await.unwrap();
}

#[tokio::test]
async fn a_lock_a_message_and_a_read_are_bounded() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lock = || pb::AcquireLocksRequest { paths: texts(&["a"]), ..Default::default() };
    let table = [
        ("paths", pb::AcquireLocksRequest { paths: vec![], ..lock() }),
        ("paths", pb::AcquireLocksRequest { paths: vec!["a".into(); 101], ..lock() }),
        ("paths", pb::AcquireLocksRequest { paths: texts(&["/etc/passwd"]), ..lock() }),
        ("mode", pb::AcquireLocksRequest { mode: 9, ..lock() }),
        ("ttl", pb::AcquireLocksRequest { ttl: seconds(86_401), ..lock() }),
        ("reason", pb::AcquireLocksRequest { reason: long(513), ..lock() }),
    ];
    for (named, request) in table {
        assert_eq!(field(fox.locks().acquire_locks(request).await), named);
    }
    let send = || pb::SendRequest { broadcast: true, body: "x".into(), ..Default::default() };
    let many = (0..33).map(|n| format!("p{n}")).collect();
    let table = [
        ("body", pb::SendRequest { body: long(65_537), ..send() }),
        ("to", pb::SendRequest { to: many, broadcast: false, ..send() }),
        ("reply_to", pb::SendRequest { reply_to: "x".into(), ..send() }),
        ("intent", pb::SendRequest { intent: -1, ..send() }),
    ];
    for (named, request) in table {
        assert_eq!(field(fox.messages().send(request).await), named);
    }
    let wait = pb::ListMessagesRequest { wait: seconds(61), ..Default::default() };
    assert_eq!(field(fox.messages().list_messages(wait).await), "wait");
    let read = pb::ListEntriesRequest::default;
    let table = [
        ("prefix", pb::ListEntriesRequest { prefix: long(513), ..read() }),
        ("path", pb::ListEntriesRequest { path: "a//b".into(), ..read() }),
        ("tags", pb::ListEntriesRequest { tags: vec!["a".into(); 17], ..read() }),
        ("page_token", pb::ListEntriesRequest { page_token: "x".into(), ..read() }),
    ];
    for (named, request) in table {
        assert_eq!(field(fox.state().list_entries(request).await), named);
    }
    let most = pb::ListEntriesRequest { page_size: u32::MAX, ..read() };
    fox.state().list_entries(most).await.unwrap();
}

#[tokio::test]
async fn a_watch_is_bounded() {
    let broker = Broker::start();
    let filter = |filter| pb::WatchRequest { filter: Some(filter), ..Default::default() };
    let it = pb::EventFilter::default;
    let table = [
        ("scopes", pb::WatchRequest { scopes: vec![SCOPE.into(); 101], ..Default::default() }),
        ("scopes", pb::WatchRequest { scopes: texts(&[""]), ..Default::default() }),
        ("progress_interval", pb::WatchRequest { progress_interval: seconds(301), ..Default::default() }),
        ("filter.types", filter(pb::EventFilter { types: vec![0], ..it() })),
        ("filter.types", filter(pb::EventFilter { types: vec![99], ..it() })),
        ("filter.types", filter(pb::EventFilter { types: vec![1; 33], ..it() })),
        ("filter.peers", filter(pb::EventFilter { peers: vec!["a".into(); 101], ..it() })),
        ("filter.peers", filter(pb::EventFilter { peers: texts(&["*"]), ..it() })),
        ("filter.paths", filter(pb::EventFilter { paths: texts(&["../x"]), ..it() })),
    ];
    for (named, request) in table {
        assert_eq!(field(broker.nobody().events().watch(request).await), named);
    }
    let wait = pb::ListEventsRequest { start_revision: 1, wait: seconds(61), ..Default::default() };
    assert_eq!(field(broker.nobody().events().list_events(wait).await), "wait");
}

#[tokio::test]
async fn there_are_only_so_many_streams() {
    let broker = Broker::start();
    let watches = &broker.mesh.watches;
    let open: Vec<_> =
        (0..mesh_core::limits::WATCHES).map(|n| watches.open(&Holder::nth(n, None)).unwrap()).collect();
    let refused = broker.nobody().events().watch(pb::WatchRequest::default()).await;
    let status = refused.unwrap_err();
    assert_eq!(status.get_details_quota_failure().unwrap().violations[0].subject, "watches");
    assert_eq!(reason::<()>(Err(status)), "LIMIT_REACHED");
    drop(open);
    broker.nobody().events().watch(pb::WatchRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_caller_and_a_token_have_only_so_many_streams() {
    use mesh_core::limits::{WATCHES_PER_CALLER, WATCHES_PER_TOKEN};

    let broker = Broker::start();
    let (fox, lynx) = (broker.join("amber-fox").await, broker.join("bold-lynx").await);
    let mut open = Vec::new();
    for _ in 0..WATCHES_PER_CALLER {
        open.push(fox.events().watch(pb::WatchRequest::default()).await.unwrap());
    }
    let full = |status: Status| status.get_details_quota_failure().unwrap().violations[0].subject.clone();
    let refused = fox.events().watch(pb::WatchRequest::default()).await.unwrap_err();
    assert_eq!(full(refused), "watches of a caller");
    lynx.events().watch(pb::WatchRequest::default()).await.unwrap();
    open.pop();
    fox.events().watch(pb::WatchRequest::default()).await.unwrap();

    let watches = &broker.mesh.watches;
    let of_token = |n: usize| watches.open(&Holder::nth(n, Some("t-00000001")));
    let open: Vec<_> = (0..WATCHES_PER_TOKEN).map(|n| of_token(n).unwrap()).collect();
    let refused = Rejection::LimitReached { what: "watches of a token", limit: WATCHES_PER_TOKEN };
    assert_eq!(of_token(WATCHES_PER_TOKEN).unwrap_err(), refused);
    watches.open(&Holder::nth(WATCHES_PER_TOKEN, Some("t-00000002"))).unwrap();
    drop(open);
    of_token(0).unwrap();
}

#[tokio::test]
async fn a_request_over_four_mebibytes_is_not_taken_apart() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let request = pb::PutRequest { key: "k".into(), value: long(4 * 1024 * 1024 + 1), ..Default::default() };
    let refused = fox.state().put(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn who_calls_too_often_is_told_when_to_go_on_and_nobody_else_notices() {
    use mesh_core::limits::{RATE_AT_ONCE, RATE_HOLD, RATE_PER_SECOND};

    let broker = Broker::start();
    let (fox, lynx) = (broker.join("amber-fox").await, broker.join("bold-lynx").await);
    let heartbeat = |caller: &Caller| {
        let mut peers = caller.peers();
        async move { peers.heartbeat(pb::HeartbeatRequest::default()).await }
    };
    let held = RATE_PER_SECOND * usize::try_from(RATE_HOLD.0).unwrap() / 1_000;
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..RATE_AT_ONCE + held + 100 {
        flood.spawn(heartbeat(&fox));
    }
    // All of the flood is at the gate before the clock moves.
    let quiet = tokio::spawn(heartbeat(&lynx));
    let begun = tokio::time::Instant::now();
    quiet.await.unwrap().unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let answers = flood.join_all().await;
    let (good, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), refused.len()), (RATE_AT_ONCE + held, 100));
    let status = refused.into_iter().next().unwrap().unwrap_err();
    let retry = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert_eq!(status.get_details_quota_failure().unwrap().violations[0].subject, "calls per second");
    let limit = ("limit".to_owned(), RATE_PER_SECOND.to_string());
    assert_eq!(
        refusal::<()>(Err(status)),
        (Code::ResourceExhausted, "LIMIT_REACHED".to_owned(), vec![limit])
    );
    tokio::time::sleep(retry).await;
    heartbeat(&fox).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_called_with_a_token_counts_for_the_token() {
    use mesh_core::limits::{RATE_AT_ONCE, TOKEN_RATE_AT_ONCE};
    use pb::token_service_client::TokenServiceClient;

    let broker = Broker::start();
    let mut issuer = TokenServiceClient::new(broker.nobody().wire);
    let asked = pb::CreateTokenRequest { role: pb::Role::Member.into(), ..Default::default() };
    let secret = issuer.create_token(asked).await.unwrap().into_inner().secret;
    let connections = TOKEN_RATE_AT_ONCE / RATE_AT_ONCE + 1;
    let sockets: Vec<_> = (0..connections).map(|_| Arc::new(())).collect();
    let on = |socket: &Arc<()>, bearer: &str| {
        let connection = ConnectionInfo { transport: Transport::Tcp, alive: Arc::downgrade(socket) };
        let bearer = Some(format!("Bearer {bearer}"));
        broker.caller(Dial { connection: Some(connection), bearer, session: None })
    };
    let list = |caller: &Caller| {
        let mut peers = caller.peers();
        async move { peers.list_peers(pb::ListPeersRequest::default()).await }
    };
    let begun = tokio::time::Instant::now();
    for n in 0..TOKEN_RATE_AT_ONCE {
        list(&on(&sockets[n % connections], &secret)).await.unwrap();
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    list(&on(&sockets[0], "open sesame")).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO, "the broker's own user is not held");
    list(&on(&Arc::new(()), &secret)).await.unwrap();
    assert!(begun.elapsed() > Duration::ZERO, "a new connection has no rate of its own with a token");
}

#[tokio::test(start_paused = true)]
async fn who_is_not_let_in_is_kept_to_a_rate_as_well() {
    let broker = Broker::start();
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..10_000 {
        let mut peers = broker.tcp(Some("Bearer wrong")).peers();
        flood.spawn(async move { reason(peers.list_peers(pb::ListPeersRequest::default()).await) });
    }
    let answers = flood.join_all().await;
    let refused = |why: &str| answers.iter().filter(|reason| *reason == why).count();
    assert_eq!(refused("UNAUTHENTICATED") + refused("LIMIT_REACHED"), answers.len());
    assert!(refused("LIMIT_REACHED") > 0);
}

#[tokio::test(start_paused = true)]
async fn callers_without_a_session_are_told_apart_by_their_connections() {
    let broker = Broker::start();
    let first = broker.nobody();
    let socket = Arc::new(());
    let connection =
        ConnectionInfo { transport: Transport::Unix { uid: UID }, alive: Arc::downgrade(&socket) };
    let second = broker.caller(Dial { connection: Some(connection), ..broker.dial() });
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..10_000 {
        let mut peers = first.peers();
        flood.spawn(async move { peers.list_peers(pb::ListPeersRequest::default()).await });
    }
    second.peers().list_peers(pb::ListPeersRequest::default()).await.unwrap();
    let answers = flood.join_all().await;
    assert!(answers.iter().any(Result::is_err), "the first one met its rate");
}

#[tokio::test]
async fn a_contract_and_what_a_message_names_are_bounded() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let contract = |bytes: usize| pb::AcquireLocksRequest {
        paths: texts(&["api:billing"]),
        contract: Some(pb::Contract { text: long(bytes), ..Default::default() }),
        ..Default::default()
    };
    assert_eq!(field(fox.locks().acquire_locks(contract(16_385)).await), "contract.text");
    fox.locks().acquire_locks(contract(16_384)).await.unwrap();
    let send = |count: usize| pb::SendRequest {
        broadcast: true,
        body: "x".into(),
        paths: (0..count).map(|n| format!("src/{n}.rs")).collect(),
        ..Default::default()
    };
    assert_eq!(field(fox.messages().send(send(33)).await), "paths");
    fox.messages().send(send(32)).await.unwrap();
}

#[tokio::test]
async fn what_is_not_said_has_its_default() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let alive = fox.peers().heartbeat(pb::HeartbeatRequest::default()).await.unwrap().into_inner();
    assert_eq!(alive.lease_ttl, seconds(60));
    let lock = fox.lock(&["a"]).await;
    assert_eq!(lock.locks[0].ttl, seconds(30 * 60));
    for n in 0..101 {
        fox.put(&format!("k{n:03}"), &long(161)).await;
    }
    let page = fox.state().list_entries(pb::ListEntriesRequest::default()).await.unwrap().into_inner();
    assert_eq!(page.entries.len(), 100);
    assert!(!page.next_page_token.is_empty());
    let read = pb::ListEventsRequest { start_revision: broker.revision(), ..Default::default() };
    let events = broker.nobody().events().list_events(read).await.unwrap().into_inner();
    let Some(pb::event::Event::StateChanged(changed)) = &events.batches[0].events[0].event else {
        panic!("{events:?}")
    };
    assert_eq!((changed.size, changed.preview.len()), (161, 160));
}
