//! Receipts: who has read a message.

use super::follows;
use super::send::offline_since;
use crate::id::PeerName;
use crate::limits;
use crate::record::{MessageRecord, PeerRecord, Recipients};
use crate::state::State;
use crate::time::WallTime;

/// What is known of a message's way to its recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipts {
    /// One per recipient, in the order asked; for a broadcast or topic the first by name, at most
    /// [`limits::DELIVERIES_SHOWN`].
    pub deliveries: Vec<(PeerName, Receipt)>,
    /// How many recipients have read it, of all.
    pub read: u32,
    /// How many recipients there are.
    pub recipients: u32,
}

/// What is known of one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It has acknowledged the message.
    Read,
    /// It has not.
    Unread {
        /// Since when it is offline; none when it is online.
        offline_since: Option<WallTime>,
    },
}

impl State {
    /// Says who has read a message.
    ///
    /// A broadcast is for every peer of the scope that is known by now, but the sender. One that came later counts as
    /// having read it: its cursor started after the message. A named recipient that is known no longer was offline
    /// when the message was sent, and has not read it.
    #[must_use]
    pub fn receipts(&self, message: &MessageRecord) -> Receipts {
        let mut receipts = Receipts { deliveries: Vec::new(), read: 0, recipients: 0 };
        if let Recipients::Direct(names) = &message.to {
            for name in names {
                let peer = self.peers.get(&message.scope, name);
                let forgotten = Receipt::Unread { offline_since: Some(message.sent) };
                let receipt = peer.map_or(forgotten, |peer| receipt(peer, message));
                receipts.add(name, receipt, names.len());
            }
            return receipts;
        }
        let is_for = |peer: &PeerRecord| match &message.to {
            Recipients::Topic(topic) => follows(peer, topic, message.revision),
            Recipients::Broadcast | Recipients::Direct(_) => true,
        };
        for peer in self.peers.list(Some(&message.scope), None) {
            if peer.name != message.from && is_for(peer) {
                receipts.add(&peer.name, receipt(peer, message), limits::DELIVERIES_SHOWN);
            }
        }
        receipts
    }
}

impl Receipts {
    fn add(&mut self, name: &PeerName, receipt: Receipt, shown: usize) {
        self.recipients = self.recipients.saturating_add(1);
        self.read = self.read.saturating_add(u32::from(receipt == Receipt::Read));
        if self.deliveries.len() < shown {
            self.deliveries.push((name.clone(), receipt));
        }
    }
}

fn receipt(peer: &PeerRecord, message: &MessageRecord) -> Receipt {
    if peer.acknowledged >= message.revision {
        Receipt::Read
    } else {
        Receipt::Unread { offline_since: offline_since(peer) }
    }
}
