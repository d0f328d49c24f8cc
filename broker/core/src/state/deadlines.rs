//! What ends when: a map from moment to things, with its inverse.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{EntryKey, ScopeId, SessionId};
use crate::record::{LockKey, PeerKey, ReleaseRequestKey, TouchKey};
use crate::revision::Ticket;
use crate::time::Timestamp;

/// Something that time alone ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// A session without a sign of life.
    Session(SessionId),
    /// A lock past its ttl or lock-delay.
    Lock(LockKey),
    /// An entry past its ttl.
    Entry(ScopeId, EntryKey),
    /// A message past its retention.
    Message(u32),
    /// An offline peer past its retention.
    Peer(PeerKey),
    /// A request whose wait for locks is over.
    Waiter(Ticket),
    /// Requests of a scope that can be granted.
    Handover(ScopeId),
    /// A request to make way past its retention.
    ReleaseRequest(ReleaseRequestKey),
    /// Versions of a deleted key past their retention.
    Past(ScopeId, EntryKey),
    /// A touch past its retention.
    Touch(TouchKey),
}

/// All deadlines.
#[derive(Clone, Debug, Default)]
pub(super) struct Deadlines {
    queue: BTreeMap<Timestamp, BTreeSet<Due>>,
    moments: BTreeMap<Due, Timestamp>,
}

impl Deadlines {
    /// The earliest moment.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.queue.first_key_value().map(|(at, _)| *at)
    }

    /// The first thing at or before the moment.
    pub(super) fn due(&self, now: Timestamp) -> Option<Due> {
        let (at, things) = self.queue.first_key_value()?;
        if *at > now {
            return None;
        }
        things.first().cloned()
    }

    /// Everything at or before the moment, the earliest first.
    pub(super) fn all_due(&self, now: Timestamp) -> impl Iterator<Item = &Due> {
        self.queue.range(..=now).flat_map(|(_, things)| things)
    }

    /// When a thing ends.
    pub(super) fn at(&self, due: &Due) -> Option<Timestamp> {
        self.moments.get(due).copied()
    }

    /// Sets or moves a deadline.
    pub(super) fn set(&mut self, due: Due, at: Timestamp) {
        self.clear(&due);
        self.queue.entry(at).or_default().insert(due.clone());
        self.moments.insert(due, at);
    }

    /// Sets a deadline unless an earlier one stands.
    pub(super) fn set_earlier(&mut self, due: Due, at: Timestamp) {
        if self.at(&due).is_none_or(|standing| at < standing) {
            self.set(due, at);
        }
    }

    /// Removes a deadline.
    pub(super) fn clear(&mut self, due: &Due) {
        let Some(at) = self.moments.remove(due) else { return };
        if let Some(things) = self.queue.get_mut(&at) {
            things.remove(due);
            if things.is_empty() {
                self.queue.remove(&at);
            }
        }
    }
}
