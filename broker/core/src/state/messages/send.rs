//! Sending messages, and acknowledging them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::retention::Deletions;
use super::{Feed, follows, later, saturating};
use crate::command::Send;
use crate::event::{Event, preview};
use crate::id::{MessageId, PeerName, ScopeId, TopicName};
use crate::limits;
use crate::mutation::{Mutation, planted};
use crate::outcome::{Delivery, Outcome};
use crate::record::{MessageRecord, PeerRecord, Recipients, Record, Write};
use crate::rejection::Rejection;
use crate::revision::Revision;
use crate::state::{Change, State, Step};
use crate::time::{Now, WallTime};

/// What is known of the recipients, and how many of them are online.
type Deliveries = (Vec<Delivery>, u32);

impl State {
    pub(in crate::state) fn decide_send(
        &self,
        caller: &Arc<PeerRecord>,
        send: &Send,
        now: Now,
    ) -> Result<Step, Rejection> {
        if let Some(first) = self.messages.by_id(send.id) {
            return self.repeat(caller, send, first).map(Step::Answer);
        }
        if let Recipients::Direct(names) = &send.to {
            self.check_recipients(caller, names)?;
        }
        let (deliveries, online) = self.deliveries(caller, &send.to);
        let mut writes = self.gives_way(&caller.scope, send)?.into_writes();
        let message = MessageRecord {
            slot: self.messages.free_slot(),
            id: send.id,
            revision: self.next_revision(),
            scope: caller.scope.clone(),
            from: caller.name.clone(),
            to: send.to.clone(),
            body: send.body.clone(),
            reply_to: send.reply_to,
            intent: send.intent,
            urgent: send.urgent,
            at: now.at,
            sent: now.wall,
            thread: send.reply_to.map(|answered| self.thread_begun_by(&caller.scope, answered)),
            paths: send.paths.clone(),
        };
        let event = sent_event(&message);
        let (id, revision) = (message.id, message.revision);
        writes.push(Write::Put(Record::Message(Arc::new(message))));
        let outcome = Outcome::Sent { id, deliveries, online, revision, duplicate: false };
        Ok(Step::Change(Change {
            writes,
            events: vec![event],
            ..Change::new(caller.scope.clone(), Some(caller.name.clone()), outcome)
        }))
    }

    /// The answer to a message whose id is that of a stored one: the same again, or a mistake.
    fn repeat(&self, caller: &PeerRecord, send: &Send, first: &MessageRecord) -> Result<Outcome, Rejection> {
        let same = (&first.scope, &first.from) == (&caller.scope, &caller.name)
            && is_same(&first.to, &send.to)
            && (&first.body, first.reply_to) == (&send.body, send.reply_to)
            && (first.intent, first.urgent) == (send.intent, send.urgent);
        if !same {
            return Err(Rejection::MessageIdReused);
        }
        let (deliveries, online) = self.deliveries(caller, &send.to);
        Ok(Outcome::Sent { id: first.id, deliveries, online, revision: first.revision, duplicate: true })
    }

    /// All must exist, be somebody else and have room.
    fn check_recipients(&self, caller: &PeerRecord, names: &[PeerName]) -> Result<(), Rejection> {
        for name in names {
            if *name == caller.name {
                return Err(Rejection::invalid("to", format!("names yourself ({name})")));
            }
            let peer = self.peers.get(&caller.scope, name);
            let peer = peer.ok_or_else(|| Rejection::PeerNotFound { name: name.clone() })?;
            let inbox = self.messages.direct.get(&peer.key());
            // What is read stays for a while, so that a long inbox may still have little unread.
            let is_full = |inbox: &Feed| {
                inbox.len() >= limits::INBOX
                    && later(inbox, peer.acknowledged).nth(limits::INBOX - 1).is_some()
            };
            if inbox.is_some_and(is_full) {
                return Err(Rejection::InboxFull { name: name.clone() });
            }
        }
        Ok(())
    }

    /// What is known of each named recipient; of a broadcast or topic, of those online now that it is for.
    fn deliveries(&self, caller: &PeerRecord, to: &Recipients) -> Deliveries {
        if let Recipients::Direct(names) = to {
            let known = names.iter().filter_map(|name| self.peers.get(&caller.scope, name));
            let deliveries: Vec<_> = known.map(|peer| delivery(peer)).collect();
            let online = deliveries.iter().filter(|delivery| delivery.offline_since.is_none()).count();
            return (deliveries, saturating(online));
        }
        let is_for = |peer: &PeerRecord| match to {
            Recipients::Topic(topic) => follows(peer, topic, self.next_revision()),
            Recipients::Broadcast | Recipients::Direct(_) => true,
        };
        let others = self.peers.online(&caller.scope).filter(|peer| peer.name != caller.name && is_for(peer));
        let (mut shown, mut online) = (Vec::new(), 0);
        for peer in others {
            online += 1;
            if shown.len() < limits::DELIVERIES_SHOWN {
                shown.push(delivery(peer));
            }
        }
        (shown, online)
    }

