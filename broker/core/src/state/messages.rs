//! Messages and inboxes: a message is stored once; an inbox is what is for a peer after its cursor.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::deadlines::Due;
use super::{Change, PageSize, State, Step};
use crate::command::Send;
use crate::event::{Event, preview};
use crate::id::{MessageId, PeerName, ScopeId, TopicName};
use crate::limits;
use crate::outcome::Outcome;
use crate::record::{MessageRecord, PeerKey, PeerRecord, Recipients, Record, RecordKey, Write};
use crate::rejection::Rejection;
use crate::revision::Revision;
use crate::target::Target;
use crate::time::{Now, Timestamp, WallTime};

/// All messages, with an index per recipient and one of each scope's broadcasts.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    by_revision: BTreeMap<Revision, Arc<MessageRecord>>,
    by_slot: BTreeMap<u32, Revision>,
    free_slots: BTreeSet<u32>,
    direct: BTreeMap<PeerKey, BTreeSet<Revision>>,
    broadcasts: BTreeMap<ScopeId, BTreeSet<Revision>>,
}

/// What is known of the recipients, and how many of them are online.
type Deliveries = (Vec<(PeerName, Option<WallTime>)>, u32);

impl Messages {
    /// How many messages are stored.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_revision.len()
    }

    /// A message by its id.
    #[must_use]
    pub fn by_id(&self, id: MessageId) -> Option<&Arc<MessageRecord>> {
        self.by_revision.values().find(|message| message.id == id)
    }

    /// The first message that answers another one and is not of its sender.
    #[must_use]
    pub fn reply_to(&self, _message: &MessageRecord) -> Option<&Arc<MessageRecord>> {
        None
    }

    /// Messages of a topic after a revision, oldest first; the newest that fit, when that is zero.
    #[must_use]
    pub fn topic(
        &self,
        _scope: &ScopeId,
        _topic: &TopicName,
        _after: Revision,
        _page: PageSize,
    ) -> Vec<Arc<MessageRecord>> {
        Vec::new()
    }

    /// Messages of a message's thread after a revision, as far as a peer sent or received them; as [`Self::topic`].
    #[must_use]
    pub fn thread(
        &self,
        _of: &MessageRecord,
        _reader: &PeerRecord,
        _after: Revision,
        _page: PageSize,
    ) -> Vec<Arc<MessageRecord>> {
        Vec::new()
    }

    /// Topics of a scope that have messages, with how many and the revision of the newest, by name.
    pub fn topics(&self, _scope: &ScopeId) -> impl Iterator<Item = (&TopicName, usize, Revision)> {
        std::iter::empty()
    }

    /// Messages of a scope that mention something which overlaps a target, in no order that matters.
    pub fn about<'a>(
        &'a self,
        scope: &'a ScopeId,
        target: &'a Target,
    ) -> impl Iterator<Item = &'a Arc<MessageRecord>> {
        let mentions = |message: &&Arc<MessageRecord>| {
            message.scope == *scope && message.paths.iter().any(|path| path.intersects(target))
        };
        self.by_revision.values().filter(mentions)
    }

    /// Whether a message is for a peer, or of it.
    #[must_use]
    pub fn concerns(_message: &MessageRecord, _peer: &PeerRecord) -> bool {
        false
    }

    /// How many messages a peer has not acknowledged.
    #[must_use]
    pub fn unread(&self, peer: &PeerRecord) -> u32 {
        let count = self.inbox_after(peer, peer.acknowledged).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// A peer's messages after a cursor, oldest first; true when more follow.
    #[must_use]
    pub fn inbox(
        &self,
        peer: &PeerRecord,
        after: Revision,
        page: PageSize,
    ) -> (Vec<Arc<MessageRecord>>, bool) {
        page.fill(self.inbox_after(peer, after).cloned(), |message| message.body.len())
    }

    /// A peer's messages after a cursor, oldest first.
    fn inbox_after(&self, peer: &PeerRecord, after: Revision) -> impl Iterator<Item = &Arc<MessageRecord>> {
        let later = (Bound::Excluded(after), Bound::Unbounded);
        let direct = self.direct.get(&peer.key()).into_iter().flat_map(move |inbox| inbox.range(later));
        let broadcasts = self.broadcasts.get(&peer.scope).into_iter().flat_map(move |all| all.range(later));
        let own = peer.name.clone();
        merge(direct.copied(), broadcasts.copied())
            .filter_map(|revision| self.by_revision.get(&revision))
            .filter(move |message| message.from != own)
    }

    fn free_slot(&self) -> u32 {
        let next = || u32::try_from(self.by_slot.len() + self.free_slots.len()).unwrap_or(u32::MAX);
        self.free_slots.first().copied().unwrap_or_else(next)
    }
}

