//! Why the answer is no: one closed list, which the shell turns into gRPC statuses in one place.

use std::sync::Arc;

use thiserror::Error;

use crate::event::LeaveCause;
use crate::id::{CredentialId, EntryKey, MessageId, PeerName, ScopeId};
use crate::record::{EntryRecord, LockRecord};
use crate::revision::{FencingToken, Revision, Version};
use crate::target::Target;

/// A refusal. Its text says what happened and the next step.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// A field is malformed, too long or out of bounds.
    #[error("{field} {problem}")]
    InvalidField {
        /// Name of the field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The request id was used for another request.
    #[error("this request_id was used for another request; choose a fresh one")]
    RequestIdReused,
    /// The call needs a session.
    #[error("this call needs a session; call Join first and send its token as `mesh-session`")]
    SessionRequired,
    /// The session has ended.
    #[error("the session has ended{}", after(*cause))]
    SessionExpired {
        /// Why it ended, where that is known.
        cause: Option<LeaveCause>,
    },
    /// The caller may not do this.
    #[error("{what}")]
    PermissionDenied {
        /// What is not allowed, and what is.
        what: String,
    },
    /// The token that the caller was let in with is over.
    #[error("the token was revoked or has expired; ask who runs the mesh for another")]
    CredentialOver,
    /// The caller may not see the scope, whether there is anything in it or not.
    #[error("there is no scope {scope} for you; ask who runs the mesh for a token that has it")]
    ScopeNotFound {
        /// The scope.
        scope: ScopeId,
    },
    /// There is no such token.
    #[error("there is no token {id}; list the tokens for their ids")]
    TokenNotFound {
        /// Its id.
        id: CredentialId,
    },
    /// A live peer has the name.
    #[error("a live peer of this scope is named {name}; choose another name, or none to be given one")]
    PeerNameTaken {
        /// The name.
        name: PeerName,
    },
    /// Nobody of this name was ever seen in the scope.
    #[error("no peer named {name} is known in this scope; list the peers for their names")]
    PeerNotFound {
        /// The name.
        name: PeerName,
    },
    /// The scope has no such entry.
    #[error("there is no entry under {key:?}")]
    KeyNotFound {
        /// The key.
        key: EntryKey,
    },
    /// The entry exists, and should not.
    #[error("{key:?} exists already, at version {}; read it first", .version.0)]
    KeyExists {
        /// The key.
        key: EntryKey,
        /// Its version.
        version: Version,
        /// Revision of its last write.
        revision: Revision,
    },
    /// The entry is at another version than expected.
    #[error(
        "{:?} is at version {} (written by {}); merge with it and try again",
        .0.theirs.key, .0.theirs.version.0, .0.theirs.writer
    )]
    VersionMismatch(Box<WriteConflict>),
    /// Another peer wrote the value last, and the session has not read it as it is.
    #[error(
        "{:?} is at version {}, written by {}, and you have not read that version; merge with it and write again",
        .0.theirs.key, .0.theirs.version.0, .0.theirs.writer
    )]
    OverwriteNeedsVersion(Box<WriteConflict>),
    /// This version of the entry is not kept.
    #[error("version {} of {key:?} is not kept; list its versions", .version.0)]
    VersionNotFound {
        /// The key.
        key: EntryKey,
        /// The version.
        version: Version,
    },
    /// A fencing token is no longer good.
    #[error("token {} is not that of a live lock on {path}; stop, and take the lock anew", .token.0.0)]
    Fenced {
        /// What was to be protected.
        path: Target,
        /// The token that came with the attempt.
        token: FencingToken,
        /// The newest lock that overlaps it, if there is one.
        current: Option<Arc<LockRecord>>,
    },
    /// Waiting would close a circle.
    #[error(
        "waiting would be a deadlock: {}; release what the others wait for, then try again",
        circle(cycle)
    )]
    Deadlock {
        /// Who waits for whom, from the caller back to the caller.
        cycle: Vec<PeerName>,
    },
    /// No such message is stored, or the caller may not see it.
    #[error("no message {id} is stored that you may see")]
    MessageNotFound {
        /// Its id.
        id: MessageId,
    },
    /// The message id was used for another message.
    #[error("this message_id was used for another message; choose a fresh one")]
    MessageIdReused,
    /// No open request to make way has this id and is for the caller.
    #[error("no open request {} to release is for you; it was answered, or its locks have ended", .id.0)]
    ReleaseRequestNotFound {
        /// Its id.
        id: Revision,
    },
    /// The caller holds no lock on the target.
    #[error("you hold no lock on {path}")]
    LockNotHeld {
        /// The target.
        path: Target,
    },
    /// A recipient has too much unread mail.
    #[error("the inbox of {name} is full; it must read its mail before it can get more")]
    InboxFull {
        /// The recipient.
        name: PeerName,
    },
    /// A bound is reached.
    #[error("the mesh holds as many {what} as it may ({limit})")]
    LimitReached {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
}

/// What is needed to merge a write with what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteConflict {
    /// The entry as the caller last read it, or as the version it named, if that is kept.
    pub base: Option<Arc<EntryRecord>>,
    /// The entry as it is.
    pub theirs: Arc<EntryRecord>,
    /// Fields that both changed, as JSON pointers.
    pub fields: Vec<String>,
}

/// `ann > bob > ann`.
#[must_use]
pub fn circle(cycle: &[PeerName]) -> String {
    cycle.iter().map(PeerName::as_str).collect::<Vec<_>>().join(" > ")
}

impl Rejection {
    /// A refusal because of one field.
    #[must_use]
    pub fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::InvalidField { field, problem: problem.into() }
    }
}

/// How a session ended, and what to do then.
fn after(cause: Option<LeaveCause>) -> &'static str {
    match cause {
        Some(LeaveCause::Replaced) => ": another process joined as this peer; join under another name",
        Some(LeaveCause::Revoked) => {
            ": its token was revoked or has expired; ask who runs the mesh for another"
        }
        Some(LeaveCause::Left) => ": the peer left; join again to be back",
        Some(LeaveCause::Expired | LeaveCause::Disconnected) | None => {
            "; join again with the same resume_key to be the same peer"
        }
    }
}
