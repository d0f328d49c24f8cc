//! Where jitter and request ids come from.
//!
//! What must hold: they differ between clients, unless a seed was given to make everything happen again.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

/// A source of randomness. Clones draw from the same one.
#[derive(Clone, Debug, Default)]
pub struct Chance(Option<Arc<AtomicU64>>);

impl Chance {
    /// What follows from a seed: for simulations.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(AtomicU64::new(seed))))
    }

    /// A number in 0..=1; without a seed, from the randomness that the standard library seeds its hash maps with.
    pub(crate) fn fraction(&self) -> f64 {
        let drawn = self.draw().unwrap_or_else(|| RandomState::new().hash_one(0_u8));
        f64::from(drawn as u32) / f64::from(u32::MAX)
    }

    /// A fresh request id.
    pub(crate) fn request_id(&self) -> String {
        let drawn = self.draw().zip(self.draw());
        drawn.map_or_else(Uuid::now_v7, |(high, low)| Uuid::from_u64_pair(high, low)).to_string()
    }

    /// SplitMix64.
    fn draw(&self) -> Option<u64> {
        let step = 0x9e37_79b9_7f4a_7c15_u64;
        let mut z = self.0.as_ref()?.fetch_add(step, Ordering::Relaxed).wrapping_add(step);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(z ^ (z >> 31))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_again_and_nothing_else_does() {
        let draw = |chance: &Chance| (chance.request_id(), chance.fraction());
        assert_eq!(draw(&Chance::seeded(1)), draw(&Chance::seeded(1)));
        assert_ne!(draw(&Chance::seeded(1)), draw(&Chance::seeded(2)));
        assert_ne!(draw(&Chance::default()), draw(&Chance::default()));
    }
}
