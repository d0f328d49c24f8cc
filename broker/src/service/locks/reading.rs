//! Who holds what, who waits for it, who is asked to make way, and whether a token is good.

use std::sync::Arc;

use mesh_core::State;
use mesh_core::id::{PeerName, ScopeId};
use mesh_core::limits;
use mesh_core::record::{LockKey, LockRecord, PeerKey};
use mesh_core::revision::{FencingToken, Revision};
use mesh_core::state::PageSize;
use mesh_core::state::deadlines::Due;
use mesh_core::target::Target;
use mesh_proto::v1 as pb;

use super::{as_they_stand, to_wire};
use crate::service::auth::Caller;
use crate::service::convert::{in_field, locks as convert, size, unless_empty};
use crate::service::status::Refusal;
use crate::service::{Mesh, page};

/// Which locks to list: all that is given must hold.
#[derive(Debug)]
struct Query {
    scope: Option<ScopeId>,
    target: Option<Target>,
    holder: Option<PeerName>,
    after: Option<LockKey>,
}

pub(super) fn list(
    mesh: &Mesh,
    caller: &Caller,
    request: &pb::ListLocksRequest,
) -> Result<pb::ListLocksResponse, Refusal> {
    let (revision, locks, more) = {
        let state = mesh.view.read();
        let query = Query {
            scope: mesh.scope_of(&state, caller, &request.scope)?,
            target: target(&request.path)?,
            holder: in_field("holder", unless_empty(&request.holder, PeerName::parse))?,
            after: page::after(&request.page_token)?,
        };
        let sees = |scope: &ScopeId| caller.principal.sees(scope);
        let (locks, more) = matching(&state, &query, sees, PageSize::of(size(request.page_size)));
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
fn matching(
    state: &State,
    query: &Query,
    sees: impl Fn(&ScopeId) -> bool,
    page: PageSize,
) -> (Vec<Arc<LockRecord>>, bool) {
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
            && sees(&lock.scope)
    });
    page.fill(wanted.cloned(), |lock| convert::lock_size(lock))
}

pub(super) fn list_waiters(
    mesh: &Mesh,
    caller: &Caller,
    request: &pb::ListLockWaitersRequest,
) -> Result<pb::ListLockWaitersResponse, Refusal> {
    let path = target(&request.path)?;
    let (revision, waiters) = {
        let state = mesh.view.read();
        let scope = mesh.one_scope(&state, caller, &request.scope)?;
        let now = mesh.clock.at();
        let wanted = state.locks.waiters(&scope).filter(|waiter| {
            path.as_ref().is_none_or(|path| waiter.targets.iter().any(|target| target.intersects(path)))
        });
        let with_time_left = wanted.map(|waiter| {
            let remaining = state.remaining(&Due::Waiter(waiter.ticket), now).unwrap_or_default();
            (waiter.clone(), remaining)
        });
        let (waiters, _) = PageSize::of(limits::WAITERS_PER_SCOPE)
            .fill(with_time_left, |(waiter, _)| convert::waiter_size(waiter));
        (state.revision(), waiters)
    };
    Ok(pb::ListLockWaitersResponse {
        header: mesh.header(revision),
        waiters: waiters.iter().map(|(waiter, remaining)| convert::waiter(waiter, *remaining)).collect(),
    })
}

pub(super) fn list_release_requests(
    mesh: &Mesh,
    caller: &Caller,
    request: &pb::ListReleaseRequestsRequest,
) -> Result<pb::ListReleaseRequestsResponse, Refusal> {
    let holder = in_field("holder", unless_empty(&request.holder, PeerName::parse))?;
    let from = in_field("from", unless_empty(&request.from, PeerName::parse))?;
    let (revision, requests) = {
        let state = mesh.view.read();
        let scope = mesh.one_scope(&state, caller, &request.scope)?;
        let wanted = state.locks.release_requests(&scope).filter(|request| {
            holder.as_ref().is_none_or(|holder| request.holder == *holder)
                && from.as_ref().is_none_or(|from| request.from == *from)
        });
        let (requests, _) = PageSize::of(limits::PAGE)
            .fill(wanted.cloned(), |request| convert::release_request_size(request));
        (state.revision(), requests)
    };
    Ok(pb::ListReleaseRequestsResponse {
        header: mesh.header(revision),
        requests: requests.iter().map(|request| convert::release_request(request)).collect(),
    })
}

pub(super) fn check_fence(
    mesh: &Mesh,
    caller: &Caller,
    request: &pb::CheckFenceRequest,
) -> Result<pb::CheckFenceResponse, Refusal> {
    let path = Target::parse("path", &request.path)?;
    let token = FencingToken(Revision(request.fencing_token));
    let state = mesh.view.read();
    let scope = mesh.one_scope(&state, caller, &request.scope)?;
    let (valid, lock) = match state.check_fence(&scope, &path, token) {
        Ok(lock) => (true, Some(lock)),
        Err(current) => (false, current),
    };
    let lock = to_wire(&as_they_stand(mesh, &state, lock.into_iter().collect())).pop();
    Ok(pb::CheckFenceResponse { header: mesh.header(state.revision()), valid, lock })
}

fn target(path: &str) -> Result<Option<Target>, Refusal> {
    Ok(unless_empty(path, |path| Target::parse("path", path))?)
}
