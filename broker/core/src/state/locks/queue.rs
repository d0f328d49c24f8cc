//! The queue: who waits for which locks, and how a wait ends without them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::handover::Handover;
use super::{Locks, globs};
use crate::event::{UnlockCause, WaitEndCause};
use crate::id::ScopeId;
use crate::mutation::{Mutation, planted};
use crate::outcome::Outcome;
use crate::record::{PeerKey, PeerRecord, WaiterRecord};
use crate::revision::Ticket;
use crate::state::deadlines::Due;
use crate::state::{Change, State, Step};
use crate::target::Target;
use crate::target::index::TargetIndex;
use crate::time::{Millis, Now, Timestamp};
use crate::{limits, rejection::Rejection};

type Tickets = BTreeMap<Ticket, Arc<WaiterRecord>>;

/// All requests that wait, in their order, by scope, target and peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    by_ticket: Tickets,
    by_scope: BTreeMap<ScopeId, Waiting>,
    by_peer: BTreeMap<PeerKey, BTreeSet<Ticket>>,
    /// Requests of sessions that are over: they only wait to be removed.
    over: BTreeSet<Ticket>,
    /// How many locks all of them would be.
    promised: usize,
}

/// The requests of one scope.
#[derive(Clone, Debug, Default)]
struct Waiting {
    tickets: Tickets,
    /// How many locks all of them would be.
    promised: usize,
    by_target: TargetIndex<Tickets>,
}

impl Queue {
    pub(super) fn get(&self, ticket: Ticket) -> Option<&Arc<WaiterRecord>> {
        self.by_ticket.get(&ticket)
    }

    pub(super) fn of_scope(&self, scope: &ScopeId) -> impl Iterator<Item = &Arc<WaiterRecord>> + use<'_> {
        self.by_scope.get(scope).into_iter().flat_map(|waiting| waiting.tickets.values())
    }

    /// How many requests wait.
    pub(super) fn count(&self) -> usize {
        self.by_ticket.len()
    }

    /// How many requests of a scope wait.
    pub(super) fn len(&self, scope: &ScopeId) -> usize {
        self.by_scope.get(scope).map_or(0, |waiting| waiting.tickets.len())
    }

    /// The requests of a scope that name a target which intersects this one; once for each such target.
    pub(super) fn overlapping<'a>(
        &'a self,
        scope: &ScopeId,
        target: &'a Target,
    ) -> impl Iterator<Item = &'a Arc<WaiterRecord>> + use<'a> {
        let waiting = self.by_scope.get(scope).into_iter();
        waiting.flat_map(move |waiting| waiting.by_target.overlapping(target)).flat_map(|(_, t)| t.values())
    }

    /// The targets of a scope's requests that intersect this one.
    pub(super) fn targets_overlapping<'a>(
        &'a self,
        scope: &ScopeId,
        target: &'a Target,
    ) -> impl Iterator<Item = &'a Target> + use<'a> {
        let waiting = self.by_scope.get(scope).into_iter();
        waiting.flat_map(move |waiting| waiting.by_target.overlapping(target)).map(|(target, _)| target)
    }

    pub(super) fn of_peer(&self, peer: &PeerKey) -> impl Iterator<Item = &Arc<WaiterRecord>> + use<'_> {
        let tickets = self.by_peer.get(peer).into_iter().flatten();
        tickets.filter_map(|ticket| self.by_ticket.get(ticket))
    }

    /// How many requests of a peer wait.
    pub(super) fn count_of_peer(&self, peer: &PeerKey) -> usize {
        self.by_peer.get(peer).map_or(0, BTreeSet::len)
    }

    /// How many locks a peer would get if all that it waits for were granted.
    pub(super) fn promised_to(&self, peer: &PeerKey) -> usize {
        self.of_peer(peer).map(|waiter| waiter.targets.len()).sum()
    }

    /// How many locks everybody would get.
    pub(super) fn promised(&self) -> usize {
        self.promised
    }

    /// How many locks everybody in a scope would get.
    pub(super) fn promised_in(&self, scope: &ScopeId) -> usize {
        self.by_scope.get(scope).map_or(0, |waiting| waiting.promised)
    }

    /// True when the session that waits is over.
    pub(super) fn is_over(&self, ticket: Ticket) -> bool {
        self.over.contains(&ticket)
    }

    fn insert(&mut self, record: &Arc<WaiterRecord>) {
        let ticket = record.ticket;
        let peer = PeerKey { scope: record.scope.clone(), name: record.peer.clone() };
        self.by_peer.entry(peer).or_default().insert(ticket);
        let waiting = self.by_scope.entry(record.scope.clone()).or_default();
        waiting.tickets.insert(ticket, record.clone());
        waiting.promised += record.targets.len();
        for target in &record.targets {
            waiting.by_target.entry(target).insert(ticket, record.clone());
        }
        self.promised += record.targets.len();
        self.by_ticket.insert(ticket, record.clone());
    }

    fn remove(&mut self, ticket: Ticket) -> Option<Arc<WaiterRecord>> {
        let record = self.by_ticket.remove(&ticket)?;
        self.over.remove(&ticket);
        self.promised -= record.targets.len();
        if let Some(waiting) = self.by_scope.get_mut(&record.scope) {
            waiting.remove(&record);
            if waiting.tickets.is_empty() {
                self.by_scope.remove(&record.scope);
            }
        }
        let peer = PeerKey { scope: record.scope.clone(), name: record.peer.clone() };
        if let Some(tickets) = self.by_peer.get_mut(&peer) {
            tickets.remove(&ticket);
            if tickets.is_empty() {
                self.by_peer.remove(&peer);
            }
        }
        Some(record)
    }
}

