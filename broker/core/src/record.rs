//! What is stored: the truth that [`crate::State`] is a cache of.
//!
//! Serialised by the shell under a format version; a change here is a change of the stored format.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{Event, LeaveCause};
use crate::id::{EntryKey, MessageId, PeerName, RequestId, ResumeKey, ScopeId, SessionId};
use crate::outcome::Outcome;
use crate::revision::{FencingToken, Revision, Sequence, Version};
use crate::target::Target;
use crate::time::{Millis, Timestamp, WallTime};

/// One stored record of the state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// A scope's head.
    Scope(ScopeRecord),
    /// A peer.
    Peer(Arc<PeerRecord>),
    /// A lock.
    Lock(Arc<LockRecord>),
    /// An entry.
    Entry(Arc<EntryRecord>),
    /// A message.
    Message(Arc<MessageRecord>),
}

/// Names a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKey {
    /// A scope's head.
    Scope(ScopeId),
    /// A peer.
    Peer(PeerKey),
    /// A lock.
    Lock(LockKey),
    /// An entry.
    Entry(ScopeId, EntryKey),
    /// A message, by its slot.
    Message(u32),
}

impl Record {
    /// The record's name.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Scope(r) => RecordKey::Scope(r.scope.clone()),
            Self::Peer(r) => RecordKey::Peer(r.key()),
            Self::Lock(r) => RecordKey::Lock(r.key()),
            Self::Entry(r) => RecordKey::Entry(r.scope.clone(), r.key.clone()),
            Self::Message(r) => RecordKey::Message(r.slot),
        }
    }
}

/// One write of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Create or replace.
    Put(Record),
    /// Remove.
    Delete(RecordKey),
}

/// A peer of the mesh.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PeerKey {
    /// Its scope.
    pub scope: ScopeId,
    /// Its name there.
    pub name: PeerName,
}

/// A lock of the mesh: one peer's on one target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LockKey {
    /// Its scope.
    pub scope: ScopeId,
    /// What it is on.
    pub target: Target,
    /// Who holds it.
    pub holder: PeerName,
}

impl LockKey {
    /// True when the lock comes later in the order of scope, target and holder.
    #[must_use]
    pub fn is_before(&self, lock: &LockRecord) -> bool {
        (&self.scope, &self.target, &self.holder) < (&lock.scope, &lock.target, &lock.holder)
    }
}

/// The head of a scope's event batches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeRecord {
    /// The scope.
    pub scope: ScopeId,
    /// Sequence of its last batch.
    pub sequence: Sequence,
    /// Revision of its last batch.
    pub last_revision: Revision,
}

/// What a peer says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// Kind of agent.
    pub agent_kind: String,
    /// Version of the agent program.
    pub agent_version: String,
    /// Machine.
    pub host: String,
    /// Process id; 0 when unknown.
    pub pid: u32,
    /// Absolute path of the checkout.
    pub worktree: String,
    /// Git branch; empty when unknown.
    pub branch: String,
    /// Abbreviated commit.
    pub head: String,
    /// What it is doing.
    pub focus: String,
    /// What it is working on.
    pub files: Vec<Target>,
}

/// A live session of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Its id.
    pub id: SessionId,
    /// How long it lives without a sign of life.
    pub ttl: Millis,
    /// When it began, for display.
    pub joined: WallTime,
}

/// How a peer's last session ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEnd {
    /// The session.
    pub session: SessionId,
    /// Why it ended.
    pub cause: LeaveCause,
    /// When, for deadlines.
    pub at: Timestamp,
    /// When, for display.
    pub wall: WallTime,
}

/// A peer: durable, with or without a live session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRecord {
    /// Its scope.
    pub scope: ScopeId,
    /// Its name.
    pub name: PeerName,
    /// What it says of itself.
    pub info: PeerInfo,
    /// What makes a later session the same peer.
    pub resume_key: Option<ResumeKey>,
    /// Its live session.
    pub session: Option<SessionRecord>,
    /// When its last session began, for display.
    pub joined: WallTime,
    /// How its last session ended, if one has.
    pub ended: Option<SessionEnd>,
    /// Its inbox cursor: everything up to here is read. Starts at the revision of its first join.
    pub acknowledged: Revision,
}

