//! Steady rates after a burst (the generic cell rate algorithm), of calls and of new connections.
//!
//! Owns, in memory only, when each key will be within its rate again. What must hold: a key's pace depends on what was
//! counted for it alone; what is refused counts for nothing; of keys within their rate nothing is remembered.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many keys may be remembered before it is first looked which of them are within their rate.
pub(crate) const FIRST_SWEEP: usize = 256;

/// A steady rate after a burst.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) per_second: usize,
    pub(crate) at_once: usize,
}

/// The pace of each of some keys.
#[derive(Debug)]
pub(crate) struct Paces<K> {
    pub(crate) rate: Rate,
    buckets: Mutex<Buckets<K>>,
}

#[derive(Debug)]
struct Buckets<K> {
    until: HashMap<K, Instant>,
    sweep_at: usize,
}

impl Rate {
    /// What each takes of its key's time.
    pub(crate) fn each(self) -> Duration {
        Duration::from_secs(1) / u32::try_from(self.per_second).unwrap_or(u32::MAX)
    }

    /// How far ahead of its rate a key may be.
    fn ahead(self) -> Duration {
        self.each() * u32::try_from(self.at_once).unwrap_or(u32::MAX)
    }
}

impl<K: Eq + Hash> Paces<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::new(Buckets { until: HashMap::new(), sweep_at: FIRST_SWEEP }) }
    }

    /// Counts one, and tells how much too early it is; or refuses it when that is more than `most`, and tells as well.
    pub(crate) fn count(&self, key: K, most: Duration) -> Result<Duration, Duration> {
        let (now, each) = (Instant::now(), self.rate.each());
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.sweep(now);
        let until = buckets.until.entry(key).or_insert(now);
        let busy = until.saturating_duration_since(now);
        let early = (busy + each).saturating_sub(self.rate.ahead());
        if early > most {
            return Err(early);
        }
        *until = now + busy + each;
        Ok(early)
    }

    /// How many keys are remembered.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.buckets.lock().unwrap().until.len()
    }
}

impl<K: Eq + Hash> Buckets<K> {
    /// Forgets keys that are within their rate, each time the number of keys has doubled.
    fn sweep(&mut self, now: Instant) {
        if self.until.len() >= self.sweep_at {
            self.until.retain(|_, until| *until > now);
            self.sweep_at = FIRST_SWEEP.max(self.until.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_keeps_to_the_rate_is_forgotten() {
        let rates = Paces::new(Rate { per_second: 4_000, at_once: 8_000 });
        for n in 0..100_000 {
            assert_eq!(rates.count(n, Duration::ZERO), Ok(Duration::ZERO));
            if n % 100 == 0 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        assert!(rates.remembered() <= 2 * FIRST_SWEEP, "{}", rates.remembered());
    }
}
