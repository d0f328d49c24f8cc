//! Taking locks, waiting for them, and renewing them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::outlook::{Outlook, Wish};
use super::{check_few, clash, globs};
use crate::command::Acquire;
use crate::event::Event;
use crate::id::{PeerName, ScopeId, SessionId};
use crate::limits;
use crate::mutation::{Mutation, planted};
use crate::outcome::{Conflict, Obstacle, Outcome};
use crate::record::{LockMode, LockRecord, PeerRecord, Record, WaiterRecord, Write};
use crate::rejection::Rejection;
use crate::revision::{FencingToken, Ticket};
use crate::state::deadlines::Due;
use crate::state::peers::orphan_delay;
use crate::state::{Change, State, Step};
use crate::target::{Target, TargetKind, check_globs};
use crate::time::{Millis, Now, Timestamp};

/// What locks are granted on.
#[derive(Debug)]
pub(super) struct Terms<'a> {
    pub(super) scope: &'a ScopeId,
    pub(super) holder: &'a PeerName,
    pub(super) session: SessionId,
    pub(super) mode: LockMode,
    pub(super) ttl: Millis,
    pub(super) reason: &'a str,
    /// Of a new lock.
    pub(super) token: FencingToken,
    /// Of a new lock: the ticket under which it was waited for.
    pub(super) ticket: Option<Ticket>,
    pub(super) now: Now,
}

impl<'a> Terms<'a> {
    fn new(caller: &'a PeerRecord, acquire: &'a Acquire, token: FencingToken, now: Now) -> Self {
        Self {
            scope: &caller.scope,
            holder: &caller.name,
            session: session(caller),
            mode: acquire.mode,
            ttl: acquire.ttl,
            reason: &acquire.reason,
            token,
            ticket: None,
            now,
        }
    }

    /// The lock that the holder will have: its own one renewed, or a new one. One that an earlier session left behind
    /// is taken up again as strong as it was: nobody is let in between. None of this shortens the life of an own lock.
    pub(super) fn lock(&self, own: Option<&LockRecord>, target: &Target) -> LockRecord {
        let ttl = own.map_or(self.ttl, |own| own.ttl.max(self.ttl));
        if let Some(own) = own
            && own.session == self.session
            && (own.mode == self.mode || own.mode == LockMode::Exclusive)
        {
            let mut renewed = LockRecord { ttl, ticket: None, ..own.clone() };
            if !self.reason.is_empty() {
                self.reason.clone_into(&mut renewed.reason);
            }
            return renewed;
        }
        LockRecord {
            scope: self.scope.clone(),
            target: target.clone(),
            holder: self.holder.clone(),
            session: self.session,
            mode: own.map_or(self.mode, |own| stronger(own.mode, self.mode)),
            token: self.token,
            reason: self.reason.to_owned(),
            ttl,
            acquired: self.now.wall,
            ticket: self.ticket,
        }
    }
}

/// The mode that excludes as much as both.
pub(super) fn stronger(left: LockMode, right: LockMode) -> LockMode {
    if clash(left, right) { LockMode::Exclusive } else { LockMode::Shared }
}

pub(super) fn session(caller: &PeerRecord) -> SessionId {
    caller.session.as_ref().map(|session| session.id).expect("a caller is found by its live session")
}

/// The subject that a request's contract is for.
fn contract_subject(acquire: &Acquire) -> Result<Option<&Target>, Rejection> {
    if acquire.contract.is_none() {
        return Ok(None);
    }
    let mut subjects = acquire.targets.iter().filter(|target| target.kind() == TargetKind::Subject);
    match (acquire.mode, subjects.next(), subjects.next()) {
        (LockMode::Exclusive, Some(subject), None) => Ok(Some(subject)),
        (LockMode::Exclusive | LockMode::Shared, ..) => Err(Rejection::invalid(
            "contract",
            "needs an exclusive lock with exactly one subject among its targets",
        )),
    }
}

