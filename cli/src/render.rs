//! What people read: event lines and tables.
//!
//! What must hold: everything that peers said goes through `printable_line` here, so that no text of theirs can
//! steer the terminal or pretend to be another line.

pub(crate) mod conflict;
pub(crate) mod event;
pub(crate) mod letter;
pub(crate) mod table;

use std::time::Duration;

use mesh_client::display::printable_line;
use mesh_client::proto::{
    ChildAgent, Entry, Lock, LockMode, LockState, LockWaiter, PeerActivity, PeerInfo, PolicyKind, Role,
};

use crate::duration;
use crate::time::Clock;

/// How many paths a line names before it counts the rest.
const PATHS_SHOWN: usize = 3;
/// How much of a value a line shows.
const PREVIEW_CHARS: usize = 60;

/// What somebody said, as one line in quotes, which it cannot end by itself; nothing if they said nothing.
pub(crate) fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("\"{}\"", printable_line(text).replace('"', "\\\"")) }
}

/// The first paths, and how many more there are.
pub(crate) fn some_paths<'a>(paths: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = paths.len().saturating_sub(PATHS_SHOWN);
    let shown: Vec<_> = paths.take(PATHS_SHOWN).map(printable_line).collect();
    let rest = if more > 0 { format!(" +{more}") } else { String::new() };
    format!("{}{rest}", shown.join(" "))
}

/// Kind and version of the program behind a peer.
pub(crate) fn agent(info: &PeerInfo) -> String {
    [&info.agent_kind, &info.agent_version]
        .into_iter()
        .filter(|text| !text.is_empty())
        .map(|text| printable_line(text))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether an agent is at work; nothing where that is not known.
pub(crate) fn activity(activity: PeerActivity) -> &'static str {
    match activity {
        PeerActivity::Unspecified => "",
        PeerActivity::Working => "working",
        PeerActivity::Idle => "idle",
    }
}

/// What a token allows.
pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::Observer => "observer",
        Role::Unspecified | Role::Member => "member",
        Role::Maintainer => "maintainer",
        Role::Admin => "admin",
    }
}

/// A sub-agent by its kind, which says more than the id that its host gave it.
pub(crate) fn child(child: &ChildAgent) -> String {
    printable_line(if child.kind.is_empty() { &child.id } else { &child.kind }).into_owned()
}

/// `exclusive` or `shared`, and whether the holder is gone.
pub(crate) fn lock_mode(lock: &Lock) -> &'static str {
    match (lock.mode(), lock.state()) {
        (LockMode::Shared, LockState::Lingering) => "shared, holder gone",
        (_, LockState::Lingering) => "exclusive, holder gone",
        (LockMode::Shared, _) => "shared",
        (_, _) => "exclusive",
    }
}

/// How long a lock has left, in whole seconds, of which the last has begun.
pub(crate) fn lock_left(lock: &Lock) -> Duration {
    whole_seconds(lock.remaining.as_ref())
}

/// How long a request waits on, in whole seconds, of which the last has begun.
pub(crate) fn waiter_left(waiter: &LockWaiter) -> Duration {
    whole_seconds(waiter.remaining.as_ref())
}

fn whole_seconds(left: Option<&prost_types::Duration>) -> Duration {
    let left = duration::from_proto(left);
    Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0))
}

/// How long ago something was.
pub(crate) fn ago(clock: &Clock, time: Option<&prost_types::Timestamp>) -> String {
    clock.since(time).map(duration::show).unwrap_or_default()
}

/// The first line of a value, cut.
pub(crate) fn preview(value: &str) -> String {
    let first_line = value.lines().next().unwrap_or_default();
    let mut preview: String = first_line.chars().take(PREVIEW_CHARS).collect();
    if preview.len() < value.trim_end().len() {
        preview.push('…');
    }
    printable_line(&preview).into_owned()
}

/// The line above an entry's value.
pub(crate) fn entry_line(clock: &Clock, entry: &Entry) -> String {
    let tags: String = entry.tags.iter().map(|tag| format!("  #{}", printable_line(tag))).collect();
    let line = format!(
        "{}  v{} by {} {} ago  {}{tags}",
        printable_line(&entry.key),
        entry.version,
        printable_line(&entry.writer),
        ago(clock, entry.write_time.as_ref()),
        some_paths(entry.paths.iter().map(String::as_str))
    );
    line.trim_end().to_owned()
}

/// A policy by the name that `meshctl policy` takes.
pub(crate) fn policy(kind: PolicyKind) -> &'static str {
    match kind {
        PolicyKind::Unspecified => "none",
        PolicyKind::RequireVersion => "require-version",
        PolicyKind::LastWriteWins => "last-write-wins",
        PolicyKind::MergePatch => "merge-patch",
        PolicyKind::Append => "append",
    }
}

/// Bytes as people read them.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}
