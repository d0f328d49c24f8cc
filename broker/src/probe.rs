//! Whether the broker still does its work: a real write and a real read, on request.
//!
//! The writer commits a small record of the store's own, durably, and reads it back; callers see neither an event nor
//! a revision of it. What must hold: however many ask, there is one probe at a time, and none while the last one is
//! fresh; a disk that does not answer in time counts as one that does not work.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::queue::Handle;

/// How long an answer stays good.
const FRESH: Duration = Duration::from_secs(5);
/// How long a write and a read may take. A disk under load takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// A write and a read took so long.
    Works(Duration),
    /// No answer in time.
    Slow,
    /// The writer has ended, or takes nothing more.
    Gone,
}

/// Asks the writer to prove that it works.
#[derive(Debug)]
pub(crate) struct Probe {
    writer: Handle,
    last: Mutex<Option<(Instant, Health)>>,
}

impl Probe {
    pub(crate) fn new(writer: Handle) -> Self {
        Self { writer, last: Mutex::default() }
    }

    /// How the broker is: as of now, or as of a few seconds ago.
    pub(crate) async fn look(&self) -> Health {
        let mut last = self.last.lock().await;
        if let Some((at, health)) = *last
            && at.elapsed() < FRESH
        {
            return health;
        }
        let begun = Instant::now();
        let health = match timeout(PATIENCE, self.writer.probe()).await {
            Ok(Ok(())) => Health::Works(begun.elapsed()),
            Ok(Err(_)) => Health::Gone,
            Err(_) => Health::Slow,
        };
        if !matches!(health, Health::Works(_)) {
            tracing::warn!(?health, "the store does not answer a probe");
        }
        *last = Some((Instant::now(), health));
        health
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::RecvTimeoutError;

    use super::*;
    use crate::queue::{Input, queue};

    #[tokio::test]
    async fn many_who_ask_at_once_cost_one_probe() {
        let (handle, inputs) = queue();
        let probe = Probe::new(handle);
        let writer = std::thread::spawn(move || {
            let mut probes = 0;
            while let Ok(input) = inputs.wait(None) {
                if let Input::Probe(answer) = input {
                    probes += 1;
                    answer.send(()).unwrap();
                }
            }
            probes
        });
        let looks = futures_of(&probe, 20).await;
        assert!(looks.iter().all(|health| matches!(health, Health::Works(_))), "{looks:?}");
        drop(probe);
        assert_eq!(writer.join().unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_does_not_answer_is_told_and_asked_again_later() {
        let (handle, inputs) = queue();
        let probe = Probe::new(handle);
        assert_eq!(probe.look().await, Health::Slow);
        assert_eq!(probe.look().await, Health::Slow);
        assert!(matches!(inputs.wait(Some(Duration::ZERO)), Ok(Input::Probe(_))));
        assert_eq!(inputs.wait(Some(Duration::ZERO)).err(), Some(RecvTimeoutError::Timeout));
        tokio::time::advance(FRESH).await;
        drop(inputs);
        assert_eq!(probe.look().await, Health::Gone);
    }

    async fn futures_of(probe: &Probe, count: usize) -> Vec<Health> {
        let mut looks = Vec::new();
        let mut waiting: Vec<_> = (0..count).map(|_| Box::pin(probe.look())).collect();
        for look in &mut waiting {
            looks.push(look.await);
        }
        looks
    }
}
