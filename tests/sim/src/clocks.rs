//! The simulated machine's clocks: the running time is tokio's, which is paused and moves when nobody has anything to
//! do; the wall clock jumps both ways.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use mesh_broker::clock::Clocks;
use tokio::time::Instant;

/// When the wall clock begins, in milliseconds since the epoch.
const WALL: i64 = 1_800_000_000_000;

/// The clocks of a simulation.
#[derive(Debug)]
pub struct Machine {
    started: Instant,
    /// How far the wall clock is off, in milliseconds.
    off: AtomicI64,
}

impl Machine {
    /// Clocks that begin here and now.
    #[must_use]
    pub fn new() -> Self {
        Self { started: Instant::now(), off: AtomicI64::new(0) }
    }

    /// Makes the wall clock jump.
    pub fn jump(&self, millis: i64) {
        self.off.fetch_add(millis, Ordering::Relaxed);
    }

    /// Milliseconds since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Clocks for Machine {
    fn running(&self) -> Duration {
        self.started.elapsed()
    }

    fn wall(&self) -> Duration {
        let running = i64::try_from(self.elapsed()).unwrap_or_default();
        let wall = WALL + running + self.off.load(Ordering::Relaxed);
        Duration::from_millis(u64::try_from(wall).unwrap_or_default())
    }
}
