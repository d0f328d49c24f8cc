//! How long messages are kept: until nobody needs them, or their time is over.

use std::ops::Bound;
use std::sync::Arc;

use super::Messages;
use crate::command::Send;
use crate::id::ScopeId;
use crate::limits;
use crate::outcome::Outcome;
use crate::record::{MessageRecord, PeerKey, PeerRecord, Recipients, RecordKey, Write};
use crate::rejection::Rejection;
use crate::revision::Revision;
use crate::state::deadlines::Due;
use crate::state::{Change, State, Step};
use crate::time::{Millis, Now, Timestamp};

/// Most deadlines looked at to find messages that expire together.
const LOOKED_AT: usize = 1_000;

/// Messages that one transaction deletes, as many as it may.
#[derive(Debug, Default)]
pub(super) struct Deletions {
    /// Bytes of their bodies and of what they mention.
    bytes: usize,
    /// Bytes of their records.
    weight: usize,
    writes: Vec<Write>,
}

impl Deletions {
    /// Deletes a message too; false when it no longer fits.
    pub(super) fn add(&mut self, message: &MessageRecord) -> bool {
        let (count, bytes) = limits::DELETES_PER_TRANSACTION;
        let fits = self.writes.len() < count && self.weight + message.weight() <= bytes;
        if fits {
            self.bytes += super::bytes(&message.body, &message.paths);
            self.weight += message.weight();
            self.writes.push(Write::Delete(RecordKey::Message(message.slot)));
        }
        fits
    }

    /// The deletions.
    pub(super) fn into_writes(self) -> Vec<Write> {
        self.writes
    }
}

impl Messages {
    /// Adds what gives way to a new message where its scope or the mesh is full: the oldest that all their recipients
    /// have read. A scope that is full gives of its own only.
    pub(super) fn make_room(
        &self,
        scope: &ScopeId,
        send: &Send,
        deletions: &mut Deletions,
    ) -> Result<(), Rejection> {
        let new = super::bytes(&send.body, &send.paths);
        let here = self.totals.get(scope).copied().unwrap_or_default();
        let mut read = self.read_in.get(scope).into_iter().flatten();
        let mut given = Revision::ZERO;
        while let Some(full) = OF_SCOPE.full(here, deletions, new) {
            let oldest = read.next().filter(|(_, oldest)| deletions.add(oldest));
            given = *oldest.ok_or(full)?.0;
        }
        let mut read = self.read_by_all.values();
        let mut read = read.by_ref().filter(|it| it.scope != *scope || it.revision > given);
        while let Some(full) = OF_MESH.full((self.count(), self.bytes), deletions, new) {
            if !read.next().is_some_and(|oldest| deletions.add(oldest)) {
                return Err(full);
            }
        }
        Ok(())
    }
}

/// How much there may be of messages: how many, and how many bytes, with what each is called.
struct Most {
    count: (&'static str, usize),
    bytes: (&'static str, usize),
}

const OF_SCOPE: Most = Most {
    count: ("messages of one scope", limits::MESSAGES_PER_SCOPE),
    bytes: ("bytes of messages of one scope", limits::MESSAGE_BYTES_PER_SCOPE),
};

const OF_MESH: Most =
    Most { count: ("messages", limits::MESSAGES), bytes: ("bytes of messages", limits::MESSAGE_BYTES) };

impl Most {
    /// The refusal when one more of so many bytes does not fit beside those that stay.
    fn full(&self, (count, bytes): (usize, usize), gone: &Deletions, new: usize) -> Option<Rejection> {
        let reached = |(what, limit)| Some(Rejection::LimitReached { what, limit });
        if count - gone.writes.len() >= self.count.1 {
            return reached(self.count);
        }
        if bytes - gone.bytes + new > self.bytes.1 {
            return reached(self.bytes);
        }
        None
    }
}

impl State {
    /// Deletes a message that is past its retention, and others of the scope that are as well.
    pub(in crate::state) fn decide_message_expiry(&self, slot: u32, now: Now) -> Step {
        let Some(message) = self.messages.in_slot(slot) else { return Step::Answer(Outcome::Done) };
        let mut deletions = Deletions::default();
        deletions.add(message);
        let due = self.deadlines.all_due(now.at).take(LOOKED_AT);
        let others = due
            .filter_map(|due| if let Due::Message(slot) = due { self.messages.in_slot(*slot) } else { None })
            .filter(|other| other.scope == message.scope && other.slot != slot);
        for other in others {
            if !deletions.add(other) {
                break;
            }
        }
        Step::Change(Change {
            writes: deletions.into_writes(),
            ..Change::new(message.scope.clone(), None, Outcome::Done)
        })
    }

    pub(in crate::state) fn apply_message(&mut self, record: &Arc<MessageRecord>, now: Timestamp) {
        self.remove_message(record.slot);
        self.messages.insert(record);
        self.deadlines.set(Due::Message(record.slot), record.at.after(retention(&record.to)));
        // True on recovery only, which starts the time of what is read anew.
        if self.is_read_by_all(record) {
            self.note_read_by_all(record, now);
        }
    }

    pub(in crate::state) fn remove_message(&mut self, slot: u32) {
        self.deadlines.clear(&Due::Message(slot));
        self.messages.remove(slot);
    }

    /// Takes a peer in. What everybody has read, since this peer has, is kept only so much longer.
    pub(in crate::state) fn apply_reader(&mut self, record: &Arc<PeerRecord>, now: Timestamp) {
        let former = self.peers.get(&record.scope, &record.name).map(|peer| peer.acknowledged);
        self.apply_peer(record, now);
        if let Some(former) = former.filter(|former| *former < record.acknowledged) {
            let read = (Bound::Excluded(former), Bound::Included(record.acknowledged));
            self.note_read(&record.key(), read, now);
        }
    }

    /// Forgets a peer. It keeps no message from being read by all any longer.
    pub(in crate::state) fn remove_reader(&mut self, key: &PeerKey, now: Timestamp) {
        self.remove_peer(key);
        self.note_read(key, (Bound::Unbounded, Bound::Unbounded), now);
    }

    /// Looks for messages to a peer that all their recipients have read.
    fn note_read(&mut self, key: &PeerKey, read: (Bound<Revision>, Bound<Revision>), now: Timestamp) {
        let inbox = self.messages.direct.get(key).into_iter().flat_map(|inbox| inbox.range(read));
        let by_all = inbox.map(|(_, message)| message).filter(|message| self.is_read_by_all(message));
        for message in by_all.cloned().collect::<Vec<_>>() {
            self.note_read_by_all(&message, now);
        }
    }

    fn note_read_by_all(&mut self, message: &Arc<MessageRecord>, now: Timestamp) {
        self.messages.insert_read(message);
        self.deadlines.set_earlier(Due::Message(message.slot), now.after(limits::READ_RETENTION));
    }

    /// Whether it is a direct message that every recipient has read. One that is no longer known counts as having.
    fn is_read_by_all(&self, message: &MessageRecord) -> bool {
        let Recipients::Direct(names) = &message.to else { return false };
        let mut recipients = names.iter().filter_map(|name| self.peers.get(&message.scope, name));
        recipients.all(|peer| peer.acknowledged >= message.revision)
    }
}

/// How long a message is kept that not all have read.
fn retention(to: &Recipients) -> Millis {
    match to {
        Recipients::Direct(_) | Recipients::Broadcast => limits::MESSAGE_RETENTION,
        Recipients::Topic(_) => limits::TOPIC_RETENTION,
    }
}
