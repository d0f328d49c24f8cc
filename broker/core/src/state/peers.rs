//! Peers and their sessions: who is known, who is here, and how a session begins and ends.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::deadlines::Due;
use super::locks::Handover;
use super::{Change, State, Step, names};
use crate::command::{Join, Update};
use crate::event::{Event, LeaveCause, PeerChange, UnlockCause};
use crate::id::{CredentialId, PeerName, ResumeKey, ScopeId, SessionId};
use crate::limits;
use crate::mutation::{Mutation, planted};
use crate::outcome::Outcome;
use crate::record::{PeerInfo, PeerKey, PeerRecord, Record, SessionEnd, SessionRecord, Write};
use crate::rejection::Rejection;
use crate::time::{Millis, Now, Timestamp};

/// Names that are tried where only some are allowed.
const TRIES: usize = 4_096;

/// All peers, by scope and name, with their live sessions and resume keys.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    by_scope: BTreeMap<ScopeId, BTreeMap<PeerName, Arc<PeerRecord>>>,
    sessions: BTreeMap<SessionId, Arc<PeerRecord>>,
    /// How the last session of each peer ended.
    ended: BTreeMap<SessionId, LeaveCause>,
    resume: BTreeMap<(ScopeId, ResumeKey), PeerName>,
    known: usize,
}

impl Peers {
    /// A peer by name.
    #[must_use]
    pub fn get(&self, scope: &ScopeId, name: &PeerName) -> Option<&Arc<PeerRecord>> {
        self.by_scope.get(scope)?.get(name)
    }

    /// The peer whose live session this is.
    #[must_use]
    pub fn by_session(&self, session: SessionId) -> Option<&Arc<PeerRecord>> {
        self.sessions.get(&session)
    }

    /// The peer whose live session this is, or the refusal that says how the session ended.
    pub fn live(&self, session: SessionId) -> Result<&Arc<PeerRecord>, Rejection> {
        let expired = || Rejection::SessionExpired { cause: self.ended.get(&session).copied() };
        self.by_session(session).ok_or_else(expired)
    }

