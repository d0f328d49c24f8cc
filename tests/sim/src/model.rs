//! What follows from the log, worked out event by event and as plainly as can be: the naive model that the broker's
//! history is held against.
//!
//! Independent of the core: it has a rule of its own for which targets overlap, for who may hold what, for who is next.
//! Everything in it is amortised constant or logarithmic for an event, so that a history is checked in linear time.

mod entries;
mod locks;
mod mail;
mod peers;
mod policies;
mod signs;

use std::collections::BTreeMap;

use mesh_core::event::Event;
use mesh_core::id::ScopeId;
use mesh_core::record::{LogRecord, Record};
use mesh_core::time::Timestamp;

pub use self::entries::Written;
pub use self::locks::{Grant, overlap};
pub use self::policies::{follows, merges};

/// A promise that was broken: which, and how.
pub type Broken = (&'static str, String);

/// See the module.
#[derive(Debug, Default)]
pub struct Model {
    heads: BTreeMap<ScopeId, (u64, u64)>,
    requests: BTreeMap<String, u64>,
    /// Sessions and their ends.
    pub peers: peers::Peers,
    /// Locks, and who waits for them.
    pub locks: locks::Locks,
    /// Entries.
    pub entries: entries::Entries,
    /// How writes to keys treat each other.
    pub policies: policies::Policies,
    /// Messages.
    pub mail: mail::Mail,
    /// What the broker could know of who is alive, and when it ran.
    pub signs: signs::Signs,
}

impl Model {
    /// Takes in the next transaction.
    /// The history goes back to `oldest`, and no further: what is gone from it may be forgotten.
    pub fn transaction(&mut self, log: &LogRecord, oldest: u64) -> Result<(), Broken> {
        self.order(log)?;
        if let Some(id) = &log.request_id
            && let Some(first) = self.requests.insert(id.to_string(), log.revision.0)
            && first >= oldest
        {
            return Err(("retry is safe", format!("request {id} has had its effect at {first} already")));
        }
        for event in &log.events {
            self.event(log, event)?;
        }
        Ok(())
    }

    /// At which revision a request had its effect.
    #[must_use]
    pub fn effect_of(&self, request_id: &str) -> Option<u64> {
        self.requests.get(request_id).copied()
    }

    /// A broker begins.
    pub fn broker_began(&mut self, at: Timestamp) {
        self.signs.broker_began(at);
        self.entries.broker_began();
    }

    fn order(&mut self, log: &LogRecord) -> Result<(), Broken> {
        self.signs.time_goes_on(log)?;
        if log.events.is_empty() {
            let zero = log.sequence.0 == 0;
            return zero.then_some(()).ok_or_else(|| ("one order", "a sequence for nothing".to_owned()));
        }
        let head = self.heads.entry(log.scope.clone()).or_default();
        let due = (head.0 + 1, head.1);
        let found = (log.sequence.0, log.prev_revision.0);
        *head = (log.sequence.0, log.revision.0);
        if found != due {
            let what = format!("sequence and revision before are {found:?} where {due:?} were due");
            return Err(("one order", what));
        }
        Ok(())
    }

    fn event(&mut self, log: &LogRecord, event: &Event) -> Result<(), Broken> {
        match event {
            Event::PeerJoined { peer, .. } => self.peers.joined(log, peer),
            Event::PeerUpdated { peer, .. } => self.peers.updated(peer),
            Event::PeerLeft { name, session, cause } => {
                self.signs.may_end(log, *session, *cause, self.peers.lives(*session))?;
                self.peers.left(log, name, *session, *cause)
            }
            Event::FileLocked { locks, ticket } => self.locks.granted(log, locks, *ticket, &self.peers),
            Event::FileUnlocked { holder, targets, cause, .. } => {
                self.locks.ended(log, holder, targets, *cause, &self.peers, &self.signs)
            }
            Event::LockQueued { waiter, .. } => self.locks.queued(waiter),
            Event::LockWaitEnded { ticket, cause, .. } => self.locks.wait_ended(log, *ticket, *cause),
            Event::StateChanged { key, version, writer, preview, size, .. } => {
                self.entries.changed(log, key, *version, writer, (preview, *size))
            }
            Event::StateDeleted { key, version, cause, .. } => {
                self.entries.deleted(log, key, *version, *cause)
            }
            Event::MessageSent { id, from, to, .. } => {
                self.mail.sent(log, *id, from, to);
                Ok(())
            }
            Event::PolicyChanged { prefix, kind } => {
                self.policies.changed(log, prefix, *kind);
                Ok(())
            }
            Event::LockReleaseRequested { .. }
            | Event::LockReleaseAnswered { .. }
            | Event::FileTouched { .. }
            | Event::ContractChanged { .. }
            | Event::TokenCreated { .. }
            | Event::TokenRevoked { .. } => Ok(()),
        }
    }

    /// Takes in a record that came with a batch which ends with a transaction.
    pub fn record(&mut self, record: &Record, end: &LogRecord) -> Result<(), Broken> {
        match record {
            Record::Lock(lock) => self.locks.written(lock, end),
            Record::Peer(peer) => {
                self.peers.written(peer);
                self.mail.written(peer, end);
            }
            Record::Entry(entry) => return self.entries.written(entry),
            Record::Scope(head) => self.locks.handover(&head.scope, head.handover_due),
            Record::Message(_)
            | Record::Waiter(_)
            | Record::ReleaseRequest(_)
            | Record::Past(_)
            | Record::Policy(_)
            | Record::Touch(_)
            | Record::Token(_) => {}
        }
        Ok(())
    }

    /// What must hold whenever a batch is on disk.
    pub fn settled(&mut self) -> Result<(), Broken> {
        self.locks.nobody_waits_in_vain(&self.peers)
    }

    /// What must be over by the end of a run.
    pub fn ended(&self, now: u64) -> Result<(), Broken> {
        self.signs.no_ghosts(now, self.peers.live())?;
        self.locks.none_immortal(now, &self.peers, &self.signs)
    }

    /// Whether what the events tell is what the records say.
    pub fn agrees<'a>(&self, records: impl Iterator<Item = &'a Record>) -> Result<(), String> {
        let (mut locks, mut entries, mut sessions, mut waiters, mut policies) = (0, 0, 0, 0, 0);
        for record in records {
            let same = match record {
                Record::Lock(lock) => {
                    locks += 1;
                    self.locks.has(lock)
                }
                Record::Entry(entry) => {
                    entries += 1;
                    self.entries.has(entry)
                }
                Record::Peer(peer) => {
                    sessions += usize::from(peer.session.is_some());
                    self.peers.has(peer)
                }
                Record::Waiter(waiter) => {
                    waiters += 1;
                    self.locks.awaits(waiter)
                }
                Record::Policy(policy) => {
                    policies += 1;
                    self.policies.has(policy)
                }
                Record::Scope(_)
                | Record::Message(_)
                | Record::ReleaseRequest(_)
                | Record::Past(_)
                | Record::Touch(_)
                | Record::Token(_) => true,
            };
            if !same {
                return Err(format!("no event tells of {record:?}"));
            }
        }
        let found = (locks, entries, sessions, waiters, policies);
        let told = (
            self.locks.count(),
            self.entries.count(),
            self.peers.live().count(),
            self.locks.waiting(),
            self.policies.count(),
        );
        if found != told {
            return Err(format!(
                "locks, entries, sessions, waiters, policies: {found:?} on disk, {told:?} by events"
            ));
        }
        Ok(())
    }
}
