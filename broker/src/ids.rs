//! Fresh ids: of sessions, of messages, and the seeds of generated names.
//!
//! The only randomness above the store. It comes from the operating system, or from a seed where all that happens is
//! to happen again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mesh_core::id::{MessageId, SessionId};
use uuid::Uuid;

/// Draws ids. Clones draw from the same source.
#[derive(Clone, Debug, Default)]
pub struct Ids(Option<Arc<AtomicU64>>);

impl Ids {
    /// Ids that follow from a seed: for simulations, since whoever knows the seed knows them.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(AtomicU64::new(seed))))
    }

    /// For a session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        SessionId(self.draw().unwrap_or_else(Uuid::new_v4))
    }

    /// For a generated name.
    #[must_use]
    pub fn name_seed(&self) -> u64 {
        self.draw().unwrap_or_else(Uuid::new_v4).as_u64_pair().0
    }

    /// For a message.
    #[must_use]
    pub fn message(&self) -> MessageId {
        MessageId(self.draw().unwrap_or_else(Uuid::now_v7))
    }

    fn draw(&self) -> Option<Uuid> {
        let state = self.0.as_ref()?;
        // SplitMix64, twice.
        let next = || {
            let step = 0x9e37_79b9_7f4a_7c15_u64;
            let mut z = state.fetch_add(step, Ordering::Relaxed).wrapping_add(step);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Some(Uuid::from_u64_pair(next(), next()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_ids_again() {
        let draw = |ids: &Ids| (ids.session(), ids.message(), ids.name_seed());
        assert_eq!(draw(&Ids::seeded(1)), draw(&Ids::seeded(1)));
        assert_ne!(draw(&Ids::seeded(1)), draw(&Ids::seeded(2)));
        assert_ne!(draw(&Ids::default()), draw(&Ids::default()));
        let ids = Ids::seeded(1);
        assert_ne!(ids.session(), ids.session());
    }
}
