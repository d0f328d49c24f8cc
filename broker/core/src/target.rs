//! What a lock can be on: a path, everything below a directory, a glob, a symbol inside a file, or a subject that is
//! no file. Conflict is exact intersection.
//!
//! A target is read in this order:
//!
//! * `task:ABC-12` is a subject, if it begins with a lower-case word of 2 to 32 characters and a colon;
//! * `src/a.ts#Session::refresh` is a symbol, if something without a `/` follows the last `#`. The file before it is
//!   spelled as it is: `app/[slug].tsx#Page`;
//! * anything else is a path. Braces are multiplied out first, as bash does it; then each segment is read by itself.
//!   What closes nothing is ordinary text.

mod braces;
mod gaps;
mod glob;
pub mod index;
mod mentions;
mod parse;
mod search;
mod segment;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::glob::Glob;
pub use self::mentions::mentions;
use crate::limits;
use crate::rejection::Rejection;

/// A scope-relative target in its one normal form: `src/auth.rs`, `src/auth/` (everything below), `/` (everything),
/// `src/**/*_test.rs`, `src/auth.ts#Session::refresh`, `task:ABC-12`.
///
/// Ordered, equal and hashed as its text, so everything below a directory is one range: `src/auth/` up to, not
/// including, `src/auth0`. A glob is read once; its clones share that.
#[derive(Clone)]
pub struct Target {
    text: Arc<str>,
    shape: Shape,
}

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

/// What a target is, with what is known of it beyond its text.
#[derive(Clone, Debug)]
enum Shape {
    File,
    Subtree,
    Glob(Arc<Glob>),
    /// The length of the file's path; `#` follows.
    Symbol {
        file: usize,
    },
    Subject,
}

