//! Time as the core knows it: two clocks, both handed in.
//!
//! [`Timestamp`] decides: milliseconds that this mesh has been running. It rises while a broker runs, stands still
//! while none does (the last value is stored with every transaction), and knows nothing of the wall clock, so
//! deadlines are late after a pause and never early. [`WallTime`] is for display.

use serde::{Deserialize, Serialize};

/// A span of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Millis(pub u64);

impl Millis {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// So many seconds.
    #[must_use]
    pub const fn seconds(n: u64) -> Self {
        Self(n * 1000)
    }

    /// So many minutes.
    #[must_use]
    pub const fn minutes(n: u64) -> Self {
        Self::seconds(n * 60)
    }

    /// So many days.
    #[must_use]
    pub const fn days(n: u64) -> Self {
        Self::minutes(n * 24 * 60)
    }
}

/// A moment of the mesh's running time, in milliseconds since the store was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The moment so much later.
    #[must_use]
    pub const fn after(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The span from `earlier` to this moment; none when it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

/// A moment of the wall clock, in milliseconds since the Unix epoch. For display.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WallTime(pub u64);

/// The present, on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Decides.
    pub at: Timestamp,
    /// Is shown.
    pub wall: WallTime,
}
