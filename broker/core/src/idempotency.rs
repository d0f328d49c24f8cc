//! First answers to requests, by the caller's own id, so that a retry is safe.
//!
//! Owned by the writer; rebuilt from the event history, which is the idempotency log.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use crate::command::Request;
use crate::id::{CredentialId, PeerName, RequestId, ScopeId, SessionId};
use crate::limits;
use crate::mutation::{Mutation, planted};
use crate::outcome::Outcome;
use crate::record::{Fingerprint, LogRecord};
use crate::rejection::Rejection;
use crate::revision::Revision;

/// A first answer.
#[derive(Clone, Debug)]
struct Answered {
    revision: Revision,
    fingerprint: Fingerprint,
    session: Option<SessionId>,
    credential: Option<CredentialId>,
    actor: Option<(ScopeId, PeerName)>,
    outcome: Outcome,
}

/// The remembered requests: the newest [`limits::REMEMBERED_REQUESTS`].
#[derive(Debug, Default)]
pub struct Idempotency {
    answers: BTreeMap<RequestId, Answered>,
    order: VecDeque<(Revision, RequestId)>,
}

impl Idempotency {
    /// Takes in a committed transaction; those without a request id or outcome are not remembered.
    pub fn remember(&mut self, log: &LogRecord) {
        let (Some(id), Some(outcome)) = (&log.request_id, &log.outcome) else { return };
        if planted(Mutation::RequestForgotten) {
            return;
        }
        let answered = Answered {
            revision: log.revision,
            fingerprint: log.fingerprint,
            session: log.session,
            credential: log.credential.clone(),
            actor: log.actor.clone().map(|name| (log.scope.clone(), name)),
            outcome: outcome.clone(),
        };
        self.answers.insert(id.clone(), answered);
        self.order.push_back((log.revision, id.clone()));
        while self.order.len() > limits::REMEMBERED_REQUESTS {
            if let Some((revision, old)) = self.order.pop_front()
                && self.answers.get(&old).is_some_and(|answered| answered.revision == revision)
            {
                self.answers.remove(&old);
            }
        }
    }

    /// Whether the session that calls has itself used the request's id before.
    #[must_use]
    pub fn is_of_caller(&self, request: &Request) -> bool {
        let answered = request.request_id.as_ref().and_then(|id| self.answers.get(id));
        answered.is_some_and(|answered| answered.session.is_some() && answered.session == request.caller)
    }

    /// The first answer to this very request, none if it is new, or the refusal if its id was used for another.
    ///
    /// `caller` is the peer behind the request's session, if it is live. A repeat may come from the same session
    /// (which may have ended since: by this very request, say) or from a later session of the same peer.
    pub fn first_answer(
        &self,
        request: &Request,
        caller: Option<(&ScopeId, &PeerName)>,
    ) -> Result<Option<(Revision, Outcome)>, Rejection> {
        let Some(answered) = request.request_id.as_ref().and_then(|id| self.answers.get(id)) else {
            return Ok(None);
        };
        let same_session = request.caller == answered.session || request.caller.is_none();
        let same_peer = matches!((&answered.actor, caller), (Some(actor), Some(who)) if is(who, actor));
        let same_caller = (same_session || same_peer) && is_let_in_as(request.credential.as_ref(), answered);
        let same = answered.fingerprint == request.fingerprint || planted(Mutation::FingerprintIgnored);
        if same && same_caller {
            return Ok(Some((answered.revision, answered.outcome.clone())));
        }
        Err(Rejection::RequestIdReused)
    }
}

/// Whether a credential may be told the answer: it is the one that asked, or that of the broker's own user.
fn is_let_in_as(credential: Option<&CredentialId>, answered: &Answered) -> bool {
    credential.is_none_or(|id| id.is_owner() || answered.credential.as_ref() == Some(id))
}

/// Whether the caller is the peer that acted. What a peer does to `global` is logged there, whatever its own scope.
fn is(caller: (&ScopeId, &PeerName), (scope, name): &(ScopeId, PeerName)) -> bool {
    caller.1 == name && (caller.0 == scope || *scope == ScopeId::global())
}
