//! Who may call: the broker's own user, and whoever has a token.

use std::fmt;

use http::HeaderMap;
use mesh_core::Rejection;
use mesh_core::id::CredentialId;
use mesh_core::record::TokenDigest;

use super::passes::Passes;
use super::{Principal, Transport};
use crate::clock::Clock;
use crate::service::status::Refusal;
use crate::view::View;

/// What the text of a token begins with; its id follows, and after another `_` its secret.
const PREFIX: &str = "mesh_";

/// Who may call.
pub struct Authority {
    uid: u32,
    /// Digest of the home's token for TCP; without one the broker's own user does not get in that way.
    home: Option<blake3::Hash>,
}

/// A fresh token's id, and the text that is shown once.
pub(in crate::service) struct Secret {
    /// Its id.
    pub(in crate::service) id: CredentialId,
    /// The whole text: whoever has it gets in.
    pub(in crate::service) text: String,
}

impl Secret {
    /// Draws 256 bits from the operating system.
    pub(in crate::service) fn draw() -> Result<Self, Refusal> {
        let bytes: [u8; 38] =
            crate::instance::random().map_err(|error| Refusal::Corrupt(error.to_string()))?;
        let (id, secret) = bytes.split_at(6);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let id = CredentialId::parse(&format!("t-{}", hex(id)))?;
        let text = format!("{PREFIX}{id}_{}", hex(secret));
        Ok(Self { id, text })
    }

