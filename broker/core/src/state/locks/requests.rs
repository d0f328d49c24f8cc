//! Requests to make way: a peer asks the holders of what it wants, and they answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::check_few;
use super::handover::Handover;
use super::outlook::{Outlook, Wish};
use super::release::GiveUp;
use super::room::Room;
use crate::command::{AnswerRelease, RequestRelease};
use crate::event::Event;
use crate::id::{PeerName, ScopeId};
use crate::limits;
use crate::outcome::Outcome;
use crate::record::{
    LockKey, LockRecord, PeerKey, PeerRecord, Record, RecordKey, ReleaseAnswer, ReleaseRequestKey,
    ReleaseRequestRecord, Write,
};
use crate::rejection::Rejection;
use crate::revision::Revision;
use crate::state::deadlines::Due;
use crate::state::{Change, State, Step};
use crate::target::Target;
use crate::time::{Now, Timestamp};

/// All open requests, by scope and by whom they are for.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    by_scope: BTreeMap<ScopeId, BTreeMap<(Revision, PeerName), Arc<ReleaseRequestRecord>>>,
    by_holder: BTreeMap<PeerKey, BTreeMap<Revision, Arc<ReleaseRequestRecord>>>,
}

impl Requests {
    pub(super) fn of_scope(
        &self,
        scope: &ScopeId,
    ) -> impl Iterator<Item = &Arc<ReleaseRequestRecord>> + use<'_> {
        self.by_scope.get(scope).into_iter().flat_map(BTreeMap::values)
    }

    fn to_holder(&self, holder: &PeerKey) -> impl Iterator<Item = &Arc<ReleaseRequestRecord>> + use<'_> {
        self.by_holder.get(holder).into_iter().flat_map(BTreeMap::values)
    }

    fn count_to_holder(&self, holder: &PeerKey) -> usize {
        self.by_holder.get(holder).map_or(0, BTreeMap::len)
    }

    fn insert(&mut self, record: &Arc<ReleaseRequestRecord>) {
        let place = (record.id, record.holder.clone());
        self.by_scope.entry(record.scope.clone()).or_default().insert(place, record.clone());
        self.by_holder.entry(holder(record)).or_default().insert(record.id, record.clone());
    }

    fn remove(&mut self, key: &ReleaseRequestKey) {
        if let Some(requests) = self.by_scope.get_mut(&key.scope) {
            requests.remove(&(key.id, key.holder.clone()));
            if requests.is_empty() {
                self.by_scope.remove(&key.scope);
            }
        }
        let holder = PeerKey { scope: key.scope.clone(), name: key.holder.clone() };
        if let Some(requests) = self.by_holder.get_mut(&holder) {
            requests.remove(&key.id);
            if requests.is_empty() {
                self.by_holder.remove(&holder);
            }
        }
    }
}

fn holder(record: &ReleaseRequestRecord) -> PeerKey {
    PeerKey { scope: record.scope.clone(), name: record.holder.clone() }
}

/// What became of some locks of a holder.
#[derive(Debug)]
pub(super) struct Given<'a> {
    pub(super) holder: &'a PeerName,
    /// The locks that it decided about.
    pub(super) named: &'a [Arc<LockRecord>],
    /// Those of them that end.
    pub(super) released: &'a [Arc<LockRecord>],
    /// What it holds instead.
    pub(super) kept: &'a [Arc<LockRecord>],
}

impl Given<'_> {
    /// What that says to a request, if it was decided about all that is left of its locks.
    fn answer(
        &self,
        request: &ReleaseRequestRecord,
        held: impl Fn(&Target) -> bool,
    ) -> Option<(ReleaseAnswer, Vec<Target>)> {
        let is_among =
            |locks: &[Arc<LockRecord>], target: &Target| locks.iter().any(|lock| lock.target == *target);
        let mut left = request.locks.iter().filter(|target| held(target)).peekable();
        left.peek()?;
        if !left.all(|target| is_among(self.named, target)) {
            return None;
        }
        if !request.locks.iter().any(|target| is_among(self.released, target)) {
            return Some((ReleaseAnswer::Keep, Vec::new()));
        }
        let keep = self.kept.iter().map(|lock| &lock.target);
        let keep = keep.filter(|kept| request.locks.iter().any(|target| target.intersects(kept)));
        let keep: Vec<Target> = keep.cloned().collect();
        Some((if keep.is_empty() { ReleaseAnswer::Release } else { ReleaseAnswer::Narrow }, keep))
    }
}

