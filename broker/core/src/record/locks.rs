//! Locks, who waits for them, and who is asked to make way.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::targets_weight;
use crate::id::{PeerName, ScopeId, SessionId};
use crate::revision::{FencingToken, Revision, Ticket};
use crate::target::Target;
use crate::time::{Millis, Timestamp, WallTime};

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
