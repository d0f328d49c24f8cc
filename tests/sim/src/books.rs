//! The books of a run: everything that became durable, in order, what everybody was told, and the first thing that was
//! not as promised.
//!
//! Kept beside the broker by the simulation itself. What must hold: nothing in here is asked of the code under test; it
//! only reads its log and its records, which are what users see.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use mesh_broker::records::{self, Loaded};
use mesh_broker::store::{Batch, Fault};
use mesh_core::State;
use mesh_core::record::{LogRecord, Record};

use crate::clocks::Machine;
use crate::dice::Dice;
use crate::model::Model;
use crate::weather::Weather;

/// Kind of the keys of the event history.
const LOG: u8 = 0x01;
/// Lines of the trace that are kept.
const TAIL: usize = 400;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// How.
    pub what: String,
}

/// The books, shared by everything in one run.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<Books>>);

impl Shared {
    /// Empty books.
    #[must_use]
    pub fn new(seed: u64, weather: Weather, machine: Arc<Machine>, whole: bool) -> Self {
        Self(Arc::new(Mutex::new(Books {
            machine,
            weather,
            dice: Dice::of(seed, "disk"),
            trace: Trace { whole, ..Trace::default() },
            violation: None,
            faults: BTreeMap::new(),
            operations: BTreeMap::new(),
            log: Vec::new(),
            confirmed: 0,
            oldest: 1,
            announced: 1,
            records: BTreeMap::new(),
            model: Model::default(),
            told: 0,
            answers: 0,
            calm: false,
            reused: BTreeSet::new(),
        })))
    }

    /// Looks something up, or writes something down.
    pub fn with<T>(&self, work: impl FnOnce(&mut Books) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes a line into the trace.
    pub fn note(&self, who: &str, line: &str) {
        self.with(|books| books.note(who, line));
    }

    /// Notes a fault.
    pub fn fault(&self, kind: &'static str) {
        self.with(|books| books.fault(kind));
    }

    /// Notes a broken promise, unless it is kept.
    pub fn demand(&self, invariant: &'static str, kept: bool, what: impl FnOnce() -> String) {
        if !kept {
            self.with(|books| books.violate(invariant, what()));
        }
    }
}

/// See [`Shared`].
#[derive(Debug)]
pub struct Books {
    machine: Arc<Machine>,
    weather: Weather,
    dice: Dice,
    /// What happened, for people and for the comparison of two runs.
    pub trace: Trace,
    /// The first promise that was broken.
    pub violation: Option<Violation>,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Answers by kind of call.
    pub operations: BTreeMap<String, u64>,
    /// All that is durable, by revision.
    pub log: Vec<Arc<LogRecord>>,
    /// The newest revision that a broker knows to be durable: of a commit whose confirmation is lost it does not.
    confirmed: u64,
    /// The oldest revision that was not deleted from the history.
    pub oldest: u64,
    /// The oldest revision that readers may be told of: what is to be deleted is gone for them already.
    announced: u64,
    /// What the disk must hold, but for the history.
    pub records: BTreeMap<Vec<u8>, Record>,
    /// What follows from the log.
    pub model: Model,
    /// The newest revision that any client was told.
    pub told: u64,
    /// How many answers clients got.
    pub answers: u64,
    /// Nothing goes wrong any more.
    pub calm: bool,
    /// Ids of requests that were used for others too, on purpose.
    pub reused: BTreeSet<String>,
}

/// What happened, line by line, with a digest over all of it.
#[derive(Debug, Default)]
pub struct Trace {
    hasher: blake3::Hasher,
    whole: bool,
    lines: Vec<String>,
    dropped: usize,
}

impl Trace {
    fn push(&mut self, line: String) {
        self.hasher.update(line.as_bytes());
        self.hasher.update(b"\n");
        if !self.whole && self.lines.len() >= 2 * TAIL {
            self.dropped += TAIL;
            self.lines.drain(..TAIL);
        }
        self.lines.push(line);
    }

