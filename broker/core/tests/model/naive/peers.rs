//! Who is known, who is here, and how a session begins and ends.

use mesh_core::command::{Join, Update};
use mesh_core::event::{Event, LeaveCause, PeerChange, PeerField, UnlockCause};
use mesh_core::id::{CredentialId, PeerName, SessionId};
use mesh_core::limits::LOCK_DELAY;
use mesh_core::outcome::Outcome;
use mesh_core::record::{Activity, LockRecord, PeerRecord, SessionEnd, SessionRecord};
use mesh_core::rejection::Rejection;
use mesh_core::time::{Millis, Now, WallTime};

use super::{Expected, Naive, done_by};

impl Naive {
    pub(super) fn join(
        &mut self,
        join: &Join,
        now: Now,
        chosen: Option<&PeerName>,
    ) -> Result<Expected, Rejection> {
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
        let mut ended = Vec::new();
        if let Some(other) = keyed.filter(|at| Some(*at) != former) {
            self.peers[other].resume_key = None;
            ended.extend(self.peers[other].session.as_ref().map(|session| session.id));
            events.extend(self.end_session(other, LeaveCause::Replaced, now));
        }
        let unread = former.map_or(0, |at| self.unread(&self.peers[at]));
        let at = former.unwrap_or_else(|| self.new_peer(join, chosen));
        ended.extend(self.peers[at].session.as_ref().map(|session| session.id));
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
        let peer = peer.clone();
        self.end_waits(&join.scope, &ended, now, &mut events);
        Ok(done_by(&peer, events, outcome))
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
            joined: WallTime(0),
            ended: None,
            acknowledged,
            topics: Default::default(),
            credential: CredentialId::unix(),
        });
        self.peers.len() - 1
    }

    fn end_session(&mut self, at: usize, cause: LeaveCause, now: Now) -> Option<Event> {
        let session = self.peers[at].session.take()?.id;
        self.peers[at].ended = Some(SessionEnd { session, cause, at: now.at, wall: now.wall });
        let info = &mut self.peers[at].info;
        (info.activity, info.wake, info.children) = (Activity::Unknown, String::new(), Vec::new());
        self.leases.retain(|(other, _)| *other != session);
        let delay = if cause == LeaveCause::Left { Millis::ZERO } else { LOCK_DELAY };
        for held in self.locks.iter_mut().filter(|held| held.lock.session == session) {
            held.until = held.until.min(now.at.after(delay));
        }
        Some(Event::PeerLeft { name: self.peers[at].name.clone(), session, cause })
    }

    pub(super) fn end(&mut self, session: SessionId, cause: LeaveCause, now: Now) -> Expected {
        let at = self.peers.iter().position(|p| p.session.as_ref().is_some_and(|s| s.id == session));
        let Some(at) = at else { return Expected::Answer(Outcome::Done) };
        let scope = self.peers[at].scope.clone();
        let mut events: Vec<Event> = self.end_session(at, cause, now).into_iter().collect();
        self.end_waits(&scope, &[session], now, &mut events);
        Expected::Commit { scope, actor: None, events, outcome: Outcome::Done }
    }

    pub(super) fn leave(&mut self, caller: usize, now: Now) -> Expected {
        let peer = self.peers[caller].clone();
        let session = peer.session.as_ref().expect("a caller has a session").id;
        let mut events = Vec::new();
        let targets = self.own_targets(&peer.scope, &peer.name);
        let holder = (&peer.scope, &peer.name);
        self.give_back_because(holder, &targets, UnlockCause::Left, now, &mut events);
        events.extend(self.end_session(caller, LeaveCause::Left, now));
        self.end_waits(&peer.scope, &[session], now, &mut events);
        done_by(&peer, events, Outcome::Done)
    }

    pub(super) fn update(&mut self, caller: usize, update: &Update, now: Now) -> Expected {
        let peer = &mut self.peers[caller];
        let former = peer.clone();
        peer.info.focus = update.focus.clone().unwrap_or(former.info.focus.clone());
        peer.info.branch = update.branch.clone().unwrap_or(former.info.branch.clone());
        peer.info.files = update.files.clone().unwrap_or(former.info.files.clone());
        peer.info.activity = update.activity.unwrap_or(former.info.activity);
        peer.info.wake = update.wake.clone().unwrap_or(former.info.wake.clone());
        peer.info.children = update.children.clone().unwrap_or(former.info.children.clone());
        let session = peer.session.as_mut().expect("a caller has a session");
        let lease = update.ttl.filter(|ttl| *ttl != session.ttl);
        session.ttl = update.ttl.unwrap_or(session.ttl);
        let session = session.id;
        let peer = peer.clone();
        if let Some(ttl) = lease {
            self.touch(session, now.at.after(ttl));
        }
        let outcome = Outcome::Updated { peer: peer.clone().into() };
        if peer == former {
            return Expected::Answer(outcome);
        }
        let changed = changed(&former, &peer, lease.is_some());
        done_by(&peer, vec![Event::PeerUpdated { peer: peer.clone().into(), changed }], outcome)
    }

    /// Whether the session that took the lock is over.
    pub(crate) fn is_orphan(&self, lock: &LockRecord) -> bool {
        !self.leases.iter().any(|(session, _)| *session == lock.session)
    }

    /// How long a lock of a session that is over may linger.
    pub(super) fn delay(&self, lock: &LockRecord) -> Millis {
        let peer = self.peer(&lock.scope, &lock.holder).map(|at| &self.peers[at]);
        let end = peer.and_then(|peer| peer.ended.as_ref()).filter(|end| end.session == lock.session);
        if end.is_some_and(|end| end.cause == LeaveCause::Left) { Millis::ZERO } else { LOCK_DELAY }
    }
}

/// What an update changed, in the order of the contract's fields; the model's peers change no others.
fn changed(before: &PeerRecord, after: &PeerRecord, lease: bool) -> PeerChange {
    let (old, new) = (&before.info, &after.info);
    let mut fields = Vec::new();
    if old.branch != new.branch {
        fields.push(PeerField::Branch);
    }
    if old.focus != new.focus {
        fields.push(PeerField::Focus);
    }
    if old.files != new.files {
        fields.push(PeerField::Files);
    }
    if old.activity != new.activity {
        fields.push(PeerField::Activity);
    }
    if old.wake != new.wake {
        fields.push(PeerField::Wake);
    }
    if old.children != new.children {
        fields.push(PeerField::Children);
    }
    if lease {
        fields.push(PeerField::LeaseTtl);
    }
    let mut started: Vec<String> = new.children.iter().map(|child| child.id.clone()).collect();
    let mut ended = old.children.clone();
    started.retain(|id| old.children.iter().all(|child| child.id != *id));
    ended.retain(|gone| new.children.iter().all(|child| child.id != gone.id));
    PeerChange { fields, started, ended }
}
