//! Waiting: for locks in the broker's queue, for a reply, for a condition.
//!
//! The broker waits; a call that breaks off is repeated with its `request_id` and goes on waiting in its place.
//! What must hold: waiting ends at its deadline, however often the way to the broker breaks.

use std::time::Duration;

use tokio::time::Instant;

use super::{Acquired, Session};
use crate::ClientError;
use crate::proto::{AcquireLocksRequest, AskRequest, AskResponse, WaitRequest, WaitResponse};

/// Longest wait that the broker takes; a longer one is made of several.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long the broker waits when it is not told.
const DEFAULT_WAIT: Duration = Duration::from_secs(60);
/// Least time between two calls that end without having waited.
const PAUSE: Duration = Duration::from_millis(100);
/// How long after its deadline a request that waits may be answered. One that was repeated begins its time anew.
const LATE: Duration = Duration::from_secs(1);

impl Session {
    /// Takes locks, all or none, waiting up to `patience` in the broker's queue, which is fair.
    /// [`Acquired::Refused`] means that the time is over. Dropping the future leaves the queue.
    pub async fn acquire_wait(
        &self,
        mut request: AcquireLocksRequest,
        patience: Duration,
    ) -> Result<Acquired, ClientError> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = left.min(LONGEST);
            request.wait = (!wait.is_zero()).then_some(wait).and_then(|wait| wait.try_into().ok());
            request.request_id = self.shared.client.request_id();
            let begun = Instant::now();
            let asked = self.acquire(request.clone());
            let verdict = if wait.is_zero() {
                asked.await?
            } else {
                match tokio::time::timeout_at(begun + wait + LATE, asked).await {
                    Ok(verdict) => verdict?,
                    // What is in the way is told without waiting.
                    Err(_) => continue,
                }
            };
            if matches!(verdict, Acquired::Granted(_)) || Instant::now() >= deadline {
                return Ok(verdict);
            }
            // Its place in the queue was lost, with a session or with the broker that kept it.
            if begun.elapsed() < PAUSE {
                tokio::time::sleep_until(deadline.min(Instant::now() + PAUSE)).await;
            }
        }
    }

    /// Sends a message and waits for the first reply, as long as the request says; at most an hour.
    pub async fn ask(&self, mut request: AskRequest) -> Result<AskResponse, ClientError> {
        let message = request.message.get_or_insert_default();
        if message.request_id.is_empty() {
            message.request_id = self.shared.client.request_id();
        }
        let patience = Patience::of(request.wait);
        self.shared
            .call_waiting(patience.whole, |client| {
                let request = AskRequest { wait: patience.left(), ..request.clone() };
                async move { client.messages().ask(request).await }
            })
            .await
    }

    /// Waits until one of the conditions holds, or the time is over; empty `scope` means the session's.
    pub async fn wait(&self, request: WaitRequest) -> Result<WaitResponse, ClientError> {
        let patience = Patience::of(request.timeout);
        self.shared
            .call_waiting(patience.whole, |client| {
                let request = WaitRequest { timeout: patience.left(), ..request.clone() };
                async move { client.events().wait(request).await }
            })
            .await
    }
}

/// How long a caller is willing to wait, in all tries together.
struct Patience {
    asked: Option<prost_types::Duration>,
    whole: Duration,
    begun: Instant,
}

impl Patience {
    /// As a request asks for it.
    fn of(asked: Option<prost_types::Duration>) -> Self {
        let whole = asked.map_or(Ok(DEFAULT_WAIT), TryInto::try_into).unwrap_or_default();
        Self { asked, whole, begun: Instant::now() }
    }

    /// What a try may still wait, to the second: of the first one, what was asked for.
    fn left(&self) -> Option<prost_types::Duration> {
        match self.begun.elapsed().as_secs() {
            0 => self.asked,
            waited => self.whole.saturating_sub(Duration::from_secs(waited)).try_into().ok(),
        }
    }
}
