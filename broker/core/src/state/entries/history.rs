//! What entries were before: a few former versions of each key, and of keys that are deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::id::{EntryKey, ScopeId};
use crate::limits;
use crate::outcome::Outcome;
use crate::record::{EntryRecord, PastRecord, Record, RecordKey, Write};
use crate::revision::Version;
use crate::state::deadlines::Due;
use crate::state::{Change, State, Step};
use crate::time::Timestamp;

use super::Entries;

/// The deleted keys whose versions are kept, the longest deleted first.
#[derive(Clone, Debug, Default)]
pub(super) struct Deleted {
    /// With the bytes of their versions.
    by_age: BTreeMap<(Timestamp, ScopeId, EntryKey), usize>,
    ended: BTreeMap<(ScopeId, EntryKey), Timestamp>,
    bytes: usize,
}

impl Deleted {
    fn insert(&mut self, scope: &ScopeId, key: &EntryKey, ended: Timestamp, bytes: usize) {
        self.ended.insert((scope.clone(), key.clone()), ended);
        self.by_age.insert((ended, scope.clone(), key.clone()), bytes);
        self.bytes += bytes;
    }

    fn remove(&mut self, scope: &ScopeId, key: &EntryKey) {
        let name = (scope.clone(), key.clone());
        let Some(ended) = self.ended.remove(&name) else { return };
        self.bytes -= self.by_age.remove(&(ended, name.0, name.1)).unwrap_or_default();
    }

    /// The key that gives way, when there are too many.
    fn excess(&self) -> Option<&(Timestamp, ScopeId, EntryKey)> {
        let (count, bytes) = limits::DELETED_KEYS;
        let (longest_deleted, _) = self.by_age.first_key_value()?;
        (self.by_age.len() > count || self.bytes > bytes).then_some(longest_deleted)
    }
}

impl Entries {
    /// The version that the next write of a key makes.
    pub(super) fn next_version(&self, scope: &ScopeId, key: &EntryKey) -> Version {
        let past = self.past(scope, key).last().map(|past| past.entry.version);
        let last = self.get(scope, key).map(|entry| entry.version).max(past);
        Version(last.map_or(1, |last| last.0 + 1))
    }

    /// Writes that delete all former versions of a key.
    pub(super) fn forget(&self, scope: &ScopeId, key: &EntryKey) -> impl Iterator<Item = Write> {
        let name = |past: &Arc<PastRecord>| {
            let entry = &past.entry;
            Write::Delete(RecordKey::Past(entry.scope.clone(), entry.key.clone(), past.slot()))
        };
        self.past(scope, key).iter().map(name)
    }

    /// Makes an entry that is being replaced or deleted a former version. It takes the slot of the oldest one, if
    /// there are as many as are kept; the oldest of the others go that are too many bytes.
    pub(super) fn retire(&self, change: &mut Change, entry: &Arc<EntryRecord>, ended: Timestamp) {
        let new = Arc::new(PastRecord { entry: entry.clone(), ended });
        let mut bytes = entry.bytes();
        let older = self.past(&entry.scope, &entry.key).iter().rev();
        for past in older.filter(|past| past.slot() != new.slot()) {
            bytes += past.entry.bytes();
            if bytes > limits::VERSIONS_KEPT.1 {
                let name = RecordKey::Past(entry.scope.clone(), entry.key.clone(), past.slot());
                change.writes.push(Write::Delete(name));
            }
        }
        change.writes.push(Write::Put(Record::Past(new)));
    }
}

impl State {
    /// Forgets the versions of a deleted key.
    pub(in crate::state) fn decide_past_expiry(&self, scope: &ScopeId, key: &EntryKey) -> Step {
        let writes: Vec<Write> = self.entries.forget(scope, key).collect();
        if writes.is_empty() {
            return Step::Answer(Outcome::Done);
        }
        Step::Change(Change { writes, ..Change::new(scope.clone(), None, Outcome::Done) })
    }

    pub(in crate::state) fn apply_past(&mut self, record: &Arc<PastRecord>) {
        let (scope, key) = (&record.entry.scope, &record.entry.key);
        self.entries.with_shelf(scope, |shelf| {
            let past = shelf.past.entry(key.clone()).or_default();
            past.retain(|other| other.slot() != record.slot());
            let at = past.partition_point(|other| other.entry.version < record.entry.version);
            past.insert(at, record.clone());
        });
        self.settle_past(scope, key);
    }

    pub(in crate::state) fn remove_past(&mut self, scope: &ScopeId, key: &EntryKey, slot: u8) {
        self.entries.with_shelf(scope, |shelf| {
            let Some(past) = shelf.past.get_mut(key) else { return };
            past.retain(|other| other.slot() != slot);
            if past.is_empty() {
                shelf.past.remove(key);
            }
        });
        self.settle_past(scope, key);
    }

    /// The versions of a deleted key have a deadline, those of a present one have none, in whatever order the
    /// records came. Where too many are deleted, the longest deleted is due at once: it goes before anything else
    /// happens.
    pub(super) fn settle_past(&mut self, scope: &ScopeId, key: &EntryKey) {
        let due = Due::Past(scope.clone(), key.clone());
        let past = self.entries.past(scope, key);
        let newest = past.last().filter(|_| self.entries.get(scope, key).is_none());
        let deleted = newest.map(|newest| {
            let bytes: usize = past.iter().map(|past| past.entry.bytes()).sum();
            (newest.ended, bytes)
        });
        self.entries.deleted.remove(scope, key);
        match deleted {
            Some((ended, bytes)) => {
                self.entries.deleted.insert(scope, key, ended, bytes);
                self.deadlines.set(due, ended.after(limits::DELETED_RETENTION));
            }
            None => self.deadlines.clear(&due),
        }
        if let Some((ended, scope, key)) = self.entries.deleted.excess() {
            self.deadlines.set_earlier(Due::Past(scope.clone(), key.clone()), *ended);
        }
    }
}
