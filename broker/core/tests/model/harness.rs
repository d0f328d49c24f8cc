//! Drives the core and the naive model side by side, and compares all that can be observed.

use std::collections::{BTreeMap, BTreeSet};

use mesh_core::State;
use mesh_core::command::{Command, Request};
use mesh_core::id::{PeerName, SessionId};
use mesh_core::limits;
use mesh_core::outcome::{Conflict, Outcome};
use mesh_core::record::{LockMode, LockRecord, PeerRecord, Record, RecordKey, Write};
use mesh_core::rejection::Rejection;
use mesh_core::revision::Revision;
use mesh_core::state::entries::EntryFilter;
use mesh_core::state::{Decision, PageSize, Transaction};
use mesh_core::time::{Now, Timestamp, WallTime};

use crate::log::Checker;
use crate::naive::{Expected, Naive};
use crate::world::{self, Op, SCOPES, TARGETS};

/// The core, the model of it, what a store would hold, and the log.
#[derive(Debug, Default)]
pub(crate) struct Harness {
    now: u64,
    serial: u64,
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
    pub(crate) fn step(&mut self, op: &Op) {
        self.serial += 1;
        match op {
            Op::Wait(span) => self.now += span,
            Op::Restart => self.restart(),
            Op::Touch(who) => {
                if let Some(Some(session)) = world::find(who, &self.naive, &self.sessions) {
                    let until = Timestamp(self.now + 5_000);
                    self.state.set_lease_deadline(session, until);
                    self.naive.touch(session, until);
                }
            }
            Op::Join { .. } | Op::Rejoin { .. } | Op::Ask { .. } | Op::Disconnect(_) | Op::Expire(_) => {
                if let Some(request) = world::request(op, &self.naive, &self.sessions, self.serial) {
                    self.ask(&request);
                }
            }
        }
        self.expire();
        self.compare();
    }

    /// Everybody goes quiet, and all that has an end comes to it.
    pub(crate) fn finish(&mut self) {
        self.now += limits::PEER_RETENTION.0 + limits::LOCK_TTL.1.0;
        self.expire();
        self.now += limits::PEER_RETENTION.0;
        self.expire();
        self.compare();
        assert_eq!(self.log.online(), 0, "every session that joined has left");
        assert_eq!(self.state.peers.known_count(), 0);
        assert_eq!(self.state.locks.count(), 0);
        assert_eq!(self.state.messages.count(), 0);
        assert_eq!(self.state.next_deadline(), None);
    }

    fn time(&self) -> Now {
        Now { at: Timestamp(self.now), wall: WallTime(1_700_000_000_000 + self.now) }
    }

    fn ask(&mut self, request: &Request) {
        let now = self.time();
        let decided = self.state.decide(request, now);
        assert_same(&decided, &self.state.decide(request, now));
        self.note(&decided);
        let chosen = if let Ok(Decision::Commit(t)) = &decided { t.log.actor.clone() } else { None };
        let expected = self.naive.ask(request, now, chosen.as_ref());
        match (decided, expected) {
            (Err(rejection), Expected::Refused(expected)) => {
                assert_eq!(bare(rejection), bare(expected), "{request:?}");
            }
            (Ok(Decision::Answer(outcome)), Expected::Answer(expected)) => {
                assert_answers(&outcome, &expected);
            }
            (Ok(Decision::Commit(transaction)), Expected::Commit { scope, actor, events, outcome }) => {
                let log = &transaction.log;
                assert_eq!((&log.scope, &log.actor, log.at), (&scope, &actor, now.at), "{request:?}");
                assert_eq!(log.events, events, "{request:?}");
                assert_eq!(transaction.outcome, outcome, "{request:?}");
                self.commit(&transaction);
            }
            (decided, expected) => panic!("{request:?}: {decided:?} instead of {expected:?}"),
        }
        if let Command::Join(join) = &request.command {
            self.sessions.push(join.session);
        }
    }

