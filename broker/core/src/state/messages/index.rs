//! Filing messages, and taking them out again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Feed, Messages, saturating};
use crate::id::{MessageId, PeerName, ScopeId};
use crate::record::{MessageRecord, PeerKey, Recipients};
use crate::revision::Revision;

/// Where the thread of a message is filed.
pub(super) fn thread_key(message: &MessageRecord) -> (ScopeId, MessageId) {
    (message.scope.clone(), message.thread.unwrap_or(message.id))
}

impl Messages {
    /// A slot that no message is in.
    pub(super) fn free_slot(&self) -> u32 {
        self.free_slots.first().copied().unwrap_or_else(|| self.slots_seen())
    }

    /// How many slots are or were in use; they are the first ones.
    fn slots_seen(&self) -> u32 {
        saturating(self.by_slot.len() + self.free_slots.len())
    }

    /// The message in a slot.
    pub(super) fn in_slot(&self, slot: u32) -> Option<&Arc<MessageRecord>> {
        self.by_revision.get(self.by_slot.get(&slot)?)
    }

    /// Files a message whose slot is free.
    pub(super) fn insert(&mut self, record: &Arc<MessageRecord>) {
        // On recovery a slot may lie beyond those seen so far; the ones skipped are free.
        self.free_slots.extend(self.slots_seen()..record.slot);
        self.free_slots.remove(&record.slot);
        self.by_slot.insert(record.slot, record.revision);
        self.by_revision.insert(record.revision, record.clone());
        self.by_id.insert(record.id, record.revision);
        self.bytes += super::size(record);
        let (count, bytes) = self.totals.entry(record.scope.clone()).or_default();
        *count += 1;
        *bytes += super::size(record);
        match &record.to {
            Recipients::Direct(names) => {
                for name in names {
                    file(&mut self.direct, inbox_key(record, name), record);
                }
            }
            Recipients::Broadcast => file(&mut self.broadcasts, record.scope.clone(), record),
            Recipients::Topic(topic) => {
                file(self.topics.entry(record.scope.clone()).or_default(), topic.clone(), record);
            }
        }
        if let Some(answered) = record.reply_to {
            file(&mut self.replies, answered, record);
        }
        self.insert_in_thread(record);
        for path in &record.paths {
            let mentions = self.mentions.entry(record.scope.clone()).or_default();
            mentions.entry(path).insert(record.revision, record.clone());
        }
    }

    /// Files an answer with the message that its thread began with, whichever of them comes first.
    fn insert_in_thread(&mut self, record: &Arc<MessageRecord>) {
        let key = thread_key(record);
        if let Some(root) = record.thread {
            let root = self.by_id(root).filter(|root| thread_key(root) == key).cloned();
            let thread = self.threads.entry(key).or_default();
            thread.extend(root.map(|root| (root.revision, root)));
            thread.insert(record.revision, record.clone());
        } else if let Some(thread) = self.threads.get_mut(&key) {
            thread.insert(record.revision, record.clone());
        }
    }

    /// Takes the message out of a slot.
    pub(super) fn remove(&mut self, slot: u32) {
        let Some(revision) = self.by_slot.remove(&slot) else { return };
        self.free_slots.insert(slot);
        let Some(record) = self.by_revision.remove(&revision) else { return };
        self.by_id.remove(&record.id);
        self.bytes -= super::size(&record);
        self.discount(&record);
        self.read_by_all.remove(&revision);
        take_out(&mut self.read_in, &record.scope, revision);
        match &record.to {
            Recipients::Direct(names) => {
                for name in names {
                    take_out(&mut self.direct, &inbox_key(&record, name), revision);
                }
            }
            Recipients::Broadcast => take_out(&mut self.broadcasts, &record.scope, revision),
            Recipients::Topic(topic) => {
                if let Some(topics) = self.topics.get_mut(&record.scope) {
                    take_out(topics, topic, revision);
                    if topics.is_empty() {
                        self.topics.remove(&record.scope);
                    }
                }
            }
        }
        if let Some(answered) = record.reply_to {
            take_out(&mut self.replies, &answered, revision);
        }
        take_out(&mut self.threads, &thread_key(&record), revision);
        self.remove_mentions(&record);
    }

    fn discount(&mut self, record: &Arc<MessageRecord>) {
        if let Some((count, bytes)) = self.totals.get_mut(&record.scope) {
            *count -= 1;
            *bytes -= super::size(record);
            if *count == 0 {
                self.totals.remove(&record.scope);
            }
        }
    }

