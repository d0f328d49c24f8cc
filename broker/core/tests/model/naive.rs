//! The naive mesh: plain lists searched from end to end, no index, and locks judged file by file.

use mesh_core::command::{Acquire, Command, Delete, Join, Precondition, Put, Request, Send, Update};
use mesh_core::event::{DeleteCause, Event, LeaveCause, UnlockCause};
use mesh_core::id::{PeerName, ScopeId, SessionId};
use mesh_core::limits::{LOCK_DELAY, MESSAGE_RETENTION, PEER_RETENTION};
use mesh_core::outcome::{Conflict, EntryMeta, Outcome};
use mesh_core::record::{
    EntryRecord, LockMode, LockRecord, MessageRecord, PeerRecord, Recipients, SessionEnd, SessionRecord,
};
use mesh_core::rejection::Rejection;
use mesh_core::revision::{FencingToken, Revision, Version};
use mesh_core::state::deadlines::Due;
use mesh_core::target::Target;
use mesh_core::time::{Millis, Now, Timestamp};

use crate::world;

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

/// The whole mesh.
#[derive(Clone, Debug, Default)]
pub(crate) struct Naive {
    pub(crate) revision: u64,
    pub(crate) peers: Vec<PeerRecord>,
    pub(crate) leases: Vec<(SessionId, Timestamp)>,
    pub(crate) locks: Vec<Held>,
    pub(crate) entries: Vec<EntryRecord>,
    pub(crate) messages: Vec<MessageRecord>,
}

impl Naive {
    /// Says what a request must come to, and does it. `chosen` is the name that a join without one was given.
    pub(crate) fn ask(&mut self, request: &Request, now: Now, chosen: Option<&PeerName>) -> Expected {
        let expected = match &request.command {
            Command::Join(join) => self.join(join, now, chosen),
            Command::End { session, cause } => self.end(*session, *cause, now),
            Command::Expire(due) => self.expire(due, now),
            Command::Update(_)
            | Command::Leave
            | Command::Send(_)
            | Command::Acknowledge { .. }
            | Command::Put(_)
            | Command::Delete(_)
            | Command::Acquire(_)
            | Command::Renew { .. }
            | Command::Release { .. } => {
                self.caller(request).and_then(|caller| self.act(caller, &request.command, now))
            }
        };
        let expected = expected.unwrap_or_else(Expected::Refused);
        if matches!(expected, Expected::Commit { .. }) {
            self.revision += 1;
        }
        expected
    }

    /// Everything that time alone ends.
    pub(crate) fn deadlines(&self) -> Vec<(Due, Timestamp)> {
        let sessions = self.leases.iter().map(|(id, at)| (Due::Session(*id), *at));
        let locks = self.locks.iter().map(|held| (Due::Lock(held.lock.key()), held.until));
        let entries = self.entries.iter().filter_map(|entry| {
            let due = Due::Entry(entry.scope.clone(), entry.key.clone());
            entry.ttl.map(|ttl| (due, entry.at.after(ttl)))
        });
        let messages = self.messages.iter().map(|m| (Due::Message(m.slot), m.at.after(MESSAGE_RETENTION)));
        let peers = self.peers.iter().filter(|peer| peer.session.is_none()).filter_map(|peer| {
            peer.ended.as_ref().map(|end| (Due::Peer(peer.key()), end.at.after(PEER_RETENTION)))
        });
        sessions.chain(locks).chain(entries).chain(messages).chain(peers).collect()
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
    }

    /// A sign of life.
    pub(crate) fn touch(&mut self, session: SessionId, until: Timestamp) {
        for lease in self.leases.iter_mut().filter(|lease| lease.0 == session) {
            lease.1 = until;
        }
    }