    /// Digest of all bytes so far.
    #[must_use]
    pub fn digest(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }

    /// The lines that are kept: all of them, or the last.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

impl Books {
    /// Writes a line into the trace.
    pub fn note(&mut self, who: &str, line: &str) {
        let at = self.machine.elapsed();
        self.trace.push(format!("{at:>7} {who:<10} {line}"));
    }

    /// Notes a fault.
    pub fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
        self.note("fault", kind);
    }

    /// Notes a broken promise. The first one counts: what follows may be its consequence.
    pub fn violate(&mut self, invariant: &'static str, what: String) {
        if self.violation.is_none() {
            self.note("VIOLATION", &format!("{invariant}: {what}"));
            self.violation = Some(Violation { invariant, what });
        }
    }

    /// The newest durable revision.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.log.len() as u64
    }

    /// The newest revision that a read must show: a broker knows that it is durable.
    #[must_use]
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// A broker has learnt that all of this is durable: by a commit that succeeded, or by recovering it.
    pub fn confirm(&mut self) {
        self.confirmed = self.durable();
    }

    /// A durable transaction.
    #[must_use]
    pub fn at(&self, revision: u64) -> Option<&Arc<LogRecord>> {
        self.log.get(usize::try_from(revision.checked_sub(1)?).ok()?)
    }

    /// How the next commit goes wrong, if it does.
    pub fn next_disk_fault(&mut self) -> Option<Fault> {
        if self.calm {
            return None;
        }
        let fault = self.weather.disk_fault(&mut self.dice)?;
        self.fault(match fault {
            Fault::Refused => "flush refused",
            Fault::AnswerLost => "flush answer lost",
            Fault::CrashBefore => "crash before flush",
            Fault::CrashAfter => "crash after flush",
        });
        Some(fault)
    }

    /// How long the next commit takes.
    pub fn next_disk_delay(&mut self) -> u64 {
        if self.calm || !self.dice.happens(self.weather.slow) {
            return self.dice.within(0, 2);
        }
        self.fault("slow disk");
        let delay =
            if self.dice.happens(1_000) { self.dice.within(500, 4_000) } else { self.dice.within(5, 300) };
        self.model.signs.stalls += delay;
        delay
    }

    /// The oldest revision that readers may be told of.
    #[must_use]
    pub fn oldest_announced(&self) -> u64 {
        self.announced
    }

    /// A batch is about to be committed.
    pub fn committing(&mut self, batch: &Batch) {
        for (key, value) in batch.writes() {
            if let (None, Some(revision)) = (value, trimmed(key.as_bytes())) {
                self.announced = self.announced.max(revision + 1);
            }
        }
    }

    /// A batch is on disk.
    pub fn committed(&mut self, batch: &Batch) {
        let (mut logs, mut records) = (Vec::new(), Vec::new());
        for (key, value) in batch.writes() {
            let name = key.as_bytes();
            let Some(value) = value else {
                if let Some(revision) = trimmed(name) {
                    self.oldest = self.oldest.max(revision + 1);
                }
                self.records.remove(name);
                continue;
            };
            match records::decode(name, value) {
                Ok(Loaded::Log(log)) => logs.push((log, value.clone())),
                Ok(Loaded::Record(record)) => records.push((name.to_vec(), record)),
                Ok(Loaded::OldLog(_)) => self.violate("durable", "a record of an old format".to_owned()),
                Err(error) => self.violate("durable", format!("what was committed cannot be read: {error}")),
            }
        }
        logs.sort_by_key(|(log, _)| log.revision);
        for (log, bytes) in logs {
            self.transaction(&log, &bytes);
        }
        let end = self.log.last().cloned();
        for (name, record) in records {
            if let Some(end) = &end
                && let Err((invariant, what)) = self.model.record(&record, end)
            {
                self.violate(invariant, what);
            }
            self.records.insert(name, record);
        }
        if let Err((invariant, what)) = self.model.settled() {
            self.violate(invariant, what);
        }
    }

