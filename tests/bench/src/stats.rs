//! Numbers over rounds: latencies merged into one distribution, medians with their spread, ratios within a round.

use std::fmt;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde_json::json;

/// Latencies, in nanoseconds, to three digits.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Histogram::new(3)?))
    }

    pub(crate) fn record(&mut self, span: std::time::Duration) -> Result<()> {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        // The histogram knows no zero.
        Ok(self.0.record(nanos.max(1))?)
    }

    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        Ok(self.0.add(&other.0)?)
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency in microseconds that this share of all stays within.
    pub(crate) fn micros(&self, quantile: f64) -> f64 {
        Nanos(self.0.value_at_quantile(quantile)).micros()
    }
}

struct Nanos(u64);

impl Nanos {
    #[expect(clippy::cast_precision_loss, reason = "three digits are all there is")]
    fn micros(&self) -> f64 {
        self.0 as f64 / 1_000.0
    }
}

/// A quantile of signed microseconds, which no histogram of ours takes; sorts them.
pub(crate) fn quantile(micros: &mut [f64], quantile: f64) -> f64 {
    if micros.is_empty() {
        return f64::NAN;
    }
    micros.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index into a slice in memory"
    )]
    let rank = (quantile * micros.len() as f64).ceil() as usize;
    micros[rank.clamp(1, micros.len()) - 1]
}

/// One figure over all rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of one value a round; rounds without a value do not count.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (values.first(), values.last()) else {
            return Self { median: f64::NAN, min: f64::NAN, max: f64::NAN };
        };
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Self { median, min: *min, max: *max }
    }

    /// Of a value against another's of the same round.
    pub(crate) fn of_ratios(values: &[f64], reference: &[f64]) -> Self {
        Self::of(values.iter().zip(reference).map(|(value, reference)| value / reference))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.median.is_nan() {
            return f.pad("–");
        }
        let digits = if self.max.abs() < 20.0 { 2 } else { 0 };
        let Self { median, min, max } = self;
        f.pad(&format!("{median:.digits$} [{min:.digits$}..{max:.digits$}]"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn latencies(micros: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::new().unwrap();
        for micros in micros {
            latencies.record(Duration::from_micros(micros)).unwrap();
        }
        latencies
    }

    fn near(found: f64, wanted: f64) -> bool {
        (found / wanted - 1.0).abs() < 0.002
    }

    #[test]
    fn merged_latencies_are_those_of_all_callers() {
        let mut all = latencies(1..=500);
        all.merge(&latencies(501..=1000)).unwrap();
        assert_eq!(all.count(), 1000);
        for (quantile, micros) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
            assert!(near(all.micros(quantile), micros), "{quantile}: {}", all.micros(quantile));
        }
    }

    #[test]
    fn merging_keeps_latencies_of_any_size() {
        let mut all = latencies([1]);
        all.record(Duration::ZERO).unwrap();
        all.merge(&latencies([60_000_000])).unwrap();
        assert!(near(all.micros(1.0), 60_000_000.0));
        assert_eq!(all.count(), 3);
    }

    #[test]
    fn a_spread_is_the_median_and_the_extremes() {
        let spread = |values: &[f64]| {
            let Spread { median, min, max } = Spread::of(values.iter().copied());
            (median, min, max)
        };
        assert_eq!(spread(&[3.0, 1.0, 2.0]), (2.0, 1.0, 3.0));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), (2.5, 1.0, 4.0));
        assert_eq!(spread(&[f64::NAN, 7.0]), (7.0, 7.0, 7.0));
        assert!(Spread::of([]).median.is_nan());
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine was half as fast in the second round: no ratio changes.
        let ratio = Spread::of_ratios(&[300.0, 600.0, 300.0], &[100.0, 200.0, 150.0]);
        assert_eq!((ratio.median, ratio.min, ratio.max), (3.0, 2.0, 3.0));
        assert!(Spread::of_ratios(&[1.0], &[0.0]).median.is_nan());
    }

    #[test]
    fn quantiles_of_signed_values_are_exact() {
        let mut values: Vec<_> = (-50..50).rev().map(f64::from).collect();
        assert_eq!(quantile(&mut values, 0.5), -1.0);
        assert_eq!(quantile(&mut values, 0.99), 48.0);
        assert_eq!(quantile(&mut values, 1.0), 49.0);
        assert!(quantile(&mut [], 0.5).is_nan());
    }

    #[test]
    fn a_spread_shows_what_its_size_deserves() {
        assert_eq!(Spread { median: 1.234, min: 1.0, max: 2.0 }.to_string(), "1.23 [1.00..2.00]");
        assert_eq!(Spread { median: 1234.5, min: 999.0, max: 2000.0 }.to_string(), "1234 [999..2000]");
    }
}
