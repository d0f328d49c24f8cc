//! What a run was like, in figures.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use mesh_client::proto::event::Event;

use crate::check::{Fault, Violation, check};
use crate::history::{Answer, History, What};

/// Figures of one run, and what was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Seed of the faults.
    pub seed: u64,
    /// How often each kind of fault was made.
    pub faults: BTreeMap<&'static str, u64>,
    /// Changes that were acknowledged.
    pub acknowledged: usize,
    /// Changes of which only the log knows what became.
    pub unknown: usize,
    /// How often a client gave up after ten seconds, and the call was made again.
    pub given_up: usize,
    /// Batches of the event history.
    pub batches: usize,
    /// Locks granted.
    pub grants: usize,
    /// Pages of mail, lists, and watches that were compared.
    pub reads: usize,
    /// From each fault that takes the broker away to the answer to the next lock granted.
    pub outages: Vec<Duration>,
    /// Every broken promise.
    pub violations: Vec<Violation>,
}

impl Report {
    /// Checks a history. `outages` are the times of faults in microseconds of the run.
    #[must_use]
    pub fn of(seed: u64, faults: BTreeMap<&'static str, u64>, outages: &[u64], history: &History) -> Self {
        let count = |answer: fn(&Answer) -> bool| history.ops.iter().filter(|op| answer(&op.answer)).count();
        let granted =
            |event: &Event| if let Event::FileLocked(locked) = event { locked.locks.len() } else { 0 };
        let events = history.log.iter().flat_map(|batch| &batch.events).filter_map(|e| e.event.as_ref());
        Self {
            seed,
            faults,
            acknowledged: count(|answer| matches!(answer, Answer::Done(_))),
            unknown: count(|answer| *answer == Answer::Unknown),
            given_up: history.given_up,
            batches: history.log.len(),
            grants: events.map(granted).sum(),
            reads: history.snapshots.len() + history.mail.len() + history.watches.len(),
            outages: until_the_next_grant(outages, history),
            violations: check(history),
        }
    }

    /// How often a promise was broken.
    #[must_use]
    pub fn count(&self, fault: Fault) -> usize {
        self.violations.iter().filter(|violation| violation.fault == fault).count()
    }
}

/// From each time, to the first answer to a request for locks that was made after it.
fn until_the_next_grant(times: &[u64], history: &History) -> Vec<Duration> {
    let grants = history.ops.iter().filter(|op| matches!(op.what, What::Acquire(_)));
    let mut grants: Vec<_> =
        grants.filter(|op| matches!(op.answer, Answer::Done(_))).map(|op| (op.started, op.ended)).collect();
    grants.sort_unstable();
    let next = |time: &u64| {
        let later = &grants[grants.partition_point(|(started, _)| started < time)..];
        // Of those made after it, the first few are enough: each worker has one at a time.
        later.iter().take(64).map(|(_, ended)| ended - time).min()
    };
    times.iter().filter_map(next).map(Duration::from_micros).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut outages = self.outages.clone();
        outages.sort();
        let median = outages.get(outages.len() / 2).copied().unwrap_or_default();
        let worst = outages.last().copied().unwrap_or_default();
        let faults: Vec<_> = self.faults.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
        writeln!(f, "seed {}: {}", self.seed, faults.join(", "))?;
        writeln!(
            f,
            "{} changes acknowledged, {} unknown and resolved by the log, {} batches, {} locks granted, {} reads",
            self.acknowledged, self.unknown, self.batches, self.grants, self.reads
        )?;
        writeln!(
            f,
            "lost {}, twice {}, overlapping grants {}, gaps {}, other violations {}",
            self.count(Fault::Lost),
            self.count(Fault::Twice),
            self.count(Fault::Overlap),
            self.count(Fault::Gap) + self.count(Fault::Watch),
            self.violations.len()
                - self.count(Fault::Lost)
                - self.count(Fault::Twice)
                - self.count(Fault::Overlap)
                - self.count(Fault::Gap)
                - self.count(Fault::Watch)
        )?;
        writeln!(f, "from a fault to the next lock granted: {median:?} (median), {worst:?} (longest)")?;
        write!(f, "calls that a client gave up after ten seconds, made again: {}", self.given_up)?;
        for violation in self.violations.iter().take(20) {
            write!(f, "\n{violation}")?;
        }
        Ok(())
    }
}
