//! Which messages each peer was shown, for their senders to know.
//!
//! Owned by the services alone and lost with the process; that a message was read is in the store. What must hold:
//! a message counts as delivered only if it was in an answer to its recipient.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_core::record::{MessageRecord, PeerKey, PeerRecord};
use mesh_core::revision::Revision;
use mesh_core::{State, limits};

use super::memory::PerPeer;

/// What the peers were shown, for all services to see.
#[derive(Clone, Debug, Default)]
pub struct Shown(Arc<Mutex<PerPeer<Mail>>>);

/// What one peer was shown.
#[derive(Debug, Default)]
struct Mail {
    /// All its mail up to here.
    up_to: Revision,
    /// Beyond that, these: at most [`limits::PAGE`], the newest.
    apart: BTreeSet<Revision>,
}

impl Shown {
    /// The peer was shown all its mail after a cursor, up to the last of these messages.
    pub(super) fn note_inbox(
        &self,
        state: &State,
        peer: &PeerRecord,
        cursor: Revision,
        messages: &[Arc<MessageRecord>],
    ) {
        let Some(last) = messages.last() else { return };
        let mut mails = self.mails();
        let mail = mails.entry(state, peer.key());
        if cursor <= mail.up_to.max(peer.acknowledged) {
            mail.up_to = mail.up_to.max(last.revision);
            mail.apart = mail.apart.split_off(&mail.up_to.next());
        } else {
            mail.add(messages);
        }
    }

    /// The peer was shown these messages, as far as they are for it.
    pub(super) fn note(&self, state: &State, peer: &PeerRecord, messages: &[Arc<MessageRecord>]) {
        if !messages.is_empty() {
            self.mails().entry(state, peer.key()).add(messages);
        }
    }

    /// Whether the peer was shown the message of this revision.
    pub(super) fn has(&self, peer: &PeerKey, revision: Revision) -> bool {
        let mails = self.mails();
        mails.get(peer).is_some_and(|mail| revision <= mail.up_to || mail.apart.contains(&revision))
    }

    fn mails(&self) -> MutexGuard<'_, PerPeer<Mail>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mail {
    fn add(&mut self, messages: &[Arc<MessageRecord>]) {
        let beyond = messages.iter().map(|message| message.revision).filter(|at| *at > self.up_to);
        self.apart.extend(beyond);
        while self.apart.len() > limits::PAGE {
            self.apart.pop_first();
        }
    }
}
