//! How fast each caller may call: a steady rate, after a burst that no agent uses up.
//!
//! Owned by the gate, in memory only. A call counts for its session, or its connection without one, and for the token
//! that it came with: so no token gets more by having many sessions. The broker's own user is trusted, and each of its
//! sessions has its own rate only. A call that is a little too early is held until it is due, so that a caller that
//! makes one call after the other is paced and sees no refusal; one that is far too early is refused, and that answer
//! is held as long, so that a caller that does not listen is paced as well. What must hold: a caller's pace depends on
//! its own calls and those of its token alone, and what is remembered of callers that are within their rate is nothing.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::id::CredentialId;
use mesh_core::limits::{
    RATE_AT_ONCE, RATE_HOLD, RATE_PER_SECOND, TOKEN_RATE_AT_ONCE, TOKEN_RATE_PER_SECOND,
};
use tokio::time::sleep;

use super::auth::Caller;
use super::status::Refusal;
use crate::pace::{Paces, Rate};
use crate::queue::{Connection, Lane};

const HOLD: Duration = Duration::from_millis(RATE_HOLD.0);
/// The pace of everybody.
#[derive(Clone, Debug)]
pub(super) struct Rates {
    sessions: Arc<Paces<Lane>>,
    tokens: Arc<Paces<CredentialId>>,
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
        let own = Pace::of(&self.sessions, lane);
        match (own, token) {
            (Pace::Refused { .. }, _) | (_, None) => own,
            (Pace::Now | Pace::In(_), Some(token)) => own.or_later(Pace::of(&self.tokens, token.clone())),
        }
    }

    /// Counts a call that was not let in, for its connection.
    pub(super) fn count_stranger(&self, connection: &Connection) -> Pace {
        Pace::of(&self.sessions, Lane::of(None, connection))
    }
}

impl Pace {
    /// Counts a call.
    fn of<K: Eq + Hash>(paces: &Paces<K>, key: K) -> Self {
        match paces.count(key, HOLD) {
            Ok(Duration::ZERO) => Self::Now,
            Ok(early) => Self::In(early),
            Err(retry_after) => Self::Refused { retry_after, per_second: paces.rate.per_second },
        }
    }

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
    use tokio::time::Instant;
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
            assert_eq!(Pace::of(&rates, 1), Pace::Now, "{n}");
        }
        let mut held = 0;
        let refused = loop {
            match Pace::of(&rates, 1) {
                Pace::Now => panic!("above the burst"),
                Pace::In(early) => {
                    held += 1;
                    assert_eq!(early, rates.rate.each() * held);
                }
                refused @ Pace::Refused { .. } => break refused,
            }
        };
        assert_eq!(held as usize, RATE_PER_SECOND * HOLD.as_millis() as usize / 1_000);
        assert_eq!(Pace::of(&rates, 2), Pace::Now, "another caller");
        assert_eq!(Pace::of(&rates, 1), refused, "a refused call counts for nothing");
        let Pace::Refused { retry_after, per_second: RATE_PER_SECOND } = refused else {
            panic!("{refused:?}")
        };
        sleep(retry_after).await;
        assert_eq!(Pace::of(&rates, 1), Pace::Now);
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
            Pace::of(&rates, 1).keep().await.unwrap();
        }
        assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_listen_is_told_late() {
        let rates = sessions();
        while !matches!(Pace::of(&rates, 1), Pace::Refused { .. }) {}
        let begun = Instant::now();
        let refused = Pace::of(&rates, 1).keep().await.unwrap_err();
        assert!(matches!(refused, Refusal::TooFast { .. }));
        assert!(begun.elapsed() >= HOLD);
    }
}
