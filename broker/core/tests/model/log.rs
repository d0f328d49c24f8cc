//! What must hold of the log as a whole, whatever was asked.

use std::collections::BTreeMap;

use mesh_core::event::Event;
use mesh_core::id::{ScopeId, SessionId};
use mesh_core::record::LogRecord;
use mesh_core::revision::{FencingToken, Revision, Sequence, Ticket};
use mesh_core::target::Target;

use crate::world;

/// Checks a log as it grows.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    head: Revision,
    heads: BTreeMap<ScopeId, (Sequence, Revision)>,
    /// Sessions that have joined, and whether they have left.
    sessions: BTreeMap<SessionId, bool>,
    grants: Vec<(ScopeId, Target, FencingToken)>,
    /// Requests that have begun to wait, and whether they have ended.
    tickets: BTreeMap<Ticket, bool>,
}

impl Checker {
    /// Takes the next item in, as it is read back.
    pub(crate) fn append(&mut self, log: &LogRecord) -> LogRecord {
        assert_eq!(log.revision, self.head.next(), "revisions rise by one");
        self.head = log.revision;
        let (sequence, last) = self.heads.get(&log.scope).copied().unwrap_or_default();
        assert_eq!(log.prev_revision, last, "a batch names the one before it");
        if log.events.is_empty() {
            assert_eq!(log.sequence, Sequence(0), "what is not seen takes no sequence");
        } else {
            assert_eq!(log.sequence, sequence.next(), "sequences have no gap");
            self.heads.insert(log.scope.clone(), (log.sequence, log.revision));
        }
        for event in &log.events {
            self.note(event, log);
        }
        let bytes = postcard::to_allocvec(log).expect("a log item that can be stored");
        postcard::from_bytes(&bytes).expect("a log item that can be read")
    }

    /// How many sessions have joined and not left.
    pub(crate) fn online(&self) -> usize {
        self.sessions.values().filter(|left| !**left).count()
    }

    fn note(&mut self, event: &Event, log: &LogRecord) {
        match event {
            Event::PeerJoined { peer, .. } => {
                let session = peer.session.as_ref().expect("who joins has a session").id;
                assert_eq!(self.sessions.insert(session, false), None, "a session joins once");
            }
            Event::PeerLeft { session, .. } => {
                assert_eq!(self.sessions.insert(*session, true), Some(false), "a session leaves once");
            }
            Event::LockQueued { waiter, .. } => {
                assert_eq!(waiter.ticket.0, log.revision, "the ticket is the revision of the request");
                assert_eq!(self.tickets.insert(waiter.ticket, false), None, "a request waits once");
            }
            Event::LockWaitEnded { ticket, .. } => self.end_wait(*ticket),
            Event::FileLocked { locks, ticket } => {
                if let Some(ticket) = ticket {
                    self.end_wait(*ticket);
                }
                for lock in locks {
                    assert_eq!(lock.token.0, log.revision, "the token is the revision of the grant");
                    assert!(lock.ticket.is_none() || lock.ticket == *ticket);
                    let earlier = self.grants.iter().filter(|(scope, target, _)| {
                        *scope == lock.scope && world::overlap(target, &lock.target)
                    });
                    let risen =
                        earlier.filter(|(.., token)| token.0 != log.revision).all(|g| g.2 < lock.token);
                    assert!(risen, "the tokens of overlapping grants rise");
                }
                self.grants.extend(locks.iter().map(|l| (l.scope.clone(), l.target.clone(), l.token)));
            }
            Event::PeerUpdated { .. }
            | Event::StateChanged { .. }
            | Event::StateDeleted { .. }
            | Event::FileUnlocked { .. }
            | Event::MessageSent { .. }
            | Event::LockReleaseRequested { .. }
            | Event::LockReleaseAnswered { .. }
            | Event::FileTouched { .. }
            | Event::ContractChanged { .. }
            | Event::PolicyChanged { .. }
            | Event::TokenCreated { .. }
            | Event::TokenRevoked { .. } => {}
        }
    }

    fn end_wait(&mut self, ticket: Ticket) {
        assert_eq!(self.tickets.insert(ticket, true), Some(false), "a wait ends once");
    }
}
