//! The state of a mesh: a cache of records, what a request would do to it, and taking the result in.

pub mod about;
mod check;
pub mod contracts;
pub mod deadlines;
pub mod entries;
pub mod locks;
pub mod messages;
mod names;
pub mod peers;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod touches;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::command::{Command, Request};
use crate::event::{Event, LeaveCause};
use crate::id::{PeerName, ScopeId, SessionId};
use crate::limits;
use crate::mutation::{Mutation, planted};
use crate::outcome::Outcome;
use crate::record::{LogRecord, PeerRecord, Record, RecordKey, ScopeRecord, Write};
use crate::rejection::Rejection;
use crate::revision::{Revision, Sequence};
use crate::time::{Millis, Now, Timestamp};

use deadlines::{Deadlines, Due};
use entries::Entries;
use locks::Locks;
use messages::Messages;
use peers::Peers;
use tokens::Tokens;
use touches::Touches;

/// A cache of all records, with the indices that deciding and reading need.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Revision of the last transaction taken in.
    revision: Revision,
    /// Heads of the scopes.
    scopes: BTreeMap<ScopeId, ScopeRecord>,
    /// Who is known, and who is here.
    pub peers: Peers,
    /// Who holds what.
    pub locks: Locks,
    /// What is remembered.
    pub entries: Entries,
    /// What was said.
    pub messages: Messages,
    /// Who is let in with what.
    pub tokens: Tokens,
    /// Who has read or edited what.
    pub touches: Touches,
    /// What ends when.
    deadlines: Deadlines,
}

/// What a request would do.
#[derive(Debug)]
pub enum Decision {
    /// Nothing changes; this is the answer.
    Answer(Outcome),
    /// This happens.
    Commit(Transaction),
}

/// One atomic change: writes, the log item with its events, and the answer.
#[derive(Debug)]
pub struct Transaction {
    /// Records to write, the scope's head among them.
    pub writes: Vec<Write>,
    /// What goes into the event history.
    pub log: Arc<LogRecord>,
    /// What the caller is told.
    pub outcome: Outcome,
}

/// A change before it has its place in the order.
#[derive(Debug)]
struct Change {
    scope: ScopeId,
    actor: Option<PeerName>,
    writes: Vec<Write>,
    events: Vec<Event>,
    outcome: Outcome,
    /// Whether requests that wait can be granted and did not fit in; none leaves it as it is.
    handover_due: Option<bool>,
}

impl Change {
    /// A change without writes and events yet.
    fn new(scope: ScopeId, actor: Option<PeerName>, outcome: Outcome) -> Self {
        Self { scope, actor, writes: Vec::new(), events: Vec::new(), outcome, handover_due: None }
    }
}

/// What an aggregate decides.
#[derive(Debug)]
enum Step {
    Answer(Outcome),
    Change(Change),
}

impl State {
    /// Says what would happen. Pure: same state, request and time, same answer.
    ///
    /// Nothing may be overdue: the caller first ends what [`State::due`] names.
    pub fn decide(&self, request: &Request, now: Now) -> Result<Decision, Rejection> {
        let credential = request.credential.as_ref().filter(|id| !id.is_owner());
        if credential.is_some_and(|id| !self.tokens.is_good(id, now.wall)) {
            return Err(Rejection::CredentialOver);
        }
        let step = match &request.command {
            Command::Join(join) => self.decide_join(join, request.credential.as_ref(), now)?,
            Command::End { session, cause } => self.decide_end(*session, *cause, now),
            Command::Expire(due) => self.decide_expire(due, now),
            Command::CreateToken(token) => {
                self.decide_create_token(request.credential.as_ref(), token, now)?
            }
            Command::RevokeToken { id } => self.decide_revoke_token(id)?,
            Command::Leave => self.decide_leave(self.caller(request)?, now),
            Command::Update(update) => self.decide_update(self.caller(request)?, update),
            Command::Send(send) => self.decide_send(self.caller(request)?, send, now)?,
            Command::Acknowledge { up_to } => self.decide_acknowledge(self.caller(request)?, *up_to)?,
            Command::Follow { follow, unfollow } => {
                self.decide_follow(self.caller(request)?, follow, unfollow)?
            }
            Command::Put(put) => self.decide_put(self.caller(request)?, put, now)?,
            Command::Delete(delete) => self.decide_delete(self.caller(request)?, delete, now)?,
            Command::Transact(transact) => self.decide_transact(self.caller(request)?, transact, now)?,
            Command::Restore(restore) => self.decide_restore(self.caller(request)?, restore, now)?,
            Command::SetPolicy(policy) => self.decide_set_policy(self.caller(request)?, policy)?,
            Command::Touch(touch) => self.decide_touch(self.caller(request)?, touch, now)?,
            Command::Abandon { ticket } => self.decide_abandon(self.caller(request)?, *ticket, now)?,
            Command::RequestRelease(ask) => self.decide_request_release(self.caller(request)?, ask, now)?,
            Command::AnswerRelease(answer) => {
                self.decide_answer_release(self.caller(request)?, answer, now)?
            }
            Command::ForceRelease { targets, reason } => {
                self.decide_force_release(self.caller(request)?, targets, reason, now)?
            }
            Command::Acquire(acquire) => self.decide_acquire(self.caller(request)?, acquire, now)?,
            Command::Renew { targets, ttl } => self.decide_renew(self.caller(request)?, targets, *ttl)?,
            Command::Release { targets, keep, note } => {
                self.decide_release(self.caller(request)?, targets, keep, note, now)?
            }
        };
        Ok(match step {
            Step::Answer(outcome) => Decision::Answer(outcome),
            Step::Change(change) => Decision::Commit(self.seal(change, request, now)),
        })
    }

