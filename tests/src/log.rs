//! The event log, read page by page.

use mesh_client::Client;
use mesh_client::proto::event::Event;
use mesh_client::proto::{EventBatch, ListEventsRequest};

/// Every batch of the log from a revision on.
pub async fn history(client: &Client, start_revision: u64) -> Vec<EventBatch> {
    let mut batches = Vec::new();
    let mut request = ListEventsRequest { start_revision, limit: 1_000, ..ListEventsRequest::default() };
    loop {
        let page = client
            .call(|client| {
                let request = request.clone();
                async move { client.events().list_events(request).await }
            })
            .await
            .expect("a page of the log");
        batches.extend(page.batches);
        if !page.more {
            return batches;
        }
        request.start_revision = page.next_start_revision;
    }
}

/// The events of a batch, in order.
pub fn events(batch: &EventBatch) -> impl Iterator<Item = &Event> {
    batch.events.iter().filter_map(|event| event.event.as_ref())
}

/// When a batch was committed, in milliseconds since 1970.
#[must_use]
pub fn commit_millis(batch: &EventBatch) -> i64 {
    let time = batch.commit_time.expect("a batch has a commit time");
    time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000
}