    /// A transaction is on disk.
    fn transaction(&mut self, log: &Arc<LogRecord>, bytes: &[u8]) {
        let digest = blake3::hash(bytes).to_hex();
        let mut line = format!("revision {} {} #{}", log.revision.0, log.scope, log.sequence.0);
        for event in &log.events {
            let _ = write!(line, " {}", kind(event));
        }
        let actor = log.actor.as_ref().map(|actor| actor.as_str()).unwrap_or("-");
        let _ = write!(line, " by {actor} {}", &digest[..16]);
        self.note("disk", &line);
        let expected = self.durable() + 1;
        if log.revision.0 != expected {
            let what = format!("revision {} is committed where {expected} was due", log.revision.0);
            return self.violate("one order", what);
        }
        self.log.push(log.clone());
        if let Err((invariant, what)) = self.model.transaction(log, self.announced) {
            self.violate(invariant, format!("at revision {}: {what}", log.revision.0));
        }
    }

    /// A broker has recovered: it must know exactly what is durable. `what` says who compares.
    pub fn compare(&mut self, what: &str, state: &State) {
        let durable = self.durable();
        if state.revision().0 != durable {
            let found = state.revision().0;
            return self.violate(
                "acknowledged is durable",
                format!("{what} is at revision {found}, the disk at {durable}"),
            );
        }
        let missing = self.records.values().find(|record| !is_in(state, record)).cloned();
        if let Some(record) = missing {
            let what = format!("{what} does not have what is on disk: {record:?}");
            return self.violate("recovered is what was committed", what);
        }
        let count =
            |matches: fn(&Record) -> bool| self.records.values().filter(|record| matches(record)).count();
        let counts = [
            ("locks", state.locks.count(), count(|record| matches!(record, Record::Lock(_)))),
            ("entries", state.entries.count(), count(|record| matches!(record, Record::Entry(_)))),
            ("messages", state.messages.count(), count(|record| matches!(record, Record::Message(_)))),
            ("peers", state.peers.known_count(), count(|record| matches!(record, Record::Peer(_)))),
        ];
        for (kind, found, kept) in counts {
            if found != kept {
                let what = format!("{what} has {found} {kind}, the disk {kept}");
                return self.violate("recovered is what was committed", what);
            }
        }
        if let Err(what) = self.model.agrees(self.records.values()) {
            self.violate("state follows from events", what);
        }
    }
}

/// The revision whose place in the history a key names; no run is so long that a place is used again.
fn trimmed(key: &[u8]) -> Option<u64> {
    let [LOG, slot @ ..] = key else { return None };
    <[u8; 4]>::try_from(slot).ok().map(|slot| u64::from(u32::from_be_bytes(slot)))
}

/// Whether a state has a record just as it is.
fn is_in(state: &State, record: &Record) -> bool {
    match record {
        Record::Peer(peer) => state.peers.get(&peer.scope, &peer.name) == Some(peer),
        Record::Lock(lock) => state.locks.get(&lock.scope, &lock.target, &lock.holder) == Some(lock),
        Record::Entry(entry) => state.entries.get(&entry.scope, &entry.key) == Some(entry),
        Record::Message(message) => state.messages.by_id(message.id) == Some(message),
        Record::Waiter(waiter) => state.locks.waiter(waiter.ticket) == Some(waiter),
        Record::ReleaseRequest(request) => {
            state.locks.release_requests(&request.scope).any(|found| found == request)
        }
        Record::Scope(head) => state.heads(Some(&head.scope)).any(|found| found == head),
        Record::Policy(policy) => state.entries.policies(&policy.scope).any(|found| found == policy),
        Record::Past(_) | Record::Touch(_) | Record::Token(_) => true,
    }
}

/// The kind of an event: the name of its variant.
fn kind(event: &mesh_core::event::Event) -> String {
    let shown = format!("{:?}", event.kind());
    shown.to_lowercase()
}
