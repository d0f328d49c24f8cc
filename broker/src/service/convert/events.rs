//! Events on the wire: the same for every reader that filters nothing out.

use mesh_core::event::{DeleteCause, Event, LeaveCause, UnlockCause, WaitEndCause};
use mesh_core::id::PeerName;
use mesh_core::record::LogRecord;
use mesh_core::time::WallTime;
use mesh_proto::v1 as pb;
use pb::event::Event as Wire;

use super::messages::{Addressees, intent_to_wire};
use super::{entries, locks, paths, peers, timestamp, tokens, touches};

/// A transaction with those of its events that `visible` lets through; none when it lets none through.
pub(crate) fn batch(log: &LogRecord, visible: impl Fn(&Event) -> bool) -> Option<pb::EventBatch> {
    let shown = log.events.iter().filter(|event| visible(event));
    let events: Vec<pb::Event> = shown.map(|shown| event(shown, log.committed)).collect();
    if events.is_empty() {
        return None;
    }
    Some(pb::EventBatch {
        revision: log.revision.0,
        scope: log.scope.to_string(),
        sequence: log.sequence.0,
        prev_revision: log.prev_revision.0,
        actor: log.actor.as_ref().map(ToString::to_string).unwrap_or_default(),
        request_id: log.request_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        commit_time: Some(timestamp(log.committed)),
        events,
        credential: log.credential.as_ref().map(ToString::to_string).unwrap_or_default(),
    })
}

/// What happened to locks and to who waits for them.
fn lock_event(event: &Event) -> Option<Wire> {
    Some(match event {
        Event::FileLocked { locks: granted, ticket } => Wire::FileLocked(pb::FileLocked {
            locks: granted.iter().map(|lock| locks::granted(lock)).collect(),
            ticket: ticket.map_or(0, |ticket| ticket.0.0),
        }),
        Event::FileUnlocked { holder, targets, cause, reason } => Wire::FileUnlocked(pb::FileUnlocked {
            holder: holder.to_string(),
            paths: paths(targets),
            cause: unlock_cause(*cause).into(),
            reason: reason.clone(),
        }),
        Event::LockQueued { waiter, waits_for } => Wire::LockQueued(pb::LockQueued {
            waiter: Some(locks::waiter(waiter, waiter.wait)),
            waits_for: names(waits_for),
        }),
        Event::LockWaitEnded { ticket, peer, targets, cause } => Wire::LockWaitEnded(pb::LockWaitEnded {
            ticket: ticket.0.0,
            peer: peer.to_string(),
            paths: paths(targets),
            cause: wait_end_cause(*cause).into(),
        }),
        Event::LockReleaseRequested { request } => Wire::LockReleaseRequested(pb::LockReleaseRequested {
            request: Some(locks::release_request(request)),
        }),
        Event::LockReleaseAnswered { request, answer, keep, note } => {
            Wire::LockReleaseAnswered(pb::LockReleaseAnswered {
                request: Some(locks::release_request(request)),
                answer: locks::release_answer(*answer).into(),
                keep: paths(keep),
                note: note.clone(),
            })
        }
        Event::PeerJoined { .. }
        | Event::PeerUpdated { .. }
        | Event::PeerLeft { .. }
        | Event::StateChanged { .. }
        | Event::StateDeleted { .. }
        | Event::MessageSent { .. }
        | Event::FileTouched { .. }
        | Event::ContractChanged { .. }
        | Event::PolicyChanged { .. }
        | Event::TokenCreated { .. }
        | Event::TokenRevoked { .. } => return None,
    })
}

fn names(peers: &[PeerName]) -> Vec<String> {
    peers.iter().map(PeerName::to_string).collect()
}

