//! How locks end: they are given up, narrowed, run out, or are taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::acquire::{session, stronger};
use super::handover::Handover;
use super::requests::Given;
use super::{check_few, globs};
use crate::event::UnlockCause;
use crate::id::PeerName;
use crate::limits;
use crate::outcome::Outcome;
use crate::record::{LockKey, LockMode, LockRecord, PeerKey, PeerRecord};
use crate::rejection::Rejection;
use crate::revision::{FencingToken, Revision};
use crate::state::deadlines::Due;
use crate::state::peers::{has_left, orphan_delay};
use crate::state::{Change, State, Step};
use crate::target::Target;
use crate::time::Now;

/// What a holder does about some of its locks.
#[derive(Debug)]
pub(super) struct GiveUp<'a> {
    /// The locks.
    pub(super) named: Vec<&'a Arc<LockRecord>>,
    /// What to hold instead.
    pub(super) keep: &'a [Target],
    /// A word to those who asked.
    pub(super) note: &'a str,
    /// The request to make way that this answers.
    pub(super) answers: Option<Revision>,
}

impl State {
    pub(in crate::state) fn decide_release(
        &self,
        caller: &Arc<PeerRecord>,
        targets: &[Target],
        keep: &[Target],
        note: &str,
        now: Now,
    ) -> Result<Step, Rejection> {
        if targets.is_empty() && !keep.is_empty() {
            return Err(Rejection::invalid("keep", "needs `paths`: the locks that it takes the place of"));
        }
        let mut named = self.own_locks(caller, targets)?;
        named.truncate(limits::UNLOCKS_PER_TRANSACTION);
        self.give_up(caller, &GiveUp { named, keep, note, answers: None }, now)
    }

    /// Ends own locks, but for what is kept.
    pub(super) fn give_up(
        &self,
        caller: &PeerRecord,
        what: &GiveUp<'_>,
        now: Now,
    ) -> Result<Step, Rejection> {
        let kept = self.kept(caller, what, now)?;
        let named = || what.named.iter().copied().cloned();
        let released: Vec<_> = named().filter(|lock| !what.keep.contains(&lock.target)).collect();
        let token = FencingToken(self.next_revision());
        let granted: Vec<_> = kept.iter().filter(|lock| lock.token == token).cloned().collect();
        let is_new =
            |lock: &&Arc<LockRecord>| self.locks.get(&lock.scope, &lock.target, &lock.holder).is_none();
        let new: Vec<Target> = granted.iter().filter(is_new).map(|lock| lock.target.clone()).collect();
        let targets: Vec<Target> = released.iter().map(|lock| lock.target.clone()).collect();
        let more = new.len().saturating_sub(targets.len());
        self.locks.check_limits(&caller.key(), more, globs(&new).saturating_sub(globs(&targets)))?;
        let left = (self.locks.count_of_holder(&caller.key()) + new.len()).saturating_sub(targets.len());
        let remaining = u32::try_from(left).unwrap_or(u32::MAX);
        let outcome = Outcome::Released { targets, remaining, kept: kept.clone() };
        let change = Change::new(caller.scope.clone(), Some(caller.name.clone()), outcome);
        let mut handover = Handover::new(self, change, now);
        let cause = if kept.is_empty() { UnlockCause::Released } else { UnlockCause::Narrowed };
        handover.end_locks(&released, cause, "");
        handover.hold_instead(granted);
        let named: Vec<_> = named().collect();
        let given = Given { holder: &caller.name, named: &named, released: &released, kept: &kept };
        handover.answer(&given, what.note, what.answers);
        let change = handover.finish();
        if change.writes.is_empty() {
            return Ok(Step::Answer(change.outcome));
        }
        Ok(Step::Change(change))
    }

