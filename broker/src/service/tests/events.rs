//! Pages of events, as a client sees them.

use super::*;

async fn list(caller: &Caller, request: pb::ListEventsRequest) -> pb::ListEventsResponse {
    soon(caller.events().list_events(request)).await.unwrap().into_inner()
}

fn revisions(answer: &pb::ListEventsResponse) -> Vec<u64> {
    answer.batches.iter().map(|batch| batch.revision).collect()
}

fn from(start_revision: u64) -> pb::ListEventsRequest {
    pb::ListEventsRequest { start_revision, ..Default::default() }
}

/// A mesh where one scope is quiet and another busy.
async fn busy_mesh(config: WriterConfig) -> (Broker, Caller) {
    let broker = Broker::with(config);
    let quiet = broker.join_in("quiet", "owl").await;
    let busy = broker.join_in("busy", "bee").await;
    quiet.put("k", "1").await;
    for n in 0..30 {
        busy.put("k", &n.to_string()).await;
    }
    (broker, busy)
}

#[tokio::test]
async fn the_newest_batches_are_found_in_ring_and_store() {
    for ring in [8_192, 4] {
        let (broker, busy) = busy_mesh(WriterConfig { ring, ..WriterConfig::default() }).await;
        let nobody = broker.nobody();
        let newest = list(&nobody, pb::ListEventsRequest { limit: 3, ..from(0) }).await;
        assert_eq!(revisions(&newest), [31, 32, 33]);
        assert_eq!((newest.next_start_revision, newest.more, newest.oldest_revision), (34, false, 1));
        assert_eq!(revision(&newest.header), 33);
        let quiet = pb::ListEventsRequest { scopes: texts(&["quiet"]), ..from(0) };
        assert_eq!(revisions(&list(&nobody, quiet.clone()).await), [1, 3]);
        let both = pb::ListEventsRequest { scopes: texts(&["quiet", "busy"]), limit: 32, ..from(0) };
        assert_eq!(revisions(&list(&nobody, both).await), (2..=33).collect::<Vec<_>>());
        let none = pb::ListEventsRequest { scopes: texts(&["nowhere"]), ..from(0) };
        assert_eq!(list(&nobody, none).await.next_start_revision, 34);
        let joins = pb::EventFilter { types: vec![pb::EventType::PeerJoined.into()], ..Default::default() };
        let joins = pb::ListEventsRequest { filter: Some(joins), ..from(0) };
        assert_eq!(revisions(&list(&busy, joins).await), [1, 2]);
    }
}

#[tokio::test]
async fn pages_go_on_where_the_last_one_ended() {
    let (broker, busy) = busy_mesh(WriterConfig::default()).await;
    let (mut seen, mut start) = (Vec::new(), 1);
    loop {
        let page = list(&busy, pb::ListEventsRequest { limit: 7, ..from(start) }).await;
        assert_eq!(revision(&page.header), page.next_start_revision - 1);
        seen.extend(revisions(&page));
        start = page.next_start_revision;
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, (1..=33).collect::<Vec<_>>());
    assert_eq!(start, 34);
    let nothing = list(&broker.nobody(), from(34)).await;
    assert_eq!((revisions(&nothing), nothing.next_start_revision, nothing.more), (vec![], 34, false));
    let passed_over = pb::ListEventsRequest { scopes: texts(&["nowhere"]), ..from(1) };
    assert_eq!(list(&busy, passed_over).await.next_start_revision, 34);
}

#[tokio::test]
async fn a_wait_ends_with_the_first_batch_that_the_filter_lets_through() {
    let (broker, busy) = busy_mesh(WriterConfig::default()).await;
    let nobody = broker.nobody();
    let quiet = pb::ListEventsRequest { scopes: texts(&["quiet"]), wait: seconds(60), ..from(34) };
    let waiter = tokio::spawn(async move { list(&nobody, quiet).await });
    tokio::task::yield_now().await;
    busy.put("k", "passed over").await;
    broker.join_in("quiet", "wren").await;
    let answer = waiter.await.unwrap();
    assert_eq!((revisions(&answer), answer.next_start_revision), (vec![35], 36));
    let senseless = pb::ListEventsRequest { wait: seconds(1), ..from(0) };
    assert_eq!(field(busy.events().list_events(senseless).await), "wait");
}

#[tokio::test(start_paused = true)]
async fn a_wait_without_news_ends_when_its_time_is_over() {
    let broker = Broker::start();
    broker.join("amber-fox").await;
    let before = tokio::time::Instant::now();
    let request = pb::ListEventsRequest { wait: seconds(60), ..from(2) };
    let answer = broker.nobody().events().list_events(request).await.unwrap().into_inner();
    assert_eq!((answer.batches.len(), answer.next_start_revision, answer.more), (0, 2, false));
    assert_eq!(before.elapsed().as_secs(), 60);
}

#[tokio::test]
async fn a_wait_ends_with_the_broker() {
    let broker = Broker::start();
    let nobody = broker.nobody();
    let request = pb::ListEventsRequest { wait: seconds(60), ..from(1) };
    let waiter = tokio::spawn(async move { nobody.events().list_events(request).await });
    tokio::task::yield_now().await;
    broker.mesh.shutdown.cancel();
    assert_eq!(reason(soon(waiter).await.unwrap()), "DRAINING");
}
