//! Entries: versioned values of a scope, what they were before, and how writes to them treat each other.
//!
//! Owns the index of what is there; `write` decides what becomes of it. The former versions kept of a key are
//! without a gap and end just below the present one, or with the last one if the key is deleted.

mod history;
mod merge;
mod policies;
mod rules;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::State;
use super::deadlines::Due;
use crate::id::{EntryKey, ScopeId};
use crate::limits;
use crate::mutation::{Mutation, planted};
use crate::record::{EntryRecord, PastRecord, PolicyKind, PolicyRecord};
use crate::rejection::Rejection;
use crate::revision::Version;
use crate::target::Target;
use crate::target::index::TargetIndex;
use crate::time::Millis;
use history::Deleted;

pub(super) use write::Content;

/// All entries, by scope and key, with their former versions and the policies.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    by_scope: BTreeMap<ScopeId, Shelf>,
    count: usize,
    deleted: Deleted,
}

/// What is remembered in one scope.
#[derive(Clone, Debug, Default)]
struct Shelf {
    present: BTreeMap<EntryKey, Arc<EntryRecord>>,
    /// Former versions, oldest first.
    past: BTreeMap<EntryKey, Vec<Arc<PastRecord>>>,
    policies: BTreeMap<String, PolicyRecord>,
    /// Keys of the present entries by what they are about.
    by_path: TargetIndex<BTreeSet<EntryKey>>,
}

/// A key of a scope with its entry and its former versions.
pub(super) type Kept<'a> = (&'a ScopeId, &'a EntryKey, Option<&'a Arc<EntryRecord>>, &'a [Arc<PastRecord>]);

/// Which entries to list: all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// How the key begins.
    pub prefix: String,
    /// What one of the entry's paths must intersect.
    pub path: Option<Target>,
    /// Tags the entry must carry.
    pub tags: Vec<String>,
}

impl EntryFilter {
    /// True when the entry passes, whatever its key.
    #[must_use]
    pub fn matches(&self, entry: &EntryRecord) -> bool {
        let on_path = |path: &Target| entry.paths.iter().any(|at| at.intersects(path));
        self.path.as_ref().is_none_or(on_path) && self.tags.iter().all(|tag| entry.tags.contains(tag))
    }
}

impl Entries {
    /// How many entries there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether so many more entries may be in a scope.
    pub(super) fn check_room(&self, scope: &ScopeId, more: usize) -> Result<(), Rejection> {
        let here = self.by_scope.get(scope).map_or(0, |shelf| shelf.present.len());
        room(here + more, self.count + more)
    }

