//! Who waits for which locks, and for whom; and how locks are handed over.

use mesh_core::event::{Event, WaitEndCause};
use mesh_core::id::{PeerName, ScopeId, SessionId};
use mesh_core::limits::HANDOVERS_PER_TRANSACTION;
use mesh_core::outcome::Outcome;
use mesh_core::record::{LockMode, LockRecord, WaiterRecord};
use mesh_core::revision::Ticket;
use mesh_core::target::Target;
use mesh_core::time::{Now, Timestamp};

use super::locks::{Grant, clash};
use super::{Expected, Naive, done_by};
use crate::world;

/// So many records fit into a transaction at any rate, and so many beside a contract and its former versions.
const WRITES: usize = 100;
const WRITES_WITH_CONTRACT: usize = 40;

/// A set of locks that somebody wants.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    pub(crate) scope: &'a ScopeId,
    /// Who; none for somebody who holds nothing and waits for nothing.
    pub(crate) peer: Option<&'a PeerName>,
    pub(crate) targets: &'a [Target],
    pub(crate) mode: LockMode,
    /// The place in the queue; none is after all that wait.
    pub(crate) ticket: Option<Ticket>,
}

impl<'a> Wish<'a> {
    pub(crate) fn of(waiter: &'a WaiterRecord) -> Self {
        let WaiterRecord { scope, ticket, peer, targets, mode, .. } = waiter;
        Self { scope, peer: Some(peer), targets, mode: *mode, ticket: Some(*ticket) }
    }
}

/// Who waits for whom, as pairs.
type Pairs = Vec<(PeerName, PeerName)>;

impl Naive {
    /// True when no lock and no request that waits is in the way.
    pub(crate) fn grants(&self, wish: &Wish<'_>) -> bool {
        self.locks_in_the_way(wish).is_empty() && self.waiters_in_the_way(wish).is_empty()
    }

    /// Locks of others that exclude a wish, with the target that they exclude.
    pub(super) fn locks_in_the_way(&self, wish: &Wish<'_>) -> Vec<(Target, LockRecord)> {
        let mut found = Vec::new();
        for target in wish.targets {
            for lock in self.locks.iter().map(|held| &held.lock) {
                let of_other = lock.scope == *wish.scope && Some(&lock.holder) != wish.peer;
                if of_other && clash(lock.mode, wish.mode) && world::overlap(&lock.target, target) {
                    found.push((target.clone(), lock.clone()));
                }
            }
        }
        found
    }

    /// Requests of others that a wish is behind: earlier ones, but for those whose peer waits for this one, and later
    /// ones whose peer this one waits for.
    pub(super) fn waiters_in_the_way(&self, wish: &Wish<'_>) -> Vec<(Target, WaiterRecord)> {
        let mut rivals = self.rivals(wish);
        if let Some(peer) = wish.peer.filter(|_| !rivals.is_empty()) {
            let pairs = self.pairs(wish.scope);
            rivals.retain(|(_, waiter)| {
                if wish.ticket.is_none_or(|ticket| waiter.ticket < ticket) {
                    !leads(&pairs, &waiter.peer, peer)
                } else {
                    leads(&pairs, peer, &waiter.peer)
                }
            });
        }
        rivals
    }

    /// Requests of others that want what a wish wants and its peer does not have.
    fn rivals(&self, wish: &Wish<'_>) -> Vec<(Target, WaiterRecord)> {
        let mut found = Vec::new();
        for target in wish.targets.iter().filter(|target| !self.has(wish, target)) {
            for waiter in self.waiters.iter().filter(|waiter| waiter.scope == *wish.scope) {
                let overlaps = waiter.targets.iter().any(|at| world::overlap(at, target));
                if overlaps && Some(&waiter.peer) != wish.peer && clash(waiter.mode, wish.mode) {
                    found.push((target.clone(), waiter.clone()));
                }
            }
        }
        found
    }