    /// Peers of one scope, or of all, by scope and name, after a peer.
    pub fn list<'a>(
        &'a self,
        scope: Option<&'a ScopeId>,
        after: Option<&'a PeerKey>,
    ) -> impl Iterator<Item = &'a Arc<PeerRecord>> {
        self.by_scope
            .iter()
            .filter(move |(at, _)| scope.is_none_or(|scope| scope == *at))
            .filter(move |(at, _)| after.is_none_or(|after| after.scope <= **at))
            .flat_map(move |(at, peers)| {
                let name = after.filter(|after| after.scope == *at).map(|after| &after.name);
                let from = name.map_or(Bound::Unbounded, Bound::Excluded);
                peers.range::<PeerName, _>((from, Bound::Unbounded)).map(|(_, peer)| peer)
            })
    }

    /// Peers of a scope with a live session.
    pub fn online(&self, scope: &ScopeId) -> impl Iterator<Item = &Arc<PeerRecord>> {
        self.by_scope.get(scope).into_iter().flat_map(BTreeMap::values).filter(|peer| peer.session.is_some())
    }

    /// Live sessions with their leases.
    pub fn sessions(&self) -> impl Iterator<Item = &SessionRecord> {
        self.sessions.values().filter_map(|peer| peer.session.as_ref())
    }

    /// How many sessions are live.
    #[must_use]
    pub fn online_count(&self) -> usize {
        self.sessions.len()
    }

    /// How many peers are known.
    #[must_use]
    pub fn known_count(&self) -> usize {
        self.known
    }

    /// The name the caller will have, with the peer that has it, if there is one.
    fn identify(&self, join: &Join) -> Result<(PeerName, Option<&Arc<PeerRecord>>), Rejection> {
        let may_be = |name: &PeerName| {
            let problem = format!("must be one that {} means: your token allows no other", join.allowed);
            let fits = join.allowed.matches(name.as_str());
            if fits { Ok(()) } else { Err(Rejection::invalid("name", problem)) }
        };
        if let Some(former) = self.by_resume_key(join)
            && join.name.as_ref().is_none_or(|name| *name == former.name)
        {
            may_be(&former.name)?;
            return Ok((former.name.clone(), Some(former)));
        }
        if let Some(name) = &join.name {
            may_be(name)?;
            name.check_claim()?;
            let former = self.get(&join.scope, name);
            if former.is_some_and(|peer| peer.session.is_some()) {
                return Err(Rejection::PeerNameTaken { name: name.clone() });
            }
            return Ok((name.clone(), former));
        }
        let free = names::candidates(join.name_seed, self.known_in(&join.scope))
            .take(if join.allowed.is_any() { limits::PEERS * 2 } else { TRIES })
            .map(|name| if join.allowed.matches(&name) { name } else { join.allowed.filled(&name) })
            .map_while(|name| PeerName::parse(&name).ok())
            .find(|name| self.get(&join.scope, name).is_none());
        if free.is_none() && !join.allowed.is_any() {
            let problem = format!("can be none that is free and that {} means; name one", join.allowed);
            return Err(Rejection::invalid("name", problem));
        }
        free.map(|name| (name, None)).ok_or(Rejection::LimitReached { what: "peers", limit: limits::PEERS })
    }

    /// Whether one more peer may become known in a scope.
    fn check_room(&self, scope: &ScopeId) -> Result<(), Rejection> {
        if self.known_in(scope) >= limits::PEERS_PER_SCOPE {
            return Err(Rejection::LimitReached {
                what: "peers of one scope",
                limit: limits::PEERS_PER_SCOPE,
            });
        }
        if self.known >= limits::PEERS {
            return Err(Rejection::LimitReached { what: "peers", limit: limits::PEERS });
        }
        Ok(())
    }

    fn known_in(&self, scope: &ScopeId) -> usize {
        self.by_scope.get(scope).map_or(0, BTreeMap::len)
    }

    fn by_resume_key(&self, join: &Join) -> Option<&Arc<PeerRecord>> {
        let key = join.resume_key.clone()?;
        let name = self.resume.get(&(join.scope.clone(), key))?;
        self.get(&join.scope, name)
    }

    fn insert(&mut self, record: &Arc<PeerRecord>) -> Option<Arc<PeerRecord>> {
        let peers = self.by_scope.entry(record.scope.clone()).or_default();
        let former = peers.insert(record.name.clone(), record.clone());
        if let Some(former) = &former {
            self.forget_keys(former);
        } else {
            self.known += 1;
        }
        if let Some(session) = &record.session {
            self.sessions.insert(session.id, record.clone());
        }
        if let Some(end) = &record.ended {
            self.ended.insert(end.session, end.cause);
        }
        if let Some(key) = &record.resume_key {
            self.resume.insert((record.scope.clone(), key.clone()), record.name.clone());
        }
        former
    }

    fn remove(&mut self, key: &PeerKey) -> Option<Arc<PeerRecord>> {
        let peers = self.by_scope.get_mut(&key.scope)?;
        let former = peers.remove(&key.name)?;
        if peers.is_empty() {
            self.by_scope.remove(&key.scope);
        }
        self.known -= 1;
        self.forget_keys(&former);
        Some(former)
    }

    fn forget_keys(&mut self, record: &PeerRecord) {
        if let Some(session) = &record.session {
            self.sessions.remove(&session.id);
        }
        if let Some(end) = &record.ended {
            self.ended.remove(&end.session);
        }
        if let Some(key) = &record.resume_key {
            let key = (record.scope.clone(), key.clone());
            if self.resume.get(&key) == Some(&record.name) {
                self.resume.remove(&key);
            }
        }
    }
}

