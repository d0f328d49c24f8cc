//! Session tokens: what proves that a caller is the peer that has joined.

use std::fmt;

use mesh_core::id::SessionId;
use uuid::Uuid;

use crate::service::status::Refusal;
use crate::store::Secret;

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

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId(Uuid::from_u128(0xa1b2));

    fn tokens(secret: u8) -> SessionTokens {
        SessionTokens::new(&Secret::new([secret; 32]))
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
        assert_eq!(format!("{:?}", tokens(1)), "SessionTokens(..)");
    }
}
