//! Messages and inboxes: a message is stored once; an inbox is what is for a peer after its cursor.
//!
//! Everything here is an index of the same records: by place, id, recipient, topic, thread and mention. What a message
//! is filed under is in its record, so that recovery files it again.

mod follow;
mod index;
mod merge;
mod receipts;
mod retention;
mod send;

pub use receipts::{Receipt, Receipts};

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::ops::Bound;
use std::sync::Arc;

use super::PageSize;
use crate::id::{MessageId, PeerName, ScopeId, TopicName};
use crate::mutation::{Mutation, planted};
use crate::record::{MessageRecord, PeerKey, PeerRecord, Recipients};
use crate::revision::Revision;
use crate::target::Target;
use crate::target::index::TargetIndex;
use merge::Merged;

/// All messages, with an index for each way to find them.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    by_revision: Feed,
    by_slot: BTreeMap<u32, Revision>,
    by_id: BTreeMap<MessageId, Revision>,
    free_slots: BTreeSet<u32>,
    /// Bytes of all bodies and of what they mention.
    bytes: usize,
    /// How many there are in each scope, and their bytes.
    totals: BTreeMap<ScopeId, (usize, usize)>,
    direct: BTreeMap<PeerKey, Feed>,
    broadcasts: BTreeMap<ScopeId, Feed>,
    topics: BTreeMap<ScopeId, BTreeMap<TopicName, Feed>>,
    /// Threads with an answer, the message they began with among them, under its id.
    threads: BTreeMap<(ScopeId, MessageId), Feed>,
    /// What answers a message.
    replies: BTreeMap<MessageId, Feed>,
    mentions: BTreeMap<ScopeId, TargetIndex<Feed>>,
    /// Direct messages that all their recipients have read.
    read_by_all: Feed,
    /// The same, by scope.
    read_in: BTreeMap<ScopeId, Feed>,
}

/// Messages by their place in the order.
type Feed = BTreeMap<Revision, Arc<MessageRecord>>;

