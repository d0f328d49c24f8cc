//! The JSON that `--json` prints: the one place that defines its shapes.
//!
//! Each command prints one object on one line; `watch` and `events` print one line per event. Names are those
//! of the `mesh.v1` protobuf messages in snake_case. In general:
//!
//! * every field is always there; a text not given is `""`, a time or duration not given is `null`;
//! * 64-bit numbers (revisions, versions, fencing tokens) are JSON numbers;
//! * times are RFC 3339 in UTC; durations are seconds, and their names end in `_seconds`;
//! * an enum is its protobuf name in lower case without the prefix: `online`, `exclusive`, `request`.
//!
//! | command | object |
//! |---|---|
//! | `watch`, `events` | [`event::Event`]: `revision`, `index`, `sequence`, `scope`, `time`, `type`, `actor`, `credential`, `request_id`, then the fields of the event of that type. (`revision`, `index`) names an event; go on with `--since REVISION` |
//! | `who` | `{"revision", "peers": [Peer]}` |
//! | `status` | [`Status`] |
//! | `stop` | `{"stopped": bool, "pid"}`: `false` and `null` when none ran |
//! | `restart` | `{"pid", "version", "revision", "former_pid", "former_version"}`: the last two `null` when none ran |
//! | `send`, `note` | `{"revision", "message_id", "deliveries": [Delivery], "online_recipients", "duplicate": bool, "reply": Message or null}` |
//! | `inbox` | `{"revision", "messages": [Message], "next_after_revision", "unread", "acknowledged_revision"}` |
//! | `inbox --topic`, `inbox --thread`, `notes` | `{"revision", "messages": [Message], "next_after_revision"}` |
//! | `receipts` | `{"revision", "deliveries": [Delivery], "read", "recipients"}` |
//! | `token create` | `{"revision", "token": AccessToken, "secret"}` |
//! | `token list` | `{"revision", "tokens": [AccessToken]}` |
//! | `token revoke` | `{"revision", "id"}` |
//! | `topics` | `{"revision", "topics": [Topic]}` |
//! | `follow`, `unfollow` | `{"revision", "topics": [name]}` |
//! | `remember`, `revert` | `{"revision", "entry": Entry}`, without the value |
//! | `recall KEY` | `{"revision", "entry": Entry}` |
//! | `recall KEY --history` | `{"revision", "versions": [Entry], "deleted": bool}` |
//! | `recall` | `{"revision", "entries": [Entry], "more": bool}` |
//! | `forget` | `{"revision", "key"}` |
//! | `policy` | `{"revision", "policies": [Policy]}`; of a policy that is set, this one |
//! | `lock` | `{"holder", "locks": [Lock]}` |
//! | `unlock` | `{"holder", "paths": [path], "kept": [Lock]}` |
//! | `unlock --force` | `{"locks": [Lock]}`, as they were |
//! | `locks` | `{"revision", "locks": [Lock], "waiters": [Waiter], "release_requests": [ReleaseRequest]}` |
//! | `answer` | `{"id", "answer", "paths": [path], "kept": [Lock]}` |
//! | `fence` | `{"revision", "valid": true, "lock": Lock}` |
//! | `about` | [`About`] |
//! | `touch` | `{"revision", "paths": [path], "kind"}` |
//! | `wait` | `{"revision", "entry": Entry or null, "peer": Peer or null, "reply": Message or null, "events": [Event]}`: what met the condition |
//!
//! A failure is `{"error": {"code", "reason", "message", "hint"}}` on stderr: the exit code, the broker's
//! reason or one of `USAGE`, `FAILURE`, `UNREACHABLE`, `START_FAILED`, `LOCKED`, `NOT_RUNNING`, `NO_SESSION`,
//! `TIMEOUT`, and texts for people. Some carry more:
//!
//! * `LOCKED`, and `TIMEOUT` of `lock`: `conflicts`, `[{"path", "lock": Lock or null, "holder_focus", "waiter": Waiter
//!   or null}]`, and with `--ask` also `release_requests`, `[ReleaseRequest]`;
//! * `OVERWRITE_NEEDS_VERSION` and `VERSION_MISMATCH`: `conflict`, `{"base": Entry or null, "theirs": Entry or null,
//!   "yours": text or null, "values_omitted": bool, "fields": [JSON pointer]}`;
//! * `DEADLOCK`: `cycle`, `[name]`;
//! * `FENCED` of `fence`: `lock`, the lock in its place or `null`;
//! * `TIMEOUT` of `send`: `message_id`.

mod entry;
mod event;
mod lock;
mod message;
mod path;
mod peer;
mod status;
mod token;

pub(crate) use self::entry::{Entry, Policy, WriteConflict};
pub(crate) use self::event::{Event, events};
pub(crate) use self::lock::{Conflict, Lock, ReleaseRequest, Waiter};
pub(crate) use self::message::{Delivery, Message, Topic};
pub(crate) use self::path::About;
pub(crate) use self::peer::{ChildAgent, Peer};
pub(crate) use self::status::Status;
pub(crate) use self::token::AccessToken;

use crate::time::rfc3339;

/// An enum's value, as the contract names it, in lower case and without the prefix.
pub(crate) fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

fn time(time: Option<&prost_types::Timestamp>) -> Option<String> {
    time.and_then(rfc3339)
}

fn seconds(duration: Option<&prost_types::Duration>) -> Option<f64> {
    duration.map(|duration| duration.seconds as f64 + f64::from(duration.nanos) / 1e9)
}
