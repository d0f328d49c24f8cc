//! The naive mesh: plain lists searched from end to end, no index, and targets judged file by file.

mod about;
mod contracts;
mod entries;
mod locks;
mod merge;
mod messages;
mod peers;
mod queue;
mod requests;
mod rules;
mod touches;

pub(crate) use messages::Kept;
pub(crate) use queue::{Wish, leads};
pub(crate) use requests::Asked;

use mesh_core::command::{Command, Request};
use mesh_core::event::{Event, LeaveCause};
use mesh_core::id::{PeerName, ScopeId, SessionId};
use mesh_core::limits;
use mesh_core::outcome::Outcome;
use mesh_core::record::{
    EntryRecord, LockRecord, PastRecord, PeerKey, PeerRecord, PolicyRecord, TouchRecord, WaiterRecord,
};
use mesh_core::rejection::Rejection;
use mesh_core::revision::{Revision, Ticket};
use mesh_core::state::deadlines::Due;
use mesh_core::time::{Now, Timestamp};

/// What must come out of a decision.
#[derive(Debug, PartialEq)]
pub(crate) enum Expected {
    Refused(Rejection),
    Answer(Outcome),
    Commit { scope: ScopeId, actor: Option<PeerName>, events: Vec<Event>, outcome: Outcome },
}

/// A lock with when it ends.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) lock: LockRecord,
    pub(crate) until: Timestamp,
}

/// What the core is free to choose, and has chosen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen {
    /// Name of a peer that asked for none.
    pub(crate) name: Option<PeerName>,
    /// Slots of the messages that expire together: as many as fit into a transaction.
    pub(crate) slots: Vec<u32>,
    /// How many waiting requests are granted: as many as fit into a transaction, and the rest in the next.
    pub(crate) granted: usize,
    /// How many records the transaction writes.
    pub(crate) writes: usize,
}

/// The whole mesh.
#[derive(Clone, Debug, Default)]
pub(crate) struct Naive {
    pub(crate) revision: u64,
    pub(crate) peers: Vec<PeerRecord>,
    pub(crate) leases: Vec<(SessionId, Timestamp)>,
    pub(crate) locks: Vec<Held>,
    /// Who waits for locks, in the order of the queue.
    pub(crate) waiters: Vec<WaiterRecord>,
    /// Where waiting requests can be granted that did not fit into the transaction which freed their way.
    pub(crate) handovers: Vec<(ScopeId, Timestamp)>,
    /// Requests to make way.
    pub(crate) requests: Vec<Asked>,
    pub(crate) entries: Vec<EntryRecord>,
    /// Former versions of entries, oldest first.
    pub(crate) past: Vec<PastRecord>,
    pub(crate) policies: Vec<PolicyRecord>,
    /// Oldest first.
    pub(crate) messages: Vec<Kept>,
    pub(crate) touches: Vec<TouchRecord>,
    /// Locks and waiting requests as they were before the request at hand.
    before: (Vec<Held>, Vec<WaiterRecord>),
    /// Whether the request at hand has ended a lock or a wait.
    freer: bool,
    chosen: Chosen,
}

impl Naive {
    /// Says what a request must come to, and does it. It follows what was chosen.
    pub(crate) fn ask(&mut self, request: &Request, now: Now, chosen: &Chosen) -> Expected {
        self.before = (self.locks.clone(), self.waiters.clone());
        self.freer = false;
        self.chosen = chosen.clone();
        let expected = if let Command::Join(join) = &request.command {
            self.join(join, now, chosen.name.as_ref())
        } else if let Command::End { session, cause } = &request.command {
            Ok(self.end(*session, *cause, now))
        } else if let Command::Expire(due) = &request.command {
            Ok(self.expire(due, now, chosen))
        } else {
            self.caller(request).and_then(|caller| self.act(caller, &request.command, now))
        };
        let expected = expected.unwrap_or_else(Expected::Refused);
        if matches!(expected, Expected::Commit { .. }) {
            self.revision += 1;
            self.settle_read(now.at);
        }
        expected
    }