    /// Every key with its entry, if it has one, and its former versions, oldest first.
    pub(super) fn with_versions(&self) -> impl Iterator<Item = Kept<'_>> {
        self.by_scope.iter().flat_map(|(scope, shelf)| {
            let keys: BTreeSet<&EntryKey> = shelf.present.keys().chain(shelf.past.keys()).collect();
            keys.into_iter().map(move |key| {
                let past = shelf.past.get(key).map(Vec::as_slice).unwrap_or_default();
                (scope, key, shelf.present.get(key), past)
            })
        })
    }

    /// An entry by its key.
    #[must_use]
    pub fn get(&self, scope: &ScopeId, key: &EntryKey) -> Option<&Arc<EntryRecord>> {
        self.by_scope.get(scope)?.present.get(key)
    }

    /// The kept versions of a key, newest first, the present one among them; true when the key is deleted.
    #[must_use]
    pub fn versions(&self, scope: &ScopeId, key: &EntryKey) -> (Vec<Arc<EntryRecord>>, bool) {
        let present = self.get(scope, key);
        let past = self.past(scope, key).iter().rev().map(|past| &past.entry);
        let versions: Vec<_> = present.into_iter().chain(past).cloned().collect();
        let deleted = present.is_none() && !versions.is_empty();
        (versions, deleted)
    }

    /// One version of a key, if it is kept.
    #[must_use]
    pub fn version(&self, scope: &ScopeId, key: &EntryKey, version: Version) -> Option<Arc<EntryRecord>> {
        self.kept(scope, key, |entry| entry.version == version)
    }

    /// The policies of a scope, by prefix.
    pub fn policies(&self, scope: &ScopeId) -> impl Iterator<Item = &PolicyRecord> {
        self.by_scope.get(scope).into_iter().flat_map(|shelf| shelf.policies.values())
    }

    /// The policy that holds for a key: that of the longest prefix set for the scope.
    #[must_use]
    pub fn policy(&self, scope: &ScopeId, key: &EntryKey) -> PolicyKind {
        let Some(shelf) = self.by_scope.get(scope) else { return PolicyKind::default() };
        // Of the texts that a key begins with, the longer is the later in order.
        let up_to_key = (Bound::Unbounded, Bound::Included(key.as_str()));
        let mut before = shelf.policies.range::<str, _>(up_to_key).rev();
        let longest = before.find(|(prefix, _)| key.as_str().starts_with(prefix.as_str()));
        longest.map_or_else(PolicyKind::default, |(_, policy)| policy.kind)
    }

    /// The entries of a scope one of whose paths overlaps a target, each once, by key.
    pub fn about<'a>(
        &'a self,
        scope: &ScopeId,
        target: &'a Target,
    ) -> impl Iterator<Item = &'a Arc<EntryRecord>> {
        self.by_scope.get(scope).into_iter().flat_map(move |shelf| shelf.about(target))
    }

    /// Entries of a scope that pass a filter, by key, after a key.
    pub fn list<'a>(
        &'a self,
        scope: &ScopeId,
        filter: &'a EntryFilter,
        after: Option<&'a EntryKey>,
    ) -> impl Iterator<Item = &'a Arc<EntryRecord>> {
        let shelf = self.by_scope.get(scope).into_iter();
        shelf.flat_map(move |shelf| shelf.candidates(filter, after)).filter(|entry| filter.matches(entry))
    }

    /// All entries of one scope, or of all.
    pub fn all<'a>(&'a self, scope: Option<&'a ScopeId>) -> impl Iterator<Item = &'a Arc<EntryRecord>> {
        let of_scope = move |(at, _): &(&ScopeId, _)| scope.is_none_or(|scope| scope == *at);
        self.by_scope.iter().filter(of_scope).flat_map(|(_, shelf)| shelf.present.values())
    }

    /// Former versions of a key, oldest first.
    fn past(&self, scope: &ScopeId, key: &EntryKey) -> &[Arc<PastRecord>] {
        let past = self.by_scope.get(scope).and_then(|shelf| shelf.past.get(key));
        past.map_or(&[], Vec::as_slice)
    }

    /// The newest version of a key, present or not, that fits.
    fn kept(
        &self,
        scope: &ScopeId,
        key: &EntryKey,
        fits: impl Fn(&EntryRecord) -> bool,
    ) -> Option<Arc<EntryRecord>> {
        let past = self.past(scope, key).iter().rev().map(|past| &past.entry);
        self.get(scope, key).into_iter().chain(past).find(|entry| fits(entry)).cloned()
    }

    /// Changes what is remembered in a scope.
    fn with_shelf(&mut self, scope: &ScopeId, change: impl FnOnce(&mut Shelf)) {
        let shelf = self.by_scope.entry(scope.clone()).or_default();
        change(shelf);
        if shelf.is_empty() {
            self.by_scope.remove(scope);
        }
    }
}

impl Shelf {
    fn is_empty(&self) -> bool {
        self.present.is_empty() && self.past.is_empty() && self.policies.is_empty()
    }

