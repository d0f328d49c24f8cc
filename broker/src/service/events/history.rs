//! Pages of the event log, for callers that cannot hold a stream.

use std::collections::BinaryHeap;
use std::time::Duration;

use mesh_core::limits;
use mesh_core::revision::Revision;
use mesh_core::time::Millis;
use mesh_proto::v1 as pb;
use prost::Message;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until};

use super::filter::Filter;
use super::{refuse_field, start};
use crate::service::Mesh;
use crate::service::auth::Caller;
use crate::service::convert::{size, span};
use crate::service::shares::Holder;
use crate::service::status::Refusal;

/// Batches for one answer.
#[derive(Debug)]
struct Page {
    batches: Vec<pb::EventBatch>,
    bytes: usize,
    limit: usize,
    full: bool,
}

impl Page {
    fn new(limit: u32) -> Self {
        let limit = if limit == 0 { limits::PAGE_DEFAULT } else { size(limit).min(limits::PAGE) };
        Self { batches: Vec::new(), bytes: 0, limit, full: false }
    }

    /// Takes a batch, unless the page is full without it.
    fn take(&mut self, batch: pb::EventBatch) -> bool {
        let bytes = self.bytes + batch.encoded_len();
        if bytes > limits::PAGE_BYTES && !self.batches.is_empty() {
            self.full = true;
            return false;
        }
        self.bytes = bytes;
        self.batches.push(batch);
        self.full = self.batches.len() >= self.limit;
        true
    }
}

/// Answers ListEvents.
pub(super) async fn list(
    mesh: &Mesh,
    caller: Caller,
    request: pb::ListEventsRequest,
) -> Result<pb::ListEventsResponse, Refusal> {
    let filter = Filter::parse(&caller.principal, &request.scopes, request.filter)?;
    let wait = span("wait", request.wait, (Millis::ZERO, limits::WAIT))?.unwrap_or_default();
    let _place = (wait > Millis::ZERO).then(|| mesh.waits.open(&Holder::of(&caller))).transpose()?;
    let page = Page::new(request.limit);
    let (page, next) = match start(mesh, request.start_revision, &request.incarnation)? {
        None if wait > Millis::ZERO => return Err(refuse_field("wait", "needs a start_revision")),
        None => newest(mesh, &filter, page).await?,
        Some(start) => {
            let deadline = Instant::now() + Duration::from_millis(wait.0);
            from(mesh, start, &filter, page, deadline).await?
        }
    };
    Ok(pb::ListEventsResponse {
        header: mesh.header(Revision(next.0 - 1)),
        batches: page.batches,
        next_start_revision: next.0,
        oldest_revision: mesh.events.oldest().0,
        more: next <= mesh.events.head(),
    })
}

/// Reads on from a revision; the next one is what comes after the last looked at.
async fn from(
    mesh: &Mesh,
    start: Revision,
    filter: &Filter,
    mut page: Page,
    deadline: Instant,
) -> Result<(Page, Revision), Refusal> {
    let mut subscription = mesh.events.subscribe(start);
    let head = mesh.events.head();
    let mut next = start;
    loop {
        for log in subscription.ready().await? {
            if let Some(batch) = filter.batch(&log)
                && !page.take(batch)
            {
                return Ok((page, next));
            }
            next = log.revision.next();
            if page.full {
                return Ok((page, next));
            }
        }
        // What there was when the call came is looked through; of what comes later, only what it waits for.
        let waits = page.batches.is_empty() && Instant::now() < deadline;
        if !waits && (next > head || next.0 - start.0 >= limits::EVENTS_LOOKED_AT) {
            return Ok((page, next));
        }
        consume_budget().await;
        tokio::select! {
            biased;
            () = mesh.shutdown.cancelled() => return Err(Refusal::Draining),
            reached = mesh.events.reached(next) => reached?,
            () = sleep_until(deadline), if waits => {}
        }
    }
}

/// The newest batches, found by going back from each scope's head along its own batches, so that a quiet scope
/// in a busy mesh costs no more than what it holds.
async fn newest(mesh: &Mesh, filter: &Filter, mut page: Page) -> Result<(Page, Revision), Refusal> {
    let (head, mut heads) = {
        let state = mesh.view.read();
        let scopes: Vec<_> =
            if filter.scopes.is_empty() { vec![None] } else { filter.scopes.iter().map(Some).collect() };
        let heads =
            scopes.into_iter().flat_map(|scope| state.heads(scope)).filter(|head| filter.sees(&head.scope));
        (state.revision(), heads.map(|head| head.last_revision).collect::<BinaryHeap<_>>())
    };
    mesh.events.reached(head).await?;
    for _ in 0..limits::EVENTS_LOOKED_AT {
        let Some(revision) = heads.pop() else { break };
        consume_budget().await;
        // What is older than the history ends the way back through its scope.
        let Some(log) = mesh.events.get(revision).await? else { continue };
        if log.prev_revision > Revision::ZERO {
            heads.push(log.prev_revision);
        }
        if let Some(batch) = filter.batch(&log)
            && !page.take(batch)
        {
            break;
        }
        if page.full {
            break;
        }
    }
    page.batches.reverse();
    Ok((page, head.next()))
}
