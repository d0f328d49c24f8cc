//! Locks: who may hold what at once, and how a lock ends.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::deadlines::Due;
use super::peers::{has_left, orphan_delay};
use super::{Change, State, Step};
use crate::command::{Acquire, AnswerRelease, RequestRelease};
use crate::event::{Event, UnlockCause};
use crate::id::{PeerName, ScopeId};
use crate::limits;
use crate::outcome::{Conflict, Obstacle, Outcome};
use crate::record::{
    LockKey, LockMode, LockRecord, PeerKey, PeerRecord, Record, RecordKey, ReleaseRequestKey,
    ReleaseRequestRecord, WaiterRecord, Write,
};
use crate::rejection::Rejection;
use crate::revision::{FencingToken, Ticket};
use crate::target::Target;
use crate::time::{Millis, Now, Timestamp};

type Holders = BTreeMap<PeerName, Arc<LockRecord>>;

/// All locks, ordered by scope and target, so that what overlaps a target is a few look-ups and one range.
#[derive(Clone, Debug, Default)]
pub struct Locks {
    by_scope: BTreeMap<ScopeId, BTreeMap<Target, Holders>>,
    by_holder: BTreeMap<PeerKey, BTreeSet<Target>>,
    count: usize,
}

impl Borrow<str> for Target {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl Locks {
    /// A request that waits.
    #[must_use]
    pub fn waiter(&self, _ticket: Ticket) -> Option<&Arc<WaiterRecord>> {
        None
    }

    /// The requests of a scope that wait, in the order of the queue.
    pub fn waiters(&self, _scope: &ScopeId) -> impl Iterator<Item = &Arc<WaiterRecord>> {
        std::iter::empty()
    }

    /// The locks that were granted to a peer under a ticket and are held since.
    #[must_use]
    pub fn granted_under(&self, holder: &PeerKey, ticket: Ticket) -> Vec<Arc<LockRecord>> {
        self.of_holder(holder).filter(|lock| lock.ticket == Some(ticket)).cloned().collect()
    }

    /// Open requests to make way of a scope, oldest first.
    pub fn release_requests(&self, _scope: &ScopeId) -> impl Iterator<Item = &Arc<ReleaseRequestRecord>> {
        std::iter::empty()
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
    pub fn of_holder(&self, holder: &PeerKey) -> impl Iterator<Item = &Arc<LockRecord>> {
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
    ) -> impl Iterator<Item = &'a Arc<LockRecord>> {
        self.by_scope.get(scope).into_iter().flat_map(move |locks| {
            let above = target.ancestors().filter_map(|ancestor| locks.get(&ancestor));
            above.chain(within(locks, target)).flat_map(BTreeMap::values)
        })
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
                targets.range::<Target, _>((from, Bound::Unbounded)).flat_map(|(_, holders)| holders.values())
            })
            .filter(move |lock| after.is_none_or(|after| after.is_before(lock)))
    }

    fn insert(&mut self, record: &Arc<LockRecord>) {
        let targets = self.by_scope.entry(record.scope.clone()).or_default();
        let holders = targets.entry(record.target.clone()).or_default();
        if holders.insert(record.holder.clone(), record.clone()).is_none() {
            self.count += 1;
        }
        let holder = PeerKey { scope: record.scope.clone(), name: record.holder.clone() };
        self.by_holder.entry(holder).or_default().insert(record.target.clone());
    }

    fn remove(&mut self, key: &LockKey) {
        let Some(targets) = self.by_scope.get_mut(&key.scope) else { return };
        let Some(holders) = targets.get_mut(&key.target) else { return };
        if holders.remove(&key.holder).is_none() {
            return;
        }
        self.count -= 1;
        if holders.is_empty() {
            targets.remove(&key.target);
        }
        if targets.is_empty() {
            self.by_scope.remove(&key.scope);
        }
        let holder = PeerKey { scope: key.scope.clone(), name: key.holder.clone() };
        if let Some(targets) = self.by_holder.get_mut(&holder) {
            targets.remove(&key.target);
            if targets.is_empty() {
                self.by_holder.remove(&holder);
            }
        }
    }
}

