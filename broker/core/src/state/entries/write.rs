//! What becomes of entries: written, deleted, brought back, expired; one by one or several at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::command::{Delete, Labels, Operation, Put, Restore, Transact};
use crate::event::{DeleteCause, Event, preview};
use crate::id::{EntryKey, PeerName, ScopeId};
use crate::limits;
use crate::outcome::{EntryMeta, Outcome};
use crate::record::{EntryRecord, PeerRecord, PolicyKind, Record, RecordKey, Write};
use crate::rejection::Rejection;
use crate::state::{Change, State, Step};
use crate::target::Target;
use crate::time::{Millis, Now};

use super::merge;
use super::rules::{Attempt, writable};

/// What an entry is to hold.
#[derive(Debug)]
pub(in crate::state) struct Content {
    /// Its value.
    pub(in crate::state) value: Arc<str>,
    /// What it is about.
    pub(in crate::state) paths: Vec<Target>,
    /// Labels.
    pub(in crate::state) tags: Vec<String>,
    /// Lifetime from the write.
    pub(in crate::state) ttl: Option<Millis>,
}

impl State {
    pub(in crate::state) fn decide_put(
        &self,
        caller: &Arc<PeerRecord>,
        put: &Put,
        now: Now,
    ) -> Result<Step, Rejection> {
        let scope = writable(caller, put.scope.as_ref())?;
        let mut change = Change::new(scope, Some(caller.name.clone()), Outcome::Done);
        let meta = self.put(&mut change, caller, put, now)?;
        self.finish(change, Outcome::Written(meta))
    }

    pub(in crate::state) fn decide_delete(
        &self,
        caller: &Arc<PeerRecord>,
        delete: &Delete,
        now: Now,
    ) -> Result<Step, Rejection> {
        let scope = writable(caller, delete.scope.as_ref())?;
        let mut change = Change::new(scope, Some(caller.name.clone()), Outcome::Done);
        self.delete(&mut change, caller, delete, now)?;
        self.finish(change, Outcome::Deleted)
    }

    pub(in crate::state) fn decide_restore(
        &self,
        caller: &Arc<PeerRecord>,
        restore: &Restore,
        now: Now,
    ) -> Result<Step, Rejection> {
        let scope = writable(caller, restore.scope.as_ref())?;
        let kept = self.entries.version(&scope, &restore.key, restore.version);
        let kept = kept.ok_or_else(|| Rejection::VersionNotFound {
            key: restore.key.clone(),
            version: restore.version,
        })?;
        Attempt::new(&self.entries, caller, &scope, &restore.key).demand_whole(restore.precondition)?;
        let mut change = Change::new(scope, Some(caller.name.clone()), Outcome::Done);
        let content = Content {
            value: kept.value.clone(),
            paths: kept.paths.clone(),
            tags: kept.tags.clone(),
            ttl: None,
        };
        let meta = self.write_entry(&mut change, &restore.key, content, &caller.name, now);
        self.finish(change, Outcome::Written(meta))
    }

    pub(in crate::state) fn decide_transact(
        &self,
        caller: &Arc<PeerRecord>,
        transact: &Transact,
        now: Now,
    ) -> Result<Step, Rejection> {
        let scope = writable(caller, transact.scope.as_ref())?;
        if transact.operations.is_empty() || transact.operations.len() > limits::OPERATIONS {
            return Err(Rejection::invalid("operations", "must be 1 to 32"));
        }
        let mut keys = BTreeSet::new();
        let mut metas = Vec::new();
        let mut change = Change::new(scope, Some(caller.name.clone()), Outcome::Done);
        for operation in &transact.operations {
            let key = match operation {
                Operation::Put(Put { key, .. })
                | Operation::Delete(Delete { key, .. })
                | Operation::Check { key, .. } => key,
            };
            if !keys.insert(key) {
                return Err(Rejection::invalid("operations", format!("name {key:?} twice")));
            }
            match operation {
                Operation::Put(put) => metas.push(self.put(&mut change, caller, put, now)?),
                Operation::Delete(delete) => self.delete(&mut change, caller, delete, now)?,
                Operation::Check { key, precondition } => {
                    let attempt = Attempt::new(&self.entries, caller, &change.scope, key);
                    attempt.demand_checked(*precondition)?;
                }
            }
        }
        self.finish(change, Outcome::Transacted(metas))
    }

    pub(in crate::state) fn decide_entry_expiry(&self, scope: &ScopeId, key: &EntryKey, _now: Now) -> Step {
        let Some(entry) = self.entries.get(scope, key) else { return Step::Answer(Outcome::Done) };
        let mut change = Change::new(scope.clone(), None, Outcome::Done);
        self.drop_entry(&mut change, entry, DeleteCause::Expired);
        change.writes.extend(self.entries.forget(scope, key));
        Step::Change(change)
    }

