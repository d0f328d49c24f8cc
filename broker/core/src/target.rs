//! What a lock can be on: a path, or everything below a directory. Conflict is exact intersection.

pub mod index;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::limits;
use crate::rejection::Rejection;

/// A scope-relative target in its one normal form: `src/auth.rs`, `src/auth/` (everything below), `/` (everything).
///
/// Ordered as text, so everything below a directory is one range: `src/auth/` up to, not including, `src/auth0`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(Arc<str>);

/// What a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// One path.
    File,
    /// Everything below a directory.
    Subtree,
    /// All paths that fit a pattern.
    Glob,
    /// Something inside a file.
    Symbol,
    /// Something that is no file.
    Subject,
}

impl Target {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> TargetKind {
        if self.is_subtree() { TargetKind::Subtree } else { TargetKind::File }
    }

    /// True when everything that belongs to the other belongs to this one. Of a glob inside a glob, only where that is
    /// plain to see: never true when it is not so.
    #[must_use]
    pub fn covers(&self, other: &Target) -> bool {
        self == other || (self.is_subtree() && other.0.starts_with(self.prefix()))
    }

    /// Takes a target in normal form but for Unicode, which is brought to NFC.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Rejection> {
        let fail = |problem: &str| Err(Rejection::invalid(field, format!("{}: {problem}", shown(text))));
        if text.is_empty() {
            return fail("a path is empty; `/` means the whole scope");
        }
        if text.len() > limits::PATH_BYTES {
            return fail("longer than 1,024 bytes");
        }
        if text.chars().any(char::is_control) {
            return fail("holds a control character");
        }
        if text.contains('\\') {
            return fail("holds a backslash; paths are separated by `/`");
        }
        if text == "/" {
            return Ok(Self(text.into()));
        }
        if text.starts_with('/') {
            return fail("is absolute; paths are relative to the root of the checkout");
        }
        for segment in text.strip_suffix('/').unwrap_or(text).split('/') {
            match segment {
                "" => return fail("has an empty segment"),
                "." | ".." => return fail("has a `.` or `..` segment; paths may not leave the scope"),
                _ => {}
            }
        }
        let normal = match is_nfc_quick(text.chars()) {
            IsNormalized::Yes => return Ok(Self(text.into())),
            IsNormalized::No | IsNormalized::Maybe => text.nfc().collect::<String>(),
        };
        // The normal form may be three times as long, and it is what is stored and read back.
        if normal.len() > limits::PATH_BYTES {
            return fail("longer than 1,024 bytes in Unicode NFC");
        }
        Ok(Self(normal.into()))
    }

    /// The normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for a directory: everything below it is meant.
    #[must_use]
    pub fn is_subtree(&self) -> bool {
        self.0.ends_with('/')
    }

    /// What every path of a subtree begins with; empty for the whole scope.
    #[must_use]
    pub fn prefix(&self) -> &str {
        if &*self.0 == "/" { "" } else { &self.0 }
    }

    /// The subtrees that hold this target, from the whole scope down, itself excluded.
    pub fn ancestors(&self) -> impl Iterator<Item = Target> + '_ {
        let inner = self.prefix().strip_suffix('/').unwrap_or(self.prefix());
        let whole = (&*self.0 != "/").then(|| Target("/".into()));
        whole.into_iter().chain(inner.match_indices('/').map(|(at, _)| Target(inner[..=at].into())))
    }

    /// True when some file belongs to both.
    #[must_use]
    pub fn intersects(&self, other: &Target) -> bool {
        self == other
            || (self.is_subtree() && other.0.starts_with(self.prefix()))
            || (other.is_subtree() && self.0.starts_with(other.prefix()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse("path", &text).map_err(serde::de::Error::custom)
    }
}

/// A path as an error may show it: short, and without anything a terminal would obey.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        Target::parse("path", text).expect(text)
    }

    #[test]
    fn only_normal_forms_are_taken() {
        for good in ["a", "a/b.rs", "src/auth/", "/", "ä/ö", "a b", ".github/x", "a..b"] {
            assert_eq!(target(good).as_str(), good);
        }
        let long = "a".repeat(1025);
        for bad in ["", "//", "/a", "a//b", "a/../b", "..", "./a", "a/.", "a\\b", "a\nb", "a\u{1b}[0m", &long]
        {
            assert!(Target::parse("path", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn text_is_brought_to_nfc() {
        assert_eq!(target("cafe\u{301}"), target("caf\u{e9}"));
    }

    #[test]
    fn what_is_taken_is_taken_again_when_read_back() {
        let grows = "\u{1d160}".repeat(256);
        assert_eq!(grows.len(), limits::PATH_BYTES);
        assert!(Target::parse("path", &grows).is_err(), "its normal form is three times as long");
        for text in ["\u{1d160}", "a/\u{344}/", "\u{212b}", "\u{fb2c}/\u{2126}"] {
            let once = target(text);
            assert_eq!(target(once.as_str()), once, "{text}");
        }
    }

    #[test]
    fn ancestors_run_from_the_whole_scope_down() {
        let names = |text: &str| target(text).ancestors().map(|t| t.to_string()).collect::<Vec<_>>();
        assert_eq!(names("a/b/c.rs"), ["/", "a/", "a/b/"]);
        assert_eq!(names("a/b/"), ["/", "a/"]);
        assert_eq!(names("c"), ["/"]);
        assert_eq!(names("/"), Vec::<String>::new());
    }

    #[test]
    fn intersection_is_exact() {
        let table = [
            ("a", "a", true),
            ("a", "b", false),
            ("a/", "a/b", true),
            ("a/", "a", false),
            ("a/", "ab", false),
            ("a/", "a/b/", true),
            ("a/b/", "a/c/", false),
            ("/", "x", true),
            ("/", "x/y/", true),
            ("/", "/", true),
        ];
        for (left, right, expected) in table {
            assert_eq!(target(left).intersects(&target(right)), expected, "{left} {right}");
            assert_eq!(target(right).intersects(&target(left)), expected, "{right} {left}");
        }
    }
}