    /// Remembers which kinds of decision there were.
    fn note(&mut self, decided: &Result<Decision, Rejection>) {
        match decided {
            Err(rejection) => self.seen.insert(variant(rejection)),
            Ok(Decision::Answer(outcome)) => self.seen.insert(format!("answer {}", variant(outcome))),
            Ok(Decision::Commit(transaction)) => {
                for event in &transaction.log.events {
                    let cause = format!("{event:?}").split("cause: ").nth(1).map(first_word);
                    let what = format!("{:?} {}", event.kind(), cause.unwrap_or_default());
                    self.seen.insert(what.trim_end().to_owned());
                }
                self.seen.insert(format!("commit {}", variant(&transaction.outcome)))
            }
        };
    }

    fn commit(&mut self, transaction: &Transaction) {
        self.log.append(&transaction.log);
        for write in &transaction.writes {
            match write {
                Write::Put(record) => {
                    self.take_slot(record);
                    self.stored.insert(record.key(), record.clone());
                }
                Write::Delete(key) => {
                    assert!(self.stored.remove(key).is_some(), "only what is stored is deleted");
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
            let sent = self.naive.messages.last_mut().expect("the model has the message too");
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

    fn compare(&self) {
        self.compare_peers();
        self.compare_locks();
        self.compare_entries();
        self.compare_messages();
        let deadlines = self.naive.deadlines();
        assert_eq!(self.state.next_deadline(), deadlines.iter().map(|(_, at)| *at).min());
        let now = Timestamp(self.now);
        for (due, at) in deadlines {
            assert_eq!(self.state.remaining(&due, now), Some(at.since(now)), "{due:?}");
        }
    }

    fn compare_peers(&self) {
        let mut expected = self.naive.peers.clone();
        expected.sort_by_key(PeerRecord::key);
        let all: Vec<PeerRecord> = self.state.peers.list(None, None).map(|p| (**p).clone()).collect();
        assert_eq!(all, expected);
        assert_eq!(self.state.peers.known_count(), expected.len());
        assert_eq!(self.state.peers.online_count(), self.naive.leases.len());
        for scope in SCOPES.iter().enumerate().map(|(at, _)| world::scope(at)) {
            let online: Vec<&PeerName> = self.state.peers.online(&scope).map(|peer| &peer.name).collect();
            let here = expected.iter().filter(|peer| peer.scope == scope && peer.session.is_some());
            assert_eq!(online, here.map(|peer| &peer.name).collect::<Vec<_>>());
        }
        for session in &self.sessions {
            let found = self.state.peers.by_session(*session).map(|peer| (**peer).clone());
            let live = |peer: &&PeerRecord| peer.session.as_ref().is_some_and(|s| s.id == *session);
            assert_eq!(found.as_ref(), expected.iter().find(live));
        }
        if let Some(first) = expected.first() {
            let first = first.key();
            let rest = self.state.peers.list(None, Some(&first)).map(|peer| peer.key());
            assert!(rest.eq(expected[1..].iter().map(PeerRecord::key)));
        }
    }

    fn compare_locks(&self) {
        let mut expected: Vec<LockRecord> = self.naive.locks.iter().map(|held| held.lock.clone()).collect();
        expected.sort_by_key(LockRecord::key);
        let all: Vec<LockRecord> = self.state.locks.list(None, None).map(|lock| (**lock).clone()).collect();
        assert_eq!(all, expected);
        assert_eq!(self.state.locks.count(), expected.len());
        for (at, left) in expected.iter().enumerate() {
            let (lingering, _) = self.state.lock_status(left, Timestamp(self.now));
            assert_eq!(lingering, self.naive.is_orphan(left), "{left:?}");
            for right in expected[at + 1..].iter().filter(|right| right.scope == left.scope) {
                let exclusive = left.mode == LockMode::Exclusive || right.mode == LockMode::Exclusive;
                let clash = exclusive && left.holder != right.holder;
                assert!(!clash || !world::overlap(&left.target, &right.target), "{left:?} {right:?}");
            }
        }
        for peer in &self.naive.peers {
            let own = expected.iter().filter(|l| l.scope == peer.scope && l.holder == peer.name);
            assert_eq!(self.state.locks.count_of_holder(&peer.key()), own.count());
        }
        for (scope, target) in (0..SCOPES.len()).flat_map(|s| (0..TARGETS.len()).map(move |t| (s, t))) {
            let (scope, target) = (world::scope(scope), world::target(target));
            let mut found: Vec<_> = self.state.locks.overlapping(&scope, &target).map(|l| l.key()).collect();
            found.sort();
            let near = expected.iter().filter(|l| l.scope == scope && world::overlap(&l.target, &target));
            assert_eq!(found, near.map(LockRecord::key).collect::<Vec<_>>(), "{target}");
        }
    }

    fn compare_entries(&self) {
        let mut expected = self.naive.entries.clone();
        expected.sort_by_key(|entry| (entry.scope.clone(), entry.key.clone()));
        let all: Vec<_> = self.state.entries.all(None).map(|entry| (**entry).clone()).collect();
        assert_eq!(all, expected);
        assert_eq!(self.state.entries.count(), expected.len());
        for (scope, after) in (0..SCOPES.len()).flat_map(|s| (0..world::KEYS.len()).map(move |k| (s, k))) {
            let (scope, after) = (world::scope(scope), world::key(after));
            let filter = EntryFilter { prefix: "plan".into(), ..EntryFilter::default() };
            let found = self.state.entries.list(&scope, &filter, Some(&after)).map(|entry| &entry.key);
            let listed = expected
                .iter()
                .map(|entry| (&entry.scope, &entry.key))
                .filter(|(at, key)| **at == scope && key.as_str().starts_with("plan") && **key > after);
            assert!(found.eq(listed.map(|(_, key)| key)), "after {after}");
        }
    }

    fn compare_messages(&self) {
        assert_eq!(self.state.messages.count(), self.naive.messages.len());
        for peer in &self.naive.peers {
            assert_eq!(self.state.messages.unread(peer), self.naive.unread(peer));
            for after in [Revision::ZERO, peer.acknowledged] {
                let (inbox, more) = self.state.messages.inbox(peer, after, PageSize::of(1_000));
                assert!(!more, "a thousand messages fit");
                let inbox: Vec<_> = inbox.iter().map(|message| (**message).clone()).collect();
                assert_eq!(inbox, self.naive.inbox(peer, after), "{}", peer.name);
            }
        }
    }
}

/// The name of an enum's variant.
fn variant(value: &impl std::fmt::Debug) -> String {
    first_word(&format!("{value:?}"))
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric()).collect()
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

/// Conflicts may come in any order, and at most a hundred of them.
fn assert_answers(outcome: &Outcome, expected: &Outcome) {
    let (Outcome::Conflicts(mut found), Outcome::Conflicts(mut all)) = (outcome.clone(), expected.clone())
    else {
        assert_eq!(outcome, expected);
        return;
    };
    let order = |conflict: &Conflict| (conflict.target.clone(), conflict.lock.key());
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
    match rejection {
        Rejection::InvalidField { field, .. } => Rejection::InvalidField { field, problem: String::new() },
        Rejection::PermissionDenied { .. } => Rejection::PermissionDenied { what: String::new() },
        other @ (Rejection::RequestIdReused
        | Rejection::SessionRequired
        | Rejection::SessionExpired { .. }
        | Rejection::PeerNameTaken { .. }
        | Rejection::PeerNotFound { .. }
        | Rejection::KeyNotFound { .. }
        | Rejection::KeyExists { .. }
        | Rejection::VersionMismatch { .. }
        | Rejection::LockNotHeld { .. }
        | Rejection::InboxFull { .. }
        | Rejection::LimitReached { .. }) => other,
    }
}
