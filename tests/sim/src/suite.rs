//! Many runs: one seed per thread at a time, added up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::run::{Keep, Outcome, run};

/// What many runs came to.
#[derive(Debug, Default)]
pub struct Sum {
    /// How many.
    pub seeds: u64,
    /// Transactions that became durable.
    pub transactions: u64,
    /// Answers that left a broker.
    pub answers: u64,
    /// Answers by kind of call.
    pub operations: BTreeMap<String, u64>,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Runs that broke a promise, by seed.
    pub failures: BTreeMap<u64, Outcome>,
    /// How long it took.
    pub took: Duration,
}

impl Sum {
    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.transactions += outcome.transactions;
        self.answers += outcome.answers;
        for (kind, count) in &outcome.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (kind, count) in &outcome.operations {
            *self.operations.entry(kind.clone()).or_default() += count;
        }
        if outcome.violation.is_some() {
            self.failures.insert(outcome.seed, outcome);
        }
    }

    /// Runs in a second.
    #[must_use]
    pub fn pace(&self) -> f64 {
        self.seeds as f64 / self.took.as_secs_f64().max(0.001)
    }
}

/// Runs so many seeds from one on; `told` hears of each hundred.
pub fn many(from: u64, seeds: u64, threads: usize, told: &(dyn Fn(&Sum) + Sync)) -> anyhow::Result<Sum> {
    let begun = Instant::now();
    let (next, sum) = (AtomicU64::new(from), Mutex::new(Sum::default()));
    let work = || -> anyhow::Result<()> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + seeds {
                return Ok(());
            }
            let outcome = run(seed, Keep::Tail)?;
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            sum.add(outcome);
            sum.took = begun.elapsed();
            if sum.seeds.is_multiple_of(100) {
                told(&sum);
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(ended) => ended,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.took = begun.elapsed();
    Ok(sum)
}

/// How a failed run is told.
#[must_use]
pub fn report(outcome: &Outcome, lines: usize) -> String {
    let Some(violation) = &outcome.violation else {
        return format!("seed {}: all promises kept", outcome.seed);
    };
    let tail = &outcome.trace[outcome.trace.len().saturating_sub(lines)..];
    format!(
        "seed {} broke \"{}\": {}\n{}\nagain: cargo run -p mesh-sim -- replay {} --trace",
        outcome.seed,
        violation.invariant,
        violation.what,
        tail.join("\n"),
        outcome.seed
    )
}
