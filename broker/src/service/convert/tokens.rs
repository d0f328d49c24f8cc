//! Tokens on the wire.

use mesh_core::id::CredentialId;
use mesh_core::pattern::Pattern;
use mesh_core::record::{Role, TokenDigest, TokenRecord};
use mesh_core::time::WallTime;
use mesh_core::{Rejection, limits};
use mesh_proto::v1 as pb;

use super::{at_most, text, timestamp};

/// The token that a CreateToken asks for.
pub(crate) fn create(
    request: pb::CreateTokenRequest,
    id: CredentialId,
    digest: TokenDigest,
) -> Result<TokenRecord, Rejection> {
    let role = role(request.role)?;
    at_most("scopes", request.scopes.len(), limits::TOKEN_SCOPES)?;
    let scopes = request.scopes.iter().map(|scope| Pattern::parse("scopes", scope));
    let mut scopes = scopes.collect::<Result<Vec<_>, _>>()?;
    if scopes.is_empty() {
        scopes.push(Pattern::any());
    }
    if role == Role::Admin && !scopes.iter().all(Pattern::is_any) {
        return Err(Rejection::invalid("scopes", "are all for an admin; name none, or choose another role"));
    }
    let peers = match request.peers.as_str() {
        "" => Pattern::any(),
        peers => Pattern::parse("peers", peers)?,
    };
    Ok(TokenRecord {
        id,
        digest,
        note: text("note", request.note, limits::TOKEN_NOTE_BYTES)?,
        role,
        scopes,
        peers,
        expires: request.expire_time.map(moment).transpose()?,
        created: WallTime::default(),
        created_by: None,
    })
}

/// A token without its secret, and without what changes by itself.
pub(crate) fn token(token: &TokenRecord) -> pb::AccessToken {
    pb::AccessToken {
        id: token.id.to_string(),
        note: token.note.clone(),
        role: role_to_wire(token.role).into(),
        scopes: token.scopes.iter().map(Pattern::to_string).collect(),
        peers: token.peers.to_string(),
        expire_time: token.expires.map(timestamp),
        create_time: Some(timestamp(token.created)),
        created_by: token.created_by.as_ref().map(CredentialId::to_string).unwrap_or_default(),
        last_used_time: None,
        expired: false,
    }
}

fn role(value: i32) -> Result<Role, Rejection> {
    match pb::Role::try_from(value) {
        Ok(pb::Role::Unspecified | pb::Role::Member) => Ok(Role::Member),
        Ok(pb::Role::Observer) => Ok(Role::Observer),
        Ok(pb::Role::Maintainer) => Ok(Role::Maintainer),
        Ok(pb::Role::Admin) => Ok(Role::Admin),
        Err(_) => Err(Rejection::invalid("role", format!("cannot be {value}"))),
    }
}

fn role_to_wire(role: Role) -> pb::Role {
    match role {
        Role::Observer => pb::Role::Observer,
        Role::Member => pb::Role::Member,
        Role::Maintainer => pb::Role::Maintainer,
        Role::Admin => pb::Role::Admin,
    }
}

/// A moment of the wall clock. A part of a millisecond counts as a whole one: late, never early.
fn moment(time: prost_types::Timestamp) -> Result<WallTime, Rejection> {
    let whole = u64::try_from(time.seconds).ok().and_then(|seconds| seconds.checked_mul(1000));
    let part = u64::try_from(time.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    let millis = whole.zip(part).and_then(|(whole, part)| whole.checked_add(part.div_ceil(1_000_000)));
    millis.map(WallTime).ok_or_else(|| Rejection::invalid("expire_time", "is no moment after 1970"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(request: pb::CreateTokenRequest) -> Result<TokenRecord, &'static str> {
        let id = CredentialId::parse("t-0a1b2c3d4e5f").unwrap();
        create(request, id, TokenDigest([0; 32])).map_err(|rejection| {
            let Rejection::InvalidField { field, .. } = rejection else { panic!("{rejection:?}") };
            field
        })
    }

    fn named(scopes: usize, pattern: usize, note: usize) -> Result<TokenRecord, &'static str> {
        asked(pb::CreateTokenRequest {
            scopes: vec!["a".repeat(pattern); scopes],
            note: "n".repeat(note),
            ..Default::default()
        })
    }

    #[test]
    fn a_token_is_as_long_as_it_may_be_and_no_longer() {
        let (scopes, pattern, note) = (limits::TOKEN_SCOPES, limits::PATTERN_BYTES, limits::TOKEN_NOTE_BYTES);
        assert!(named(scopes - 1, pattern - 1, note - 1).is_ok());
        assert!(named(scopes, pattern, note).is_ok());
        assert_eq!(named(scopes + 1, pattern, note), Err("scopes"));
        assert_eq!(named(scopes, pattern + 1, note), Err("scopes"));
        assert_eq!(named(scopes, pattern, note + 1), Err("note"));
    }

    #[test]
    fn what_is_not_said_is_a_member_of_every_scope_for_ever() {
        let token = asked(pb::CreateTokenRequest::default()).unwrap();
        assert_eq!((token.role, &token.scopes[..]), (Role::Member, &[Pattern::any()][..]));
        assert!(token.peers.is_any() && token.expires.is_none());
    }

    #[test]
    fn an_end_is_late_rather_than_early_and_a_moment_of_the_calendar() {
        let ends = |seconds, nanos| {
            let expire_time = Some(prost_types::Timestamp { seconds, nanos });
            asked(pb::CreateTokenRequest { expire_time, ..Default::default() }).map(|token| token.expires)
        };
        assert_eq!(ends(1, 1), Ok(Some(WallTime(1_001))));
        assert_eq!(ends(1, 999_000_000), Ok(Some(WallTime(1_999))));
        for (seconds, nanos) in [(-1, 0), (1, -1), (1, 1_000_000_000), (i64::MAX, 0)] {
            assert_eq!(ends(seconds, nanos), Err("expire_time"), "{seconds} {nanos}");
        }
    }
}