    /// The entries one of whose paths overlaps a target, each once, by key.
    fn about<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = &'a Arc<EntryRecord>> {
        let keys: BTreeSet<&EntryKey> = self.by_path.overlapping(target).flat_map(|(_, keys)| keys).collect();
        keys.into_iter().filter_map(|key| self.present.get(key))
    }

    /// The entries, by key, among which those are that pass a filter.
    fn candidates<'a>(
        &'a self,
        filter: &'a EntryFilter,
        after: Option<&'a EntryKey>,
    ) -> Box<dyn Iterator<Item = &'a Arc<EntryRecord>> + 'a> {
        let begins = |key: &EntryKey| key.as_str().starts_with(&filter.prefix);
        if let Some(path) = &filter.path {
            let follows = move |key: &EntryKey| after.is_none_or(|after| key > after);
            return Box::new(self.about(path).filter(move |at| begins(&at.key) && follows(&at.key)));
        }
        let from = match after {
            Some(key) if key.as_str() >= filter.prefix.as_str() => Bound::Excluded(key.as_str()),
            Some(_) | None => Bound::Included(filter.prefix.as_str()),
        };
        let range = self.present.range::<str, _>((from, Bound::Unbounded));
        Box::new(range.take_while(move |(key, _)| begins(key)).map(|(_, entry)| entry))
    }

    /// Puts an entry in the place of the one of its key, which is returned.
    fn insert(&mut self, record: &Arc<EntryRecord>) -> Option<Arc<EntryRecord>> {
        let former = self.remove(&record.key);
        for path in &record.paths {
            self.by_path.entry(path).insert(record.key.clone());
        }
        self.present.insert(record.key.clone(), record.clone());
        former
    }

    fn remove(&mut self, key: &EntryKey) -> Option<Arc<EntryRecord>> {
        let former = self.present.remove(key)?;
        for path in &former.paths {
            if let Some(keys) = self.by_path.get_mut(path) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_path.remove(path);
                }
            }
        }
        Some(former)
    }
}

impl std::borrow::Borrow<str> for EntryKey {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl State {
    pub(super) fn apply_entry(&mut self, record: &Arc<EntryRecord>) {
        let mut former = None;
        self.entries.with_shelf(&record.scope, |shelf| former = shelf.insert(record));
        if former.is_none() {
            self.entries.count += 1;
        }
        let due = Due::Entry(record.scope.clone(), record.key.clone());
        match record.ttl {
            Some(ttl) if planted(Mutation::EntryTooShort) => {
                self.deadlines.set(due, record.at.after(Millis(ttl.0 / 2)));
            }
            Some(ttl) => self.deadlines.set(due, record.at.after(ttl)),
            None => self.deadlines.clear(&due),
        }
        self.settle_past(&record.scope, &record.key);
    }

    pub(super) fn remove_entry(&mut self, scope: &ScopeId, key: &EntryKey) {
        let mut former = None;
        self.entries.with_shelf(scope, |shelf| former = shelf.remove(key));
        if former.is_some() {
            self.entries.count -= 1;
        }
        self.deadlines.clear(&Due::Entry(scope.clone(), key.clone()));
        self.settle_past(scope, key);
    }
}

/// Whether there may be so many entries in a scope, and in the mesh.
fn room(here: usize, all: usize) -> Result<(), Rejection> {
    let bounds =
        [("entries of one scope", here, limits::ENTRIES_PER_SCOPE), ("entries", all, limits::ENTRIES)];
    match bounds.into_iter().find(|(_, count, limit)| count > limit) {
        Some((what, _, limit)) => Err(Rejection::LimitReached { what, limit }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_and_a_mesh_hold_only_so_many_entries() {
        let (scope, mesh) = (limits::ENTRIES_PER_SCOPE, limits::ENTRIES);
        let full = |what, limit| Err(Rejection::LimitReached { what, limit });
        assert_eq!(room(scope - 1, mesh - 1), Ok(()));
        assert_eq!(room(scope, mesh), Ok(()));
        assert_eq!(room(scope + 1, mesh), full("entries of one scope", scope));
        assert_eq!(room(scope, mesh + 1), full("entries", mesh));
    }
}
