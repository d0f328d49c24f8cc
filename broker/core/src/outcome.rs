//! What a caller is told. Stored with the transaction, so that a repeat gets the first answer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{EntryKey, MessageId, PeerName, ScopeId, TopicName};
use crate::record::{Activity, LockRecord, PeerRecord, ReleaseRequestRecord, TokenRecord, WaiterRecord};
use crate::revision::{Revision, Ticket, Version};
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
    /// To Leave, End, Expire, Abandon, SetPolicy, Touch and RevokeToken.
    Done,
    /// To Send.
    Sent {
        /// The message.
        id: MessageId,
        /// What is known of the recipients.
        deliveries: Vec<Delivery>,
        /// Recipients online now.
        online: u32,
        /// Its place in the order.
        revision: Revision,
        /// Whether it was sent before, so that nothing has changed.
        duplicate: bool,
    },
    /// To Follow.
    Following {
        /// All topics followed now.
        topics: Vec<TopicName>,
    },
    /// To Acknowledge.
    Acknowledged {
        /// The cursor as it is.
        acknowledged: Revision,
        /// Unread messages left.
        unread: u32,
    },
    /// To Put and Restore.
    Written(EntryMeta),
    /// To Transact: one for each Put, in their order.
    Transacted(Vec<EntryMeta>),
    /// To Delete.
    Deleted,
    /// To Acquire, when granted: one lock per target, in the order asked.
    Granted {
        /// The locks.
        locks: Vec<Arc<LockRecord>>,
    },
    /// To Acquire, when others are in the way. Never stored: it is decided anew.
    Conflicts(Vec<Conflict>),
    /// To Acquire, when it waits.
    Queued {
        /// Its place in the queue.
        ticket: Ticket,
    },
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
        /// What was granted instead.
        kept: Vec<Arc<LockRecord>>,
    },
    /// To RequestRelease.
    ReleaseRequested {
        /// The open requests, one for each holder in the way.
        requests: Vec<Arc<ReleaseRequestRecord>>,
    },
    /// To ForceRelease.
    Forced {
        /// The locks that were taken away.
        locks: Vec<Arc<LockRecord>>,
        /// How many more there are.
        remaining: u32,
    },
    /// To CreateToken. The secret is in no outcome.
    TokenCreated {
        /// The token.
        token: Arc<TokenRecord>,
    },
}

/// What is known of a recipient when a message is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its name.
    pub peer: PeerName,
    /// Since when it is offline, if it is.
    pub offline_since: Option<WallTime>,
    /// Whether it is in a turn.
    pub activity: Activity,
    /// How it is woken while idle; empty when it is not.
    pub wake: String,
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

/// Something in the way of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// What was asked for.
    pub target: Target,
    /// What is in the way.
    pub obstacle: Obstacle,
    /// Time left before it ends by itself.
    pub remaining: Millis,
    /// What its holder, or the peer that waits, is doing.
    pub holder_focus: String,
}

/// What is in the way of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Obstacle {
    /// A lock.
    Lock {
        /// The lock.
        lock: Arc<LockRecord>,
        /// Whether its holder's session is gone and the lock-delay runs.
        lingering: bool,
    },
    /// An earlier request that waits.
    Waiter(Arc<WaiterRecord>),
}
