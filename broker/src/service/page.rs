//! Page tokens: the key of the last item shown, in a form that invites nobody to look inside.

use mesh_core::Rejection;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The token of the page that begins after this key.
pub(crate) fn token(last: &impl Serialize) -> String {
    // A key of the core always has a postcard form; without one the listing would end early.
    let bytes = postcard::to_stdvec(last).unwrap_or_default();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The key after which the page begins; none for the first page.
pub(crate) fn after<K: DeserializeOwned>(token: &str) -> Result<Option<K>, Rejection> {
    if token.is_empty() {
        return Ok(None);
    }
    let key = bytes(token).and_then(|bytes| postcard::from_bytes(&bytes).ok());
    let malformed =
        || Rejection::invalid("page_token", "is not one that this listing has given; start again");
    key.ok_or_else(malformed).map(Some)
}

fn bytes(token: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = token.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

#[cfg(test)]
mod tests {
    use mesh_core::id::{EntryKey, PeerName, ScopeId};
    use mesh_core::record::PeerKey;

    use super::*;

    #[test]
    fn a_token_names_its_key() {
        let key = PeerKey {
            scope: ScopeId::parse("github.com/acme/app").unwrap(),
            name: PeerName::parse("amber-fox").unwrap(),
        };
        assert_eq!(after::<PeerKey>(&token(&key)).unwrap(), Some(key));
        assert_eq!(after::<PeerKey>("").unwrap(), None);
    }

    #[test]
    fn a_token_of_another_make_is_refused() {
        let empty_name = token(&("global", ""));
        for bad in ["0", "zz", "é", "00ff", "ffffffffff", &empty_name] {
            let refused = after::<PeerKey>(bad).unwrap_err();
            assert!(matches!(refused, Rejection::InvalidField { field: "page_token", .. }), "{bad}");
        }
        assert!(after::<EntryKey>(&token(&"no\ncontrol")).is_err());
    }
}