    /// True when the peer holds a lock which excludes others from the target as well as the one it wants would.
    fn has(&self, wish: &Wish<'_>, target: &Target) -> bool {
        self.locks.iter().map(|held| &held.lock).any(|lock| {
            let enough = lock.mode == LockMode::Exclusive || lock.mode == wish.mode;
            let own = lock.scope == *wish.scope && Some(&lock.holder) == wish.peer;
            own && enough && world::covers(&lock.target, target)
        })
    }

    /// Who waits for whom: for who holds what it wants, and, in the order of the queue, for who wants the same earlier,
    /// unless that one waits for it.
    pub(crate) fn pairs(&self, scope: &ScopeId) -> Pairs {
        let mut pairs = Pairs::new();
        let here: Vec<_> = self.waiters.iter().filter(|waiter| waiter.scope == *scope).collect();
        for waiter in &here {
            for (_, lock) in self.locks_in_the_way(&Wish::of(waiter)) {
                pairs.push((waiter.peer.clone(), lock.holder));
            }
        }
        for waiter in &here {
            for (_, earlier) in self.rivals(&Wish::of(waiter)) {
                if earlier.ticket < waiter.ticket && !leads(&pairs, &earlier.peer, &waiter.peer) {
                    pairs.push((waiter.peer.clone(), earlier.peer));
                }
            }
        }
        pairs
    }

    /// True when one peer waits for another, directly or through others.
    pub(super) fn waits_for(&self, scope: &ScopeId, from: &PeerName, to: &PeerName) -> bool {
        leads(&self.pairs(scope), from, to)
    }

    /// True when the first of these would wait for the second with a wish, and each of the others waits for the next,
    /// and the last is the first.
    pub(crate) fn is_circle(&self, wish: &Wish<'_>, names: &[PeerName]) -> bool {
        let [first, second, ..] = names else { return false };
        let begins = self.locks_in_the_way(wish).iter().any(|(_, lock)| lock.holder == *second);
        let pairs = self.pairs(wish.scope);
        let mut steps = names[1..].windows(2);
        let goes_on = steps.all(|step| pairs.contains(&(step[0].clone(), step[1].clone())));
        Some(first) == wish.peer && begins && goes_on && names.last() == Some(first)
    }

    /// Ends what some sessions wait for, and hands over what is free.
    pub(super) fn end_waits(
        &mut self,
        scope: &ScopeId,
        sessions: &[SessionId],
        now: Now,
        events: &mut Vec<Event>,
    ) {
        for session in sessions {
            let over = self.waiters.iter().filter(|waiter| waiter.session == *session);
            let over: Vec<Ticket> = over.map(|waiter| waiter.ticket).collect();
            for ticket in over {
                self.end_wait(ticket, WaitEndCause::SessionEnded, events);
            }
        }
        self.hand_over(scope, now, events);
    }

    fn end_wait(&mut self, ticket: Ticket, cause: WaitEndCause, events: &mut Vec<Event>) {
        let at = self.waiters.iter().position(|waiter| waiter.ticket == ticket).expect("it waits");
        let WaiterRecord { peer, targets, .. } = self.waiters.remove(at);
        self.freer = true;
        events.push(Event::LockWaitEnded { ticket, peer, targets, cause });
    }

    pub(super) fn stop_waiting(&mut self, ticket: Ticket, now: Now) -> Expected {
        let scope =
            self.waiters.iter().find(|waiter| waiter.ticket == ticket).expect("it waits").scope.clone();
        let mut events = Vec::new();
        self.end_wait(ticket, WaitEndCause::TimedOut, &mut events);
        self.hand_over(&scope, now, &mut events);
        Expected::Commit { scope, actor: None, events, outcome: Outcome::Done }
    }

