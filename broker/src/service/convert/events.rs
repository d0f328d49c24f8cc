//! Events on the wire: the same for every reader that filters nothing out.

use mesh_core::event::{DeleteCause, Event, LeaveCause, UnlockCause};
use mesh_core::record::LogRecord;
use mesh_core::time::WallTime;
use mesh_proto::v1 as pb;
use pb::event::Event as Wire;

use super::messages::{intent_to_wire, recipients_to_wire};
use super::{locks, paths, peers, timestamp};

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
    })
}

fn event(event: &Event, committed: WallTime) -> pb::Event {
    let wire = match event {
        Event::PeerJoined { peer, resumed } => {
            Wire::PeerJoined(pb::PeerJoined { peer: Some(peers::peer(peer, committed)), resumed: *resumed })
        }
        Event::PeerUpdated { peer } => {
            Wire::PeerUpdated(pb::PeerUpdated { peer: Some(peers::peer(peer, committed)) })
        }
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
        Event::FileLocked { locks: granted } => Wire::FileLocked(pb::FileLocked {
            locks: granted.iter().map(|lock| locks::granted(lock)).collect(),
        }),
        Event::FileUnlocked { holder, targets, cause } => Wire::FileUnlocked(pb::FileUnlocked {
            holder: holder.to_string(),
            paths: paths(targets),
            cause: unlock_cause(*cause).into(),
        }),
        Event::MessageSent { id, from, to, reply_to, intent, urgent, size, preview } => {
            let (to, broadcast) = recipients_to_wire(to);
            Wire::MessageSent(pb::MessageSent {
                message_id: id.to_string(),
                from: from.to_string(),
                to,
                broadcast,
                reply_to: reply_to.map(|id| id.to_string()).unwrap_or_default(),
                intent: intent_to_wire(*intent).into(),
                urgent: *urgent,
                size: *size,
                preview: preview.clone(),
            })
        }
    };
    pb::Event { event: Some(wire) }
}

fn leave_cause(cause: LeaveCause) -> pb::LeaveCause {
    match cause {
        LeaveCause::Left => pb::LeaveCause::Left,
        LeaveCause::Expired => pb::LeaveCause::Expired,
        LeaveCause::Disconnected => pb::LeaveCause::Disconnected,
        LeaveCause::Replaced => pb::LeaveCause::Replaced,
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
    }
}
