//! A change that frees locks: in the same transaction they go to those who wait for them.

use std::sync::Arc;

use super::acquire::Terms;
use super::outlook::{Outlook, Wish};
use super::room::Room;
use crate::event::{Event, UnlockCause, WaitEndCause};
use crate::id::{PeerName, ScopeId, SessionId};
use crate::limits;
use crate::mutation::{Mutation, planted};
use crate::outcome::Outcome;
use crate::record::{Contract, LockRecord, PeerKey, Record, RecordKey, WaiterRecord, Write};
use crate::revision::FencingToken;
use crate::state::{Change, State, Step};
use crate::target::{Target, TargetKind};
use crate::time::Now;

/// A change in the making, with what the locks will be after it.
#[derive(Debug)]
pub(in crate::state) struct Handover<'a> {
    pub(super) state: &'a State,
    pub(super) change: Change,
    pub(super) room: Room,
    outlook: Outlook<'a>,
    now: Now,
}

impl<'a> Handover<'a> {
    /// Begins with what the change is about.
    pub(in crate::state) fn new(state: &'a State, change: Change, now: Now) -> Self {
        let outlook = Outlook::new(state, change.scope.clone());
        let mut room = Room::new();
        room.use_for(&change.writes, &change.events);
        Self { state, change, room, outlook, now }
    }

    /// Something else that happens.
    pub(in crate::state) fn add(&mut self, writes: Vec<Write>, events: Vec<Event>) {
        self.room.use_for(&writes, &events);
        self.change.writes.extend(writes);
        self.change.events.extend(events);
    }

    /// Ends locks of one peer.
    pub(in crate::state) fn end_locks(
        &mut self,
        locks: &[Arc<LockRecord>],
        cause: UnlockCause,
        reason: &str,
    ) {
        let Some(first) = locks.first() else { return };
        for lock in locks {
            self.outlook.end(lock);
        }
        let (holder, reason) = (first.holder.clone(), reason.to_owned());
        let targets = locks.iter().map(|lock| lock.target.clone()).collect();
        let writes = locks.iter().map(|lock| Write::Delete(RecordKey::Lock(lock.key()))).collect();
        self.add(writes, vec![Event::FileUnlocked { holder, targets, cause, reason }]);
    }

    /// Grants locks in place of those that end, to the peer that held those.
    pub(super) fn hold_instead(&mut self, locks: Vec<Arc<LockRecord>>) {
        if locks.is_empty() {
            return;
        }
        for lock in &locks {
            self.outlook.hold(lock);
        }
        let writes = locks.iter().cloned().map(|lock| Write::Put(Record::Lock(lock))).collect();
        self.add(writes, vec![Event::FileLocked { locks, ticket: None }]);
    }

    /// Ends a wait.
    pub(super) fn end_wait(&mut self, waiter: &WaiterRecord, cause: WaitEndCause) {
        self.outlook.leave(waiter.ticket);
        self.room.take(0, waiter.weight(), 0);
        let writes = vec![Write::Delete(RecordKey::Waiter(waiter.ticket))];
        self.add(writes, vec![wait_ended(waiter, cause)]);
    }

    /// Ends what a session waits for that is over. What does not fit is due at once and follows in the next.
    pub(in crate::state) fn end_waits(&mut self, name: &PeerName, session: SessionId) {
        let peer = PeerKey { scope: self.change.scope.clone(), name: name.clone() };
        let state = self.state;
        for waiter in state.locks.queue.of_peer(&peer).filter(|waiter| waiter.session == session) {
            self.outlook.leave(waiter.ticket);
            let event = wait_ended(waiter, WaitEndCause::SessionEnded);
            if self.room.take(1, waiter.weight(), event.weight()) {
                self.change.writes.push(Write::Delete(RecordKey::Waiter(waiter.ticket)));
                self.change.events.push(event);
            }
        }
    }

    /// The change, with all granted that can be.
    pub(in crate::state) fn finish(mut self) -> Change {
        if self.outlook.is_freer() && !planted(Mutation::HandoverForgotten) {
            self.change.handover_due = Some(self.grant_those_who_wait(0));
        }
        self.change
    }