    pub(super) fn abandon(&mut self, caller: usize, ticket: Ticket, now: Now) -> Expected {
        let peer = self.peers[caller].clone();
        let mut events = Vec::new();
        let own = |waiter: &WaiterRecord| waiter.scope == peer.scope && waiter.peer == peer.name;
        if self.waiters.iter().any(|waiter| waiter.ticket == ticket && own(waiter)) {
            self.end_wait(ticket, WaitEndCause::Cancelled, &mut events);
        } else {
            let targets = self.own_targets(&peer.scope, &peer.name);
            let under = |target: &Target| {
                let at = self.own(&peer.scope, &peer.name, target).expect("it is held");
                self.locks[at].lock.ticket == Some(ticket)
            };
            let given_back: Vec<Target> = targets.into_iter().filter(under).collect();
            if given_back.is_empty() {
                return Expected::Answer(Outcome::Done);
            }
            self.give_back((&peer.scope, &peer.name), &given_back, now, &mut events);
        }
        self.hand_over(&peer.scope, now, &mut events);
        done_by(&peer, events, Outcome::Done)
    }

    /// Once something is free, whoever can be granted is, in the order of the queue, as much as one transaction takes.
    pub(super) fn hand_over(&mut self, scope: &ScopeId, now: Now, events: &mut Vec<Event>) {
        if self.freer {
            let more = self.grant_in_order(scope, 0, now, events);
            self.set_handover(scope, more, now.at);
        }
    }

    /// What did not fit follows in a transaction of its own.
    pub(super) fn go_on_handing_over(&mut self, scope: &ScopeId, now: Now) -> Expected {
        let mut events = Vec::new();
        let more = self.grant_in_order(scope, 1, now, &mut events);
        self.set_handover(scope, more, now.at);
        Expected::Commit { scope: scope.clone(), actor: None, events, outcome: Outcome::Done }
    }

    fn set_handover(&mut self, scope: &ScopeId, more: bool, now: Timestamp) {
        let due = self.handovers.iter().any(|(other, _)| other == scope);
        if !more {
            self.handovers.retain(|(other, _)| other != scope);
        } else if !due {
            self.handovers.push((scope.clone(), now));
        }
    }

    /// True when something is left: only so many locks fit, and one contract, and only so many bytes.
    fn grant_in_order(&mut self, scope: &ScopeId, least: usize, now: Now, events: &mut Vec<Event>) -> bool {
        let here = self.waiters.iter().filter(|waiter| waiter.scope == *scope);
        let waiting: Vec<WaiterRecord> = here.cloned().collect();
        let (mut granted, mut locks, mut contracts) = (0, 0, 0);
        for waiter in waiting {
            if !self.grants(&Wish::of(&waiter)) {
                continue;
            }
            locks += waiter.targets.len();
            contracts += usize::from(waiter.contract.is_some());
            let second_contract = contracts > 1 && waiter.contract.is_some();
            let too_many = locks > HANDOVERS_PER_TRANSACTION || second_contract;
            if granted >= least && (too_many || granted == self.chosen.granted) {
                let writes = self.chosen.writes + waiter.targets.len() + 1;
                let is_large = writes > if contracts > 0 { WRITES_WITH_CONTRACT } else { WRITES };
                assert!(too_many || is_large, "{waiter:?} would fit");
                return true;
            }
            granted += 1;
            self.waiters.retain(|other| other.ticket != waiter.ticket);
            let grant = Grant {
                scope,
                holder: &waiter.peer,
                session: waiter.session,
                targets: &waiter.targets,
                mode: waiter.mode,
                ttl: waiter.ttl,
                reason: &waiter.reason,
                contract: waiter.contract.as_ref(),
                ticket: Some(waiter.ticket),
            };
            self.grant(grant, now, events);
        }
        false
    }
}

/// True when there is a way from one to the other.
pub(crate) fn leads(pairs: &[(PeerName, PeerName)], from: &PeerName, to: &PeerName) -> bool {
    let mut seen: Vec<&PeerName> = vec![from];
    let mut at = 0;
    while let Some(waits) = seen.get(at).copied() {
        for (_, next) in pairs.iter().filter(|(other, _)| other == waits) {
            if next == to {
                return true;
            }
            if !seen.contains(&next) {
                seen.push(next);
            }
        }
        at += 1;
    }
    false
}
