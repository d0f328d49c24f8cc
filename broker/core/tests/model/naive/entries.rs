//! What is remembered: versioned values, what they were before, and when they may be overwritten.

use mesh_core::command::{Delete, Fence, Labels, Operation, Precondition, Put, Restore, SetPolicy, Transact};
use mesh_core::event::{DeleteCause, Event};
use mesh_core::id::{EntryKey, PeerName, ScopeId};
use mesh_core::limits::{DELETED_RETENTION, VERSIONS_KEPT};
use mesh_core::outcome::{EntryMeta, Outcome};
use mesh_core::record::{EntryRecord, PastRecord, PeerRecord, PolicyKind, PolicyRecord};
use mesh_core::rejection::{Rejection, WriteConflict};
use mesh_core::revision::{Revision, Version};
use mesh_core::state::deadlines::Due;
use mesh_core::target::Target;
use mesh_core::time::{Millis, Now, Timestamp};

use super::merge::{appended, patched};
use super::{Expected, Naive, count, done_by, preview};
use crate::world;

/// What an entry is to hold.
pub(super) struct Content {
    pub(super) value: String,
    pub(super) paths: Vec<Target>,
    pub(super) tags: Vec<String>,
    pub(super) ttl: Option<Millis>,
}

/// Who wants to write what where.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) peer: &'a PeerRecord,
    pub(super) scope: &'a ScopeId,
    pub(super) key: &'a EntryKey,
}

impl Naive {
    pub(crate) fn entry(&self, scope: &ScopeId, key: &EntryKey) -> Option<&EntryRecord> {
        self.entries.iter().find(|entry| entry.scope == *scope && entry.key == *key)
    }

    /// Former versions of a key, oldest first.
    pub(crate) fn past(&self, scope: &ScopeId, key: &EntryKey) -> Vec<&PastRecord> {
        let of_key = |past: &&PastRecord| past.entry.scope == *scope && past.entry.key == *key;
        self.past.iter().filter(of_key).collect()
    }

    /// All versions of a key that are kept, newest first.
    pub(crate) fn versions(&self, scope: &ScopeId, key: &EntryKey) -> Vec<EntryRecord> {
        let past = self.past(scope, key).into_iter().rev().map(|past| EntryRecord::clone(&past.entry));
        self.entry(scope, key).cloned().into_iter().chain(past).collect()
    }

    /// The policy of the longest prefix that fits.
    pub(crate) fn policy(&self, scope: &ScopeId, key: &EntryKey) -> PolicyKind {
        let fits =
            |policy: &&PolicyRecord| policy.scope == *scope && key.as_str().starts_with(&policy.prefix);
        let longest = self.policies.iter().filter(fits).max_by_key(|policy| policy.prefix.len());
        longest.map_or(PolicyKind::RequireVersion, |policy| policy.kind)
    }

    pub(super) fn past_deadlines(&self) -> Vec<(Due, Timestamp)> {
        let deleted = |past: &&PastRecord| self.entry(&past.entry.scope, &past.entry.key).is_none();
        let newest = |past: &&PastRecord| {
            self.past(&past.entry.scope, &past.entry.key).last().is_some_and(|last| last == past)
        };
        let ends = self.past.iter().filter(deleted).filter(newest);
        let due = |past: &PastRecord| Due::Past(past.entry.scope.clone(), past.entry.key.clone());
        ends.map(|past| (due(past), past.ended.after(DELETED_RETENTION))).collect()
    }

    pub(super) fn put(&mut self, caller: usize, put: &Put, now: Now) -> Result<Expected, Rejection> {
        let (peer, scope) = self.writer(caller, put.scope.as_ref())?;
        let mut events = Vec::new();
        let meta = self.put_one(&peer, &scope, put, now, &mut events)?;
        Ok(written(scope, &peer, events, Outcome::Written(meta)))
    }

    pub(super) fn delete(&mut self, caller: usize, delete: &Delete, now: Now) -> Result<Expected, Rejection> {
        let (peer, scope) = self.writer(caller, delete.scope.as_ref())?;
        let mut events = Vec::new();
        self.delete_one(&peer, &scope, delete, now, &mut events)?;
        Ok(written(scope, &peer, events, Outcome::Deleted))
    }

