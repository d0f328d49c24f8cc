//! What to measure, and how long.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};

use crate::fleet::Plan;

/// Measures the broker beside a bare tonic server, in interleaved rounds of one run. Build both first:
/// `cargo build --release -p meshctl -p mesh-bench`.
#[derive(Debug, Parser)]
#[command(name = "mesh-bench", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Rounds of each figure; medians and spread are over these
    #[arg(long, global = true, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// Seconds that each server works in each round
    #[arg(long, global = true, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,

    /// The broker to measure, in place of the meshctl beside this program
    #[arg(long, global = true, value_name = "PROGRAM")]
    meshctl: Option<PathBuf>,

    /// Another meshctl to measure in the same rounds, a build from before a change say
    #[arg(long, global = true, value_name = "PROGRAM")]
    baseline: Option<PathBuf>,

    /// Directory for the stores, on the disk that matters; the system's temporary directory by default
    #[arg(long, global = true, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,

    /// Print one JSON object in place of tables
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The broker beside other servers: all rows of the table, or those named
    Suite {
        /// What to measure
        rows: Vec<Row>,
        /// Few callers and subscribers: whether it works, not how fast
        #[arg(long)]
        quick: bool,
    },
    /// Size of the program, start-up time, and what it takes while nothing happens
    Footprint {
        /// How long to watch it doing nothing
        #[arg(long = "idle", default_value_t = 20, value_name = "SECONDS")]
        seconds: u64,
    },
    /// What a quiet peer notices while others flood the broker with calls and heed no refusal
    Flood {
        /// How many flood it
        #[arg(long, default_value_t = 2, value_name = "NUMBER")]
        noisy: u32,
    },
    /// Churn for --seconds: whether what the broker takes grows with what has come and gone
    Soak {
        /// How many peers there are at a time
        #[arg(long, default_value_t = 16, value_name = "NUMBER")]
        workers: u64,
    },
    /// What a working set takes on disk and in memory that is written over and over
    Growth {
        /// How many writes
        #[arg(long, default_value_t = 1_000_000, value_name = "NUMBER")]
        writes: u64,
    },
    /// What a hook of an agent takes, beside the start of programs that do nothing
    Hooks {
        /// How often each is run in each round
        #[arg(long, default_value_t = 40, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
        times: u32,
    },
    /// Agents that edit the same files: what is lost with the mesh and without, and what it takes
    Fleet(Plan),
    /// One agent of the fleet
    #[command(hide = true)]
    Agent { orders: String },
    /// The bare server that the broker is compared with
    #[command(hide = true)]
    Echo { at: String },
    /// The least adapter, which asks that server
    #[command(hide = true)]
    Floor { socket: PathBuf },
}

/// A row of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// A durable put
    Put,
    /// A sign of life
    Heartbeat,
    /// A read of an entry
    Read,
    /// From a put to its event, at a steady rate
    Events,
    /// From a put to its events, at full speed
    Fanout,
    /// A lock, taken and released
    Lock,
    /// A message, sent, read and acknowledged
    Mail,
    /// What a late subscriber has missed, against a read of the disk
    Resume,
    /// An operation among few and among many
    Scale,
    /// Bytes on disk of a put, a message, a lock
    Disk,
    /// Starting, and doing nothing
    Start,
    /// A team of agents at work
    Day,
    /// The adapter beside the least that one can be
    Adapter,
}

impl Args {
    /// How long each server works in each round.
    pub(crate) fn span(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// The program under measurement.
    pub(crate) fn meshctl(&self) -> Result<PathBuf> {
        if let Some(named) = &self.meshctl {
            return absolute(named);
        }
        let beside = std::env::current_exe().context("cannot find myself")?.with_file_name("meshctl");
        if !beside.exists() {
            bail!("no {}; build it with `cargo build --release -p meshctl`", beside.display());
        }
        Ok(beside)
    }

    /// The program to measure it beside, if any.
    pub(crate) fn baseline(&self) -> Result<Option<PathBuf>> {
        self.baseline.as_deref().map(absolute).transpose()
    }

    /// Where stores and sockets go. Short, because the path of a Unix socket is.
    pub(crate) fn scratch(&self) -> Result<tempfile::TempDir> {
        let parent = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        let made = tempfile::Builder::new().prefix("mesh-bench").tempdir_in(&parent);
        made.with_context(|| format!("cannot make a directory in {}", parent.display()))
    }
}

/// Good from any directory.
fn absolute(program: &Path) -> Result<PathBuf> {
    program.canonicalize().with_context(|| format!("no program {}", program.display()))
}
