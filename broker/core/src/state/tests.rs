//! The subtle rules, one by one. The property test against a naive model covers their interplay.

mod entries;
mod locks;
mod messages;
mod messages_retention;
mod messages_threads;
mod messages_topics;
mod peers;
mod quotas;
mod tokens;
mod touches;

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::{Decision, State, Transaction};
use crate::command::{Acquire, Command, Join, Request, Send};
use crate::event::Event;
use crate::id::{MessageId, PeerName, ResumeKey, ScopeId, SessionId, TopicName};
use crate::outcome::Outcome;
use crate::pattern::Pattern;
use crate::record::{
    Intent, LockMode, LogRecord, PeerInfo, PeerRecord, Recipients, Record, RecordKey, Write,
};
use crate::rejection::Rejection;
use crate::target::Target;
use crate::time::{Millis, Now, Timestamp, WallTime};

/// Operations that the longest item of the history is: a grant of a hundred long locks.
const LONGEST_ITEM: usize = 88;

/// A mesh with one scope, a clock, its log and what a store would hold.
#[derive(Default)]
struct Mesh {
    state: State,
    now: u64,
    serial: u64,
    log: Vec<Arc<LogRecord>>,
    stored: BTreeMap<RecordKey, Record>,
}

impl Mesh {
    fn ask(&mut self, request: &Request) -> Result<Outcome, Rejection> {
        let now = Now { at: Timestamp(self.now), wall: WallTime(self.now) };
        let transaction = match self.state.decide(request, now)? {
            Decision::Answer(outcome) => return Ok(outcome),
            Decision::Commit(transaction) => transaction,
        };
        let cost = self.cost(&transaction, request);
        assert!(cost <= 256, "the store takes no more at once than 256 operations: {cost} for {request:?}");
        for write in &transaction.writes {
            match write {
                Write::Put(record) => self.stored.insert(record.key(), record.clone()),
                Write::Delete(key) => self.stored.remove(key),
            };
        }
        self.state.apply_transaction(&transaction, Timestamp(self.now));
        self.log.push(transaction.log);
        Ok(transaction.outcome)
    }

    /// How many operations of the store a transaction is: a long record is several, and so is one that it takes the
    /// place of. The broker may meet the longest item there is in the slot of the history.
    fn cost(&self, transaction: &Transaction, request: &Request) -> usize {
        let item = postcard::to_allocvec(&*transaction.log).unwrap();
        assert!(item.len() < 512 * 1024, "the store takes no longer value: {} for {request:?}", item.len());
        let replaced = if request.caller.is_none() { LONGEST_ITEM } else { 0 };
        let of_write = |write: &Write| {
            let (key, new) = match write {
                Write::Put(record) => (record.key(), operations_of(record)),
                Write::Delete(key) => (key.clone(), 1),
            };
            new.max(self.stored.get(&key).map_or(0, operations_of))
        };
        operations(item.len()).max(replaced) + transaction.writes.iter().map(of_write).sum::<usize>()
    }

    fn by(&mut self, caller: SessionId, command: Command) -> Result<Outcome, Rejection> {
        self.ask(&Request { caller: Some(caller), ..Request::internal(command) })
    }

    fn pass(&mut self, span: Millis) {
        self.now += span.0;
        while let Some(due) = self.state.due(Timestamp(self.now)) {
            self.ask(&Request::internal(Command::Expire(due))).unwrap();
        }
    }

    /// Starts again from what is stored.
    fn restart(&mut self) {
        let revision = self.state.revision();
        self.state = State::default();
        for record in self.stored.values() {
            self.state.apply(&Write::Put(record.clone()), Timestamp(self.now));
        }
        self.state.advance(revision);
    }

    fn id(&mut self) -> Uuid {
        self.serial += 1;
        Uuid::from_u64_pair(0, self.serial)
    }

    /// A join with a lease of an hour.
    fn joining(&mut self, who: Option<&str>, key: Option<&str>) -> Join {
        Join {
            scope: scope(),
            name: who.map(name),
            allowed: Pattern::any(),
            resume_key: key.map(|key| ResumeKey::parse(key).unwrap()),
            info: PeerInfo::default(),
            ttl: Millis::minutes(60),
            session: SessionId(self.id()),
            name_seed: 5,
        }
    }

    fn try_join(&mut self, who: Option<&str>, key: Option<&str>) -> Result<Arc<PeerRecord>, Rejection> {
        let join = self.joining(who, key);
        let outcome = self.ask(&Request::internal(Command::Join(join)))?;
        let Outcome::Joined { peer, .. } = outcome else { panic!("{outcome:?}") };
        Ok(peer)
    }

    fn join(&mut self, who: &str) -> SessionId {
        session(&self.try_join(Some(who), Some(who)).unwrap())
    }

    fn lock(&mut self, caller: SessionId, mode: LockMode, on: &[&str]) -> Outcome {
        self.lock_for(caller, mode, on, Millis::minutes(30))
    }

    fn lock_for(&mut self, caller: SessionId, mode: LockMode, on: &[&str], ttl: Millis) -> Outcome {
        let targets = on.iter().map(|text| target(text)).collect();
        let reason = String::new();
        let (wait, contract) = (Millis::ZERO, None);
        self.by(caller, Command::Acquire(Acquire { targets, mode, ttl, reason, wait, contract })).unwrap()
    }

    /// Asks for locks, and waits for ten minutes if need be.
    fn wait(&mut self, caller: SessionId, mode: LockMode, on: &[&str]) -> Result<Outcome, Rejection> {
        let targets = on.iter().map(|text| target(text)).collect();
        let (ttl, reason, wait) = (Millis::minutes(30), String::new(), Millis::minutes(10));
        self.by(caller, Command::Acquire(Acquire { targets, mode, ttl, reason, wait, contract: None }))
    }

    fn send(&mut self, caller: SessionId, to: Recipients) -> Result<Outcome, Rejection> {
        let message = self.message(to);
        self.by(caller, Command::Send(message))
    }

    /// A message that nothing is special about.
    fn message(&mut self, to: Recipients) -> Send {
        let id = MessageId(self.id());
        let (body, reply_to, intent) = ("hello".into(), None, Intent::Inform);
        Send { id, to, body, reply_to, intent, urgent: false, paths: Vec::new() }
    }

    fn unread(&self, who: &str) -> u32 {
        self.state.messages.unread(self.state.peers.get(&scope(), &name(who)).unwrap())
    }

    /// The events since this was last asked.
    fn events(&mut self) -> Vec<Event> {
        self.log.drain(..).flat_map(|log| log.events.clone()).collect()
    }
}

/// How many operations of the store a value of so many bytes is.
fn operations(bytes: usize) -> usize {
    bytes.div_ceil(4_338).max(1)
}

fn operations_of(record: &Record) -> usize {
    operations(postcard::to_allocvec(record).unwrap().len())
}

fn scope() -> ScopeId {
    ScopeId::parse("acme/app").unwrap()
}

fn name(text: &str) -> PeerName {
    PeerName::parse(text).unwrap()
}

fn target(text: &str) -> Target {
    Target::parse("path", text).unwrap()
}

fn session(peer: &PeerRecord) -> SessionId {
    peer.session.as_ref().unwrap().id
}

fn topic(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

fn to(names: &[&str]) -> Recipients {
    Recipients::Direct(names.iter().map(|text| name(text)).collect())
}
