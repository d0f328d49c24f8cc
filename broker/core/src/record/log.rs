//! The event history, which is also the idempotency log.

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::id::{CredentialId, PeerName, RequestId, ScopeId, SessionId};
use crate::outcome::Outcome;
use crate::revision::{Revision, Sequence};
use crate::time::{Timestamp, WallTime};

/// Digest of a request's method and content, to tell a repeat from a reuse of its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 16]);

/// One committed transaction: an item of the event history, which is also the idempotency log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Its place in the mesh's order.
    pub revision: Revision,
    /// The scope it changed.
    pub scope: ScopeId,
    /// Its number in the scope; 0 when it has no events.
    pub sequence: Sequence,
    /// Revision of the scope's batch before.
    pub prev_revision: Revision,
    /// Who caused it; none for the broker.
    pub actor: Option<PeerName>,
    /// The session that caused it.
    pub session: Option<SessionId>,
    /// What its caller was let in for; none for the broker, and in history that an older one wrote.
    pub credential: Option<CredentialId>,
    /// The caller's id of the request.
    pub request_id: Option<RequestId>,
    /// Tells a repeat from a reuse of the id.
    pub fingerprint: Fingerprint,
    /// When it was committed, for the mesh's clock.
    pub at: Timestamp,
    /// When it was committed, for display.
    pub committed: WallTime,
    /// What happened.
    pub events: Vec<Event>,
    /// The answer to a repeat; kept only with a request id.
    pub outcome: Option<Outcome>,
}

impl LogRecord {
    /// About how many bytes it takes in memory. Its outcome shares the records of its events.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.events.iter().map(Event::weight).sum::<usize>()
    }
}
