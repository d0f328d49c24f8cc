//! What the peers' programs reported of waking their agents, for the senders to know.
//!
//! Owned by the services alone and lost with the process, as [`super::Shown`] is. What must hold: a report counts for
//! mail that was unread when it was made, and a later one takes its place.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_core::record::{PeerKey, PeerRecord};
use mesh_core::revision::Revision;
use mesh_core::time::WallTime;
use mesh_core::{State, limits};
use mesh_proto::v1 as pb;

use super::convert::messages::Wake;
use super::memory::PerPeer;

/// The newest reports of each peer, for all services to see.
#[derive(Clone, Debug, Default)]
pub struct Wakes(Arc<Mutex<PerPeer<VecDeque<Woken>>>>);

/// A report.
#[derive(Clone, Debug)]
pub(super) struct Woken {
    /// What was reported.
    pub(super) wake: Wake,
    /// When, for display.
    pub(super) at: WallTime,
    /// What was read by then: it is for what came after.
    read: Revision,
}

impl Woken {
    fn covers(&self, message: Revision) -> bool {
        self.read < message && message <= self.wake.up_to
    }

    /// What came of it.
    pub(super) fn outcome(&self) -> pb::WakeOutcome {
        if self.wake.taken { pb::WakeOutcome::Taken } else { pb::WakeOutcome::Failed }
    }
}

impl Wakes {
    /// Takes a report of a peer.
    pub(super) fn note(&self, state: &State, peer: &PeerRecord, wake: Wake, at: WallTime) {
        let woken = Woken { wake, at, read: peer.acknowledged };
        let mut wakes = self.wakes();
        let reports = wakes.entry(state, peer.key());
        // One that counts for nothing any longer need not take a place.
        reports.retain(|former| !(woken.read <= former.read && former.wake.up_to <= woken.wake.up_to));
        while reports.len() >= limits::WAKES_PER_PEER {
            reports.pop_front();
        }
        reports.push_back(woken);
    }

    /// What was last reported of waking the peer for the message of this revision.
    pub(super) fn of(&self, peer: &PeerKey, message: Revision) -> Option<Woken> {
        self.wakes().get(peer)?.iter().rev().find(|woken| woken.covers(message)).cloned()
    }

    fn wakes(&self) -> MutexGuard<'_, PerPeer<VecDeque<Woken>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
