//! Whether a write may be: where to, under which precondition, and over whose value.

use std::sync::Arc;

use crate::command::{Fence, Precondition};
use crate::id::{EntryKey, ScopeId};
use crate::mutation::{Mutation, planted};
use crate::record::{EntryRecord, PeerRecord, PolicyKind};
use crate::rejection::{Rejection, WriteConflict};
use crate::revision::Revision;
use crate::state::State;

use super::Entries;

/// The scope that a peer's write goes to: its own, or `global`.
pub(super) fn writable(caller: &PeerRecord, asked: Option<&ScopeId>) -> Result<ScopeId, Rejection> {
    match asked {
        None => Ok(caller.scope.clone()),
        Some(scope) if *scope == caller.scope || *scope == ScopeId::global() => Ok(scope.clone()),
        Some(scope) => Err(Rejection::PermissionDenied {
            what: format!("{} may write to its own scope and to `global`, not to {scope}", caller.name),
        }),
    }
}

/// Somebody is about to write under a key, or to delete it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt<'a> {
    entries: &'a Entries,
    caller: &'a PeerRecord,
    scope: &'a ScopeId,
    /// The key.
    pub(super) key: &'a EntryKey,
    /// What is there.
    pub(super) present: Option<&'a Arc<EntryRecord>>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        entries: &'a Entries,
        caller: &'a PeerRecord,
        scope: &'a ScopeId,
        key: &'a EntryKey,
    ) -> Self {
        Self { entries, caller, scope, key, present: entries.get(scope, key) }
    }

    /// How writes to the key treat each other.
    pub(super) fn policy(&self) -> PolicyKind {
        self.entries.policy(self.scope, self.key)
    }

    /// Demands what the caller named; what it has read does not matter.
    pub(super) fn demand_named(&self, precondition: Precondition) -> Result<(), Rejection> {
        if planted(Mutation::CompareDropped) {
            return Ok(());
        }
        match (precondition, self.present) {
            (Precondition::Any | Precondition::LastRead(_), _) | (Precondition::MustNotExist, None) => Ok(()),
            (Precondition::MustNotExist, Some(entry)) => Err(Rejection::KeyExists {
                key: self.key.clone(),
                version: entry.version,
                revision: entry.revision,
            }),
            (Precondition::Version(version), Some(entry)) if entry.version == version => Ok(()),
            (Precondition::Revision(revision), Some(entry)) if entry.revision == revision => Ok(()),
            (Precondition::Version(version), Some(theirs)) => {
                let base = self.entries.version(self.scope, self.key, version);
                Err(Rejection::VersionMismatch(conflict(base, theirs, Vec::new())))
            }
            (Precondition::Revision(revision), Some(theirs)) => {
                let base = self.as_of(Some(revision));
                Err(Rejection::VersionMismatch(conflict(base, theirs, Vec::new())))
            }
            (Precondition::Version(_) | Precondition::Revision(_), None) => {
                Err(Rejection::KeyNotFound { key: self.key.clone() })
            }
        }
    }

    /// As [`Self::demand_named`], and that no value of another peer is overwritten unread.
    pub(super) fn demand(&self, precondition: Precondition) -> Result<(), Rejection> {
        self.demand_named(precondition)?;
        match self.unread(precondition) {
            None => Ok(()),
            Some((base, theirs)) => Err(Rejection::OverwriteNeedsVersion(conflict(base, theirs, Vec::new()))),
        }
    }

    /// Demands what a transaction only checks, which must be a condition that can fail.
    pub(super) fn demand_checked(&self, precondition: Precondition) -> Result<(), Rejection> {
        match precondition {
            Precondition::MustNotExist | Precondition::Version(_) | Precondition::Revision(_) => {
                self.demand_named(precondition)
            }
            Precondition::Any | Precondition::LastRead(_) => {
                let problem =
                    format!("check nothing of {:?}; give a version, a revision or must_not_exist", self.key);
                Err(Rejection::invalid("operations", problem))
            }
        }
    }

    /// Demands what is needed to replace the value whole or to delete it: merging and appending save nothing then.
    pub(super) fn demand_whole(&self, precondition: Precondition) -> Result<(), Rejection> {
        match self.policy() {
            PolicyKind::LastWriteWins => self.demand_named(precondition),
            PolicyKind::RequireVersion | PolicyKind::MergePatch | PolicyKind::Append => {
                self.demand(precondition)
            }
        }
    }

    /// The value of another peer that the caller has not read, after the version that it did read, if that is kept.
    pub(super) fn unread(
        &self,
        precondition: Precondition,
    ) -> Option<(Option<Arc<EntryRecord>>, &'a Arc<EntryRecord>)> {
        let Precondition::LastRead(read) = precondition else { return None };
        if planted(Mutation::OverwriteUnread) {
            return None;
        }
        let theirs = self.present.filter(|entry| read != Some(entry.revision) && !self.is_own(entry))?;
        Some((self.as_of(read), theirs))
    }

    /// Whether all of this is the caller's. Names are unique in a scope, and peers of all scopes write to `global`:
    /// there a name proves nothing. Under some policies the last writer's name is on what others wrote too. In both
    /// cases only what the session has read counts.
    fn is_own(&self, entry: &EntryRecord) -> bool {
        let whole = match self.policy() {
            PolicyKind::RequireVersion | PolicyKind::LastWriteWins => true,
            PolicyKind::MergePatch | PolicyKind::Append => false,
        };
        whole && entry.writer == self.caller.name && *self.scope != ScopeId::global()
    }

    /// The version that was written at a revision, if it is kept.
    fn as_of(&self, revision: Option<Revision>) -> Option<Arc<EntryRecord>> {
        let revision = revision?;
        self.entries.kept(self.scope, self.key, |entry| entry.revision == revision)
    }
}

/// What is needed to merge.
pub(super) fn conflict(
    base: Option<Arc<EntryRecord>>,
    theirs: &Arc<EntryRecord>,
    fields: Vec<String>,
) -> Box<WriteConflict> {
    Box::new(WriteConflict { base, theirs: theirs.clone(), fields })
}

impl State {
    /// Demands that the lock is held which must protect a write.
    pub(super) fn demand_fence(&self, scope: &ScopeId, fence: Option<&Fence>) -> Result<(), Rejection> {
        let Some(Fence { target, token }) = fence else { return Ok(()) };
        match self.check_fence(scope, target, *token) {
            Ok(_) => Ok(()),
            Err(current) => Err(Rejection::Fenced { path: target.clone(), token: *token, current }),
        }
    }
}
