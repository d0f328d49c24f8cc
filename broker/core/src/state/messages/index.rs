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
        self.bytes += record.body.len();
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
        self.bytes -= record.body.len();
        self.read_by_all.remove(&revision);
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
