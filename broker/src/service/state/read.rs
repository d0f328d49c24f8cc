//! Reading entries: what a session is sent with its value, it has read.

use std::sync::Arc;

use mesh_core::id::{EntryKey, ScopeId};
use mesh_core::limits;
use mesh_core::record::EntryRecord;
use mesh_core::revision::{Revision, Version};
use mesh_core::state::PageSize;
use mesh_core::state::entries::EntryFilter;
use mesh_core::{Rejection, State};
use mesh_proto::v1 as pb;

use crate::service::auth::Caller;
use crate::service::convert::{entries as convert, size};
use crate::service::search::{Hit, words};
use crate::service::status::Refusal;
use crate::service::{Mesh, page};

pub(super) fn get(
    mesh: &Mesh,
    caller: &Caller,
    request: &pb::GetRequest,
) -> Result<pb::GetResponse, Refusal> {
    let key = EntryKey::parse(&request.key)?;
    let (revision, entry, is_present) = {
        let state = mesh.view.read();
        let scope = mesh.one_scope(&state, caller, &request.scope)?;
        let present = state.entries.get(&scope, &key);
        let entry = match Version(request.version) {
            Version(0) => present.cloned().ok_or(Rejection::KeyNotFound { key })?,
            version => former(&state, &scope, key, version)?,
        };
        let is_present = present.is_some_and(|present| present.revision == entry.revision);
        (state.revision(), entry, is_present)
    };
    if is_present {
        mesh.reads.note_entries(caller.session, [&entry]);
    }
    Ok(pb::GetResponse { header: mesh.header(revision), entry: Some(convert::entry(&entry)) })
}

/// A version of a key that may have been replaced since.
fn former(
    state: &State,
    scope: &ScopeId,
    key: EntryKey,
    version: Version,
) -> Result<Arc<EntryRecord>, Rejection> {
    let (versions, _) = state.entries.versions(scope, &key);
    if versions.is_empty() {
        return Err(Rejection::KeyNotFound { key });
    }
    let found = versions.into_iter().find(|entry| entry.version == version);
    found.ok_or(Rejection::VersionNotFound { key, version })
}

pub(super) async fn list(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::ListEntriesRequest,
) -> Result<pb::ListEntriesResponse, Refusal> {
    let after: Option<EntryKey> = page::after(&request.page_token)?;
    let page_size = PageSize::of(size(request.page_size));
    let named = std::mem::take(&mut request.scope);
    let reader = caller.session.filter(|_| !request.peek);
    let filter = convert::filter(request)?;
    let by_key = EntryFilter { prefix: filter.prefix.clone(), ..EntryFilter::default() };
    let scope = mesh.one_scope(&mesh.view.read(), &caller, &named)?;
    let (revision, entries, more) = if filter == by_key {
        let state = mesh.view.read();
        let found = state.entries.list(&scope, &filter, after.as_ref()).cloned();
        let (entries, more) = page_size.fill(found, |entry| convert::entry_size(entry));
        (state.revision(), entries, more)
    } else {
        sift(mesh, &scope, &by_key, after.as_ref(), filter, page_size).await?
    };
    let last = entries.last().filter(|_| more);
    let next_page_token = last.map(|entry| page::token(&entry.key)).unwrap_or_default();
    mesh.reads.note_entries(reader, &entries);
    Ok(pb::ListEntriesResponse {
        header: mesh.header(revision),
        next_page_token,
        entries: entries.iter().map(|entry| convert::entry(entry)).collect(),
    })
}

/// Looks into each entry. Where few match that takes long, so it happens on what the view held at one revision,
/// without keeping the writer from going on, nor the other calls.
async fn sift(
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

pub(super) async fn search(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::SearchEntriesRequest,
) -> Result<pb::SearchEntriesResponse, Refusal> {
    let (default, max) = limits::HITS;
    let limit = if request.limit == 0 { default } else { size(request.limit).min(max) };
    let named = std::mem::take(&mut request.scope);
    let reader = caller.session.filter(|_| !request.peek);
    let (query, filter) = convert::search(request)?;
    let scope = mesh.one_scope(&mesh.view.read(), &caller, &named)?;
    let (revision, hits) =
        mesh.indices.find(mesh, &scope, words(&query), filter, PageSize::of(limit)).await?;
    mesh.reads.note_entries(reader, hits.iter().map(|hit| &hit.entry));
    let hit =
        |Hit { entry, score }: &Hit| pb::SearchHit { entry: Some(convert::entry(entry)), score: *score };
    Ok(pb::SearchEntriesResponse { header: mesh.header(revision), hits: hits.iter().map(hit).collect() })
}

pub(super) fn versions(
    mesh: &Mesh,
    caller: &Caller,
    request: &pb::ListVersionsRequest,
) -> Result<pb::ListVersionsResponse, Refusal> {
    let key = EntryKey::parse(&request.key)?;
    let (revision, versions, deleted) = {
        let state = mesh.view.read();
        let scope = mesh.one_scope(&state, caller, &request.scope)?;
        let (versions, deleted) = state.entries.versions(&scope, &key);
        (state.revision(), versions, deleted)
    };
    if versions.is_empty() {
        return Err(Rejection::KeyNotFound { key }.into());
    }
    if !deleted {
        mesh.reads.note_entries(caller.session, versions.first());
    }
    Ok(pb::ListVersionsResponse {
        header: mesh.header(revision),
        versions: versions.iter().map(|entry| convert::entry(entry)).collect(),
        deleted,
    })
}

pub(super) fn policies(
    mesh: &Mesh,
    caller: &Caller,
    request: &pb::ListPoliciesRequest,
) -> Result<pb::ListPoliciesResponse, Refusal> {
    let state = mesh.view.read();
    let scope = mesh.one_scope(&state, caller, &request.scope)?;
    let policies = state.entries.policies(&scope);
    Ok(pb::ListPoliciesResponse {
        header: mesh.header(state.revision()),
        policies: policies.map(|policy| convert::policy(&policy.prefix, Some(policy.kind))).collect(),
    })
}
