//! The only clock of the broker.
//!
//! Mesh time goes on from the last stored moment: it rises while a broker runs and stands still while none does.

#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[cfg(test)]
use mesh_core::time::Millis;
use mesh_core::time::{Now, Timestamp, WallTime};

/// Tells mesh time and wall time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    base: Timestamp,
    /// How far tests have put it forward. Leaked, so that the clock stays a plain value.
    #[cfg(test)]
    ahead: &'static AtomicU64,
}

impl Clock {
    /// Starts the clock at the last moment that the store knows of.
    #[must_use]
    pub fn starting_at(base: Timestamp) -> Self {
        Self {
            started: Instant::now(),
            base,
            #[cfg(test)]
            ahead: Box::leak(Box::default()),
        }
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
        let at = Timestamp(self.base.0.saturating_add(millis(self.started.elapsed())));
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

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
