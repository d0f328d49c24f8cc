//! Everything that happens, in order, replayable: as a stream, page by page, or one moment
//! that is waited for.

mod filter;
mod history;
mod wait;
mod watcher;

use std::pin::Pin;

use mesh_core::Rejection;
use mesh_core::revision::Revision;
use mesh_proto::v1 as pb;
use pb::event_service_server::EventService;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use self::watcher::Watcher;
use super::auth::Caller;
use super::status::Refusal;
use super::{Mesh, answer};

#[tonic::async_trait]
impl EventService for Mesh {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        answer(request, |caller, request| async move { watch(self, &caller, request) }).await
    }

    async fn list_events(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        answer(request, |caller, request| history::list(self, caller, request)).await
    }

    async fn wait(&self, request: Request<pb::WaitRequest>) -> Result<Response<pb::WaitResponse>, Status> {
        answer(request, |caller, request| wait::wait(self, caller, request)).await
    }
}

/// A stream that does nothing unless it is polled, and lets go of everything when it is dropped.
fn watch(
    mesh: &Mesh,
    caller: &Caller,
    request: pb::WatchRequest,
) -> Result<<Mesh as EventService>::WatchStream, Refusal> {
    let mut watcher = Watcher::open(mesh, caller, request)?;
    Ok(Box::pin(async_stream::stream! {
        loop {
            let item = watcher.next().await.map_err(Status::from);
            let ended = item.is_err();
            yield item;
            if ended {
                break;
            }
        }
    }))
}

/// The revision that a reader may begin at; none means that it is to begin with what comes next.
///
/// Compared with what readers see, which is ahead of what subscribers see for a moment after a commit.
fn start(mesh: &Mesh, revision: u64, incarnation: &str) -> Result<Option<Revision>, Refusal> {
    if revision == 0 {
        return Ok(None);
    }
    let head = mesh.view.revision();
    let foreign = |what| Refusal::ForeignRevision { what, incarnation: mesh.info.incarnation, head };
    if !incarnation.is_empty() && incarnation != mesh.info.incarnation.to_string() {
        return Err(foreign("the revision belongs to another history than this store's"));
    }
    let start = Revision(revision);
    if start > head.next() {
        return Err(foreign("the revision lies in the future of this history"));
    }
    let oldest = mesh.events.oldest();
    if start < oldest {
        return Err(Refusal::Compacted { oldest, head });
    }
    Ok(Some(start))
}

/// Refuses a field that is only allowed without, or only with, a start.
fn refuse_field(field: &'static str, problem: &str) -> Refusal {
    Rejection::invalid(field, problem).into()
}
