//! Who holds what: taking locks and renewing them.

use mesh_core::command::Acquire;
use mesh_core::event::{Event, UnlockCause};
use mesh_core::id::{PeerName, ScopeId, SessionId};
use mesh_core::limits::WAITERS_PER_PEER;
use mesh_core::outcome::{Conflict, Obstacle, Outcome};
use mesh_core::record::{Contract, LockMode, LockRecord, WaiterRecord};
use mesh_core::rejection::Rejection;
use mesh_core::revision::{FencingToken, Ticket};
use mesh_core::target::Target;
use mesh_core::time::{Millis, Now, Timestamp};

use super::entries::Content;
use super::queue::Wish;
use super::{Expected, Held, Naive, done_by};
use crate::world;

/// What is granted, and to whom.
#[derive(Clone, Copy)]
pub(super) struct Grant<'a> {
    pub(super) scope: &'a ScopeId,
    pub(super) holder: &'a PeerName,
    pub(super) session: SessionId,
    pub(super) targets: &'a [Target],
    pub(super) mode: LockMode,
    pub(super) ttl: Millis,
    pub(super) reason: &'a str,
    pub(super) contract: Option<&'a Contract>,
    pub(super) ticket: Option<Ticket>,
}

/// True when two peers may not hold such locks on overlapping targets.
pub(super) fn clash(left: LockMode, right: LockMode) -> bool {
    left == LockMode::Exclusive || right == LockMode::Exclusive
}

impl Naive {
    pub(super) fn acquire(
        &mut self,
        caller: usize,
        acquire: &Acquire,
        now: Now,
    ) -> Result<Expected, Rejection> {
        let peer = self.peers[caller].clone();
        let session = peer.session.as_ref().expect("a caller has a session").id;
        let subjects = acquire.targets.iter().filter(|target| world::is_subject(target)).count();
        let has_contract = acquire.contract.is_some();
        if has_contract && (acquire.mode == LockMode::Shared || subjects != 1) {
            return Err(Rejection::invalid("contract", ""));
        }
        let Acquire { targets, mode, .. } = acquire;
        let wish = Wish { scope: &peer.scope, peer: Some(&peer.name), targets, mode: *mode, ticket: None };
        if self.grants(&wish) {
            let grant = Grant {
                scope: &peer.scope,
                holder: &peer.name,
                session,
                targets,
                mode: *mode,
                ttl: acquire.ttl,
                reason: &acquire.reason,
                contract: acquire.contract.as_ref(),
                ticket: None,
            };
            let mut events = Vec::new();
            let locks = self.grant(grant, now, &mut events);
            let locks = locks.into_iter().map(Into::into).collect();
            return Ok(done_by(&peer, events, Outcome::Granted { locks }));
        }
        if acquire.wait == Millis::ZERO {
            return Ok(Expected::Answer(Outcome::Conflicts(self.conflicts(&wish, now.at))));
        }
        let holders: Vec<PeerName> =
            self.locks_in_the_way(&wish).into_iter().map(|(_, at)| at.holder).collect();
        if holders.iter().any(|holder| self.waits_for(&peer.scope, holder, &peer.name)) {
            return Err(Rejection::Deadlock { cycle: Vec::new() });
        }
        let own = |waiter: &&WaiterRecord| waiter.scope == peer.scope && waiter.peer == peer.name;
        if self.waiters.iter().filter(own).count() >= WAITERS_PER_PEER {
            let (what, limit) = ("waiting requests of one peer", WAITERS_PER_PEER);
            return Err(Rejection::LimitReached { what, limit });
        }
        let earlier = self.waiters_in_the_way(&wish).into_iter().map(|(_, waiter)| waiter.peer);
        let mut waits_for: Vec<PeerName> = holders.into_iter().chain(earlier).collect();
        waits_for.sort();
        waits_for.dedup();
        let ticket = Ticket(self.next());
        let waiter = WaiterRecord {
            scope: peer.scope.clone(),
            ticket,
            peer: peer.name.clone(),
            session,
            targets: targets.clone(),
            mode: *mode,
            ttl: acquire.ttl,
            reason: acquire.reason.clone(),
            contract: acquire.contract.clone(),
            wait: acquire.wait,
            at: now.at,
            queued: now.wall,
        };
        self.waiters.push(waiter.clone());
        let events = vec![Event::LockQueued { waiter: waiter.into(), waits_for }];
        Ok(done_by(&peer, events, Outcome::Queued { ticket }))
    }

    /// Grants all targets: own locks that exclude as much are renewed, the others are new.
    pub(super) fn grant(&mut self, grant: Grant<'_>, now: Now, events: &mut Vec<Event>) -> Vec<LockRecord> {
        let token = FencingToken(self.next());
        let mut locks = Vec::new();
        for target in grant.targets {
            let at = self.own(grant.scope, grant.holder, target);
            let own = at.map(|at| self.locks.remove(at).lock);
            let enough = |own: &LockRecord| {
                own.session == grant.session && (own.mode == grant.mode || own.mode == LockMode::Exclusive)
            };
            // What is taken up again of an earlier session is as exclusive as it was.
            let was_exclusive = own.as_ref().is_some_and(|own| own.mode == LockMode::Exclusive);
            let mode = if was_exclusive { LockMode::Exclusive } else { grant.mode };
            // Whoever holds it for longer goes on to.
            let ttl = if let Some(own) = &own { own.ttl.max(grant.ttl) } else { grant.ttl };
            let lock = match own.filter(enough) {
                Some(own) => LockRecord {
                    ttl,
                    reason: if grant.reason.is_empty() { own.reason } else { grant.reason.to_owned() },
                    ticket: None,
                    ..own
                },
                None => LockRecord {
                    scope: grant.scope.clone(),
                    target: target.clone(),
                    holder: grant.holder.clone(),
                    session: grant.session,
                    mode,
                    token,
                    reason: grant.reason.to_owned(),
                    ttl,
                    acquired: now.wall,
                    ticket: grant.ticket,
                },
            };
            self.locks.push(Held { until: now.at.after(lock.ttl), lock: lock.clone() });
            locks.push(lock);
        }
        let fresh: Vec<_> =
            locks.iter().filter(|lock| lock.token == token).cloned().map(Into::into).collect();
        if !fresh.is_empty() || grant.ticket.is_some() {
            events.push(Event::FileLocked { locks: fresh, ticket: grant.ticket });
        }
        let subject = grant.targets.iter().find(|target| world::is_subject(target));
        if let Some((contract, subject)) = grant.contract.zip(subject) {
            self.write_contract(grant, subject, contract, now, events);
        }
        locks
    }