    /// Everything that time alone ends.
    pub(crate) fn deadlines(&self) -> Vec<(Due, Timestamp)> {
        let sessions = self.leases.iter().map(|(id, at)| (Due::Session(*id), *at));
        let locks = self.locks.iter().map(|held| (Due::Lock(held.lock.key()), held.until));
        let waiters = self.waiters.iter().map(|w| (Due::Waiter(w.ticket), w.at.after(w.wait)));
        let handovers = self.handovers.iter().map(|(scope, at)| (Due::Handover(scope.clone()), *at));
        let requests =
            self.requests.iter().map(|asked| (Due::ReleaseRequest(asked.record.key()), asked.until));
        let entries = self.entries.iter().filter_map(|entry| {
            let due = Due::Entry(entry.scope.clone(), entry.key.clone());
            entry.ttl.map(|ttl| (due, entry.at.after(ttl)))
        });
        let messages = self.messages.iter().map(|kept| (Due::Message(kept.record.slot), kept.until));
        let touches = self
            .touches
            .iter()
            .map(|touch| (Due::Touch(touch.key()), touch.latest().after(limits::TOUCH_RETENTION)));
        let peers = self.peers.iter().filter(|peer| peer.session.is_none()).filter_map(|peer| {
            peer.ended.as_ref().map(|end| (Due::Peer(peer.key()), end.at.after(limits::PEER_RETENTION)))
        });
        let all = sessions.chain(locks).chain(waiters).chain(handovers).chain(requests);
        all.chain(entries).chain(self.past_deadlines()).chain(messages).chain(touches).chain(peers).collect()
    }

    /// The broker was killed and starts again: every lease is full, every lock of the dead waits a whole delay.
    pub(crate) fn restart(&mut self, now: Timestamp) {
        for (session, until) in &mut self.leases {
            let peer = self.peers.iter().find_map(|peer| peer.session.as_ref().filter(|s| s.id == *session));
            *until = now.after(peer.expect("a lease is of a live session").ttl);
        }
        for at in 0..self.locks.len() {
            let lock = self.locks[at].lock.clone();
            let span = if self.is_orphan(&lock) { self.delay(&lock).min(lock.ttl) } else { lock.ttl };
            self.locks[at].until = now.after(span);
        }
        for (_, at) in &mut self.handovers {
            *at = now;
        }
        self.restart_messages(now);
    }

    /// A sign of life.
    pub(crate) fn touch(&mut self, session: SessionId, until: Timestamp) {
        for lease in self.leases.iter_mut().filter(|lease| lease.0 == session) {
            lease.1 = until;
        }
    }

    /// The peer whose live session this is.
    pub(crate) fn by_session(&self, session: Option<SessionId>) -> Option<&PeerRecord> {
        self.peers.iter().find(|peer| session.is_some() && peer.session.as_ref().map(|s| s.id) == session)
    }

    pub(crate) fn peer(&self, scope: &ScopeId, name: &PeerName) -> Option<usize> {
        self.peers.iter().position(|peer| peer.scope == *scope && peer.name == *name)
    }

    /// The tickets of those who wait or have waited, with whose they are.
    pub(crate) fn tickets(&self) -> Vec<(Ticket, PeerKey)> {
        let of = |scope: &ScopeId, name: &PeerName| PeerKey { scope: scope.clone(), name: name.clone() };
        let waiting = self.waiters.iter().map(|waiter| (waiter.ticket, of(&waiter.scope, &waiter.peer)));
        let locks = self.locks.iter().map(|held| &held.lock);
        let granted = locks.filter_map(|lock| Some((lock.ticket?, of(&lock.scope, &lock.holder))));
        waiting.chain(granted).collect()
    }

    fn next(&self) -> Revision {
        Revision(self.revision + 1)
    }

    fn caller(&self, request: &Request) -> Result<usize, Rejection> {
        let session = request.caller.ok_or(Rejection::SessionRequired)?;
        let at = self.peers.iter().position(|p| p.session.as_ref().is_some_and(|s| s.id == session));
        at.ok_or_else(|| {
            let mut ends = self.peers.iter().filter_map(|peer| peer.ended.as_ref());
            Rejection::SessionExpired { cause: ends.find(|end| end.session == session).map(|end| end.cause) }
        })
    }

