//! How locks end otherwise than with their session: given up, narrowed, asked for, taken away, or run out.

use std::collections::BTreeMap;

use mesh_core::command::{AnswerRelease, RequestRelease};
use mesh_core::event::{Event, UnlockCause};
use mesh_core::id::{PeerName, ScopeId};
use mesh_core::limits::RELEASE_REQUEST_RETENTION;
use mesh_core::outcome::Outcome;
use mesh_core::record::{LockKey, LockMode, LockRecord, PeerRecord, ReleaseAnswer, ReleaseRequestRecord};
use mesh_core::rejection::Rejection;
use mesh_core::revision::{FencingToken, Revision};
use mesh_core::target::Target;
use mesh_core::time::{Now, Timestamp};

use super::queue::Wish;
use super::{Expected, Held, Naive, count, done_by};
use crate::world;

/// A request to make way, with when it ends.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) record: ReleaseRequestRecord,
    pub(crate) until: Timestamp,
}

/// What a holder does about some of its locks.
struct GiveUp<'a> {
    named: Vec<Target>,
    keep: &'a [Target],
    note: &'a str,
    /// The request that it answers.
    first: Option<Revision>,
}

impl Naive {
    pub(super) fn release(
        &mut self,
        caller: usize,
        targets: &[Target],
        keep: &[Target],
        note: &str,
        now: Now,
    ) -> Result<Expected, Rejection> {
        let peer = self.peers[caller].clone();
        let own = self.own_targets(&peer.scope, &peer.name);
        if targets.is_empty() && !keep.is_empty() {
            return Err(Rejection::invalid("keep", ""));
        }
        if let Some(path) = targets.iter().find(|target| !own.contains(target)) {
            return Err(Rejection::LockNotHeld { path: path.clone() });
        }
        let named = if targets.is_empty() { own } else { targets.to_vec() };
        self.give_up(&peer, &GiveUp { named, keep, note, first: None }, now)
    }

    fn give_up(&mut self, peer: &PeerRecord, what: &GiveUp<'_>, now: Now) -> Result<Expected, Rejection> {
        let before = self.own_targets(&peer.scope, &peer.name);
        let kept = self.kept(peer, what, now)?;
        let released: Vec<Target> =
            what.named.iter().filter(|target| !what.keep.contains(target)).cloned().collect();
        let cause = if kept.is_empty() { UnlockCause::Released } else { UnlockCause::Narrowed };
        let mut events = Vec::new();
        self.end_locks((&peer.scope, &peer.name), &released, cause, "", now, &mut events);
        let token = FencingToken(self.next());
        let granted: Vec<LockRecord> = kept.iter().filter(|lock| lock.token == token).cloned().collect();
        for lock in &granted {
            let target = &lock.target;
            if let Some(at) = self.own(&peer.scope, &peer.name, target) {
                self.locks.remove(at);
            }
            self.locks.push(Held { until: now.at.after(lock.ttl), lock: lock.clone() });
        }
        if !granted.is_empty() {
            let locks = granted.into_iter().map(Into::into).collect();
            events.push(Event::FileLocked { locks, ticket: None });
        }
        let remaining = count(self.own_targets(&peer.scope, &peer.name).len());
        let holds: Vec<Target> = kept.iter().map(|lock| lock.target.clone()).collect();
        let settled =
            Settled { holder: peer, before: &before, named: &what.named, released: &released, holds };
        self.answer_those_settled(&settled, what.note, what.first, &mut events);
        self.hand_over(&peer.scope, now, &mut events);
        let kept = kept.into_iter().map(Into::into).collect();
        let outcome = Outcome::Released { targets: released, remaining, kept };
        Ok(if events.is_empty() { Expected::Answer(outcome) } else { done_by(peer, events, outcome) })
    }

    /// What is held in the place of some locks: each within one of them, from which it has mode, reason and ttl.
    fn kept(&self, peer: &PeerRecord, what: &GiveUp<'_>, now: Now) -> Result<Vec<LockRecord>, Rejection> {
        let lock =
            |target: &Target| self.own(&peer.scope, &peer.name, target).map(|at| self.locks[at].lock.clone());
        let mut targets = what.keep.to_vec();
        targets.sort();
        targets.dedup();
        let mut kept = Vec::new();
        for target in targets {
            if let Some(same) = lock(&target).filter(|_| what.named.contains(&target)) {
                kept.push(same);
                continue;
            }
            let around: Vec<LockRecord> = what
                .named
                .iter()
                .filter(|outer| world::covers(outer, &target))
                .map(|outer| lock(outer).expect("what is given up is held"))
                .collect();
            let exclusive = around.iter().find(|lock| lock.mode == LockMode::Exclusive);
            let Some(over) = exclusive.or(around.first()) else { return Err(Rejection::invalid("keep", "")) };
            let enough = |own: &LockRecord| own.mode == LockMode::Exclusive || own.mode == over.mode;
            let was_exclusive = lock(&target).is_some_and(|own| own.mode == LockMode::Exclusive);
            kept.push(match lock(&target).filter(|own| enough(own) && !self.is_orphan(own)) {
                Some(own) => own,
                None => LockRecord {
                    target,
                    session: peer.session.as_ref().expect("a caller has a session").id,
                    token: FencingToken(self.next()),
                    mode: if was_exclusive { LockMode::Exclusive } else { over.mode },
                    acquired: now.wall,
                    ticket: None,
                    ..over.clone()
                },
            });
        }
        Ok(kept)
    }