    /// A contract is written by whoever changes its subject, whoever wrote the one before.
    fn write_contract(
        &mut self,
        grant: Grant<'_>,
        subject: &Target,
        contract: &Contract,
        now: Now,
        events: &mut Vec<Event>,
    ) {
        let key = world::contract_key(subject);
        let mut paths = vec![subject.clone()];
        paths.extend(contract.paths.iter().filter(|path| *path != subject).cloned());
        let content = Content { value: contract.text.to_string(), paths, tags: Vec::new(), ttl: None };
        self.write(grant.scope, &key, content, grant.holder, now, events);
    }

    fn conflicts(&self, wish: &Wish<'_>, now: Timestamp) -> Vec<Conflict> {
        let doing = |name: &PeerName| {
            let peer = self.peer(wish.scope, name).map(|at| &self.peers[at]);
            peer.map(|peer| peer.info.focus.clone()).unwrap_or_default()
        };
        let locks = self.locks_in_the_way(wish).into_iter().map(|(target, lock)| Conflict {
            target,
            remaining: self.until(&lock).since(now),
            holder_focus: doing(&lock.holder),
            obstacle: Obstacle::Lock { lingering: self.is_orphan(&lock), lock: lock.into() },
        });
        let waiters = self.waiters_in_the_way(wish).into_iter().map(|(target, waiter)| Conflict {
            target,
            remaining: waiter.at.after(waiter.wait).since(now),
            holder_focus: doing(&waiter.peer),
            obstacle: Obstacle::Waiter(waiter.into()),
        });
        locks.chain(waiters).collect()
    }

    fn until(&self, lock: &LockRecord) -> Timestamp {
        self.locks.iter().find(|held| held.lock == *lock).expect("it is held").until
    }

    pub(super) fn renew(
        &mut self,
        caller: usize,
        targets: &[Target],
        ttl: Option<Millis>,
        now: Now,
    ) -> Result<Expected, Rejection> {
        let peer = self.peers[caller].clone();
        let own = |target: &Target| self.own(&peer.scope, &peer.name, target);
        let named =
            if targets.is_empty() { self.own_targets(&peer.scope, &peer.name) } else { targets.to_vec() };
        let is_missing = |target: &&Target| own(target).is_none();
        let lingers = |at: &usize| self.is_orphan(&self.locks[*at].lock);
        let is_over = |target: &&Target| own(target).is_some_and(|at| lingers(&at));
        if let Some(path) = targets.iter().find(is_missing).or(targets.iter().find(is_over)) {
            return Err(Rejection::LockNotHeld { path: path.clone() });
        }
        let found: Vec<usize> = named.iter().filter_map(own).filter(|at| !lingers(at)).collect();
        let mut locks = Vec::new();
        for at in found {
            let held = &mut self.locks[at];
            held.lock.ttl = ttl.unwrap_or(held.lock.ttl);
            held.lock.ticket = None;
            held.until = now.at.after(held.lock.ttl);
            locks.push(held.lock.clone().into());
        }
        let nothing = locks.is_empty();
        let outcome = Outcome::Renewed { locks };
        Ok(if nothing { Expected::Answer(outcome) } else { done_by(&peer, Vec::new(), outcome) })
    }

    pub(super) fn own(&self, scope: &ScopeId, holder: &PeerName, target: &Target) -> Option<usize> {
        self.locks.iter().position(|held| {
            held.lock.scope == *scope && held.lock.holder == *holder && held.lock.target == *target
        })
    }

    pub(super) fn own_targets(&self, scope: &ScopeId, name: &PeerName) -> Vec<Target> {
        let own = self.locks.iter().filter(|held| held.lock.scope == *scope && held.lock.holder == *name);
        let mut targets: Vec<Target> = own.map(|held| held.lock.target.clone()).collect();
        targets.sort();
        targets
    }

    /// Ends locks of one peer. Who asked for them to be released asks for nothing any longer once all of them have.
    pub(super) fn end_locks(
        &mut self,
        (scope, holder): (&ScopeId, &PeerName),
        targets: &[Target],
        cause: UnlockCause,
        reason: &str,
        now: Now,
        events: &mut Vec<Event>,
    ) {
        if targets.is_empty() {
            return;
        }
        self.freer = true;
        for target in targets {
            let at = self.own(scope, holder, target).expect("it is held");
            self.locks.remove(at);
        }
        for at in 0..self.requests.len() {
            let request = &self.requests[at].record;
            let is_to_holder = request.scope == *scope && request.holder == *holder;
            let mut named = request.locks.iter();
            if is_to_holder && named.all(|target| self.own(scope, holder, target).is_none()) {
                self.requests[at].until = self.requests[at].until.min(now.at);
            }
        }
        let (holder, reason) = (holder.clone(), reason.to_owned());
        events.push(Event::FileUnlocked { holder, targets: targets.to_vec(), cause, reason });
    }
}
