//! What only a real socket shows: refusals that fit into headers, and answers that outrun the end.

use super::*;
use crate::transport;
use tonic::transport::{Channel, Endpoint};

/// Serves on a socket until the mesh shuts down; the task ends when every connection has.
async fn serve(broker: &Broker) -> (tempfile::TempDir, Channel, tokio::task::JoinHandle<()>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let incoming = transport::unix(
        tokio::net::UnixListener::bind(&path).unwrap(),
        transport::OpenConnections::default(),
    );
    let authority = Authority::new(rustix::process::geteuid().as_raw(), None);
    let routes = routes(&broker.mesh, Arc::new(authority)).unwrap();
    let stop = broker.mesh.shutdown.clone().cancelled_owned();
    let serving = crate::server::bounded()
        .layer(crate::service::deadline::Deadline)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop);
    let server = tokio::spawn(async move { serving.await.unwrap() });
    let endpoint = Endpoint::from_shared(format!("unix://{}", path.display())).unwrap();
    (directory, endpoint.connect().await.unwrap(), server)
}

fn with_session<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(SESSION_METADATA, token.parse().unwrap());
    request
}

#[tokio::test]
async fn the_answer_to_stop_and_the_last_word_of_a_stream_arrive() {
    let broker = Broker::start();
    let (_directory, channel, server) = serve(&broker).await;
    let join = pb::JoinRequest { scope: SCOPE.into(), ..Default::default() };
    let joined = PeerServiceClient::new(channel.clone()).join(join).await.unwrap().into_inner();
    let request = with_session(pb::WatchRequest::default(), &joined.session_token);
    let mut stream = EventServiceClient::new(channel.clone()).watch(request).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    let stopped = AdminServiceClient::new(channel).stop(pb::StopRequest {}).await.unwrap().into_inner();
    assert_eq!(stopped.header, joined.header);
    assert_eq!(reason(soon(stream.message()).await), "DRAINING");
    drop(stream);
    soon(server).await.unwrap();
}

#[tokio::test]
async fn the_longest_refusals_fit_into_headers() {
    let broker = Broker::start();
    let (_directory, channel, _server) = serve(&broker).await;
    let join = pb::JoinRequest { scope: SCOPE.into(), ..Default::default() };
    let joined = PeerServiceClient::new(channel.clone()).join(join).await.unwrap().into_inner();
    // Text outside ASCII takes three times its bytes in a status message.
    let path = "é".repeat(512);
    let release = pb::ReleaseLocksRequest { paths: vec![path.clone()], ..Default::default() };
    let release = with_session(release, &joined.session_token);
    let refused = LockServiceClient::new(channel.clone()).release_locks(release).await;
    assert_eq!(refusal(refused).2, [("path".to_owned(), path)]);
    let key = "é".repeat(256);
    let get = pb::GetRequest { scope: SCOPE.into(), key: key.clone(), ..Default::default() };
    let refused = StateServiceClient::new(channel).get(get).await;
    assert_eq!(refusal(refused).2, [("key".to_owned(), key)]);
}

#[tokio::test]
async fn a_call_that_is_cancelled_or_cut_off_waits_no_longer() {
    let broker = Broker::start();
    broker.join("amber-fox").await.lock(&["a"]).await;
    let lynx = broker.join("bold-lynx").await;
    let (directory, channel, _server) = serve(&broker).await;
    let list = || pb::ListLockWaitersRequest { scope: SCOPE.into(), ..Default::default() };
    let until = async |waiting: usize| {
        let nobody = broker.nobody();
        while nobody.locks().list_lock_waiters(list()).await.unwrap().into_inner().waiters.len() != waiting {
            tokio::task::yield_now().await;
        }
    };
    let wait = || pb::AcquireLocksRequest { paths: texts(&["a"]), wait: seconds(60), ..Default::default() };
    let mut client = LockServiceClient::new(channel);
    let request = with_session(wait(), &lynx.token);
    let call = tokio::spawn(async move { client.acquire_locks(request).await });
    soon(until(1)).await;
    call.abort();
    soon(until(0)).await;

    // A client that ends takes its connection with it, and says nothing.
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let endpoint = Endpoint::from_shared(format!("unix://{}", directory.path().join("s").display())).unwrap();
    let request = with_session(wait(), &lynx.token);
    let client = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = LockServiceClient::new(endpoint.connect().await.unwrap());
            tokio::spawn(async move { client.acquire_locks(request).await });
            ended.await.unwrap();
        });
    });
    soon(until(1)).await;
    end.send(()).unwrap();
    soon(until(0)).await;
    client.join().unwrap();
}

#[tokio::test]
async fn a_connection_has_only_so_many_streams_and_short_headers() {
    let broker = Broker::start();
    let (_directory, channel, _server) = serve(&broker).await;
    let most = mesh_core::limits::STREAMS_PER_CONNECTION as usize;
    let (watches, end) = (broker.mesh.watches.clone(), CancellationToken::new());
    let mut open = tokio::task::JoinSet::new();
    for _ in 0..most + 50 {
        let (mut events, end) = (EventServiceClient::new(channel.clone()), end.clone());
        open.spawn(async move {
            let mut stream = events.watch(pb::WatchRequest::default()).await.unwrap().into_inner();
            stream.message().await.unwrap();
            end.cancelled().await;
        });
    }
    let mut counted = watches.subscribe();
    soon(counted.wait_for(|open| *open >= most)).await.unwrap();
    // Another connection is served; by then more would be open here if they could be.
    let (_other, second, _serving) = serve(&broker).await;
    soon(PeerServiceClient::new(second.clone()).list_peers(pb::ListPeersRequest::default())).await.unwrap();
    assert_eq!(watches.count(), most);
    end.cancel();
    soon(open.join_all()).await;

    let padded = |bytes: usize| {
        let mut request = Request::new(pb::ListPeersRequest::default());
        request.metadata_mut().insert("x-padding", "x".repeat(bytes).parse().unwrap());
        request
    };
    let header = mesh_core::limits::HEADER_BYTES as usize;
    let mut peers = PeerServiceClient::new(second);
    soon(peers.list_peers(padded(header - 1_024))).await.unwrap();
    soon(peers.list_peers(padded(header))).await.unwrap_err();
}

#[tokio::test]
async fn a_caller_that_no_longer_listens_waits_no_longer() {
    let broker = Broker::start();
    let (_directory, channel, _server) = serve(&broker).await;
    let peer = pb::PeerCondition { name: "nobody".into(), ..Default::default() };
    let condition = pb::wait_condition::Condition::Peer(peer);
    let mut request = Request::new(pb::WaitRequest {
        scope: SCOPE.into(),
        conditions: vec![pb::WaitCondition { condition: Some(condition) }],
        timeout: seconds(3_600),
    });
    request.set_timeout(Duration::from_millis(50));
    soon(EventServiceClient::new(channel).wait(request)).await.unwrap_err();
    while broker.mesh.waits.count() > 0 {
        tokio::task::yield_now().await;
    }
}
