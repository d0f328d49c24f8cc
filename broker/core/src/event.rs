//! What has happened, in the past tense.

mod change;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::change::{PeerChange, PeerField};
use crate::id::{CredentialId, EntryKey, MessageId, PeerName, SessionId};
use crate::limits;
use crate::record::{
    Intent, LockRecord, PeerRecord, PolicyKind, Recipients, ReleaseAnswer, ReleaseRequestRecord, TokenRecord,
    TouchKind, WaiterRecord,
};
use crate::revision::{Ticket, Version};
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
        /// What is another than before.
        changed: PeerChange,
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
        /// The ticket under which the request had waited.
        ticket: Option<Ticket>,
    },
    /// Locks of one peer ended together.
    FileUnlocked {
        /// Who held them.
        holder: PeerName,
        /// What they were on.
        targets: Vec<Target>,
        /// Why they ended.
        cause: UnlockCause,
        /// With [`UnlockCause::Forced`], the reason given.
        reason: String,
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
        /// The message that its thread began with; none when it is that itself.
        thread: Option<MessageId>,
        /// Targets it mentions.
        paths: Vec<Target>,
    },
    /// A request waits for locks.
    LockQueued {
        /// The request.
        waiter: Arc<WaiterRecord>,
        /// Some of those it waits for.
        waits_for: Vec<PeerName>,
    },
    /// A request waits no longer, and got no locks.
    LockWaitEnded {
        /// Its ticket.
        ticket: Ticket,
        /// Who waited.
        peer: PeerName,
        /// What it wanted.
        targets: Vec<Target>,
        /// Why it ended.
        cause: WaitEndCause,
    },
    /// A holder is asked to make way.
    LockReleaseRequested {
        /// The request.
        request: Arc<ReleaseRequestRecord>,
    },
    /// A holder has answered.
    LockReleaseAnswered {
        /// The request.
        request: Arc<ReleaseRequestRecord>,
        /// The answer.
        answer: ReleaseAnswer,
        /// With [`ReleaseAnswer::Narrow`], what the holder holds instead.
        keep: Vec<Target>,
        /// A word to the asker.
        note: String,
    },
    /// A peer has read or edited files.
    FileTouched {
        /// The peer.
        peer: PeerName,
        /// The branch it is on; empty when unknown.
        branch: String,
        /// The files.
        touches: Vec<(Target, TouchKind)>,
    },
    /// The contract of a subject is another one.
    ContractChanged {
        /// The subject.
        subject: Target,
        /// Key of its entry.
        key: EntryKey,
        /// Version of the entry, or the version that was deleted.
        version: Version,
        /// Whether it is gone.
        deleted: bool,
        /// Who changed it; none when it expired.
        by: Option<PeerName>,
        /// Who depended on it before the change.
        dependents: Vec<PeerName>,
        /// How the text begins.
        preview: String,
    },
    /// A policy was set or removed.
    PolicyChanged {
        /// How the keys begin.
        prefix: String,
        /// The policy; none when it was removed.
        kind: Option<PolicyKind>,
    },
    /// A token was issued.
    TokenCreated {
        /// The token.
        token: Arc<TokenRecord>,
    },
    /// A token was taken back.
    TokenRevoked {
        /// Its id.
        id: CredentialId,
        /// What it was for.
        note: String,
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
    /// [`Event::LockQueued`].
    LockQueued,
    /// [`Event::LockWaitEnded`].
    LockWaitEnded,
    /// [`Event::LockReleaseRequested`].
    LockReleaseRequested,
    /// [`Event::LockReleaseAnswered`].
    LockReleaseAnswered,
    /// [`Event::FileTouched`].
    FileTouched,
    /// [`Event::ContractChanged`].
    ContractChanged,
    /// [`Event::PolicyChanged`].
    PolicyChanged,
    /// [`Event::TokenCreated`].
    TokenCreated,
    /// [`Event::TokenRevoked`].
    TokenRevoked,
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
    /// The token that it was let in for was taken back or has ended.
    Revoked,
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
    /// Another peer took it away.
    Forced,
    /// Its holder holds something narrower instead.
    Narrowed,
}

