//! How often values fell into which range.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts values by range, without a lock.
///
/// Values are whole numbers of a small unit, such as microseconds, and are shown as multiples of the unit that people
/// use.
#[derive(Debug)]
pub(crate) struct Histogram {
    scale: &'static Scale,
    /// One for each bound, and one for what is above all of them.
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

/// The ranges of a histogram.
#[derive(Debug)]
pub(crate) struct Scale {
    /// Upper bounds, rising, in the small unit.
    pub(crate) bounds: &'static [u64],
    /// How many of the small unit make one of the unit shown.
    pub(crate) per_unit: f64,
}

/// Microseconds, shown as seconds: from what stays in memory to a disk in trouble.
pub(crate) const SECONDS: Scale = Scale {
    bounds: &[
        100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
        2_500_000, 10_000_000,
    ],
    per_unit: 1e6,
};

/// Small counts.
pub(crate) const COUNT: Scale = Scale { bounds: &[1, 2, 4, 8, 16, 32, 64, 128, 256], per_unit: 1.0 };

/// Bytes: a single small record to the largest batch.
pub(crate) const BYTES: Scale =
    Scale { bounds: &[1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20], per_unit: 1.0 };

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// Upper bounds, rising, inclusive.
    pub(crate) bounds: Vec<f64>,
    /// How many values fell into each range, the last one being above all bounds.
    pub(crate) counts: Vec<u64>,
    /// Of all values.
    pub(crate) sum: f64,
}

impl Histogram {
    pub(crate) fn new(scale: &'static Scale) -> Self {
        let counts = (0..=scale.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { scale, counts, sum: AtomicU64::new(0) }
    }

    /// Counts a value, in the small unit.
    pub(crate) fn note(&self, value: u64) {
        let range = self.scale.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(range) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    #[expect(clippy::cast_precision_loss, reason = "figures are shown, not computed with")]
    pub(crate) fn snapshot(&self) -> Snapshot {
        let per_unit = self.scale.per_unit;
        Snapshot {
            bounds: self.scale.bounds.iter().map(|bound| *bound as f64 / per_unit).collect(),
            counts: self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            sum: self.sum.load(Ordering::Relaxed) as f64 / per_unit,
        }
    }
}

impl Snapshot {
    /// How many values there were.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_the_range_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::new(&COUNT);
        for value in [0, 1, 2, 3, 256, 257, 10_000] {
            histogram.note(value);
        }
        let seen = histogram.snapshot();
        assert_eq!(seen.counts, [2, 1, 1, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!((seen.count(), seen.sum), (7, 10_519.0));
    }

    #[test]
    fn microseconds_are_shown_as_seconds() {
        let histogram = Histogram::new(&SECONDS);
        histogram.note(1_500_000);
        let seen = histogram.snapshot();
        assert_eq!((seen.bounds[0], seen.sum), (0.0001, 1.5));
    }
}
