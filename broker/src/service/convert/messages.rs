//! Messages on the wire.

use std::collections::BTreeSet;

use mesh_core::Rejection;
use mesh_core::command::Send;
use mesh_core::id::{MessageId, PeerName, TopicName};
use mesh_core::limits;
use mesh_core::outcome::Delivery;
use mesh_core::record::{Intent, MessageRecord, Recipients};
use mesh_core::revision::Revision;
use mesh_core::target::{Target, mentions};
use mesh_core::time::WallTime;
use mesh_proto::v1 as pb;

use super::peers::activity_to_wire;
use super::{at_most, few_globs, in_field, paths, text, timestamp, unless_empty};
use crate::ids::Ids;

/// What a Send asks, with a fresh id.
pub(crate) fn send(request: pb::SendRequest, ids: &Ids) -> Result<Send, Rejection> {
    if request.body.is_empty() || request.body.len() > limits::BODY_BYTES {
        let problem = format!("must be 1 to {} bytes, and is {}", limits::BODY_BYTES, request.body.len());
        return Err(Rejection::invalid("body", problem));
    }
    let named = few_globs("paths", &request.paths, limits::MENTIONS)?;
    Ok(Send {
        id: unless_empty(&request.message_id, |id| MessageId::parse("message_id", id))?
            .unwrap_or_else(|| ids.message()),
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

/// What is known of a recipient when a message is sent.
pub(crate) fn delivery(delivery: &Delivery) -> pb::Delivery {
    pb::Delivery {
        peer: delivery.peer.to_string(),
        status: undelivered(delivery.offline_since).into(),
        offline_since: delivery.offline_since.map(timestamp),
        activity: activity_to_wire(delivery.activity).into(),
        wake: delivery.wake.clone(),
        ..pb::Delivery::default()
    }
}

/// The way of a message that has not come to its recipient; with since when that is offline, if it is.
pub(crate) fn undelivered(offline_since: Option<WallTime>) -> pb::DeliveryStatus {
    match offline_since {
        None => pb::DeliveryStatus::Queued,
        Some(_) => pb::DeliveryStatus::Offline,
    }
}

/// What a ReportWake tells.
pub(crate) fn wake(request: pb::ReportWakeRequest) -> Result<Wake, Rejection> {
    if request.via.is_empty() {
        return Err(Rejection::invalid("via", "is empty; name the way by which the agent was woken"));
    }
    if request.up_to_revision == 0 {
        return Err(Rejection::invalid("up_to_revision", "must be at least 1"));
    }
    Ok(Wake {
        taken: match request.outcome() {
            pb::WakeOutcome::Taken => true,
            pb::WakeOutcome::Failed => false,
            pb::WakeOutcome::Unspecified => {
                return Err(Rejection::invalid("outcome", "must be TAKEN or FAILED"));
            }
        },
        via: text("via", request.via, limits::WAKE_BYTES)?,
        note: text("note", request.note, limits::WAKE_NOTE_BYTES)?,
        up_to: Revision(request.up_to_revision),
    })
}

/// What was reported of waking an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wake {
    /// Whether the host took it.
    pub(crate) taken: bool,
    /// The way.
    pub(crate) via: String,
    /// A word to it.
    pub(crate) note: String,
    /// For all unread mail up to here.
    pub(crate) up_to: Revision,
}
