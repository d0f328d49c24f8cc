//! Watches: resuming without loss or repeats.

use std::time::{Duration, Instant};

use mesh_client::{Client, ErrorReason, Watch, WatchItem, WatchOptions};
use tokio_stream::StreamExt;

use crate::fake::{Fake, SCOPE};

fn from(client: &Client, start_revision: u64) -> Watch {
    client.watch(WatchOptions { scopes: vec![SCOPE.into()], start_revision, ..WatchOptions::default() })
}

/// The revisions of the next batches, and how many interruptions came between them.
async fn read(watch: &mut Watch, count: usize) -> (Vec<u64>, usize) {
    let (mut revisions, mut interruptions) = (Vec::new(), 0);
    while revisions.len() < count {
        match watch.next().await.unwrap().unwrap() {
            WatchItem::Batch(batch) => revisions.push(batch.revision),
            WatchItem::Interrupted(_) => interruptions += 1,
            _ => {}
        }
    }
    (revisions, interruptions)
}

#[tokio::test]
async fn a_watch_goes_on_after_restarts_without_loss_or_repeats() {
    let fake = Fake::running();
    let mut watch = from(&fake.client(), 1);
    fake.state.append_many(10);
    let (mut seen, _) = read(&mut watch, 7).await;
    for round in 0..3 {
        fake.kill();
        fake.state.append_many(10);
        let down = Instant::now();
        fake.start();
        fake.state.append_many(10);
        let (more, interruptions) = read(&mut watch, 20).await;
        assert_eq!(interruptions, 1, "round {round}");
        assert!(down.elapsed() < Duration::from_secs(2), "round {round}: {:?}", down.elapsed());
        seen.extend(more);
    }
    assert_eq!(seen, (1..=67).collect::<Vec<u64>>());
    assert_eq!(watch.cursor().revision, 67);
    assert_eq!(watch.cursor().incarnation, "first");
}

#[tokio::test]
async fn an_outage_is_reported_once_however_long() {
    let fake = Fake::running();
    let mut watch = from(&fake.client(), 0);
    assert_eq!(watch.next().await.unwrap().unwrap(), WatchItem::Created);
    fake.kill();
    assert!(matches!(watch.next().await.unwrap().unwrap(), WatchItem::Interrupted(_)));
    let silent = tokio::time::timeout(Duration::from_millis(500), watch.next()).await;
    assert!(silent.is_err(), "{silent:?}");
    fake.start();
    assert_eq!(watch.next().await.unwrap().unwrap(), WatchItem::Created);
}

#[tokio::test]
async fn from_now_on_loses_nothing_while_the_broker_is_away() {
    let fake = Fake::running();
    fake.state.append_many(5);
    let mut watch = from(&fake.client(), 0);
    assert_eq!(watch.next().await.unwrap().unwrap(), WatchItem::Created);
    fake.kill();
    fake.state.append_many(3);
    fake.start();
    assert_eq!(read(&mut watch, 3).await.0, [6, 7, 8]);
}

#[tokio::test]
async fn a_compacted_revision_ends_the_watch() {
    let fake = Fake::running();
    fake.state.append_many(5);
    *fake.state.compacted.lock().unwrap() = 2;
    let mut watch = from(&fake.client(), 1);
    let error = watch.next().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(ErrorReason::RevisionCompacted));
    assert_eq!(error.refusal().unwrap().metadata["oldest_revision"], "3");
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_watch_on_a_broker_that_never_was_there_fails() {
    let fake = Fake::stopped();
    let mut watch = from(&fake.client(), 0);
    assert!(watch.next().await.unwrap().is_err());
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_cancelled_read_loses_nothing() {
    let fake = Fake::running();
    let mut watch = from(&fake.client(), 1);
    let mut seen = Vec::new();
    for _ in 0..50 {
        fake.state.append_many(1);
        if let Ok(item) = tokio::time::timeout(Duration::from_micros(200), watch.next()).await
            && let WatchItem::Batch(batch) = item.unwrap().unwrap()
        {
            seen.push(batch.revision);
        }
    }
    let rest = 50 - seen.len();
    seen.extend(read(&mut watch, rest).await.0);
    assert_eq!(seen, (1..=50).collect::<Vec<u64>>());
}

#[tokio::test]
async fn idle_watches_that_nobody_reads_do_not_block_calls() {
    let fake = Fake::running();
    let client = fake.client();
    let mut idle: Vec<Watch> = (0..20).map(|_| from(&client, 1)).collect();
    for watch in &mut idle {
        assert_eq!(watch.next().await.unwrap().unwrap(), WatchItem::Created);
    }
    fake.state.append_many(20_000);
    fake.state.open_watches(20).await;
    let request = mesh_client::proto::ListPeersRequest::default();
    let call = client.call(|client| {
        let request = request.clone();
        async move { client.peers().list_peers(request).await }
    });
    tokio::time::timeout(Duration::from_secs(10), call).await.unwrap().unwrap();
    let mut all = StreamExt::take(&mut idle[0], 20_000);
    let mut count = 0;
    while let Some(item) = all.next().await {
        count += usize::from(matches!(item.unwrap(), WatchItem::Batch(_)));
    }
    assert_eq!(count, 20_000);
}
