//! Streams of events, as a client sees them.

use super::*;
use pb::event::Event;
use pb::state_item::Item;
use pb::watch_response::Payload;
use tonic::Streaming;

type Stream = Streaming<pb::WatchResponse>;

async fn watch(caller: &Caller, request: pb::WatchRequest) -> Stream {
    caller.events().watch(request).await.unwrap().into_inner()
}

async fn next(stream: &mut Stream) -> (u64, Payload) {
    let item = soon(stream.message()).await.unwrap().expect("a stream without an end");
    (revision(&item.header), item.payload.unwrap())
}

async fn batch(stream: &mut Stream) -> pb::EventBatch {
    let (revision, payload) = next(stream).await;
    let Payload::Events(batch) = payload else { panic!("{payload:?}") };
    assert_eq!(batch.revision, revision);
    batch
}

fn from(start_revision: u64) -> pb::WatchRequest {
    pb::WatchRequest { start_revision, ..Default::default() }
}

fn filtered(filter: pb::EventFilter) -> pb::WatchRequest {
    pb::WatchRequest { filter: Some(filter), ..from(1) }
}

#[tokio::test]
async fn a_stream_delivers_every_batch_from_its_start_once_and_in_order() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    fox.put("k", "1").await;
    let mut past = watch(&broker.nobody(), from(1)).await;
    let created = pb::WatchCreated { start_revision: 1, oldest_revision: 1 };
    assert_eq!(next(&mut past).await, (0, Payload::Created(created)));
    let mut now = watch(&broker.nobody(), from(0)).await;
    let created = pb::WatchCreated { start_revision: 3, oldest_revision: 1 };
    assert_eq!(next(&mut now).await, (2, Payload::Created(created)));
    fox.put("k", "2").await;
    fox.tell(&[], "three").await;
    for (revision, sequence) in [(1, 1), (2, 2), (3, 3), (4, 4)] {
        let batch = batch(&mut past).await;
        assert_eq!((batch.revision, batch.sequence, batch.prev_revision), (revision, sequence, revision - 1));
        assert_eq!((batch.scope.as_str(), batch.actor.as_str()), (SCOPE, "amber-fox"));
    }
    let written = batch(&mut now).await;
    let Some(Event::StateChanged(changed)) = &written.events[0].event else { panic!("{written:?}") };
    assert_eq!((changed.key.as_str(), changed.version, changed.preview.as_str()), ("k", 2, "2"));
    assert_eq!(batch(&mut now).await.revision, 4);
}

#[tokio::test]
async fn what_has_no_events_is_never_sent() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    fox.lock(&["a"]).await;
    fox.lock(&["a"]).await;
    fox.put("k", "1").await;
    assert_eq!(broker.revision(), 4, "a renewal takes a revision");
    let mut stream = watch(&broker.nobody(), from(1)).await;
    next(&mut stream).await;
    let revisions = [batch(&mut stream).await, batch(&mut stream).await, batch(&mut stream).await];
    assert_eq!(revisions.map(|batch| (batch.revision, batch.sequence)), [(1, 1), (2, 2), (4, 3)]);
}

#[tokio::test]
async fn the_initial_state_and_what_follows_have_no_gap_and_no_overlap() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    broker.join("gone").await.leave().await;
    broker.join_in("global", "far").await;
    fox.lock(&["src/"]).await;
    fox.put("k", "value").await;
    let request =
        pb::WatchRequest { scopes: texts(&[SCOPE, SCOPE]), send_initial_state: true, ..Default::default() };
    let mut stream = watch(&fox, request).await;
    let shown = broker.revision();
    fox.put("k", "later").await;
    let created = pb::WatchCreated { start_revision: shown + 1, oldest_revision: 1 };
    assert_eq!(next(&mut stream).await, (0, Payload::Created(created)), "nothing is delivered yet");
    let mut items = Vec::new();
    loop {
        let (revision, payload) = next(&mut stream).await;
        assert_eq!(revision, shown);
        let Payload::InitialState(item) = payload else {
            assert_eq!(payload, Payload::InitialStateEnd(pb::InitialStateEnd {}));
            break;
        };
        items.push(item.item.unwrap());
    }
    let [Item::Peer(peer), Item::Lock(lock), Item::Entry(entry)] = items.as_slice() else {
        panic!("{items:?}")
    };
    assert_eq!((peer.name.as_str(), lock.path.as_str()), ("amber-fox", "src/"));
    assert_eq!(entry.value, "value", "as of the snapshot");
    assert_eq!(batch(&mut stream).await.revision, shown + 1);
}

