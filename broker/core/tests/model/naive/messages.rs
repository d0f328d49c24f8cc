//! What was said, to whom, and who has read it.

use std::collections::BTreeSet;

use mesh_core::command::Send;
use mesh_core::event::{Event, PeerChange, PeerField};
use mesh_core::id::{MessageId, PeerName, ScopeId, TopicName};
use mesh_core::limits::{MESSAGE_RETENTION, READ_RETENTION, TOPIC_RETENTION, TOPICS_PER_PEER};
use mesh_core::outcome::{Delivery, Outcome};
use mesh_core::record::{MessageRecord, PeerRecord, Recipients};
use mesh_core::rejection::Rejection;
use mesh_core::revision::Revision;
use mesh_core::state::messages::{Receipt, Receipts};
use mesh_core::time::{Now, Timestamp, WallTime};

use super::{Expected, Naive, count, done_by, preview};

/// A message with when it ends.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) record: MessageRecord,
    pub(crate) until: Timestamp,
    /// Whether all have read it that it was sent to by name.
    read: bool,
}

impl Kept {
    fn new(record: MessageRecord) -> Self {
        let span = match record.to {
            Recipients::Direct(_) | Recipients::Broadcast => MESSAGE_RETENTION,
            Recipients::Topic(_) => TOPIC_RETENTION,
        };
        Self { until: record.at.after(span), record, read: false }
    }
}

impl Naive {
    pub(crate) fn message_in(&self, slot: u32) -> &Kept {
        self.messages.iter().find(|kept| kept.record.slot == slot).expect("the slot is in use")
    }

    pub(crate) fn message(&self, id: MessageId) -> Option<&MessageRecord> {
        self.messages.iter().map(|kept| &kept.record).find(|message| message.id == id)
    }

    /// A peer's messages after a cursor, oldest first.
    pub(crate) fn inbox(&self, peer: &PeerRecord, after: Revision) -> Vec<MessageRecord> {
        let all = self.messages.iter().map(|kept| &kept.record);
        let is_for = |message: &&MessageRecord| {
            message.scope == peer.scope
                && message.from != peer.name
                && message.revision > after
                && is_addressed(message, peer)
        };
        all.filter(is_for).cloned().collect()
    }

    pub(crate) fn unread(&self, peer: &PeerRecord) -> u32 {
        count(self.inbox(peer, peer.acknowledged).len())
    }

    /// The first answer of another peer to a message that its sender may read.
    pub(crate) fn reply_to(&self, message: &MessageRecord) -> Option<&MessageRecord> {
        self.messages.iter().map(|kept| &kept.record).find(|reply| {
            reply.reply_to == Some(message.id)
                && reply.scope == message.scope
                && reply.from != message.from
                && is_open_to(&reply.to, &message.from)
        })
    }

    /// The messages of a message's thread that a peer may read, oldest first.
    pub(crate) fn thread(&self, of: &MessageRecord, reader: &PeerRecord) -> Vec<MessageRecord> {
        let begun = |message: &MessageRecord| message.thread.unwrap_or(message.id);
        let all = self.messages.iter().map(|kept| &kept.record);
        let fits = |message: &&MessageRecord| {
            message.scope == of.scope && begun(message) == begun(of) && may_read(message, reader)
        };
        all.filter(fits).cloned().collect()
    }

    pub(crate) fn topic(&self, scope: &ScopeId, topic: &TopicName) -> Vec<MessageRecord> {
        let all = self.messages.iter().map(|kept| &kept.record);
        let in_it = |message: &&MessageRecord| message.scope == *scope && is_to(message, topic);
        all.filter(in_it).cloned().collect()
    }

    pub(crate) fn receipts(&self, message: &MessageRecord) -> Receipts {
        let names: Vec<PeerName> = match &message.to {
            Recipients::Direct(names) => names.clone(),
            Recipients::Broadcast | Recipients::Topic(_) => {
                let others = self.peers.iter().filter(|peer| {
                    peer.scope == message.scope && peer.name != message.from && is_addressed(message, peer)
                });
                others.map(|peer| peer.name.clone()).collect::<BTreeSet<_>>().into_iter().collect()
            }
        };
        let receipt = |name: &PeerName| match self.peer(&message.scope, name).map(|at| &self.peers[at]) {
            None => Receipt::Unread { offline_since: Some(message.sent) },
            Some(peer) if peer.acknowledged >= message.revision => Receipt::Read,
            Some(peer) => Receipt::Unread { offline_since: offline_since(peer) },
        };
        let deliveries: Vec<_> = names.iter().map(|name| (name.clone(), receipt(name))).collect();
        let read = deliveries.iter().filter(|(_, receipt)| *receipt == Receipt::Read).count();
        Receipts { read: count(read), recipients: count(deliveries.len()), deliveries }
    }