/// The target itself and, for a subtree, all that lies below it.
fn within<'a>(
    locks: &'a BTreeMap<Target, Holders>,
    target: &Target,
) -> Box<dyn Iterator<Item = &'a Holders> + 'a> {
    if !target.is_subtree() {
        return Box::new(locks.get(target).into_iter());
    }
    let prefix = target.prefix();
    if prefix.is_empty() {
        return Box::new(locks.values());
    }
    // `0` follows `/`, so this range is all that begins with the prefix.
    let end = format!("{}0", prefix.trim_end_matches('/'));
    let range = (Bound::Included(prefix), Bound::Excluded(end.as_str()));
    Box::new(locks.range::<str, _>(range).map(|(_, holders)| holders))
}

impl State {
    /// The lock with whether it lingers and how long it has left.
    #[must_use]
    pub fn lock_status(&self, lock: &LockRecord, now: Timestamp) -> (bool, Millis) {
        let remaining = self.remaining(&Due::Lock(lock.key()), now).unwrap_or_default();
        let holder = self.peers.get(&lock.scope, &lock.holder);
        (holder.is_none_or(|peer| orphan_delay(peer, lock.session).is_some()), remaining)
    }

    /// Whether a peer could have a lock at once; any peer, if none is named.
    #[must_use]
    pub fn is_free(
        &self,
        scope: &ScopeId,
        _peer: Option<&PeerName>,
        target: &Target,
        _mode: LockMode,
    ) -> bool {
        self.locks.overlapping(scope, target).next().is_none()
    }

    /// The live lock with this token that covers the target; or else the overlapping lock with the largest token.
    pub fn check_fence(
        &self,
        _scope: &ScopeId,
        _target: &Target,
        _token: FencingToken,
    ) -> Result<Arc<LockRecord>, Option<Arc<LockRecord>>> {
        Err(None)
    }

    pub(super) fn decide_acquire(
        &self,
        caller: &Arc<PeerRecord>,
        acquire: &Acquire,
        now: Now,
    ) -> Result<Step, Rejection> {
        let conflicts = self.conflicts(caller, acquire, now.at);
        if !conflicts.is_empty() {
            return Ok(Step::Answer(Outcome::Conflicts(conflicts)));
        }
        let locks: Vec<Arc<LockRecord>> =
            acquire.targets.iter().map(|target| Arc::new(self.grant(caller, acquire, target, now))).collect();
        let token = FencingToken(self.next_revision());
        let fresh: Vec<Arc<LockRecord>> = locks.iter().filter(|lock| lock.token == token).cloned().collect();
        let new = locks.iter().filter(|l| self.locks.get(&l.scope, &l.target, &l.holder).is_none()).count();
        if self.locks.count_of_holder(&caller.key()) + new > limits::LOCKS_PER_PEER {
            return Err(Rejection::LimitReached { what: "locks of one peer", limit: limits::LOCKS_PER_PEER });
        }
        if self.locks.count + new > limits::LOCKS {
            return Err(Rejection::LimitReached { what: "locks", limit: limits::LOCKS });
        }
        let events = if fresh.is_empty() {
            Vec::new()
        } else {
            vec![Event::FileLocked { locks: fresh, ticket: None }]
        };
        Ok(Step::Change(Change {
            scope: caller.scope.clone(),
            actor: Some(caller.name.clone()),
            writes: locks.iter().cloned().map(|lock| Write::Put(Record::Lock(lock))).collect(),
            events,
            outcome: Outcome::Granted { locks },
            handover_due: None,
        }))
    }

    /// What is in the way of a request, at most as many as it has targets allowed.
    fn conflicts(&self, caller: &PeerRecord, acquire: &Acquire, now: Timestamp) -> Vec<Conflict> {
        let others = |target| {
            self.locks.overlapping(&caller.scope, target).filter(move |lock| {
                let exclusive = acquire.mode == LockMode::Exclusive || lock.mode == LockMode::Exclusive;
                lock.holder != caller.name && exclusive
            })
        };
        let found = acquire.targets.iter().flat_map(|target| others(target).map(move |lock| (target, lock)));
        found.take(limits::TARGETS).map(|(target, lock)| self.conflict(target, lock, now)).collect()
    }