fn event(event: &Event, committed: WallTime) -> pb::Event {
    let wire = match event {
        Event::PeerJoined { peer, resumed } => {
            Wire::PeerJoined(pb::PeerJoined { peer: Some(peers::peer(peer, committed)), resumed: *resumed })
        }
        Event::PeerUpdated { peer, changed } => Wire::PeerUpdated(pb::PeerUpdated {
            peer: Some(peers::peer(peer, committed)),
            changed: changed.fields.iter().map(|field| peers::field(*field).to_owned()).collect(),
            started_children: changed.started.clone(),
            ended_children: changed.ended.iter().map(peers::child_to_wire).collect(),
        }),
        Event::PeerLeft { name, session, cause } => Wire::PeerLeft(pb::PeerLeft {
            name: name.to_string(),
            session_id: session.to_string(),
            cause: leave_cause(*cause).into(),
        }),
        Event::StateChanged { key, version, writer, size, preview, paths: about, tags } => {
            Wire::StateChanged(pb::StateChanged {
                key: key.to_string(),
                version: version.0,
                writer: writer.to_string(),
                size: *size,
                preview: preview.clone(),
                paths: paths(about),
                tags: tags.clone(),
            })
        }
        Event::StateDeleted { key, version, cause, paths: about } => Wire::StateDeleted(pb::StateDeleted {
            key: key.to_string(),
            version: version.0,
            cause: delete_cause(*cause).into(),
            paths: paths(about),
        }),
        Event::FileTouched { peer, branch, touches: touched } => Wire::FileTouched(pb::FileTouched {
            peer: peer.to_string(),
            branch: branch.clone(),
            touches: touched.iter().map(touches::touch).collect(),
        }),
        Event::ContractChanged { subject, key, version, deleted, by, dependents, preview } => {
            Wire::ContractChanged(pb::ContractChanged {
                subject: subject.to_string(),
                key: key.to_string(),
                version: version.0,
                deleted: *deleted,
                changed_by: by.as_ref().map(PeerName::to_string).unwrap_or_default(),
                dependents: names(dependents),
                preview: preview.clone(),
            })
        }
        Event::PolicyChanged { prefix, kind } => {
            Wire::PolicyChanged(pb::PolicyChanged { policy: Some(entries::policy(prefix, *kind)) })
        }
        Event::TokenCreated { token } => {
            Wire::TokenCreated(pb::TokenCreated { token: Some(tokens::token(token)) })
        }
        Event::TokenRevoked { id, note } => {
            Wire::TokenRevoked(pb::TokenRevoked { id: id.to_string(), note: note.clone() })
        }
        Event::MessageSent { .. } => message(event),
        Event::FileLocked { .. }
        | Event::FileUnlocked { .. }
        | Event::LockQueued { .. }
        | Event::LockWaitEnded { .. }
        | Event::LockReleaseRequested { .. }
        | Event::LockReleaseAnswered { .. } => return pb::Event { event: lock_event(event) },
    };
    pb::Event { event: Some(wire) }
}

/// The envelope of a message.
fn message(event: &Event) -> Wire {
    let mut sent = pb::MessageSent::default();
    if let Event::MessageSent {
        id,
        from,
        to,
        reply_to,
        intent,
        urgent,
        size,
        preview,
        thread,
        paths: about,
    } = event
    {
        let Addressees { to, broadcast, topic } = Addressees::of(to);
        sent = pb::MessageSent {
            message_id: id.to_string(),
            from: from.to_string(),
            to,
            broadcast,
            topic,
            reply_to: reply_to.map(|id| id.to_string()).unwrap_or_default(),
            thread_id: thread.unwrap_or(*id).to_string(),
            intent: intent_to_wire(*intent).into(),
            urgent: *urgent,
            size: *size,
            preview: preview.clone(),
            paths: paths(about),
        };
    }
    Wire::MessageSent(sent)
}

fn leave_cause(cause: LeaveCause) -> pb::LeaveCause {
    match cause {
        LeaveCause::Left => pb::LeaveCause::Left,
        LeaveCause::Expired => pb::LeaveCause::Expired,
        LeaveCause::Disconnected => pb::LeaveCause::Disconnected,
        LeaveCause::Replaced => pb::LeaveCause::Replaced,
        LeaveCause::Revoked => pb::LeaveCause::Revoked,
    }
}

fn delete_cause(cause: DeleteCause) -> pb::DeleteCause {
    match cause {
        DeleteCause::Deleted => pb::DeleteCause::Deleted,
        DeleteCause::Expired => pb::DeleteCause::Expired,
    }
}

fn unlock_cause(cause: UnlockCause) -> pb::UnlockCause {
    match cause {
        UnlockCause::Released => pb::UnlockCause::Released,
        UnlockCause::Expired => pb::UnlockCause::Expired,
        UnlockCause::Left => pb::UnlockCause::Left,
        UnlockCause::SessionEnded => pb::UnlockCause::SessionEnded,
        UnlockCause::Forced => pb::UnlockCause::Forced,
        UnlockCause::Narrowed => pb::UnlockCause::Narrowed,
    }
}

fn wait_end_cause(cause: WaitEndCause) -> pb::WaitEndCause {
    match cause {
        WaitEndCause::TimedOut => pb::WaitEndCause::TimedOut,
        WaitEndCause::Cancelled => pb::WaitEndCause::Cancelled,
        WaitEndCause::SessionEnded => pb::WaitEndCause::SessionEnded,
    }
}