    /// Takes a write in. Total: what was decided always applies. Leases in it start at `now`.
    pub fn apply(&mut self, write: &Write, now: Timestamp) {
        match write {
            Write::Put(Record::Scope(record)) => {
                let due = Due::Handover(record.scope.clone());
                if record.handover_due {
                    self.deadlines.set_earlier(due, now);
                } else {
                    self.deadlines.clear(&due);
                }
                self.scopes.insert(record.scope.clone(), record.clone());
            }
            Write::Put(Record::Peer(record)) => self.apply_reader(record, now),
            Write::Put(Record::Lock(record)) => self.apply_lock(record, now),
            Write::Put(Record::Entry(record)) => self.apply_entry(record),
            Write::Put(Record::Message(record)) => self.apply_message(record, now),
            Write::Put(Record::Waiter(record)) => self.apply_waiter(record),
            Write::Put(Record::ReleaseRequest(record)) => self.apply_release_request(record),
            Write::Put(Record::Past(record)) => self.apply_past(record),
            Write::Put(Record::Policy(record)) => self.apply_policy(record),
            Write::Put(Record::Touch(record)) => self.apply_touch(record),
            Write::Put(Record::Token(record)) => self.tokens.insert(record),
            Write::Delete(RecordKey::Scope(scope)) => {
                self.deadlines.clear(&Due::Handover(scope.clone()));
                self.scopes.remove(scope);
            }
            Write::Delete(RecordKey::Peer(key)) => self.remove_reader(key, now),
            Write::Delete(RecordKey::Lock(key)) => self.remove_lock(key, now),
            Write::Delete(RecordKey::Entry(scope, key)) => self.remove_entry(scope, key),
            Write::Delete(RecordKey::Message(slot)) => self.remove_message(*slot),
            Write::Delete(RecordKey::Waiter(ticket)) => self.remove_waiter(*ticket),
            Write::Delete(RecordKey::ReleaseRequest(key)) => self.remove_release_request(key),
            Write::Delete(RecordKey::Past(scope, key, slot)) => self.remove_past(scope, key, *slot),
            Write::Delete(RecordKey::Policy(scope, prefix)) => self.remove_policy(scope, prefix),
            Write::Delete(RecordKey::Touch(key)) => self.remove_touch(key),
            Write::Delete(RecordKey::Token(id)) => self.tokens.remove(id),
        }
    }

    /// Takes a whole transaction in.
    pub fn apply_transaction(&mut self, transaction: &Transaction, now: Timestamp) {
        for write in &transaction.writes {
            self.apply(write, now);
        }
        self.advance(transaction.log.revision);
    }

    /// Moves the revision on, when recovering.
    pub fn advance(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    /// Revision of the last transaction taken in.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Heads of the event batches of one scope, or of all.
    pub fn heads<'a>(&'a self, scope: Option<&'a ScopeId>) -> impl Iterator<Item = &'a ScopeRecord> {
        let range = match scope {
            Some(scope) => (Bound::Included(scope), Bound::Included(scope)),
            None => (Bound::Unbounded, Bound::Unbounded),
        };
        self.scopes.range::<ScopeId, _>(range).map(|(_, head)| head)
    }

    /// How many scopes have had events.
    #[must_use]
    pub fn scope_count(&self) -> usize {
        self.scopes.len()
    }

    /// When time alone will change something.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.next()
    }

