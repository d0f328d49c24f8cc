//! Advisory locks: taken, renewed and given up here; waited for, looked at, and asked for, each in a file of its own.

mod making_way;
mod reading;
mod waiting;

use std::sync::Arc;

use mesh_core::State;
use mesh_core::command::Command;
use mesh_core::outcome::Outcome;
use mesh_core::record::LockRecord;
use mesh_core::time::Millis;
use mesh_proto::v1 as pb;
use pb::lock_service_server::LockService;
use tonic::{Request, Response, Status};

use self::waiting::Answer;
use super::auth::Caller;
use super::convert::locks::LockStatus;
use super::convert::{locks as convert, paths, request_key};
use super::status::Refusal;
use super::{Mesh, answer, misfit};

#[tonic::async_trait]
impl LockService for Mesh {
    async fn acquire_locks(
        &self,
        request: Request<pb::AcquireLocksRequest>,
    ) -> Result<Response<pb::AcquireLocksResponse>, Status> {
        answer(request, |caller, request| acquire(self, caller, request)).await
    }

    async fn renew_locks(
        &self,
        request: Request<pb::RenewLocksRequest>,
    ) -> Result<Response<pb::RenewLocksResponse>, Status> {
        answer(request, |caller, request| renew(self, caller, request)).await
    }

    async fn release_locks(
        &self,
        request: Request<pb::ReleaseLocksRequest>,
    ) -> Result<Response<pb::ReleaseLocksResponse>, Status> {
        answer(request, |caller, request| release(self, caller, request)).await
    }

    async fn list_locks(
        &self,
        request: Request<pb::ListLocksRequest>,
    ) -> Result<Response<pb::ListLocksResponse>, Status> {
        answer(request, |caller, request| async move { reading::list(self, &caller, &request) }).await
    }

    async fn list_lock_waiters(
        &self,
        request: Request<pb::ListLockWaitersRequest>,
    ) -> Result<Response<pb::ListLockWaitersResponse>, Status> {
        answer(request, |caller, request| async move { reading::list_waiters(self, &caller, &request) }).await
    }

    async fn request_release(
        &self,
        request: Request<pb::RequestReleaseRequest>,
    ) -> Result<Response<pb::RequestReleaseResponse>, Status> {
        answer(request, |caller, request| making_way::request(self, caller, request)).await
    }

    async fn answer_release(
        &self,
        request: Request<pb::AnswerReleaseRequest>,
    ) -> Result<Response<pb::AnswerReleaseResponse>, Status> {
        answer(request, |caller, request| making_way::answer(self, caller, request)).await
    }

    async fn list_release_requests(
        &self,
        request: Request<pb::ListReleaseRequestsRequest>,
    ) -> Result<Response<pb::ListReleaseRequestsResponse>, Status> {
        answer(
            request,
            |caller, request| async move { reading::list_release_requests(self, &caller, &request) },
        )
        .await
    }

    async fn force_release(
        &self,
        request: Request<pb::ForceReleaseRequest>,
    ) -> Result<Response<pb::ForceReleaseResponse>, Status> {
        answer(request, |caller, request| making_way::force(self, caller, request)).await
    }

    async fn check_fence(
        &self,
        request: Request<pb::CheckFenceRequest>,
    ) -> Result<Response<pb::CheckFenceResponse>, Status> {
        answer(request, |caller, request| async move { reading::check_fence(self, &caller, &request) }).await
    }
}

async fn acquire(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::AcquireLocksRequest,
) -> Result<pb::AcquireLocksResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("AcquireLocks", &id, &request)?;
    let acquire = convert::acquire(request)?;
    let Answer { revision, outcome, ticket } = if acquire.wait > Millis::ZERO {
        waiting::acquire(mesh, caller.by(session), session, key, acquire).await?
    } else {
        let reply = mesh.submit(caller.by(session), key, Command::Acquire(acquire)).await?;
        Answer { revision: reply.revision, outcome: reply.outcome, ticket: None }
    };
    let header = mesh.header(revision);
    let ticket = ticket.map_or(0, |ticket| ticket.0.0);
    if let Outcome::Granted { locks } = outcome {
        let locks = stand_to_wire(mesh, locks);
        return Ok(pb::AcquireLocksResponse { header, locks, ticket, ..Default::default() });
    }
    let Outcome::Conflicts(conflicts) = outcome else { return Err(misfit("AcquireLocks")) };
    let conflicts = conflicts.into_iter().map(convert::conflict).collect();
    Ok(pb::AcquireLocksResponse { header, conflicts, ticket, ..Default::default() })
}

async fn renew(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::RenewLocksRequest,
) -> Result<pb::RenewLocksResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("RenewLocks", &id, &request)?;
    let reply = mesh.submit(caller.by(session), key, convert::renew(&request)?).await?;
    let Outcome::Renewed { locks } = reply.outcome else { return Err(misfit("RenewLocks")) };
    let locks = stand_to_wire(mesh, locks);
    Ok(pb::RenewLocksResponse { header: mesh.header(reply.revision), locks })
}

async fn release(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::ReleaseLocksRequest,
) -> Result<pb::ReleaseLocksResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("ReleaseLocks", &id, &request)?;
    let reply = mesh.submit(caller.by(session), key, convert::release(&request)?).await?;
    let Outcome::Released { targets, remaining, kept } = reply.outcome else {
        return Err(misfit("ReleaseLocks"));
    };
    let kept = stand_to_wire(mesh, kept);
    Ok(pb::ReleaseLocksResponse {
        header: mesh.header(reply.revision),
        paths: paths(&targets),
        remaining,
        kept,
    })
}

/// Locks with how they stand at this moment; a repeated answer may tell of locks that are gone.
fn as_they_stand(
    mesh: &Mesh,
    state: &State,
    locks: Vec<Arc<LockRecord>>,
) -> Vec<(Arc<LockRecord>, LockStatus)> {
    let now = mesh.clock.at();
    let stands = |lock: Arc<LockRecord>| {
        let status = LockStatus::from(state.lock_status(&lock, now));
        (lock, status)
    };
    locks.into_iter().map(stands).collect()
}

fn to_wire(locks: &[(Arc<LockRecord>, LockStatus)]) -> Vec<pb::Lock> {
    locks.iter().map(|(lock, status)| convert::lock(lock, *status)).collect()
}

/// Locks on the wire, as they stand.
fn stand_to_wire(mesh: &Mesh, locks: Vec<Arc<LockRecord>>) -> Vec<pb::Lock> {
    to_wire(&as_they_stand(mesh, &mesh.view.read(), locks))
}