    pub(super) fn restore(
        &mut self,
        caller: usize,
        restore: &Restore,
        now: Now,
    ) -> Result<Expected, Rejection> {
        let (peer, scope) = self.writer(caller, restore.scope.as_ref())?;
        let (key, version) = (&restore.key, restore.version);
        let kept = self.versions(&scope, key).into_iter().find(|entry| entry.version == version);
        let kept = kept.ok_or_else(|| Rejection::VersionNotFound { key: key.clone(), version })?;
        self.demand_whole(Attempt { peer: &peer, scope: &scope, key }, restore.precondition)?;
        let (paths, tags) = (kept.paths, kept.tags);
        let content = Content { value: kept.value.to_string(), paths, tags, ttl: None };
        let mut events = Vec::new();
        let meta = self.write(&scope, key, content, &peer.name, now, &mut events);
        Ok(written(scope, &peer, events, Outcome::Written(meta)))
    }

    /// All is judged on what is there before, which no operation changes for another: no key is named twice.
    pub(super) fn transact(
        &mut self,
        caller: usize,
        transact: &Transact,
        now: Now,
    ) -> Result<Expected, Rejection> {
        let (peer, scope) = self.writer(caller, transact.scope.as_ref())?;
        let before = (self.entries.clone(), self.past.clone());
        let done = self.operate(&peer, &scope, &transact.operations, now);
        if done.is_err() {
            (self.entries, self.past) = before;
        }
        let (metas, events) = done?;
        let outcome = Outcome::Transacted(metas);
        Ok(if events.is_empty() { Expected::Answer(outcome) } else { written(scope, &peer, events, outcome) })
    }