impl Waiting {
    fn remove(&mut self, record: &WaiterRecord) {
        self.tickets.remove(&record.ticket);
        self.promised -= record.targets.len();
        for target in &record.targets {
            if let Some(tickets) = self.by_target.get_mut(target) {
                tickets.remove(&record.ticket);
                if tickets.is_empty() {
                    self.by_target.remove(target);
                }
            }
        }
    }
}

impl Locks {
    /// Whether a peer may wait for one more set of targets.
    pub(super) fn check_queue(&self, peer: &PeerKey, targets: &[Target]) -> Result<(), Rejection> {
        if self.queue.count_of_peer(peer) >= limits::WAITERS_PER_PEER {
            let (what, limit) = ("waiting requests of one peer", limits::WAITERS_PER_PEER);
            return Err(Rejection::LimitReached { what, limit });
        }
        if self.queue.len(&peer.scope) >= limits::WAITERS_PER_SCOPE {
            let (what, limit) = ("waiting requests of one scope", limits::WAITERS_PER_SCOPE);
            return Err(Rejection::LimitReached { what, limit });
        }
        let more = globs(targets);
        let waiting = || self.queue.of_scope(&peer.scope).map(|waiter| globs(&waiter.targets)).sum::<usize>();
        if more > 0 && waiting() + more > limits::WAITING_GLOBS_PER_SCOPE {
            let (what, limit) = ("globs of waiting requests of one scope", limits::WAITING_GLOBS_PER_SCOPE);
            return Err(Rejection::LimitReached { what, limit });
        }
        self.check_limits(peer, targets.len(), more)
    }
}

impl State {
    /// Ends a wait that is past its deadline, or whose session is over.
    pub(in crate::state) fn decide_wait_expiry(&self, ticket: Ticket, now: Now) -> Step {
        let Some(waiter) = self.locks.queue.get(ticket) else { return Step::Answer(Outcome::Done) };
        let cause = match self.locks.queue.is_over(ticket) {
            true => WaitEndCause::SessionEnded,
            false => WaitEndCause::TimedOut,
        };
        let mut handover = Handover::new(self, Change::new(waiter.scope.clone(), None, Outcome::Done), now);
        handover.end_wait(waiter, cause);
        Step::Change(handover.finish())
    }

    /// A caller is gone that waited: it waits no longer, or gives back what it was granted and has not heard of.
    pub(in crate::state) fn decide_abandon(
        &self,
        caller: &Arc<PeerRecord>,
        ticket: Ticket,
        now: Now,
    ) -> Result<Step, Rejection> {
        let change = Change::new(caller.scope.clone(), Some(caller.name.clone()), Outcome::Done);
        let mut handover = Handover::new(self, change, now);
        let own = |waiter: &&Arc<WaiterRecord>| waiter.scope == caller.scope && waiter.peer == caller.name;
        if let Some(waiter) = self.locks.queue.get(ticket).filter(own) {
            handover.end_wait(waiter, WaitEndCause::Cancelled);
            return Ok(Step::Change(handover.finish()));
        }
        let granted = self.locks.granted_under(&caller.key(), ticket);
        if granted.is_empty() {
            return Ok(Step::Answer(Outcome::Done));
        }
        handover.end_locks(&granted, UnlockCause::Released, "");
        handover.answer_released(&caller.name, &granted);
        Ok(Step::Change(handover.finish()))
    }

    pub(in crate::state) fn apply_waiter(&mut self, record: &Arc<WaiterRecord>) {
        self.locks.queue.insert(record);
        self.locks.count_globs(&record.scope, &record.targets);
        let wait = if planted(Mutation::WaitTooShort) { Millis(record.wait.0 / 2) } else { record.wait };
        self.deadlines.set(Due::Waiter(record.ticket), record.at.after(wait));
        if self.peers.by_session(record.session).is_none() {
            self.locks.queue.over.insert(record.ticket);
            self.deadlines.set(Due::Waiter(record.ticket), record.at);
        }
    }

    pub(in crate::state) fn remove_waiter(&mut self, ticket: Ticket) {
        if let Some(record) = self.locks.queue.remove(ticket) {
            self.locks.discount_globs(&record.scope, &record.targets);
        }
        self.deadlines.clear(&Due::Waiter(ticket));
    }

    /// What a session waited for when it ended, and what did not fit into that transaction, is due at once.
    pub(in crate::state) fn end_orphaned_waits(&mut self, peer: &PeerRecord, now: Timestamp) {
        let live = peer.session.as_ref().map(|session| session.id);
        let orphaned = self.locks.queue.of_peer(&peer.key()).filter(|waiter| Some(waiter.session) != live);
        let orphaned: Vec<Ticket> = orphaned.map(|waiter| waiter.ticket).collect();
        for ticket in orphaned {
            self.locks.queue.over.insert(ticket);
            self.deadlines.set_earlier(Due::Waiter(ticket), now);
        }
    }
}
