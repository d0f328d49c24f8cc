//! What the locks and the queue of a scope would be after a change, and who could be granted what then.
//!
//! A request is granted when no lock of another peer is in its way, and no request of another peer that waits. Of two
//! requests that want the same, the later one is behind the earlier one; unless the peer of the earlier one waits for
//! the peer of the later one, directly or through others: then the later one passes, and the earlier one is behind it.
//! So a grant never makes a circle of peers that wait for each other.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::reach::Reach;
use super::{Holders, clash};
use crate::id::{PeerName, ScopeId};
use crate::mutation::{Mutation, planted};
use crate::record::{LockMode, LockRecord, PeerKey, WaiterRecord};
use crate::revision::Ticket;
use crate::state::State;
use crate::target::Target;
use crate::target::index::TargetIndex;

/// A set of locks that somebody wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    /// Who; none for somebody who holds nothing and waits for nothing.
    pub(super) peer: Option<&'a PeerName>,
    /// On what.
    pub(super) targets: &'a [Target],
    /// How they exclude others.
    pub(super) mode: LockMode,
    /// The place in the queue; none is after all that wait.
    pub(super) ticket: Option<Ticket>,
}

impl<'a> Wish<'a> {
    /// What a request waits for.
    pub(super) fn of(waiter: &'a WaiterRecord) -> Self {
        let WaiterRecord { ticket, peer, targets, mode, .. } = waiter;
        Self { peer: Some(peer), targets, mode: *mode, ticket: Some(*ticket) }
    }
}

/// The locks and the queue of a scope, but for what a change ends and grants.
#[derive(Debug)]
pub(super) struct Outlook<'a> {
    state: &'a State,
    pub(super) scope: ScopeId,
    ended: BTreeMap<Target, BTreeSet<PeerName>>,
    granted: TargetIndex<Holders>,
    gone: BTreeSet<Ticket>,
    reach: OnceCell<Reach>,
}

impl<'a> Outlook<'a> {
    /// As it is.
    pub(super) fn new(state: &'a State, scope: ScopeId) -> Self {
        let (ended, granted, gone) = Default::default();
        Self { state, scope, ended, granted, gone, reach: OnceCell::new() }
    }

    /// Without a lock.
    pub(super) fn end(&mut self, lock: &LockRecord) {
        self.ended.entry(lock.target.clone()).or_default().insert(lock.holder.clone());
        self.reach.take();
    }