/// Two rising sequences as one.
fn merge<T: Ord>(left: impl Iterator<Item = T>, right: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    std::iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some(l), Some(r)) if l <= r => left.next(),
        (Some(_), None) => left.next(),
        (_, Some(_)) => right.next(),
        (None, None) => None,
    })
}

impl State {
    pub(super) fn decide_send(
        &self,
        caller: &Arc<PeerRecord>,
        send: &Send,
        now: Now,
    ) -> Result<Step, Rejection> {
        let (deliveries, online) = match &send.to {
            Recipients::Direct(names) => self.direct_deliveries(caller, names)?,
            Recipients::Broadcast => self.broadcast_deliveries(caller),
            Recipients::Topic(_) => return Err(Rejection::invalid("topic", "STUB")),
        };
        let mut writes = Vec::new();
        if send.to == Recipients::Broadcast {
            writes.extend(self.oldest_broadcast_in_the_way(&caller.scope));
        }
        if self.messages.count() >= limits::MESSAGES + writes.len() {
            return Err(Rejection::LimitReached { what: "messages", limit: limits::MESSAGES });
        }
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
            thread: None,
            paths: send.paths.clone(),
        };
        writes.push(Write::Put(Record::Message(Arc::new(message))));
        Ok(Step::Change(Change {
            scope: caller.scope.clone(),
            actor: Some(caller.name.clone()),
            writes,
            events: vec![sent_event(caller, send)],
            outcome: Outcome::Sent {
                id: send.id,
                deliveries,
                online,
                revision: self.next_revision(),
                duplicate: false,
            },
            handover_due: None,
        }))
    }

    /// What is known of each named recipient; all must exist and have room.
    fn direct_deliveries(&self, caller: &PeerRecord, names: &[PeerName]) -> Result<Deliveries, Rejection> {
        let mut deliveries = Vec::with_capacity(names.len());
        for name in names {
            if *name == caller.name {
                return Err(Rejection::invalid("to", format!("names yourself ({name})")));
            }
            let peer = self.peers.get(&caller.scope, name);
            let peer = peer.ok_or_else(|| Rejection::PeerNotFound { name: name.clone() })?;
            let unread = (Bound::Excluded(peer.acknowledged), Bound::Unbounded);
            let inbox = self.messages.direct.get(&peer.key());
            if inbox.is_some_and(|inbox| inbox.range(unread).count() >= limits::INBOX) {
                return Err(Rejection::InboxFull { name: name.clone() });
            }
            deliveries.push(delivery(peer));
        }
        let online = deliveries.iter().filter(|(_, offline)| offline.is_none()).count();
        Ok((deliveries, u32::try_from(online).unwrap_or(u32::MAX)))
    }

    fn broadcast_deliveries(&self, caller: &PeerRecord) -> Deliveries {
        let others = || self.peers.online(&caller.scope).filter(|peer| peer.name != caller.name);
        let shown = others().take(limits::DELIVERIES_SHOWN).map(|peer| delivery(peer)).collect();
        (shown, u32::try_from(others().count()).unwrap_or(u32::MAX))
    }

    /// The broadcast that gives way to a new one, when the scope has as many as it keeps.
    fn oldest_broadcast_in_the_way(&self, scope: &ScopeId) -> Option<Write> {
        let kept = self.messages.broadcasts.get(scope)?;
        if kept.len() < limits::BROADCASTS_PER_SCOPE {
            return None;
        }
        let oldest = self.messages.by_revision.get(kept.first()?)?;
        Some(Write::Delete(RecordKey::Message(oldest.slot)))
    }

    pub(super) fn decide_acknowledge(
        &self,
        caller: &Arc<PeerRecord>,
        up_to: Revision,
    ) -> Result<Step, Rejection> {
        if up_to > self.revision {
            let problem = format!("is {}, but the newest revision is {}", up_to.0, self.revision.0);
            return Err(Rejection::invalid("up_to_revision", problem));
        }
        let mut peer = PeerRecord::clone(caller);
        peer.acknowledged = peer.acknowledged.max(up_to);
        let outcome =
            Outcome::Acknowledged { acknowledged: peer.acknowledged, unread: self.messages.unread(&peer) };
        if peer.acknowledged == caller.acknowledged {
            return Ok(Step::Answer(outcome));
        }
        let mut writes = self.read_by_all(&peer, caller.acknowledged);
        writes.push(Write::Put(Record::Peer(Arc::new(peer))));
        Ok(Step::Change(Change {
            scope: caller.scope.clone(),
            actor: Some(caller.name.clone()),
            writes,
            events: Vec::new(),
            outcome,
            handover_due: None,
        }))
    }

    /// Deletes direct messages that, with this peer's new cursor, every recipient has read.
    fn read_by_all(&self, peer: &PeerRecord, former: Revision) -> Vec<Write> {
        let read_by = |scope: &ScopeId, name: &PeerName, revision: Revision| {
            let other = self.peers.get(scope, name);
            *name == peer.name || other.is_none_or(|other| other.acknowledged >= revision)
        };
        let Some(inbox) = self.messages.direct.get(&peer.key()) else { return Vec::new() };
        let newly_read = (Bound::Excluded(former), Bound::Included(peer.acknowledged));
        let (count, mut bytes) = limits::DELETES_PER_TRANSACTION;
        let mut fits = |message: &&Arc<MessageRecord>| {
            let before = bytes;
            bytes = bytes.saturating_sub(message.body.len());
            before >= message.body.len()
        };
        inbox
            .range(newly_read)
            .filter_map(|revision| self.messages.by_revision.get(revision))
            .filter(|message| match &message.to {
                Recipients::Direct(names) => {
                    names.iter().all(|name| read_by(&message.scope, name, message.revision))
                }
                Recipients::Broadcast | Recipients::Topic(_) => false,
            })
            .take(count)
            .take_while(&mut fits)
            .map(|message| Write::Delete(RecordKey::Message(message.slot)))
            .collect()
    }

    pub(super) fn decide_follow(
        &self,
        _caller: &Arc<PeerRecord>,
        _follow: &[TopicName],
        _unfollow: &[TopicName],
    ) -> Result<Step, Rejection> {
        Err(Rejection::invalid("follow", "STUB"))
    }

    pub(super) fn decide_message_expiry(&self, slot: u32, _now: Now) -> Step {
        let message = self.messages.by_slot.get(&slot).and_then(|at| self.messages.by_revision.get(at));
        let Some(message) = message else { return Step::Answer(Outcome::Done) };
        Step::Change(Change {
            scope: message.scope.clone(),
            actor: None,
            writes: vec![Write::Delete(RecordKey::Message(slot))],
            events: Vec::new(),
            outcome: Outcome::Done,
            handover_due: None,
        })
    }

    pub(super) fn apply_message(&mut self, record: &Arc<MessageRecord>, _now: Timestamp) {
        self.remove_message(record.slot);
        let messages = &mut self.messages;
        // On recovery a slot may lie beyond those seen so far; the ones skipped are free.
        let seen = u32::try_from(messages.by_slot.len() + messages.free_slots.len()).unwrap_or(u32::MAX);
        messages.free_slots.extend(seen..record.slot);
        messages.free_slots.remove(&record.slot);
        messages.by_slot.insert(record.slot, record.revision);
        messages.by_revision.insert(record.revision, record.clone());
        match &record.to {
            Recipients::Direct(names) => {
                for name in names {
                    let key = PeerKey { scope: record.scope.clone(), name: name.clone() };
                    messages.direct.entry(key).or_default().insert(record.revision);
                }
            }
            Recipients::Broadcast => {
                messages.broadcasts.entry(record.scope.clone()).or_default().insert(record.revision);
            }
            Recipients::Topic(_) => {}
        }
        self.deadlines.set(Due::Message(record.slot), record.at.after(limits::MESSAGE_RETENTION));
    }

    pub(super) fn remove_message(&mut self, slot: u32) {
        self.deadlines.clear(&Due::Message(slot));
        let messages = &mut self.messages;
        let Some(revision) = messages.by_slot.remove(&slot) else { return };
        messages.free_slots.insert(slot);
        let Some(record) = messages.by_revision.remove(&revision) else { return };
        match &record.to {
            Recipients::Direct(names) => {
                for name in names {
                    let key = PeerKey { scope: record.scope.clone(), name: name.clone() };
                    remove_from(&mut messages.direct, &key, revision);
                }
            }
            Recipients::Broadcast => remove_from(&mut messages.broadcasts, &record.scope, revision),
            Recipients::Topic(_) => {}
        }
    }
}

fn remove_from<K: Ord>(index: &mut BTreeMap<K, BTreeSet<Revision>>, key: &K, revision: Revision) {
    if let Some(revisions) = index.get_mut(key) {
        revisions.remove(&revision);
        if revisions.is_empty() {
            index.remove(key);
        }
    }
}

fn delivery(peer: &PeerRecord) -> (PeerName, Option<WallTime>) {
    let offline = peer.session.is_none();
    let since = peer.ended.as_ref().map_or(peer.joined, |end| end.wall);
    (peer.name.clone(), offline.then_some(since))
}

fn sent_event(caller: &PeerRecord, send: &Send) -> Event {
    Event::MessageSent {
        id: send.id,
        from: caller.name.clone(),
        to: send.to.clone(),
        reply_to: send.reply_to,
        intent: send.intent,
        urgent: send.urgent,
        size: u32::try_from(send.body.len()).unwrap_or(u32::MAX),
        preview: preview(&send.body),
        thread: None,
        paths: send.paths.clone(),
    }
}