    pub(super) fn restart_messages(&mut self, now: Timestamp) {
        for kept in &mut self.messages {
            *kept = Kept::new(kept.record.clone());
        }
        self.settle_read(now);
    }

    /// Messages of a scope that are past their retention end, as many at once as one transaction takes.
    pub(super) fn expire_messages(&mut self, scope: &ScopeId, slots: &[u32], now: Timestamp) {
        for slot in slots {
            let kept = self.message_in(*slot);
            assert!(kept.record.scope == *scope && kept.until <= now, "only what is due ends");
        }
        self.messages.retain(|kept| !slots.contains(&kept.record.slot));
    }

    /// What all have read that it was sent to by name stays for another day. Who is forgotten has read everything.
    pub(super) fn settle_read(&mut self, now: Timestamp) {
        for at in 0..self.messages.len() {
            let message = &self.messages[at].record;
            let Recipients::Direct(names) = &message.to else { continue };
            let mut known = names.iter().filter_map(|name| self.peer(&message.scope, name));
            let read = known.all(|peer| self.peers[peer].acknowledged >= message.revision);
            let kept = &mut self.messages[at];
            if read && !kept.read {
                kept.read = true;
                kept.until = kept.until.min(now.after(READ_RETENTION));
            }
        }
    }

    pub(super) fn send(&mut self, caller: usize, send: &Send, now: Now) -> Result<Expected, Rejection> {
        let sender = self.peers[caller].clone();
        if let Some(first) = self.message(send.id) {
            if first.scope != sender.scope || first.from != sender.name || !is_same(first, send) {
                return Err(Rejection::MessageIdReused);
            }
            return Ok(Expected::Answer(self.sent(&sender, send, first.revision, true)));
        }
        if let Recipients::Direct(names) = &send.to {
            for name in names {
                if *name == sender.name {
                    return Err(Rejection::invalid("to", ""));
                }
                if self.peer(&sender.scope, name).is_none() {
                    return Err(Rejection::PeerNotFound { name: name.clone() });
                }
            }
        }
        let outcome = self.sent(&sender, send, self.next(), false);
        let message = MessageRecord {
            slot: u32::MAX,
            id: send.id,
            revision: self.next(),
            scope: sender.scope.clone(),
            from: sender.name.clone(),
            to: send.to.clone(),
            body: send.body.clone(),
            reply_to: send.reply_to,
            intent: send.intent,
            urgent: send.urgent,
            at: now.at,
            sent: now.wall,
            thread: send.reply_to.map(|answered| {
                let answered_message = self.message(answered).filter(|other| other.scope == sender.scope);
                answered_message.and_then(|other| other.thread).unwrap_or(answered)
            }),
            paths: send.paths.clone(),
        };
        let event = Event::MessageSent {
            id: send.id,
            from: sender.name.clone(),
            to: send.to.clone(),
            reply_to: send.reply_to,
            intent: send.intent,
            urgent: send.urgent,
            size: count(send.body.len()),
            preview: preview(&send.body),
            thread: message.thread,
            paths: send.paths.clone(),
        };
        self.messages.push(Kept::new(message));
        Ok(done_by(&sender, vec![event], outcome))
    }

    /// What the sender is told of those who are named, or who are online and for whom the message is.
    fn sent(&self, sender: &PeerRecord, send: &Send, revision: Revision, duplicate: bool) -> Outcome {
        let here = self.peers.iter().filter(|peer| peer.scope == sender.scope);
        let told: Vec<&PeerRecord> = match &send.to {
            Recipients::Direct(names) => {
                names.iter().filter_map(|name| here.clone().find(|peer| peer.name == *name)).collect()
            }
            Recipients::Broadcast | Recipients::Topic(_) => {
                let mut told: Vec<_> = here
                    .filter(|peer| peer.session.is_some() && peer.name != sender.name)
                    .filter(|peer| match &send.to {
                        Recipients::Topic(topic) => {
                            *topic == TopicName::notes() || peer.topics.contains_key(topic)
                        }
                        Recipients::Broadcast | Recipients::Direct(_) => true,
                    })
                    .collect();
                told.sort_by_key(|peer| &peer.name);
                told
            }
        };
        let online = count(told.iter().filter(|peer| peer.session.is_some()).count());
        let delivery = |peer: &PeerRecord| Delivery {
            peer: peer.name.clone(),
            offline_since: offline_since(peer),
            activity: peer.info.activity,
            wake: peer.info.wake.clone(),
        };
        let deliveries = told.into_iter().map(delivery).collect();
        Outcome::Sent { id: send.id, deliveries, online, revision, duplicate }
    }

