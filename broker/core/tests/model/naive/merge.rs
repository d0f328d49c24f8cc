//! Values that come of two: JSON merge patches (RFC 7396), and lines after lines.

use mesh_core::command::Precondition;
use mesh_core::limits::VALUE_BYTES;
use mesh_core::rejection::Rejection;
use serde_json::{Map, Value};

use super::Naive;
use super::entries::{Attempt, conflict};

/// The value that a patch makes of the one there is.
pub(super) fn patched(
    naive: &Naive,
    attempt: Attempt<'_>,
    asked: Precondition,
    patch: &str,
) -> Result<String, Rejection> {
    let Some(patch) = object(patch) else { return Err(Rejection::invalid("value", "")) };
    let present = naive.entry(attempt.scope, attempt.key).map(|entry| object(&entry.value));
    let Some(present) = present.unwrap_or_else(|| Some(Value::Object(Map::new()))) else {
        // What is there is no object, so that it would be replaced.
        naive.demand(attempt, asked)?;
        return bounded(apply(Value::Null, &patch).to_string());
    };
    naive.demand_named(attempt, asked)?;
    if let Some((base, theirs)) = naive.unread_value(attempt, asked) {
        let known = base.as_ref().and_then(|base| object(&base.value));
        let mut fields = Vec::new();
        changed_by_both("", &patch, Some(&present), known.as_ref(), &mut fields);
        if !fields.is_empty() {
            return Err(Rejection::OverwriteNeedsVersion(conflict(base, &theirs, fields)));
        }
    }
    bounded(apply(present, &patch).to_string())
}

/// The value after the one there is, on a line of its own.
pub(super) fn appended(former: Option<&str>, value: &str) -> Result<String, Rejection> {
    bounded(match former {
        None | Some("") => value.to_owned(),
        Some(former) => [former, value].join("\n"),
    })
}

fn bounded(value: String) -> Result<String, Rejection> {
    if value.len() > VALUE_BYTES { Err(Rejection::invalid("value", "")) } else { Ok(value) }
}

fn object(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().filter(Value::is_object)
}

/// As RFC 7396 spells it.
fn apply(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut target = if let Value::Object(target) = target { target } else { Map::new() };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            let former = target.remove(name).unwrap_or_default();
            target.insert(name.clone(), apply(former, value));
        }
    }
    Value::Object(target)
}

/// Fields that a patch sets to another value than they have, and that do not have the value known to who patches.
fn changed_by_both(
    pointer: &str,
    patch: &Value,
    theirs: Option<&Value>,
    known: Option<&Value>,
    found: &mut Vec<String>,
) {
    let inner = patch.as_object().filter(|fields| match theirs {
        Some(theirs) => theirs.is_object(),
        None => !fields.is_empty(),
    });
    if let Some(fields) = inner {
        for (name, value) in fields {
            let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
            let of = |object: Option<&Value>| object.and_then(|object| object.get(name)).cloned();
            changed_by_both(&pointer, value, of(theirs).as_ref(), of(known).as_ref(), found);
        }
    } else if theirs != known && theirs != Some(patch).filter(|patch| !patch.is_null()) {
        found.push(pointer.to_owned());
    }
}
