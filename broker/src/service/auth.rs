//! From connection and credential to caller. Who calls is never a field of a request.
//!
//! Owns the check that every call passes first. What must hold: no call reaches a service without a
//! [`Caller`]; secrets are compared in constant time and never shown or logged.

use std::fmt;
use std::sync::Arc;

use mesh_core::Rejection;
use mesh_core::id::SessionId;
use mesh_proto::SESSION_METADATA;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::{Request, Status};
use uuid::Uuid;

use super::rate::{Rates, rate_key};
use super::status::Refusal;
use crate::leases::Leases;
use crate::queue::{Connection, Lane};
use crate::store::Secret;

/// How a connection reached the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Over the Unix socket, from a process of this user, as the kernel says.
    Unix {
        /// The user's id.
        uid: u32,
    },
    /// Over TCP, from whoever has the token.
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

/// Who may call.
pub struct Authority {
    uid: u32,
    /// Digest of the token for TCP; without one nobody gets in that way.
    token: Option<blake3::Hash>,
}

impl Authority {
    /// Lets in processes of the user over the Unix socket, and holders of the token over TCP.
    #[must_use]
    pub fn new(uid: u32, token: Option<&str>) -> Self {
        Self { uid, token: token.map(|token| blake3::hash(token.as_bytes())) }
    }

    fn admit(&self, transport: Transport, metadata: &MetadataMap) -> Result<(), Refusal> {
        match transport {
            Transport::Unix { uid } if uid == self.uid => Ok(()),
            Transport::Unix { uid } => {
                let what = format!("this broker serves user {} only, and you are user {uid}", self.uid);
                Err(Rejection::PermissionDenied { what }.into())
            }
            Transport::Tcp => {
                let given = bearer(metadata).ok_or(Refusal::Unauthenticated(
                    "no token: send the broker's token as `authorization: Bearer TOKEN`",
                ))?;
                // Digests of equal length compare in constant time.
                if self.token == Some(blake3::hash(given)) {
                    return Ok(());
                }
                Err(Refusal::Unauthenticated(
                    "this is not the broker's token; ask who runs the broker for it",
                ))
            }
        }
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("uid", &self.uid).finish_non_exhaustive()
    }
}

/// The token of `authorization: Bearer TOKEN`.
fn bearer(metadata: &MetadataMap) -> Option<&[u8]> {
    let (scheme, token) = metadata.get("authorization")?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

/// Issues session tokens and knows its own again.
///
/// A token is the session's id with a keyed digest of it, so nothing is stored, and a repeated Join gets the
/// same token.
#[derive(Clone)]
pub struct SessionTokens {
    key: [u8; 32],
}

impl SessionTokens {
    /// Derives the key from the store's secret: tokens stay good across restarts, and only for that store.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self { key: blake3::derive_key("mesh.v1 session token", secret.as_bytes()) }
    }

    /// The token of a session.
    #[must_use]
    pub fn issue(&self, session: SessionId) -> String {
        format!("{}{}", session.0.simple(), self.digest(session).to_hex())
    }

    /// The session of a token that this broker, or an earlier one of the same store, has issued.
    pub fn verify(&self, token: &[u8]) -> Result<SessionId, Refusal> {
        self.parse(token).ok_or(Refusal::Unauthenticated("the session token is not of this mesh; join again"))
    }

    fn parse(&self, token: &[u8]) -> Option<SessionId> {
        let (id, digest) = token.split_at_checked(32)?;
        let session = SessionId(Uuid::try_parse_ascii(id).ok()?);
        // `blake3::Hash` compares in constant time.
        (blake3::Hash::from_hex(digest).ok()? == self.digest(session)).then_some(session)
    }

    fn digest(&self, session: SessionId) -> blake3::Hash {
        blake3::keyed_hash(&self.key, session.0.as_bytes())
    }
}

