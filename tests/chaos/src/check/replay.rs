//! The log, replayed: what is held, written, joined and queued after each batch.

use std::collections::{BTreeMap, BTreeSet};

use mesh_client::proto::event::Event;
use mesh_client::proto::{
    EventBatch, FileLocked, FileUnlocked, Lock, LockMode, MessageSent, PeerJoined, PeerLeft, StateChanged,
    StateDeleted, UnlockCause,
};

use super::{Fault, Found};
use crate::history::{History, List, Snapshot, What};

/// A lock, as far as it decides anything.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    shared: bool,
    token: u64,
    session: String,
}

/// A request in the queue.
#[derive(Clone, Debug)]
struct Waiter {
    peer: String,
    paths: Vec<String>,
    shared: bool,
}

/// One scope after some batch.
#[derive(Clone, Debug, Default)]
struct Scope {
    sequence: u64,
    revision: u64,
    /// Name and liveness of every session there ever was.
    sessions: BTreeMap<String, (String, bool)>,
    /// By path and holder.
    locks: BTreeMap<(String, String), Held>,
    /// The largest token ever granted, by path.
    tokens: BTreeMap<String, u64>,
    queue: BTreeMap<u64, Waiter>,
    /// Version and revision of the last write, by key; false when it is deleted.
    entries: BTreeMap<String, (u64, u64, bool)>,
}

/// The mesh after some batch.
#[derive(Debug)]
pub(super) struct World {
    revision: u64,
    scopes: BTreeMap<String, Scope>,
    /// Revision that the key's last write must have, by request.
    conditions: BTreeMap<String, u64>,
    /// Revisions of the messages to each peer.
    sent: BTreeMap<String, Vec<u64>>,
}

/// Whether a file belongs to both; of plain paths and directories, which end with a slash.
fn overlap(one: &str, other: &str) -> bool {
    let within = |inner: &str, outer: &str| outer == "/" || outer.ends_with('/') && inner.starts_with(outer);
    one == other || within(one, other) || within(other, one)
}

impl World {
    pub(super) fn new(history: &History) -> Self {
        let condition = |op: &crate::history::Op| match op.what {
            What::Put(_, Some(revision)) => Some((op.request_id.clone(), revision)),
            What::Put(_, None)
            | What::Join(_)
            | What::Delete(_)
            | What::Send
            | What::Acquire(_)
            | What::Release
            | What::Leave => None,
        };
        let conditions = history.ops.iter().filter_map(condition).collect();
        Self { revision: 0, scopes: BTreeMap::new(), conditions, sent: BTreeMap::new() }
    }

    /// Revisions of the messages to each peer, in order.
    pub(super) fn sent(&self) -> &BTreeMap<String, Vec<u64>> {
        &self.sent
    }

    pub(super) fn apply(&mut self, batch: &EventBatch, found: &mut Found) {
        let at = batch.revision;
        found.unless(at > self.revision, Fault::Gap, || format!("{at} follows {}", self.revision));
        self.revision = at;
        let scope = self.scopes.entry(batch.scope.clone()).or_default();
        found.unless(
            (batch.sequence, batch.prev_revision) == (scope.sequence + 1, scope.revision),
            Fault::Gap,
            || {
                let told = (batch.sequence, batch.prev_revision);
                format!("{at} says {told:?} after {:?}", (scope.sequence, scope.revision))
            },
        );
        (scope.sequence, scope.revision) = (batch.sequence, at);
        scope.actor_lives(batch, found);
        for event in batch.events.iter().filter_map(|event| event.event.as_ref()) {
            if let Event::MessageSent(message) = event {
                self.sent_to(message, at);
            } else if let Event::StateChanged(change) = event {
                let condition = self.conditions.get(&batch.request_id).copied();
                scope_of(&mut self.scopes, batch).wrote(change, condition, at, found);
            } else {
                scope_of(&mut self.scopes, batch).apply(event, batch, found);
            }
        }
        scope_of(&mut self.scopes, batch).nobody_waits_for_nothing(at, found);
    }

    fn sent_to(&mut self, message: &MessageSent, at: u64) {
        for to in &message.to {
            self.sent.entry(to.clone()).or_default().push(at);
        }
    }

    /// A list as the replay has it at this point.
    pub(super) fn compare(&self, snapshot: &Snapshot, found: &mut Found) {
        let nothing = Scope::default();
        let scope = self.scopes.get(mesh_tests::SCOPE).unwrap_or(&nothing);
        let differs = match &snapshot.list {
            List::Granted(locks) => locks.iter().find_map(|lock| scope.does_not_hold(lock)),
            List::Locks(locks) => scope.differs_in_locks(locks),
            List::Entries(entries) => {
                let told: BTreeMap<_, _> =
                    entries.iter().map(|e| (e.key.clone(), (e.version, e.revision))).collect();
                let live = scope.entries.iter().filter(|(_, (.., there))| *there);
                let own: BTreeMap<_, _> =
                    live.map(|(key, (version, revision, _))| (key.clone(), (*version, *revision))).collect();
                (told != own).then(|| format!("entries are {told:?}, the log makes them {own:?}"))
            }
            List::Peers(peers) => {
                let told: BTreeSet<_> = peers.iter().map(|peer| peer.session_id.clone()).collect();
                let live = scope.sessions.iter().filter(|(_, (_, live))| *live);
                let own: BTreeSet<_> = live.map(|(id, _)| id.clone()).collect();
                (told != own).then(|| format!("sessions are {told:?}, the log makes them {own:?}"))
            }
        };
        if let Some(what) = differs {
            found.add(Fault::State, format!("at {}: {what}", snapshot.revision));
        }
    }
}