    /// What is stored of it.
    pub(in crate::service) fn digest(&self) -> TokenDigest {
        TokenDigest(*blake3::hash(self.text.as_bytes()).as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Authority {
    /// Lets in processes of the user over the Unix socket, and holders of the home's token over TCP, as that user.
    #[must_use]
    pub fn new(uid: u32, token: Option<&str>) -> Self {
        Self { uid, home: token.map(|token| blake3::hash(token.as_bytes())) }
    }

    /// Who it is that calls over a connection with these headers.
    pub(super) fn admit(
        &self,
        transport: Transport,
        headers: &HeaderMap,
        known: &Known<'_>,
    ) -> Result<Principal, Refusal> {
        match transport {
            Transport::Unix { uid } if uid == self.uid => Ok(Principal::owner(CredentialId::unix())),
            Transport::Unix { uid } => {
                let what = format!("this broker serves user {} only, and you are user {uid}", self.uid);
                Err(Rejection::PermissionDenied { what }.into())
            }
            Transport::Tcp => {
                let given = bearer(headers).ok_or(Refusal::Unauthenticated(
                    "no token: send the broker's token as `authorization: Bearer TOKEN`",
                ))?;
                let digest = blake3::hash(given);
                // Digests of equal length compare in constant time.
                if self.home == Some(digest) {
                    return Ok(Principal::owner(CredentialId::home()));
                }
                known.by_token(given, digest).ok_or(Refusal::Unauthenticated(
                    "this is no token of this mesh, or it was revoked or has expired; ask who runs the mesh for one",
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

/// The tokens of the mesh, as they are at the moment.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) view: &'a View,
    pub(super) clock: &'a Clock,
    pub(super) passes: &'a Passes,
}

impl Known<'_> {
    /// Who has this token, if it is one that is good.
    fn by_token(&self, given: &[u8], digest: blake3::Hash) -> Option<Principal> {
        let id = id_of(given)?;
        let wall = self.clock.now().wall;
        // Taken before the look: a token that is taken back after it finds the pass, and ends it.
        let over = self.passes.take(&id);
        let token = self.view.read().tokens.get(&id).filter(|token| !token.is_over(wall)).cloned();
        let is_it = token.as_ref().is_some_and(|token| blake3::Hash::from_bytes(token.digest.0) == digest);
        if !is_it {
            if token.is_none() {
                self.passes.expire(&id);
            }
            return None;
        }
        self.passes.note_use(&id, wall);
        Some(Principal { credential: id, token, over: Some(over) })
    }
}

/// The id that a token claims to be of.
pub(super) fn id_of(given: &[u8]) -> Option<CredentialId> {
    let text = std::str::from_utf8(given).ok()?.strip_prefix(PREFIX)?;
    CredentialId::parse(text.split_once('_')?.0).ok()
}

/// The token of `authorization: Bearer TOKEN`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(http::header::AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

#[cfg(test)]
mod tests {
    use mesh_core::State;
    use mesh_core::pattern::Pattern;
    use mesh_core::record::{Record, Role, TokenRecord, Write};
    use mesh_core::time::{Timestamp, WallTime};

    use super::*;

    fn headers(authorization: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::AUTHORIZATION, authorization.parse().unwrap());
        headers
    }

    /// A mesh that knows a token, and how it is told whom that lets in.
    fn admit(
        authority: &Authority,
        transport: Transport,
        headers: &HeaderMap,
        token: Option<TokenRecord>,
    ) -> Result<CredentialId, Refusal> {
        let mut state = State::default();
        if let Some(token) = token {
            state.apply(&Write::Put(Record::Token(token.into())), Timestamp::default());
        }
        let (view, clock) = (View::new(state), Clock::starting_at(Timestamp::default()));
        let known = Known { view: &view, clock: &clock, passes: &Passes::default() };
        authority.admit(transport, headers, &known).map(|principal| principal.credential)
    }

    fn token(secret: &Secret, expires: Option<WallTime>) -> TokenRecord {
        TokenRecord {
            id: secret.id.clone(),
            digest: secret.digest(),
            note: String::new(),
            role: Role::Observer,
            scopes: vec![Pattern::any()],
            peers: Pattern::any(),
            expires,
            created: WallTime::default(),
            created_by: None,
        }
    }

    #[test]
    fn the_kernel_or_the_home_s_token_makes_a_caller_the_owner() {
        let with = Authority::new(1000, Some("secret"));
        let without = Authority::new(1000, None);
        let ask = |authority, transport, headers: &HeaderMap| admit(authority, transport, headers, None);
        let local = |uid| Transport::Unix { uid };
        let none = HeaderMap::new;
        assert_eq!(ask(&with, local(1000), &none()), Ok(CredentialId::unix()));
        for uid in [0, 1001] {
            let refused = ask(&with, local(uid), &headers("Bearer secret"));
            let denied =
                |rejection| matches!(rejection, Refusal::Rejected(Rejection::PermissionDenied { .. }));
            assert!(refused.is_err_and(denied), "{uid}: a token makes nobody another user");
        }
        for good in ["Bearer secret", "bearer secret"] {
            assert_eq!(ask(&with, Transport::Tcp, &headers(good)), Ok(CredentialId::home()));
            assert!(ask(&without, Transport::Tcp, &headers(good)).is_err());
        }
        for bad in ["", "Bearer", "Bearer ", "Bearer Secret", "Bearer secret ", "Basic secret", "secret"] {
            let refused = ask(&with, Transport::Tcp, &headers(bad));
            assert!(matches!(refused, Err(Refusal::Unauthenticated(_))), "{bad:?}");
        }
        assert!(ask(&with, Transport::Tcp, &none()).is_err());
        assert!(ask(&without, Transport::Tcp, &headers("Bearer ")).is_err());
    }

    #[test]
    fn a_token_lets_in_as_long_as_it_is_good_and_whole() {
        let authority = Authority::new(1000, None);
        let secret = Secret::draw().unwrap();
        let ask =
            |text: &str, token| admit(&authority, Transport::Tcp, &headers(&format!("Bearer {text}")), token);
        assert_eq!(ask(&secret.text, Some(token(&secret, None))), Ok(secret.id.clone()));
        assert_eq!(ask(&secret.text, Some(token(&secret, Some(WallTime(u64::MAX))))), Ok(secret.id.clone()));
        assert!(ask(&secret.text, Some(token(&secret, Some(WallTime(1))))).is_err(), "it has expired");
        assert!(ask(&secret.text, None).is_err(), "it was revoked");
        for at in 0..secret.text.len() {
            let mut forged = secret.text.clone().into_bytes();
            forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
            let forged = String::from_utf8(forged).unwrap();
            assert!(ask(&forged, Some(token(&secret, None))).is_err(), "{forged}");
            assert!(ask(&secret.text[..at], Some(token(&secret, None))).is_err(), "{at}");
        }
        assert!(ask(&format!("{}0", secret.text), Some(token(&secret, None))).is_err());
    }

    #[test]
    fn a_secret_has_256_bits_and_is_not_shown() {
        let secret = Secret::draw().unwrap();
        let (id, hex) = secret.text.strip_prefix(PREFIX).unwrap().split_once('_').unwrap();
        assert_eq!((id, hex.len()), (secret.id.as_str(), 64));
        assert_ne!(Secret::draw().unwrap().text, secret.text);
        assert_eq!(format!("{secret:?}"), format!("Secret {{ id: {:?}, .. }}", secret.id.as_str()));
        let authority = Authority::new(1, Some("open sesame"));
        assert_eq!(format!("{authority:?}"), "Authority { uid: 1, .. }");
    }
}
