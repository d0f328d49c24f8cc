//! The faults as a program, for runs of any length.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::{Parser, Subcommand};
use mesh_chaos::report::Report;
use mesh_chaos::victim::{self, Victims};
use mesh_chaos::{kills, storm};

/// Makes faults on a real broker under load, and checks from its event history that every promise was kept.
/// Build both first: `cargo build --release -p meshctl -p mesh-chaos`; MESHCTL names another meshctl.
#[derive(Debug, Parser)]
#[command(name = "mesh-chaos", version)]
struct Args {
    #[command(subcommand)]
    command: Command,

    /// Seed of the faults; a random one when not given
    #[arg(long, global = true)]
    seed: Option<u64>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Kills the broker with SIGKILL at random instants, while it starts and while it commits too
    Kills {
        /// How often
        #[arg(long, default_value_t = 50)]
        rounds: u64,
    },
    /// Stops the broker and clients with SIGSTOP, and cuts, stalls and slows connections through a proxy
    Storm {
        /// How many faults
        #[arg(long, default_value_t = 40)]
        rounds: u64,
    },
    /// Traces a broker with strace, checks that each answer comes after its sync, and cuts the power at many instants
    #[cfg(target_os = "linux")]
    Power {
        /// How often
        #[arg(long, default_value_t = 60)]
        cuts: usize,
    },
    /// A client that is there to be killed
    #[command(hide = true)]
    Victim { home: PathBuf, name: String, seed: u64 },
}

#[expect(clippy::print_stdout, reason = "a report is what this program is for")]
fn show(report: &Report) -> ExitCode {
    println!("{report}");
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(target_os = "linux")]
#[expect(clippy::print_stdout, reason = "a report is what this program is for")]
async fn power(seed: u64, cuts: usize) -> Result<ExitCode> {
    use mesh_chaos::dice::Dice;
    use mesh_chaos::power::recording::{End, Recording};
    use mesh_chaos::power::{cuts, synced};

    let mut dice = Dice::new(seed);
    let ends = [End::Killed, End::Asked, End::Killed, End::Asked];
    let recording = Recording::make(&[], &ends, 60, &mut dice).await?;
    let (mut answers, mut early) = (0, Vec::new());
    for life in &recording.lives {
        let (good, more) = synced::check(life)?;
        answers += good;
        early.extend(more);
    }
    let outcome = cuts::run(&recording, cuts, &mut dice).await?;
    println!(
        "seed {seed}: {answers} answers after the sync of what they acknowledge, {} before",
        early.len()
    );
    println!(
        "{} power cuts, {} with something unsynced; {} acknowledged writes looked up, {} violations",
        outcome.cuts,
        outcome.with_pending,
        outcome.looked_up,
        outcome.violations.len()
    );
    for what in outcome.violations.iter().take(20) {
        println!("{what}");
    }
    Ok(if early.is_empty() && outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let Args { command, seed } = Args::parse();
    let now =
        || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| u64::from(time.subsec_nanos()));
    let seed = seed.unwrap_or_else(now);
    let victims = Victims::of(std::env::current_exe()?);
    match command {
        Command::Kills { rounds } => Ok(show(&kills::run(seed, rounds, &victims).await?)),
        Command::Storm { rounds } => Ok(show(&storm::run(seed, rounds, &victims).await?)),
        #[cfg(target_os = "linux")]
        Command::Power { cuts } => power(seed, cuts).await,
        Command::Victim { home, name, seed } => {
            victim::run(&home, &name, seed).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
