//! The only clock of the broker.
//!
//! Mesh time goes on from the last stored moment: it rises while a broker runs and stands still while none does.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mesh_core::time::{Now, Timestamp, WallTime};

/// Tells mesh time and wall time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    base: Timestamp,
}

impl Clock {
    /// Starts the clock at the last moment that the store knows of.
    #[must_use]
    pub fn starting_at(base: Timestamp) -> Self {
        Self { started: Instant::now(), base }
    }

    /// The present, on both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { at: self.at(), wall: WallTime(millis(wall)) }
    }

    /// The present, in mesh time.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        Timestamp(self.base.0.saturating_add(millis(self.started.elapsed())))
    }
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