    /// The messages that give way to a new one: the oldest of a broadcast's scope or a topic that has as many as it
    /// keeps, and what is read where the mesh is full.
    fn gives_way(&self, scope: &ScopeId, send: &Send) -> Result<Deletions, Rejection> {
        let (feed, kept) = match &send.to {
            Recipients::Direct(_) => (None, 0),
            Recipients::Broadcast => (self.messages.broadcasts.get(scope), limits::BROADCASTS_PER_SCOPE),
            Recipients::Topic(topic) => (self.topic_to_send_to(scope, topic)?, limits::MESSAGES_PER_TOPIC),
        };
        let mut deletions = Deletions::default();
        if let Some((_, oldest)) =
            feed.filter(|feed| feed.len() >= kept).and_then(|feed| feed.first_key_value())
        {
            deletions.add(oldest);
        }
        self.messages.make_room(scope, send, &mut deletions)?;
        Ok(deletions)
    }

    /// The messages of a topic, none when it will be a new one. There is always a place for [`TopicName::notes`].
    fn topic_to_send_to(&self, scope: &ScopeId, topic: &TopicName) -> Result<Option<&Feed>, Rejection> {
        let notes = TopicName::notes();
        let Some(topics) = self.messages.topics.get(scope) else { return Ok(None) };
        let feed = topics.get(topic);
        let others = topics.len() - usize::from(topics.contains_key(&notes));
        if feed.is_none() && *topic != notes && others >= limits::TOPICS_PER_SCOPE {
            return Err(Rejection::LimitReached {
                what: "topics of one scope",
                limit: limits::TOPICS_PER_SCOPE,
            });
        }
        Ok(feed)
    }

    /// The message that the thread of an answer began with. The answered one, where that is not stored.
    fn thread_begun_by(&self, scope: &ScopeId, answered: MessageId) -> MessageId {
        let message = self.messages.by_id(answered).filter(|message| message.scope == *scope);
        message.and_then(|message| message.thread).unwrap_or(answered)
    }

    pub(in crate::state) fn decide_acknowledge(
        &self,
        caller: &Arc<PeerRecord>,
        up_to: Revision,
    ) -> Result<Step, Rejection> {
        if up_to > self.revision {
            let problem = format!("is {}, but the newest revision is {}", up_to.0, self.revision.0);
            return Err(Rejection::invalid("up_to_revision", problem));
        }
        let mut peer = PeerRecord::clone(caller);
        let up_to = if planted(Mutation::AcknowledgedTooFar) { up_to.next() } else { up_to };
        peer.acknowledged = peer.acknowledged.max(up_to);
        let outcome =
            Outcome::Acknowledged { acknowledged: peer.acknowledged, unread: self.messages.unread(&peer) };
        if peer.acknowledged == caller.acknowledged {
            return Ok(Step::Answer(outcome));
        }
        Ok(Step::Change(Change {
            writes: vec![Write::Put(Record::Peer(Arc::new(peer)))],
            ..Change::new(caller.scope.clone(), Some(caller.name.clone()), outcome)
        }))
    }
}

/// Whether two messages are for the same; the order of the names says nothing.
fn is_same(left: &Recipients, right: &Recipients) -> bool {
    match (left, right) {
        (Recipients::Direct(left), Recipients::Direct(right)) => {
            left.iter().collect::<BTreeSet<_>>() == right.iter().collect::<BTreeSet<_>>()
        }
        (Recipients::Direct(_) | Recipients::Broadcast | Recipients::Topic(_), _) => left == right,
    }
}

fn delivery(peer: &PeerRecord) -> Delivery {
    Delivery {
        peer: peer.name.clone(),
        offline_since: offline_since(peer),
        activity: peer.info.activity,
        wake: peer.info.wake.clone(),
    }
}

/// Since when a peer is offline; none when it is online.
pub(super) fn offline_since(peer: &PeerRecord) -> Option<WallTime> {
    let since = peer.ended.as_ref().map_or(peer.joined, |end| end.wall);
    peer.session.is_none().then_some(since)
}

fn sent_event(message: &MessageRecord) -> Event {
    Event::MessageSent {
        id: message.id,
        from: message.from.clone(),
        to: message.to.clone(),
        reply_to: message.reply_to,
        intent: message.intent,
        urgent: message.urgent,
        size: saturating(message.body.len()),
        preview: preview(&message.body),
        thread: message.thread,
        paths: message.paths.clone(),
    }
}