    /// The first thing that is past its deadline.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Option<Due> {
        self.deadlines.due(now)
    }

    /// Time left before something ends by itself; none when it has no deadline.
    #[must_use]
    pub fn remaining(&self, due: &Due, now: Timestamp) -> Option<Millis> {
        self.deadlines.at(due).map(|at| at.since(now))
    }

    /// Sets the next moment at which to ask whether a session still shows signs of life.
    pub fn set_lease_deadline(&mut self, session: SessionId, at: Timestamp) {
        if self.peers.by_session(session).is_some() {
            self.deadlines.set(Due::Session(session), at);
        }
    }

    /// The peer behind a request's session.
    fn caller(&self, request: &Request) -> Result<&Arc<PeerRecord>, Rejection> {
        let session = request.caller.ok_or(Rejection::SessionRequired)?;
        self.peers.live(session)
    }

    fn decide_expire(&self, due: &Due, now: Now) -> Step {
        if self.deadlines.at(due).is_none_or(|at| at > now.at) {
            return Step::Answer(Outcome::Done);
        }
        match due {
            Due::Session(session) => self.decide_end(*session, LeaveCause::Expired, now),
            Due::Lock(key) => self.decide_unlock(key, now),
            Due::Waiter(ticket) => self.decide_wait_expiry(*ticket, now),
            Due::Handover(scope) => self.decide_handover(scope, now),
            Due::ReleaseRequest(key) => Step::Change(Change {
                writes: vec![Write::Delete(RecordKey::ReleaseRequest(key.clone()))],
                ..Change::new(key.scope.clone(), None, Outcome::Done)
            }),
            Due::Entry(scope, key) => self.decide_entry_expiry(scope, key, now),
            Due::Past(scope, key) => self.decide_past_expiry(scope, key),
            Due::Message(slot) => self.decide_message_expiry(*slot, now),
            Due::Touch(key) => self.decide_touch_expiry(key, now),
            Due::Peer(key) => Step::Change(Change {
                writes: vec![Write::Delete(RecordKey::Peer(key.clone()))],
                ..Change::new(key.scope.clone(), None, Outcome::Done)
            }),
        }
    }

    /// The revision that a change decided now will have.
    fn next_revision(&self) -> Revision {
        self.revision.next()
    }

    /// Gives a change its place in the order.
    fn seal(&self, change: Change, request: &Request, now: Now) -> Transaction {
        let Change { scope, actor, mut writes, events, outcome, handover_due } = change;
        let revision = self.next_revision();
        let head = self.scopes.get(&scope);
        let last_revision = head.map_or(Revision::ZERO, |head| head.last_revision);
        let last_sequence = head.map_or(Sequence::default(), |head| head.sequence);
        let sequence = if events.is_empty() { Sequence::default() } else { last_sequence.next() };
        let skips = planted(Mutation::SequenceSkipped) && revision.0.is_multiple_of(16);
        let sequence = if skips { sequence.next() } else { sequence };
        let was_due = head.is_some_and(|head| head.handover_due);
        let handover_due = handover_due.unwrap_or(was_due);
        if !events.is_empty() || handover_due != was_due {
            let last = |record: &ScopeRecord| (record.sequence, record.last_revision);
            let (sequence, last_revision) = match events.is_empty() {
                true => head.map(last).unwrap_or_default(),
                false => (sequence, revision),
            };
            let record = ScopeRecord { scope: scope.clone(), sequence, last_revision, handover_due };
            writes.push(Write::Put(Record::Scope(record)));
        }
        let log = Arc::new(LogRecord {
            revision,
            scope,
            sequence,
            prev_revision: last_revision,
            actor,
            session: request.caller,
            credential: request.credential.clone(),
            request_id: request.request_id.clone(),
            fingerprint: request.fingerprint,
            at: now.at,
            committed: now.wall,
            events,
            outcome: request.request_id.is_some().then(|| outcome.clone()),
        });
        Transaction { writes, log, outcome }
    }
}

/// A page of a listing: at most so many items and, roughly, bytes.
#[derive(Clone, Copy, Debug)]
pub struct PageSize {
    items: usize,
    bytes: usize,
}

impl PageSize {
    /// As asked, within bounds; 0 means the default.
    #[must_use]
    pub fn of(items: usize) -> Self {
        let items = if items == 0 { limits::PAGE_DEFAULT } else { items.min(limits::PAGE) };
        Self { items, bytes: limits::PAGE_BYTES }
    }

    /// How many items.
    #[must_use]
    pub fn items(self) -> usize {
        self.items
    }

    /// Takes items until the page is full; true when some were left.
    pub fn fill<T>(self, items: impl Iterator<Item = T>, size: impl Fn(&T) -> usize) -> (Vec<T>, bool) {
        let mut page = Vec::new();
        let mut bytes = 0;
        for item in items {
            bytes += size(&item);
            if page.len() == self.items || (bytes > self.bytes && !page.is_empty()) {
                return (page, true);
            }
            page.push(item);
        }
        (page, false)
    }
}