impl State {
    pub(in crate::state) fn decide_acquire(
        &self,
        caller: &Arc<PeerRecord>,
        acquire: &Acquire,
        now: Now,
    ) -> Result<Step, Rejection> {
        let subject = contract_subject(acquire)?;
        if let Some(subject) = subject {
            self.check_contract(&caller.scope, subject)?;
        }
        check_globs("paths", &acquire.targets)?;
        if acquire.wait > Millis::ZERO {
            check_few("paths", &acquire.targets)?;
        }
        let outlook = Outlook::new(self, caller.scope.clone());
        let Acquire { targets, mode, .. } = acquire;
        let wish = Wish { peer: Some(&caller.name), targets, mode: *mode, ticket: None };
        if planted(Mutation::LockGuardDropped) || outlook.grants(&wish) {
            return self.grant(caller, acquire, subject, now).map(Step::Change);
        }
        if acquire.wait > Millis::ZERO {
            return self.enqueue(caller, acquire, &outlook, now).map(Step::Change);
        }
        Ok(Step::Answer(Outcome::Conflicts(self.conflicts(&outlook, &wish, now.at))))
    }

    fn grant(
        &self,
        caller: &PeerRecord,
        acquire: &Acquire,
        subject: Option<&Target>,
        now: Now,
    ) -> Result<Change, Rejection> {
        let token = if planted(Mutation::TokenNotRising) { self.revision } else { self.next_revision() };
        let terms = Terms::new(caller, acquire, FencingToken(token), now);
        let own = |target: &Target| self.locks.get(&caller.scope, target, &caller.name);
        let lock = |target| Arc::new(terms.lock(own(target).map(Arc::as_ref), target));
        let torn = usize::from(planted(Mutation::SetTorn) && acquire.targets.len() > 1);
        let targets = acquire.targets.iter().take(acquire.targets.len() - torn);
        let locks: Vec<Arc<LockRecord>> = targets.map(lock).collect();
        let new: Vec<Target> =
            acquire.targets.iter().filter(|target| own(target).is_none()).cloned().collect();
        self.locks.check_limits(&caller.key(), new.len(), globs(&new))?;
        let fresh: Vec<_> = locks.iter().filter(|lock| lock.token == terms.token).cloned().collect();
        let outcome = Outcome::Granted { locks: locks.clone() };
        let mut change = Change::new(caller.scope.clone(), Some(caller.name.clone()), outcome);
        change.writes = locks.into_iter().map(|lock| Write::Put(Record::Lock(lock))).collect();
        if !fresh.is_empty() {
            change.events.push(Event::FileLocked { locks: fresh, ticket: None });
        }
        if let Some((contract, subject)) = acquire.contract.as_ref().zip(subject) {
            self.write_contract(&mut change, subject, contract, &caller.name, now);
        }
        Ok(change)
    }

    /// Puts a request at the end of the queue, unless that would close a circle.
    fn enqueue(
        &self,
        caller: &PeerRecord,
        acquire: &Acquire,
        outlook: &Outlook<'_>,
        now: Now,
    ) -> Result<Change, Rejection> {
        let Acquire { targets, mode, ttl, reason, wait, contract } = acquire;
        let wish = Wish { peer: Some(&caller.name), targets, mode: *mode, ticket: None };
        let holders: BTreeSet<&PeerName> =
            outlook.locks_in_the_way(&wish).map(|(_, lock)| &lock.holder).collect();
        if outlook.may_be_awaited(&caller.name)
            && let Some(path) = outlook.reach(&caller.name).path(holders.iter().copied(), &caller.name)
        {
            let cycle = std::iter::once(caller.name.clone()).chain(path).collect();
            return Err(Rejection::Deadlock { cycle });
        }
        self.locks.check_queue(&caller.key(), targets)?;
        let mut waits_for: Vec<PeerName> =
            holders.into_iter().take(limits::WAITS_FOR_SHOWN).cloned().collect();
        for (_, waiter) in outlook.waiters_in_the_way(&wish) {
            if waits_for.len() == limits::WAITS_FOR_SHOWN {
                break;
            }
            if !waits_for.contains(&waiter.peer) {
                waits_for.push(waiter.peer.clone());
            }
        }
        let ticket = Ticket(self.next_revision());
        let waiter = Arc::new(WaiterRecord {
            scope: caller.scope.clone(),
            ticket,
            peer: caller.name.clone(),
            session: session(caller),
            targets: targets.clone(),
            mode: *mode,
            ttl: *ttl,
            reason: reason.clone(),
            contract: contract.clone(),
            wait: *wait,
            at: now.at,
            queued: now.wall,
        });
        let outcome = Outcome::Queued { ticket };
        let mut change = Change::new(caller.scope.clone(), Some(caller.name.clone()), outcome);
        change.writes.push(Write::Put(Record::Waiter(waiter.clone())));
        change.events.push(Event::LockQueued { waiter, waits_for });
        Ok(change)
    }

