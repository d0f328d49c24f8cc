//! Waiting for locks that others hold.
//!
//! The broker refuses at once and keeps no queue, so the client watches for the end of what is in the way and
//! tries again. What must hold: the watch is open before the try it waits after, so that no release is missed.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{Acquired, Session};
use crate::proto::event::Event as Kind;
use crate::proto::{AcquireLocksRequest, EventFilter, EventType, LockConflict};
use crate::{ClientError, Watch, WatchItem, WatchOptions};

/// Bounds of the time until the next try when no event tells of a release.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Session {
    /// Takes locks, all or none, waiting up to `patience` for others to give theirs up. Fair to nobody: who
    /// comes first after a release gets it. [`Acquired::Refused`] means that the time is over.
    pub async fn acquire_wait(
        &self,
        mut request: AcquireLocksRequest,
        patience: Duration,
    ) -> Result<Acquired, ClientError> {
        // Each try is a request of its own.
        request.request_id.clear();
        let deadline = Instant::now() + patience;
        let mut verdict = self.acquire(request.clone()).await?;
        if matches!(verdict, Acquired::Granted(_)) || patience.is_zero() {
            return Ok(verdict);
        }
        let mut releases = self.watch(WatchOptions {
            filter: Some(EventFilter {
                types: vec![EventType::FileUnlocked.into()],
                ..EventFilter::default()
            }),
            ..WatchOptions::default()
        });
        if wait_until_open(&mut releases, deadline).await? {
            verdict = self.acquire(request.clone()).await?;
        }
        loop {
            let conflicts = match verdict {
                Acquired::Refused(conflicts) if Instant::now() < deadline => conflicts,
                Acquired::Refused(_) | Acquired::Granted(_) => return Ok(verdict),
            };
            let next_try = deadline.min(Instant::now() + shortest_remaining(&conflicts));
            if let Ok(seen) = timeout_at(next_try, released(&mut releases, &conflicts)).await {
                seen?;
            }
            verdict = self.acquire(request.clone()).await?;
        }
    }
}

/// Whether the watch is open; false when the time is over.
async fn wait_until_open(watch: &mut Watch, deadline: Instant) -> Result<bool, ClientError> {
    loop {
        match timeout_at(deadline, watch.next()).await {
            Ok(Some(Ok(WatchItem::Created))) => return Ok(true),
            Ok(Some(item)) => drop(item?),
            Ok(None) | Err(_) => return Ok(false),
        }
    }
}

/// Returns when one of the locks in the way has ended.
async fn released(watch: &mut Watch, conflicts: &[LockConflict]) -> Result<(), ClientError> {
    while let Some(item) = watch.next().await {
        let WatchItem::Batch(batch) = item? else { continue };
        let ended = batch.events.iter().filter_map(|event| match &event.event {
            Some(Kind::FileUnlocked(ended)) => Some(ended),
            _ => None,
        });
        for ended in ended {
            let in_the_way = conflicts.iter().filter_map(|conflict| conflict.lock.as_ref());
            if in_the_way
                .into_iter()
                .any(|lock| lock.holder == ended.holder && ended.paths.contains(&lock.path))
            {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// When the first of the locks in the way ends by itself, unless it is renewed.
fn shortest_remaining(conflicts: &[LockConflict]) -> Duration {
    conflicts
        .iter()
        .filter_map(|conflict| conflict.lock.as_ref()?.remaining)
        .filter_map(|remaining| Duration::try_from(remaining).ok())
        .min()
        .unwrap_or(LONGEST_WAIT)
        .clamp(SHORTEST_WAIT, LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Lock;

    #[test]
    fn the_next_try_is_at_the_first_end_and_bounded() {
        let conflict = |seconds| LockConflict {
            lock: Some(Lock {
                remaining: Some(prost_types::Duration { seconds, nanos: 0 }),
                ..Lock::default()
            }),
            ..LockConflict::default()
        };
        assert_eq!(shortest_remaining(&[conflict(30), conflict(7)]), Duration::from_secs(7));
        assert_eq!(shortest_remaining(&[conflict(0)]), SHORTEST_WAIT);
        assert_eq!(shortest_remaining(&[conflict(9000)]), LONGEST_WAIT);
        assert_eq!(shortest_remaining(&[]), LONGEST_WAIT);
    }
}
