//! Planted bugs: each must be found, and by whom.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use mesh_core::mutation::{Mutation, plant};

use crate::run::{Keep, Outcome, run};

/// A planted bug and the run that found it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The bug.
    pub mutation: Mutation,
    /// After how many seeds.
    pub seeds: u64,
    /// The run, if one found it.
    pub outcome: Option<Outcome>,
}

/// Runs seeds with a bug until one finds it, so many at most. None where no bug can be planted.
pub fn hunt(mutation: Mutation, most: u64) -> anyhow::Result<Option<Found>> {
    if !plant(Some(mutation)) {
        return Ok(None);
    }
    let mut found = Found { mutation, seeds: 0, outcome: None };
    while found.outcome.is_none() && found.seeds < most {
        found.seeds += 1;
        match run(found.seeds, Keep::Tail) {
            Ok(outcome) => found.outcome = outcome.violation.is_some().then_some(outcome),
            Err(error) => {
                plant(None);
                return Err(error);
            }
        }
    }
    plant(None);
    Ok(Some(found))
}

/// Hunts all of them, several at a time.
pub fn all(most: u64, threads: usize) -> anyhow::Result<Vec<Found>> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || -> anyhow::Result<()> {
        while let Some(mutation) = Mutation::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some(hunted) = hunt(*mutation, most)? {
                found.lock().unwrap_or_else(PoisonError::into_inner).insert(*mutation, hunted);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(ended) => ended,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect())
}