    fn act(&mut self, caller: usize, command: &Command, now: Now) -> Result<Expected, Rejection> {
        match command {
            Command::Update(update) => Ok(self.update(caller, update, now)),
            Command::Leave => Ok(self.leave(caller, now)),
            Command::Send(send) => self.send(caller, send, now),
            Command::Acknowledge { up_to } => self.acknowledge(caller, *up_to),
            Command::Follow { follow, unfollow } => self.follow(caller, follow, unfollow),
            Command::Put(put) => self.put(caller, put, now),
            Command::Delete(delete) => self.delete(caller, delete, now),
            Command::Transact(transact) => self.transact(caller, transact, now),
            Command::Restore(restore) => self.restore(caller, restore, now),
            Command::SetPolicy(policy) => self.set_policy(caller, policy),
            Command::Touch(touch) => self.touch_files(caller, touch, now),
            Command::Acquire(acquire) => self.acquire(caller, acquire, now),
            Command::Abandon { ticket } => Ok(self.abandon(caller, *ticket, now)),
            Command::Renew { targets, ttl } => self.renew(caller, targets, *ttl, now),
            Command::Release { targets, keep, note } => self.release(caller, targets, keep, note, now),
            Command::RequestRelease(ask) => self.request_release(caller, ask, now),
            Command::AnswerRelease(answer) => self.answer_release(caller, answer, now),
            Command::ForceRelease { targets, reason } => self.force_release(caller, targets, reason, now),
            Command::Join(_)
            | Command::CreateToken(_)
            | Command::RevokeToken { .. }
            | Command::End { .. }
            | Command::Expire(_) => {
                panic!("{command:?} needs no caller")
            }
        }
    }

    fn expire(&mut self, due: &Due, now: Now, chosen: &Chosen) -> Expected {
        let until = self.deadlines().into_iter().find(|(other, _)| other == due).map(|(_, at)| at);
        if until.is_none_or(|until| until > now.at) {
            return Expected::Answer(Outcome::Done);
        }
        let silent =
            |scope| Expected::Commit { scope, actor: None, events: Vec::new(), outcome: Outcome::Done };
        match due {
            Due::Session(session) => self.end(*session, LeaveCause::Expired, now),
            Due::Lock(key) => self.unlock(key, now),
            Due::Waiter(ticket) => self.stop_waiting(*ticket, now),
            Due::Handover(scope) => self.go_on_handing_over(scope, now),
            Due::ReleaseRequest(key) => {
                self.requests.retain(|asked| asked.record.key() != *key);
                silent(key.scope.clone())
            }
            Due::Entry(scope, key) => self.expire_entry(scope, key),
            Due::Past(scope, key) => {
                self.past.retain(|past| past.entry.scope != *scope || past.entry.key != *key);
                silent(scope.clone())
            }
            Due::Message(slot) => {
                let scope = self.message_in(*slot).record.scope.clone();
                self.expire_messages(&scope, &chosen.slots, now.at);
                assert!(chosen.slots.contains(slot), "what is due ends");
                silent(scope)
            }
            Due::Touch(key) => {
                let own = |touch: &TouchRecord| touch.scope == key.scope && touch.peer == key.peer;
                let over = |touch: &TouchRecord| touch.latest().after(limits::TOUCH_RETENTION) <= now.at;
                self.touches.retain(|touch| !own(touch) || !over(touch));
                silent(key.scope.clone())
            }
            Due::Peer(key) => {
                self.peers.retain(|peer| peer.key() != *key);
                silent(key.scope.clone())
            }
        }
    }
}

/// What a peer does that changes something.
fn done_by(peer: &PeerRecord, events: Vec<Event>, outcome: Outcome) -> Expected {
    Expected::Commit { scope: peer.scope.clone(), actor: Some(peer.name.clone()), events, outcome }
}

/// The beginning of a text, on one line.
fn preview(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        if shown.len() + c.len_utf8() > 160 {
            break;
        }
        shown.push(c);
    }
    shown
}

fn count(number: usize) -> u32 {
    u32::try_from(number).expect("not so many")
}
