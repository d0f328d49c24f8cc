//! What the writer notes of its commits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Snapshot;
use super::histogram::{BYTES, COUNT, Histogram, SECONDS};

/// Commits of the writer so far. A commit waits for the disk, so counting it costs nothing that could be noticed.
#[derive(Debug)]
pub struct Commits {
    duration: Histogram,
    transactions: Histogram,
    bytes: Histogram,
    last_micros: AtomicU64,
    longest_micros: AtomicU64,
    leases_expired: AtomicU64,
}

impl Default for Commits {
    fn default() -> Self {
        Self {
            duration: Histogram::new(&SECONDS),
            transactions: Histogram::new(&COUNT),
            bytes: Histogram::new(&BYTES),
            last_micros: AtomicU64::new(0),
            longest_micros: AtomicU64::new(0),
            leases_expired: AtomicU64::new(0),
        }
    }
}

impl Commits {
    /// Notes a commit.
    pub(crate) fn note(&self, took: Duration, transactions: usize, bytes: usize) {
        let micros = micros(took);
        self.duration.note(micros);
        self.transactions.note(transactions as u64);
        self.bytes.note(bytes as u64);
        self.last_micros.store(micros, Ordering::Relaxed);
        self.longest_micros.fetch_max(micros, Ordering::Relaxed);
    }

    /// Notes that a session ended because its lease did.
    pub(crate) fn note_expired_lease(&self) {
        self.leases_expired.fetch_add(1, Ordering::Relaxed);
    }

    /// How long the last commit took, and the longest one; zero before the first.
    #[must_use]
    pub fn last_and_longest(&self) -> (Duration, Duration) {
        let read = |value: &AtomicU64| Duration::from_micros(value.load(Ordering::Relaxed));
        (read(&self.last_micros), read(&self.longest_micros))
    }

    /// How many sessions ended because their lease did.
    #[must_use]
    pub fn leases_expired(&self) -> u64 {
        self.leases_expired.load(Ordering::Relaxed)
    }

    /// How many commits there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.duration.snapshot().count()
    }

    pub(crate) fn duration(&self) -> Snapshot {
        self.duration.snapshot()
    }

    pub(crate) fn transactions(&self) -> Snapshot {
        self.transactions.snapshot()
    }

    pub(crate) fn bytes(&self) -> Snapshot {
        self.bytes.snapshot()
    }
}

pub(crate) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
