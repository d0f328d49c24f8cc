//! What the services remember of each peer beyond the state.
//!
//! What must hold: peers that are known no longer are forgotten, and what they took is given back, so that there are
//! never much more than twice as many as the mesh knew when it was last looked.

use std::collections::BTreeMap;

use mesh_core::State;
use mesh_core::record::PeerKey;

/// So many peers may be remembered before it is first looked which of them are still known.
const FIRST_SWEEP: usize = 256;

/// Something of each peer.
#[derive(Debug)]
pub(super) struct PerPeer<T> {
    peers: BTreeMap<PeerKey, T>,
    sweep_at: usize,
}

impl<T> Default for PerPeer<T> {
    fn default() -> Self {
        Self { peers: BTreeMap::new(), sweep_at: FIRST_SWEEP }
    }
}

impl<T: Default> PerPeer<T> {
    /// What is remembered of a peer, to be changed. Those that are gone give way each time the number has doubled.
    pub(super) fn entry(&mut self, state: &State, peer: PeerKey) -> &mut T {
        if self.peers.len() >= self.sweep_at && !self.peers.contains_key(&peer) {
            self.peers.retain(|key, _| state.peers.get(&key.scope, &key.name).is_some());
            self.sweep_at = FIRST_SWEEP.max(self.peers.len() * 2);
        }
        self.peers.entry(peer).or_default()
    }

    /// What is remembered of a peer.
    pub(super) fn get(&self, peer: &PeerKey) -> Option<&T> {
        self.peers.get(peer)
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::id::{PeerName, ScopeId};

    use super::*;

    fn key(n: usize) -> PeerKey {
        PeerKey { scope: ScopeId::global(), name: PeerName::parse(&format!("peer-{n}")).unwrap() }
    }

    #[test]
    fn peers_that_are_known_no_longer_are_forgotten() {
        let mut memory = PerPeer::<usize>::default();
        for n in 0..10_000 {
            *memory.entry(&State::default(), key(n)) += 1;
            assert!(memory.peers.len() <= FIRST_SWEEP, "{}", memory.peers.len());
        }
        assert_eq!(memory.get(&key(9_999)), Some(&1));
        assert_eq!(memory.get(&key(0)), None);
    }
}