    /// Files a message that all its recipients have read.
    pub(super) fn insert_read(&mut self, record: &Arc<MessageRecord>) {
        self.read_by_all.insert(record.revision, record.clone());
        file(&mut self.read_in, record.scope.clone(), record);
    }

    fn remove_mentions(&mut self, record: &MessageRecord) {
        let Some(mentions) = self.mentions.get_mut(&record.scope) else { return };
        for path in &record.paths {
            if let Some(feed) = mentions.get_mut(path) {
                feed.remove(&record.revision);
                if feed.is_empty() {
                    mentions.remove(path);
                }
            }
        }
        if mentions.is_empty() {
            self.mentions.remove(&record.scope);
        }
    }
}

fn inbox_key(message: &MessageRecord, name: &PeerName) -> PeerKey {
    PeerKey { scope: message.scope.clone(), name: name.clone() }
}

fn file<K: Ord>(feeds: &mut BTreeMap<K, Feed>, key: K, message: &Arc<MessageRecord>) {
    feeds.entry(key).or_default().insert(message.revision, message.clone());
}

fn take_out<K: Ord>(feeds: &mut BTreeMap<K, Feed>, key: &K, revision: Revision) {
    if let Some(feed) = feeds.get_mut(key) {
        feed.remove(&revision);
        if feed.is_empty() {
            feeds.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::id::TopicName;
    use crate::record::Intent;
    use crate::target::Target;
    use crate::time::{Timestamp, WallTime};

    fn id(number: u32) -> MessageId {
        MessageId(Uuid::from_u128(number.into()))
    }

    /// Messages to all kinds of recipients, all of one thread but the last, which begins one.
    fn record(slot: u32) -> Arc<MessageRecord> {
        let name = |text: &str| PeerName::parse(text).unwrap();
        let topic = TopicName::parse("#a").unwrap();
        let kinds = [
            Recipients::Direct(vec![name("ann"), name("bob")]),
            Recipients::Broadcast,
            Recipients::Topic(topic),
        ];
        let answered = (slot > 0 && slot < 8).then(|| id(0));
        Arc::new(MessageRecord {
            slot,
            id: id(slot),
            revision: Revision(u64::from(slot) + 10),
            scope: ScopeId::global(),
            from: name("cat"),
            to: kinds[slot as usize % 3].clone(),
            body: "hello".into(),
            reply_to: answered,
            intent: Intent::Inform,
            urgent: false,
            at: Timestamp(0),
            sent: WallTime(0),
            thread: answered,
            paths: ["src/a", "src/", "src/a"].map(|path| Target::parse("path", path).unwrap()).into(),
        })
    }

    #[test]
    fn nothing_is_left_of_messages_that_are_gone() {
        for orders in [[0, 1, 2, 3, 4, 5, 6, 7, 8], [8, 7, 6, 5, 4, 3, 2, 1, 0], [3, 1, 4, 0, 5, 8, 2, 6, 7]]
        {
            let mut messages = Messages::default();
            for slot in orders {
                messages.insert(&record(slot));
            }
            assert_eq!(
                (messages.count(), messages.bytes),
                (9, 9 * ("hello".len() + "src/a".len() * 2 + "src/".len()))
            );
            assert_eq!(messages.threads.values().map(Feed::len).collect::<Vec<_>>(), [8], "in any order");
            for slot in [4, 0, 8, 1, 7, 3, 2, 6, 5] {
                messages.remove(slot);
            }
            assert_eq!(messages.free_slots.len(), 9);
            messages.free_slots.clear();
            assert_eq!(format!("{messages:?}"), format!("{:?}", Messages::default()));
        }
    }
    #[test]
    fn a_thread_is_what_was_decided_in_whatever_order_it_is_filed() {
        // The id that the answer names was unknown then, and belongs to a message of another thread by now.
        let answer =
            Arc::new(MessageRecord { reply_to: Some(id(5)), thread: Some(id(5)), ..(*record(0)).clone() });
        for order in [[answer.clone(), record(5)], [record(5), answer.clone()]] {
            let mut messages = Messages::default();
            for message in &order {
                messages.insert(message);
            }
            let thread = &messages.threads[&(ScopeId::global(), id(5))];
            assert_eq!(thread.keys().collect::<Vec<_>>(), [&answer.revision]);
        }
    }
}
