//! What a caller is told. Stored with the transaction, so that a repeat gets the first answer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{EntryKey, MessageId, PeerName, ScopeId};
use crate::record::{LockRecord, PeerRecord};
use crate::revision::{Revision, Version};
use crate::target::Target;
use crate::time::{Millis, WallTime};

/// The answer to a request that was not refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// To Join.
    Joined {
        /// The peer the caller now is.
        peer: Arc<PeerRecord>,
        /// Whether it was known before.
        resumed: bool,
        /// Messages waiting.
        unread: u32,
    },
    /// To Update.
    Updated {
        /// The peer as it is.
        peer: Arc<PeerRecord>,
    },
    /// To Leave, End and Expire.
    Done,
    /// To Send.
    Sent {
        /// The message.
        id: MessageId,
        /// Recipients, with since when they are offline, if they are.
        deliveries: Vec<(PeerName, Option<WallTime>)>,
        /// Recipients online now.
        online: u32,
    },
    /// To Acknowledge.
    Acknowledged {
        /// The cursor as it is.
        acknowledged: Revision,
        /// Unread messages left.
        unread: u32,
    },
    /// To Put.
    Written(EntryMeta),
    /// To Delete.
    Deleted,
    /// To Acquire, when granted: one lock per target, in the order asked.
    Granted {
        /// The locks.
        locks: Vec<Arc<LockRecord>>,
    },
    /// To Acquire, when others are in the way. Never stored: it is decided anew.
    Conflicts(Vec<Conflict>),
    /// To Renew.
    Renewed {
        /// The locks.
        locks: Vec<Arc<LockRecord>>,
    },
    /// To Release.
    Released {
        /// What was released.
        targets: Vec<Target>,
        /// Own locks left.
        remaining: u32,
    },
}

/// An entry without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryMeta {
    /// Its scope.
    pub scope: ScopeId,
    /// Its key.
    pub key: EntryKey,
    /// Its version.
    pub version: Version,
    /// Revision of the write.
    pub revision: Revision,
    /// Revision of the first write.
    pub create_revision: Revision,
    /// Who wrote it.
    pub writer: PeerName,
    /// When, for display.
    pub written: WallTime,
    /// What it is about.
    pub paths: Vec<Target>,
    /// Labels.
    pub tags: Vec<String>,
    /// Lifetime.
    pub ttl: Option<Millis>,
}

/// A lock in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// What was asked for.
    pub target: Target,
    /// What is in the way.
    pub lock: Arc<LockRecord>,
    /// Whether its holder's session is gone and the lock-delay runs.
    pub lingering: bool,
    /// Time left before it ends by itself.
    pub remaining: Millis,
    /// What its holder is doing.
    pub holder_focus: String,
}
