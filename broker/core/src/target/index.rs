//! What overlaps a target, found without looking at everything.
//!
//! Ordered by text: a path is looked up with its ancestors, a subtree is one range, and globs are filed under the
//! directory that their text names before the first wildcard.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::Target;

/// A map from targets that answers what overlaps one.
#[derive(Clone, Debug)]
pub struct TargetIndex<V> {
    by_text: BTreeMap<Target, V>,
}

impl<V> Default for TargetIndex<V> {
    fn default() -> Self {
        Self { by_text: BTreeMap::new() }
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
        self.by_text.remove(target)
    }

    /// All targets as text orders them, from a bound on.
    pub fn range(&self, from: Bound<&Target>) -> impl Iterator<Item = (&Target, &V)> {
        self.by_text.range::<Target, _>((from, Bound::Unbounded))
    }

    /// Everything whose target intersects this one, each once, in no order that matters.
    pub fn overlapping<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = (&'a Target, &'a V)> {
        self.by_text.iter().filter(|(other, _)| other.intersects(target))
    }
}

impl<V: Default> TargetIndex<V> {
    /// What is filed under a target; something new if nothing is.
    pub fn entry(&mut self, target: &Target) -> &mut V {
        self.by_text.entry(target.clone()).or_default()
    }
}