    /// A peer's messages after a cursor, oldest first.
    pub(crate) fn inbox(&self, peer: &PeerRecord, after: Revision) -> Vec<MessageRecord> {
        let is_for = |message: &&MessageRecord| {
            let named = match &message.to {
                Recipients::Direct(names) => names.contains(&peer.name),
                Recipients::Broadcast => message.from != peer.name,
            };
            message.scope == peer.scope && named && message.revision > after
        };
        self.messages.iter().filter(is_for).cloned().collect()
    }

    pub(crate) fn unread(&self, peer: &PeerRecord) -> u32 {
        u32::try_from(self.inbox(peer, peer.acknowledged).len()).expect("a short inbox")
    }

    /// Whether the session that took the lock is over.
    pub(crate) fn is_orphan(&self, lock: &LockRecord) -> bool {
        !self.leases.iter().any(|(session, _)| *session == lock.session)
    }

    pub(crate) fn peer(&self, scope: &ScopeId, name: &PeerName) -> Option<usize> {
        self.peers.iter().position(|peer| peer.scope == *scope && peer.name == *name)
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
            Command::Update(update) => Ok(self.update(caller, update)),
            Command::Leave => Ok(self.leave(caller, now)),
            Command::Send(send) => self.send(caller, send, now),
            Command::Acknowledge { up_to } => self.acknowledge(caller, *up_to),
            Command::Put(put) => self.put(caller, put, now),
            Command::Delete(delete) => self.delete(caller, delete),
            Command::Acquire(acquire) => Ok(self.acquire(caller, acquire, now)),
            Command::Renew { targets, ttl } => self.renew(caller, targets, *ttl, now),
            Command::Release { targets } => self.release(caller, targets),
            Command::Join(_) | Command::End { .. } | Command::Expire(_) => {
                panic!("{command:?} needs no caller")
            }
        }
    }

    fn join(&mut self, join: &Join, now: Now, chosen: Option<&PeerName>) -> Result<Expected, Rejection> {
        let keyed = self.peers.iter().position(|peer| {
            peer.scope == join.scope && join.resume_key.is_some() && peer.resume_key == join.resume_key
        });
        let same_name = |at: &usize| join.name.as_ref().is_none_or(|name| *name == self.peers[*at].name);
        let former = match keyed.filter(same_name) {
            Some(at) => Some(at),
            None => match join.name.as_ref().map(|name| (name, self.peer(&join.scope, name))) {
                Some((name, Some(at))) if self.peers[at].session.is_some() => {
                    return Err(Rejection::PeerNameTaken { name: name.clone() });
                }
                Some((_, at)) => at,
                None => None,
            },
        };
        let mut events = Vec::new();
        if let Some(other) = keyed.filter(|at| Some(*at) != former) {
            self.peers[other].resume_key = None;
            events.extend(self.end_session(other, LeaveCause::Replaced, now));
        }
        let unread = former.map_or(0, |at| self.unread(&self.peers[at]));
        let at = former.unwrap_or_else(|| self.new_peer(join, chosen));
        events.extend(self.end_session(at, LeaveCause::Replaced, now));
        self.leases.push((join.session, now.at.after(join.ttl)));
        let peer = &mut self.peers[at];
        peer.info = join.info.clone();
        peer.resume_key = join.resume_key.clone().or(peer.resume_key.clone());
        peer.joined = now.wall;
        peer.session = Some(SessionRecord { id: join.session, ttl: join.ttl, joined: now.wall });
        let resumed = former.is_some();
        events.push(Event::PeerJoined { peer: peer.clone().into(), resumed });
        let outcome = Outcome::Joined { peer: peer.clone().into(), resumed, unread };
        let actor = Some(peer.name.clone());
        Ok(Expected::Commit { scope: join.scope.clone(), actor, events, outcome })
    }

    fn new_peer(&mut self, join: &Join, chosen: Option<&PeerName>) -> usize {
        let name = join.name.as_ref().or(chosen).expect("a join without a name is given one").clone();
        assert_eq!(self.peer(&join.scope, &name), None, "a generated name is nobody else's");
        let acknowledged = self.next();
        self.peers.push(PeerRecord {
            scope: join.scope.clone(),
            name,
            info: join.info.clone(),
            resume_key: None,
            session: None,
            joined: mesh_core::time::WallTime(0),
            ended: None,
            acknowledged,
        });
        self.peers.len() - 1
    }

    fn end_session(&mut self, at: usize, cause: LeaveCause, now: Now) -> Option<Event> {
        let session = self.peers[at].session.take()?.id;
        self.peers[at].ended = Some(SessionEnd { session, cause, at: now.at, wall: now.wall });
        self.leases.retain(|(other, _)| *other != session);
        let delay = if cause == LeaveCause::Left { Millis::ZERO } else { LOCK_DELAY };
        for held in self.locks.iter_mut().filter(|held| held.lock.session == session) {
            held.until = held.until.min(now.at.after(delay));
        }
        Some(Event::PeerLeft { name: self.peers[at].name.clone(), session, cause })
    }

    fn end(&mut self, session: SessionId, cause: LeaveCause, now: Now) -> Result<Expected, Rejection> {
        let at = self.peers.iter().position(|p| p.session.as_ref().is_some_and(|s| s.id == session));
        let Some(at) = at else { return Ok(Expected::Answer(Outcome::Done)) };
        let scope = self.peers[at].scope.clone();
        let events = self.end_session(at, cause, now).into_iter().collect();
        Ok(Expected::Commit { scope, actor: None, events, outcome: Outcome::Done })
    }

    fn leave(&mut self, caller: usize, now: Now) -> Expected {
        let (scope, name) = (self.peers[caller].scope.clone(), self.peers[caller].name.clone());
        let targets = self.own_targets(&scope, &name);
        self.locks.retain(|held| held.lock.scope != scope || held.lock.holder != name);
        let mut events = Vec::new();
        if !targets.is_empty() {
            events.push(Event::FileUnlocked { holder: name.clone(), targets, cause: UnlockCause::Left });
        }
        events.extend(self.end_session(caller, LeaveCause::Left, now));
        Expected::Commit { scope, actor: Some(name), events, outcome: Outcome::Done }
    }

    fn update(&mut self, caller: usize, update: &Update) -> Expected {
        let peer = &mut self.peers[caller];
        let former = peer.info.clone();
        peer.info.focus = update.focus.clone().unwrap_or(former.focus.clone());
        peer.info.files = update.files.clone().unwrap_or(former.files.clone());
        let outcome = Outcome::Updated { peer: peer.clone().into() };
        if peer.info == former {
            return Expected::Answer(outcome);
        }
        let events = vec![Event::PeerUpdated { peer: peer.clone().into() }];
        Expected::Commit { scope: peer.scope.clone(), actor: Some(peer.name.clone()), events, outcome }
    }

    fn send(&mut self, caller: usize, send: &Send, now: Now) -> Result<Expected, Rejection> {
        let sender = self.peers[caller].clone();
        let mut told = Vec::new();
        match &send.to {
            Recipients::Direct(names) => {
                for name in names {
                    if *name == sender.name {
                        return Err(Rejection::invalid("to", ""));
                    }
                    let unknown = || Rejection::PeerNotFound { name: name.clone() };
                    told.push(self.peer(&sender.scope, name).ok_or_else(unknown)?);
                }
            }
            Recipients::Broadcast => {
                let is_told = |peer: &PeerRecord| {
                    peer.scope == sender.scope && peer.session.is_some() && peer.name != sender.name
                };
                told.extend((0..self.peers.len()).filter(|at| is_told(&self.peers[*at])));
                told.sort_by_key(|at| self.peers[*at].name.clone());
            }
        }
        let deliveries = told.iter().map(|at| {
            let peer = &self.peers[*at];
            let ended = peer.ended.as_ref().map_or(peer.joined, |end| end.wall);
            (peer.name.clone(), peer.session.is_none().then_some(ended))
        });
        let deliveries: Vec<_> = deliveries.collect();
        let online = u32::try_from(deliveries.iter().filter(|(_, offline)| offline.is_none()).count());
        let outcome = Outcome::Sent { id: send.id, deliveries, online: online.expect("few peers") };
        self.messages.push(MessageRecord {
            slot: u32::MAX,
            id: send.id,
            revision: self.next(),
            scope: sender.scope.clone(),
            from: sender.name.clone(),
            to: send.to.clone(),
            body: send.body.clone(),
            reply_to: send.reply_to,
            intent: send.intent,
            urgent: send.urgent,
            at: now.at,
            sent: now.wall,
        });
        let event = Event::MessageSent {
            id: send.id,
            from: sender.name.clone(),
            to: send.to.clone(),
            reply_to: send.reply_to,
            intent: send.intent,
            urgent: send.urgent,
            size: u32::try_from(send.body.len()).expect("a short body"),
            preview: send.body.to_string(),
        };
        let (scope, actor) = (sender.scope, Some(sender.name));
        Ok(Expected::Commit { scope, actor, events: vec![event], outcome })
    }

    fn acknowledge(&mut self, caller: usize, up_to: Revision) -> Result<Expected, Rejection> {
        if up_to.0 > self.revision {
            return Err(Rejection::invalid("up_to_revision", ""));
        }
        let former = self.peers[caller].acknowledged;
        let acknowledged = former.max(up_to);
        self.peers[caller].acknowledged = acknowledged;
        let peer = self.peers[caller].clone();
        let unread = self.unread(&peer);
        let outcome = Outcome::Acknowledged { acknowledged, unread };
        if acknowledged == former {
            return Ok(Expected::Answer(outcome));
        }
        let peers = self.peers.clone();
        let has_read = |message: &MessageRecord, name: &PeerName| {
            let other = peers.iter().find(|peer| peer.scope == message.scope && peer.name == *name);
            other.is_none_or(|other| other.acknowledged >= message.revision)
        };
        self.messages.retain(|message| match &message.to {
            Recipients::Direct(names) => {
                let just_read = message.revision > former && message.revision <= acknowledged;
                let own = message.scope == peer.scope && names.contains(&peer.name);
                !(own && just_read && names.iter().all(|name| has_read(message, name)))
            }
            Recipients::Broadcast => true,
        });
        Ok(Expected::Commit { scope: peer.scope, actor: Some(peer.name), events: Vec::new(), outcome })
    }

    fn writable(&self, caller: usize, asked: Option<&ScopeId>) -> Result<ScopeId, Rejection> {
        let own = &self.peers[caller].scope;
        let scope = asked.unwrap_or(own);
        if scope != own && scope.as_str() != "global" {
            return Err(Rejection::PermissionDenied { what: String::new() });
        }
        Ok(scope.clone())
    }

    fn put(&mut self, caller: usize, put: &Put, now: Now) -> Result<Expected, Rejection> {
        let scope = self.writable(caller, put.scope.as_ref())?;
        let at = self.entries.iter().position(|entry| entry.scope == scope && entry.key == put.key);
        let former = at.map(|at| self.entries[at].clone());
        check(put.precondition, former.as_ref(), &put.key)?;
        let writer = self.peers[caller].name.clone();
        let entry = EntryRecord {
            scope: scope.clone(),
            key: put.key.clone(),
            value: put.value.clone(),
            version: Version(former.as_ref().map_or(0, |former| former.version.0) + 1),
            revision: self.next(),
            create_revision: former.as_ref().map_or(self.next(), |former| former.create_revision),
            writer: writer.clone(),
            at: now.at,
            written: now.wall,
            paths: put.paths.clone(),
            tags: put.tags.clone(),
            ttl: put.ttl,
        };
        let event = Event::StateChanged {
            key: put.key.clone(),
            version: entry.version,
            writer: writer.clone(),
            size: u32::try_from(put.value.len()).expect("a short value"),
            preview: put.value.to_string(),
            paths: put.paths.clone(),
            tags: put.tags.clone(),
        };
        let outcome = Outcome::Written(EntryMeta {
            scope: scope.clone(),
            key: put.key.clone(),
            version: entry.version,
            revision: entry.revision,
            create_revision: entry.create_revision,
            writer: writer.clone(),
            written: now.wall,
            paths: put.paths.clone(),
            tags: put.tags.clone(),
            ttl: put.ttl,
        });
        self.entries.retain(|other| other.scope != scope || other.key != put.key);
        self.entries.push(entry);
        Ok(Expected::Commit { scope, actor: Some(writer), events: vec![event], outcome })
    }

    fn delete(&mut self, caller: usize, delete: &Delete) -> Result<Expected, Rejection> {
        let scope = self.writable(caller, delete.scope.as_ref())?;
        let at = self.entries.iter().position(|entry| entry.scope == scope && entry.key == delete.key);
        check(delete.precondition, at.map(|at| &self.entries[at]), &delete.key)?;
        let at = at.ok_or_else(|| Rejection::KeyNotFound { key: delete.key.clone() })?;
        let actor = Some(self.peers[caller].name.clone());
        Ok(self.drop_entry(at, actor, DeleteCause::Deleted, Outcome::Deleted))
    }

    fn drop_entry(
        &mut self,
        at: usize,
        actor: Option<PeerName>,
        cause: DeleteCause,
        outcome: Outcome,
    ) -> Expected {
        let entry = self.entries.remove(at);
        let (key, version, paths) = (entry.key, entry.version, entry.paths);
        let events = vec![Event::StateDeleted { key, version, cause, paths }];
        Expected::Commit { scope: entry.scope, actor, events, outcome }
    }

    fn own_targets(&self, scope: &ScopeId, name: &PeerName) -> Vec<Target> {
        let own = self.locks.iter().filter(|held| held.lock.scope == *scope && held.lock.holder == *name);
        let mut targets: Vec<Target> = own.map(|held| held.lock.target.clone()).collect();
        targets.sort();
        targets
    }

    fn own(&self, caller: usize, target: &Target) -> Option<usize> {
        let peer = &self.peers[caller];
        self.locks.iter().position(|held| {
            held.lock.scope == peer.scope && held.lock.holder == peer.name && held.lock.target == *target
        })
    }

    fn conflicts(&self, caller: usize, acquire: &Acquire, now: Now) -> Vec<Conflict> {
        let peer = &self.peers[caller];
        let mut found = Vec::new();
        for target in &acquire.targets {
            for held in self.locks.iter().filter(|held| held.lock.scope == peer.scope) {
                let lock = &held.lock;
                let both_shared = acquire.mode == LockMode::Shared && lock.mode == LockMode::Shared;
                if lock.holder == peer.name || both_shared || !world::overlap(&lock.target, target) {
                    continue;
                }
                let holder = self.peer(&lock.scope, &lock.holder).map(|at| &self.peers[at]);
                found.push(Conflict {
                    target: target.clone(),
                    lock: lock.clone().into(),
                    lingering: self.is_orphan(lock),
                    remaining: held.until.since(now.at),
                    holder_focus: holder.map(|peer| peer.info.focus.clone()).unwrap_or_default(),
                });
            }
        }
        found
    }

    fn acquire(&mut self, caller: usize, acquire: &Acquire, now: Now) -> Expected {
        let conflicts = self.conflicts(caller, acquire, now);
        if !conflicts.is_empty() {
            return Expected::Answer(Outcome::Conflicts(conflicts));
        }
        let peer = self.peers[caller].clone();
        let session = peer.session.as_ref().expect("a caller has a session").id;
        let (mut locks, mut fresh) = (Vec::new(), Vec::new());
        for target in &acquire.targets {
            let own = self.own(caller, target).map(|at| self.locks.remove(at).lock);
            let keeps = |own: &LockRecord| {
                own.session == session && (own.mode == acquire.mode || own.mode == LockMode::Exclusive)
            };
            let lock = match own.filter(keeps) {
                Some(mut own) => {
                    own.ttl = acquire.ttl;
                    own.reason = if acquire.reason.is_empty() { own.reason } else { acquire.reason.clone() };
                    own
                }
                None => LockRecord {
                    scope: peer.scope.clone(),
                    target: target.clone(),
                    holder: peer.name.clone(),
                    session,
                    mode: acquire.mode,
                    token: FencingToken(self.next()),
                    reason: acquire.reason.clone(),
                    ttl: acquire.ttl,
                    acquired: now.wall,
                },
            };
            if lock.token.0 == self.next() {
                fresh.push(lock.clone().into());
            }
            locks.push(lock.clone().into());
            self.locks.push(Held { until: now.at.after(lock.ttl), lock });
        }
        let events = if fresh.is_empty() { vec![] } else { vec![Event::FileLocked { locks: fresh }] };
        let outcome = Outcome::Granted { locks };
        Expected::Commit { scope: peer.scope, actor: Some(peer.name), events, outcome }
    }

    fn renew(
        &mut self,
        caller: usize,
        targets: &[Target],
        ttl: Option<Millis>,
        now: Now,
    ) -> Result<Expected, Rejection> {
        let peer = self.peers[caller].clone();
        let named =
            if targets.is_empty() { self.own_targets(&peer.scope, &peer.name) } else { targets.to_vec() };
        let is_missing = |target: &&Target| self.own(caller, target).is_none();
        let lingers = |at: &usize| self.is_orphan(&self.locks[*at].lock);
        let is_over = |target: &&Target| self.own(caller, target).is_some_and(|at| lingers(&at));
        if let Some(path) = targets.iter().find(is_missing).or(targets.iter().find(is_over)) {
            return Err(Rejection::LockNotHeld { path: path.clone() });
        }
        let found: Vec<usize> = named.iter().filter_map(|target| self.own(caller, target)).collect();
        let found: Vec<usize> = found.into_iter().filter(|at| !lingers(at)).collect();
        let mut locks = Vec::new();
        for at in found {
            let held = &mut self.locks[at];
            held.lock.ttl = ttl.unwrap_or(held.lock.ttl);
            held.until = now.at.after(held.lock.ttl);
            locks.push(held.lock.clone().into());
        }
        let nothing = locks.is_empty();
        let outcome = Outcome::Renewed { locks };
        if nothing {
            return Ok(Expected::Answer(outcome));
        }
        Ok(Expected::Commit { scope: peer.scope, actor: Some(peer.name), events: Vec::new(), outcome })
    }

    fn release(&mut self, caller: usize, targets: &[Target]) -> Result<Expected, Rejection> {
        let peer = self.peers[caller].clone();
        let own = self.own_targets(&peer.scope, &peer.name);
        if let Some(path) = targets.iter().find(|target| !own.contains(target)) {
            return Err(Rejection::LockNotHeld { path: path.clone() });
        }
        let released = if targets.is_empty() { own.clone() } else { targets.to_vec() };
        let remaining = u32::try_from(own.len() - released.len()).expect("few locks");
        let outcome = Outcome::Released { targets: released.clone(), remaining };
        if released.is_empty() {
            return Ok(Expected::Answer(outcome));
        }
        self.locks.retain(|held| {
            let lock = &held.lock;
            lock.scope != peer.scope || lock.holder != peer.name || !released.contains(&lock.target)
        });
        let (holder, cause) = (peer.name.clone(), UnlockCause::Released);
        let events = vec![Event::FileUnlocked { holder, targets: released, cause }];
        Ok(Expected::Commit { scope: peer.scope, actor: Some(peer.name), events, outcome })
    }

    fn expire(&mut self, due: &Due, now: Now) -> Result<Expected, Rejection> {
        let until = self.deadlines().into_iter().find(|(other, _)| other == due).map(|(_, at)| at);
        if until.is_none_or(|until| until > now.at) {
            return Ok(Expected::Answer(Outcome::Done));
        }
        Ok(match due {
            Due::Session(session) => return self.end(*session, LeaveCause::Expired, now),
            Due::Lock(key) => {
                let at = self.locks.iter().position(|held| held.lock.key() == *key);
                self.unlock(at.expect("what has a deadline is there"), now)
            }
            Due::Entry(scope, key) => {
                let at = self.entries.iter().position(|entry| entry.scope == *scope && entry.key == *key);
                let at = at.expect("what has a deadline is there");
                self.drop_entry(at, None, DeleteCause::Expired, Outcome::Done)
            }
            Due::Message(slot) => {
                let at = self.messages.iter().position(|message| message.slot == *slot);
                let scope = self.messages.remove(at.expect("what has a deadline is there")).scope;
                Expected::Commit { scope, actor: None, events: Vec::new(), outcome: Outcome::Done }
            }
            Due::Peer(key) => {
                let at = self.peer(&key.scope, &key.name).expect("what has a deadline is there");
                let scope = self.peers.remove(at).scope;
                Expected::Commit { scope, actor: None, events: Vec::new(), outcome: Outcome::Done }
            }
        })
    }

    fn unlock(&mut self, at: usize, now: Now) -> Expected {
        let first = self.locks[at].lock.clone();
        let orphan = self.is_orphan(&first);
        let cause = if orphan { UnlockCause::SessionEnded } else { UnlockCause::Expired };
        let over = |held: &Held| {
            let same = held.lock.scope == first.scope && held.lock.holder == first.holder;
            same && held.lock.session == first.session && held.until <= now.at
        };
        let gone = self.locks.iter().filter(|held| over(held));
        let mut targets: Vec<Target> = gone.map(|held| held.lock.target.clone()).collect();
        targets.sort();
        self.locks.retain(|held| !over(held));
        let events = vec![Event::FileUnlocked { holder: first.holder, targets, cause }];
        Expected::Commit { scope: first.scope, actor: None, events, outcome: Outcome::Done }
    }

    /// How long a lock of a session that is over may linger.
    fn delay(&self, lock: &LockRecord) -> Millis {
        let peer = self.peer(&lock.scope, &lock.holder).map(|at| &self.peers[at]);
        let end = peer.and_then(|peer| peer.ended.as_ref()).filter(|end| end.session == lock.session);
        if end.is_some_and(|end| end.cause == LeaveCause::Left) { Millis::ZERO } else { LOCK_DELAY }
    }
}

fn check(
    asked: Precondition,
    entry: Option<&EntryRecord>,
    key: &mesh_core::id::EntryKey,
) -> Result<(), Rejection> {
    let key = key.clone();
    match (asked, entry) {
        (Precondition::Any, _) | (Precondition::MustNotExist, None) => Ok(()),
        (_, None) => Err(Rejection::KeyNotFound { key }),
        (Precondition::MustNotExist, Some(entry)) => {
            Err(Rejection::KeyExists { key, version: entry.version, revision: entry.revision })
        }
        (Precondition::Version(version), Some(entry)) if version == entry.version => Ok(()),
        (Precondition::Revision(revision), Some(entry)) if revision == entry.revision => Ok(()),
        (Precondition::Version(_) | Precondition::Revision(_), Some(entry)) => {
            let (version, revision, writer) = (entry.version, entry.revision, entry.writer.clone());
            Err(Rejection::VersionMismatch { key, version, revision, writer })
        }
    }
}
