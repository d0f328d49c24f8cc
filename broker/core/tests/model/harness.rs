//! Drives the core and the naive model side by side, and compares every decision and all that can be observed.

mod compare;
mod kinds;

use std::collections::{BTreeMap, BTreeSet};

use mesh_core::State;
use mesh_core::command::{Acquire, Command, Request};
use mesh_core::event::Event;
use mesh_core::id::SessionId;
use mesh_core::limits;
use mesh_core::outcome::{Conflict, Obstacle, Outcome};
use mesh_core::record::{Record, RecordKey, Write};
use mesh_core::rejection::Rejection;
use mesh_core::state::{Decision, Transaction};
use mesh_core::time::{Now, Timestamp, WallTime};

use crate::log::Checker;
use crate::naive::{Chosen, Expected, Naive, Wish};
use crate::world::{self, Op};

/// The core, the model of it, what a store would hold, and the log.
#[derive(Debug)]
pub(crate) struct Harness {
    now: u64,
    serial: u64,
    /// After how many operations the whole state is compared.
    stride: u64,
    state: State,
    naive: Naive,
    /// Every session there ever was.
    sessions: Vec<SessionId>,
    stored: BTreeMap<RecordKey, Record>,
    /// When the last transaction was committed: mesh time goes on from there after a restart.
    committed: u64,
    /// Most messages there ever were at once.
    peak: usize,
    log: Checker,
    /// Kinds of decision that came up.
    pub(crate) seen: BTreeSet<String>,
}

impl Harness {
    pub(crate) fn new(stride: u64) -> Self {
        Self {
            now: 0,
            serial: 0,
            stride,
            state: State::default(),
            naive: Naive::default(),
            sessions: Vec::new(),
            stored: BTreeMap::new(),
            committed: 0,
            peak: 0,
            log: Checker::default(),
            seen: BTreeSet::new(),
        }
    }

    /// A whole history.
    pub(crate) fn run(&mut self, ops: &[Op]) {
        for op in ops {
            self.step(op);
            if self.serial.is_multiple_of(self.stride) || matches!(op, Op::Restart) {
                self.compare();
            }
        }
        self.compare();
        self.finish();
    }

    fn step(&mut self, op: &Op) {
        self.serial += 1;
        match op {
            Op::Wait(span) => self.now += span,
            Op::Restart => self.restart(),
            Op::Alive(who) => {
                if let Some(Some(session)) = world::find(who, &self.naive, &self.sessions) {
                    let until = Timestamp(self.now + 5_000);
                    self.state.set_lease_deadline(session, until);
                    self.naive.touch(session, until);
                }
            }
            Op::Join { .. }
            | Op::Rejoin { .. }
            | Op::Ask { .. }
            | Op::Disconnect(_)
            | Op::Expire(_)
            | Op::Handover(_) => {
                if let Some(request) = world::request(op, &self.naive, &self.sessions, self.serial) {
                    self.ask(&request);
                }
            }
        }
        self.expire();
        self.compare_briefly();
    }

    /// Everybody goes quiet, and all that has an end comes to it.
    fn finish(&mut self) {
        self.now += limits::PEER_RETENTION.0 + limits::LOCK_TTL.1.0;
        self.expire();
        self.now += limits::PEER_RETENTION.0;
        self.expire();
        self.compare();
        assert_eq!(self.log.online(), 0, "every session that joined has left");
        assert_eq!(self.state.peers.known_count(), 0);
        assert_eq!(self.state.locks.count(), 0);
        assert_eq!(self.state.messages.count(), 0);
        assert_eq!(self.state.touches.count(), 0);
        assert_eq!(self.state.next_deadline(), None);
    }

    fn time(&self) -> Now {
        Now { at: Timestamp(self.now), wall: WallTime(1_700_000_000_000 + self.now) }
    }

