//! Events as JSON: the batch's fields and those of the event, side by side.

use mesh_client::proto;
use mesh_client::proto::event::Event as Kind;
use serde::Serialize;

use super::{AccessToken, ChildAgent, Lock, Peer, Policy, ReleaseRequest, Waiter, time, word};

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
    credential: &'a str,
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
        changed: &'a [String],
        started_children: &'a [String],
        ended_children: Vec<ChildAgent<'a>>,
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
        ticket: u64,
    },
    FileUnlocked {
        holder: &'a str,
        paths: &'a [String],
        cause: String,
        reason: &'a str,
    },
    LockQueued {
        waiter: Option<Waiter<'a>>,
        waits_for: &'a [String],
    },
    LockWaitEnded {
        ticket: u64,
        peer: &'a str,
        paths: &'a [String],
        cause: String,
    },
    LockReleaseRequested {
        request: Option<ReleaseRequest<'a>>,
    },
    LockReleaseAnswered {
        request: Option<ReleaseRequest<'a>>,
        answer: String,
        keep: &'a [String],
        note: &'a str,
    },
    FileTouched {
        peer: &'a str,
        branch: &'a str,
        touches: Vec<Touch<'a>>,
    },
    ContractChanged(ContractChanged<'a>),
    PolicyChanged {
        policy: Option<Policy<'a>>,
    },
    TokenCreated {
        token: Option<AccessToken<'a>>,
    },
    TokenRevoked {
        id: &'a str,
        note: &'a str,
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
    topic: &'a str,
    thread_id: &'a str,
    paths: &'a [String],
}

#[derive(Debug, Serialize)]
struct ContractChanged<'a> {
    subject: &'a str,
    key: &'a str,
    version: u64,
    deleted: bool,
    changed_by: &'a str,
    dependents: &'a [String],
    preview: &'a str,
}

#[derive(Debug, Serialize)]
struct Touch<'a> {
    path: &'a str,
    kind: String,
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
            credential: &batch.credential,
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
            let peer = event.peer.as_ref().map(Peer::from);
            let ended_children = event.ended_children.iter().map(ChildAgent::from).collect();
            let (changed, started_children) = (&event.changed[..], &event.started_children[..]);
            ("peer_updated", EventFields::PeerUpdated { peer, changed, started_children, ended_children })
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
        Some(Kind::PolicyChanged(event)) => {
            ("policy_changed", EventFields::PolicyChanged { policy: event.policy.as_ref().map(Policy::from) })
        }
        Some(Kind::TokenCreated(event)) => {
            let token = event.token.as_ref().map(AccessToken::from);
            ("token_created", EventFields::TokenCreated { token })
        }
        Some(Kind::TokenRevoked(event)) => {
            ("token_revoked", EventFields::TokenRevoked { id: &event.id, note: &event.note })
        }
        Some(Kind::ContractChanged(event)) => {
            ("contract_changed", EventFields::ContractChanged(event.into()))
        }
        Some(Kind::MessageSent(event)) => ("message_sent", EventFields::MessageSent(event.into())),
        Some(Kind::FileTouched(event)) => {
            let touches = event.touches.iter().map(Touch::from).collect();
            let (peer, branch) = (event.peer.as_str(), event.branch.as_str());
            ("file_touched", EventFields::FileTouched { peer, branch, touches })
        }
        Some(Kind::FileLocked(event)) => ("file_locked", event.into()),
        Some(Kind::FileUnlocked(event)) => ("file_unlocked", event.into()),
        Some(Kind::LockQueued(event)) => ("lock_queued", event.into()),
        Some(Kind::LockWaitEnded(event)) => ("lock_wait_ended", event.into()),
        Some(Kind::LockReleaseRequested(event)) => ("lock_release_requested", event.into()),
        Some(Kind::LockReleaseAnswered(event)) => ("lock_release_answered", event.into()),
        None => ("unknown", EventFields::Unknown {}),
    }
}

impl<'a> From<&'a proto::FileLocked> for EventFields<'a> {
    fn from(event: &'a proto::FileLocked) -> Self {
        Self::FileLocked { locks: event.locks.iter().map(Lock::from).collect(), ticket: event.ticket }
    }
}

impl<'a> From<&'a proto::FileUnlocked> for EventFields<'a> {
    fn from(event: &'a proto::FileUnlocked) -> Self {
        let cause = word(event.cause().as_str_name(), "UNLOCK_CAUSE_");
        Self::FileUnlocked { holder: &event.holder, paths: &event.paths, cause, reason: &event.reason }
    }
}

impl<'a> From<&'a proto::LockQueued> for EventFields<'a> {
    fn from(event: &'a proto::LockQueued) -> Self {
        Self::LockQueued { waiter: event.waiter.as_ref().map(Waiter::from), waits_for: &event.waits_for }
    }
}

impl<'a> From<&'a proto::LockWaitEnded> for EventFields<'a> {
    fn from(event: &'a proto::LockWaitEnded) -> Self {
        let cause = word(event.cause().as_str_name(), "WAIT_END_CAUSE_");
        Self::LockWaitEnded { ticket: event.ticket, peer: &event.peer, paths: &event.paths, cause }
    }
}

