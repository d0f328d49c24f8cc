//! Advisory locks on files and directories.

use std::sync::Arc;

use mesh_core::State;
use mesh_core::command::Command;
use mesh_core::id::{PeerName, ScopeId};
use mesh_core::outcome::Outcome;
use mesh_core::record::{LockKey, LockRecord, PeerKey};
use mesh_core::state::PageSize;
use mesh_core::target::Target;
use mesh_proto::v1 as pb;
use pb::lock_service_server::LockService;
use tonic::{Request, Response, Status};

use super::auth::Caller;
use super::convert::locks::LockStatus;
use super::convert::{in_field, locks as convert, paths, request_key, size, unless_empty};
use super::status::Refusal;
use super::{Mesh, answer, misfit, page};

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
        answer(request, |caller, request| async move { list(self, &caller, &request) }).await
    }

    async fn list_lock_waiters(
        &self,
        request: Request<pb::ListLockWaitersRequest>,
    ) -> Result<Response<pb::ListLockWaitersResponse>, Status> {
        drop(request);
        Err(Status::unimplemented("STUB"))
    }

    async fn request_release(
        &self,
        request: Request<pb::RequestReleaseRequest>,
    ) -> Result<Response<pb::RequestReleaseResponse>, Status> {
        drop(request);
        Err(Status::unimplemented("STUB"))
    }

    async fn answer_release(
        &self,
        request: Request<pb::AnswerReleaseRequest>,
    ) -> Result<Response<pb::AnswerReleaseResponse>, Status> {
        drop(request);
        Err(Status::unimplemented("STUB"))
    }

    async fn list_release_requests(
        &self,
        request: Request<pb::ListReleaseRequestsRequest>,
    ) -> Result<Response<pb::ListReleaseRequestsResponse>, Status> {
        drop(request);
        Err(Status::unimplemented("STUB"))
    }

    async fn force_release(
        &self,
        request: Request<pb::ForceReleaseRequest>,
    ) -> Result<Response<pb::ForceReleaseResponse>, Status> {
        drop(request);
        Err(Status::unimplemented("STUB"))
    }

    async fn check_fence(
        &self,
        request: Request<pb::CheckFenceRequest>,
    ) -> Result<Response<pb::CheckFenceResponse>, Status> {
        drop(request);
        Err(Status::unimplemented("STUB"))
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
    let command = Command::Acquire(convert::acquire(request)?);
    let reply = mesh.submit(Some(session), key, command).await?;
    let header = mesh.header(reply.revision);
    if let Outcome::Granted { locks } = reply.outcome {
        let locks = to_wire(&as_they_stand(mesh, &mesh.view.read(), locks));
        return Ok(pb::AcquireLocksResponse { header, locks, ..Default::default() });
    }
    let Outcome::Conflicts(conflicts) = reply.outcome else { return Err(misfit("AcquireLocks")) };
    let conflicts = conflicts.into_iter().map(convert::conflict).collect();
    Ok(pb::AcquireLocksResponse { header, conflicts, ..Default::default() })
}

async fn renew(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::RenewLocksRequest,
) -> Result<pb::RenewLocksResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("RenewLocks", &id, &request)?;
    let reply = mesh.submit(Some(session), key, convert::renew(&request)?).await?;
    let Outcome::Renewed { locks } = reply.outcome else { return Err(misfit("RenewLocks")) };
    let locks = to_wire(&as_they_stand(mesh, &mesh.view.read(), locks));
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
    let reply = mesh.submit(Some(session), key, convert::release(&request)?).await?;
    let Outcome::Released { targets, remaining, kept } = reply.outcome else {
        return Err(misfit("ReleaseLocks"));
    };
    let kept = to_wire(&as_they_stand(mesh, &mesh.view.read(), kept));
    Ok(pb::ReleaseLocksResponse {
        header: mesh.header(reply.revision),
        paths: paths(&targets),
        remaining,
        kept,
    })
}

/// Which locks to list: all that is given must hold.
#[derive(Debug)]
struct Query {
    scope: Option<ScopeId>,
    target: Option<Target>,
    holder: Option<PeerName>,
    after: Option<LockKey>,
}

fn list(
    mesh: &Mesh,
    caller: &Caller,
    request: &pb::ListLocksRequest,
) -> Result<pb::ListLocksResponse, Refusal> {
    let (revision, locks, more) = {
        let state = mesh.view.read();
        let query = Query {
            scope: mesh.scope_of(&state, caller, &request.scope)?,
            target: unless_empty(&request.path, |path| Target::parse("path", path))?,
            holder: in_field("holder", unless_empty(&request.holder, PeerName::parse))?,
            after: page::after(&request.page_token)?,
        };
        let (locks, more) = matching(&state, &query, PageSize::of(size(request.page_size)));
        (state.revision(), as_they_stand(mesh, &state, locks), more)
    };
    let last = locks.last().filter(|_| more);
    Ok(pb::ListLocksResponse {
        header: mesh.header(revision),
        next_page_token: last.map(|(lock, _)| page::token(&lock.key())).unwrap_or_default(),
        locks: to_wire(&locks),
    })
}

/// A page of the locks that a query finds, by scope, target and holder, from the narrowest index.
fn matching(state: &State, query: &Query, page: PageSize) -> (Vec<Arc<LockRecord>>, bool) {
    let Query { scope, target, holder, after } = query;
    let candidates: Box<dyn Iterator<Item = &Arc<LockRecord>>> = match (scope, target, holder) {
        (Some(scope), _, Some(holder)) => {
            let holder = PeerKey { scope: scope.clone(), name: holder.clone() };
            Box::new(state.locks.of_holder(&holder).collect::<Vec<_>>().into_iter())
        }
        (Some(scope), Some(target), None) => {
            // The index names the directories above the target first, whatever their order as text.
            let mut found: Vec<_> = state.locks.overlapping(scope, target).collect();
            found.sort_by(|a, b| (&a.target, &a.holder).cmp(&(&b.target, &b.holder)));
            Box::new(found.into_iter())
        }
        (None, _, _) | (Some(_), None, None) => Box::new(state.locks.list(scope.as_ref(), after.as_ref())),
    };
    let wanted = candidates.filter(|lock| {
        target.as_ref().is_none_or(|target| lock.target.intersects(target))
            && holder.as_ref().is_none_or(|holder| lock.holder == *holder)
            && after.as_ref().is_none_or(|after| after.is_before(lock))
    });
    page.fill(wanted.cloned(), |lock| convert::lock_size(lock))
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