    fn ask(&mut self, request: &Request) {
        let now = self.time();
        let decided = self.state.decide(request, now);
        if self.serial.is_multiple_of(self.stride) {
            assert_same(&decided, &self.state.decide(request, now));
        }
        kinds::note(request, &decided, &mut self.seen);
        let expected = self.naive.ask(request, now, &chosen(&decided));
        match (decided, expected) {
            (Err(rejection), Expected::Refused(expected)) => {
                self.compare_refusals(request, rejection, expected);
            }
            (Ok(Decision::Answer(outcome)), Expected::Answer(expected)) => {
                assert_answers(&outcome, &expected);
            }
            (Ok(Decision::Commit(transaction)), Expected::Commit { scope, actor, events, outcome }) => {
                let log = &transaction.log;
                assert_eq!((&log.scope, &log.actor, log.at), (&scope, &actor, now.at), "{request:?}");
                let found: Vec<Event> = log.events.iter().cloned().map(orderly).collect();
                assert_eq!(found, events, "{request:?}");
                assert_eq!(transaction.outcome, outcome, "{request:?}");
                self.commit(&transaction);
            }
            (decided, expected) => panic!("{request:?}: {decided:?} instead of {expected:?}"),
        }
        if let Command::Join(join) = &request.command {
            self.sessions.push(join.session);
        }
    }

    /// Of a circle there may be several, and any will do; so will any of the locks of one grant.
    fn compare_refusals(&self, request: &Request, found: Rejection, expected: Rejection) {
        match (&found, &expected, &request.command) {
            (Rejection::Deadlock { cycle }, Rejection::Deadlock { .. }, Command::Acquire(acquire)) => {
                let peer = self.naive.by_session(request.caller).expect("who is refused has a session");
                let Acquire { targets, mode, .. } = acquire;
                let (scope, name) = (&peer.scope, Some(&peer.name));
                let wish = Wish { scope, peer: name, targets, mode: *mode, ticket: None };
                assert!(self.naive.is_circle(&wish, cycle), "{cycle:?} is none: {request:?}");
            }
            (
                Rejection::Fenced { path, token, current: found },
                Rejection::Fenced { path: other, token: asked, current: expected },
                _,
            ) => {
                assert_eq!((path, token), (other, asked), "{request:?}");
                let token = |lock: &Option<std::sync::Arc<_>>| {
                    lock.as_ref().map(|lock: &std::sync::Arc<mesh_core::record::LockRecord>| lock.token)
                };
                assert_eq!(token(found), token(expected), "{request:?}");
                assert!(found.as_ref().is_none_or(|lock| world::overlap(&lock.target, path)));
            }
            _ => assert_eq!(bare(found), bare(expected), "{request:?}"),
        }
    }

    fn commit(&mut self, transaction: &Transaction) {
        assert_eq!(self.log.append(&transaction.log), *transaction.log, "what is logged is read back");
        for write in &transaction.writes {
            match write {
                Write::Put(record) => {
                    self.take_slot(record);
                    let bytes = postcard::to_allocvec(record).expect("a record that can be stored");
                    let read = postcard::from_bytes(&bytes).expect("a record that can be read");
                    assert_eq!(*record, read, "what is stored is read back");
                    self.stored.insert(record.key(), read);
                }
                Write::Delete(key) => {
                    assert!(self.stored.remove(key).is_some(), "only what is stored is deleted: {key:?}");
                }
            }
        }
        self.state.apply_transaction(transaction, Timestamp(self.now));
        self.committed = self.now;
        assert_eq!(self.state.revision(), transaction.log.revision);
    }

    /// Tells the model which slot the core chose; it must be nobody else's.
    fn take_slot(&mut self, record: &Record) {
        if let Record::Message(message) = record {
            assert!(!self.stored.contains_key(&record.key()), "a message takes a free slot");
            self.peak = self.peak.max(self.naive.messages.len());
            assert!((message.slot as usize) < self.peak, "no more slots than there ever were messages");
            let sent = &mut self.naive.messages.last_mut().expect("the model has the message too").record;
            assert_eq!(sent.revision, message.revision);
            sent.slot = message.slot;
        }
    }