impl State {
    pub(super) fn decide_join(
        &self,
        join: &Join,
        by: Option<&CredentialId>,
        now: Now,
    ) -> Result<Step, Rejection> {
        if join.scope.is_reserved() {
            return Err(Rejection::invalid("scope", "begins with `~`, as only the broker's own scopes do"));
        }
        let (name, former) = self.peers.identify(join)?;
        for known in former.into_iter().chain(self.peers.by_resume_key(join)) {
            self.check_belongs(known, by, now)?;
        }
        if former.is_none() {
            self.peers.check_room(&join.scope)?;
        }
        let mut writes = Vec::new();
        let mut events = Vec::new();
        let mut over = Vec::new();
        // The conversation was another peer until now: it is not two.
        if let Some(other) = self.peers.by_resume_key(join)
            && other.name != name
        {
            let mut other_now = PeerRecord::clone(other);
            other_now.resume_key = None;
            over.extend(live(other));
            events.extend(end_session(&mut other_now, LeaveCause::Replaced, now));
            writes.push(Write::Put(Record::Peer(Arc::new(other_now))));
        }
        let mut peer = former.map_or_else(|| self.new_peer(join, name), |former| PeerRecord::clone(former));
        over.extend(live(&peer));
        events.extend(end_session(&mut peer, LeaveCause::Replaced, now));
        peer.info = join.info.clone();
        peer.credential = by.cloned().unwrap_or_else(CredentialId::unix);
        peer.resume_key = join.resume_key.clone().or(peer.resume_key);
        peer.joined = now.wall;
        peer.session = Some(SessionRecord { id: join.session, ttl: join.ttl, joined: now.wall });
        let unread = former.map_or(0, |former| self.messages.unread(former));
        let peer = Arc::new(peer);
        let resumed = former.is_some();
        writes.push(Write::Put(Record::Peer(peer.clone())));
        events.push(Event::PeerJoined { peer: peer.clone(), resumed });
        let outcome = Outcome::Joined { peer: peer.clone(), resumed, unread };
        let change = Change::new(join.scope.clone(), Some(peer.name.clone()), outcome);
        let mut handover = Handover::new(self, Change { writes, events, ..change }, now);
        for (name, session) in over {
            handover.end_waits(&name, session);
        }
        Ok(Step::Change(handover.finish()))
    }

    fn new_peer(&self, join: &Join, name: PeerName) -> PeerRecord {
        PeerRecord {
            scope: join.scope.clone(),
            name,
            info: PeerInfo::default(),
            resume_key: None,
            session: None,
            joined: crate::time::WallTime::default(),
            ended: None,
            acknowledged: self.next_revision(),
            topics: BTreeMap::new(),
            credential: CredentialId::unix(),
        }
    }

    /// Refuses to make a credential the peer of another. What a token that is over has left behind is anybody's.
    fn check_belongs(&self, peer: &PeerRecord, by: Option<&CredentialId>, now: Now) -> Result<(), Rejection> {
        let Some(by) = by else { return Ok(()) };
        let is_left = !peer.credential.is_owner() && !self.tokens.is_good(&peer.credential, now.wall);
        if by.is_owner() || *by == peer.credential || is_left {
            return Ok(());
        }
        let what = format!("{} is a peer of another credential; join under another name", peer.name);
        Err(Rejection::PermissionDenied { what })
    }

    pub(super) fn decide_update(&self, caller: &Arc<PeerRecord>, update: &Update) -> Step {
        let mut peer = PeerRecord::clone(caller);
        let info = &mut peer.info;
        let texts = [
            (&mut info.agent_kind, &update.agent_kind),
            (&mut info.agent_version, &update.agent_version),
            (&mut info.host, &update.host),
            (&mut info.worktree, &update.worktree),
            (&mut info.branch, &update.branch),
            (&mut info.head, &update.head),
            (&mut info.focus, &update.focus),
            (&mut info.wake, &update.wake),
        ];
        for (field, new) in texts {
            if let Some(new) = new {
                field.clone_from(new);
            }
        }
        info.pid = update.pid.unwrap_or(info.pid);
        if let Some(files) = &update.files {
            info.files.clone_from(files);
        }
        info.activity = update.activity.unwrap_or(info.activity);
        if let Some(children) = &update.children {
            info.children.clone_from(children);
        }
        if let (Some(session), Some(ttl)) = (&mut peer.session, update.ttl) {
            session.ttl = ttl;
        }
        let is_same = peer == **caller;
        let changed = PeerChange::between(caller, &peer);
        let peer = Arc::new(peer);
        let outcome = Outcome::Updated { peer: peer.clone() };
        if is_same {
            return Step::Answer(outcome);
        }
        Step::Change(Change {
            scope: peer.scope.clone(),
            actor: Some(peer.name.clone()),
            writes: vec![Write::Put(Record::Peer(peer.clone()))],
            events: vec![Event::PeerUpdated { peer, changed }],
            outcome,
            handover_due: None,
        })
    }

    pub(super) fn decide_leave(&self, caller: &Arc<PeerRecord>, now: Now) -> Step {
        let change = Change::new(caller.scope.clone(), Some(caller.name.clone()), Outcome::Done);
        let mut handover = Handover::new(self, change, now);
        // What does not fit into this transaction is due at once and follows in the next.
        let held = self.locks.of_holder(&caller.key());
        let held: Vec<_> = held.take(limits::UNLOCKS_PER_TRANSACTION).cloned().collect();
        handover.end_locks(&held, UnlockCause::Left, "");
        handover.answer_released(&caller.name, &held);
        self.end(caller, LeaveCause::Left, handover, now)
    }

