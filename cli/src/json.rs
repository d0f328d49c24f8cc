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
//! | `watch`, `events` | [`event::Event`]: `revision`, `index`, `sequence`, `scope`, `time`, `type`, `actor`, `request_id`, then the fields of the event of that type. (`revision`, `index`) names an event; go on with `--since REVISION` |
//! | `who` | `{"revision", "peers": [Peer]}` |
//! | `status` | [`Status`] |
//! | `stop` | `{"stopped": bool, "pid"}`: `false` and `null` when none ran |
//! | `send` | `{"revision", "message_id", "deliveries": [{"peer", "status", "offline_since"}], "online_recipients"}` |
//! | `inbox` | `{"revision", "messages": [Message], "next_after_revision", "unread", "acknowledged_revision"}` |
//! | `remember` | `{"revision", "entry": Entry}`, without the value |
//! | `recall KEY` | `{"revision", "entry": Entry}` |
//! | `recall` | `{"revision", "entries": [Entry], "more": bool}` |
//! | `forget` | `{"revision", "key"}` |
//! | `lock` | `{"holder", "locks": [Lock]}` |
//! | `unlock` | `{"holder", "paths": [path]}` |
//! | `locks` | `{"revision", "locks": [Lock]}` |
//!
//! A failure is `{"error": {"code", "reason", "message", "hint"}}` on stderr: the exit code, the broker's
//! reason or one of `USAGE`, `FAILURE`, `UNREACHABLE`, `START_FAILED`, `LOCKED`, `NOT_RUNNING`, `NO_SESSION`,
//! `TIMEOUT`, and texts for people. `LOCKED` and `TIMEOUT` of `lock` also carry `conflicts`: `[{"path", "lock":
//! Lock, "holder_focus"}]`.

mod event;

use mesh_client::proto;
use serde::Serialize;

pub(crate) use self::event::events;

use crate::time::rfc3339;

/// An enum's value, as the contract names it, in lower case and without the prefix.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

fn time(time: Option<&prost_types::Timestamp>) -> Option<String> {
    time.and_then(rfc3339)
}

fn seconds(duration: Option<&prost_types::Duration>) -> Option<f64> {
    duration.map(|duration| duration.seconds as f64 + f64::from(duration.nanos) / 1e9)
}

/// A peer.
#[derive(Debug, Serialize)]
pub(crate) struct Peer<'a> {
    scope: &'a str,
    name: &'a str,
    info: PeerInfo<'a>,
    status: String,
    session_id: &'a str,
    join_time: Option<String>,
    last_seen_time: Option<String>,
    lease_ttl_seconds: Option<f64>,
}

#[derive(Debug, Default, Serialize)]
struct PeerInfo<'a> {
    agent_kind: &'a str,
    agent_version: &'a str,
    host: &'a str,
    pid: u32,
    worktree: &'a str,
    branch: &'a str,
    head: &'a str,
    focus: &'a str,
    files: &'a [String],
}

impl<'a> From<&'a proto::Peer> for Peer<'a> {
    fn from(peer: &'a proto::Peer) -> Self {
        Self {
            scope: &peer.scope,
            name: &peer.name,
            info: peer.info.as_ref().map(PeerInfo::from).unwrap_or_default(),
            status: word(peer.status().as_str_name(), "PEER_STATUS_"),
            session_id: &peer.session_id,
            join_time: time(peer.join_time.as_ref()),
            last_seen_time: time(peer.last_seen_time.as_ref()),
            lease_ttl_seconds: seconds(peer.lease_ttl.as_ref()),
        }
    }
}

impl<'a> From<&'a proto::PeerInfo> for PeerInfo<'a> {
    fn from(info: &'a proto::PeerInfo) -> Self {
        Self {
            agent_kind: &info.agent_kind,
            agent_version: &info.agent_version,
            host: &info.host,
            pid: info.pid,
            worktree: &info.worktree,
            branch: &info.branch,
            head: &info.head,
            focus: &info.focus,
            files: &info.files,
        }
    }
}

/// An entry; `value` is left out where the broker does not send it.
#[derive(Debug, Serialize)]
pub(crate) struct Entry<'a> {
    scope: &'a str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    version: u64,
    revision: u64,
    create_revision: u64,
    writer: &'a str,
    write_time: Option<String>,
    paths: &'a [String],
    tags: &'a [String],
    ttl_seconds: Option<f64>,
}

impl<'a> From<&'a proto::Entry> for Entry<'a> {
    fn from(entry: &'a proto::Entry) -> Self {
        Self {
            scope: &entry.scope,
            key: &entry.key,
            value: Some(&entry.value),
            version: entry.version,
            revision: entry.revision,
            create_revision: entry.create_revision,
            writer: &entry.writer,
            write_time: time(entry.write_time.as_ref()),
            paths: &entry.paths,
            tags: &entry.tags,
            ttl_seconds: seconds(entry.ttl.as_ref()),
        }
    }
}

