//! Values that come of two: a JSON merge patch (RFC 7396) of an object, and a line after others.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::command::Precondition;
use crate::limits;
use crate::mutation::{Mutation, planted};
use crate::rejection::Rejection;

use super::rules::{Attempt, conflict};

/// The value that a patch makes of what is there, if it changes no field that another peer changed unread.
pub(super) fn patched(
    attempt: &Attempt<'_>,
    precondition: Precondition,
    patch: &str,
) -> Result<Arc<str>, Rejection> {
    let Some(patch) = object(patch) else {
        let problem =
            format!("must be a JSON object: it is a merge patch of {:?} by the key's policy", attempt.key);
        return Err(Rejection::invalid("value", problem));
    };
    let current = attempt.present.map(|entry| object(&entry.value));
    let mut merged = match current {
        None => {
            attempt.demand_named(precondition)?;
            Map::new()
        }
        // Nothing to merge with: the value is replaced, and that needs the version.
        Some(None) => {
            attempt.demand(precondition)?;
            Map::new()
        }
        Some(Some(current)) => {
            attempt.demand_named(precondition)?;
            if let Some((base, theirs)) = attempt.unread(precondition) {
                let known = base.as_ref().and_then(|base| object(&base.value));
                let fields = conflicts(&patch, &current, known.as_ref());
                if !fields.is_empty() && !planted(Mutation::PatchBlind) {
                    return Err(Rejection::OverwriteNeedsVersion(conflict(base, theirs, fields)));
                }
            }
            current
        }
    };
    // What is merged nests no deeper than the deeper of the two, hence can be parsed again.
    merge(&mut merged, patch);
    bounded(attempt, Value::Object(merged).to_string())
}

/// The value with another one after it, on a line of its own.
pub(super) fn appended(attempt: &Attempt<'_>, value: &str) -> Result<Arc<str>, Rejection> {
    match attempt.present.map(|entry| &*entry.value) {
        None | Some("") => bounded(attempt, value.to_owned()),
        Some(_) if planted(Mutation::AppendReplaces) => bounded(attempt, value.to_owned()),
        Some(former) => bounded(attempt, format!("{former}\n{value}")),
    }
}

fn bounded(attempt: &Attempt<'_>, value: String) -> Result<Arc<str>, Rejection> {
    if value.len() > limits::VALUE_BYTES {
        let problem = format!(
            "would grow {:?} past 65,536 bytes; start another key, or delete this one first",
            attempt.key
        );
        return Err(Rejection::invalid("value", problem));
    }
    Ok(value.into())
}

/// A text as JSON object, unless it nests deeper than 127 levels.
fn object(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(text).ok()
}

/// Applies a patch: objects are merged, null removes, anything else replaces.
fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (field, value) in patch {
        match value {
            Value::Null => {
                target.remove(&field);
            }
            Value::Object(patch) => {
                let mut inner = match target.remove(&field) {
                    Some(Value::Object(inner)) => inner,
                    Some(
                        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_),
                    )
                    | None => Map::new(),
                };
                merge(&mut inner, patch);
                target.insert(field, Value::Object(inner));
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                target.insert(field, value);
            }
        }
    }
}

/// Pointers (RFC 6901) to the fields that a patch would change and that differ from what its writer knows.
fn conflicts(
    patch: &Map<String, Value>,
    current: &Map<String, Value>,
    known: Option<&Map<String, Value>>,
) -> Vec<String> {
    let mut search = Search::default();
    search.descend(patch, current, known);
    search.found
}

/// A walk over the fields of a patch.
#[derive(Default)]
struct Search {
    pointer: String,
    found: Vec<String>,
}

impl Search {
    fn descend(
        &mut self,
        patch: &Map<String, Value>,
        current: &Map<String, Value>,
        known: Option<&Map<String, Value>>,
    ) {
        for (field, value) in patch {
            let (theirs, known) = (current.get(field), known.and_then(|known| known.get(field)));
            let above = self.pointer.len();
            self.pointer.push('/');
            self.pointer.push_str(&field.replace('~', "~0").replace('/', "~1"));
            match (value, theirs) {
                (Value::Object(patch), Some(Value::Object(theirs))) => {
                    self.descend(patch, theirs, known.and_then(Value::as_object));
                }
                (Value::Object(patch), None) if !patch.is_empty() => {
                    self.descend(patch, &Map::new(), known.and_then(Value::as_object));
                }
                // A leaf, or an object in the place of something else, which goes as a whole.
                (_, theirs) if theirs != known && theirs != (!value.is_null()).then_some(value) => {
                    self.note();
                }
                (_, _) => {}
            }
            self.pointer.truncate(above);
        }
    }

    fn note(&mut self) {
        let mut shown = self.pointer.as_str();
        if shown.len() > limits::POINTER_BYTES {
            let ends = shown.match_indices('/').map(|(at, _)| at);
            shown = &shown[..ends.take_while(|at| *at <= limits::POINTER_BYTES).last().unwrap_or_default()];
        }
        if self.found.len() < limits::FIELDS_SHOWN && !self.found.iter().any(|found| found == shown) {
            self.found.push(shown.to_owned());
        }
    }
}