impl PeerRecord {
    /// About how many bytes it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        let info = &self.info;
        let files = info.files.iter().map(|file| 32 + file.as_str().len()).sum::<usize>();
        size_of::<Self>() + info.worktree.len() + info.branch.len() + info.focus.len() + files
    }

    /// Names the peer.
    #[must_use]
    pub fn key(&self) -> PeerKey {
        PeerKey { scope: self.scope.clone(), name: self.name.clone() }
    }
}

/// How a lock excludes others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockMode {
    /// No other peer may hold an overlapping lock.
    Exclusive,
    /// Other peers may hold overlapping shared locks.
    Shared,
}

/// One peer's lock on one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRecord {
    /// Its scope.
    pub scope: ScopeId,
    /// What it is on.
    pub target: Target,
    /// Who holds it.
    pub holder: PeerName,
    /// The session that took it.
    pub session: SessionId,
    /// How it excludes others.
    pub mode: LockMode,
    /// The revision of its grant.
    pub token: FencingToken,
    /// Why it was taken.
    pub reason: String,
    /// Lifetime from the grant or last renewal.
    pub ttl: Millis,
    /// When it was granted, for display.
    pub acquired: WallTime,
}

impl LockRecord {
    /// About how many bytes it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.scope.as_str().len() + self.target.as_str().len() + self.reason.len()
    }

    /// Names the lock.
    #[must_use]
    pub fn key(&self) -> LockKey {
        LockKey { scope: self.scope.clone(), target: self.target.clone(), holder: self.holder.clone() }
    }
}

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

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recipients {
    /// These peers of the scope.
    Direct(Vec<PeerName>),
    /// Every peer of the scope but the sender.
    Broadcast,
}

/// What the sender of a message expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    /// To know.
    Inform,
    /// An answer or an action.
    Request,
    /// Nothing: it answers or confirms.
    Ack,
}

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRecord {
    /// Slot in the store, reused when the message is gone, so that the store's keys do not grow.
    pub slot: u32,
    /// Its id.
    pub id: MessageId,
    /// Its place in the order.
    pub revision: Revision,
    /// Its scope.
    pub scope: ScopeId,
    /// Who sent it.
    pub from: PeerName,
    /// Whom it is for.
    pub to: Recipients,
    /// The text.
    pub body: Arc<str>,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
    /// What the sender expects.
    pub intent: Intent,
    /// Whether to look before going on.
    pub urgent: bool,
    /// When it was accepted, for deadlines.
    pub at: Timestamp,
    /// When it was accepted, for display.
    pub sent: WallTime,
}

/// Digest of a request's method and content, to tell a repeat from a reuse of its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 16]);

/// One committed transaction: an item of the event history, which is also the idempotency log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Its place in the mesh's order.
    pub revision: Revision,
    /// The scope it changed.
    pub scope: ScopeId,
    /// Its number in the scope; 0 when it has no events.
    pub sequence: Sequence,
    /// Revision of the scope's batch before.
    pub prev_revision: Revision,
    /// Who caused it; none for the broker.
    pub actor: Option<PeerName>,
    /// The session that caused it.
    pub session: Option<SessionId>,
    /// The caller's id of the request.
    pub request_id: Option<RequestId>,
    /// Tells a repeat from a reuse of the id.
    pub fingerprint: Fingerprint,
    /// When it was committed, for the mesh's clock.
    pub at: Timestamp,
    /// When it was committed, for display.
    pub committed: WallTime,
    /// What happened.
    pub events: Vec<Event>,
    /// The answer to a repeat; kept only with a request id.
    pub outcome: Option<Outcome>,
}

impl LogRecord {
    /// About how many bytes it takes in memory. Its outcome shares the records of its events.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.events.iter().map(Event::weight).sum::<usize>()
    }
}
