//! What the agent has seen of each entry: whole, and as it was at which revision.
//!
//! An answer shows less than the broker sends, so the adapter tells the broker what was read, not the other way round.
//! What must hold: an entry counts as seen only when all of its value was shown; what is seen is bounded, the entry
//! seen longest ago is forgotten first.

use std::collections::{BTreeMap, VecDeque};

use mesh_client::proto::Entry;
use mesh_client::proto::precondition::Condition;

/// Most entries of which it is known what was seen.
const KEPT: usize = 10_000;

type Name = (String, String);

/// What was seen of each entry, by scope and key.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    last: BTreeMap<Name, At>,
    order: VecDeque<(Name, u64)>,
}

/// An entry as it was seen.
#[derive(Clone, Copy, Debug)]
struct At {
    revision: u64,
    version: u64,
}

impl Seen {
    /// All of an entry was shown.
    pub(crate) fn shown(&mut self, entry: &Entry) {
        let name = (entry.scope.clone(), entry.key.clone());
        let at = At { revision: entry.revision, version: entry.version };
        if self.last.get(&name).is_some_and(|known| known.revision >= at.revision) {
            return;
        }
        self.last.insert(name.clone(), at);
        self.order.push_back((name, at.revision));
        while self.order.len() > KEPT {
            let Some((oldest, revision)) = self.order.pop_front() else { return };
            if self.last.get(&oldest).is_some_and(|known| known.revision == revision) {
                self.last.remove(&oldest);
            }
        }
    }

    /// The agent wrote an entry. It knows all of it if it had seen what was before; where a value is merged or added
    /// to, it need not have.
    pub(crate) fn written(&mut self, entry: &Entry) {
        let name = (entry.scope.clone(), entry.key.clone());
        let before = self.last.get(&name).map_or(0, |known| known.version);
        if before.checked_add(1) == Some(entry.version) {
            self.shown(entry);
        }
    }

    /// What a write without a version has to hold to.
    pub(crate) fn condition(&self, scope: &str, key: &str) -> Condition {
        let name = (scope.to_owned(), key.to_owned());
        Condition::LastRead(self.last.get(&name).map_or(0, |known| known.revision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, version: u64, revision: u64) -> Entry {
        Entry { scope: "app".into(), key: key.into(), version, revision, ..Entry::default() }
    }

    fn last(seen: &Seen, key: &str) -> u64 {
        let Condition::LastRead(revision) = seen.condition("app", key) else {
            panic!("nothing else is known")
        };
        revision
    }

    #[test]
    fn the_latest_that_was_seen_whole_counts() {
        let mut seen = Seen::default();
        assert_eq!(last(&seen, "plan"), 0);
        seen.shown(&entry("plan", 2, 9));
        seen.shown(&entry("plan", 1, 4));
        assert_eq!((last(&seen, "plan"), last(&seen, "other")), (9, 0));
    }

    #[test]
    fn a_write_after_what_was_seen_is_seen_and_another_is_not() {
        let mut seen = Seen::default();
        seen.written(&entry("new", 1, 3));
        seen.written(&entry("new", 2, 5));
        assert_eq!(last(&seen, "new"), 5);
        seen.written(&entry("new", 4, 8));
        assert_eq!(last(&seen, "new"), 5, "version 3 was another's");
    }

    #[test]
    fn the_memory_is_bounded_and_the_oldest_goes_first() {
        let mut seen = Seen::default();
        for n in 0..=KEPT as u64 {
            seen.shown(&entry(&format!("k{n}"), 1, n + 1));
        }
        assert_eq!((last(&seen, "k0"), last(&seen, "k1")), (0, 2));
        assert_eq!((seen.last.len(), seen.order.len()), (KEPT, KEPT));
    }
}
