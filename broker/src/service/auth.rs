//! From connection and credential to caller. Who calls is never a field of a request.
//!
//! Owns the check that every call passes first: `authority` finds out who it is, `rules` whether its role allows the
//! method, `gate` stands before every service, and `passes` ends what somebody is doing whose token is over. What must
//! hold: no call reaches a service without a [`Caller`]; secrets are compared in constant time and never shown or logged;
//! what a caller may not see is to it as what is not there.

mod authority;
mod gate;
mod passes;
mod rules;
mod sessions;

use std::sync::Arc;

use mesh_core::Rejection;
use mesh_core::id::{CredentialId, ScopeId, SessionId};
use mesh_core::pattern::Pattern;
use mesh_core::record::{Role, TokenRecord};
use tokio_util::sync::CancellationToken;
use tonic::Request;

pub use self::authority::Authority;
pub(super) use self::authority::Secret;
pub use self::gate::{Gate, Guarded};
pub use self::passes::Passes;
pub use self::sessions::SessionTokens;
use super::status::Refusal;
use crate::queue::{Connection, Lane};

/// How a connection reached the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Over the Unix socket, from a process of this user, as the kernel says.
    Unix {
        /// The user's id.
        uid: u32,
    },
    /// Over TCP, from whoever has a token.
    Tcp,
}

/// What is known of a call's connection; the server attaches it to every request.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// How it reached the broker.
    pub transport: Transport,
    /// Upgradeable while the socket is open.
    pub alive: Connection,
}

/// Whom a credential makes of a caller.
#[derive(Clone, Debug)]
pub struct Principal {
    /// What it was let in with.
    pub credential: CredentialId,
    /// Its token; none for the broker's own user, who may do everything.
    token: Option<Arc<TokenRecord>>,
    /// Tells that the token is over; none for the broker's own user.
    over: Option<CancellationToken>,
}

impl Principal {
    /// The broker's own user.
    fn owner(credential: CredentialId) -> Self {
        Self { credential, token: None, over: None }
    }

    /// What it may do.
    #[must_use]
    pub fn role(&self) -> Role {
        self.token.as_ref().map_or(Role::Admin, |token| token.role)
    }

    /// Whether it sees what is in a scope.
    #[must_use]
    pub fn sees(&self, scope: &ScopeId) -> bool {
        self.token.as_ref().is_none_or(|token| token.sees(scope))
    }

    /// Whether it sees every scope, and what is the broker's own.
    #[must_use]
    pub fn sees_all(&self) -> bool {
        self.role() == Role::Admin
    }

    /// What it may be called.
    #[must_use]
    pub fn names(&self) -> Pattern {
        self.token.as_ref().map_or_else(Pattern::any, |token| token.peers.clone())
    }

    /// The scope to read: the one named, or one in which nothing is where that is not to be seen.
    #[must_use]
    pub fn readable(&self, scope: ScopeId) -> ScopeId {
        if self.sees(&scope) { scope } else { ScopeId::nowhere() }
    }

    /// Refuses to change a scope that is not to be seen, whether there is anything in it or not.
    pub fn check_scope(&self, scope: &ScopeId) -> Result<(), Rejection> {
        if self.sees(scope) { Ok(()) } else { Err(Rejection::ScopeNotFound { scope: scope.clone() }) }
    }
}

/// On whose behalf something is asked.
#[derive(Clone, Debug)]
pub struct By {
    /// The session of a peer; none for Join, and for what concerns no peer.
    pub session: Option<SessionId>,
    /// What the caller was let in with; none for the broker itself.
    pub credential: Option<CredentialId>,
    /// Where it waits for the writer.
    pub lane: Lane,
}

impl By {
    /// The broker, in the name of a session whose caller is gone.
    #[must_use]
    pub fn broker_for(session: SessionId) -> Self {
        Self { session: Some(session), credential: None, lane: Lane::Session(session) }
    }
}

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it is.
    pub principal: Principal,
    /// The session whose token came with the call; it may have ended.
    pub session: Option<SessionId>,
    /// The call's connection.
    pub connection: ConnectionInfo,
}

impl Caller {
    /// Who makes this request, as the [`Gate`] found.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Refusal> {
        request.extensions().get::<Self>().cloned().ok_or(UNKNOWN_CONNECTION)
    }

    /// The token that it came with; none for the broker's own user.
    #[must_use]
    pub fn token(&self) -> Option<&CredentialId> {
        Some(&self.principal.credential).filter(|credential| !credential.is_owner())
    }

    /// The session that a call on behalf of a peer needs.
    pub fn require_session(&self) -> Result<SessionId, Refusal> {
        self.session.ok_or(Refusal::Rejected(Rejection::SessionRequired))
    }

    /// On whose behalf it asks, with a session.
    #[must_use]
    pub fn by(&self, session: SessionId) -> By {
        By { session: Some(session), lane: Lane::Session(session), ..self.without_session() }
    }

    /// On whose behalf it asks, whatever its session.
    #[must_use]
    pub fn without_session(&self) -> By {
        By {
            session: None,
            credential: Some(self.principal.credential.clone()),
            lane: Lane::of(None, &self.connection.alive),
        }
    }

    /// Refuses what only a person at this machine may do to everybody: `what` is done over the Unix socket only.
    pub fn require_unix_socket(&self, what: &str) -> Result<(), Refusal> {
        match self.connection.transport {
            Transport::Unix { .. } => Ok(()),
            Transport::Tcp => {
                let what = format!("{what} over the Unix socket only");
                Err(Rejection::PermissionDenied { what }.into())
            }
        }
    }
}

const UNKNOWN_CONNECTION: Refusal = Refusal::Unauthenticated("the connection does not tell who is calling");

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use super::*;

    #[test]
    fn a_request_that_passed_no_gate_has_no_caller() {
        let mut request = Request::new(());
        let connection = ConnectionInfo { transport: Transport::Unix { uid: 0 }, alive: Weak::new() };
        request.extensions_mut().insert(connection);
        assert!(matches!(Caller::of(&request), Err(Refusal::Unauthenticated(_))));
    }
}
