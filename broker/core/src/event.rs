//! What has happened, in the past tense.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{EntryKey, MessageId, PeerName, SessionId};
use crate::limits;
use crate::record::{Intent, LockRecord, PeerRecord, Recipients};
use crate::revision::Version;
use crate::target::Target;

/// Something that has happened in a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A session of a peer began.
    PeerJoined {
        /// The peer.
        peer: Arc<PeerRecord>,
        /// Whether it was known before.
        resumed: bool,
    },
    /// A peer says something else of itself.
    PeerUpdated {
        /// The peer as it is.
        peer: Arc<PeerRecord>,
    },
    /// A session of a peer ended.
    PeerLeft {
        /// The peer.
        name: PeerName,
        /// Its session.
        session: SessionId,
        /// Why.
        cause: LeaveCause,
    },
    /// An entry was written.
    StateChanged {
        /// Its key.
        key: EntryKey,
        /// Its version.
        version: Version,
        /// Who wrote it.
        writer: PeerName,
        /// Bytes of its value.
        size: u32,
        /// How the value begins.
        preview: String,
        /// What it is about.
        paths: Vec<Target>,
        /// Labels.
        tags: Vec<String>,
    },
    /// An entry is gone.
    StateDeleted {
        /// Its key.
        key: EntryKey,
        /// The version that went.
        version: Version,
        /// Why.
        cause: DeleteCause,
        /// What it was about.
        paths: Vec<Target>,
    },
    /// Locks were granted together.
    FileLocked {
        /// The locks.
        locks: Vec<Arc<LockRecord>>,
    },
    /// Locks of one peer ended together.
    FileUnlocked {
        /// Who held them.
        holder: PeerName,
        /// What they were on.
        targets: Vec<Target>,
        /// Why they ended.
        cause: UnlockCause,
    },
    /// A message was accepted.
    MessageSent {
        /// Its id.
        id: MessageId,
        /// Who sent it.
        from: PeerName,
        /// Whom it is for.
        to: Recipients,
        /// What it answers.
        reply_to: Option<MessageId>,
        /// What the sender expects.
        intent: Intent,
        /// Whether to look before going on.
        urgent: bool,
        /// Bytes of its body.
        size: u32,
        /// How the body begins.
        preview: String,
    },
}

/// Kind of an event, for filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// [`Event::PeerJoined`].
    PeerJoined,
    /// [`Event::PeerUpdated`].
    PeerUpdated,
    /// [`Event::PeerLeft`].
    PeerLeft,
    /// [`Event::StateChanged`].
    StateChanged,
    /// [`Event::StateDeleted`].
    StateDeleted,
    /// [`Event::FileLocked`].
    FileLocked,
    /// [`Event::FileUnlocked`].
    FileUnlocked,
    /// [`Event::MessageSent`].
    MessageSent,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaveCause {
    /// It said so.
    Left,
    /// Its lease ran out.
    Expired,
    /// Its stream ended and did not come back.
    Disconnected,
    /// The same peer joined anew.
    Replaced,
}

/// Why an entry is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeleteCause {
    /// A peer deleted it.
    Deleted,
    /// Its ttl ran out.
    Expired,
}

/// Why a lock ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnlockCause {
    /// Its holder released it.
    Released,
    /// Its ttl ran out.
    Expired,
    /// Its holder left.
    Left,
    /// Its holder's session ended otherwise, and the lock-delay is over.
    SessionEnded,
}

impl Event {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        match self {
            Self::PeerJoined { .. } => EventKind::PeerJoined,
            Self::PeerUpdated { .. } => EventKind::PeerUpdated,
            Self::PeerLeft { .. } => EventKind::PeerLeft,
            Self::StateChanged { .. } => EventKind::StateChanged,
            Self::StateDeleted { .. } => EventKind::StateDeleted,
            Self::FileLocked { .. } => EventKind::FileLocked,
            Self::FileUnlocked { .. } => EventKind::FileUnlocked,
            Self::MessageSent { .. } => EventKind::MessageSent,
        }
    }

    /// About how many bytes it takes in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        let targets = |targets: &[Target]| targets.iter().map(|t| 32 + t.as_str().len()).sum::<usize>();
        let grown = match self {
            Self::PeerJoined { peer, .. } | Self::PeerUpdated { peer } => peer.weight(),
            Self::PeerLeft { .. } => 0,
            Self::StateChanged { key, preview, paths, tags, .. } => {
                key.as_str().len()
                    + preview.len()
                    + targets(paths)
                    + tags.iter().map(String::len).sum::<usize>()
            }
            Self::StateDeleted { key, paths, .. } => key.as_str().len() + targets(paths),
            Self::FileLocked { locks } => locks.iter().map(|lock| lock.weight()).sum(),
            Self::FileUnlocked { targets: ended, .. } => targets(ended),
            Self::MessageSent { to: Recipients::Direct(names), preview, .. } => {
                names.len() * 64 + preview.len()
            }
            Self::MessageSent { to: Recipients::Broadcast, preview, .. } => preview.len(),
        };
        size_of::<Self>() + grown
    }

    /// True when the peer acts in the event, or a direct message is for it.
    #[must_use]
    pub fn concerns(&self, name: &PeerName) -> bool {
        match self {
            Self::PeerJoined { peer, .. } | Self::PeerUpdated { peer } => peer.name == *name,
            Self::PeerLeft { name: who, .. }
            | Self::StateChanged { writer: who, .. }
            | Self::FileUnlocked { holder: who, .. } => who == name,
            Self::StateDeleted { .. } => false,
            Self::FileLocked { locks } => locks.iter().any(|lock| lock.holder == *name),
            Self::MessageSent { from, to, .. } => {
                from == name || matches!(to, Recipients::Direct(names) if names.contains(name))
            }
        }
    }

    /// True when the event touches the target.
    #[must_use]
    pub fn touches(&self, target: &Target) -> bool {
        match self {
            Self::PeerJoined { peer, .. } | Self::PeerUpdated { peer } => {
                peer.info.files.iter().any(|file| file.intersects(target))
            }
            Self::StateChanged { paths, .. } | Self::StateDeleted { paths, .. } => {
                paths.iter().any(|path| path.intersects(target))
            }
            Self::FileLocked { locks } => locks.iter().any(|lock| lock.target.intersects(target)),
            Self::FileUnlocked { targets, .. } => targets.iter().any(|path| path.intersects(target)),
            Self::PeerLeft { .. } | Self::MessageSent { .. } => false,
        }
    }
}

/// The beginning of a text: whole characters, one line, nothing a terminal would obey.
#[must_use]
pub fn preview(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if out.len() + c.len_utf8() > limits::PREVIEW_BYTES {
            break;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_is_short_and_tame() {
        assert_eq!(preview("one\ntwo\u{1b}[31m"), "one two [31m");
        let long = "é".repeat(100);
        assert_eq!(preview(&long).len(), 160);
    }
}