#[tokio::test]
async fn a_subscriber_that_stalls_in_the_initial_state_keeps_it_for_a_while_only() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let targets: Vec<_> = (0..100).map(|n| format!("src/{n:03}")).collect();
    let request = pb::AcquireLocksRequest {
        paths: targets,
        // More than is put into one piece of the stream.
        reason: "x".repeat(512),
        ..Default::default()
    };
    fox.locks().acquire_locks(request).await.unwrap();
    let request = pb::WatchRequest { send_initial_state: true, ..Default::default() };
    let (mut stalling, mut reading) =
        (watch(&broker.nobody(), request.clone()).await, watch(&broker.nobody(), request).await);
    next(&mut stalling).await;
    while next(&mut reading).await.1 != Payload::InitialStateEnd(pb::InitialStateEnd {}) {}
    let last = broker.mesh.view.read().locks.list(None, None).last().unwrap().clone();
    fox.locks().release_locks(pb::ReleaseLocksRequest::default()).await.unwrap();
    assert!(matches!(next(&mut reading).await.1, Payload::Events(_)));
    let holders = Arc::strong_count(&last);

    // Only from here on, since time that stands still runs on while everything waits for the writer.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_millis(mesh_core::limits::INITIAL_STATE.0)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(Arc::strong_count(&last) < holders, "it is let go though nobody has asked for more");
    let mut sent = 0;
    let ended = loop {
        match stalling.message().await {
            Ok(item) => sent += usize::from(item.is_some()),
            Err(status) => break status,
        }
    };
    assert!(sent < 101, "{sent}");
    assert_eq!(reason::<()>(Err(ended)), "OVERLOADED");
    assert!(matches!(next(&mut reading).await.1, Payload::Progress(_)), "who has read it goes on");
}

#[tokio::test]
async fn a_filter_lets_through_what_matches_all_its_parts() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    fox.lock(&["src/auth/", "b.rs"]).await;
    lynx.tell(&["amber-fox"], "hi").await;
    fox.put("k", "1").await;
    fox.state().delete(pb::DeleteRequest { key: "k".into(), ..Default::default() }).await.unwrap();
    let seen = |filter: pb::EventFilter| {
        let nobody = broker.nobody();
        let head = broker.revision();
        async move {
            let request = pb::ListEventsRequest {
                start_revision: 1,
                filter: Some(filter.clone()),
                ..Default::default()
            };
            let listed = nobody.events().list_events(request).await.unwrap().into_inner();
            let listed: Vec<_> = listed.batches.iter().map(|batch| batch.revision).collect();
            let mut stream = watch(&nobody, filtered(filter)).await;
            next(&mut stream).await;
            for revision in &listed {
                assert_eq!(batch(&mut stream).await.revision, *revision);
            }
            assert!(listed.iter().all(|revision| *revision <= head));
            listed
        }
    };
    let all = pb::EventFilter::default;
    assert_eq!(seen(all()).await, [1, 2, 3, 4, 5, 6]);
    let types = vec![pb::EventType::FileLocked.into(), pb::EventType::MessageSent.into()];
    assert_eq!(seen(pb::EventFilter { types, ..all() }).await, [3, 4]);
    let peers = texts(&["amber-fox"]);
    assert_eq!(seen(pb::EventFilter { peers: peers.clone(), ..all() }).await, [1, 3, 4, 5, 6]);
    let types = vec![pb::EventType::StateDeleted.into()];
    assert_eq!(seen(pb::EventFilter { types, peers, ..all() }).await, [6]);
    assert_eq!(seen(pb::EventFilter { paths: texts(&["src/auth/x.rs"]), ..all() }).await, [3]);
    assert_eq!(seen(pb::EventFilter { peers: texts(&["nobody"]), ..all() }).await, Vec::<u64>::new());
}

#[tokio::test]
async fn a_start_that_is_not_in_this_history_is_refused() {
    let broker = Broker::start();
    broker.join("amber-fox").await;
    let open = |request| {
        let mut client = broker.nobody().events();
        async move { client.watch(request).await.map(|_| ()) }
    };
    let here = vec![
        ("current_revision".to_owned(), "1".to_owned()),
        ("incarnation".to_owned(), broker.mesh.info.incarnation.to_string()),
    ];
    let changed = (Code::OutOfRange, "INCARNATION_CHANGED".to_owned(), here);
    assert_eq!(refusal(open(from(3)).await), changed, "the future");
    let other = pb::WatchRequest { incarnation: "another".into(), ..from(1) };
    assert_eq!(refusal(open(other.clone()).await), changed);
    let request =
        pb::ListEventsRequest { start_revision: 1, incarnation: "another".into(), ..Default::default() };
    assert_eq!(refusal(broker.nobody().events().list_events(request).await), changed);
    open(from(2)).await.unwrap();
    open(pb::WatchRequest { start_revision: 0, ..other }).await.unwrap();
    let both = pb::WatchRequest { send_initial_state: true, ..from(1) };
    assert_eq!(field(open(both).await), "start_revision");
}

