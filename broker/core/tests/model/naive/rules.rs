//! When a value may be overwritten or deleted.

use mesh_core::command::{Fence, Precondition};
use mesh_core::id::{EntryKey, ScopeId};
use mesh_core::record::{EntryRecord, PeerRecord, PolicyKind};
use mesh_core::rejection::{Rejection, WriteConflict};
use mesh_core::revision::Revision;

use super::Naive;
use crate::world;

/// Who wants to write what where.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) peer: &'a PeerRecord,
    pub(super) scope: &'a ScopeId,
    pub(super) key: &'a EntryKey,
}

impl Naive {
    pub(super) fn demand_fence(&self, scope: &ScopeId, fence: Option<&Fence>) -> Result<(), Rejection> {
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
    pub(super) fn demand_whole(&self, attempt: Attempt<'_>, asked: Precondition) -> Result<(), Rejection> {
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
