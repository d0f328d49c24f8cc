//! Entries by words, the best match first.
//!
//! Owned by the services alone, beside the writer's way: the index of a scope is made at its first search, and each
//! search first takes in what the event log tells of since the last. What must hold: an answer shows one revision, and
//! every write that was acknowledged before the search began.

mod index;
mod words;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_core::event::Event;
use mesh_core::id::{EntryKey, ScopeId};
use mesh_core::record::EntryRecord;
use mesh_core::revision::Revision;
use mesh_core::state::PageSize;
use mesh_core::state::entries::EntryFilter;
use mesh_core::{State, limits};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::coop::consume_budget;

pub(super) use self::index::Hit;
use self::index::Index;
pub(super) use self::words::words;
use super::Mesh;
use super::status::Refusal;

/// Transactions of a scope that are looked at to catch up; beyond that its index is made anew.
const CATCH_UP: usize = 2_048;
/// How often catching up is tried in a scope that changes meanwhile.
const ATTEMPTS: usize = 8;

/// The indices of the scopes that were searched of late, the latest last.
#[derive(Clone, Debug, Default)]
pub struct Indices(Arc<Mutex<Vec<Kept>>>);

/// The index of a scope, and about how many bytes it takes.
#[derive(Clone, Debug)]
struct Kept {
    scope: ScopeId,
    index: Shared,
    bytes: usize,
}

/// One scope's index, which one search at a time uses.
type Shared = Arc<AsyncMutex<Index>>;

/// What an index must take in to show a revision.
enum Changes {
    /// These entries are all there are.
    All(Vec<Arc<EntryRecord>>),
    /// These keys were written or deleted.
    Some(Vec<(EntryKey, Option<Arc<EntryRecord>>)>),
}

impl Indices {
    /// Finds the entries of a scope that hold some of the words and pass the filter, and the revision they are of.
    pub(super) async fn find(
        &self,
        mesh: &Mesh,
        scope: &ScopeId,
        words: Vec<String>,
        filter: EntryFilter,
        page: PageSize,
    ) -> Result<(Revision, Vec<Hit>), Refusal> {
        if let Some(revision) = empty_at(&mesh.view.read(), scope) {
            self.forget(scope);
            return Ok((revision, Vec::new()));
        }
        let mut index = self.of(scope).lock_owned().await;
        let (revision, changes) = changes(mesh, scope, index.shows()).await?;
        // Splitting texts and going through what is common takes long.
        let searching = tokio::task::spawn_blocking(move || {
            match changes {
                Changes::All(entries) => *index = Index::of(entries),
                Changes::Some(changes) => changes.into_iter().for_each(|(key, entry)| index.put(&key, entry)),
            }
            index.set_shows(revision);
            let hits = index.rank(words, &filter, page);
            let bytes = index.weight_in_memory();
            if bytes <= limits::INDEX_BYTES {
                return (hits, bytes);
            }
            // Too large to be kept, but not to be used: one search at a time makes it.
            *index = Index::default();
            (hits, 0)
        });
        // The task ends early only with the runtime.
        let (hits, bytes) = searching.await.map_err(|_| Refusal::Draining)?;
        self.note(scope, bytes);
        Ok((revision, hits))
    }

    /// The index of a scope takes so much; those that were searched longest ago give way to it.
    fn note(&self, scope: &ScopeId, bytes: usize) {
        let mut indices = self.indices();
        if let Some(kept) = indices.iter_mut().find(|kept| kept.scope == *scope) {
            kept.bytes = bytes;
        }
        let mut all: usize = indices.iter().map(|kept| kept.bytes).sum();
        indices.retain(|kept| {
            let stays = all <= limits::INDEX_BYTES || kept.scope == *scope;
            if !stays {
                all -= kept.bytes;
            }
            stays
        });
    }

