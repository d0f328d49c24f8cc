//! How long to wait before the next try.
//!
//! What must hold: delays grow, stay bounded, and differ between clients, so that those cut off together do
//! not come back together.

use std::time::Duration;

use crate::Chance;

/// Exponential delays with jitter: each between half and the whole of a doubling step.
#[derive(Debug)]
pub(crate) struct Backoff {
    step: Duration,
    cap: Duration,
    first: Duration,
    chance: Chance,
}

impl Backoff {
    pub(crate) fn new(first: Duration, cap: Duration, chance: &Chance) -> Self {
        Self { step: first, cap, first, chance: chance.clone() }
    }

    /// The next delay.
    pub(crate) fn next(&mut self) -> Duration {
        let step = self.step.min(self.cap);
        self.step = step.saturating_mul(2);
        step.mul_f64(0.5 + self.chance.fraction() / 2.0)
    }

    /// Starts small again, after a success.
    pub(crate) fn reset(&mut self) {
        self.step = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_cap_and_start_again() {
        let mut backoff =
            Backoff::new(Duration::from_millis(100), Duration::from_millis(300), &Chance::default());
        for step in [100, 200, 300, 300] {
            let delay = backoff.next().as_millis();
            assert!((step / 2..=step).contains(&delay), "{delay} of {step}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
    }
}