    fn conflict(&self, target: &Target, lock: &Arc<LockRecord>, now: Timestamp) -> Conflict {
        let (lingering, remaining) = self.lock_status(lock, now);
        let holder = self.peers.get(&lock.scope, &lock.holder);
        let holder_focus = holder.map(|peer| peer.info.focus.clone()).unwrap_or_default();
        Conflict {
            target: target.clone(),
            obstacle: Obstacle::Lock { lock: lock.clone(), lingering },
            remaining,
            holder_focus,
        }
    }

    /// The lock that the caller will have: its own one renewed, or a new one.
    fn grant(&self, caller: &PeerRecord, acquire: &Acquire, target: &Target, now: Now) -> LockRecord {
        let session = caller.session.as_ref().map(|session| session.id);
        let own = self.locks.get(&caller.scope, target, &caller.name);
        if let Some(own) = own
            && Some(own.session) == session
            && (own.mode == acquire.mode || own.mode == LockMode::Exclusive)
        {
            let mut renewed = LockRecord::clone(own);
            renewed.ttl = acquire.ttl;
            if !acquire.reason.is_empty() {
                renewed.reason.clone_from(&acquire.reason);
            }
            return renewed;
        }
        LockRecord {
            scope: caller.scope.clone(),
            target: target.clone(),
            holder: caller.name.clone(),
            session: session.expect("a caller is found by its live session"),
            mode: acquire.mode,
            token: FencingToken(self.next_revision()),
            reason: acquire.reason.clone(),
            ttl: acquire.ttl,
            acquired: now.wall,
            ticket: None,
        }
    }

    pub(super) fn decide_renew(
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
        let renewed: Vec<Arc<LockRecord>> = own
            .into_iter()
            .filter(live)
            .map(|lock| {
                let ttl = ttl.unwrap_or(lock.ttl);
                Arc::new(LockRecord { ttl, ..LockRecord::clone(lock) })
            })
            .collect();
        if renewed.is_empty() {
            return Ok(Step::Answer(Outcome::Renewed { locks: renewed }));
        }
        Ok(Step::Change(Change {
            scope: caller.scope.clone(),
            actor: Some(caller.name.clone()),
            writes: renewed.iter().cloned().map(|lock| Write::Put(Record::Lock(lock))).collect(),
            events: Vec::new(),
            outcome: Outcome::Renewed { locks: renewed },
            handover_due: None,
        }))
    }

    pub(super) fn decide_release(
        &self,
        caller: &Arc<PeerRecord>,
        targets: &[Target],
        _keep: &[Target],
        _note: &str,
        _now: Now,
    ) -> Result<Step, Rejection> {
        let mut own = self.own_locks(caller, targets)?;
        own.truncate(limits::UNLOCKS_PER_TRANSACTION);
        let released: Vec<Target> = own.iter().map(|lock| lock.target.clone()).collect();
        let left = self.locks.count_of_holder(&caller.key()).saturating_sub(released.len());
        let remaining = u32::try_from(left).unwrap_or(u32::MAX);
        let outcome = Outcome::Released { targets: released.clone(), remaining, kept: Vec::new() };
        if released.is_empty() {
            return Ok(Step::Answer(outcome));
        }
        Ok(Step::Change(Change {
            scope: caller.scope.clone(),
            actor: Some(caller.name.clone()),
            writes: own.iter().map(|lock| Write::Delete(RecordKey::Lock(lock.key()))).collect(),
            events: vec![Event::FileUnlocked {
                holder: caller.name.clone(),
                targets: released,
                cause: UnlockCause::Released,
                reason: String::new(),
            }],
            outcome,
            handover_due: None,
        }))
    }

    /// The caller's locks on these targets, or all of them.
    fn own_locks(&self, caller: &PeerRecord, targets: &[Target]) -> Result<Vec<&Arc<LockRecord>>, Rejection> {
        if targets.is_empty() {
            return Ok(self.locks.of_holder(&caller.key()).collect());
        }
        let own = |target: &Target| {
            let lock = self.locks.get(&caller.scope, target, &caller.name);
            lock.ok_or_else(|| Rejection::LockNotHeld { path: target.clone() })
        };
        targets.iter().map(own).collect()
    }

