//! How long to wait before the next try.
//!
//! What must hold: delays grow, stay bounded, and differ between clients, so that those cut off together do
//! not come back together.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Exponential delays with jitter: each between half and the whole of a doubling step.
#[derive(Debug)]
pub(crate) struct Backoff {
    step: Duration,
    cap: Duration,
    first: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, cap: Duration) -> Self {
        Self { step: first, cap, first }
    }

    /// The next delay.
    pub(crate) fn next(&mut self) -> Duration {
        let step = self.step.min(self.cap);
        self.step = step.saturating_mul(2);
        step.mul_f64(0.5 + random_fraction() / 2.0)
    }

    /// Starts small again, after a success.
    pub(crate) fn reset(&mut self) {
        self.step = self.first;
    }
}

/// A number in 0..1 from the randomness that the standard library seeds its hash maps with.
fn random_fraction() -> f64 {
    f64::from(RandomState::new().hash_one(0_u8) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_cap_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(300));
        for step in [100, 200, 300, 300] {
            let delay = backoff.next().as_millis();
            assert!((step / 2..=step).contains(&delay), "{delay} of {step}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
    }
}
