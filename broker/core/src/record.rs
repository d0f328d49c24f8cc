//! What is stored: the truth that [`crate::State`] is a cache of.
//!
//! Serialised by the shell under a format version; a change here is a change of the stored format.

mod entries;
mod locks;
mod log;
mod messages;
mod peers;
mod tokens;
mod touches;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::entries::{EntryRecord, PastRecord, PolicyKind, PolicyRecord};
pub use self::locks::{
    Contract, LockKey, LockMode, LockRecord, ReleaseAnswer, ReleaseRequestKey, ReleaseRequestRecord,
    WaiterRecord,
};
pub use self::log::{Fingerprint, LogRecord};
pub use self::messages::{Intent, MessageRecord, Recipients};
pub use self::peers::{Activity, ChildAgent, PeerInfo, PeerKey, PeerRecord, SessionEnd, SessionRecord};
pub use self::tokens::{Role, TokenDigest, TokenRecord};
pub use self::touches::{TouchKey, TouchKind, TouchRecord, TouchTime};
use crate::id::{CredentialId, EntryKey, ScopeId};
use crate::revision::{Revision, Sequence, Ticket};
use crate::target::Target;

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
    /// A token.
    Token(Arc<TokenRecord>),
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
    /// A token.
    Token(CredentialId),
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
            Self::Token(r) => RecordKey::Token(r.id.clone()),
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

/// About how many bytes some targets take in memory.
fn targets_weight(targets: &[Target]) -> usize {
    targets.iter().map(|target| 32 + target.as_str().len()).sum()
}
