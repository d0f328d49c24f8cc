//! Waiting for events, never for time.

use std::time::Duration;

use mesh_client::proto::EventBatch;
use mesh_client::proto::event::Event;
use mesh_client::{Client, Watch, WatchItem, WatchOptions};

/// How long anything in a test may take before the test is stuck. Never part of an assertion.
const STUCK: Duration = Duration::from_secs(60);

/// Waits for something that must happen; a test that waits for ever says where.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(STUCK, future).await {
        Ok(value) => value,
        Err(_) => panic!("stuck waiting for {what}"),
    }
}

/// A watch that a test reads event by event.
#[derive(Debug)]
pub struct Followed {
    watch: Watch,
    /// Every batch seen so far, in order.
    pub seen: Vec<EventBatch>,
}

/// Follows all scopes from a revision on (0: from now), and returns once the stream is open.
pub async fn follow(client: &Client, start_revision: u64) -> Followed {
    let watch = client.watch(WatchOptions { start_revision, ..WatchOptions::default() });
    let mut followed = Followed { watch, seen: Vec::new() };
    within("an open stream", async {
        while !matches!(followed.item().await, WatchItem::Created) {}
    })
    .await;
    followed
}

impl Followed {
    async fn item(&mut self) -> WatchItem {
        let item = self.watch.next().await.expect("the watch goes on").expect("the watch does not fail");
        if let WatchItem::Batch(batch) = &item {
            self.seen.push(batch.clone());
        }
        item
    }

    /// The next batch.
    pub async fn batch(&mut self) -> EventBatch {
        within("the next batch", async {
            loop {
                if let WatchItem::Batch(batch) = self.item().await {
                    return batch;
                }
            }
        })
        .await
    }

    /// Reads on until an event is what is looked for, and returns what `pick` makes of it with its batch.
    pub async fn until<T>(&mut self, what: &str, pick: impl Fn(&Event) -> Option<T>) -> (EventBatch, T) {
        within(what, async {
            loop {
                let WatchItem::Batch(batch) = self.item().await else { continue };
                let found = batch.events.iter().filter_map(|event| event.event.as_ref()).find_map(&pick);
                if let Some(found) = found {
                    return (batch, found);
                }
            }
        })
        .await
    }

    /// Checks what holds for every unfiltered stream: revisions rise, and no scope's sequence has a gap.
    pub fn assert_gapless(&self) {
        let mut scopes = std::collections::BTreeMap::new();
        let mut last = 0;
        for batch in &self.seen {
            assert!(batch.revision > last, "revision {} after {last}", batch.revision);
            last = batch.revision;
            if let Some((sequence, revision)) = scopes.insert(&batch.scope, (batch.sequence, batch.revision)) {
                assert_eq!(batch.sequence, sequence + 1, "sequence of {}", batch.scope);
                assert_eq!(batch.prev_revision, revision, "previous revision in {}", batch.scope);
            }
        }
    }
}
