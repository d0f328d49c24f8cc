//! Waiting for events, never for time.

use std::time::Duration;

use mesh_client::proto::event::Event;
use mesh_client::proto::{EventBatch, LeaveCause, UnlockCause};
use mesh_client::{Client, Watch, WatchItem, WatchOptions};

/// How long anything in a test may take before the test is stuck. Never part of an assertion.
pub(crate) const STUCK: Duration = Duration::from_secs(60);

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
    follow_with(client, WatchOptions { start_revision, ..WatchOptions::default() }).await
}

/// Follows what the options say, and returns once the stream is open.
pub async fn follow_with(client: &Client, options: WatchOptions) -> Followed {
    let mut followed = Followed { watch: client.watch(options), seen: Vec::new() };
    within("an open stream", async { while !matches!(followed.item().await, WatchItem::Created) {} }).await;
    followed
}

impl Followed {
    /// The next item, whatever it is.
    pub async fn item(&mut self) -> WatchItem {
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

    /// Reads on until everything up to a revision was delivered.
    pub async fn reach(&mut self, revision: u64) {
        within("a revision of the stream", async {
            while self.watch.cursor().revision < revision {
                self.item().await;
            }
        })
        .await;
    }

    /// Reads on until a session of the peer ends, and returns why.
    pub async fn until_left(&mut self, peer: &str) -> (EventBatch, LeaveCause) {
        self.until(&format!("the end of {peer}"), |event| {
            if let Event::PeerLeft(left) = event { (left.name == peer).then(|| left.cause()) } else { None }
        })
        .await
    }

    /// Reads on until a lock on the path ends, and returns why.
    pub async fn until_unlocked(&mut self, path: &str) -> (EventBatch, UnlockCause) {
        self.until(&format!("the end of the lock on {path}"), |event| {
            let Event::FileUnlocked(ended) = event else { return None };
            ended.paths.iter().any(|ended| ended == path).then(|| ended.cause())
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
            if let Some((sequence, revision)) = scopes.insert(&batch.scope, (batch.sequence, batch.revision))
            {
                assert_eq!(batch.sequence, sequence + 1, "sequence of {}", batch.scope);
                assert_eq!(batch.prev_revision, revision, "previous revision in {}", batch.scope);
            }
        }
    }
}
