//! What is stored: the truth that [`crate::State`] is a cache of.
//!
//! Serialised by the shell under a format version; a change here is a change of the stored format.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{Event, LeaveCause};
use crate::id::{EntryKey, MessageId, PeerName, RequestId, ResumeKey, ScopeId, SessionId, TopicName};
use crate::limits;
use crate::outcome::Outcome;
use crate::revision::{FencingToken, Revision, Sequence, Ticket, Version};
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
    /// A request that waits for locks.
    Waiter(Arc<WaiterRecord>),
    /// A request to make way.
    ReleaseRequest(Arc<ReleaseRequestRecord>),
    /// A former version of an entry.
    Past(Arc<PastRecord>),
    /// The policy of a prefix.
    Policy(PolicyRecord),
    /// What a peer did to a file.
    Touch(Arc<TouchRecord>),
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
    /// A request that waits for locks.
    Waiter(Ticket),
    /// A request to make way.
    ReleaseRequest(ReleaseRequestKey),
    /// A former version of an entry, by its version modulo how many are kept.
    Past(ScopeId, EntryKey, u8),
    /// The policy of a prefix.
    Policy(ScopeId, String),
    /// What a peer did to a file.
    Touch(TouchKey),
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
            Self::Waiter(r) => RecordKey::Waiter(r.ticket),
            Self::ReleaseRequest(r) => RecordKey::ReleaseRequest(r.key()),
            Self::Past(r) => RecordKey::Past(r.entry.scope.clone(), r.entry.key.clone(), r.slot()),
            Self::Policy(r) => RecordKey::Policy(r.scope.clone(), r.prefix.clone()),
            Self::Touch(r) => RecordKey::Touch(r.key()),
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
    /// Whether waiting requests can be granted that did not fit into the transaction which freed their way.
    pub handover_due: bool,
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
    /// Topics it follows, with the revision since when. [`TopicName::notes`] is followed by all and not in here.
    pub topics: BTreeMap<TopicName, Revision>,
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
    /// The ticket under which it was granted, until it is renewed; none when it was granted at once.
    pub ticket: Option<Ticket>,
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

impl EntryRecord {
    /// Bytes of its value and labels.
    pub(crate) fn bytes(&self) -> usize {
        let paths = self.paths.iter().map(|path| path.as_str().len()).sum::<usize>();
        self.value.len() + paths + self.tags.iter().map(String::len).sum::<usize>()
    }
}

/// What a lock on a subject is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    /// The text.
    pub text: Arc<str>,
    /// What it concerns.
    pub paths: Vec<Target>,
}

impl Contract {
    /// About how many bytes it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        self.text.len() + targets_weight(&self.paths)
    }
}

/// A request that waits for locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaiterRecord {
    /// Its scope.
    pub scope: ScopeId,
    /// Its place in the queue.
    pub ticket: Ticket,
    /// Who waits.
    pub peer: PeerName,
    /// The session that waits.
    pub session: SessionId,
    /// What it wants, all of it.
    pub targets: Vec<Target>,
    /// How the locks would exclude others.
    pub mode: LockMode,
    /// Lifetime of the locks.
    pub ttl: Millis,
    /// Why.
    pub reason: String,
    /// What it is about.
    pub contract: Option<Contract>,
    /// How long it waits.
    pub wait: Millis,
    /// When it joined, for its deadline.
    pub at: Timestamp,
    /// When it joined, for display.
    pub queued: WallTime,
}

impl WaiterRecord {
    /// About how many bytes it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        let contract = self.contract.as_ref().map_or(0, Contract::weight);
        size_of::<Self>() + targets_weight(&self.targets) + self.reason.len() + contract
    }
}

/// About how many bytes some targets take in memory.
fn targets_weight(targets: &[Target]) -> usize {
    targets.iter().map(|target| 32 + target.as_str().len()).sum()
}

/// A request to a holder to make way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRequestRecord {
    /// Its scope.
    pub scope: ScopeId,
    /// The revision at which it was asked.
    pub id: Revision,
    /// Who asks.
    pub from: PeerName,
    /// Who is asked.
    pub holder: PeerName,
    /// What the asker wants to lock.
    pub wanted: Vec<Target>,
    /// Targets of the holder's locks that are in the way.
    pub locks: Vec<Target>,
    /// Why.
    pub reason: String,
    /// Whether to look before going on.
    pub urgent: bool,
    /// When it was asked, for its deadline.
    pub at: Timestamp,
    /// When it was asked, for display.
    pub asked: WallTime,
}

/// Names a request to make way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReleaseRequestKey {
    /// Its scope.
    pub scope: ScopeId,
    /// The revision at which it was asked.
    pub id: Revision,
    /// Who is asked.
    pub holder: PeerName,
}

impl ReleaseRequestRecord {
    /// About how many bytes it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + targets_weight(&self.wanted) + targets_weight(&self.locks) + self.reason.len()
    }

    /// Names the request.
    #[must_use]
    pub fn key(&self) -> ReleaseRequestKey {
        ReleaseRequestKey { scope: self.scope.clone(), id: self.id, holder: self.holder.clone() }
    }
}

/// What a holder answers to a request to make way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleaseAnswer {
    /// It keeps the locks.
    Keep,
    /// It releases them.
    Release,
    /// It holds something narrower instead.
    Narrow,
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

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recipients {
    /// These peers of the scope.
    Direct(Vec<PeerName>),
    /// Every peer of the scope but the sender.
    Broadcast,
    /// Every peer that follows the topic but the sender.
    Topic(TopicName),
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
    /// The message that its thread began with; none when it is that itself.
    pub thread: Option<MessageId>,
    /// Targets it mentions.
    pub paths: Vec<Target>,
}

impl MessageRecord {
    /// About how many bytes it takes in the store.
    pub(crate) fn weight(&self) -> usize {
        let names =
            if let Recipients::Direct(names) = &self.to { names.len() * limits::PEER_NAME_BYTES } else { 0 };
        size_of::<Self>() + self.body.len() + names + targets_weight(&self.paths)
    }
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
