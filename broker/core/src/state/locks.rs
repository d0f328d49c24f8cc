//! Locks: who may hold what at once, who waits for what, and how a lock ends.

mod acquire;
mod fence;
mod handover;
mod outlook;
mod queue;
mod reach;
mod release;
mod requests;
mod room;

pub(super) use handover::Handover;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::State;
use super::deadlines::Due;
use super::peers::orphan_delay;
use crate::id::{PeerName, ScopeId};
use crate::limits;
use crate::mutation::{Mutation, planted};
use crate::record::{LockKey, LockMode, LockRecord, PeerKey, PeerRecord, ReleaseRequestRecord, WaiterRecord};
use crate::rejection::Rejection;
use crate::revision::Ticket;
use crate::target::index::TargetIndex;
use crate::target::{Target, TargetKind, check_globs};
use crate::time::{Millis, Timestamp};

use queue::Queue;
use requests::Requests;

type Holders = BTreeMap<PeerName, Arc<LockRecord>>;

/// All locks, those who wait for one, and the open requests to make way.
#[derive(Clone, Debug, Default)]
pub struct Locks {
    by_scope: BTreeMap<ScopeId, TargetIndex<Holders>>,
    by_holder: BTreeMap<PeerKey, BTreeSet<Target>>,
    count: usize,
    counts: BTreeMap<ScopeId, usize>,
    /// How many globs the locks and waiting requests of a scope name.
    globs: BTreeMap<ScopeId, usize>,
    queue: Queue,
    requests: Requests,
}

impl Locks {
    /// A request that waits.
    #[must_use]
    pub fn waiter(&self, ticket: Ticket) -> Option<&Arc<WaiterRecord>> {
        self.queue.get(ticket)
    }

    /// The requests of a scope that wait, in the order of the queue.
    pub fn waiters(&self, scope: &ScopeId) -> impl Iterator<Item = &Arc<WaiterRecord>> {
        self.queue.of_scope(scope)
    }

    /// The locks that were newly granted to a peer under a ticket and are held since; not renewed since. What else the
    /// request named, the peer held already.
    #[must_use]
    pub fn granted_under(&self, holder: &PeerKey, ticket: Ticket) -> Vec<Arc<LockRecord>> {
        self.of_holder(holder).filter(|lock| lock.ticket == Some(ticket)).cloned().collect()
    }

    /// How many requests wait.
    #[must_use]
    pub fn waiter_count(&self) -> usize {
        self.queue.count()
    }

    /// Open requests to make way of a scope, oldest first.
    pub fn release_requests(&self, scope: &ScopeId) -> impl Iterator<Item = &Arc<ReleaseRequestRecord>> {
        self.requests.of_scope(scope)
    }

    /// How many locks there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// A lock by its name.
    #[must_use]
    pub fn get(&self, scope: &ScopeId, target: &Target, holder: &PeerName) -> Option<&Arc<LockRecord>> {
        self.by_scope.get(scope)?.get(target)?.get(holder)
    }

    /// The locks of one peer, by target.
    pub fn of_holder(&self, holder: &PeerKey) -> impl Iterator<Item = &Arc<LockRecord>> + use<'_> {
        let key = holder.clone();
        self.by_holder
            .get(holder)
            .into_iter()
            .flatten()
            .filter_map(move |target| self.get(&key.scope, target, &key.name))
    }

    /// How many locks one peer has.
    #[must_use]
    pub fn count_of_holder(&self, holder: &PeerKey) -> usize {
        self.by_holder.get(holder).map_or(0, BTreeSet::len)
    }

    /// The locks of a scope whose targets intersect this one.
    pub fn overlapping<'a>(
        &'a self,
        scope: &ScopeId,
        target: &'a Target,
    ) -> impl Iterator<Item = &'a Arc<LockRecord>> + use<'a> {
        let locks = self.by_scope.get(scope).into_iter();
        locks.flat_map(move |locks| locks.overlapping(target)).flat_map(|(_, holders)| holders.values())
    }

    /// Locks of one scope, or of all, by scope, target and holder, after a lock.
    pub fn list<'a>(
        &'a self,
        scope: Option<&'a ScopeId>,
        after: Option<&'a LockKey>,
    ) -> impl Iterator<Item = &'a Arc<LockRecord>> {
        self.by_scope
            .iter()
            .filter(move |(at, _)| scope.is_none_or(|scope| scope == *at))
            .filter(move |(at, _)| after.is_none_or(|after| after.scope <= **at))
            .flat_map(move |(at, targets)| {
                let target = after.filter(|after| after.scope == *at).map(|after| &after.target);
                let from = target.map_or(Bound::Unbounded, Bound::Included);
                targets.range(from).flat_map(|(_, holders)| holders.values())
            })
            .filter(move |lock| after.is_none_or(|after| after.is_before(lock)))
    }

    fn insert(&mut self, record: &Arc<LockRecord>) {
        let targets = self.by_scope.entry(record.scope.clone()).or_default();
        let holders = targets.entry(&record.target);
        if holders.insert(record.holder.clone(), record.clone()).is_some() {
            return;
        }
        self.count += 1;
        *self.counts.entry(record.scope.clone()).or_default() += 1;
        let holder = PeerKey { scope: record.scope.clone(), name: record.holder.clone() };
        self.by_holder.entry(holder).or_default().insert(record.target.clone());
        self.count_globs(&record.scope, std::slice::from_ref(&record.target));
    }

    fn remove(&mut self, key: &LockKey) {
        let Some(targets) = self.by_scope.get_mut(&key.scope) else { return };
        let Some(holders) = targets.get_mut(&key.target) else { return };
        if holders.remove(&key.holder).is_none() {
            return;
        }
        self.count -= 1;
        if let Some(count) = self.counts.get_mut(&key.scope) {
            *count -= 1;
        }
        if holders.is_empty() {
            targets.remove(&key.target);
        }
        if targets.is_empty() {
            self.by_scope.remove(&key.scope);
            self.counts.remove(&key.scope);
        }
        let holder = PeerKey { scope: key.scope.clone(), name: key.holder.clone() };
        if let Some(targets) = self.by_holder.get_mut(&holder) {
            targets.remove(&key.target);
            if targets.is_empty() {
                self.by_holder.remove(&holder);
            }
        }
        self.discount_globs(&key.scope, std::slice::from_ref(&key.target));
    }

    fn count_globs(&mut self, scope: &ScopeId, targets: &[Target]) {
        let more = globs(targets);
        if more > 0 {
            *self.globs.entry(scope.clone()).or_default() += more;
        }
    }

    fn discount_globs(&mut self, scope: &ScopeId, targets: &[Target]) {
        let fewer = globs(targets);
        if let Some(count) = self.globs.get_mut(scope) {
            *count -= fewer;
            if *count == 0 {
                self.globs.remove(scope);
            }
        }
    }

    /// Whether a peer may have so much more, locks or the promise of locks.
    fn check_limits(&self, peer: &PeerKey, more: usize, more_globs: usize) -> Result<(), Rejection> {
        let limit = |count, limit, what| match count > limit {
            true => Err(Rejection::LimitReached { what, limit }),
            false => Ok(()),
        };
        if more > 0 {
            let own = self.count_of_holder(peer) + self.queue.promised_to(peer);
            limit(own + more, limits::LOCKS_PER_PEER, "locks of one peer")?;
            let here = self.counts.get(&peer.scope).copied().unwrap_or_default();
            let here = here + self.queue.promised_in(&peer.scope);
            limit(here + more, limits::LOCKS_PER_SCOPE, "locks of one scope")?;
            limit(self.count + self.queue.promised() + more, limits::LOCKS, "locks")?;
        }
        if more_globs > 0 {
            let globs = self.globs.get(&peer.scope).copied().unwrap_or_default();
            limit(globs + more_globs, limits::GLOBS_PER_SCOPE, "globs of one scope")?;
        }
        Ok(())
    }
}