fn scope_of<'a>(scopes: &'a mut BTreeMap<String, Scope>, batch: &EventBatch) -> &'a mut Scope {
    scopes.entry(batch.scope.clone()).or_default()
}

impl Scope {
    fn is_live(&self, name: &str) -> bool {
        self.sessions.values().any(|(of, live)| *live && of == name)
    }

    /// Who acts has a session, or is getting one.
    fn actor_lives(&self, batch: &EventBatch, found: &mut Found) {
        let joins = batch.events.iter().any(|event| matches!(event.event, Some(Event::PeerJoined(_))));
        let known = batch.actor.is_empty() || joins || self.is_live(&batch.actor);
        found.unless(known, Fault::Session, || {
            format!("{} acts at {} without a session", batch.actor, batch.revision)
        });
    }

    fn apply(&mut self, event: &Event, batch: &EventBatch, found: &mut Found) {
        let at = batch.revision;
        match event {
            Event::PeerJoined(joined) => self.joined(joined, at, found),
            Event::PeerLeft(left) => self.left(left, at, found),
            Event::FileLocked(locked) => self.locked(locked, at, found),
            Event::FileUnlocked(unlocked) => self.unlocked(unlocked, batch, found),
            Event::StateDeleted(deleted) => self.deleted(deleted, at, found),
            Event::LockQueued(queued) => {
                let Some(waiter) = &queued.waiter else { return };
                let shared = waiter.mode() == LockMode::Shared;
                let queued = Waiter { peer: waiter.peer.clone(), paths: waiter.paths.clone(), shared };
                self.queue.insert(waiter.ticket, queued);
            }
            Event::LockWaitEnded(ended) => self.dequeue(ended.ticket, at, found),
            Event::MessageSent(_)
            | Event::StateChanged(_)
            | Event::PeerUpdated(_)
            | Event::LockReleaseRequested(_)
            | Event::LockReleaseAnswered(_)
            | Event::FileTouched(_)
            | Event::ContractChanged(_)
            | Event::PolicyChanged(_)
            | Event::TokenCreated(_)
            | Event::TokenRevoked(_) => {}
        }
    }

    fn joined(&mut self, joined: &PeerJoined, at: u64, found: &mut Found) {
        let Some(peer) = &joined.peer else {
            return found.add(Fault::Session, format!("nobody joins at {at}"));
        };
        found.unless(!self.is_live(&peer.name), Fault::Session, || {
            format!("{} joins at {at} and has a session", peer.name)
        });
        let known = self.sessions.insert(peer.session_id.clone(), (peer.name.clone(), true));
        found.unless(known.is_none(), Fault::Session, || {
            format!("session {} begins again at {at}", peer.session_id)
        });
    }

    fn left(&mut self, left: &PeerLeft, at: u64, found: &mut Found) {
        let ended = self.sessions.insert(left.session_id.clone(), (left.name.clone(), false));
        found.unless(ended == Some((left.name.clone(), true)), Fault::Session, || {
            format!("session {} of {} ends at {at}; it was {ended:?}", left.session_id, left.name)
        });
    }

    fn locked(&mut self, locked: &FileLocked, at: u64, found: &mut Found) {
        if locked.ticket != 0 {
            self.dequeue(locked.ticket, at, found);
        }
        for lock in &locked.locks {
            self.grant(lock, at, found);
        }
    }

    fn grant(&mut self, lock: &Lock, at: u64, found: &mut Found) {
        let shared = lock.mode() == LockMode::Shared;
        for ((path, holder), held) in &self.locks {
            let excludes = !(shared && held.shared) && *holder != lock.holder && overlap(path, &lock.path);
            found.unless(!excludes, Fault::Overlap, || {
                format!("{} is granted {} at {at}; {holder} holds {path}", lock.holder, lock.path)
            });
        }
        found.unless(lock.fencing_token == at, Fault::Token, || {
            format!("the grant at {at} has the token {}", lock.fencing_token)
        });
        let earlier =
            self.tokens.iter().filter(|(path, _)| overlap(path, &lock.path)).map(|(_, token)| *token);
        // Several locks of one grant share its token.
        let largest = earlier.filter(|token| *token != at).max().unwrap_or(0);
        found.unless(lock.fencing_token > largest, Fault::Token, || {
            format!("{} has the token {} after {largest}", lock.path, lock.fencing_token)
        });
        self.tokens.insert(lock.path.clone(), lock.fencing_token.max(largest));
        let live = self.sessions.get(&lock.session_id);
        found.unless(live == Some(&(lock.holder.clone(), true)), Fault::Session, || {
            format!("{} is granted to {} at {at}, whose session is {live:?}", lock.path, lock.holder)
        });
        let key = (lock.path.clone(), lock.holder.clone());
        let session = lock.session_id.clone();
        self.locks.insert(key, Held { shared, token: lock.fencing_token, session });
    }

