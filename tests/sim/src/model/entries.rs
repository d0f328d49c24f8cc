//! Entries: every write of every key.

use std::collections::BTreeMap;

use mesh_core::event::DeleteCause;
use mesh_core::id::{EntryKey, PeerName, ScopeId, SessionId};
use mesh_core::record::{EntryRecord, LogRecord};
use mesh_core::revision::Version;

use super::Broken;

/// One write of a key, or its end.
#[derive(Clone, Debug)]
pub struct Written {
    /// When.
    pub revision: u64,
    /// Its version.
    pub version: u64,
    /// By whom.
    pub writer: String,
    /// How the value begins; the simulation's are so short that this is all of it.
    pub value: String,
    /// Whether the key is gone.
    pub deleted: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Entries {
    history: BTreeMap<(ScopeId, String), Vec<Written>>,
    /// When those with a lifetime are over, by key and revision.
    lifetimes: BTreeMap<(ScopeId, String), (u64, u64)>,
    /// The revision that the broker has shown of a key to a session.
    shown: BTreeMap<(SessionId, ScopeId, String), u64>,
    count: usize,
}

impl Entries {
    pub(super) fn changed(
        &mut self,
        log: &LogRecord,
        key: &EntryKey,
        version: Version,
        writer: &PeerName,
        value: &str,
    ) -> Result<(), Broken> {
        let history = self.history.entry((log.scope.clone(), key.to_string())).or_default();
        let before = history.last().map_or(0, |last| last.version);
        let lived = history.last().is_some_and(|last| !last.deleted);
        history.push(Written {
            revision: log.revision.0,
            version: version.0,
            writer: writer.to_string(),
            value: value.to_owned(),
            deleted: false,
        });
        self.count += usize::from(!lived);
        if lived && version.0 != before + 1 {
            let what = format!("{key:?} goes from version {before} to {}", version.0);
            return Err(("no silent overwrite", what));
        }
        Ok(())
    }

    pub(super) fn deleted(
        &mut self,
        log: &LogRecord,
        key: &EntryKey,
        version: Version,
        cause: DeleteCause,
    ) -> Result<(), Broken> {
        let name = (log.scope.clone(), key.to_string());
        let history = self.history.entry(name.clone()).or_default();
        let Some(last) = history.last().filter(|last| !last.deleted).cloned() else {
            return Err(("no silent overwrite", format!("{key:?} is deleted and was not there")));
        };
        history.push(Written { revision: log.revision.0, deleted: true, ..last.clone() });
        self.count -= 1;
        if last.version != version.0 {
            let what = format!("version {} of {key:?} is deleted, not {}", version.0, last.version);
            return Err(("no silent overwrite", what));
        }
        let due = self.lifetimes.get(&name).filter(|(revision, _)| *revision == last.revision);
        if cause == DeleteCause::Expired && due.is_none_or(|(_, due)| log.at.0 < *due) {
            let what = format!("{key:?} is over at {}, due at {due:?}", log.at.0);
            return Err(("late, never early", what));
        }
        Ok(())
    }

    pub(super) fn written(&mut self, entry: &EntryRecord) {
        if let Some(ttl) = entry.ttl {
            let name = (entry.scope.clone(), entry.key.to_string());
            self.lifetimes.insert(name, (entry.revision.0, entry.at.0 + ttl.0));
        }
    }

    /// The last write of a key up to a revision, if the key was there then.
    #[must_use]
    pub fn as_of(&self, scope: &ScopeId, key: &str, revision: u64) -> Option<&Written> {
        let history = self.history.get(&(scope.clone(), key.to_owned()))?;
        let end = history.partition_point(|written| written.revision <= revision);
        history[..end].last().filter(|written| !written.deleted)
    }

    /// The broker has shown a session what was written at a revision.
    pub fn show(&mut self, session: SessionId, scope: &ScopeId, key: &str, revision: u64) {
        let shown = self.shown.entry((session, scope.clone(), key.to_owned())).or_default();
        *shown = revision.max(*shown);
    }

    /// What it has shown it last.
    #[must_use]
    pub fn shown(&self, session: SessionId, scope: &ScopeId, key: &str) -> Option<u64> {
        self.shown.get(&(session, scope.clone(), key.to_owned())).copied()
    }

    pub(super) fn has(&self, entry: &EntryRecord) -> bool {
        let known = self.as_of(&entry.scope, entry.key.as_str(), u64::MAX);
        known.is_some_and(|known| {
            (known.revision, known.version, known.value.as_str())
                == (entry.revision.0, entry.version.0, &*entry.value)
        })
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }
}
