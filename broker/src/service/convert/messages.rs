//! Messages on the wire.

use std::collections::BTreeSet;

use mesh_core::Rejection;
use mesh_core::command::Send;
use mesh_core::id::{MessageId, PeerName};
use mesh_core::limits;
use mesh_core::record::{Intent, MessageRecord, Recipients};
use mesh_core::time::WallTime;
use mesh_proto::v1 as pb;
use uuid::Uuid;

use super::{in_field, timestamp, unless_empty};

/// What a Send asks, with a fresh id.
pub(crate) fn send(request: pb::SendRequest) -> Result<Send, Rejection> {
    if request.body.is_empty() || request.body.len() > limits::BODY_BYTES {
        let problem = format!("must be 1 to {} bytes, and is {}", limits::BODY_BYTES, request.body.len());
        return Err(Rejection::invalid("body", problem));
    }
    Ok(Send {
        id: MessageId(Uuid::now_v7()),
        to: recipients(&request.to, request.broadcast)?,
        reply_to: unless_empty(&request.reply_to, |id| MessageId::parse("reply_to", id))?,
        intent: intent(request.intent)?,
        urgent: request.urgent,
        body: request.body.into(),
    })
}

fn recipients(to: &[String], broadcast: bool) -> Result<Recipients, Rejection> {
    match (to, broadcast) {
        ([], true) => return Ok(Recipients::Broadcast),
        ([], false) => {
            return Err(Rejection::invalid("to", "is empty; name the recipients, or set broadcast"));
        }
        (_, true) => return Err(Rejection::invalid("to", "must be empty with broadcast")),
        (_, false) => {}
    }
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for name in to {
        let name = in_field("to", PeerName::parse(name))?;
        if seen.insert(name.clone()) {
            names.push(name);
        }
        if names.len() > limits::RECIPIENTS {
            let problem = format!("names more than {} peers; broadcast, or send twice", limits::RECIPIENTS);
            return Err(Rejection::invalid("to", problem));
        }
    }
    Ok(Recipients::Direct(names))
}

fn intent(value: i32) -> Result<Intent, Rejection> {
    match pb::MessageIntent::try_from(value) {
        Ok(pb::MessageIntent::Unspecified | pb::MessageIntent::Inform) => Ok(Intent::Inform),
        Ok(pb::MessageIntent::Request) => Ok(Intent::Request),
        Ok(pb::MessageIntent::Ack) => Ok(Intent::Ack),
        Err(_) => Err(Rejection::invalid("intent", format!("has no value {value}"))),
    }
}

/// What the sender expects.
pub(crate) fn intent_to_wire(intent: Intent) -> pb::MessageIntent {
    match intent {
        Intent::Inform => pb::MessageIntent::Inform,
        Intent::Request => pb::MessageIntent::Request,
        Intent::Ack => pb::MessageIntent::Ack,
    }
}

/// The recipients: their names, and whether it is for all.
pub(crate) fn recipients_to_wire(to: &Recipients) -> (Vec<String>, bool) {
    match to {
        Recipients::Direct(names) => (names.iter().map(PeerName::to_string).collect(), false),
        Recipients::Broadcast => (Vec::new(), true),
    }
}

/// A stored message, its body included.
pub(crate) fn message(message: &MessageRecord) -> pb::Message {
    let (to, broadcast) = recipients_to_wire(&message.to);
    pb::Message {
        message_id: message.id.to_string(),
        revision: message.revision.0,
        scope: message.scope.to_string(),
        from: message.from.to_string(),
        to,
        broadcast,
        body: message.body.to_string(),
        reply_to: message.reply_to.map(|id| id.to_string()).unwrap_or_default(),
        intent: intent_to_wire(message.intent).into(),
        urgent: message.urgent,
        send_time: Some(timestamp(message.sent)),
    }
}

/// What is known of one recipient; with since when it is offline, if it is.
pub(crate) fn delivery(peer: &PeerName, offline_since: Option<WallTime>) -> pb::Delivery {
    let status = match offline_since {
        None => pb::DeliveryStatus::Queued,
        Some(_) => pb::DeliveryStatus::Offline,
    };
    pb::Delivery {
        peer: peer.to_string(),
        status: status.into(),
        offline_since: offline_since.map(timestamp),
    }
}