    pub(super) fn decide_end(&self, session: SessionId, cause: LeaveCause, now: Now) -> Step {
        let Some(peer) = self.peers.by_session(session) else { return Step::Answer(Outcome::Done) };
        let handover = Handover::new(self, Change::new(peer.scope.clone(), None, Outcome::Done), now);
        self.end(peer, cause, handover, now)
    }

    /// Ends the session of a peer with all that it waits for.
    fn end(&self, peer: &Arc<PeerRecord>, cause: LeaveCause, mut handover: Handover<'_>, now: Now) -> Step {
        let mut after = PeerRecord::clone(peer);
        let left = end_session(&mut after, cause, now).into_iter().collect();
        handover.add(vec![Write::Put(Record::Peer(Arc::new(after)))], left);
        if let Some((name, session)) = live(peer) {
            handover.end_waits(&name, session);
        }
        Step::Change(handover.finish())
    }

    pub(super) fn apply_peer(&mut self, record: &Arc<PeerRecord>, now: Timestamp) {
        let former = self.peers.insert(record);
        let former_session = former.and_then(|peer| peer.session.clone());
        if let Some(ended) = &former_session
            && record.session.as_ref().is_none_or(|session| session.id != ended.id)
        {
            self.deadlines.clear(&Due::Session(ended.id));
        }
        match &record.session {
            Some(session) => {
                self.deadlines.clear(&Due::Peer(record.key()));
                if former_session.is_none_or(|former| (former.id, former.ttl) != (session.id, session.ttl)) {
                    self.deadlines.set(Due::Session(session.id), now.after(session.ttl));
                }
            }
            None => {
                let since = record.ended.as_ref().map_or(now, |end| end.at);
                self.deadlines.set(Due::Peer(record.key()), since.after(limits::PEER_RETENTION));
            }
        }
        self.shorten_orphaned_locks(record, now);
        self.end_orphaned_waits(record, now);
    }

    pub(super) fn remove_peer(&mut self, key: &PeerKey) {
        if let Some(former) = self.peers.remove(key)
            && let Some(session) = &former.session
        {
            self.deadlines.clear(&Due::Session(session.id));
        }
        self.deadlines.clear(&Due::Peer(key.clone()));
    }

    /// Locks of sessions that are over live on for the lock-delay at most.
    fn shorten_orphaned_locks(&mut self, peer: &PeerRecord, now: Timestamp) {
        for lock in self.locks.of_holder(&peer.key()) {
            if let Some(delay) = orphan_delay(peer, lock.session)
                && !planted(Mutation::OrphansStay)
            {
                self.deadlines.set_earlier(Due::Lock(lock.key()), now.after(delay));
            }
        }
    }
}

/// How long a lock of this session may live on: none while the session is live.
pub(super) fn orphan_delay(peer: &PeerRecord, session: SessionId) -> Option<Millis> {
    if peer.session.as_ref().is_some_and(|live| live.id == session) {
        return None;
    }
    Some(if has_left(peer, session) { Millis::ZERO } else { limits::LOCK_DELAY })
}

/// Whether the session said goodbye. A peer that leaves also gives up what its earlier sessions left behind.
pub(super) fn has_left(peer: &PeerRecord, session: SessionId) -> bool {
    let last = |end: &SessionEnd| end.session == session || peer.session.is_none();
    peer.ended.as_ref().is_some_and(|end| end.cause == LeaveCause::Left && last(end))
}

/// A peer's live session.
fn live(peer: &PeerRecord) -> Option<(PeerName, SessionId)> {
    peer.session.as_ref().map(|session| (peer.name.clone(), session.id))
}

/// Ends the live session of a peer, if it has one.
fn end_session(peer: &mut PeerRecord, cause: LeaveCause, now: Now) -> Option<Event> {
    let session = peer.session.take()?;
    peer.info.end_session();
    peer.ended = Some(SessionEnd { session: session.id, cause, at: now.at, wall: now.wall });
    Some(Event::PeerLeft { name: peer.name.clone(), session: session.id, cause })
}