/// True when two peers may not hold such locks on overlapping targets.
pub(super) fn clash(left: LockMode, right: LockMode) -> bool {
    left == LockMode::Exclusive || right == LockMode::Exclusive
}

/// How many globs these are, their braces multiplied out.
fn globs(targets: &[Target]) -> usize {
    targets.iter().filter(|target| target.kind() == TargetKind::Glob).map(Target::alternatives).sum()
}

/// Some requests may name only so many targets.
fn check_few(field: &'static str, targets: &[Target]) -> Result<(), Rejection> {
    if targets.len() > limits::WAIT_TARGETS {
        let problem =
            format!("names {} targets; at most {} are allowed here", targets.len(), limits::WAIT_TARGETS);
        return Err(Rejection::invalid(field, problem));
    }
    check_globs(field, targets)
}

impl State {
    /// The lock with whether it lingers and how long it has left.
    #[must_use]
    pub fn lock_status(&self, lock: &LockRecord, now: Timestamp) -> (bool, Millis) {
        let remaining = self.remaining(&Due::Lock(lock.key()), now).unwrap_or_default();
        (self.lingers(lock), remaining)
    }

    /// Whether the holder's session is gone.
    fn lingers(&self, lock: &LockRecord) -> bool {
        let holder = self.peers.get(&lock.scope, &lock.holder);
        holder.is_none_or(|peer| orphan_delay(peer, lock.session).is_some())
    }

    /// The caller's locks on these targets, or all of them.
    fn own_locks(&self, caller: &PeerRecord, targets: &[Target]) -> Result<Vec<&Arc<LockRecord>>, Rejection> {
        if targets.is_empty() {
            return Ok(self.locks.of_holder(&caller.key()).collect());
        }
        let own = |target: &Target| {
            let lock = self.locks.get(&caller.scope, target, &caller.name);
            let holders = || self.locks.by_scope.get(&caller.scope)?.get(target);
            let anyone = || holders().and_then(|holders| holders.values().next());
            let lock = if planted(Mutation::ReleaseByAnyone) { lock.or_else(anyone) } else { lock };
            lock.ok_or_else(|| Rejection::LockNotHeld { path: target.clone() })
        };
        targets.iter().map(own).collect()
    }

    pub(super) fn apply_lock(&mut self, record: &Arc<LockRecord>, now: Timestamp) {
        self.locks.insert(record);
        let holder = self.peers.get(&record.scope, &record.holder);
        let orphaned = holder.map_or(Some(limits::LOCK_DELAY), |peer| orphan_delay(peer, record.session));
        let ttl = orphaned.map_or(record.ttl, |delay| delay.min(record.ttl));
        let ttl = if planted(Mutation::LockTooShort) { Millis(ttl.0 / 2) } else { ttl };
        let ttl = if planted(Mutation::LockImmortal) { Millis(ttl.0 * 1_000) } else { ttl };
        self.deadlines.set(Due::Lock(record.key()), now.after(ttl));
    }

    pub(super) fn remove_lock(&mut self, key: &LockKey, now: Timestamp) {
        self.locks.remove(key);
        self.deadlines.clear(&Due::Lock(key.clone()));
        self.end_moot_requests(key, now);
    }
}
