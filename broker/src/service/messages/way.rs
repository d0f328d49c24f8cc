//! What is known of a message's way to its readers, and of waking them for it.

use std::sync::Arc;

use mesh_core::id::MessageId;
use mesh_core::record::{Activity, MessageRecord, PeerKey};
use mesh_core::state::messages::Receipt;
use mesh_core::{Rejection, State};
use mesh_proto::v1 as pb;

use crate::service::Mesh;
use crate::service::auth::Caller;
use crate::service::convert::peers::activity_to_wire;
use crate::service::convert::{messages as convert, timestamp};
use crate::service::status::Refusal;

pub(super) fn receipts(
    mesh: &Mesh,
    caller: &Caller,
    request: &pb::GetReceiptsRequest,
) -> Result<pb::GetReceiptsResponse, Refusal> {
    let session = caller.require_session()?;
    let id = MessageId::parse("message_id", &request.message_id)?;
    let state = mesh.view.read();
    let peer = state.peers.live(session)?;
    let message = state.messages.by_id(id);
    let is_own = |message: &&Arc<MessageRecord>| message.from == peer.name && message.scope == peer.scope;
    let message = message.filter(is_own).ok_or(Rejection::MessageNotFound { id })?;
    let receipts = state.receipts(message);
    let delivery = |(name, receipt)| {
        let key = PeerKey { scope: message.scope.clone(), name };
        delivery(mesh, &state, &key, receipt, message)
    };
    Ok(pb::GetReceiptsResponse {
        header: mesh.header(state.revision()),
        deliveries: receipts.deliveries.into_iter().map(delivery).collect(),
        read: receipts.read,
        recipients: receipts.recipients,
    })
}

/// What is known of one recipient: what the state tells, whether the message was in an answer to it, and whether it was
/// woken for it.
fn delivery(
    mesh: &Mesh,
    state: &State,
    key: &PeerKey,
    receipt: Receipt,
    message: &MessageRecord,
) -> pb::Delivery {
    let (status, offline_since) = match receipt {
        Receipt::Read => (pb::DeliveryStatus::Read, None),
        Receipt::Unread { offline_since } if mesh.shown.has(key, message.revision) => {
            (pb::DeliveryStatus::Delivered, offline_since)
        }
        Receipt::Unread { offline_since } => (convert::undelivered(offline_since), offline_since),
    };
    let info = state.peers.get(&key.scope, &key.name).map(|peer| &peer.info);
    let woken = mesh.wakes.of(key, message.revision);
    let outcome = woken.as_ref().map_or(pb::WakeOutcome::Unspecified, |woken| woken.outcome());
    let (wake_via, wake_note) =
        woken.as_ref().map(|woken| (woken.wake.via.clone(), woken.wake.note.clone())).unwrap_or_default();
    pb::Delivery {
        peer: key.name.to_string(),
        status: status.into(),
        offline_since: offline_since.map(timestamp),
        activity: activity_to_wire(info.map_or(Activity::Unknown, |info| info.activity)).into(),
        wake: info.map(|info| info.wake.clone()).unwrap_or_default(),
        wake_outcome: outcome.into(),
        wake_time: woken.map(|woken| timestamp(woken.at)),
        wake_via,
        wake_note,
    }
}

pub(super) fn report_wake(
    mesh: &Mesh,
    caller: &Caller,
    request: pb::ReportWakeRequest,
) -> Result<pb::ReportWakeResponse, Refusal> {
    let session = caller.require_session()?;
    let wake = convert::wake(request)?;
    let state = mesh.view.read();
    let peer = state.peers.live(session)?;
    let revision = state.revision();
    if wake.up_to > revision {
        let problem = format!("is {}, but the newest revision is {}", wake.up_to.0, revision.0);
        return Err(Rejection::invalid("up_to_revision", problem).into());
    }
    mesh.wakes.note(&state, peer, wake, mesh.clock.now().wall);
    Ok(pb::ReportWakeResponse { header: mesh.header(revision) })
}