    /// The index of a scope, which then is the last to give way.
    fn of(&self, scope: &ScopeId) -> Shared {
        let mut indices = self.indices();
        let found = indices.iter().position(|kept| kept.scope == *scope).map(|at| indices.remove(at));
        let new = || Kept { scope: scope.clone(), index: Shared::default(), bytes: 0 };
        let found = found.unwrap_or_else(new);
        if indices.len() >= limits::INDICES {
            indices.remove(0);
        }
        indices.push(found.clone());
        found.index
    }

    fn forget(&self, scope: &ScopeId) {
        self.indices().retain(|kept| kept.scope != *scope);
    }

    fn indices(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The revision at which a scope has no entries.
fn empty_at(state: &State, scope: &ScopeId) -> Option<Revision> {
    let is_empty = state.entries.list(scope, &EntryFilter::default(), None).next().is_none();
    is_empty.then(|| state.revision())
}

/// What an index must take in, and the revision that it shows then.
async fn changes(
    mesh: &Mesh,
    scope: &ScopeId,
    shows: Option<Revision>,
) -> Result<(Revision, Changes), Refusal> {
    let Some(mut known) = shows else { return Ok(all(mesh, scope)) };
    let mut keys = BTreeSet::new();
    for _ in 0..ATTEMPTS {
        let head = last_change(&mesh.view.read(), scope);
        if !collect(mesh, head, known, &mut keys).await? {
            break;
        }
        known = known.max(head);
        let state = mesh.view.read();
        if last_change(&state, scope) == head {
            let present = |key: EntryKey| (state.entries.get(scope, &key).cloned(), key);
            let changes = keys.into_iter().map(present).map(|(entry, key)| (key, entry)).collect();
            return Ok((state.revision(), Changes::Some(changes)));
        }
    }
    Ok(all(mesh, scope))
}

fn all(mesh: &Mesh, scope: &ScopeId) -> (Revision, Changes) {
    let state = mesh.view.read();
    let entries = state.entries.list(scope, &EntryFilter::default(), None).cloned().collect();
    (state.revision(), Changes::All(entries))
}

/// The revision at which something last happened in a scope.
fn last_change(state: &State, scope: &ScopeId) -> Revision {
    state.heads(Some(scope)).next().map_or(Revision::ZERO, |head| head.last_revision)
}

/// Collects the keys that changed after `known`, going back along the scope's own transactions; false when that is too
/// far, or further than the history goes.
async fn collect(
    mesh: &Mesh,
    head: Revision,
    known: Revision,
    keys: &mut BTreeSet<EntryKey>,
) -> Result<bool, Refusal> {
    mesh.events.reached(head).await?;
    let mut at = head;
    for _ in 0..CATCH_UP {
        if at <= known {
            return Ok(true);
        }
        consume_budget().await;
        let Some(log) = mesh.events.get(at).await? else { return Ok(false) };
        keys.extend(log.events.iter().filter_map(changed).cloned());
        at = log.prev_revision;
    }
    Ok(false)
}

/// The key whose entry an event is about.
fn changed(event: &Event) -> Option<&EntryKey> {
    if let Event::StateChanged { key, .. } | Event::StateDeleted { key, .. } = event {
        Some(key)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(number: usize) -> ScopeId {
        ScopeId::parse(&format!("acme/{number}")).unwrap()
    }

    fn kept(indices: &Indices) -> Vec<String> {
        indices.indices().iter().map(|kept| kept.scope.to_string()).collect()
    }

    #[test]
    fn indices_are_bounded_in_number_and_in_bytes() {
        let indices = Indices::default();
        for number in 0..limits::INDICES + 4 {
            indices.of(&scope(number));
            indices.note(&scope(number), 1_000);
        }
        assert_eq!(kept(&indices).len(), limits::INDICES);
        indices.of(&scope(4));
        indices.note(&scope(4), limits::INDEX_BYTES - 2_000);
        assert_eq!(kept(&indices), ["acme/18", "acme/19", "acme/4"], "those searched of late");
        indices.note(&scope(4), limits::INDEX_BYTES);
        assert_eq!(kept(&indices), ["acme/4"]);
    }
}
