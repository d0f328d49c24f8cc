//! Ids and names: parsed once at the door, trusted after.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::limits;
use crate::rejection::Rejection;

/// Checks a text of free form: within `max` bytes and without control characters.
pub fn check_text(field: &'static str, text: &str, max: usize) -> Result<(), Rejection> {
    if text.len() > max {
        return Err(Rejection::invalid(
            field,
            format!("is {} bytes long; at most {max} are allowed", text.len()),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(Rejection::invalid(field, "holds a control character"));
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a text that has the form; otherwise the refusal says what is wrong with it.
            pub fn parse(text: &str) -> Result<Self, Rejection> {
                $check(text)?;
                Ok(Self(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// A project's slug (`github.com/acme/app`) or `global`.
    ScopeId,
    check_scope
);
text_id!(
    /// A peer's durable name, unique in its scope.
    PeerName,
    check_peer_name
);
text_id!(
    /// The key of a state entry.
    EntryKey,
    check_key
);
text_id!(
    /// A client's own id of a request, for safe retries.
    RequestId,
    check_request_id
);
text_id!(
    /// A topic of messages, with its `#`.
    TopicName,
    check_topic
);
text_id!(
    /// What somebody has shown to be let in: `unix`, `home`, or the id of a token.
    CredentialId,
    check_credential
);
text_id!(
    /// What makes two sessions the same peer, chosen by the client. Not shown to others.
    ResumeKey,
    check_resume_key
);

impl ScopeId {
    /// The scope that every project shares.
    #[must_use]
    pub fn global() -> Self {
        Self("global".into())
    }

    /// Where it is told what happens to the mesh itself, such as to its tokens. Only admins see it, and nobody joins it.
    #[must_use]
    pub fn admin() -> Self {
        Self("~admin".into())
    }

    /// The scope that is read in place of one that the reader may not see: nothing ever happens there.
    #[must_use]
    pub fn nowhere() -> Self {
        Self("~nowhere".into())
    }

    /// Whether it is the broker's own: no project's slug begins with `~`.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('~')
    }
}

impl CredentialId {
    /// The Unix socket, used by a process of the broker's own user.
    #[must_use]
    pub fn unix() -> Self {
        Self("unix".into())
    }

    /// The token in the broker's home, which its own user reads.
    #[must_use]
    pub fn home() -> Self {
        Self("home".into())
    }

    /// Whether it is that of the broker's own user, who may do everything.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        matches!(&*self.0, "unix" | "home")
    }
}

/// Names that say more than who somebody is: the parts of a conversation with a model, whoever runs things, and what
/// stands for all or for oneself. No peer can have them, so that none speaks with an authority that it has not.
const RESERVED_NAMES: [&str; 14] = [
    "admin",
    "administrator",
    "all",
    "assistant",
    "broker",
    "developer",
    "everyone",
    "mesh",
    "meshctl",
    "operator",
    "root",
    "system",
    "user",
    "you",
];

impl PeerName {
    /// Whether a peer may begin to use the name: not one that claims authority, nor one that a reader takes for
    /// another's, as `amber-fox.` for `amber-fox`. Stricter than the grammar, which also reads what was taken before.
    pub fn check_claim(&self) -> Result<(), Rejection> {
        if RESERVED_NAMES.contains(&self.as_str()) {
            return Err(Rejection::invalid("name", "is reserved, since it claims authority; choose another"));
        }
        if !self.0.ends_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(Rejection::invalid("name", "must end with a letter or digit"));
        }
        Ok(())
    }
}

impl TopicName {
    /// The feed that every peer of a scope follows.
    #[must_use]
    pub fn notes() -> Self {
        Self("#notes".into())
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

uuid_id!(
    /// One incarnation of a peer.
    SessionId
);
uuid_id!(
    /// A message.
    MessageId
);

impl MessageId {
    /// Takes a UUID as text.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Rejection> {
        Uuid::try_parse(text).map(Self).map_err(|_| Rejection::invalid(field, "is not a message id (a UUID)"))
    }
}

fn check_scope(text: &str) -> Result<(), Rejection> {
    let fail = |problem: &str| Err(Rejection::invalid("scope", problem));
    if text.is_empty() {
        return fail("is empty; give a project slug such as `github.com/acme/app`, or `global`");
    }
    if text.len() > limits::SCOPE_BYTES {
        return fail("is longer than 256 bytes");
    }
    let fits = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'~' | b'@' | b'+' | b'-');
    for segment in text.split('/') {
        if segment.is_empty() || segment == "." || segment == ".." {
            return fail("has an empty, `.` or `..` segment");
        }
        if !segment.bytes().all(fits) {
            return fail("may hold only a-z, 0-9, `.`, `_`, `~`, `@`, `+`, `-` between its slashes");
        }
    }
    Ok(())
}

fn check_peer_name(text: &str) -> Result<(), Rejection> {
    let first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let rest = |b: u8| first(b) || matches!(b, b'.' | b'_' | b'-');
    let long = text.len() > limits::PEER_NAME_BYTES;
    if long || !text.bytes().next().is_some_and(first) || !text.bytes().all(rest) {
        return Err(Rejection::invalid(
            "name",
            "must be 1 to 64 bytes of a-z, 0-9, `.`, `_`, `-`, beginning with a letter or digit",
        ));
    }
    Ok(())
}

fn check_key(text: &str) -> Result<(), Rejection> {
    if text.is_empty() {
        return Err(Rejection::invalid("key", "is empty"));
    }
    check_text("key", text, limits::KEY_BYTES)
}

fn check_topic(text: &str) -> Result<(), Rejection> {
    let first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let rest = |b: u8| first(b) || matches!(b, b'.' | b'_' | b'-' | b'/');
    let name = text.strip_prefix('#').unwrap_or_default();
    let long = name.len() > limits::TOPIC_BYTES;
    if long || !name.bytes().next().is_some_and(first) || !name.bytes().all(rest) {
        return Err(Rejection::invalid(
            "topic",
            "must be `#` and 1 to 64 bytes of a-z, 0-9, `.`, `_`, `-`, `/`, beginning with a letter or digit",
        ));
    }
    Ok(())
}

fn check_credential(text: &str) -> Result<(), Rejection> {
    let token = text.strip_prefix("t-").unwrap_or_default();
    let is_token = (8..=32).contains(&token.len())
        && token.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !is_token && text != "unix" && text != "home" {
        return Err(Rejection::invalid("id", "is not that of a token, which begins with `t-`"));
    }
    Ok(())
}

fn check_request_id(text: &str) -> Result<(), Rejection> {
    check_text("request_id", text, limits::REQUEST_ID_BYTES)
}

fn check_resume_key(text: &str) -> Result<(), Rejection> {
    check_text("resume_key", text, limits::RESUME_KEY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_have_a_grammar() {
        for good in ["global", "github.com/acme/app", "git/0a1b", "host/box/~me/x+y@z"] {
            assert!(ScopeId::parse(good).is_ok(), "{good}");
        }
        let long = "a".repeat(257);
        for bad in ["", "/", "a//b", "a/../b", "./a", "A", "a b", "a\u{1b}", "a/", &long] {
            assert!(ScopeId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn peer_names_have_a_grammar() {
        for good in ["a", "amber-fox", "0x_1.b"] {
            assert!(PeerName::parse(good).is_ok(), "{good}");
        }
        let long = "a".repeat(65);
        for bad in ["", "-a", "Amber", "a b", "*", "#t", "a\n", &long] {
            assert!(PeerName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_neither_claims_authority_nor_passes_for_another() {
        let claim = |name: &str| PeerName::parse(name).unwrap().check_claim();
        for good in ["amber-fox", "root-user", "admin2", "0"] {
            assert_eq!(claim(good), Ok(()), "{good}");
        }
        for bad in RESERVED_NAMES.into_iter().chain(["amber-fox.", "amber-fox-", "amber-fox_", "a--"]) {
            assert!(claim(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn topics_have_a_grammar() {
        for good in ["#a", "#deploys/eu-1", "#0.x_y"] {
            assert!(TopicName::parse(good).is_ok(), "{good}");
        }
        let long = format!("#{}", "a".repeat(65));
        for bad in ["", "#", "a", "##a", "#A", "#-a", "#/a", "#a b", "#a\n", &long] {
            assert!(TopicName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn text_ids_are_checked_when_read_back() {
        let read: Result<PeerName, serde::de::value::Error> =
            PeerName::deserialize(serde::de::value::StrDeserializer::new("NOT OK"));
        assert!(read.is_err());
    }
}