impl Entry<'_> {
    /// As answered to a write.
    pub(crate) fn without_value(self) -> Self {
        Self { value: None, ..self }
    }
}

/// A lock.
#[derive(Debug, Serialize)]
pub(crate) struct Lock<'a> {
    scope: &'a str,
    path: &'a str,
    holder: &'a str,
    session_id: &'a str,
    mode: String,
    fencing_token: u64,
    state: String,
    reason: &'a str,
    ttl_seconds: Option<f64>,
    remaining_seconds: Option<f64>,
    acquire_time: Option<String>,
}

impl<'a> From<&'a proto::Lock> for Lock<'a> {
    fn from(lock: &'a proto::Lock) -> Self {
        Self {
            scope: &lock.scope,
            path: &lock.path,
            holder: &lock.holder,
            session_id: &lock.session_id,
            mode: word(lock.mode().as_str_name(), "LOCK_MODE_"),
            fencing_token: lock.fencing_token,
            state: word(lock.state().as_str_name(), "LOCK_STATE_"),
            reason: &lock.reason,
            ttl_seconds: seconds(lock.ttl.as_ref()),
            remaining_seconds: seconds(lock.remaining.as_ref()),
            acquire_time: time(lock.acquire_time.as_ref()),
        }
    }
}

/// A lock in the way.
#[derive(Debug, Serialize)]
pub(crate) struct Conflict<'a> {
    path: &'a str,
    lock: Option<Lock<'a>>,
    holder_focus: &'a str,
}

impl<'a> From<&'a proto::LockConflict> for Conflict<'a> {
    fn from(conflict: &'a proto::LockConflict) -> Self {
        Self {
            path: &conflict.path,
            lock: conflict.lock.as_ref().map(Lock::from),
            holder_focus: &conflict.holder_focus,
        }
    }
}

/// A message.
#[derive(Debug, Serialize)]
pub(crate) struct Message<'a> {
    message_id: &'a str,
    revision: u64,
    scope: &'a str,
    from: &'a str,
    to: &'a [String],
    broadcast: bool,
    body: &'a str,
    reply_to: &'a str,
    intent: String,
    urgent: bool,
    send_time: Option<String>,
}

impl<'a> From<&'a proto::Message> for Message<'a> {
    fn from(message: &'a proto::Message) -> Self {
        Self {
            message_id: &message.message_id,
            revision: message.revision,
            scope: &message.scope,
            from: &message.from,
            to: &message.to,
            broadcast: message.broadcast,
            body: &message.body,
            reply_to: &message.reply_to,
            intent: word(message.intent().as_str_name(), "MESSAGE_INTENT_"),
            urgent: message.urgent,
            send_time: time(message.send_time.as_ref()),
        }
    }
}

/// What is known about one recipient of a message.
#[derive(Debug, Serialize)]
pub(crate) struct Delivery<'a> {
    peer: &'a str,
    status: String,
    offline_since: Option<String>,
}

impl<'a> From<&'a proto::Delivery> for Delivery<'a> {
    fn from(delivery: &'a proto::Delivery) -> Self {
        Self {
            peer: &delivery.peer,
            status: word(delivery.status().as_str_name(), "DELIVERY_STATUS_"),
            offline_since: time(delivery.offline_since.as_ref()),
        }
    }
}

/// How the broker is.
#[derive(Debug, Serialize)]
pub(crate) struct Status<'a> {
    revision: u64,
    incarnation: &'a str,
    version: &'a str,
    pid: u32,
    start_time: Option<String>,
    store_path: &'a str,
    store_bytes: u64,
    endpoints: &'a [String],
    oldest_revision: u64,
    scopes: u32,
    peers_online: u32,
    peers_known: u32,
    locks: u32,
    entries: u64,
    messages: u64,
    watches: u32,
    auto_started: bool,
    idle_exit_seconds: Option<f64>,
}

impl<'a> From<&'a proto::GetStatusResponse> for Status<'a> {
    fn from(status: &'a proto::GetStatusResponse) -> Self {
        let header = status.header.as_ref();
        Self {
            revision: header.map_or(0, |header| header.revision),
            incarnation: header.map_or("", |header| &header.incarnation),
            version: &status.version,
            pid: status.pid,
            start_time: time(status.start_time.as_ref()),
            store_path: &status.store_path,
            store_bytes: status.store_bytes,
            endpoints: &status.endpoints,
            oldest_revision: status.oldest_revision,
            scopes: status.scopes,
            peers_online: status.peers_online,
            peers_known: status.peers_known,
            locks: status.locks,
            entries: status.entries,
            messages: status.messages,
            watches: status.watches,
            auto_started: status.auto_started,
            idle_exit_seconds: seconds(status.idle_exit.as_ref()),
        }
    }
}