impl fmt::Debug for SessionTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionTokens(..)")
    }
}

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
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

    /// The session that a call on behalf of a peer needs.
    pub fn require_session(&self) -> Result<SessionId, Refusal> {
        self.session.ok_or(Refusal::Rejected(Rejection::SessionRequired))
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

/// What every call passes first.
#[derive(Clone, Debug)]
pub struct Gate {
    authority: Arc<Authority>,
    tokens: SessionTokens,
    leases: Leases,
    rates: Rates<Lane>,
    /// Closes the gate.
    closing: CancellationToken,
}

impl Gate {
    /// A gate that closes with the token.
    #[must_use]
    pub fn new(
        authority: Arc<Authority>,
        tokens: SessionTokens,
        leases: Leases,
        closing: CancellationToken,
    ) -> Self {
        Self { authority, tokens, leases, rates: Rates::new(), closing }
    }

    /// The same gate, but one that does not close: to ask after a broker that is going.
    #[must_use]
    pub fn always_open(&self) -> Self {
        Self { closing: CancellationToken::new(), ..self.clone() }
    }

    fn admit(&self, request: &Request<()>) -> Result<Caller, Refusal> {
        let connection = request.extensions().get::<ConnectionInfo>().cloned().ok_or(UNKNOWN_CONNECTION)?;
        self.authority.admit(connection.transport, request.metadata())?;
        if self.closing.is_cancelled() {
            return Err(Refusal::Draining);
        }
        let session = request.metadata().get(SESSION_METADATA);
        let session = session.map(|token| self.tokens.verify(token.as_bytes())).transpose()?;
        if let Some(session) = session {
            self.leases.touch(session);
        }
        Ok(Caller { session, connection })
    }
}

impl Interceptor for Gate {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let caller = self.admit(&request)?;
        request.extensions_mut().insert(self.rates.count(rate_key(&caller)));
        request.extensions_mut().insert(caller);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use super::*;

    const SESSION: SessionId = SessionId(Uuid::from_u128(0xa1b2));

    fn tokens(secret: u8) -> SessionTokens {
        SessionTokens::new(&Secret::new([secret; 32]))
    }

    fn metadata(authorization: &str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", authorization.parse().unwrap());
        metadata
    }

    #[test]
    fn a_session_has_one_token_which_its_store_knows_again() {
        let token = tokens(1).issue(SESSION);
        assert_eq!(tokens(1).issue(SESSION), token);
        assert_eq!(tokens(1).verify(token.as_bytes()).unwrap(), SESSION);
        assert_ne!(tokens(1).issue(SessionId(Uuid::from_u128(1))), token);
        assert!(tokens(2).verify(token.as_bytes()).is_err(), "another store");
    }

    #[test]
    fn a_token_changed_in_any_place_is_refused() {
        let token = tokens(1).issue(SESSION);
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
            assert!(matches!(tokens(1).verify(&forged), Err(Refusal::Unauthenticated(_))), "{at}");
            assert!(tokens(1).verify(&token.as_bytes()[..at]).is_err(), "{at}");
        }
        let longer = format!("{token}0");
        for malformed in [longer.as_bytes(), b"", b"\xff\xfe", &[b'\xc3'; 96]] {
            assert!(tokens(1).verify(malformed).is_err(), "{malformed:?}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?} {:?}", tokens(1), Authority::new(1, Some("open sesame")));
        assert_eq!(shown, "SessionTokens(..) Authority { uid: 1, .. }");
    }

    #[test]
    fn the_kernel_or_the_token_says_who_may_call() {
        let with = Authority::new(1000, Some("secret"));
        let without = Authority::new(1000, None);
        let local = |uid| Transport::Unix { uid };
        let none = MetadataMap::new;
        assert_eq!(with.admit(local(1000), &none()), Ok(()));
        for uid in [0, 1001] {
            let refused = with.admit(local(uid), &metadata("Bearer secret"));
            let denied =
                |rejection| matches!(rejection, Refusal::Rejected(Rejection::PermissionDenied { .. }));
            assert!(refused.is_err_and(denied), "{uid}: a token makes nobody another user");
        }
        for good in ["Bearer secret", "bearer secret"] {
            assert_eq!(with.admit(Transport::Tcp, &metadata(good)), Ok(()));
            assert!(without.admit(Transport::Tcp, &metadata(good)).is_err());
        }
        for bad in ["", "Bearer", "Bearer ", "Bearer Secret", "Bearer secret ", "Basic secret", "secret"] {
            let refused = with.admit(Transport::Tcp, &metadata(bad));
            assert!(matches!(refused, Err(Refusal::Unauthenticated(_))), "{bad:?}");
        }
        assert!(with.admit(Transport::Tcp, &none()).is_err());
        assert!(without.admit(Transport::Tcp, &metadata("Bearer ")).is_err());
    }

    #[test]
    fn a_request_that_passed_no_gate_has_no_caller() {
        let mut request = Request::new(());
        let connection = ConnectionInfo { transport: Transport::Unix { uid: 0 }, alive: Weak::new() };
        request.extensions_mut().insert(connection);
        assert!(matches!(Caller::of(&request), Err(Refusal::Unauthenticated(_))));
    }
}
