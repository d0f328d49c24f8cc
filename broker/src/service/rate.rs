//! How fast each caller may call: a steady rate, after a burst that no agent uses up.
//!
//! Owned by the gate, in memory only. A call that is a little too early is held until it is due, so that a caller that
//! makes one call after the other is paced and sees no refusal; one that is far too early is refused, and that answer
//! is held as long, so that a caller that does not listen is paced as well. What must hold: a caller's pace depends on
//! its own calls alone, and what is remembered of callers that are within their rate is nothing.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesh_core::limits::{RATE_AT_ONCE, RATE_HOLD, RATE_PER_SECOND};
use tokio::time::{Instant, sleep};

use super::auth::Caller;
use super::status::Refusal;
use crate::queue::Lane;

/// What one call takes of its caller's time.
const EACH: Duration = Duration::from_nanos(1_000_000_000 / RATE_PER_SECOND as u64);
/// How far ahead of its rate a caller may be.
const AHEAD: Duration = EACH.saturating_mul(RATE_AT_ONCE as u32);
const HOLD: Duration = Duration::from_millis(RATE_HOLD.0);
/// So many callers may be remembered before it is first looked which of them are within their rate.
const FIRST_SWEEP: usize = 256;

/// Whose calls count together: those of a session, or those of one connection without a session.
pub(super) fn rate_key(caller: &Caller) -> Lane {
    Lane::of(caller.session, &caller.connection.alive)
}

/// The pace of every caller.
#[derive(Debug)]
pub(super) struct Rates<K>(Arc<Mutex<Buckets<K>>>);

impl<K> Clone for Rates<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// When each caller will be within its rate again (the generic cell rate algorithm).
#[derive(Debug)]
struct Buckets<K> {
    until: HashMap<K, Instant>,
    sweep_at: usize,
}

/// When a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Go on.
    Now,
    /// In a moment.
    In(Duration),
    /// Not so soon: ask again after this time.
    Refused(Duration),
}

impl<K: Eq + Hash> Rates<K> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Buckets { until: HashMap::new(), sweep_at: FIRST_SWEEP })))
    }

    /// Counts a call.
    pub(super) fn count(&self, key: K) -> Pace {
        let now = Instant::now();
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.sweep(now);
        let until = buckets.until.entry(key).or_insert(now);
        let busy = until.saturating_duration_since(now);
        let early = (busy + EACH).saturating_sub(AHEAD);
        if early > HOLD {
            return Pace::Refused(early);
        }
        *until = now + busy + EACH;
        if early.is_zero() { Pace::Now } else { Pace::In(early) }
    }

    /// How many callers are remembered.
    #[cfg(test)]
    fn remembered(&self) -> usize {
        self.0.lock().unwrap().until.len()
    }
}

impl<K: Eq + Hash> Buckets<K> {
    /// Forgets callers that are within their rate, each time the number of callers has doubled.
    fn sweep(&mut self, now: Instant) {
        if self.until.len() >= self.sweep_at {
            self.until.retain(|_, until| *until > now);
            self.sweep_at = FIRST_SWEEP.max(self.until.len() * 2);
        }
    }
}

impl Pace {
    /// Waits until the call may be made.
    pub(super) async fn keep(self) -> Result<(), Refusal> {
        match self {
            Self::Now => Ok(()),
            Self::In(early) => {
                sleep(early).await;
                Ok(())
            }
            Self::Refused(early) => {
                sleep(HOLD).await;
                Err(Refusal::TooFast { retry_after: early })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_through_then_calls_are_paced_then_refused() {
        let rates = Rates::new();
        for n in 0..RATE_AT_ONCE {
            assert_eq!(rates.count(1), Pace::Now, "{n}");
        }
        let mut held = 0;
        let refused = loop {
            match rates.count(1) {
                Pace::Now => panic!("above the burst"),
                Pace::In(early) => {
                    held += 1;
                    assert_eq!(early, EACH * held);
                }
                Pace::Refused(early) => break early,
            }
        };
        assert_eq!(held as usize, RATE_PER_SECOND * HOLD.as_millis() as usize / 1_000);
        assert_eq!(rates.count(2), Pace::Now, "another caller");
        assert_eq!(rates.count(1), Pace::Refused(refused), "a refused call counts for nothing");
        sleep(refused).await;
        assert_eq!(rates.count(1), Pace::Now);
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_after_the_other_is_paced_and_never_refused() {
        let rates = Rates::new();
        let begun = Instant::now();
        let calls = RATE_AT_ONCE + 3 * RATE_PER_SECOND;
        for _ in 0..calls {
            rates.count(1).keep().await.unwrap();
        }
        assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_to_the_rate_is_forgotten() {
        let rates = Rates::new();
        for n in 0..100_000 {
            assert_eq!(rates.count(n), Pace::Now);
            if n % 100 == 0 {
                sleep(Duration::from_secs(1)).await;
            }
        }
        assert!(rates.remembered() <= 2 * FIRST_SWEEP, "{}", rates.remembered());
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_listen_is_told_late() {
        let rates = Rates::new();
        while !matches!(rates.count(1), Pace::Refused(_)) {}
        let begun = Instant::now();
        let refused = rates.count(1).keep().await.unwrap_err();
        assert!(matches!(refused, Refusal::TooFast { .. }));
        assert!(begun.elapsed() >= HOLD);
    }
}
