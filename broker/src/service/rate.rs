//! How fast each caller may call: a steady rate, after a burst that no agent uses up.
//!
//! Owned by the gate, in memory only. A call counts for its session, or its connection without one, and for the token
//! that it came with: so no token gets more by having many sessions. The broker's own user is trusted, and each of its
//! sessions has its own rate only. A call that is a little too early is held until it is due, so that a caller that
//! makes one call after the other is paced and sees no refusal; one that is far too early is refused, and that answer
//! is held as long, so that a caller that does not listen is paced as well. What must hold: a caller's pace depends on
//! its own calls and those of its token alone, and what is remembered of callers that are within their rate is nothing.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesh_core::id::CredentialId;
use mesh_core::limits::{
    RATE_AT_ONCE, RATE_HOLD, RATE_PER_SECOND, TOKEN_RATE_AT_ONCE, TOKEN_RATE_PER_SECOND,
};
use tokio::time::{Instant, sleep};

use super::auth::Caller;
use super::status::Refusal;
use crate::queue::{Connection, Lane};

const HOLD: Duration = Duration::from_millis(RATE_HOLD.0);
/// So many callers may be remembered before it is first looked which of them are within their rate.
const FIRST_SWEEP: usize = 256;

/// The pace of everybody.
#[derive(Clone, Debug)]
pub(super) struct Rates {
    sessions: Arc<Paces<Lane>>,
    tokens: Arc<Paces<CredentialId>>,
}

/// A steady rate after a burst.
#[derive(Clone, Copy, Debug)]
struct Rate {
    per_second: usize,
    at_once: usize,
}

/// The pace of each of some callers.
#[derive(Debug)]
struct Paces<K> {
    rate: Rate,
    buckets: Mutex<Buckets<K>>,
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
    Refused {
        /// How long.
        retry_after: Duration,
        /// The rate that was met.
        per_second: usize,
    },
}

impl Rates {
    pub(super) fn new() -> Self {
        let session = Rate { per_second: RATE_PER_SECOND, at_once: RATE_AT_ONCE };
        let token = Rate { per_second: TOKEN_RATE_PER_SECOND, at_once: TOKEN_RATE_AT_ONCE };
        Self { sessions: Arc::new(Paces::new(session)), tokens: Arc::new(Paces::new(token)) }
    }

    /// Counts a call. One that its session may not make counts for nothing, so that it takes nothing from the others
    /// of its token.
    pub(super) fn count(&self, caller: &Caller) -> Pace {
        self.count_for(Lane::of(caller.session, &caller.connection.alive), caller.token())
    }

    fn count_for(&self, lane: Lane, token: Option<&CredentialId>) -> Pace {
        let own = self.sessions.count(lane);
        match (own, token) {
            (Pace::Refused { .. }, _) | (_, None) => own,
            (Pace::Now | Pace::In(_), Some(token)) => own.or_later(self.tokens.count(token.clone())),
        }
    }

    /// Counts a call that was not let in, for its connection.
    pub(super) fn count_stranger(&self, connection: &Connection) -> Pace {
        self.sessions.count(Lane::of(None, connection))
    }
}

impl Rate {
    /// What one call takes of its caller's time.
    fn each(self) -> Duration {
        Duration::from_secs(1) / u32::try_from(self.per_second).unwrap_or(u32::MAX)
    }

    /// How far ahead of its rate a caller may be.
    fn ahead(self) -> Duration {
        self.each() * u32::try_from(self.at_once).unwrap_or(u32::MAX)
    }
}

