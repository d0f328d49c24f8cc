//! Messages on the wire.

use std::collections::BTreeSet;

use mesh_core::Rejection;
use mesh_core::command::Send;
use mesh_core::id::{MessageId, PeerName, TopicName};
use mesh_core::limits;
use mesh_core::record::{Intent, MessageRecord, Recipients};
use mesh_core::target::{Target, mentions};
use mesh_core::time::WallTime;
use mesh_proto::v1 as pb;
use uuid::Uuid;

use super::{at_most, in_field, paths, targets, timestamp, unless_empty};

/// What a Send asks, with a fresh id.
pub(crate) fn send(request: pb::SendRequest) -> Result<Send, Rejection> {
    if request.body.is_empty() || request.body.len() > limits::BODY_BYTES {
        let problem = format!("must be 1 to {} bytes, and is {}", limits::BODY_BYTES, request.body.len());
        return Err(Rejection::invalid("body", problem));
    }
    let named = targets("paths", &request.paths, limits::MENTIONS)?;
    Ok(Send {
        id: unless_empty(&request.message_id, |id| MessageId::parse("message_id", id))?
            .unwrap_or_else(|| MessageId(Uuid::now_v7())),
        to: recipients(&request.to, request.broadcast, &request.topic)?,
        reply_to: unless_empty(&request.reply_to, |id| MessageId::parse("reply_to", id))?,
        intent: intent(request.intent)?,
        urgent: request.urgent,
        paths: with_mentions(named, &request.body),
        body: request.body.into(),
    })
}

/// The targets that the sender named, and then those that the text mentions, as many as there is room for.
fn with_mentions(named: Vec<Target>, body: &str) -> Vec<Target> {
    let mut paths = named;
    for found in mentions(body) {
        if paths.len() >= limits::MENTIONS {
            break;
        }
        if !paths.contains(&found) {
            paths.push(found);
        }
    }
    paths
}

fn recipients(to: &[String], broadcast: bool, topic: &str) -> Result<Recipients, Rejection> {
    match (to, broadcast, topic) {
        ([], true, "") => return Ok(Recipients::Broadcast),
        ([], false, "") => {
            return Err(Rejection::invalid("to", "is empty; name the recipients, or set broadcast or topic"));
        }
        ([], false, topic) => return Ok(Recipients::Topic(TopicName::parse(topic)?)),
        (_, true, "") => return Err(Rejection::invalid("to", "must be empty with broadcast")),
        (_, _, "") => {}
        (_, _, _) => return Err(Rejection::invalid("topic", "must be alone: without `to` and broadcast")),
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

/// Whom a message is for, as the wire tells it.
#[derive(Debug, Default)]
pub(crate) struct Addressees {
    pub(crate) to: Vec<String>,
    pub(crate) broadcast: bool,
    pub(crate) topic: String,
}

impl Addressees {
    pub(crate) fn of(to: &Recipients) -> Self {
        match to {
            Recipients::Direct(names) => {
                Self { to: names.iter().map(PeerName::to_string).collect(), ..Self::default() }
            }
            Recipients::Broadcast => Self { broadcast: true, ..Self::default() },
            Recipients::Topic(topic) => Self { topic: topic.to_string(), ..Self::default() },
        }
    }
}

/// A stored message, its body included.
pub(crate) fn message(message: &MessageRecord) -> pb::Message {
    let Addressees { to, broadcast, topic } = Addressees::of(&message.to);
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
        topic,
        thread_id: message.thread.unwrap_or(message.id).to_string(),
        paths: paths(&message.paths),
    }
}

/// The topics that a FollowTopics names in a field, none twice.
pub(crate) fn topics(field: &'static str, names: &[String]) -> Result<Vec<TopicName>, Rejection> {
    at_most(field, names.len(), limits::TOPICS_PER_PEER)?;
    let names: Result<BTreeSet<_>, _> = names.iter().map(|name| TopicName::parse(name)).collect();
    in_field(field, names).map(Vec::from_iter)
}

/// What is known of one recipient; with since when it is offline, if it is.
pub(crate) fn delivery(peer: &PeerName, offline_since: Option<WallTime>) -> pb::Delivery {
    let status = match offline_since {
        None => pb::DeliveryStatus::Queued,
        Some(_) => pb::DeliveryStatus::Offline,
    };
    arrived(peer, status, offline_since)
}

/// As [`delivery`], of a recipient to whom the message has come.
pub(crate) fn arrived(
    peer: &PeerName,
    status: pb::DeliveryStatus,
    offline_since: Option<WallTime>,
) -> pb::Delivery {
    pb::Delivery {
        peer: peer.to_string(),
        status: status.into(),
        offline_since: offline_since.map(timestamp),
    }
}