    /// Ends a lock that is past its deadline, together with the holder's other ones that are.
    pub(super) fn decide_unlock(&self, key: &LockKey, now: Now) -> Step {
        let Some(first) = self.locks.get(&key.scope, &key.target, &key.holder) else {
            return Step::Answer(Outcome::Done);
        };
        let holder = PeerKey { scope: key.scope.clone(), name: key.holder.clone() };
        let overdue = |lock: &&Arc<LockRecord>| {
            let due = self.deadlines.at(&Due::Lock(lock.key()));
            lock.session == first.session && due.is_some_and(|at| at <= now.at)
        };
        let over: Vec<_> =
            self.locks.of_holder(&holder).filter(overdue).take(limits::UNLOCKS_PER_TRANSACTION).collect();
        Step::Change(Change {
            scope: key.scope.clone(),
            actor: None,
            writes: over.iter().map(|lock| Write::Delete(RecordKey::Lock(lock.key()))).collect(),
            events: vec![Event::FileUnlocked {
                holder: key.holder.clone(),
                targets: over.iter().map(|lock| lock.target.clone()).collect(),
                cause: self.unlock_cause(first),
                reason: String::new(),
            }],
            outcome: Outcome::Done,
            handover_due: None,
        })
    }

    /// Why a lock past its deadline ends.
    fn unlock_cause(&self, lock: &LockRecord) -> UnlockCause {
        let Some(peer) = self.peers.get(&lock.scope, &lock.holder) else { return UnlockCause::SessionEnded };
        if orphan_delay(peer, lock.session).is_none() {
            return UnlockCause::Expired;
        }
        if has_left(peer, lock.session) { UnlockCause::Left } else { UnlockCause::SessionEnded }
    }

    pub(super) fn apply_lock(&mut self, record: &Arc<LockRecord>, now: Timestamp) {
        self.locks.insert(record);
        let holder = self.peers.get(&record.scope, &record.holder);
        let orphaned = holder.map_or(Some(limits::LOCK_DELAY), |peer| orphan_delay(peer, record.session));
        let ttl = orphaned.map_or(record.ttl, |delay| delay.min(record.ttl));
        self.deadlines.set(Due::Lock(record.key()), now.after(ttl));
    }

    pub(super) fn decide_abandon(
        &self,
        _caller: &Arc<PeerRecord>,
        _ticket: Ticket,
        _now: Now,
    ) -> Result<Step, Rejection> {
        Err(Rejection::invalid("ticket", "STUB"))
    }

    pub(super) fn decide_wait_expiry(&self, _ticket: Ticket, _now: Now) -> Step {
        Step::Answer(Outcome::Done)
    }

    pub(super) fn decide_handover(&self, _scope: &ScopeId, _now: Now) -> Step {
        Step::Answer(Outcome::Done)
    }

    pub(super) fn decide_request_release(
        &self,
        _caller: &Arc<PeerRecord>,
        _ask: &RequestRelease,
        _now: Now,
    ) -> Result<Step, Rejection> {
        Err(Rejection::invalid("paths", "STUB"))
    }

    pub(super) fn decide_answer_release(
        &self,
        _caller: &Arc<PeerRecord>,
        _answer: &AnswerRelease,
        _now: Now,
    ) -> Result<Step, Rejection> {
        Err(Rejection::invalid("id", "STUB"))
    }

    pub(super) fn decide_force_release(
        &self,
        _caller: &Arc<PeerRecord>,
        _targets: &[Target],
        _reason: &str,
        _now: Now,
    ) -> Result<Step, Rejection> {
        Err(Rejection::invalid("paths", "STUB"))
    }

    pub(super) fn apply_waiter(&mut self, _record: &Arc<WaiterRecord>) {}

    pub(super) fn remove_waiter(&mut self, _ticket: Ticket) {}

    pub(super) fn apply_release_request(&mut self, _record: &Arc<ReleaseRequestRecord>) {}

    pub(super) fn remove_release_request(&mut self, _key: &ReleaseRequestKey) {}

    pub(super) fn remove_lock(&mut self, key: &LockKey) {
        self.locks.remove(key);
        self.deadlines.clear(&Due::Lock(key.clone()));
    }
}
