//! Versioned entries: what agents remember together.

use std::sync::Arc;

use mesh_core::Rejection;
use mesh_core::command::Command;
use mesh_core::id::{EntryKey, ScopeId};
use mesh_core::outcome::Outcome;
use mesh_core::record::EntryRecord;
use mesh_core::revision::Revision;
use mesh_core::state::PageSize;
use mesh_core::state::entries::EntryFilter;
use mesh_proto::v1 as pb;
use pb::state_service_server::StateService;
use tonic::{Request, Response, Status};

use super::auth::Caller;
use super::convert::{entries as convert, request_key, size};
use super::status::Refusal;
use super::{Mesh, answer, misfit, page};

#[tonic::async_trait]
impl StateService for Mesh {
    async fn put(&self, request: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        answer(request, |caller, request| put(self, caller, request)).await
    }

    async fn get(&self, request: Request<pb::GetRequest>) -> Result<Response<pb::GetResponse>, Status> {
        answer(request, |caller, request| async move { get(self, &caller, &request) }).await
    }

    async fn list_entries(
        &self,
        request: Request<pb::ListEntriesRequest>,
    ) -> Result<Response<pb::ListEntriesResponse>, Status> {
        answer(request, |caller, request| list(self, caller, request)).await
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteRequest>,
    ) -> Result<Response<pb::DeleteResponse>, Status> {
        answer(request, |caller, request| delete(self, caller, request)).await
    }

    async fn search_entries(
        &self,
        request: Request<pb::SearchEntriesRequest>,
    ) -> Result<Response<pb::SearchEntriesResponse>, Status> {
        drop(request);
        Err(Status::unimplemented("STUB"))
    }

    async fn list_versions(
        &self,
        request: Request<pb::ListVersionsRequest>,
    ) -> Result<Response<pb::ListVersionsResponse>, Status> {
        drop(request);
        Err(Status::unimplemented("STUB"))
    }

    async fn restore(
        &self,
        request: Request<pb::RestoreRequest>,
    ) -> Result<Response<pb::RestoreResponse>, Status> {
        drop(request);
        Err(Status::unimplemented("STUB"))
    }

    async fn transact(
        &self,
        request: Request<pb::TransactRequest>,
    ) -> Result<Response<pb::TransactResponse>, Status> {
        drop(request);
        Err(Status::unimplemented("STUB"))
    }

    async fn set_policy(
        &self,
        request: Request<pb::SetPolicyRequest>,
    ) -> Result<Response<pb::SetPolicyResponse>, Status> {
        drop(request);
        Err(Status::unimplemented("STUB"))
    }

    async fn list_policies(
        &self,
        request: Request<pb::ListPoliciesRequest>,
    ) -> Result<Response<pb::ListPoliciesResponse>, Status> {
        drop(request);
        Err(Status::unimplemented("STUB"))
    }
}

async fn put(mesh: &Mesh, caller: Caller, mut request: pb::PutRequest) -> Result<pb::PutResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("Put", &id, &request)?;
    let command = Command::Put(convert::put(request)?);
    let reply = mesh.submit(Some(session), key, command).await?;
    let Outcome::Written(meta) = reply.outcome else { return Err(misfit("Put")) };
    Ok(pb::PutResponse { header: mesh.header(reply.revision), entry: Some(convert::meta(meta)) })
}

async fn delete(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::DeleteRequest,
) -> Result<pb::DeleteResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("Delete", &id, &request)?;
    let command = Command::Delete(convert::delete(&request)?);
    let reply = mesh.submit(Some(session), key, command).await?;
    let Outcome::Deleted = reply.outcome else { return Err(misfit("Delete")) };
    Ok(pb::DeleteResponse { header: mesh.header(reply.revision) })
}

fn get(mesh: &Mesh, caller: &Caller, request: &pb::GetRequest) -> Result<pb::GetResponse, Refusal> {
    let key = EntryKey::parse(&request.key)?;
    let (revision, entry) = {
        let state = mesh.view.read();
        let scope = mesh.scope_of(&state, caller, &request.scope)?.ok_or_else(no_scope)?;
        (state.revision(), state.entries.get(&scope, &key).cloned())
    };
    let entry = entry.ok_or(Rejection::KeyNotFound { key })?;
    Ok(pb::GetResponse { header: mesh.header(revision), entry: Some(convert::entry(&entry)) })
}

async fn list(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::ListEntriesRequest,
) -> Result<pb::ListEntriesResponse, Refusal> {
    let after: Option<EntryKey> = page::after(&request.page_token)?;
    let page_size = PageSize::of(size(request.page_size));
    let named = std::mem::take(&mut request.scope);
    let filter = convert::filter(request)?;
    let by_key = EntryFilter { prefix: filter.prefix.clone(), ..EntryFilter::default() };
    let scope = mesh.scope_of(&mesh.view.read(), &caller, &named)?.ok_or_else(no_scope)?;
    let (revision, entries, more) = if filter == by_key {
        let state = mesh.view.read();
        let found = state.entries.list(&scope, &filter, after.as_ref()).cloned();
        let (entries, more) = page_size.fill(found, |entry| convert::entry_size(entry));
        (state.revision(), entries, more)
    } else {
        search(mesh, &scope, &by_key, after.as_ref(), filter, page_size).await?
    };
    let last = entries.last().filter(|_| more);
    Ok(pb::ListEntriesResponse {
        header: mesh.header(revision),
        next_page_token: last.map(|entry| page::token(&entry.key)).unwrap_or_default(),
        entries: entries.iter().map(|entry| convert::entry(entry)).collect(),
    })
}

/// Looks into each entry. Where few match that takes long, so it happens on what the view held at one revision,
/// without keeping the writer from going on, nor the other calls.
async fn search(
    mesh: &Mesh,
    scope: &ScopeId,
    by_key: &EntryFilter,
    after: Option<&EntryKey>,
    filter: EntryFilter,
    page_size: PageSize,
) -> Result<(Revision, Vec<Arc<EntryRecord>>, bool), Refusal> {
    let (revision, candidates) = {
        let state = mesh.view.read();
        let found = state.entries.list(scope, by_key, after).cloned();
        (state.revision(), found.collect::<Vec<_>>())
    };
    let looking = tokio::task::spawn_blocking(move || {
        let found = candidates.into_iter().filter(|entry| filter.matches(entry));
        page_size.fill(found, |entry| convert::entry_size(entry))
    });
    // The task ends early only with the runtime.
    let (entries, more) = looking.await.map_err(|_| Refusal::Draining)?;
    Ok((revision, entries, more))
}

fn no_scope() -> Refusal {
    Rejection::invalid("scope", "is empty; name a scope, or call with a session to mean its own").into()
}
