//! The simulation as a test: many seeds, and the same seed twice.

use mesh_sim::{Keep, bugbook, mutants, run, suite};

/// Seeds in the suite.
const SEEDS: u64 = 500;
/// Seeds that are run twice.
const TWICE: u64 = 20;

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn every_seed_keeps_every_promise() {
    let sum = suite::many(1, SEEDS, threads(), &|_| {}).unwrap();
    let told: Vec<_> = sum.failures.values().take(2).map(|outcome| suite::report(outcome, 40)).collect();
    assert!(told.is_empty(), "{} seeds failed\n{}", sum.failures.len(), told.join("\n\n"));
    assert!(sum.transactions > SEEDS * 50, "too little happened: {} transactions", sum.transactions);
    for kind in ["crash", "lost reply", "request twice", "slow disk", "flush refused", "history gone"] {
        assert!(sum.faults.get(kind).copied().unwrap_or_default() > 0, "{kind}: {:?}", sum.faults);
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in 1..=TWICE {
        let (first, second) = (run(seed, Keep::Everything).unwrap(), run(seed, Keep::Everything).unwrap());
        let parted = first.trace.iter().zip(&second.trace).find(|(first, second)| first != second);
        assert_eq!(parted, None, "seed {seed}");
        assert_eq!(first.digest, second.digest, "seed {seed}");
    }
    assert_ne!(run(1, Keep::Tail).unwrap().digest, run(2, Keep::Tail).unwrap().digest);
}

#[test]
fn seeds_that_found_something_keep_every_promise() {
    for (seed, what) in bugbook::SEEDS {
        let outcome = run(seed, Keep::Tail).unwrap();
        assert_eq!(outcome.violation, None, "seed {seed}, once: {what}");
    }
}

#[test]
fn planted_bugs_are_found() {
    let found = mutants::all(8, threads()).unwrap();
    let missed: Vec<_> = found.iter().filter(|hunted| hunted.outcome.is_none()).map(|h| h.mutation).collect();
    assert!(missed.is_empty(), "{missed:?}");
}
