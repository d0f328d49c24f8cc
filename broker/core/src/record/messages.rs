//! Messages.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::targets_weight;
use crate::id::{MessageId, PeerName, ScopeId, TopicName};
use crate::limits;
use crate::revision::Revision;
use crate::target::Target;
use crate::time::{Timestamp, WallTime};

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recipients {
    /// These peers of the scope.
    Direct(Vec<PeerName>),
    /// Every peer of the scope but the sender.
    Broadcast,
    /// Every peer that follows the topic but the sender.
    Topic(TopicName),
}

/// What the sender of a message expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    /// To know.
    Inform,
    /// An answer or an action.
    Request,
    /// Nothing: it answers or confirms.
    Ack,
}

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRecord {
    /// Slot in the store, reused when the message is gone, so that the store's keys do not grow.
    pub slot: u32,
    /// Its id.
    pub id: MessageId,
    /// Its place in the order.
    pub revision: Revision,
    /// Its scope.
    pub scope: ScopeId,
    /// Who sent it.
    pub from: PeerName,
    /// Whom it is for.
    pub to: Recipients,
    /// The text.
    pub body: Arc<str>,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
    /// What the sender expects.
    pub intent: Intent,
    /// Whether to look before going on.
    pub urgent: bool,
    /// When it was accepted, for deadlines.
    pub at: Timestamp,
    /// When it was accepted, for display.
    pub sent: WallTime,
    /// The message that its thread began with; none when it is that itself.
    pub thread: Option<MessageId>,
    /// Targets it mentions.
    pub paths: Vec<Target>,
}

impl MessageRecord {
    /// About how many bytes it takes in the store.
    pub(crate) fn weight(&self) -> usize {
        let names =
            if let Recipients::Direct(names) = &self.to { names.len() * limits::PEER_NAME_BYTES } else { 0 };
        size_of::<Self>() + self.body.len() + names + targets_weight(&self.paths)
    }
}