impl Handover<'_> {
    /// Answers the requests that are settled by what a holder did, the one that it answers first. One that does not fit
    /// ends unanswered, with its locks.
    pub(super) fn answer(&mut self, given: &Given<'_>, note: &str, first: Option<Revision>) {
        let state = self.state;
        let holder = PeerKey { scope: self.change.scope.clone(), name: given.holder.clone() };
        let held = |target: &Target| state.locks.get(&holder.scope, target, &holder.name).is_some();
        let mut requests: Vec<_> = state.locks.requests.to_holder(&holder).collect();
        requests.sort_by_key(|request| Some(request.id) != first);
        for request in requests {
            let Some((answer, keep)) = given.answer(request, held) else { continue };
            let (request, note) = (request.clone(), note.to_owned());
            let (key, bytes) = (request.key(), request.weight());
            let event = Event::LockReleaseAnswered { request, answer, keep, note };
            if self.room.take(1, bytes, event.weight()) {
                self.change.writes.push(Write::Delete(RecordKey::ReleaseRequest(key)));
                self.change.events.push(event);
            }
        }
    }

    /// Answers the requests that are settled by the end of some locks of a holder.
    pub(in crate::state) fn answer_released(&mut self, holder: &PeerName, locks: &[Arc<LockRecord>]) {
        self.answer(&Given { holder, named: locks, released: locks, kept: &[] }, "", None);
    }
}

impl State {
    pub(in crate::state) fn decide_request_release(
        &self,
        caller: &Arc<PeerRecord>,
        ask: &RequestRelease,
        now: Now,
    ) -> Result<Step, Rejection> {
        check_few("paths", &ask.targets)?;
        let mut change = Change::new(caller.scope.clone(), Some(caller.name.clone()), Outcome::Done);
        let mut requests = Vec::new();
        let mut room = Room::new();
        for (holder, locks) in self.in_the_way(caller, ask).into_iter().take(limits::TARGETS) {
            let locks: Vec<Target> = locks.into_iter().take(limits::WAIT_TARGETS).collect();
            let to = PeerKey { scope: caller.scope.clone(), name: holder.clone() };
            let same = |open: &&Arc<ReleaseRequestRecord>| open.from == caller.name && open.locks == locks;
            if let Some(open) = self.locks.requests.to_holder(&to).find(same) {
                room.take(0, 0, open.weight());
                requests.push(open.clone());
                continue;
            }
            if self.locks.requests.count_to_holder(&to) >= limits::RELEASE_REQUESTS_PER_PEER {
                let (what, limit) = ("open requests to one holder", limits::RELEASE_REQUESTS_PER_PEER);
                return Err(Rejection::LimitReached { what, limit });
            }
            let request = Arc::new(ReleaseRequestRecord {
                scope: caller.scope.clone(),
                id: self.next_revision(),
                from: caller.name.clone(),
                holder: holder.clone(),
                wanted: ask.targets.clone(),
                locks,
                reason: ask.reason.clone(),
                urgent: ask.urgent,
                at: now.at,
                asked: now.wall,
            });
            if !room.take(1, request.weight(), request.weight()) {
                break;
            }
            change.writes.push(Write::Put(Record::ReleaseRequest(request.clone())));
            change.events.push(Event::LockReleaseRequested { request: request.clone() });
            requests.push(request);
        }
        change.outcome = Outcome::ReleaseRequested { requests };
        if change.writes.is_empty() {
            return Ok(Step::Answer(change.outcome));
        }
        Ok(Step::Change(change))
    }

