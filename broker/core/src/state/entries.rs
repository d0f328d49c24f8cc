//! Entries: versioned values, with compare-and-swap.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::deadlines::Due;
use super::{Change, State, Step};
use crate::command::{Delete, Precondition, Put, Restore, SetPolicy, Transact};
use crate::event::{DeleteCause, Event, preview};
use crate::id::{EntryKey, PeerName, ScopeId};
use crate::limits;
use crate::outcome::{EntryMeta, Outcome};
use crate::record::{EntryRecord, PastRecord, PeerRecord, PolicyRecord, Record, RecordKey, Write};
use crate::rejection::{Rejection, WriteConflict};
use crate::revision::Version;
use crate::target::Target;
use crate::time::Now;

/// All entries, by scope and key.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    by_scope: BTreeMap<ScopeId, BTreeMap<EntryKey, Arc<EntryRecord>>>,
    count: usize,
}

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

    /// An entry by its key.
    #[must_use]
    pub fn get(&self, scope: &ScopeId, key: &EntryKey) -> Option<&Arc<EntryRecord>> {
        self.by_scope.get(scope)?.get(key)
    }

    /// The kept versions of a key, newest first, the present one among them; true when the key is deleted.
    #[must_use]
    pub fn versions(&self, _scope: &ScopeId, _key: &EntryKey) -> (Vec<Arc<EntryRecord>>, bool) {
        (Vec::new(), false)
    }

    /// One version of a key, if it is kept.
    #[must_use]
    pub fn version(&self, scope: &ScopeId, key: &EntryKey, version: Version) -> Option<Arc<EntryRecord>> {
        self.versions(scope, key).0.into_iter().find(|entry| entry.version == version)
    }

    /// The policies of a scope, by prefix.
    pub fn policies(&self, _scope: &ScopeId) -> impl Iterator<Item = &PolicyRecord> {
        std::iter::empty()
    }

    /// The entries of a scope one of whose paths overlaps a target, each once, in no order that matters.
    pub fn about<'a>(
        &'a self,
        scope: &ScopeId,
        target: &'a Target,
    ) -> impl Iterator<Item = &'a Arc<EntryRecord>> {
        let overlaps = |entry: &&Arc<EntryRecord>| entry.paths.iter().any(|path| path.intersects(target));
        self.by_scope.get(scope).into_iter().flat_map(BTreeMap::values).filter(overlaps)
    }

    /// Entries of a scope that pass a filter, by key, after a key.
    pub fn list<'a>(
        &'a self,
        scope: &ScopeId,
        filter: &'a EntryFilter,
        after: Option<&'a EntryKey>,
    ) -> impl Iterator<Item = &'a Arc<EntryRecord>> {
        let from = match after {
            Some(key) if key.as_str() >= filter.prefix.as_str() => Bound::Excluded(key.as_str()),
            Some(_) | None => Bound::Included(filter.prefix.as_str()),
        };
        self.by_scope
            .get(scope)
            .into_iter()
            .flat_map(move |entries| entries.range::<str, _>((from, Bound::Unbounded)))
            .take_while(|(key, _)| key.as_str().starts_with(&filter.prefix))
            .map(|(_, entry)| entry)
            .filter(|entry| filter.matches(entry))
    }

    /// All entries of one scope, or of all.
    pub fn all<'a>(&'a self, scope: Option<&'a ScopeId>) -> impl Iterator<Item = &'a Arc<EntryRecord>> {
        let of_scope = move |(at, _): &(&ScopeId, _)| scope.is_none_or(|scope| scope == *at);
        self.by_scope.iter().filter(of_scope).flat_map(|(_, entries)| entries.values())
    }
}

impl std::borrow::Borrow<str> for EntryKey {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl State {
    pub(super) fn decide_put(
        &self,
        caller: &Arc<PeerRecord>,
        put: &Put,
        now: Now,
    ) -> Result<Step, Rejection> {
        let scope = writable(caller, put.scope.as_ref())?;
        let former = self.entries.get(&scope, &put.key);
        check(put.precondition, &put.key, former)?;
        if former.is_none() && self.entries.count >= limits::ENTRIES {
            return Err(Rejection::LimitReached { what: "entries", limit: limits::ENTRIES });
        }
        let revision = self.next_revision();
        let entry = EntryRecord {
            scope: scope.clone(),
            key: put.key.clone(),
            value: put.value.clone(),
            version: Version(former.map_or(1, |former| former.version.0 + 1)),
            revision,
            create_revision: former.map_or(revision, |former| former.create_revision),
            writer: caller.name.clone(),
            at: now.at,
            written: now.wall,
            paths: put.paths.clone(),
            tags: put.tags.clone(),
            ttl: put.ttl,
        };
        let event = Event::StateChanged {
            key: entry.key.clone(),
            version: entry.version,
            writer: entry.writer.clone(),
            size: u32::try_from(entry.value.len()).unwrap_or(u32::MAX),
            preview: preview(&entry.value),
            paths: entry.paths.clone(),
            tags: entry.tags.clone(),
        };
        Ok(Step::Change(Change {
            scope,
            actor: Some(caller.name.clone()),
            outcome: Outcome::Written(meta(&entry)),
            writes: vec![Write::Put(Record::Entry(Arc::new(entry)))],
            events: vec![event],
            handover_due: None,
        }))
    }

    pub(super) fn decide_transact(
        &self,
        _caller: &Arc<PeerRecord>,
        _transact: &Transact,
        _now: Now,
    ) -> Result<Step, Rejection> {
        Err(Rejection::invalid("operations", "STUB"))
    }