    /// What is in the way of a request, at most as much as it may have targets.
    fn conflicts(&self, outlook: &Outlook<'_>, wish: &Wish<'_>, now: Timestamp) -> Vec<Conflict> {
        let doing = |name: &PeerName| {
            let peer = self.peers.get(&outlook.scope, name);
            peer.map(|peer| peer.info.focus.clone()).unwrap_or_default()
        };
        let locks = outlook.locks_in_the_way(wish).map(|(target, lock)| {
            let (lingering, remaining) = self.lock_status(lock, now);
            let obstacle = Obstacle::Lock { lock: lock.clone(), lingering };
            Conflict { target: target.clone(), obstacle, remaining, holder_focus: doing(&lock.holder) }
        });
        // A request is found once for each of its targets that overlaps.
        let mut shown = BTreeSet::new();
        let waiters = outlook.waiters_in_the_way(wish);
        let waiters = waiters.filter(|(target, waiter)| shown.insert((*target, waiter.ticket)));
        let waiters = waiters.map(|(target, waiter)| {
            let remaining = self.remaining(&Due::Waiter(waiter.ticket), now).unwrap_or_default();
            let obstacle = Obstacle::Waiter(waiter.clone());
            Conflict { target: target.clone(), obstacle, remaining, holder_focus: doing(&waiter.peer) }
        });
        locks.chain(waiters).take(limits::TARGETS).collect()
    }

    pub(in crate::state) fn decide_renew(
        &self,
        caller: &Arc<PeerRecord>,
        targets: &[Target],
        ttl: Option<Millis>,
    ) -> Result<Step, Rejection> {
        let own = self.own_locks(caller, targets)?;
        if own.len() > limits::TARGETS {
            let problem = format!("must name the targets: {} locks are held, at most 100 a call", own.len());
            return Err(Rejection::invalid("paths", problem));
        }
        // A lock of a session that is over only waits to be taken up again: there is nothing to renew.
        let live = |lock: &&Arc<LockRecord>| orphan_delay(caller, lock.session).is_none();
        if !targets.is_empty()
            && let Some(lock) = own.iter().find(|lock| !live(lock))
        {
            return Err(Rejection::LockNotHeld { path: lock.target.clone() });
        }
        let renew = |lock: &Arc<LockRecord>| {
            let ttl = ttl.unwrap_or(lock.ttl);
            Arc::new(LockRecord { ttl, ticket: None, ..LockRecord::clone(lock) })
        };
        let renewed: Vec<Arc<LockRecord>> = own.into_iter().filter(live).map(renew).collect();
        let writes = renewed.iter().cloned().map(|lock| Write::Put(Record::Lock(lock))).collect();
        let outcome = Outcome::Renewed { locks: renewed };
        if let Outcome::Renewed { locks } = &outcome
            && locks.is_empty()
        {
            return Ok(Step::Answer(outcome));
        }
        let change = Change::new(caller.scope.clone(), Some(caller.name.clone()), outcome);
        Ok(Step::Change(Change { writes, ..change }))
    }
}
