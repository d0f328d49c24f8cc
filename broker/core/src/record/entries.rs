//! Entries, their former versions, and how writes to them treat each other.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{EntryKey, PeerName, ScopeId};
use crate::limits;
use crate::revision::{Revision, Version};
use crate::target::Target;
use crate::time::{Millis, Timestamp, WallTime};

/// A versioned value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRecord {
    /// Its scope.
    pub scope: ScopeId,
    /// Its key.
    pub key: EntryKey,
    /// Its value.
    pub value: Arc<str>,
    /// How often it was written.
    pub version: Version,
    /// Revision of the last write.
    pub revision: Revision,
    /// Revision of the first.
    pub create_revision: Revision,
    /// Who wrote it last.
    pub writer: PeerName,
    /// When it was last written, for deadlines.
    pub at: Timestamp,
    /// When it was last written, for display.
    pub written: WallTime,
    /// What it is about.
    pub paths: Vec<Target>,
    /// Labels.
    pub tags: Vec<String>,
    /// Lifetime from the last write.
    pub ttl: Option<Millis>,
}

impl EntryRecord {
    /// Bytes of its value and labels.
    pub(crate) fn bytes(&self) -> usize {
        let paths = self.paths.iter().map(|path| path.as_str().len()).sum::<usize>();
        self.value.len() + paths + self.tags.iter().map(String::len).sum::<usize>()
    }
}

/// A former version of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastRecord {
    /// The entry as it was.
    pub entry: Arc<EntryRecord>,
    /// When it was replaced or deleted.
    pub ended: Timestamp,
}

impl PastRecord {
    /// Its place among the former versions of its key in the store, reused in turn.
    #[must_use]
    pub fn slot(&self) -> u8 {
        let kept = limits::VERSIONS_KEPT.0 as u64;
        u8::try_from(self.entry.version.0 % kept).unwrap_or_default()
    }
}

/// How writes to keys that begin with a prefix treat each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicyKind {
    /// Another peer's value is not overwritten unread.
    #[default]
    RequireVersion,
    /// The last write wins.
    LastWriteWins,
    /// What is written is a JSON merge patch of what is there.
    MergePatch,
    /// What is written is added to what is there.
    Append,
}

/// The policy of a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// Its scope.
    pub scope: ScopeId,
    /// How the keys begin.
    pub prefix: String,
    /// The policy.
    pub kind: PolicyKind,
}
