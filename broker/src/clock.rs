//! The only clock of the broker.
//!
//! Mesh time goes on from the last stored moment: it rises while a broker runs and stands still while none does.
//! What the machine's clocks tell comes in through here alone, so that a simulation can bring clocks of its own.

use std::fmt;
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[cfg(test)]
use mesh_core::time::Millis;
use mesh_core::time::{Now, Timestamp, WallTime};

/// Clocks in place of the machine's.
pub trait Clocks: fmt::Debug + Send + Sync {
    /// How long they have run. Never goes back.
    fn running(&self) -> Duration;
    /// Time since the Unix epoch. May jump.
    fn wall(&self) -> Duration;
}

/// Whose clocks are read.
#[derive(Clone, Debug, Default)]
pub enum Time {
    /// The machine's.
    #[default]
    Machine,
    /// Others.
    Given(Arc<dyn Clocks>),
}

/// Tells mesh time and wall time.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
    base: Timestamp,
    /// How far tests have put it forward.
    #[cfg(test)]
    ahead: Arc<AtomicU64>,
}

#[derive(Clone, Debug)]
enum Source {
    Machine { started: Instant },
    Given { clocks: Arc<dyn Clocks>, started: Duration },
}

impl Clock {
    /// Starts the clock at the last moment that the store knows of.
    #[must_use]
    pub fn starting_at(base: Timestamp) -> Self {
        Self::of(Time::Machine, base)
    }

    /// As [`Self::starting_at`], on these clocks.
    #[must_use]
    pub fn of(time: Time, base: Timestamp) -> Self {
        let source = match time {
            Time::Machine => Source::Machine { started: Instant::now() },
            Time::Given(clocks) => Source::Given { started: clocks.running(), clocks },
        };
        Self {
            source,
            base,
            #[cfg(test)]
            ahead: Arc::default(),
        }
    }

    /// The present, on both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall = match &self.source {
            Source::Machine { .. } => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Source::Given { clocks, .. } => clocks.wall(),
        };
        Now { at: self.at(), wall: WallTime(millis(wall)) }
    }

    /// The present, in mesh time.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        let elapsed = match &self.source {
            Source::Machine { started } => started.elapsed(),
            Source::Given { clocks, started } => clocks.running().saturating_sub(*started),
        };
        let at = Timestamp(self.base.0.saturating_add(millis(elapsed)));
        #[cfg(test)]
        let at = at.after(Millis(self.ahead.load(Ordering::Relaxed)));
        at
    }

    /// Puts the clock forward, and all its copies.
    #[cfg(test)]
    pub(crate) fn advance(&self, span: Millis) {
        self.ahead.fetch_add(span.0, Ordering::Relaxed);
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
