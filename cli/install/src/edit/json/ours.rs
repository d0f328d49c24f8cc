//! Which parts of a JSON file are ours.

use serde_json::Value;

use super::{Entries, HOOKS, to_value};
use crate::edit::{Fault, is_server};
use crate::program::Program;

/// Fields in which hosts keep a hook's shell line.
const LINES: [&str; 6] = ["command", "bash", "linux", "osx", "powershell", "windows"];

/// How much of an element is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    None,
    Some,
    All,
}

pub(super) fn share(element: &Value, program: &Program) -> Share {
    let Some(inner) = element.get(HOOKS).and_then(Value::as_array) else {
        return if is_hook(element, program) { Share::All } else { Share::None };
    };
    match inner.iter().filter(|hook| is_hook(hook, program)).count() {
        0 => Share::None,
        ours if ours == inner.len() => Share::All,
        _ => Share::Some,
    }
}

/// Whether every shell line of a hook is ours: one that does something else on another system is its owner's.
pub(super) fn is_hook(hook: &Value, program: &Program) -> bool {
    let lines = lines(hook);
    !lines.is_empty() && lines.iter().all(|line| program.is_hook(line))
}

/// The shell lines of a hook.
pub(super) fn lines(hook: &Value) -> Vec<&str> {
    let mut lines: Vec<_> = LINES.iter().filter_map(|field| hook.get(field)?.as_str()).collect();
    if hook.get("exec").and_then(Value::as_str) == Some("sh") && hook["args"][0] == "-c" {
        lines.extend(hook["args"][1].as_str());
    }
    lines
}

/// Hosts give the arguments apart, or with the program as one list.
pub(super) fn words(server: &Value) -> Option<Vec<String>> {
    let strings = |value: &Value| -> Option<Vec<String>> {
        value.as_array()?.iter().map(|word| word.as_str().map(str::to_owned)).collect()
    };
    match server.get("command")? {
        Value::String(command) => {
            let arguments = server.get("args").and_then(strings).unwrap_or_default();
            Some(std::iter::once(command.clone()).chain(arguments).collect())
        }
        list @ (Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
            strings(list)
        }
    }
}

pub(super) fn is_ours(server: &Value, program: &Program) -> bool {
    let words = words(server).unwrap_or_default();
    is_server(program, words.first().map(String::as_str), words.get(1..).unwrap_or_default())
}

/// Refuses a change of anything that is not ours.
pub(super) fn verify(
    before: &Value,
    after: &Value,
    entries: &Entries,
    program: &Program,
) -> Result<(), Fault> {
    if without_ours(before, entries, program) == without_ours(after, entries, program) {
        return Ok(());
    }
    Err(Fault::Delicate("an unusual layout"))
}

/// The rest of a file: without our entries, and without the containers that may exist for them alone.
fn without_ours(root: &Value, entries: &Entries, program: &Program) -> Value {
    let Value::Object(root) = root else { return root.clone() };
    let mut root = root.clone();
    for (key, default) in entries.defaults.iter().chain(&entries.fresh) {
        if root.get(*key) == Some(&to_value(default)) {
            root.remove(*key);
        }
    }
    if let Some((at, _)) = &entries.server
        && let Some(Value::Object(servers)) = root.get_mut(*at)
    {
        servers.retain(|_, server| !is_ours(server, program));
        if servers.is_empty() {
            root.remove(*at);
        }
    }
    if let Some(Value::Object(hooks)) = root.get_mut(HOOKS) {
        for elements in hooks.values_mut() {
            let Value::Array(elements) = elements else { continue };
            elements.retain(|element| share(element, program) != Share::All);
            for inner in elements.iter_mut().filter_map(|element| element.get_mut(HOOKS)?.as_array_mut()) {
                inner.retain(|hook| !is_hook(hook, program));
            }
        }
        hooks.retain(|_, elements| elements.as_array().is_none_or(|elements| !elements.is_empty()));
        if hooks.is_empty() {
            root.remove(HOOKS);
        }
    }
    Value::Object(root)
}
