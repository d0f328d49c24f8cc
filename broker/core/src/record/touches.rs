//! Who has read or edited which file.

use serde::{Deserialize, Serialize};

use crate::id::{PeerName, ScopeId};
use crate::revision::Revision;
use crate::target::Target;
use crate::time::{Timestamp, WallTime};

/// What was done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TouchKind {
    /// It was read.
    Read,
    /// It was written, created, moved or deleted.
    Edit,
}

/// When something was done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TouchTime {
    /// In the mesh's order.
    pub revision: Revision,
    /// For deadlines.
    pub at: Timestamp,
    /// For display.
    pub wall: WallTime,
}

/// What a peer did to a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TouchRecord {
    /// Its scope.
    pub scope: ScopeId,
    /// The file.
    pub path: Target,
    /// The peer.
    pub peer: PeerName,
    /// Branch the peer was on; empty when unknown.
    pub branch: String,
    /// Checkout the peer was in; empty when unknown.
    pub worktree: String,
    /// When it last read the file.
    pub read: Option<TouchTime>,
    /// When it last edited it.
    pub edit: Option<TouchTime>,
}

/// Names what a peer did to a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TouchKey {
    /// Its scope.
    pub scope: ScopeId,
    /// The file.
    pub path: Target,
    /// The peer.
    pub peer: PeerName,
}

impl TouchRecord {
    /// Names the record.
    #[must_use]
    pub fn key(&self) -> TouchKey {
        TouchKey { scope: self.scope.clone(), path: self.path.clone(), peer: self.peer.clone() }
    }

    /// When the file was last touched at all.
    #[must_use]
    pub fn latest(&self) -> Timestamp {
        self.read.iter().chain(&self.edit).map(|time| time.at).max().unwrap_or_default()
    }
}
