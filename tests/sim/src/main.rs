//! The simulation by command: any number of seeds, one of them in full, or all planted bugs.

use std::io::{self, Write};

use anyhow::bail;
use clap::{Parser, Subcommand};
use mesh_sim::suite::{self, Sum};
use mesh_sim::{Keep, mutants, run};

/// Lines of a failed run's trace that are shown.
const TAIL: usize = 60;

/// Runs the mesh on virtual time, with faults, and checks what it promises.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run many seeds.
    Run {
        /// How many.
        #[arg(long, default_value_t = 500)]
        seeds: u64,
        /// The first one.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// How many at a time; as many as there are cores if none are named.
        #[arg(long)]
        threads: Option<usize>,
    },
    /// Run one seed again.
    Replay {
        /// The seed.
        seed: u64,
        /// Print everything that happens.
        #[arg(long)]
        trace: bool,
    },
    /// Plant every bug there is, and see whether it is found. Only in a build with debug assertions.
    Mutations {
        /// How many seeds each may take.
        #[arg(long, default_value_t = 60)]
        seeds: u64,
        /// How many at a time; as many as there are cores if none are named.
        #[arg(long)]
        threads: Option<usize>,
    },
}

fn main() -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match Args::parse().command {
        Command::Run { seeds, from, threads } => many(&mut out, from, seeds, threads),
        Command::Replay { seed, trace } => replay(&mut out, seed, trace),
        Command::Mutations { seeds, threads } => mutations(&mut out, seeds, threads),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn many(out: &mut impl Write, from: u64, seeds: u64, threads: Option<usize>) -> anyhow::Result<()> {
    let told = |sum: &Sum| {
        // Whoever does not want to hear it closes the stream.
        let failed = sum.failures.len();
        let _ = writeln!(io::stderr(), "{} seeds, {:.1}/s, {failed} failed", sum.seeds, sum.pace());
    };
    let sum = suite::many(from, seeds, threads.unwrap_or_else(cores), &told)?;
    for outcome in sum.failures.values().take(3) {
        writeln!(out, "{}\n", suite::report(outcome, TAIL))?;
    }
    writeln!(out, "{} seeds in {:.1} s ({:.1}/s)", sum.seeds, sum.took.as_secs_f64(), sum.pace())?;
    writeln!(out, "{} transactions, {} answers", sum.transactions, sum.answers)?;
    writeln!(out, "\nanswers by kind of call:")?;
    for (kind, count) in &sum.operations {
        writeln!(out, "{count:>9} {kind}")?;
    }
    writeln!(out, "\nfaults by kind:")?;
    for (kind, count) in &sum.faults {
        writeln!(out, "{count:>9} {kind}")?;
    }
    if !sum.failures.is_empty() {
        let seeds: Vec<_> = sum.failures.keys().collect();
        bail!("{} seeds broke a promise: {seeds:?}", seeds.len());
    }
    Ok(())
}

fn replay(out: &mut impl Write, seed: u64, trace: bool) -> anyhow::Result<()> {
    let outcome = run(seed, if trace { Keep::Everything } else { Keep::Tail })?;
    if trace {
        for line in &outcome.trace {
            writeln!(out, "{line}")?;
        }
    }
    writeln!(out, "{} transactions, {} answers", outcome.transactions, outcome.answers)?;
    writeln!(out, "digest {}", outcome.digest)?;
    writeln!(out, "{}", suite::report(&outcome, if trace { 0 } else { TAIL }))?;
    if outcome.violation.is_some() { bail!("a promise was broken") } else { Ok(()) }
}

fn mutations(out: &mut impl Write, seeds: u64, threads: Option<usize>) -> anyhow::Result<()> {
    let found = mutants::all(seeds, threads.unwrap_or_else(cores))?;
    if found.is_empty() {
        bail!("this build cannot plant bugs; run it without --release");
    }
    writeln!(out, "| planted bug | seeds | found by |\n|---|---|---|")?;
    let mut missed = Vec::new();
    for hunted in &found {
        let violation = hunted.outcome.as_ref().and_then(|outcome| outcome.violation.as_ref());
        let by = violation.map_or("not found", |violation| violation.invariant);
        writeln!(out, "| {:?} | {} | {by} |", hunted.mutation, hunted.seeds)?;
        if violation.is_none() {
            missed.push(hunted.mutation);
        }
    }
    if missed.is_empty() { Ok(()) } else { bail!("not found: {missed:?}") }
}