    pub(super) fn decide_restore(
        &self,
        _caller: &Arc<PeerRecord>,
        _restore: &Restore,
        _now: Now,
    ) -> Result<Step, Rejection> {
        Err(Rejection::invalid("version", "STUB"))
    }

    pub(super) fn decide_set_policy(
        &self,
        _caller: &Arc<PeerRecord>,
        _policy: &SetPolicy,
    ) -> Result<Step, Rejection> {
        Err(Rejection::invalid("prefix", "STUB"))
    }

    pub(super) fn decide_past_expiry(&self, _scope: &ScopeId, _key: &EntryKey) -> Step {
        Step::Answer(Outcome::Done)
    }

    pub(super) fn apply_past(&mut self, _record: &Arc<PastRecord>) {}

    pub(super) fn remove_past(&mut self, _scope: &ScopeId, _key: &EntryKey, _slot: u8) {}

    pub(super) fn apply_policy(&mut self, _record: &PolicyRecord) {}

    pub(super) fn remove_policy(&mut self, _scope: &ScopeId, _prefix: &str) {}

    pub(super) fn decide_delete(
        &self,
        caller: &Arc<PeerRecord>,
        delete: &Delete,
        _now: Now,
    ) -> Result<Step, Rejection> {
        let scope = writable(caller, delete.scope.as_ref())?;
        let former = self.entries.get(&scope, &delete.key);
        check(delete.precondition, &delete.key, former)?;
        let entry = former.ok_or_else(|| Rejection::KeyNotFound { key: delete.key.clone() })?;
        Ok(Step::Change(removal(entry, Some(caller.name.clone()), DeleteCause::Deleted, Outcome::Deleted)))
    }

    pub(super) fn decide_entry_expiry(&self, scope: &ScopeId, key: &EntryKey, _now: Now) -> Step {
        match self.entries.get(scope, key) {
            Some(entry) => Step::Change(removal(entry, None, DeleteCause::Expired, Outcome::Done)),
            None => Step::Answer(Outcome::Done),
        }
    }

    pub(super) fn apply_entry(&mut self, record: &Arc<EntryRecord>) {
        let entries = self.entries.by_scope.entry(record.scope.clone()).or_default();
        if entries.insert(record.key.clone(), record.clone()).is_none() {
            self.entries.count += 1;
        }
        let due = Due::Entry(record.scope.clone(), record.key.clone());
        match record.ttl {
            Some(ttl) => self.deadlines.set(due, record.at.after(ttl)),
            None => self.deadlines.clear(&due),
        }
    }

    pub(super) fn remove_entry(&mut self, scope: &ScopeId, key: &EntryKey) {
        if let Some(entries) = self.entries.by_scope.get_mut(scope)
            && entries.remove(key).is_some()
        {
            self.entries.count -= 1;
            if entries.is_empty() {
                self.entries.by_scope.remove(scope);
            }
        }
        self.deadlines.clear(&Due::Entry(scope.clone(), key.clone()));
    }
}

/// The scope that a peer's write goes to: its own, or `global`.
fn writable(caller: &PeerRecord, asked: Option<&ScopeId>) -> Result<ScopeId, Rejection> {
    match asked {
        None => Ok(caller.scope.clone()),
        Some(scope) if *scope == caller.scope || *scope == ScopeId::global() => Ok(scope.clone()),
        Some(scope) => Err(Rejection::PermissionDenied {
            what: format!("{} may write to its own scope and to `global`, not to {scope}", caller.name),
        }),
    }
}

/// Whether a precondition holds.
fn check(
    precondition: Precondition,
    key: &EntryKey,
    entry: Option<&Arc<EntryRecord>>,
) -> Result<(), Rejection> {
    let mismatch = |entry: &Arc<EntryRecord>| {
        Rejection::VersionMismatch(Box::new(WriteConflict {
            base: None,
            theirs: entry.clone(),
            fields: Vec::new(),
        }))
    };
    match (precondition, entry) {
        (Precondition::Any | Precondition::LastRead(_), _) | (Precondition::MustNotExist, None) => Ok(()),
        (Precondition::MustNotExist, Some(entry)) => {
            Err(Rejection::KeyExists { key: key.clone(), version: entry.version, revision: entry.revision })
        }
        (Precondition::Version(version), Some(entry)) if entry.version == version => Ok(()),
        (Precondition::Revision(revision), Some(entry)) if entry.revision == revision => Ok(()),
        (Precondition::Version(_) | Precondition::Revision(_), Some(entry)) => Err(mismatch(entry)),
        (Precondition::Version(_) | Precondition::Revision(_), None) => {
            Err(Rejection::KeyNotFound { key: key.clone() })
        }
    }
}

fn removal(entry: &EntryRecord, actor: Option<PeerName>, cause: DeleteCause, outcome: Outcome) -> Change {
    Change {
        scope: entry.scope.clone(),
        actor,
        writes: vec![Write::Delete(RecordKey::Entry(entry.scope.clone(), entry.key.clone()))],
        events: vec![Event::StateDeleted {
            key: entry.key.clone(),
            version: entry.version,
            cause,
            paths: entry.paths.clone(),
        }],
        outcome,
        handover_due: None,
    }
}

fn meta(entry: &EntryRecord) -> EntryMeta {
    EntryMeta {
        scope: entry.scope.clone(),
        key: entry.key.clone(),
        version: entry.version,
        revision: entry.revision,
        create_revision: entry.create_revision,
        writer: entry.writer.clone(),
        written: entry.written,
        paths: entry.paths.clone(),
        tags: entry.tags.clone(),
        ttl: entry.ttl,
    }
}
