//! The outcome: many agents edit the same files in two worktrees of one repository, and some of them crash.
//!
//! Every agent is a process that does by script what a model tells its host to do, and runs the real hooks and the real
//! MCP server. The same script runs without the mesh, and with nothing but the look at a file's time that hosts take by
//! themselves. What counts is whether an edit that its tool has called done is in the file at the end.

mod agent;
mod log;
mod outcome;
mod report;
mod rng;
mod tokens;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

pub(crate) use self::agent::run as agent;
use self::agent::{Mode, Orders, name_of};
use self::log::Line;
use self::outcome::Outcome;
use self::rng::Rng;
use crate::args::Args;
use crate::mesh::Mesh;
use crate::repository::Repository;

/// What the fleet is to do.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Plan {
    /// Agents, half of them in each worktree
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..100))]
    agents: u64,
    /// Edits of all agents together
    #[arg(long, default_value_t = 1000)]
    edits: usize,
    /// Files that they share
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..100))]
    files: u64,
    /// Of all choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Each agent crashes with every so many of its edits, by turns before and after one; 0 for never
    #[arg(long, default_value_t = 20)]
    crash_every: usize,
    /// Only with the mesh
    #[arg(long)]
    mesh_only: bool,
    /// Keep the directory with repository, home and logs, and print its name
    #[arg(long)]
    keep: bool,
}

/// Where agents and files of one run are.
struct Field {
    mode: Mode,
    meshctl: PathBuf,
    bench: PathBuf,
    home: PathBuf,
    logs: PathBuf,
    trees: Vec<PathBuf>,
}

/// Runs the fleet, and prints what came of it.
pub(crate) fn run(args: &Args, plan: &Plan) -> Result<()> {
    let scratch = args.scratch()?;
    let modes: &[Mode] = if plan.mesh_only { &[Mode::Mesh] } else { &[Mode::Bare, Mode::Host, Mode::Mesh] };
    let bench = std::env::current_exe().context("cannot find myself")?;
    let mut outcomes = Vec::new();
    for (number, mode) in modes.iter().enumerate() {
        let dir = scratch.path().join(number.to_string());
        outcomes.push(one(plan, *mode, &dir, &args.meshctl()?, &bench)?);
    }
    let counter = tokens::Counter::find();
    report::print(args.json, plan, &outcomes, &counter)?;
    if plan.keep {
        println!("\n{}", scratch.keep().display());
    }
    Ok(())
}

/// One run, in a directory of its own.
fn one(plan: &Plan, mode: Mode, dir: &Path, meshctl: &Path, bench: &Path) -> Result<Outcome> {
    let names: Vec<String> =
        (0..plan.files).map(|file| usize::try_from(file).map(name_of)).collect::<Result<_, _>>()?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let repository = Repository::create(&dir.join("main"), &names)?;
    let trees = vec![repository.main.clone(), repository.worktree("side")?];
    let (home, logs) = (dir.join("home"), dir.join("logs"));
    std::fs::create_dir(&home)?;
    std::fs::create_dir(&logs)?;
    let broker = (mode == Mode::Mesh).then(|| Mesh::start("mesh", meshctl, &home)).transpose()?;
    let field = Field { mode, meshctl: meshctl.into(), bench: bench.into(), home, logs, trees };
    let start = Instant::now();
    std::thread::scope(|scope| {
        let agents: Vec<_> = (0..plan.agents)
            .map(|agent| {
                scope.spawn({
                    let field = &field;
                    move || lives(plan, field, agent)
                })
            })
            .collect();
        agents
            .into_iter()
            .try_for_each(|agent| agent.join().map_err(|_| anyhow::anyhow!("an agent's thread panicked"))?)
    })?;
    let wall = start.elapsed();
    drop(broker);
    let logs: Vec<Vec<Line>> =
        (0..plan.agents).map(|agent| log::read(&field.log_of(agent))).collect::<Result<_>>()?;
    outcome::of(mode, wall, &logs, &field.trees)
}

/// All lives of one agent: whenever its process has crashed, another goes on.
fn lives(plan: &Plan, field: &Field, agent: u64) -> Result<()> {
    let share = |agents: usize, agent: usize| plan.edits / agents + usize::from(agent < plan.edits % agents);
    let number = usize::try_from(agent)?;
    let tree = number % field.trees.len();
    let mut orders = Orders {
        mode: field.mode,
        seed: plan.seed,
        agent,
        life: 0,
        session: session(plan.seed, agent, 0),
        resumes: false,
        meshctl: field.meshctl.clone(),
        home: field.home.clone(),
        checkout: field.trees[tree].clone(),
        tree,
        files: usize::try_from(plan.files)?,
        made: 0,
        wanted: share(usize::try_from(plan.agents)?, number),
        crash_every: plan.crash_every,
        crashed_at: None,
        log: field.log_of(agent),
    };
    let most = 2 * orders.wanted.checked_div(plan.crash_every).unwrap_or_default() + 8;
    while orders.made < orders.wanted {
        ensure!(orders.life < most as u64, "agent {agent} does not come to its end");
        let mut process = Command::new(&field.bench);
        process.arg("agent").arg(serde_json::to_string(&orders)?).stdin(Stdio::null());
        let status = process.status().context("cannot start an agent")?;
        let lines = log::read(&orders.log)?;
        let crash = lines.iter().rev().find_map(Line::crash);
        ensure!(status.success() || crash != orders.crashed_at, "agent {agent} failed: {:?}", lines.last());
        orders.made = lines.iter().filter(|line| matches!(line, Line::Edit { .. })).count();
        orders.crashed_at = crash;
        orders.life += 1;
        // By turns, the user goes on with the session or begins another.
        orders.resumes = orders.life % 2 == 1;
        if !orders.resumes {
            orders.session = session(plan.seed, agent, orders.life);
        }
        // Nobody starts an agent again at once.
        std::thread::sleep(Duration::from_millis(100 + Rng::of(plan.seed, [agent, orders.life]).below(200)));
    }
    Ok(())
}

fn session(seed: u64, agent: u64, life: u64) -> String {
    let mut rng = Rng::of(seed, [agent, life]);
    let (high, low) = (rng.next(), rng.next());
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        high & 0xffff,
        (high >> 16) & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}

impl Field {
    fn log_of(&self, agent: u64) -> PathBuf {
        self.logs.join(format!("{agent}.jsonl"))
    }
}