    /// Gives a change its answer, if the mesh has room for what it adds.
    fn finish(&self, change: Change, outcome: Outcome) -> Result<Step, Rejection> {
        if change.writes.is_empty() {
            return Ok(Step::Answer(outcome));
        }
        let is_new = |entry: &EntryRecord| self.entries.get(&entry.scope, &entry.key).is_none();
        let (mut more, mut fewer) = (0, 0);
        for write in &change.writes {
            match write {
                Write::Put(Record::Entry(entry)) if is_new(entry) => more += 1,
                Write::Delete(RecordKey::Entry(..)) => fewer += 1,
                Write::Put(_) | Write::Delete(_) => {}
            }
        }
        if more > fewer {
            self.entries.check_room(&change.scope, more - fewer)?;
        }
        Ok(Step::Change(Change { outcome, ..change }))
    }

    /// Adds a write to a change, as its key's policy has it.
    fn put(
        &self,
        change: &mut Change,
        caller: &PeerRecord,
        put: &Put,
        now: Now,
    ) -> Result<EntryMeta, Rejection> {
        let scope = change.scope.clone();
        self.demand_fence(&scope, put.fence.as_ref())?;
        let attempt = Attempt::new(&self.entries, caller, &scope, &put.key);
        let value = match attempt.policy() {
            PolicyKind::RequireVersion => {
                attempt.demand(put.precondition)?;
                put.value.clone()
            }
            PolicyKind::LastWriteWins => {
                attempt.demand_named(put.precondition)?;
                put.value.clone()
            }
            PolicyKind::MergePatch => merge::patched(&attempt, put.precondition, &put.value)?,
            PolicyKind::Append => {
                attempt.demand_named(put.precondition)?;
                merge::appended(&attempt, &put.value)?
            }
        };
        let former = attempt.present.filter(|_| put.labels == Labels::Keep);
        let paths = former.filter(|_| put.paths.is_empty()).map_or(&put.paths, |former| &former.paths);
        let tags = former.filter(|_| put.tags.is_empty()).map_or(&put.tags, |former| &former.tags);
        let content = Content { value, paths: paths.clone(), tags: tags.clone(), ttl: put.ttl };
        Ok(self.write_entry(change, &put.key, content, &caller.name, now))
    }

    /// Adds a deletion to a change.
    fn delete(
        &self,
        change: &mut Change,
        caller: &PeerRecord,
        delete: &Delete,
        now: Now,
    ) -> Result<(), Rejection> {
        let scope = change.scope.clone();
        self.demand_fence(&scope, delete.fence.as_ref())?;
        let attempt = Attempt::new(&self.entries, caller, &scope, &delete.key);
        attempt.demand_whole(delete.precondition)?;
        let entry = attempt.present.ok_or_else(|| Rejection::KeyNotFound { key: delete.key.clone() })?;
        self.drop_entry(change, entry, DeleteCause::Deleted);
        self.entries.retire(change, entry, now.at);
        Ok(())
    }

    /// Adds the next version of an entry to a change; the one before becomes a former one.
    pub(in crate::state) fn write_entry(
        &self,
        change: &mut Change,
        key: &EntryKey,
        content: Content,
        writer: &PeerName,
        now: Now,
    ) -> EntryMeta {
        let revision = self.next_revision();
        let former = self.entries.get(&change.scope, key);
        let entry = EntryRecord {
            scope: change.scope.clone(),
            key: key.clone(),
            value: content.value,
            version: self.entries.next_version(&change.scope, key),
            revision,
            create_revision: former.map_or(revision, |former| former.create_revision),
            writer: writer.clone(),
            at: now.at,
            written: now.wall,
            paths: content.paths,
            tags: content.tags,
            ttl: content.ttl,
        };
        let meta = meta(&entry);
        change.events.push(written_event(&entry));
        change.events.extend(self.contract_written(&entry));
        change.writes.push(Write::Put(Record::Entry(Arc::new(entry))));
        if let Some(former) = former {
            self.entries.retire(change, former, now.at);
        }
        meta
    }

    /// Adds the end of an entry to a change.
    fn drop_entry(&self, change: &mut Change, entry: &EntryRecord, cause: DeleteCause) {
        change.writes.push(Write::Delete(RecordKey::Entry(entry.scope.clone(), entry.key.clone())));
        change.events.push(Event::StateDeleted {
            key: entry.key.clone(),
            version: entry.version,
            cause,
            paths: entry.paths.clone(),
        });
        change.events.extend(self.contract_deleted(entry, change.actor.as_ref()));
    }
}

fn written_event(entry: &EntryRecord) -> Event {
    Event::StateChanged {
        key: entry.key.clone(),
        version: entry.version,
        writer: entry.writer.clone(),
        size: u32::try_from(entry.value.len()).unwrap_or(u32::MAX),
        preview: preview(&entry.value),
        paths: entry.paths.clone(),
        tags: entry.tags.clone(),
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
