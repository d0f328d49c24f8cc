//! Messages as JSON, their way to their readers, and topics.

use mesh_client::proto;
use serde::Serialize;

use super::{time, word};

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
    topic: &'a str,
    thread_id: &'a str,
    paths: &'a [String],
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
            topic: &message.topic,
            thread_id: &message.thread_id,
            paths: &message.paths,
        }
    }
}

/// What is known about one recipient of a message.
#[derive(Debug, Serialize)]
pub(crate) struct Delivery<'a> {
    peer: &'a str,
    status: String,
    offline_since: Option<String>,
    activity: String,
    wake: &'a str,
    wake_outcome: String,
    wake_time: Option<String>,
    wake_via: &'a str,
    wake_note: &'a str,
}

impl<'a> From<&'a proto::Delivery> for Delivery<'a> {
    fn from(delivery: &'a proto::Delivery) -> Self {
        Self {
            peer: &delivery.peer,
            status: word(delivery.status().as_str_name(), "DELIVERY_STATUS_"),
            offline_since: time(delivery.offline_since.as_ref()),
            activity: word(delivery.activity().as_str_name(), "PEER_ACTIVITY_"),
            wake: &delivery.wake,
            wake_outcome: word(delivery.wake_outcome().as_str_name(), "WAKE_OUTCOME_"),
            wake_time: time(delivery.wake_time.as_ref()),
            wake_via: &delivery.wake_via,
            wake_note: &delivery.wake_note,
        }
    }
}

/// A topic.
#[derive(Debug, Serialize)]
pub(crate) struct Topic<'a> {
    name: &'a str,
    followers: u32,
    messages: u32,
    last_revision: u64,
}

impl<'a> From<&'a proto::Topic> for Topic<'a> {
    fn from(topic: &'a proto::Topic) -> Self {
        Self {
            name: &topic.name,
            followers: topic.followers,
            messages: topic.messages,
            last_revision: topic.last_revision,
        }
    }
}