    /// Ends what is due, as the writer does; the model knows whether it was time.
    fn expire(&mut self) {
        while let Some(due) = self.state.due(Timestamp(self.now)) {
            let until = self.naive.deadlines().into_iter().find(|(other, _)| *other == due);
            let (_, until) = until.unwrap_or_else(|| panic!("{due:?} has no deadline"));
            assert!(until.0 <= self.now, "{due:?} ends before its time");
            self.ask(&Request::internal(Command::Expire(due)));
        }
        let overdue = self.naive.deadlines().into_iter().find(|(_, until)| until.0 <= self.now);
        assert_eq!(overdue, None, "it is past its deadline and still there");
    }

    /// Only the records and the time of the last commit survive.
    fn restart(&mut self) {
        self.now = self.committed;
        let at = Timestamp(self.now);
        let revision = self.state.revision();
        self.state = State::default();
        for record in self.stored.values() {
            self.state.apply(&Write::Put(record.clone()), at);
        }
        self.state.advance(revision);
        self.naive.restart(at);
    }
}

/// What the core was free to choose in a decision.
fn chosen(decided: &Result<Decision, Rejection>) -> Chosen {
    let Ok(Decision::Commit(transaction)) = decided else { return Chosen::default() };
    let deleted = transaction.writes.iter().filter_map(|write| match write {
        Write::Delete(RecordKey::Message(slot)) => Some(*slot),
        Write::Delete(_) | Write::Put(_) => None,
    });
    let after_waiting = |event: &&Event| matches!(event, Event::FileLocked { ticket: Some(_), .. });
    Chosen {
        name: transaction.log.actor.clone(),
        slots: deleted.collect(),
        granted: transaction.log.events.iter().filter(after_waiting).count(),
        writes: transaction.writes.len(),
    }
}

/// The same question gets the same decision.
fn assert_same(left: &Result<Decision, Rejection>, right: &Result<Decision, Rejection>) {
    match (left, right) {
        (Ok(Decision::Commit(left)), Ok(Decision::Commit(right))) => {
            assert_eq!((&left.writes, &left.log, &left.outcome), (&right.writes, &right.log, &right.outcome));
        }
        (Ok(Decision::Answer(left)), Ok(Decision::Answer(right))) => assert_eq!(left, right),
        (Err(left), Err(right)) => assert_eq!(left, right),
        (left, right) => panic!("{left:?} and then {right:?}"),
    }
}

/// Whom a request waits for may be told in any order.
fn orderly(event: Event) -> Event {
    let Event::LockQueued { waiter, mut waits_for } = event else { return event };
    waits_for.sort();
    Event::LockQueued { waiter, waits_for }
}

/// Conflicts may come in any order, and at most a hundred of them.
fn assert_answers(outcome: &Outcome, expected: &Outcome) {
    let (Outcome::Conflicts(mut found), Outcome::Conflicts(mut all)) = (outcome.clone(), expected.clone())
    else {
        assert_eq!(outcome, expected);
        return;
    };
    let order = |conflict: &Conflict| {
        let obstacle = match &conflict.obstacle {
            Obstacle::Lock { lock, .. } => RecordKey::Lock(lock.key()),
            Obstacle::Waiter(waiter) => RecordKey::Waiter(waiter.ticket),
        };
        (conflict.target.clone(), obstacle)
    };
    found.sort_by_key(order);
    all.sort_by_key(order);
    if all.len() > limits::TARGETS {
        assert_eq!(found.len(), limits::TARGETS);
        all.retain(|conflict| found.contains(conflict));
    }
    assert_eq!(found, all);
}

/// A refusal without the text for people.
fn bare(rejection: Rejection) -> Rejection {
    if let Rejection::InvalidField { field, .. } = rejection {
        Rejection::InvalidField { field, problem: String::new() }
    } else if let Rejection::PermissionDenied { .. } = rejection {
        Rejection::PermissionDenied { what: String::new() }
    } else {
        rejection
    }
}