impl Target {
    /// Takes any way of writing a target, of globs those that are cheap to compare.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Rejection> {
        let refused = |problem| Rejection::invalid(field, format!("{}: {problem}", shown(text)));
        let target = Self::read(text).map_err(refused)?;
        match &target.shape {
            Shape::Glob(glob) if !glob.is_modest() => Err(refused(IMMODEST)),
            Shape::Glob(_) | Shape::File | Shape::Subtree | Shape::Symbol { .. } | Shape::Subject => {
                Ok(target)
            }
        }
    }

    /// As [`Self::parse`], of globs all: what was stored once is read for good.
    fn read(text: &str) -> Result<Self, &'static str> {
        parse::parse(text).map(|(normal, shape)| Self { text: normal.into(), shape })
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> TargetKind {
        match self.shape {
            Shape::File => TargetKind::File,
            Shape::Subtree => TargetKind::Subtree,
            Shape::Glob(_) => TargetKind::Glob,
            Shape::Symbol { .. } => TargetKind::Symbol,
            Shape::Subject => TargetKind::Subject,
        }
    }

    /// How many ways there are to read it: those of a glob, its braces multiplied out.
    #[must_use]
    pub fn alternatives(&self) -> usize {
        if let Shape::Glob(glob) = &self.shape { glob.alternatives() } else { 1 }
    }

    /// The normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True for a directory: everything below it is meant.
    #[must_use]
    pub fn is_subtree(&self) -> bool {
        matches!(self.shape, Shape::Subtree)
    }

    /// What every path of a subtree begins with; empty for the whole scope.
    #[must_use]
    pub fn prefix(&self) -> &str {
        if &*self.text == "/" { "" } else { &self.text }
    }

    /// The subtrees that hold all of this target, from the whole scope down, itself excluded. None hold a subject.
    pub fn ancestors(&self) -> impl Iterator<Item = Target> + '_ {
        let (below, path) = match &self.shape {
            Shape::File => (true, self.as_str()),
            Shape::Subtree => (&*self.text != "/", self.prefix().strip_suffix('/').unwrap_or_default()),
            Shape::Glob(glob) => (true, glob.directory()),
            Shape::Symbol { file } => (true, &self.text[..*file]),
            Shape::Subject => (false, ""),
        };
        let whole = below.then(|| Self::subtree("/"));
        whole.into_iter().chain(path.match_indices('/').map(|(at, _)| Self::subtree(&path[..=at])))
    }

    /// True when some file, symbol or subject belongs to both.
    #[must_use]
    pub fn intersects(&self, other: &Target) -> bool {
        match (&self.shape, &other.shape) {
            (Shape::Subject, Shape::Subject) => {
                is_same_or_inside(self.as_str(), other.as_str(), "/")
                    || is_same_or_inside(other.as_str(), self.as_str(), "/")
            }
            (Shape::Subject, _) | (_, Shape::Subject) => false,
            (Shape::Symbol { file }, Shape::Symbol { file: of_other }) => {
                file == of_other
                    && (is_same_or_inside(self.as_str(), other.as_str(), "::")
                        || is_same_or_inside(other.as_str(), self.as_str(), "::"))
            }
            (Shape::Glob(ours), Shape::Glob(theirs)) => self == other || ours.meets(theirs),
            (Shape::Glob(glob), Shape::Subtree) => glob.reaches_into(other.prefix()),
            (Shape::Subtree, Shape::Glob(glob)) => glob.reaches_into(self.prefix()),
            (Shape::Glob(glob), Shape::File | Shape::Symbol { .. }) => glob.holds(other.file()),
            (Shape::File | Shape::Symbol { .. }, Shape::Glob(glob)) => glob.holds(self.file()),
            (Shape::Subtree, Shape::Subtree) => {
                self.text.starts_with(other.prefix()) || other.text.starts_with(self.prefix())
            }
            (Shape::Subtree, Shape::File | Shape::Symbol { .. }) => other.text.starts_with(self.prefix()),
            (Shape::File | Shape::Symbol { .. }, Shape::Subtree) => self.text.starts_with(other.prefix()),
            (Shape::File, Shape::File | Shape::Symbol { .. }) | (Shape::Symbol { .. }, Shape::File) => {
                self.file() == other.file()
            }
        }
    }

    /// True when everything that belongs to the other belongs to this one. Of a glob or directory inside a glob, only
    /// where that is plain to see: never true when it is not so.
    #[must_use]
    pub fn covers(&self, other: &Target) -> bool {
        if self == other {
            return true;
        }
        match (&self.shape, &other.shape) {
            (Shape::Subject, Shape::Subject) => is_same_or_inside(self.as_str(), other.as_str(), "/"),
            (Shape::Symbol { file }, Shape::Symbol { file: of_other }) => {
                file == of_other && is_same_or_inside(self.as_str(), other.as_str(), "::")
            }
            (Shape::Subject | Shape::Symbol { .. }, _) | (_, Shape::Subject) => false,
            (Shape::Glob(ours), Shape::Glob(theirs)) => ours.covers(theirs),
            (Shape::Glob(glob), Shape::Subtree) => glob.covers_subtree(other.prefix()),
            (Shape::Glob(glob), Shape::File | Shape::Symbol { .. }) => glob.holds(other.file()),
            (Shape::Subtree, Shape::Glob(glob)) => glob.is_within(self.prefix()),
            (Shape::Subtree, Shape::File | Shape::Subtree | Shape::Symbol { .. }) => {
                other.text.starts_with(self.prefix())
            }
            (Shape::File, Shape::Glob(glob)) => glob.is_just(self.as_str()),
            (Shape::File, Shape::File | Shape::Symbol { .. }) => self.text[..] == *other.file(),
            (Shape::File, Shape::Subtree) => false,
        }
    }

    /// The path of a file or of a symbol's file; the text of anything else.
    fn file(&self) -> &str {
        match self.shape {
            Shape::Symbol { file } => &self.text[..file],
            Shape::File | Shape::Subtree | Shape::Glob(_) | Shape::Subject => &self.text,
        }
    }

    fn subtree(text: &str) -> Self {
        Self { text: text.into(), shape: Shape::Subtree }
    }
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Target {}

impl PartialOrd for Target {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Target {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for Target {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(&text).map_err(|problem| serde::de::Error::custom(format!("{}: {problem}", shown(&text))))
    }
}

const IMMODEST: &str = "has more than 64 characters between two stars, 16 names between two `**`, or 32 ranges in the \
                        brackets of a name; name a simpler pattern";

/// Refuses more globs than may be compared with all the targets that others named.
pub fn check_globs(field: &'static str, targets: &[Target]) -> Result<(), Rejection> {
    let globs = || targets.iter().filter(|target| target.kind() == TargetKind::Glob);
    if globs().count() > limits::GLOBS {
        return Err(Rejection::invalid(field, format!("may hold at most {} globs", limits::GLOBS)));
    }
    if globs().map(Target::alternatives).sum::<usize>() > limits::GLOB_ALTERNATIVES {
        let problem = "have braces for more than 64 alternatives together; name fewer, or ask several times";
        return Err(Rejection::invalid(field, problem));
    }
    Ok(())
}

/// True when the name is the outer one, or nested in it.
fn is_same_or_inside(outer: &str, name: &str, separator: &str) -> bool {
    name.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(separator))
}

/// A path as an error may show it: short, and without anything a terminal would obey.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    format!("{short:?}")
}