    /// Grants what can be granted, in the order of the queue; true when something is left that does not fit. So many
    /// are granted whether they fit or not.
    fn grant_those_who_wait(&mut self, at_least: usize) -> bool {
        let waiting: Vec<&'a Arc<WaiterRecord>> = self.outlook.waiters().collect();
        let (mut requests, mut locks) = (0, 0);
        for waiter in waiting {
            if !self.outlook.grants(&Wish::of(waiter)) {
                continue;
            }
            locks += waiter.targets.len();
            let fits = locks <= limits::HANDOVERS_PER_TRANSACTION && self.fits(waiter);
            if !fits && requests >= at_least {
                return true;
            }
            requests += 1;
            self.grant(waiter);
        }
        false
    }

    /// Takes the room for a grant, if there is as much. A contract is large, and one peer may wait twice for the same:
    /// one in a transaction is enough.
    fn fits(&mut self, waiter: &WaiterRecord) -> bool {
        let has_one = || self.change.writes.iter().any(|write| matches!(write, Write::Put(Record::Entry(_))));
        if waiter.contract.is_some() && has_one() {
            return false;
        }
        let per_lock = size_of::<LockRecord>() + waiter.scope.as_str().len() + waiter.reason.len();
        let mut events = waiter.targets.iter().map(|target| per_lock + target.as_str().len()).sum::<usize>();
        let (mut writes, mut bytes) = (1 + waiter.targets.len(), waiter.weight());
        if let Some((contract, subject)) = contract_of(waiter) {
            let (more, longer) = self.state.contract_writes(&waiter.scope, subject, contract);
            writes += more;
            bytes += longer;
            events += contract.weight();
        }
        self.room.take(writes, bytes, events)
    }

    fn grant(&mut self, waiter: &WaiterRecord) {
        let WaiterRecord { scope, ticket, peer, session, mode, ttl, reason, .. } = waiter;
        let terms = Terms {
            scope,
            holder: peer,
            session: *session,
            mode: *mode,
            ttl: *ttl,
            reason,
            token: FencingToken(self.state.next_revision()),
            ticket: Some(*ticket),
            now: self.now,
        };
        let lock = |target| Arc::new(terms.lock(self.outlook.lock(target, peer).map(Arc::as_ref), target));
        let locks: Vec<Arc<LockRecord>> = waiter.targets.iter().map(lock).collect();
        self.outlook.grant(*ticket, &locks);
        let fresh = locks.iter().filter(|lock| lock.token == terms.token).cloned().collect();
        self.change.writes.push(Write::Delete(RecordKey::Waiter(*ticket)));
        self.change.writes.extend(locks.into_iter().map(|lock| Write::Put(Record::Lock(lock))));
        self.change.events.push(Event::FileLocked { locks: fresh, ticket: Some(*ticket) });
        if let Some((contract, subject)) = contract_of(waiter) {
            self.state.write_contract(&mut self.change, subject, contract, peer, self.now);
        }
    }
}

/// What a request is to write with its grant, and on which subject.
fn contract_of(waiter: &WaiterRecord) -> Option<(&Contract, &Target)> {
    let subject = waiter.targets.iter().find(|target| target.kind() == TargetKind::Subject);
    waiter.contract.as_ref().zip(subject)
}

fn wait_ended(waiter: &WaiterRecord, cause: WaitEndCause) -> Event {
    let WaiterRecord { ticket, peer, targets, .. } = waiter;
    Event::LockWaitEnded { ticket: *ticket, peer: peer.clone(), targets: targets.clone(), cause }
}

impl State {
    /// Grants what did not fit into the transaction that freed its way: at least one request, so that it comes to an
    /// end.
    pub(in crate::state) fn decide_handover(&self, scope: &ScopeId, now: Now) -> Step {
        let mut handover = Handover::new(self, Change::new(scope.clone(), None, Outcome::Done), now);
        let more = handover.grant_those_who_wait(1);
        handover.change.handover_due = Some(more);
        Step::Change(handover.change)
    }
}
