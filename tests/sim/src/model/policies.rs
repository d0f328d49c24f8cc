//! Policies of keys: what a write makes of what is there, and what it may do to what its writer has not seen.
//!
//! The values of the simulation are texts without blanks, and JSON objects of one level.

use std::collections::BTreeMap;

use mesh_core::id::ScopeId;
use mesh_core::record::{LogRecord, PolicyKind, PolicyRecord};
use serde_json::Value;

use super::entries::Written;

/// What was set for a prefix, by revision: none when it was removed.
type Changes = Vec<(u64, Option<PolicyKind>)>;
type Fields = BTreeMap<String, Value>;

/// All that were ever set.
#[derive(Debug, Default)]
pub struct Policies {
    changes: BTreeMap<(ScopeId, String), Changes>,
}

impl Policies {
    pub(super) fn changed(&mut self, log: &LogRecord, prefix: &str, kind: Option<PolicyKind>) {
        let changes = self.changes.entry((log.scope.clone(), prefix.to_owned())).or_default();
        changes.push((log.revision.0, kind));
    }

    /// What is set for a prefix as of a revision.
    #[must_use]
    pub fn set_for(&self, scope: &ScopeId, prefix: &str, revision: u64) -> Option<PolicyKind> {
        as_of(self.changes.get(&(scope.clone(), prefix.to_owned()))?, revision)
    }

    /// How writes to a key treat each other as of a revision: the longest prefix decides.
    #[must_use]
    pub fn of(&self, scope: &ScopeId, key: &str, revision: u64) -> PolicyKind {
        let fit = self.changes.iter().filter(|((at, prefix), _)| at == scope && key.starts_with(prefix));
        let set = fit.filter_map(|((_, prefix), changes)| Some((prefix.len(), as_of(changes, revision)?)));
        set.max_by_key(|(length, _)| *length).map_or(PolicyKind::RequireVersion, |(_, kind)| kind)
    }

    pub(super) fn has(&self, policy: &PolicyRecord) -> bool {
        self.set_for(&policy.scope, &policy.prefix, u64::MAX) == Some(policy.kind)
    }

    pub(super) fn count(&self) -> usize {
        self.changes.values().filter(|changes| as_of(changes, u64::MAX).is_some()).count()
    }
}

fn as_of(changes: &Changes, revision: u64) -> Option<PolicyKind> {
    let end = changes.partition_point(|(at, _)| *at <= revision);
    changes[..end].last().and_then(|(_, kind)| *kind)
}

/// Whether a write has made of what was there what its policy says.
#[must_use]
pub fn follows(kind: PolicyKind, before: Option<&Written>, value: &str, written: &Written) -> bool {
    match kind {
        PolicyKind::RequireVersion | PolicyKind::LastWriteWins => written.value == value,
        PolicyKind::Append => {
            let former = before.filter(|before| !before.value.is_empty());
            if former.is_some_and(|former| !former.whole) {
                // Of what nobody ever saw whole only the beginning is known.
                return former.is_some_and(|former| written.value.starts_with(&former.value));
            }
            let due = former.map_or(value.to_owned(), |former| format!("{}\n{value}", former.value));
            if written.whole { written.value == due } else { due.starts_with(&written.value) }
        }
        PolicyKind::MergePatch => {
            let mut due = before.and_then(|before| fields(&before.value)).unwrap_or_default();
            let Some(patch) = fields(value) else { return false };
            for (field, value) in patch {
                if value.is_null() {
                    due.remove(&field);
                } else {
                    due.insert(field, value);
                }
            }
            fields(&written.value) == Some(due)
        }
    }
}

/// Whether a patch changes no field that is other than its writer knows it, unless to what it is already.
#[must_use]
pub fn merges(patch: &str, known: Option<&Written>, theirs: &Written) -> bool {
    let (Some(patch), Some(theirs)) = (fields(patch), fields(&theirs.value)) else { return false };
    let known = known.and_then(|known| fields(&known.value)).unwrap_or_default();
    patch.iter().all(|(field, value)| {
        let theirs = theirs.get(field);
        theirs == known.get(field) || theirs == (!value.is_null()).then_some(value)
    })
}

fn fields(text: &str) -> Option<Fields> {
    serde_json::from_str(text).ok()
}
