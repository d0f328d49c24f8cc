//! A world small enough to be enumerated: scopes, names, keys, topics, and every file, symbol and subject there is.

mod ops;
mod requests;
mod strategies;

pub(crate) use ops::Op;
pub(crate) use requests::{find, request};
pub(crate) use strategies::{Focus, ops};

use std::collections::BTreeMap;
use std::sync::OnceLock;

use mesh_core::id::{EntryKey, PeerName, ScopeId, TopicName};
use mesh_core::target::Target;

pub(crate) const SCOPES: [&str; 2] = ["acme/app", "global"];
pub(crate) const NAMES: [&str; 5] = ["ann", "bob", "cat", "dan", "eve"];
pub(crate) const KEYS: [&str; 8] =
    ["a", "plan", "plan/api", "plan/ui", "log", "board/1", "contract/api:x", "contract/api:x/y"];
/// What policies are set for.
pub(crate) const PREFIXES: [&str; 6] = ["", "plan", "plan/", "log", "board/", "contract/"];
pub(crate) const TOPICS: [&str; 3] = ["#notes", "#deploys", "#api"];
/// What can be locked, read, edited and mentioned.
pub(crate) const TARGETS: [&str; 23] = [
    "/", "a", "b", "d", "d/", "d/x", "d/e/", "d/e/y", "d/e/z", "d0", "dd/", "d/*", "*/x", "**/y", "{a,b}",
    "d/[xw]", "d/x#A", "d/x#A::b", "d/x#C", "api:x", "api:x/y", "api:z", "task:1",
];
/// Where the subjects begin in [`TARGETS`].
pub(crate) const SUBJECTS: usize = 19;
/// Everything there is: enough that two targets which have anything in common have one of these.
const ATOMS: [&str; 23] = [
    "a", "b", "d", "y", "d/x", "d/w", "d/y", "d/[xw]", "d/e/x", "d/e/y", "d/e/z", "d0", "dd/q", "dd/x",
    "dd/y", "d/x#A", "d/x#A::b", "d/x#C", "api:x", "api:x/y", "api:x/z", "api:z", "task:1",
];

pub(crate) fn scope(at: usize) -> ScopeId {
    ScopeId::parse(SCOPES[at]).expect("a scope")
}

pub(crate) fn name(at: usize) -> PeerName {
    PeerName::parse(NAMES[at]).expect("a name")
}

pub(crate) fn key(at: usize) -> EntryKey {
    EntryKey::parse(KEYS[at]).expect("a key")
}

pub(crate) fn topic(at: usize) -> TopicName {
    TopicName::parse(TOPICS[at]).expect("a topic")
}

/// A target; each is read once.
pub(crate) fn target(at: usize) -> Target {
    static ALL: OnceLock<Vec<Target>> = OnceLock::new();
    let read = |text| Target::parse("path", text).expect("a target");
    ALL.get_or_init(|| TARGETS.into_iter().map(read).collect())[at].clone()
}

pub(crate) fn is_subject(target: &Target) -> bool {
    target.as_str().contains(':') && !target.as_str().contains('#')
}

pub(crate) fn contract_key(subject: &Target) -> EntryKey {
    EntryKey::parse(&format!("contract/{subject}")).expect("a key")
}

pub(crate) fn is_file(target: &Target) -> bool {
    !is_subject(target) && !target.as_str().ends_with('/') && !target.as_str().contains(['*', '{', '#'])
}

/// Whether some file, symbol or subject belongs to both.
pub(crate) fn overlap(left: &Target, right: &Target) -> bool {
    atoms(left) & atoms(right) != 0
}

/// Whether all that belongs to the inner one belongs to the outer one.
pub(crate) fn covers(outer: &Target, inner: &Target) -> bool {
    atoms(inner) & !atoms(outer) == 0
}

/// Which of [`ATOMS`] belong to a target.
fn atoms(target: &Target) -> u32 {
    static ALL: OnceLock<BTreeMap<&str, u32>> = OnceLock::new();
    let of = |text| (0..ATOMS.len()).filter(|at| holds(text, ATOMS[*at])).fold(0, |all, at| all | 1 << at);
    let all = ALL.get_or_init(|| TARGETS.into_iter().map(|text| (text, of(text))).collect());
    *all.get(target.as_str()).unwrap_or_else(|| panic!("{target} is not of this world"))
}

/// Whether something belongs to a target.
fn holds(target: &str, atom: &str) -> bool {
    let nested =
        |by: &str| atom.strip_prefix(target).is_some_and(|rest| rest.is_empty() || rest.starts_with(by));
    if target.contains('#') {
        return nested("::");
    }
    if target.contains(':') || atom.contains(':') && !atom.contains('#') {
        return target.contains(':') && nested("/");
    }
    let file = atom.split('#').next().expect("a file");
    let names: Vec<&str> = file.split('/').collect();
    if let Some(directory) = target.strip_suffix('/') {
        let above: Vec<&str> = directory.split('/').filter(|name| !name.is_empty()).collect();
        return names.len() > above.len() && names.starts_with(&above);
    }
    if let Some((before, rest)) = target.split_once('{') {
        let (choices, after) = rest.split_once('}').expect("a brace that closes");
        return choices.split(',').any(|choice| holds(&format!("{before}{choice}{after}"), atom));
    }
    fits(&target.split('/').collect::<Vec<_>>(), &names)
}

/// Whether names fit a pattern, one by one.
fn fits(pattern: &[&str], names: &[&str]) -> bool {
    match (pattern, names) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=names.len()).any(|skipped| fits(rest, &names[skipped..])),
        ([segment, rest @ ..], [name, others @ ..]) => {
            let one_of = |set: &str| name.len() == 1 && set.contains(name);
            let bracket = segment.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
            (*segment == "*" || segment == name || bracket.is_some_and(one_of)) && fits(rest, others)
        }
        ([], _) | (_, []) => false,
    }
}

#[test]
fn the_world_is_closed() {
    for left in (0..TARGETS.len()).map(target) {
        for right in (0..TARGETS.len()).map(target) {
            assert_eq!(left.intersects(&right), overlap(&left, &right), "{left} and {right}");
            assert_eq!(left.covers(&right), covers(&left, &right), "{right} in {left}");
        }
    }
}
