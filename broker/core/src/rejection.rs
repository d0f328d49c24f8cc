//! Why the answer is no: one closed list, which the shell turns into gRPC statuses in one place.

use thiserror::Error;

use crate::event::LeaveCause;
use crate::id::{EntryKey, PeerName};
use crate::revision::{Revision, Version};
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
    #[error("{key:?} is at version {} (written by {writer}); read it, merge and try again", .version.0)]
    VersionMismatch {
        /// The key.
        key: EntryKey,
        /// Its version.
        version: Version,
        /// Revision of its last write.
        revision: Revision,
        /// Who wrote it last.
        writer: PeerName,
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
        Some(LeaveCause::Left) => ": the peer left; join again to be back",
        Some(LeaveCause::Expired | LeaveCause::Disconnected) | None => {
            "; join again with the same resume_key to be the same peer"
        }
    }
}
