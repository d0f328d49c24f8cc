//! What ran, how long it took and how it ended.
//!
//! A failed step never stops the ones after it; the caller decides which steps make no sense without it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

/// How many tests ended how.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    steps: Vec<Step>,
    tally: Tally,
}

#[derive(Debug)]
struct Step {
    name: &'static str,
    took: Duration,
    passed: bool,
}

impl Report {
    /// Runs a step that either holds or not; true if it held. A failure counts as one failed test.
    pub(crate) fn check(&mut self, name: &'static str, step: impl FnOnce() -> Result<()>) -> bool {
        self.tests(name, || step().map(|()| Tally::default()))
    }

    /// Runs a step that is made of tests; true if none failed.
    pub(crate) fn tests(&mut self, name: &'static str, step: impl FnOnce() -> Result<Tally>) -> bool {
        println!("\n== {name}");
        let start = Instant::now();
        let tally = step().unwrap_or_else(|error| {
            println!("{error:#}");
            Tally { passed: 0, failed: 1 }
        });
        let step = Step { name, took: start.elapsed(), passed: tally.failed == 0 };
        println!("== {step}");
        let passed = step.passed;
        self.steps.push(step);
        self.tally.passed += tally.passed;
        self.tally.failed += tally.failed;
        passed
    }

    /// Prints the list of steps.
    pub(crate) fn finish(&self) -> ExitCode {
        println!("\nsteps:");
        for step in &self.steps {
            println!("  {step}");
        }
        if self.steps.iter().all(|step| step.passed) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Prints the list of steps and, last of all, the sum of the tests.
    pub(crate) fn finish_tests(&self) -> ExitCode {
        let code = self.finish();
        println!("{} passed, {} failed", self.tally.passed, self.tally.failed);
        code
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = if self.passed { "ok" } else { "FAILED" };
        write!(f, "{}: {verdict} in {:.1} s", self.name, self.took.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_counts_and_does_not_stop_the_next() {
        let mut report = Report::default();
        assert!(!report.check("bad", || anyhow::bail!("no")));
        assert!(report.tests("good", || Ok(Tally { passed: 3, failed: 0 })));
        assert_eq!(report.tally, Tally { passed: 3, failed: 1 });
        assert_eq!(report.finish_tests(), ExitCode::FAILURE);
    }
}