    /// The locks that a holder will have in place of some.
    fn kept(
        &self,
        caller: &PeerRecord,
        what: &GiveUp<'_>,
        now: Now,
    ) -> Result<Vec<Arc<LockRecord>>, Rejection> {
        check_few("keep", what.keep)?;
        let targets: BTreeSet<&Target> = what.keep.iter().collect();
        let keep = |target: &Target| {
            if let Some(same) = what.named.iter().find(|lock| lock.target == *target) {
                return Ok(Arc::clone(same));
            }
            let mut covering: Vec<_> = what.named.iter().filter(|lock| lock.target.covers(target)).collect();
            covering.sort_by_key(|lock| lock.mode == LockMode::Shared);
            let Some(over) = covering.first() else {
                return Err(Rejection::invalid(
                    "keep",
                    format!("{target} is not covered by what is released"),
                ));
            };
            let own = self.locks.get(&caller.scope, target, &caller.name);
            if let Some(own) = own
                && orphan_delay(caller, own.session).is_none()
                && (own.mode == over.mode || own.mode == LockMode::Exclusive)
            {
                return Ok(own.clone());
            }
            Ok(Arc::new(LockRecord {
                target: target.clone(),
                mode: own.map_or(over.mode, |own| stronger(own.mode, over.mode)),
                session: session(caller),
                token: FencingToken(self.next_revision()),
                acquired: now.wall,
                ticket: None,
                ..LockRecord::clone(over)
            }))
        };
        targets.into_iter().map(keep).collect()
    }

    /// Ends a lock that is past its deadline, together with the holder's other ones that are.
    pub(in crate::state) fn decide_unlock(&self, key: &LockKey, now: Now) -> Step {
        let Some(first) = self.locks.get(&key.scope, &key.target, &key.holder) else {
            return Step::Answer(Outcome::Done);
        };
        let holder = PeerKey { scope: key.scope.clone(), name: key.holder.clone() };
        let overdue = |lock: &&Arc<LockRecord>| {
            let due = self.deadlines.at(&Due::Lock(lock.key()));
            lock.session == first.session && due.is_some_and(|at| at <= now.at)
        };
        let over = self.locks.of_holder(&holder).filter(overdue).take(limits::UNLOCKS_PER_TRANSACTION);
        let over: Vec<_> = over.cloned().collect();
        let cause = self.unlock_cause(first);
        let mut handover = Handover::new(self, Change::new(key.scope.clone(), None, Outcome::Done), now);
        handover.end_locks(&over, cause, "");
        if cause == UnlockCause::Left {
            handover.answer_released(&key.holder, &over);
        }
        Step::Change(handover.finish())
    }

    /// Why a lock past its deadline ends.
    fn unlock_cause(&self, lock: &LockRecord) -> UnlockCause {
        let Some(peer) = self.peers.get(&lock.scope, &lock.holder) else { return UnlockCause::SessionEnded };
        if orphan_delay(peer, lock.session).is_none() {
            return UnlockCause::Expired;
        }
        if has_left(peer, lock.session) { UnlockCause::Left } else { UnlockCause::SessionEnded }
    }

    pub(in crate::state) fn decide_force_release(
        &self,
        caller: &Arc<PeerRecord>,
        targets: &[Target],
        reason: &str,
        now: Now,
    ) -> Result<Step, Rejection> {
        if reason.is_empty() {
            return Err(Rejection::invalid(
                "reason",
                "is empty; say why, for the former holders and the history",
            ));
        }
        check_few("paths", targets)?;
        let found = targets.iter().flat_map(|target| self.locks.overlapping(&caller.scope, target));
        let others = found.filter(|lock| lock.holder != caller.name);
        let all: BTreeMap<(&PeerName, &Target), &Arc<LockRecord>> =
            others.map(|lock| ((&lock.holder, &lock.target), lock)).collect();
        let locks: Vec<_> = all.values().copied().take(limits::UNLOCKS_PER_TRANSACTION).cloned().collect();
        let remaining = u32::try_from(all.len() - locks.len()).unwrap_or(u32::MAX);
        let outcome = Outcome::Forced { locks: locks.clone(), remaining };
        if locks.is_empty() {
            return Ok(Step::Answer(outcome));
        }
        let change = Change::new(caller.scope.clone(), Some(caller.name.clone()), outcome);
        let mut handover = Handover::new(self, change, now);
        // The answer tells them whole.
        handover.room.take(0, locks.iter().map(|lock| lock.weight()).sum(), 0);
        for of_holder in locks.chunk_by(|left, right| left.holder == right.holder) {
            handover.end_locks(of_holder, UnlockCause::Forced, reason);
        }
        Ok(Step::Change(handover.finish()))
    }
}
