//! Sessions: every one joins once and leaves once.

use std::collections::BTreeMap;

use mesh_core::event::LeaveCause;
use mesh_core::id::{PeerName, ScopeId, SessionId};
use mesh_core::record::{LogRecord, PeerRecord};

use super::Broken;

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Whose it is.
    pub scope: ScopeId,
    /// Whose it is.
    pub name: PeerName,
    /// Its lease, in milliseconds.
    pub ttl: u64,
    /// When it began, in mesh time.
    pub began: u64,
    /// When and how it ended, in mesh time.
    pub ended: Option<(u64, LeaveCause)>,
    /// The revision at which it ended.
    pub ended_at: u64,
}

/// All sessions there ever were.
#[derive(Debug, Default)]
pub struct Peers {
    sessions: BTreeMap<SessionId, Session>,
    live: BTreeMap<(ScopeId, PeerName), SessionId>,
}

impl Peers {
    pub(super) fn joined(&mut self, log: &LogRecord, peer: &PeerRecord) -> Result<(), Broken> {
        let Some(session) = &peer.session else {
            return Err(("no ghosts", format!("{} joined without a session", peer.name)));
        };
        let key = (peer.scope.clone(), peer.name.clone());
        if let Some(other) = self.live.insert(key, session.id) {
            return Err(("no ghosts", format!("{} joined while its session {} lives", peer.name, other.0)));
        }
        let known = Session {
            scope: peer.scope.clone(),
            name: peer.name.clone(),
            ttl: session.ttl.0,
            began: log.at.0,
            ended: None,
            ended_at: 0,
        };
        if self.sessions.insert(session.id, known).is_some() {
            return Err(("no ghosts", format!("session {} joined twice", session.id.0)));
        }
        Ok(())
    }

    pub(super) fn updated(&mut self, peer: &PeerRecord) -> Result<(), Broken> {
        self.written(peer);
        let known = peer.session.as_ref().is_some_and(|session| self.lives(session.id).is_some());
        known.then_some(()).ok_or_else(|| ("no ghosts", format!("{} is updated and not here", peer.name)))
    }

    /// A lease may change without an event.
    pub(super) fn written(&mut self, peer: &PeerRecord) {
        if let Some(session) = &peer.session
            && let Some(known) = self.sessions.get_mut(&session.id)
        {
            known.ttl = session.ttl.0;
        }
    }

    pub(super) fn left(
        &mut self,
        log: &LogRecord,
        name: &PeerName,
        session: SessionId,
        cause: LeaveCause,
    ) -> Result<(), Broken> {
        if self.live.remove(&(log.scope.clone(), name.clone())) != Some(session) {
            return Err(("no ghosts", format!("session {} of {name} ends and did not live", session.0)));
        }
        if let Some(known) = self.sessions.get_mut(&session) {
            known.ended = Some((log.at.0, cause));
            known.ended_at = log.revision.0;
        }
        Ok(())
    }

    /// A session, over or not.
    #[must_use]
    pub fn get(&self, session: SessionId) -> Option<&Session> {
        self.sessions.get(&session)
    }

    /// A session that lives.
    #[must_use]
    pub fn lives(&self, session: SessionId) -> Option<&Session> {
        self.get(session).filter(|session| session.ended.is_none())
    }

    /// All that live.
    pub fn live(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.live.values().filter_map(|id| Some((*id, self.sessions.get(id)?)))
    }

    pub(super) fn has(&self, peer: &PeerRecord) -> bool {
        let live = self.live.get(&(peer.scope.clone(), peer.name.clone()));
        live.copied() == peer.session.as_ref().map(|session| session.id)
    }
}