impl Messages {
    /// How many messages are stored.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_revision.len()
    }

    /// All messages, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<MessageRecord>> {
        self.by_revision.values()
    }

    /// Revision of the newest message.
    pub(super) fn newest(&self) -> Revision {
        self.by_revision.last_key_value().map_or(Revision::ZERO, |(revision, _)| *revision)
    }

    /// Messages that are not found where they are filed, as when two have one slot, id or revision.
    pub(super) fn misfiled(&self) -> impl Iterator<Item = String> {
        let slots = self.by_slot.iter().filter_map(|(slot, revision)| {
            let found = self.by_revision.get(revision).is_some_and(|message| message.slot == *slot);
            (!found).then(|| format!("the message in slot {slot} shares its place with another"))
        });
        slots.chain(self.by_revision.values().filter_map(|message| {
            let found = self.by_id.get(&message.id) == Some(&message.revision);
            (!found)
                .then(|| format!("the message of revision {} shares its id with another", message.revision.0))
        }))
    }

    /// A message by its id.
    #[must_use]
    pub fn by_id(&self, id: MessageId) -> Option<&Arc<MessageRecord>> {
        self.by_revision.get(self.by_id.get(&id)?)
    }

    /// The first message of another peer that answers one and that its sender gets or may read.
    #[must_use]
    pub fn reply_to(&self, message: &MessageRecord) -> Option<&Arc<MessageRecord>> {
        let answers = |reply: &&Arc<MessageRecord>| {
            reply.from != message.from && reply.scope == message.scope && is_open_to(&reply.to, &message.from)
        };
        self.replies.get(&message.id)?.values().find(answers)
    }

    /// Messages of a topic after a revision, oldest first; the newest that fit, when that is zero.
    #[must_use]
    pub fn topic(
        &self,
        scope: &ScopeId,
        topic: &TopicName,
        after: Revision,
        page: PageSize,
    ) -> Vec<Arc<MessageRecord>> {
        self.topic_feed(scope, topic).map_or_else(Vec::new, |feed| page_of(feed, after, page, |_| true))
    }

    /// Messages of a message's thread after a revision, as far as a peer sent or received them; as [`Self::topic`].
    #[must_use]
    pub fn thread(
        &self,
        of: &MessageRecord,
        reader: &PeerRecord,
        after: Revision,
        page: PageSize,
    ) -> Vec<Arc<MessageRecord>> {
        let shown = |message: &MessageRecord| Self::concerns(message, reader);
        if let Some(thread) = self.threads.get(&index::thread_key(of)) {
            return page_of(thread, after, page, shown);
        }
        let alone = self.by_revision.get(&of.revision).map(|message| (message.revision, message.clone()));
        page_of(&alone.into_iter().collect(), after, page, shown)
    }

    /// Topics of a scope that have messages, with how many and the revision of the newest, by name.
    pub fn topics(&self, scope: &ScopeId) -> impl Iterator<Item = (&TopicName, usize, Revision)> {
        let newest = |feed: &Feed| feed.last_key_value().map_or(Revision::ZERO, |(revision, _)| *revision);
        let topics = self.topics.get(scope).into_iter().flatten();
        topics.map(move |(topic, feed)| (topic, feed.len(), newest(feed)))
    }

    /// Messages of a scope that mention something which overlaps a target, each once, in no order that matters.
    pub fn about<'a>(
        &'a self,
        scope: &'a ScopeId,
        target: &'a Target,
    ) -> impl Iterator<Item = &'a Arc<MessageRecord>> {
        let mentions = self.mentions.get(scope).into_iter().flat_map(|index| index.overlapping(target));
        mentions.flat_map(move |(mentioned, feed)| {
            // A message that mentions several such things is told where the first of them is met.
            let is_first = move |message: &&Arc<MessageRecord>| {
                message.paths.iter().find(|path| path.intersects(target)) == Some(mentioned)
            };
            feed.values().filter(is_first)
        })
    }

    /// Whether a peer may read a message: it is for it or of it, for everybody, or in a topic.
    #[must_use]
    pub fn concerns(message: &MessageRecord, peer: &PeerRecord) -> bool {
        message.scope == peer.scope && (message.from == peer.name || is_open_to(&message.to, &peer.name))
    }

    /// How many messages a peer has not acknowledged.
    #[must_use]
    pub fn unread(&self, peer: &PeerRecord) -> u32 {
        let unread = self.feeds(peer, peer.acknowledged).flatten();
        saturating(unread.filter(|(_, message)| message.from != peer.name).count())
    }

    /// A peer's messages after a cursor, oldest first; true when more follow.
    #[must_use]
    pub fn inbox(
        &self,
        peer: &PeerRecord,
        after: Revision,
        page: PageSize,
    ) -> (Vec<Arc<MessageRecord>>, bool) {
        let after = if planted(Mutation::InboxSkips) { after.next() } else { after };
        let messages = Merged::new(self.feeds(peer, after)).filter(|message| message.from != peer.name);
        page.fill(messages.cloned(), size)
    }

    /// What is for a peer after a cursor, its own messages among it: no message is in two of them.
    fn feeds<'a>(
        &'a self,
        peer: &'a PeerRecord,
        after: Revision,
    ) -> impl Iterator<Item = btree_map::Range<'a, Revision, Arc<MessageRecord>>> {
        let notes = TopicName::notes();
        let always = [
            self.direct.get(&peer.key()),
            self.broadcasts.get(&peer.scope),
            self.topic_feed(&peer.scope, &notes),
        ];
        let followed = peer.topics.iter().filter(move |(topic, _)| **topic != notes);
        let followed = followed.filter_map(move |(topic, since)| {
            let feed = self.topic_feed(&peer.scope, topic)?;
            Some(later(feed, after.max(*since)))
        });
        always.into_iter().flatten().map(move |feed| later(feed, after)).chain(followed)
    }

    fn topic_feed(&self, scope: &ScopeId, topic: &TopicName) -> Option<&Feed> {
        self.topics.get(scope)?.get(topic)
    }
}

/// Roughly how many bytes a message takes, in memory and in an answer.
fn size(message: &Arc<MessageRecord>) -> usize {
    bytes(&message.body, &message.paths)
}

/// Bytes of a text and of the targets that it mentions.
fn bytes(body: &str, paths: &[Target]) -> usize {
    body.len() + paths.iter().map(|path| path.as_str().len()).sum::<usize>()
}

/// The messages of a feed after a revision.
fn later(feed: &Feed, after: Revision) -> btree_map::Range<'_, Revision, Arc<MessageRecord>> {
    feed.range((Bound::Excluded(after), Bound::Unbounded))
}

/// A page of a feed, oldest first: after a revision, or the newest when that is zero.
fn page_of(
    feed: &Feed,
    after: Revision,
    page: PageSize,
    shown: impl Fn(&MessageRecord) -> bool,
) -> Vec<Arc<MessageRecord>> {
    let messages = later(feed, after).map(|(_, message)| message).filter(|message| shown(message)).cloned();
    if after > Revision::ZERO {
        return page.fill(messages, size).0;
    }
    let (mut newest, _) = page.fill(messages.rev(), size);
    newest.reverse();
    newest
}

/// Whether a peer of the scope may read what is sent to these: it is named, or everybody may.
fn is_open_to(to: &Recipients, name: &PeerName) -> bool {
    match to {
        Recipients::Direct(names) => names.contains(name),
        Recipients::Broadcast | Recipients::Topic(_) => true,
    }
}

/// Whether a peer of the scope follows a topic, and did so when a message went to it.
fn follows(peer: &PeerRecord, topic: &TopicName, message: Revision) -> bool {
    *topic == TopicName::notes() || peer.topics.get(topic).is_some_and(|since| *since < message)
}

/// A count as an answer carries it.
fn saturating(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