#[tokio::test]
async fn history_that_is_gone_is_refused_with_what_is_left() {
    let config = WriterConfig { history_count: 10, ring: 4, ..WriterConfig::default() };
    let broker = Broker::with(config);
    let fox = broker.join("amber-fox").await;
    for n in 0..200 {
        fox.put("k", &n.to_string()).await;
    }
    soon(async {
        while broker.mesh.events.oldest().0 == 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let oldest = broker.mesh.events.oldest().0;
    let told = vec![
        ("current_revision".to_owned(), "201".to_owned()),
        ("oldest_revision".to_owned(), oldest.to_string()),
    ];
    let refused = broker.nobody().events().watch(from(oldest - 1)).await;
    assert_eq!(refusal(refused), (Code::OutOfRange, "REVISION_COMPACTED".into(), told));
    let mut stream = watch(&broker.nobody(), from(oldest)).await;
    next(&mut stream).await;
    assert_eq!(batch(&mut stream).await.revision, oldest, "read from the store, beyond the ring");
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_by_progress_up_to_what_was_looked_at() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let filter = Some(pb::EventFilter { types: vec![pb::EventType::PeerLeft.into()], ..Default::default() });
    let request = pb::WatchRequest { filter, progress_interval: seconds(5), ..from(1) };
    let mut stream = watch(&broker.nobody(), request).await;
    next(&mut stream).await;
    fox.put("k", "1").await;
    let before = tokio::time::Instant::now();
    assert_eq!(next(&mut stream).await, (2, Payload::Progress(pb::WatchProgress {})));
    assert_eq!(next(&mut stream).await, (2, Payload::Progress(pb::WatchProgress {})));
    assert!(before.elapsed().as_secs() >= 5);
}

#[tokio::test]
async fn a_stream_ends_with_the_broker() {
    let broker = Broker::start();
    let mut stream = watch(&broker.nobody(), from(0)).await;
    next(&mut stream).await;
    let waiter = tokio::spawn(async move { stream.message().await });
    tokio::task::yield_now().await;
    broker.mesh.shutdown.cancel();
    let status = soon(waiter).await.unwrap().unwrap_err();
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    assert_eq!(refusal::<()>(Err(status)), (Code::Unavailable, "DRAINING".into(), vec![]));
    assert_eq!(reason(broker.nobody().events().watch(from(0)).await), "DRAINING");
}

#[tokio::test]
async fn an_open_stream_keeps_the_session_and_its_end_is_noticed() {
    let config = WriterConfig { grace: mesh_core::time::Millis(1), ..WriterConfig::default() };
    let mut broker = Broker::with(config);
    let fox = broker.join("amber-fox").await;
    let session = broker.mesh.tokens.verify(fox.token.as_bytes()).unwrap();
    let mut stream = watch(&fox, from(0)).await;
    next(&mut stream).await;
    assert!(broker.mesh.leases.is_attached(session));
    let mut others = watch(&broker.nobody(), from(0)).await;
    next(&mut others).await;
    assert_eq!(broker.mesh.watches.count(), 2);
    broker.socket = Arc::new(());
    drop(stream);
    assert_eq!(broker.mesh.watches.count(), 1);
    let left = batch(&mut others).await;
    let Some(Event::PeerLeft(left)) = &left.events[0].event else { panic!("{left:?}") };
    assert_eq!(left.cause(), pb::LeaveCause::Disconnected);
    assert_eq!(reason(fox.events().watch(from(0)).await), "SESSION_EXPIRED");
    assert_eq!(broker.mesh.watches.count(), 1, "a refused stream does not count");
}

#[tokio::test]
async fn the_stream_of_a_session_ends_after_the_session_did() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    // Also one whose filter hides the event that ends it.
    let hidden = pb::EventFilter { types: vec![pb::EventType::MessageSent.into()], ..Default::default() };
    let mut quiet = watch(&fox, pb::WatchRequest { filter: Some(hidden), ..from(0) }).await;
    let mut open = watch(&fox, from(0)).await;
    next(&mut quiet).await;
    next(&mut open).await;
    fox.leave().await;
    let left = batch(&mut open).await;
    assert!(matches!(left.events[0].event, Some(Event::PeerLeft(_))), "{left:?}");
    for stream in [&mut open, &mut quiet] {
        let (_, reason, metadata) = refusal(soon(stream.message()).await);
        assert_eq!(reason, "SESSION_EXPIRED");
        assert_eq!(metadata, [("cause".to_owned(), "LEFT".to_owned())]);
    }
}