impl<'a> From<&'a proto::LockReleaseRequested> for EventFields<'a> {
    fn from(event: &'a proto::LockReleaseRequested) -> Self {
        Self::LockReleaseRequested { request: event.request.as_ref().map(ReleaseRequest::from) }
    }
}

impl<'a> From<&'a proto::LockReleaseAnswered> for EventFields<'a> {
    fn from(event: &'a proto::LockReleaseAnswered) -> Self {
        let request = event.request.as_ref().map(ReleaseRequest::from);
        let answer = word(event.answer().as_str_name(), "RELEASE_ANSWER_");
        Self::LockReleaseAnswered { request, answer, keep: &event.keep, note: &event.note }
    }
}

impl<'a> From<&'a proto::ContractChanged> for ContractChanged<'a> {
    fn from(event: &'a proto::ContractChanged) -> Self {
        Self {
            subject: &event.subject,
            key: &event.key,
            version: event.version,
            deleted: event.deleted,
            changed_by: &event.changed_by,
            dependents: &event.dependents,
            preview: &event.preview,
        }
    }
}

impl<'a> From<&'a proto::Touch> for Touch<'a> {
    fn from(touch: &'a proto::Touch) -> Self {
        Self { path: &touch.path, kind: word(touch.kind().as_str_name(), "TOUCH_KIND_") }
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
            topic: &event.topic,
            thread_id: &event.thread_id,
            paths: &event.paths,
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
            ticket: 0,
        };
        let request = proto::ReleaseRequest { id: 7, holder: "bob".to_owned(), ..Default::default() };
        let answered = proto::LockReleaseAnswered {
            request: Some(request),
            answer: proto::ReleaseAnswer::Narrow.into(),
            keep: vec!["src/a.rs".to_owned()],
            note: "only this".to_owned(),
        };
        let touch = proto::Touch { path: "src/a.rs".to_owned(), kind: proto::TouchKind::Edit.into() };
        let touched = proto::FileTouched { touches: vec![touch], ..proto::FileTouched::default() };
        let policy = proto::Policy { prefix: "log/".to_owned(), kind: proto::PolicyKind::Append.into() };
        let kinds = [
            Some(Kind::MessageSent(sent)),
            Some(Kind::FileLocked(locked)),
            Some(Kind::LockReleaseAnswered(answered)),
            Some(Kind::FileTouched(touched)),
            Some(Kind::PolicyChanged(proto::PolicyChanged { policy: Some(policy) })),
            None,
        ];
        let batch = proto::EventBatch {
            revision: 7,
            sequence: 3,
            scope: "app".to_owned(),
            actor: "amber-fox".to_owned(),
            credential: "t-0a1b2c3d4e5f".to_owned(),
            commit_time: Some(prost_types::Timestamp { seconds: 1_795_262_624, nanos: 0 }),
            events: kinds.into_iter().map(|event| proto::Event { event }).collect(),
            ..proto::EventBatch::default()
        };
        let lines: Vec<String> = events(&batch).map(|event| serde_json::to_string(&event).unwrap()).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        {"revision":7,"index":0,"sequence":3,"scope":"app","time":"2026-11-21T12:03:44Z","type":"message_sent","actor":"amber-fox","credential":"t-0a1b2c3d4e5f","request_id":"","message_id":"01","from":"amber-fox","to":["alice"],"broadcast":false,"reply_to":"","intent":"unspecified","urgent":false,"size":0,"preview":"two\nlines \u001b[31m","topic":"","thread_id":"","paths":[]}
        {"revision":7,"index":1,"sequence":3,"scope":"app","time":"2026-11-21T12:03:44Z","type":"file_locked","actor":"amber-fox","credential":"t-0a1b2c3d4e5f","request_id":"","locks":[{"scope":"","path":"src/","holder":"","session_id":"","mode":"unspecified","fencing_token":18446744073709551615,"state":"unspecified","reason":"","ttl_seconds":1.5,"remaining_seconds":null,"acquire_time":null,"ticket":0}],"ticket":0}
        {"revision":7,"index":2,"sequence":3,"scope":"app","time":"2026-11-21T12:03:44Z","type":"lock_release_answered","actor":"amber-fox","credential":"t-0a1b2c3d4e5f","request_id":"","request":{"scope":"","id":7,"from":"","holder":"bob","paths":[],"lock_paths":[],"reason":"","urgent":false,"ask_time":null},"answer":"narrow","keep":["src/a.rs"],"note":"only this"}
        {"revision":7,"index":3,"sequence":3,"scope":"app","time":"2026-11-21T12:03:44Z","type":"file_touched","actor":"amber-fox","credential":"t-0a1b2c3d4e5f","request_id":"","peer":"","branch":"","touches":[{"path":"src/a.rs","kind":"edit"}]}
        {"revision":7,"index":4,"sequence":3,"scope":"app","time":"2026-11-21T12:03:44Z","type":"policy_changed","actor":"amber-fox","credential":"t-0a1b2c3d4e5f","request_id":"","policy":{"prefix":"log/","kind":"append"}}
        {"revision":7,"index":5,"sequence":3,"scope":"app","time":"2026-11-21T12:03:44Z","type":"unknown","actor":"amber-fox","credential":"t-0a1b2c3d4e5f","request_id":""}
        "#);
    }
}