    /// Without a request.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.gone.insert(ticket);
        self.reach.take();
    }

    /// With what a peer holds in place of what it held: it may be in nobody's way who was free to go on.
    pub(super) fn hold(&mut self, lock: &Arc<LockRecord>) {
        self.granted.entry(&lock.target).insert(lock.holder.clone(), lock.clone());
        self.reach.take();
    }

    /// With a request granted. Who waits for whom stays as it is: those behind the request wait for its holder, and it
    /// waited for nobody.
    pub(super) fn grant(&mut self, ticket: Ticket, locks: &[Arc<LockRecord>]) {
        self.gone.insert(ticket);
        for lock in locks {
            self.granted.entry(&lock.target).insert(lock.holder.clone(), lock.clone());
        }
    }

    /// True when a lock or a request has ended.
    pub(super) fn is_freer(&self) -> bool {
        !self.ended.is_empty() || !self.gone.is_empty()
    }

    /// A peer's lock on exactly this target.
    pub(super) fn lock(&self, target: &Target, holder: &PeerName) -> Option<&Arc<LockRecord>> {
        let granted = self.granted.get(target).and_then(|holders| holders.get(holder));
        let stored = || self.state.locks.get(&self.scope, target, holder).filter(|lock| self.stands(lock));
        granted.or_else(stored)
    }

    /// The requests that wait, in their order.
    pub(super) fn waiters(&self) -> impl Iterator<Item = &'a Arc<WaiterRecord>> + use<'_, 'a> {
        self.state.locks.queue.of_scope(&self.scope).filter(|waiter| self.waits_still(waiter))
    }

    /// True when nobody is in the way.
    pub(super) fn grants(&self, wish: &Wish<'_>) -> bool {
        let in_turn = || planted(Mutation::QueueIgnored) || self.waiters_in_the_way(wish).next().is_none();
        self.locks_in_the_way(wish).next().is_none() && in_turn()
    }

    /// Locks of others that exclude a wish, with the target that they exclude.
    pub(super) fn locks_in_the_way<'b>(
        &'b self,
        wish: &Wish<'b>,
    ) -> impl Iterator<Item = (&'b Target, &'b Arc<LockRecord>)> + use<'b, 'a> {
        let wish = *wish;
        let others = move |target| {
            self.overlapping(target)
                .filter(move |lock| Some(&lock.holder) != wish.peer && clash(lock.mode, wish.mode))
        };
        wish.targets.iter().flat_map(move |target| others(target).map(move |lock| (target, lock)))
    }

    /// Requests of others that a wish is behind, with the target that they want too.
    pub(super) fn waiters_in_the_way<'b>(
        &'b self,
        wish: &Wish<'b>,
    ) -> impl Iterator<Item = (&'b Target, &'b Arc<WaiterRecord>)> + use<'b, 'a> {
        let wish = *wish;
        let awaited = OnceCell::new();
        self.rivals(wish).filter(move |(_, waiter)| {
            let Some(peer) = wish.peer else { return true };
            if wish.ticket.is_none_or(|ticket| waiter.ticket < ticket) {
                let awaited = *awaited.get_or_init(|| self.may_be_awaited(peer));
                return !awaited || !self.reach(peer).leads(&waiter.peer, peer);
            }
            self.may_wait_otherwise(peer) && self.reach(peer).leads(peer, &waiter.peer)
        })
    }

    /// What a wish is about, except where the peer has that much already.
    pub(super) fn wants<'b>(&'b self, wish: &Wish<'b>) -> impl Iterator<Item = &'b Target> + use<'b, 'a> {
        let Wish { peer, targets, mode, .. } = *wish;
        targets.iter().filter(move |target| !self.has(peer, target, mode))
    }

    /// Targets of requests that intersect one.
    pub(super) fn wanted_too<'b>(
        &'b self,
        target: &'b Target,
    ) -> impl Iterator<Item = &'b Target> + use<'b, 'a> {
        self.state.locks.queue.targets_overlapping(&self.scope, target)
    }

    /// Requests of others that want what a wish wants.
    fn rivals<'b>(
        &'b self,
        wish: Wish<'b>,
    ) -> impl Iterator<Item = (&'b Target, &'b Arc<WaiterRecord>)> + use<'b, 'a> {
        let rivals = move |target| {
            self.state.locks.queue.overlapping(&self.scope, target).filter(move |waiter| {
                Some(&waiter.peer) != wish.peer && clash(waiter.mode, wish.mode) && self.waits_still(waiter)
            })
        };
        self.wants(&wish).flat_map(move |target| rivals(target).map(move |waiter| (target, waiter)))
    }

    /// Who waits for whom.
    pub(super) fn reach(&self, peer: &PeerName) -> &Reach {
        self.reach.get_or_init(|| Reach::new(self, peer))
    }

    /// Locks that intersect a target.
    fn overlapping<'b>(
        &'b self,
        target: &'b Target,
    ) -> impl Iterator<Item = &'b Arc<LockRecord>> + use<'b, 'a> {
        let granted = self.granted.overlapping(target).flat_map(|(_, holders)| holders.values());
        let stored = self.state.locks.overlapping(&self.scope, target);
        granted.chain(stored.filter(|lock| self.stands(lock)))
    }

    /// True for a stored lock that is neither ended nor replaced.
    fn stands(&self, lock: &LockRecord) -> bool {
        let ended = self.ended.get(&lock.target).is_some_and(|holders| holders.contains(&lock.holder));
        let replaced =
            || self.granted.get(&lock.target).is_some_and(|holders| holders.contains_key(&lock.holder));
        !ended && !replaced()
    }

    fn waits_still(&self, waiter: &WaiterRecord) -> bool {
        !self.gone.contains(&waiter.ticket) && !self.state.locks.queue.is_over(waiter.ticket)
    }

    /// True when a peer holds a lock that excludes others from the target as well as the one it wants would.
    fn has(&self, peer: Option<&PeerName>, target: &Target, mode: LockMode) -> bool {
        let Some(peer) = peer else { return false };
        let enough = |lock: &LockRecord| lock.mode == LockMode::Exclusive || lock.mode == mode;
        self.overlapping(target)
            .any(|lock| lock.holder == *peer && enough(lock) && lock.target.covers(target))
    }

    /// False only if nobody waits for a peer.
    pub(super) fn may_be_awaited(&self, peer: &PeerName) -> bool {
        let locks = &self.state.locks;
        let key = PeerKey { scope: self.scope.clone(), name: peer.clone() };
        let wanted = |target: &Target, mode: LockMode| {
            let mut others = locks.queue.overlapping(&self.scope, target);
            others.any(|waiter| waiter.peer != *peer && clash(waiter.mode, mode))
        };
        locks.of_holder(&key).any(|lock| wanted(&lock.target, lock.mode))
            || locks.queue.of_peer(&key).any(|own| own.targets.iter().any(|target| wanted(target, own.mode)))
    }

    /// False only if a peer waits with no more than one request.
    fn may_wait_otherwise(&self, peer: &PeerName) -> bool {
        let key = PeerKey { scope: self.scope.clone(), name: peer.clone() };
        self.state.locks.queue.count_of_peer(&key) > 1
    }
}