impl<K: Eq + Hash> Paces<K> {
    fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::new(Buckets { until: HashMap::new(), sweep_at: FIRST_SWEEP }) }
    }

    fn count(&self, key: K) -> Pace {
        let (now, each) = (Instant::now(), self.rate.each());
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.sweep(now);
        let until = buckets.until.entry(key).or_insert(now);
        let busy = until.saturating_duration_since(now);
        let early = (busy + each).saturating_sub(self.rate.ahead());
        if early > HOLD {
            return Pace::Refused { retry_after: early, per_second: self.rate.per_second };
        }
        *until = now + busy + each;
        if early.is_zero() { Pace::Now } else { Pace::In(early) }
    }

    /// How many callers are remembered.
    #[cfg(test)]
    fn remembered(&self) -> usize {
        self.buckets.lock().unwrap().until.len()
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
    /// The later of both.
    fn or_later(self, other: Self) -> Self {
        match (self, other) {
            (Self::Refused { .. }, _) | (_, Self::Now) => self,
            (_, Self::Refused { .. }) | (Self::Now, _) => other,
            (Self::In(mine), Self::In(theirs)) => Self::In(mine.max(theirs)),
        }
    }

    /// Waits until the call may be made.
    pub(super) async fn keep(self) -> Result<(), Refusal> {
        match self {
            Self::Now => Ok(()),
            Self::In(early) => {
                sleep(early).await;
                Ok(())
            }
            Self::Refused { retry_after, per_second } => {
                sleep(HOLD).await;
                Err(Refusal::TooFast { retry_after, per_second })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::id::SessionId;
    use uuid::Uuid;

    use super::*;

    fn sessions() -> Paces<u32> {
        Paces::new(Rate { per_second: RATE_PER_SECOND, at_once: RATE_AT_ONCE })
    }

    #[test]
    fn the_later_of_two_paces_counts() {
        let refused = Pace::Refused { retry_after: HOLD, per_second: 1 };
        let [soon, later] = [1, 2].map(|millis| Pace::In(Duration::from_millis(millis)));
        let ordered = [Pace::Now, soon, later, refused];
        for (a, one) in ordered.into_iter().enumerate() {
            for (b, other) in ordered.into_iter().enumerate() {
                assert_eq!(one.or_later(other), ordered[a.max(b)]);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_through_then_calls_are_paced_then_refused() {
        let rates = sessions();
        for n in 0..RATE_AT_ONCE {
            assert_eq!(rates.count(1), Pace::Now, "{n}");
        }
        let mut held = 0;
        let refused = loop {
            match rates.count(1) {
                Pace::Now => panic!("above the burst"),
                Pace::In(early) => {
                    held += 1;
                    assert_eq!(early, rates.rate.each() * held);
                }
                refused @ Pace::Refused { .. } => break refused,
            }
        };
        assert_eq!(held as usize, RATE_PER_SECOND * HOLD.as_millis() as usize / 1_000);
        assert_eq!(rates.count(2), Pace::Now, "another caller");
        assert_eq!(rates.count(1), refused, "a refused call counts for nothing");
        let Pace::Refused { retry_after, per_second: RATE_PER_SECOND } = refused else {
            panic!("{refused:?}")
        };
        sleep(retry_after).await;
        assert_eq!(rates.count(1), Pace::Now);
    }

    #[tokio::test(start_paused = true)]
    async fn one_token_has_one_rate_whatever_number_of_sessions_it_has() {
        let rates = Rates::new();
        let [noisy, other] = ["t-00000001", "t-00000002"].map(|id| CredentialId::parse(id).unwrap());
        let session = |n: usize| Lane::Session(SessionId(Uuid::from_u128(n as u128)));
        let sessions = 20;
        for n in 0..TOKEN_RATE_AT_ONCE {
            assert_eq!(rates.count_for(session(n % sessions), Some(&noisy)), Pace::Now, "{n}");
        }
        let held = TOKEN_RATE_PER_SECOND * HOLD.as_millis() as usize / 1_000;
        for n in 0..held {
            let pace = rates.count_for(session(n % sessions), Some(&noisy));
            assert!(matches!(pace, Pace::In(_)), "{n}: {pace:?}");
        }
        let refused = rates.count_for(session(sessions), Some(&noisy));
        let Pace::Refused { retry_after, per_second: TOKEN_RATE_PER_SECOND } = refused else {
            panic!("a new session of the same token: {refused:?}")
        };
        assert_eq!(rates.count_for(session(100), Some(&other)), Pace::Now, "another token");
        assert_eq!(rates.count_for(session(101), None), Pace::Now, "the broker's own user");
        sleep(retry_after).await;
        assert_eq!(rates.count_for(session(102), Some(&noisy)), Pace::Now);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(rates.count_for(session(0), Some(&noisy)), Pace::Now);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_beyond_its_rate_takes_nothing_from_the_others_of_its_token() {
        let rates = Rates::new();
        let token = CredentialId::parse("t-00000001").unwrap();
        let [noisy, quiet] = [1, 2].map(|n| Lane::Session(SessionId(Uuid::from_u128(n))));
        for _ in 0..10 * TOKEN_RATE_AT_ONCE {
            rates.count_for(noisy, Some(&token));
        }
        assert!(matches!(rates.count_for(noisy, Some(&token)), Pace::Refused { .. }));
        assert_eq!(rates.count_for(quiet, Some(&token)), Pace::Now);
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_after_the_other_is_paced_and_never_refused() {
        let rates = sessions();
        let begun = Instant::now();
        let calls = RATE_AT_ONCE + 3 * RATE_PER_SECOND;
        for _ in 0..calls {
            rates.count(1).keep().await.unwrap();
        }
        assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_to_the_rate_is_forgotten() {
        let rates = sessions();
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
        let rates = sessions();
        while !matches!(rates.count(1), Pace::Refused { .. }) {}
        let begun = Instant::now();
        let refused = rates.count(1).keep().await.unwrap_err();
        assert!(matches!(refused, Refusal::TooFast { .. }));
        assert!(begun.elapsed() >= HOLD);
    }
}
