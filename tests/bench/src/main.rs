//! Benchmarks: the broker beside a bare tonic server in the same run, hooks, and a fleet of agents.
//!
//! This process is the load; every server is a process of its own on the same machine. A figure is measured in
//! rounds, each of which gives every server the same work in turn, so that a ratio within a round is worth more
//! than any number in it. Nothing here passes or fails on time. How to read the result: `BENCHMARKS.md`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod adapters;
mod args;
mod bytes;
mod cell;
mod claude;
mod day;
mod disk;
mod echo;
mod fanout;
mod figures;
mod fleet;
mod flood;
mod floor;
mod footprint;
mod growth;
mod hooks;
mod host;
mod load;
mod mesh;
mod process;
mod reference;
mod report;
mod repository;
mod resume;
mod scale;
mod servers;
mod sheet;
mod soak;
mod starts;
mod stats;
mod surge;
mod system;
mod unary;

use std::process::ExitCode;

use anyhow::Result;
use args::{Args, Command, Row};
use clap::{Parser, ValueEnum};

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mesh-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    match &args.command {
        Some(Command::Floor { socket }) => floor::serve(socket),
        Some(Command::Echo { at }) => runtime.block_on(echo::serve(at)),
        Some(Command::Footprint { seconds }) => footprint::measure(args, *seconds),
        Some(Command::Growth { writes }) => runtime.block_on(growth::run(args, *writes)),
        Some(Command::Fleet(plan)) => fleet::run(args, plan),
        Some(Command::Agent { orders }) => fleet::agent(orders),
        Some(Command::Hooks { times }) => runtime.block_on(hooks::run(args, *times)),
        Some(Command::Flood { noisy }) => runtime.block_on(flood::run(args, *noisy)),
        Some(Command::Soak { workers }) => runtime.block_on(soak::run(args, *workers)),
        Some(Command::Suite { rows, quick }) if !rows.is_empty() => {
            runtime.block_on(figures::run(args, rows, *quick))
        }
        Some(Command::Suite { quick, .. }) => {
            runtime.block_on(figures::run(args, Row::value_variants(), *quick))
        }
        None => runtime.block_on(figures::run(args, Row::value_variants(), false)),
    }
}
