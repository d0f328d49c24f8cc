//! Messages, and what must be in whose inbox.

use std::collections::BTreeMap;

use mesh_core::id::{MessageId, PeerName, ScopeId, TopicName};
use mesh_core::record::{LogRecord, PeerRecord, Recipients};

/// A message.
#[derive(Clone, Debug)]
struct Letter {
    revision: u64,
    id: MessageId,
    from: PeerName,
    to: Recipients,
}

/// All of them, and everybody's cursor.
#[derive(Debug, Default)]
pub struct Mail {
    letters: BTreeMap<ScopeId, Vec<Letter>>,
    /// By the revision of the batch from which on it was so.
    readers: BTreeMap<(ScopeId, PeerName), Vec<(u64, PeerRecord)>>,
}

impl Mail {
    pub(super) fn sent(&mut self, log: &LogRecord, id: MessageId, from: &PeerName, to: &Recipients) {
        let letter = Letter { revision: log.revision.0, id, from: from.clone(), to: to.clone() };
        self.letters.entry(log.scope.clone()).or_default().push(letter);
    }

    pub(super) fn written(&mut self, peer: &PeerRecord, end: &LogRecord) {
        let readers = self.readers.entry((peer.scope.clone(), peer.name.clone())).or_default();
        readers.push((end.revision.0, peer.clone()));
    }

    /// The reader as it was for whoever looked at a revision.
    #[must_use]
    pub fn reader(&self, scope: &ScopeId, name: &PeerName, revision: u64) -> Option<&PeerRecord> {
        let known = self.readers.get(&(scope.clone(), name.clone()))?;
        let end = known.partition_point(|(at, _)| *at <= revision);
        known[..end].last().map(|(_, peer)| peer)
    }

    /// What was for a reader after a cursor and up to a revision, oldest first.
    pub fn inbox<'a>(
        &'a self,
        reader: &'a PeerRecord,
        after: u64,
        revision: u64,
    ) -> impl Iterator<Item = (u64, MessageId)> + 'a {
        let letters = self.letters.get(&reader.scope).into_iter().flatten();
        letters
            .filter(move |letter| letter.revision > after && letter.revision <= revision)
            .filter(|letter| letter.from != reader.name)
            .filter(|letter| match &letter.to {
                Recipients::Direct(names) => names.contains(&reader.name),
                Recipients::Broadcast => true,
                Recipients::Topic(topic) => {
                    reader.topics.get(topic).is_some_and(|since| since.0 < letter.revision)
                        || *topic == TopicName::notes()
                }
            })
            .map(|letter| (letter.revision, letter.id))
    }
}
