//! Following topics.

use std::sync::Arc;

use crate::event::{Event, PeerChange};
use crate::id::TopicName;
use crate::limits;
use crate::outcome::Outcome;
use crate::record::{PeerRecord, Record, Write};
use crate::rejection::Rejection;
use crate::state::{Change, State, Step};

impl State {
    /// Follows topics, from here on, and others no longer. What is followed already keeps its beginning.
    pub(in crate::state) fn decide_follow(
        &self,
        caller: &Arc<PeerRecord>,
        follow: &[TopicName],
        unfollow: &[TopicName],
    ) -> Result<Step, Rejection> {
        let notes = TopicName::notes();
        if unfollow.contains(&notes) {
            return Err(Rejection::invalid("unfollow", format!("{notes} is followed by everybody")));
        }
        if let Some(both) = unfollow.iter().find(|topic| follow.contains(topic)) {
            return Err(Rejection::invalid("unfollow", format!("names {both}, which `follow` names too")));
        }
        let mut peer = PeerRecord::clone(caller);
        for topic in unfollow {
            peer.topics.remove(topic);
        }
        for topic in follow.iter().filter(|topic| **topic != notes) {
            peer.topics.entry(topic.clone()).or_insert(self.revision);
        }
        if peer.topics.len() > limits::TOPICS_PER_PEER {
            let problem =
                format!("makes it {} topics; at most {}", peer.topics.len(), limits::TOPICS_PER_PEER);
            return Err(Rejection::invalid("follow", format!("{problem} can be followed")));
        }
        let outcome = Outcome::Following { topics: followed(&peer) };
        if peer.topics == caller.topics {
            return Ok(Step::Answer(outcome));
        }
        let changed = PeerChange::between(caller, &peer);
        let peer = Arc::new(peer);
        Ok(Step::Change(Change {
            writes: vec![Write::Put(Record::Peer(peer.clone()))],
            events: vec![Event::PeerUpdated { peer, changed }],
            ..Change::new(caller.scope.clone(), Some(caller.name.clone()), outcome)
        }))
    }
}

/// The topics a peer follows, [`TopicName::notes`] included, by name.
fn followed(peer: &PeerRecord) -> Vec<TopicName> {
    let mut topics: Vec<_> = peer.topics.keys().cloned().chain([TopicName::notes()]).collect();
    topics.sort();
    topics
}