    /// Gives up locks and keeps nothing instead.
    pub(super) fn give_back(
        &mut self,
        (scope, name): (&ScopeId, &PeerName),
        targets: &[Target],
        now: Now,
        events: &mut Vec<Event>,
    ) {
        self.give_back_because((scope, name), targets, UnlockCause::Released, now, events);
    }

    pub(super) fn give_back_because(
        &mut self,
        (scope, name): (&ScopeId, &PeerName),
        targets: &[Target],
        cause: UnlockCause,
        now: Now,
        events: &mut Vec<Event>,
    ) {
        let before = self.own_targets(scope, name);
        self.end_locks((scope, name), targets, cause, "", now, events);
        let holder = self.peers[self.peer(scope, name).expect("who holds locks is known")].clone();
        let (named, holds) = (targets, Vec::new());
        let settled = Settled { holder: &holder, before: &before, named, released: named, holds };
        self.answer_those_settled(&settled, "", None, events);
    }

    /// Requests whose locks a holder has decided about, all that are left of them, are answered by that; the one that it
    /// answers comes first.
    fn answer_those_settled(
        &mut self,
        settled: &Settled<'_>,
        note: &str,
        first: Option<Revision>,
        events: &mut Vec<Event>,
    ) {
        let mut open: Vec<ReleaseRequestRecord> =
            self.requests.iter().map(|asked| asked.record.clone()).collect();
        open.retain(|request| request.scope == settled.holder.scope && request.holder == settled.holder.name);
        open.sort_by_key(|request| (Some(request.id) != first, request.id));
        for request in open {
            let Some((answer, keep)) = settled.answer(&request) else { continue };
            self.requests.retain(|asked| asked.record.key() != request.key());
            let (request, note) = (request.into(), note.to_owned());
            events.push(Event::LockReleaseAnswered { request, answer, keep, note });
        }
    }

    pub(super) fn request_release(
        &mut self,
        caller: usize,
        ask: &RequestRelease,
        now: Now,
    ) -> Result<Expected, Rejection> {
        let peer = self.peers[caller].clone();
        let (targets, mode) = (&ask.targets, ask.mode);
        let wish = Wish { scope: &peer.scope, peer: Some(&peer.name), targets, mode, ticket: None };
        let mut asked: BTreeMap<PeerName, Vec<Target>> = BTreeMap::new();
        for (_, lock) in self.locks_in_the_way(&wish) {
            asked.entry(lock.holder).or_default().push(lock.target);
        }
        let (mut requests, mut events) = (Vec::new(), Vec::new());
        for (holder, mut locks) in asked {
            locks.sort();
            locks.dedup();
            let open = self.requests.iter().map(|asked| &asked.record).find(|open| {
                open.scope == peer.scope
                    && open.from == peer.name
                    && open.holder == holder
                    && open.locks == locks
            });
            if let Some(open) = open {
                requests.push(open.clone().into());
                continue;
            }
            let record = ReleaseRequestRecord {
                scope: peer.scope.clone(),
                id: self.next(),
                from: peer.name.clone(),
                holder,
                wanted: ask.targets.clone(),
                locks,
                reason: ask.reason.clone(),
                urgent: ask.urgent,
                at: now.at,
                asked: now.wall,
            };
            requests.push(record.clone().into());
            events.push(Event::LockReleaseRequested { request: record.clone().into() });
            self.requests.push(Asked { until: now.at.after(RELEASE_REQUEST_RETENTION), record });
        }
        let outcome = Outcome::ReleaseRequested { requests };
        Ok(if events.is_empty() { Expected::Answer(outcome) } else { done_by(&peer, events, outcome) })
    }