    pub(super) fn acknowledge(&mut self, caller: usize, up_to: Revision) -> Result<Expected, Rejection> {
        if up_to.0 > self.revision {
            return Err(Rejection::invalid("up_to_revision", ""));
        }
        let former = self.peers[caller].acknowledged;
        let acknowledged = former.max(up_to);
        self.peers[caller].acknowledged = acknowledged;
        let peer = self.peers[caller].clone();
        let outcome = Outcome::Acknowledged { acknowledged, unread: self.unread(&peer) };
        if acknowledged == former {
            return Ok(Expected::Answer(outcome));
        }
        Ok(done_by(&peer, Vec::new(), outcome))
    }

    pub(super) fn follow(
        &mut self,
        caller: usize,
        follow: &[TopicName],
        unfollow: &[TopicName],
    ) -> Result<Expected, Rejection> {
        let notes = TopicName::notes();
        if unfollow.iter().any(|topic| *topic == notes || follow.contains(topic)) {
            return Err(Rejection::invalid("unfollow", ""));
        }
        let former = self.peers[caller].topics.clone();
        let mut topics = former.clone();
        topics.retain(|topic, _| !unfollow.contains(topic));
        for topic in follow.iter().filter(|topic| **topic != notes) {
            topics.entry(topic.clone()).or_insert(Revision(self.revision));
        }
        if topics.len() > TOPICS_PER_PEER {
            return Err(Rejection::invalid("follow", ""));
        }
        let mut followed: Vec<TopicName> = topics.keys().cloned().chain([notes]).collect();
        followed.sort();
        let outcome = Outcome::Following { topics: followed };
        self.peers[caller].topics = topics;
        let peer = self.peers[caller].clone();
        if peer.topics == former {
            return Ok(Expected::Answer(outcome));
        }
        let changed = PeerChange { fields: vec![PeerField::Topics], ..PeerChange::default() };
        Ok(done_by(&peer, vec![Event::PeerUpdated { peer: peer.clone().into(), changed }], outcome))
    }
}

/// Whether a message of the peer's scope goes to its inbox, if it is not its own.
fn is_addressed(message: &MessageRecord, peer: &PeerRecord) -> bool {
    match &message.to {
        Recipients::Direct(names) => names.contains(&peer.name),
        Recipients::Broadcast => true,
        Recipients::Topic(topic) => {
            let since = peer.topics.get(topic);
            *topic == TopicName::notes() || since.is_some_and(|since| *since < message.revision)
        }
    }
}

fn is_to(message: &MessageRecord, topic: &TopicName) -> bool {
    matches!(&message.to, Recipients::Topic(to) if to == topic)
}

/// Whether a peer may read what goes to these.
fn is_open_to(to: &Recipients, name: &PeerName) -> bool {
    match to {
        Recipients::Direct(names) => names.contains(name),
        Recipients::Broadcast | Recipients::Topic(_) => true,
    }
}

/// Whether a peer sent a message or may read it.
pub(super) fn may_read(message: &MessageRecord, peer: &PeerRecord) -> bool {
    message.scope == peer.scope && (message.from == peer.name || is_open_to(&message.to, &peer.name))
}

/// Whether a message is the one that was sent under its id; what it mentions does not count.
fn is_same(first: &MessageRecord, send: &Send) -> bool {
    let same_to = match (&first.to, &send.to) {
        (Recipients::Direct(left), Recipients::Direct(right)) => {
            left.iter().all(|name| right.contains(name)) && right.iter().all(|name| left.contains(name))
        }
        (left, right) => left == right,
    };
    same_to
        && first.body == send.body
        && first.reply_to == send.reply_to
        && first.intent == send.intent
        && first.urgent == send.urgent
}

fn offline_since(peer: &PeerRecord) -> Option<WallTime> {
    let ended = peer.ended.as_ref().map_or(peer.joined, |end| end.wall);
    peer.session.is_none().then_some(ended)
}