    fn operate(
        &mut self,
        peer: &PeerRecord,
        scope: &ScopeId,
        operations: &[Operation],
        now: Now,
    ) -> Result<(Vec<EntryMeta>, Vec<Event>), Rejection> {
        let invalid = || Rejection::invalid("operations", "");
        if operations.is_empty() {
            return Err(invalid());
        }
        let (mut metas, mut events, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for operation in operations {
            let key = match operation {
                Operation::Put(put) => &put.key,
                Operation::Delete(delete) => &delete.key,
                Operation::Check { key, .. } => key,
            };
            if keys.contains(&key) {
                return Err(invalid());
            }
            keys.push(key);
            match operation {
                Operation::Put(put) => metas.push(self.put_one(peer, scope, put, now, &mut events)?),
                Operation::Delete(delete) => self.delete_one(peer, scope, delete, now, &mut events)?,
                Operation::Check { precondition: Precondition::Any | Precondition::LastRead(_), .. } => {
                    return Err(invalid());
                }
                Operation::Check { key, precondition } => {
                    self.demand_named(Attempt { peer, scope, key }, *precondition)?;
                }
            }
        }
        Ok((metas, events))
    }

    pub(super) fn set_policy(&mut self, caller: usize, policy: &SetPolicy) -> Result<Expected, Rejection> {
        let (peer, scope) = self.writer(caller, policy.scope.as_ref())?;
        let same = |other: &PolicyRecord| other.scope == scope && other.prefix == policy.prefix;
        let former = self.policies.iter().find(|other| same(other)).map(|former| former.kind);
        if former == policy.kind {
            return Ok(Expected::Answer(Outcome::Done));
        }
        self.policies.retain(|other| !same(other));
        let prefix = policy.prefix.clone();
        let record = |kind| PolicyRecord { scope: scope.clone(), prefix: prefix.clone(), kind };
        self.policies.extend(policy.kind.map(record));
        let events = vec![Event::PolicyChanged { prefix, kind: policy.kind }];
        Ok(written(scope, &peer, events, Outcome::Done))
    }

    /// Its former versions go with an entry that expires.
    pub(super) fn expire_entry(&mut self, scope: &ScopeId, key: &EntryKey) -> Expected {
        let mut events = Vec::new();
        self.drop_entry(scope, key, DeleteCause::Expired, None, &mut events);
        self.past.retain(|past| past.entry.scope != *scope || past.entry.key != *key);
        Expected::Commit { scope: scope.clone(), actor: None, events, outcome: Outcome::Done }
    }

    fn writer(&self, caller: usize, asked: Option<&ScopeId>) -> Result<(PeerRecord, ScopeId), Rejection> {
        let peer = self.peers[caller].clone();
        let scope = asked.unwrap_or(&peer.scope).clone();
        if scope != peer.scope && scope.as_str() != "global" {
            return Err(Rejection::PermissionDenied { what: String::new() });
        }
        Ok((peer, scope))
    }

    fn put_one(
        &mut self,
        peer: &PeerRecord,
        scope: &ScopeId,
        put: &Put,
        now: Now,
        events: &mut Vec<Event>,
    ) -> Result<EntryMeta, Rejection> {
        self.demand_fence(scope, put.fence.as_ref())?;
        let attempt = Attempt { peer, scope, key: &put.key };
        let former = self.entry(scope, &put.key).cloned();
        let value = match self.policy(scope, &put.key) {
            PolicyKind::RequireVersion => {
                self.demand(attempt, put.precondition)?;
                put.value.to_string()
            }
            PolicyKind::LastWriteWins => {
                self.demand_named(attempt, put.precondition)?;
                put.value.to_string()
            }
            PolicyKind::MergePatch => patched(self, attempt, put.precondition, &put.value)?,
            PolicyKind::Append => {
                self.demand_named(attempt, put.precondition)?;
                appended(former.as_ref().map(|former| &*former.value), &put.value)?
            }
        };
        let (mut paths, mut tags) = (put.paths.clone(), put.tags.clone());
        if let Some(former) = former.filter(|_| put.labels == Labels::Keep) {
            paths = if paths.is_empty() { former.paths } else { paths };
            tags = if tags.is_empty() { former.tags } else { tags };
        }
        let content = Content { value, paths, tags, ttl: put.ttl };
        Ok(self.write(scope, &put.key, content, &peer.name, now, events))
    }

    fn delete_one(
        &mut self,
        peer: &PeerRecord,
        scope: &ScopeId,
        delete: &Delete,
        now: Now,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        self.demand_fence(scope, delete.fence.as_ref())?;
        self.demand_whole(Attempt { peer, scope, key: &delete.key }, delete.precondition)?;
        let entry = self.entry(scope, &delete.key).cloned();
        let entry = entry.ok_or_else(|| Rejection::KeyNotFound { key: delete.key.clone() })?;
        self.drop_entry(scope, &delete.key, DeleteCause::Deleted, Some(&peer.name), events);
        self.retire(entry, now);
        Ok(())
    }

    /// The next version of an entry; the one before becomes a former one.
    pub(super) fn write(
        &mut self,
        scope: &ScopeId,
        key: &EntryKey,
        content: Content,
        writer: &PeerName,
        now: Now,
        events: &mut Vec<Event>,
    ) -> EntryMeta {
        let former = self.entry(scope, key).cloned();
        let last = self.versions(scope, key).first().map_or(0, |entry| entry.version.0);
        let entry = EntryRecord {
            scope: scope.clone(),
            key: key.clone(),
            value: content.value.into(),
            version: Version(last + 1),
            revision: self.next(),
            create_revision: former.as_ref().map_or(self.next(), |former| former.create_revision),
            writer: writer.clone(),
            at: now.at,
            written: now.wall,
            paths: content.paths,
            tags: content.tags,
            ttl: content.ttl,
        };
        events.push(Event::StateChanged {
            key: key.clone(),
            version: entry.version,
            writer: writer.clone(),
            size: count(entry.value.len()),
            preview: preview(&entry.value),
            paths: entry.paths.clone(),
            tags: entry.tags.clone(),
        });
        events.extend(self.contract_event(&entry, Some(writer), false));
        let meta = meta(&entry);
        self.entries.retain(|other| other.scope != *scope || other.key != *key);
        self.entries.push(entry);
        if let Some(former) = former {
            self.retire(former, now);
        }
        meta
    }

    fn drop_entry(
        &mut self,
        scope: &ScopeId,
        key: &EntryKey,
        cause: DeleteCause,
        by: Option<&PeerName>,
        events: &mut Vec<Event>,
    ) {
        let entry = self.entry(scope, key).expect("it is there").clone();
        let (version, paths) = (entry.version, entry.paths.clone());
        events.push(Event::StateDeleted { key: key.clone(), version, cause, paths });
        events.extend(self.contract_event(&entry, by, true));
        self.entries.retain(|other| other.scope != *scope || other.key != *key);
    }

    /// Of the former versions of a key the newest are kept, so many and so many bytes.
    fn retire(&mut self, entry: EntryRecord, now: Now) {
        let (scope, key) = (entry.scope.clone(), entry.key.clone());
        self.past.push(PastRecord { entry: entry.into(), ended: now.at });
        let (mut kept, mut bytes) = (0, 0);
        let mut gone = Vec::new();
        for past in self.past(&scope, &key).into_iter().rev() {
            kept += 1;
            bytes += past.entry.value.len();
            if kept > VERSIONS_KEPT.0 || bytes > VERSIONS_KEPT.1 {
                gone.push(past.entry.version);
            }
        }
        let is_gone = |past: &PastRecord| {
            past.entry.scope == scope && past.entry.key == key && gone.contains(&past.entry.version)
        };
        self.past.retain(|past| !is_gone(past));
    }

    fn demand_fence(&self, scope: &ScopeId, fence: Option<&Fence>) -> Result<(), Rejection> {
        let Some(Fence { target, token }) = fence else { return Ok(()) };
        let here = self.locks.iter().map(|held| &held.lock).filter(|lock| lock.scope == *scope);
        let good = here
            .clone()
            .any(|lock| lock.token == *token && !self.is_orphan(lock) && world::covers(&lock.target, target));
        if good {
            return Ok(());
        }
        let overlapping = here.filter(|lock| world::overlap(&lock.target, target));
        let current = overlapping.max_by_key(|lock| lock.token).cloned().map(Into::into);
        Err(Rejection::Fenced { path: target.clone(), token: *token, current })
    }

    /// What the caller named must hold.
    pub(super) fn demand_named(&self, attempt: Attempt<'_>, asked: Precondition) -> Result<(), Rejection> {
        let key = attempt.key.clone();
        let versions = self.versions(attempt.scope, attempt.key);
        let base = |fits: &dyn Fn(&EntryRecord) -> bool| versions.iter().find(|entry| fits(entry)).cloned();
        let mismatch = |base: Option<EntryRecord>, theirs: &EntryRecord| {
            Err(Rejection::VersionMismatch(conflict(base, theirs, Vec::new())))
        };
        match (asked, self.entry(attempt.scope, attempt.key)) {
            (Precondition::Any | Precondition::LastRead(_), _) | (Precondition::MustNotExist, None) => Ok(()),
            (Precondition::Version(_) | Precondition::Revision(_), None) => {
                Err(Rejection::KeyNotFound { key })
            }
            (Precondition::MustNotExist, Some(entry)) => {
                Err(Rejection::KeyExists { key, version: entry.version, revision: entry.revision })
            }
            (Precondition::Version(version), Some(entry)) if version != entry.version => {
                mismatch(base(&|entry| entry.version == version), entry)
            }
            (Precondition::Revision(revision), Some(entry)) if revision != entry.revision => {
                mismatch(base(&|entry| entry.revision == revision), entry)
            }
            (Precondition::Version(_) | Precondition::Revision(_), Some(_)) => Ok(()),
        }
    }

    /// And no value of another peer is overwritten unread.
    pub(super) fn demand(&self, attempt: Attempt<'_>, asked: Precondition) -> Result<(), Rejection> {
        self.demand_named(attempt, asked)?;
        match self.unread_value(attempt, asked) {
            None => Ok(()),
            Some((base, theirs)) => {
                Err(Rejection::OverwriteNeedsVersion(conflict(base, &theirs, Vec::new())))
            }
        }
    }

    /// Only where the last write wins may a value go as a whole unread.
    fn demand_whole(&self, attempt: Attempt<'_>, asked: Precondition) -> Result<(), Rejection> {
        match self.policy(attempt.scope, attempt.key) {
            PolicyKind::LastWriteWins => self.demand_named(attempt, asked),
            PolicyKind::RequireVersion | PolicyKind::MergePatch | PolicyKind::Append => {
                self.demand(attempt, asked)
            }
        }
    }

    /// What another peer wrote and the session has not read, after what it has. In `global` names of different scopes
    /// meet, and where values grow of several writes the name is that of the last: there no name proves that a value is
    /// somebody's own.
    pub(super) fn unread_value(
        &self,
        attempt: Attempt<'_>,
        asked: Precondition,
    ) -> Option<(Option<EntryRecord>, EntryRecord)> {
        let Precondition::LastRead(read) = asked else { return None };
        let theirs = self.entry(attempt.scope, attempt.key)?.clone();
        let whole = match self.policy(attempt.scope, attempt.key) {
            PolicyKind::RequireVersion | PolicyKind::LastWriteWins => true,
            PolicyKind::MergePatch | PolicyKind::Append => false,
        };
        let own = whole && theirs.writer == attempt.peer.name && attempt.scope.as_str() != "global";
        if own || read == Some(theirs.revision) {
            return None;
        }
        let seen = |read: Revision| {
            let mut versions = self.versions(attempt.scope, attempt.key).into_iter();
            versions.find(|entry| entry.revision == read)
        };
        Some((read.and_then(seen), theirs))
    }
}

pub(super) fn conflict(
    base: Option<EntryRecord>,
    theirs: &EntryRecord,
    fields: Vec<String>,
) -> Box<WriteConflict> {
    Box::new(WriteConflict { base: base.map(Into::into), theirs: theirs.clone().into(), fields })
}

/// What a peer wrote, be it to another scope than its own.
fn written(scope: ScopeId, peer: &PeerRecord, events: Vec<Event>, outcome: Outcome) -> Expected {
    let Expected::Commit { actor, events, outcome, .. } = done_by(peer, events, outcome) else {
        panic!("a write changes something")
    };
    Expected::Commit { scope, actor, events, outcome }
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