    fn unlocked(&mut self, unlocked: &FileUnlocked, batch: &EventBatch, found: &mut Found) {
        let at = batch.revision;
        let own = batch.actor == unlocked.holder;
        let fair = match unlocked.cause() {
            UnlockCause::Released | UnlockCause::Narrowed | UnlockCause::Left => own,
            // The broker notices when a deadline passes, be it while it does something else.
            UnlockCause::Expired => true,
            // That of the lock: its holder may be back with another one, to which it does not belong.
            UnlockCause::SessionEnded => {
                !unlocked.paths.iter().any(|path| self.is_kept(path, &unlocked.holder))
            }
            UnlockCause::Forced => !own && !unlocked.reason.is_empty(),
            UnlockCause::Unspecified => false,
        };
        found.unless(fair, Fault::Unlock, || {
            let (cause, actor) = (unlocked.cause().as_str_name(), &batch.actor);
            format!("{actor:?} ends locks of {} at {at} with {cause}", unlocked.holder)
        });
        for path in &unlocked.paths {
            let held = self.locks.remove(&(path.clone(), unlocked.holder.clone()));
            found.unless(held.is_some(), Fault::Unlock, || {
                format!("{} loses {path} at {at} and did not hold it", unlocked.holder)
            });
        }
    }

    /// Whether the session that a lock was granted to is live.
    fn is_kept(&self, path: &str, holder: &str) -> bool {
        let held = self.locks.get(&(path.to_owned(), holder.to_owned()));
        held.and_then(|held| self.sessions.get(&held.session)).is_some_and(|(_, live)| *live)
    }

    fn dequeue(&mut self, ticket: u64, at: u64, found: &mut Found) {
        let queued = self.queue.remove(&ticket);
        found.unless(queued.is_some(), Fault::Queue, || {
            format!("ticket {ticket} ends at {at} and did not wait")
        });
    }

    /// The first of the queue has nothing in its way but locks of others.
    fn nobody_waits_for_nothing(&self, at: u64, found: &mut Found) {
        let Some((ticket, first)) = self.queue.first_key_value() else { return };
        let in_the_way = |path: &String| {
            self.locks.iter().any(|((locked, holder), held)| {
                *holder != first.peer && !(first.shared && held.shared) && overlap(locked, path)
            })
        };
        found.unless(first.paths.iter().any(in_the_way), Fault::Queue, || {
            format!("{} waits under ticket {ticket} after {at}, and nothing is in the way", first.peer)
        });
    }

    fn wrote(&mut self, change: &StateChanged, condition: Option<u64>, at: u64, found: &mut Found) {
        let (version, revision, there) = self.entries.get(&change.key).copied().unwrap_or((0, 0, false));
        let next = change.version == version + 1 || !there && change.version == 1;
        found.unless(next, Fault::Version, || {
            format!("{} is written as version {} at {at}, after {version}", change.key, change.version)
        });
        let read = if there { revision } else { 0 };
        found.unless(condition.is_none_or(|condition| condition == read), Fault::Version, || {
            format!("{} is written at {at} on condition of {condition:?}; it was of {read}", change.key)
        });
        self.entries.insert(change.key.clone(), (change.version, at, true));
    }

    fn deleted(&mut self, deleted: &StateDeleted, at: u64, found: &mut Found) {
        let before = self.entries.insert(deleted.key.clone(), (deleted.version, at, false));
        let present = before.is_some_and(|(version, _, there)| there && version == deleted.version);
        found.unless(present, Fault::Version, || {
            format!("version {} of {} is deleted at {at}; it was {before:?}", deleted.version, deleted.key)
        });
    }

    fn does_not_hold(&self, lock: &Lock) -> Option<String> {
        let held = self.locks.get(&(lock.path.clone(), lock.holder.clone()));
        let same = held.is_some_and(|held| held.token == lock.fencing_token);
        let (path, holder, token) = (&lock.path, &lock.holder, lock.fencing_token);
        (!same).then(|| format!("{holder} is told that it holds {path} with {token}; it is {held:?}"))
    }

    fn differs_in_locks(&self, locks: &[Lock]) -> Option<String> {
        let told: BTreeMap<_, _> =
            locks.iter().map(|l| ((l.path.clone(), l.holder.clone()), l.fencing_token)).collect();
        let own: BTreeMap<_, _> = self.locks.iter().map(|(key, held)| (key.clone(), held.token)).collect();
        (told != own).then(|| format!("locks are {told:?}, the log makes them {own:?}"))
    }
}