    /// Who holds what is in the way of a request, with the targets.
    fn in_the_way(&self, caller: &PeerRecord, ask: &RequestRelease) -> BTreeMap<PeerName, BTreeSet<Target>> {
        let outlook = Outlook::new(self, caller.scope.clone());
        let wish = Wish { peer: Some(&caller.name), targets: &ask.targets, mode: ask.mode, ticket: None };
        let mut found: BTreeMap<PeerName, BTreeSet<Target>> = BTreeMap::new();
        for (_, lock) in outlook.locks_in_the_way(&wish) {
            found.entry(lock.holder.clone()).or_default().insert(lock.target.clone());
        }
        found
    }

    pub(in crate::state) fn decide_answer_release(
        &self,
        caller: &Arc<PeerRecord>,
        answer: &AnswerRelease,
        now: Now,
    ) -> Result<Step, Rejection> {
        let not_found = || Rejection::ReleaseRequestNotFound { id: answer.id };
        let mut open = self.locks.requests.to_holder(&caller.key());
        let request = open.find(|request| request.id == answer.id).ok_or_else(not_found)?;
        match (answer.answer, answer.keep.is_empty()) {
            (ReleaseAnswer::Narrow, true) => {
                return Err(Rejection::invalid("keep", "is empty; it names what to hold instead"));
            }
            (ReleaseAnswer::Keep | ReleaseAnswer::Release, false) => {
                return Err(Rejection::invalid("keep", "goes with the answer to narrow only"));
            }
            (ReleaseAnswer::Keep, true) => {
                return Ok(Step::Change(self.refuse(caller, request, &answer.note)));
            }
            (ReleaseAnswer::Release, true) | (ReleaseAnswer::Narrow, false) => {}
        }
        let held = |target| self.locks.get(&caller.scope, target, &caller.name);
        let named: Vec<_> = request.locks.iter().filter_map(held).collect();
        let AnswerRelease { keep, note, .. } = answer;
        self.give_up(caller, &GiveUp { named, keep, note, answers: Some(answer.id) }, now)
    }

    /// Answers a request: its locks are kept.
    fn refuse(&self, caller: &PeerRecord, request: &Arc<ReleaseRequestRecord>, note: &str) -> Change {
        let remaining = u32::try_from(self.locks.count_of_holder(&caller.key())).unwrap_or(u32::MAX);
        let outcome = Outcome::Released { targets: Vec::new(), remaining, kept: Vec::new() };
        let mut change = Change::new(caller.scope.clone(), Some(caller.name.clone()), outcome);
        change.writes.push(Write::Delete(RecordKey::ReleaseRequest(request.key())));
        change.events.push(Event::LockReleaseAnswered {
            request: request.clone(),
            answer: ReleaseAnswer::Keep,
            keep: Vec::new(),
            note: note.to_owned(),
        });
        change
    }

    pub(in crate::state) fn apply_release_request(&mut self, record: &Arc<ReleaseRequestRecord>) {
        self.locks.requests.insert(record);
        let until =
            if self.is_moot(record) { record.at } else { record.at.after(limits::RELEASE_REQUEST_RETENTION) };
        self.deadlines.set(Due::ReleaseRequest(record.key()), until);
    }

    pub(in crate::state) fn remove_release_request(&mut self, key: &ReleaseRequestKey) {
        self.locks.requests.remove(key);
        self.deadlines.clear(&Due::ReleaseRequest(key.clone()));
    }

    /// A lock has ended: requests whose locks have all ended are over, at once.
    pub(super) fn end_moot_requests(&mut self, ended: &LockKey, now: Timestamp) {
        let holder = PeerKey { scope: ended.scope.clone(), name: ended.holder.clone() };
        let named = self.locks.requests.to_holder(&holder).filter(|open| open.locks.contains(&ended.target));
        let moot: Vec<ReleaseRequestKey> =
            named.filter(|open| self.is_moot(open)).map(|open| open.key()).collect();
        for key in moot {
            self.deadlines.set_earlier(Due::ReleaseRequest(key), now);
        }
    }

    fn is_moot(&self, request: &ReleaseRequestRecord) -> bool {
        !request.locks.iter().any(|target| self.locks.get(&request.scope, target, &request.holder).is_some())
    }
}
