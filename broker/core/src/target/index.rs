//! What overlaps a target, found without looking at everything.
//!
//! Ordered by text: a path is looked up with its ancestors, a subtree is one range, and globs are filed under the
//! directory that their text names before the first wildcard.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::ops::Bound;

use super::{Shape, Target, TargetKind};

#[cfg(test)]
mod tests;

/// A map from targets that answers what overlaps one.
#[derive(Clone, Debug)]
pub struct TargetIndex<V> {
    by_text: BTreeMap<Target, V>,
    /// Those of them that are globs, by the innermost directory that all their files are below.
    globs: BTreeMap<Target, BTreeSet<Target>>,
    glob_count: usize,
}

impl<V> Default for TargetIndex<V> {
    fn default() -> Self {
        Self { by_text: BTreeMap::new(), globs: BTreeMap::new(), glob_count: 0 }
    }
}

impl<V> TargetIndex<V> {
    /// True when it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_text.is_empty()
    }

    /// How many targets it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_text.len()
    }

    /// How many of them are globs: each of those may have to be compared with a target that is looked up.
    #[must_use]
    pub fn glob_count(&self) -> usize {
        self.glob_count
    }

    /// What is filed under exactly this target.
    #[must_use]
    pub fn get(&self, target: &Target) -> Option<&V> {
        self.by_text.get(target)
    }

    /// As [`Self::get`], to be changed.
    pub fn get_mut(&mut self, target: &Target) -> Option<&mut V> {
        self.by_text.get_mut(target)
    }

    /// Removes a target.
    pub fn remove(&mut self, target: &Target) -> Option<V> {
        let removed = self.by_text.remove(target)?;
        if let Some(directory) = glob_directory(target)
            && let Some(filed) = self.globs.get_mut(&directory)
        {
            filed.remove(target);
            if filed.is_empty() {
                self.globs.remove(&directory);
            }
            self.glob_count -= 1;
        }
        Some(removed)
    }

    /// All targets as text orders them.
    pub fn iter(&self) -> impl Iterator<Item = (&Target, &V)> {
        self.by_text.iter()
    }

    /// What is filed, as the text of the targets orders it.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.by_text.values()
    }

    /// All targets as text orders them, from a bound on.
    pub fn range(&self, from: Bound<&Target>) -> impl Iterator<Item = (&Target, &V)> {
        self.by_text.range::<Target, _>((from, Bound::Unbounded))
    }

    /// Everything whose target intersects this one, each once, in no order that matters. Costs a look-up for each
    /// level of the target, and a step for all that is filed inside it and for each glob of a directory around it.
    pub fn overlapping<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = (&'a Target, &'a V)> {
        self.candidates(target).filter(|(other, _)| other.intersects(target))
    }

    /// Everything that could intersect the target, each once.
    fn candidates(&self, target: &Target) -> impl Iterator<Item = (&Target, &V)> {
        let Walk { points, inside, directories } = Walk::of(target);
        let globs_inside = directories.then(|| inside.clone());
        let above = points.clone();
        let found = points
            .into_iter()
            .filter_map(|point| self.by_text.get_key_value(&point))
            .chain(inside.into_iter().flat_map(|span| self.by_text.range(span)))
            .filter(|(other, _)| other.kind() != TargetKind::Glob);
        let globs = above
            .into_iter()
            .filter_map(|directory| self.globs.get(&directory))
            .chain(
                globs_inside
                    .flatten()
                    .into_iter()
                    .flat_map(|span| self.globs.range(span).map(|(_, filed)| filed)),
            )
            .flatten()
            .filter_map(|glob| self.by_text.get_key_value(glob));
        found.chain(globs)
    }
}

impl<V: Default> TargetIndex<V> {
    /// What is filed under a target; something new if nothing is.
    pub fn entry(&mut self, target: &Target) -> &mut V {
        if let Some(directory) = glob_directory(target)
            && self.globs.entry(directory).or_default().insert(target.clone())
        {
            self.glob_count += 1;
        }
        self.by_text.entry(target.clone()).or_default()
    }
}

/// Where to look for what overlaps a target.
struct Walk {
    /// Single texts: what is around the target, and the target itself if nothing can be inside.
    points: Vec<Target>,
    /// The range of what is inside.
    inside: Option<(Bound<Target>, Bound<Target>)>,
    /// Whether directories of globs can be in that range.
    directories: bool,
}

impl Walk {
    fn of(target: &Target) -> Self {
        let text = target.as_str();
        let mut points: Vec<Target> = target.ancestors().collect();
        match &target.shape {
            Shape::Subtree => Self { points, inside: Some(below(target.prefix())), directories: true },
            Shape::Glob(glob) => {
                // As its directory, which is the last of its ancestors, and the first of the range.
                points.pop();
                Self { points, inside: Some(below(glob.directory())), directories: true }
            }
            Shape::File => {
                points.push(target.clone());
                Self { points, inside: Some(span(text, '#', '$')), directories: false }
            }
            Shape::Symbol { file } => {
                let name = &text[*file..];
                let outer = name.match_indices("::").map(|(at, _)| &text[..file + at]);
                points.extend(iter::once(target.file()).chain(outer).chain([text]).map(key));
                let inside = span(&format!("{text}:"), ':', ';');
                Self { points, inside: Some(inside), directories: false }
            }
            Shape::Subject => {
                let outer = text.match_indices('/').map(|(at, _)| &text[..at]);
                points.extend(outer.chain([text]).map(key));
                Self { points, inside: Some(span(text, '/', '0')), directories: false }
            }
        }
    }
}

/// All that begins with the prefix, which ends in `/`; with none, everything.
fn below(prefix: &str) -> (Bound<Target>, Bound<Target>) {
    match prefix.strip_suffix('/') {
        Some(directory) => span(directory, '/', '0'),
        None => (Bound::Unbounded, Bound::Unbounded),
    }
}

/// All that begins with the text and the separator; `next` is the character after that.
fn span(text: &str, separator: char, next: char) -> (Bound<Target>, Bound<Target>) {
    let end = |c| key(&format!("{text}{c}"));
    (Bound::Included(end(separator)), Bound::Excluded(end(next)))
}

/// A text to look up. Targets are ordered by their texts alone, so what it is does not matter.
fn key(text: &str) -> Target {
    Target { text: text.into(), shape: Shape::File }
}

/// The directory that a glob is filed under; none for what is no glob.
fn glob_directory(target: &Target) -> Option<Target> {
    match &target.shape {
        Shape::Glob(glob) if glob.directory().is_empty() => Some(key("/")),
        Shape::Glob(glob) => Some(key(glob.directory())),
        Shape::File | Shape::Subtree | Shape::Symbol { .. } | Shape::Subject => None,
    }
}