/// Why a request waits no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitEndCause {
    /// Its time was over.
    TimedOut,
    /// The caller cancelled it, or its connection ended.
    Cancelled,
    /// Its session ended.
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
            Self::LockQueued { .. } => EventKind::LockQueued,
            Self::LockWaitEnded { .. } => EventKind::LockWaitEnded,
            Self::LockReleaseRequested { .. } => EventKind::LockReleaseRequested,
            Self::LockReleaseAnswered { .. } => EventKind::LockReleaseAnswered,
            Self::FileTouched { .. } => EventKind::FileTouched,
            Self::ContractChanged { .. } => EventKind::ContractChanged,
            Self::PolicyChanged { .. } => EventKind::PolicyChanged,
            Self::TokenCreated { .. } => EventKind::TokenCreated,
            Self::TokenRevoked { .. } => EventKind::TokenRevoked,
        }
    }

    /// About how many bytes it takes in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        let targets = |targets: &[Target]| targets.iter().map(|t| 32 + t.as_str().len()).sum::<usize>();
        let grown = match self {
            Self::PeerJoined { peer, .. } => peer.weight(),
            Self::PeerUpdated { peer, changed } => peer.weight() + changed.weight(),
            Self::PeerLeft { .. } => 0,
            Self::StateChanged { key, preview, paths, tags, .. } => {
                key.as_str().len()
                    + preview.len()
                    + targets(paths)
                    + tags.iter().map(String::len).sum::<usize>()
            }
            Self::StateDeleted { key, paths, .. } => key.as_str().len() + targets(paths),
            Self::FileLocked { locks, .. } => locks.iter().map(|lock| lock.weight()).sum(),
            Self::FileUnlocked { targets: ended, reason, .. } => targets(ended) + reason.len(),
            Self::MessageSent { to, preview, paths, .. } => {
                let names = if let Recipients::Direct(names) = to { names.len() * 64 } else { 64 };
                names + preview.len() + targets(paths)
            }
            Self::LockQueued { waiter, waits_for } => waiter.weight() + waits_for.len() * 64,
            Self::LockWaitEnded { targets: wanted, .. } => targets(wanted),
            Self::LockReleaseRequested { request } => request.weight(),
            Self::LockReleaseAnswered { request, keep, note, .. } => {
                request.weight() + targets(keep) + note.len()
            }
            Self::FileTouched { branch, touches, .. } => {
                branch.len() + touches.iter().map(|(path, _)| 40 + path.as_str().len()).sum::<usize>()
            }
            Self::ContractChanged { subject, key, dependents, preview, .. } => {
                subject.as_str().len() + key.as_str().len() + dependents.len() * 64 + preview.len()
            }
            Self::PolicyChanged { prefix, .. } => prefix.len(),
            Self::TokenCreated { token } => token.weight(),
            Self::TokenRevoked { note, .. } => note.len(),
        };
        size_of::<Self>() + grown
    }

    /// True when the peer acts in the event, or the event is for it.
    #[must_use]
    pub fn concerns(&self, name: &PeerName) -> bool {
        match self {
            Self::PeerJoined { peer, .. } | Self::PeerUpdated { peer, .. } => peer.name == *name,
            Self::PeerLeft { name: who, .. }
            | Self::StateChanged { writer: who, .. }
            | Self::FileUnlocked { holder: who, .. }
            | Self::LockWaitEnded { peer: who, .. }
            | Self::FileTouched { peer: who, .. } => who == name,
            Self::StateDeleted { .. }
            | Self::PolicyChanged { .. }
            | Self::TokenCreated { .. }
            | Self::TokenRevoked { .. } => false,
            Self::LockQueued { waiter, waits_for } => waiter.peer == *name || waits_for.contains(name),
            Self::LockReleaseRequested { request } | Self::LockReleaseAnswered { request, .. } => {
                request.from == *name || request.holder == *name
            }
            Self::ContractChanged { by, dependents, .. } => {
                by.as_ref() == Some(name) || dependents.contains(name)
            }
            Self::FileLocked { locks, .. } => locks.iter().any(|lock| lock.holder == *name),
            Self::MessageSent { from, to, .. } => {
                from == name || matches!(to, Recipients::Direct(names) if names.contains(name))
            }
        }
    }

    /// True when the event touches the target.
    #[must_use]
    pub fn touches(&self, target: &Target) -> bool {
        match self {
            Self::PeerJoined { peer, .. } | Self::PeerUpdated { peer, .. } => {
                peer.info.files.iter().any(|file| file.intersects(target))
            }
            Self::StateChanged { paths, .. }
            | Self::StateDeleted { paths, .. }
            | Self::MessageSent { paths, .. } => paths.iter().any(|path| path.intersects(target)),
            Self::FileLocked { locks, .. } => locks.iter().any(|lock| lock.target.intersects(target)),
            Self::FileUnlocked { targets, .. } | Self::LockWaitEnded { targets, .. } => {
                targets.iter().any(|path| path.intersects(target))
            }
            Self::LockQueued { waiter, .. } => waiter.targets.iter().any(|path| path.intersects(target)),
            Self::LockReleaseRequested { request } | Self::LockReleaseAnswered { request, .. } => {
                request.wanted.iter().chain(&request.locks).any(|path| path.intersects(target))
            }
            Self::FileTouched { touches, .. } => touches.iter().any(|(path, _)| path.intersects(target)),
            Self::ContractChanged { subject, .. } => subject.intersects(target),
            Self::PeerLeft { .. }
            | Self::PolicyChanged { .. }
            | Self::TokenCreated { .. }
            | Self::TokenRevoked { .. } => false,
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
