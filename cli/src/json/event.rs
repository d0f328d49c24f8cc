//! Events as JSON: the batch's fields and those of the event, side by side.

use mesh_client::proto;
use mesh_client::proto::event::Event as Kind;
use serde::Serialize;

use super::{Lock, Peer, time, word};

/// One event of a batch.
#[derive(Debug, Serialize)]
pub(crate) struct Event<'a> {
    revision: u64,
    index: usize,
    sequence: u64,
    scope: &'a str,
    time: Option<String>,
    r#type: &'static str,
    actor: &'a str,
    request_id: &'a str,
    #[serde(flatten)]
    fields: EventFields<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum EventFields<'a> {
    PeerJoined {
        peer: Option<Peer<'a>>,
        resumed: bool,
    },
    PeerUpdated {
        peer: Option<Peer<'a>>,
    },
    PeerLeft {
        name: &'a str,
        session_id: &'a str,
        cause: String,
    },
    StateChanged(StateChanged<'a>),
    StateDeleted {
        key: &'a str,
        version: u64,
        cause: String,
        paths: &'a [String],
    },
    FileLocked {
        locks: Vec<Lock<'a>>,
    },
    FileUnlocked {
        holder: &'a str,
        paths: &'a [String],
        cause: String,
    },
    MessageSent(MessageSent<'a>),
    /// A kind that a later broker knows.
    Unknown {},
}

#[derive(Debug, Serialize)]
struct StateChanged<'a> {
    key: &'a str,
    version: u64,
    writer: &'a str,
    size: u32,
    preview: &'a str,
    paths: &'a [String],
    tags: &'a [String],
}

#[derive(Debug, Serialize)]
struct MessageSent<'a> {
    message_id: &'a str,
    from: &'a str,
    to: &'a [String],
    broadcast: bool,
    reply_to: &'a str,
    intent: String,
    urgent: bool,
    size: u32,
    preview: &'a str,
}

/// The events of a batch, in order.
pub(crate) fn events(batch: &proto::EventBatch) -> impl Iterator<Item = Event<'_>> {
    batch.events.iter().enumerate().map(|(index, event)| {
        let (r#type, fields) = fields(event.event.as_ref());
        Event {
            revision: batch.revision,
            index,
            sequence: batch.sequence,
            scope: &batch.scope,
            time: time(batch.commit_time.as_ref()),
            r#type,
            actor: &batch.actor,
            request_id: &batch.request_id,
            fields,
        }
    })
}

fn fields(event: Option<&Kind>) -> (&'static str, EventFields<'_>) {
    match event {
        Some(Kind::PeerJoined(event)) => {
            let peer = event.peer.as_ref().map(Peer::from);
            ("peer_joined", EventFields::PeerJoined { peer, resumed: event.resumed })
        }
        Some(Kind::PeerUpdated(event)) => {
            ("peer_updated", EventFields::PeerUpdated { peer: event.peer.as_ref().map(Peer::from) })
        }
        Some(Kind::PeerLeft(event)) => {
            let cause = word(event.cause().as_str_name(), "LEAVE_CAUSE_");
            let (name, session_id) = (event.name.as_str(), event.session_id.as_str());
            ("peer_left", EventFields::PeerLeft { name, session_id, cause })
        }
        Some(Kind::StateChanged(event)) => ("state_changed", EventFields::StateChanged(event.into())),
        Some(Kind::StateDeleted(event)) => {
            let cause = word(event.cause().as_str_name(), "DELETE_CAUSE_");
            let (key, version, paths) = (event.key.as_str(), event.version, event.paths.as_slice());
            ("state_deleted", EventFields::StateDeleted { key, version, cause, paths })
        }
        Some(Kind::FileLocked(event)) => {
            ("file_locked", EventFields::FileLocked { locks: event.locks.iter().map(Lock::from).collect() })
        }
        Some(Kind::FileUnlocked(event)) => {
            let cause = word(event.cause().as_str_name(), "UNLOCK_CAUSE_");
            let (holder, paths) = (event.holder.as_str(), event.paths.as_slice());
            ("file_unlocked", EventFields::FileUnlocked { holder, paths, cause })
        }
        Some(Kind::MessageSent(event)) => ("message_sent", EventFields::MessageSent(event.into())),
        None => ("unknown", EventFields::Unknown {}),
    }
}

impl<'a> From<&'a proto::StateChanged> for StateChanged<'a> {
    fn from(event: &'a proto::StateChanged) -> Self {
        Self {
            key: &event.key,
            version: event.version,
            writer: &event.writer,
            size: event.size,
            preview: &event.preview,
            paths: &event.paths,
            tags: &event.tags,
        }
    }
}

impl<'a> From<&'a proto::MessageSent> for MessageSent<'a> {
    fn from(event: &'a proto::MessageSent) -> Self {
        Self {
            message_id: &event.message_id,
            from: &event.from,
            to: &event.to,
            broadcast: event.broadcast,
            reply_to: &event.reply_to,
            intent: word(event.intent().as_str_name(), "MESSAGE_INTENT_"),
            urgent: event.urgent,
            size: event.size,
            preview: &event.preview,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_object_on_one_line() {
        let sent = proto::MessageSent {
            message_id: "01".to_owned(),
            from: "amber-fox".to_owned(),
            to: vec!["alice".to_owned()],
            preview: "two\nlines \u{1b}[31m".to_owned(),
            ..proto::MessageSent::default()
        };
        let locked = proto::FileLocked {
            locks: vec![proto::Lock {
                path: "src/".to_owned(),
                fencing_token: u64::MAX,
                ttl: Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }),
                ..proto::Lock::default()
            }],
        };
        let kinds = [Some(Kind::MessageSent(sent)), Some(Kind::FileLocked(locked)), None];
        let batch = proto::EventBatch {
            revision: 7,
            sequence: 3,
            scope: "app".to_owned(),
            actor: "amber-fox".to_owned(),
            commit_time: Some(prost_types::Timestamp { seconds: 1_795_262_624, nanos: 0 }),
            events: kinds.into_iter().map(|event| proto::Event { event }).collect(),
            ..proto::EventBatch::default()
        };
        let lines: Vec<String> = events(&batch).map(|event| serde_json::to_string(&event).unwrap()).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        {"revision":7,"index":0,"sequence":3,"scope":"app","time":"2026-11-21T12:03:44Z","type":"message_sent","actor":"amber-fox","request_id":"","message_id":"01","from":"amber-fox","to":["alice"],"broadcast":false,"reply_to":"","intent":"unspecified","urgent":false,"size":0,"preview":"two\nlines \u001b[31m"}
        {"revision":7,"index":1,"sequence":3,"scope":"app","time":"2026-11-21T12:03:44Z","type":"file_locked","actor":"amber-fox","request_id":"","locks":[{"scope":"","path":"src/","holder":"","session_id":"","mode":"unspecified","fencing_token":18446744073709551615,"state":"unspecified","reason":"","ttl_seconds":1.5,"remaining_seconds":null,"acquire_time":null}]}
        {"revision":7,"index":2,"sequence":3,"scope":"app","time":"2026-11-21T12:03:44Z","type":"unknown","actor":"amber-fox","request_id":""}
        "#);
    }
}
