//! Entries: every write of every key.

use std::collections::BTreeMap;

use mesh_core::event::DeleteCause;
use mesh_core::id::{EntryKey, PeerName, ScopeId, SessionId};
use mesh_core::record::{EntryRecord, LogRecord};
use mesh_core::revision::Version;

use super::Broken;

/// Former versions of a key that are kept.
const VERSIONS_KEPT: usize = 10;

/// One write of a key, or its end.
#[derive(Clone, Debug)]
pub struct Written {
    /// When.
    pub revision: u64,
    /// Its version.
    pub version: u64,
    /// By whom.
    pub writer: String,
    /// Its value, or how that begins.
    pub value: String,
    /// Whether that is all of it.
    pub whole: bool,
    /// Whether the key is gone.
    pub deleted: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Entries {
    history: BTreeMap<(ScopeId, String), Vec<Written>>,
    /// When those with a lifetime are over, by key and revision.
    lifetimes: BTreeMap<(ScopeId, String), (u64, u64)>,
    /// The revision that a broker has shown of a key to a session, and whether the present one knows that.
    shown: BTreeMap<(SessionId, ScopeId, String), (u64, bool)>,
    count: usize,
}

impl Entries {
    pub(super) fn changed(
        &mut self,
        log: &LogRecord,
        key: &EntryKey,
        version: Version,
        writer: &PeerName,
        (preview, size): (&str, u32),
    ) -> Result<(), Broken> {
        let history = self.history.entry((log.scope.clone(), key.to_string())).or_default();
        let before = history.last().map_or(0, |last| last.version);
        let lived = history.last().is_some_and(|last| !last.deleted);
        // Nobody writes a blank: where one is shown, a line ends.
        let value = preview.replace(' ', "\n");
        history.push(Written {
            revision: log.revision.0,
            version: version.0,
            writer: writer.to_string(),
            whole: value.len() == size as usize,
            value,
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

    pub(super) fn written(&mut self, entry: &EntryRecord) -> Result<(), Broken> {
        let name = (entry.scope.clone(), entry.key.to_string());
        let last = self.history.get_mut(&name).and_then(|history| history.last_mut());
        let Some(last) = last.filter(|last| {
            last.revision == entry.revision.0 && !last.deleted && entry.value.starts_with(&last.value)
        }) else {
            return Err(("state follows from events", format!("no event tells of {entry:?}")));
        };
        (last.value, last.whole) = (entry.value.to_string(), true);
        if let Some(ttl) = entry.ttl {
            self.lifetimes.insert(name, (entry.revision.0, entry.at.0 + ttl.0));
        }
        Ok(())
    }

    /// What a key was at a revision that somebody has read, before it became what it is at a later one. The second is
    /// false where it may be forgotten: only so many versions are kept, and those of a key that expired are not.
    #[must_use]
    pub fn base(&self, scope: &ScopeId, key: &str, read: u64, revision: u64) -> (Option<&Written>, bool) {
        let history =
            self.history.get(&(scope.clone(), key.to_owned())).map(Vec::as_slice).unwrap_or_default();
        let end = |revision: u64| history.partition_point(|written| written.revision <= revision);
        let since = &history[end(read)..end(revision).max(end(read))];
        let kept = since.len() + 1 < VERSIONS_KEPT && since.iter().all(|written| !written.deleted);
        (self.as_of(scope, key, read), kept)
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
        *shown = (revision.max(shown.0), true);
    }

    /// A broker begins: what was shown by another it does not know.
    pub(super) fn broker_began(&mut self) {
        for (_, known) in self.shown.values_mut() {
            *known = false;
        }
    }

    /// What it was shown last, and whether the present broker knows that.
    #[must_use]
    pub fn shown(&self, session: SessionId, scope: &ScopeId, key: &str) -> Option<(u64, bool)> {
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