    pub(super) fn answer_release(
        &mut self,
        caller: usize,
        answer: &AnswerRelease,
        now: Now,
    ) -> Result<Expected, Rejection> {
        let peer = self.peers[caller].clone();
        let request = self
            .requests
            .iter()
            .map(|asked| asked.record.clone())
            .find(|open| open.scope == peer.scope && open.holder == peer.name && open.id == answer.id);
        let request = request.ok_or(Rejection::ReleaseRequestNotFound { id: answer.id })?;
        if (answer.answer == ReleaseAnswer::Narrow) == answer.keep.is_empty() {
            return Err(Rejection::invalid("keep", ""));
        }
        let own = self.own_targets(&peer.scope, &peer.name);
        if answer.answer == ReleaseAnswer::Keep {
            self.requests.retain(|asked| asked.record.key() != request.key());
            let note = answer.note.clone();
            let (request, answer, keep) = (request.into(), ReleaseAnswer::Keep, Vec::new());
            let events = vec![Event::LockReleaseAnswered { request, answer, keep, note }];
            let outcome =
                Outcome::Released { targets: Vec::new(), remaining: count(own.len()), kept: Vec::new() };
            return Ok(done_by(&peer, events, outcome));
        }
        let named = request.locks.into_iter().filter(|target| own.contains(target)).collect();
        let AnswerRelease { keep, note, .. } = answer;
        self.give_up(&peer, &GiveUp { named, keep, note, first: Some(answer.id) }, now)
    }

    pub(super) fn force_release(
        &mut self,
        caller: usize,
        targets: &[Target],
        reason: &str,
        now: Now,
    ) -> Result<Expected, Rejection> {
        let peer = self.peers[caller].clone();
        if reason.is_empty() {
            return Err(Rejection::invalid("reason", ""));
        }
        let hit = |lock: &LockRecord| {
            let of_other = lock.scope == peer.scope && lock.holder != peer.name;
            of_other && targets.iter().any(|target| world::overlap(target, &lock.target))
        };
        let mut locks: Vec<LockRecord> = self.locks.iter().map(|held| held.lock.clone()).collect();
        locks.retain(hit);
        locks.sort_by_key(|lock| (lock.holder.clone(), lock.target.clone()));
        let mut events = Vec::new();
        for of_holder in locks.chunk_by(|left, right| left.holder == right.holder) {
            let ended: Vec<Target> = of_holder.iter().map(|lock| lock.target.clone()).collect();
            let holder = (&peer.scope, &of_holder[0].holder);
            self.end_locks(holder, &ended, UnlockCause::Forced, reason, now, &mut events);
        }
        let locks = locks.into_iter().map(Into::into).collect();
        let outcome = Outcome::Forced { locks, remaining: 0 };
        if events.is_empty() {
            return Ok(Expected::Answer(outcome));
        }
        self.hand_over(&peer.scope, now, &mut events);
        Ok(done_by(&peer, events, outcome))
    }

    /// Ends a lock past its deadline, with the others of its session that are.
    pub(super) fn unlock(&mut self, key: &LockKey, now: Now) -> Expected {
        let at = self.own(&key.scope, &key.holder, &key.target).expect("what has a deadline is there");
        let first = self.locks[at].lock.clone();
        let is_over = |held: &&Held| {
            let same = held.lock.scope == first.scope && held.lock.holder == first.holder;
            same && held.lock.session == first.session && held.until <= now.at
        };
        let over = self.locks.iter().filter(is_over);
        let mut targets: Vec<Target> = over.map(|held| held.lock.target.clone()).collect();
        targets.sort();
        let cause = if self.is_orphan(&first) { UnlockCause::SessionEnded } else { UnlockCause::Expired };
        let mut events = Vec::new();
        self.end_locks((&key.scope, &key.holder), &targets, cause, "", now, &mut events);
        self.hand_over(&key.scope, now, &mut events);
        Expected::Commit { scope: key.scope.clone(), actor: None, events, outcome: Outcome::Done }
    }
}

/// What became of some locks.
struct Settled<'a> {
    holder: &'a PeerRecord,
    /// What the holder held before.
    before: &'a [Target],
    /// What it has decided about.
    named: &'a [Target],
    released: &'a [Target],
    /// What it holds instead.
    holds: Vec<Target>,
}

impl Settled<'_> {
    fn answer(&self, request: &ReleaseRequestRecord) -> Option<(ReleaseAnswer, Vec<Target>)> {
        let left: Vec<&Target> = request.locks.iter().filter(|target| self.before.contains(target)).collect();
        if left.is_empty() || !left.iter().all(|target| self.named.contains(target)) {
            return None;
        }
        if !left.iter().any(|target| self.released.contains(target)) {
            return Some((ReleaseAnswer::Keep, Vec::new()));
        }
        let concerns = |held: &&Target| request.locks.iter().any(|target| world::overlap(target, held));
        let keep: Vec<Target> = self.holds.iter().filter(concerns).cloned().collect();
        Some((if keep.is_empty() { ReleaseAnswer::Release } else { ReleaseAnswer::Narrow }, keep))
    }
}
