//! Patterns of names: a text in which `*` stands for any characters, slashes too, or none.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits;
use crate::rejection::Rejection;

/// A pattern of scopes or of peer names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// Takes a text of the characters that scopes and names are made of, and `*`.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Rejection> {
        if text.is_empty() || text.len() > limits::PATTERN_BYTES {
            let problem =
                format!("has a pattern of {} bytes; 1 to {} are allowed", text.len(), limits::PATTERN_BYTES);
            return Err(Rejection::invalid(field, problem));
        }
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"*./_~@+-".contains(&b);
        if !text.bytes().all(fits) {
            let problem =
                "may hold only a-z, 0-9, `.`, `_`, `~`, `@`, `+`, `-`, `/`, and `*` for any of them";
            return Err(Rejection::invalid(field, problem));
        }
        Ok(Self(text.into()))
    }

    /// The pattern of everything.
    #[must_use]
    pub fn any() -> Self {
        Self("*".into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the pattern of everything.
    #[must_use]
    pub fn is_any(&self) -> bool {
        &*self.0 == "*"
    }

    /// Whether a text is one that the pattern means.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return &*self.0 == text };
        let Some(mut text) = text.strip_prefix(first) else { return false };
        let mut parts: Vec<&str> = rest.split('*').collect();
        let last = parts.pop().unwrap_or_default();
        // Each part at its first place leaves the most for those after it.
        for part in parts {
            let Some(at) = text.find(part) else { return false };
            text = &text[at + part.len()..];
        }
        text.ends_with(last)
    }

    /// A text that the pattern means, made with a word in place of its first `*`.
    #[must_use]
    pub fn filled(&self, word: &str) -> String {
        self.0.replacen('*', word, 1).replace('*', "")
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse("pattern", &text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse("scopes", text).unwrap()
    }

    #[test]
    fn a_star_stands_for_anything() {
        let table = [
            ("*", "github.com/acme/app", true),
            ("github.com/acme/*", "github.com/acme/app", true),
            ("github.com/acme/*", "github.com/acme/a/b", true),
            ("github.com/acme/*", "github.com/acme", false),
            ("github.com/acme/*", "github.com/acme-evil/app", false),
            ("github.com/acme/*", "evil/github.com/acme/app", false),
            ("*/app", "github.com/acme/app", true),
            ("*/app", "github.com/acme/apple", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("global", "global", true),
            ("global", "globally", false),
        ];
        for (of, text, expected) in table {
            assert_eq!(pattern(of).matches(text), expected, "{of} {text}");
        }
    }

    #[test]
    fn patterns_have_a_grammar() {
        let long = "a".repeat(limits::PATTERN_BYTES + 1);
        for bad in ["", "A", "a b", "a\n", "[a]", "a?", &long] {
            assert!(Pattern::parse("scopes", bad).is_err(), "{bad:?}");
        }
        assert!(Pattern::parse("scopes", &long[1..]).is_ok());
    }

    /// As plain as can be: a star takes nothing, or one character more.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => naive(rest, text) || (!text.is_empty() && naive(pattern, &text[1..])),
            [byte, rest @ ..] => text.first() == Some(byte) && naive(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn a_pattern_means_what_the_plain_reading_says(of in "[ab*]{1,7}", text in "[ab]{0,8}") {
            prop_assert_eq!(pattern(&of).matches(&text), naive(of.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn what_a_pattern_is_filled_with_is_meant_by_it(of in "[ab*]{1,7}", word in "[a-c]{0,5}") {
            prop_assert!(pattern(&of).matches(&pattern(&of).filled(&word)));
        }
    }
}
