//! What a hook takes: the whole process, as an agent waits for it before and after each of its tools.
//!
//! A session of an agent in a real repository, with a broker. All cases take turns, one process at a time, so a ratio
//! within a round is worth more than any number in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mesh_client::proto::{AcquireLocksRequest, LockMode, SendRequest};
use mesh_client::{Session, scope};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde_json::{Value, json};

use crate::args::Args;
use crate::claude::{Claude, Said};
use crate::mesh::Mesh;
use crate::process::{Machine, run_time_of};
use crate::report::table;
use crate::repository::Repository;
use crate::stats::Spread;
use crate::{disk, process};

/// A file that is free, and one that another peer has locked.
const FREE: &str = "src/free.txt";
const HELD: &str = "src/held.txt";
const OTHER: &str = "other-agent";

/// One thing that is run over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Case {
    True,
    Node,
    Version,
    Ignored,
    BeforeRead,
    Read,
    News,
    Edit,
    Held,
    Edited,
    Prompt,
    Stop,
}

const CASES: [Case; 12] = [
    Case::True,
    Case::Node,
    Case::Version,
    Case::Ignored,
    Case::BeforeRead,
    Case::Read,
    Case::News,
    Case::Edit,
    Case::Held,
    Case::Edited,
    Case::Prompt,
    Case::Stop,
];

impl Case {
    fn title(self) -> &'static str {
        match self {
            Self::True => "/bin/true",
            Self::Node => "node -e 0",
            Self::Version => "meshctl --version",
            Self::Ignored => "hook: an event without meaning",
            Self::BeforeRead => "hook: before a read",
            Self::Read => "hook: after a read, no news",
            Self::News => "hook: after a read, one message",
            Self::Edit => "hook: before an edit, file is free",
            Self::Held => "hook: before an edit, another has it",
            Self::Edited => "hook: after an edit, no news",
            Self::Prompt => "hook: prompt",
            Self::Stop => "hook: end of a turn with one lock",
        }
    }
}

/// What one process took.
#[derive(Clone, Copy, Debug)]
struct Cost {
    wall: Duration,
    /// Of the process and what it waited for.
    cpu: Duration,
    /// Of the broker meanwhile.
    broker: Duration,
}

/// The agent that hooks run for, and what is around it.
struct Bench {
    claude: Claude,
    other: Session,
    broker: Mesh,
    file: PathBuf,
    has_node: bool,
}

/// Measures and prints.
pub(crate) async fn run(args: &Args, times: u32) -> Result<()> {
    let scratch = args.scratch()?;
    disk::check(scratch.path())?;
    let bench = Bench::start(args, scratch.path()).await?;
    let mut rounds: Vec<BTreeMap<Case, Vec<Cost>>> = Vec::new();
    let mut syncs = Vec::new();
    let (all, idle) = process::machine()?;
    bench.round(times.div_ceil(4)).await?;
    for _ in 0..args.rounds {
        syncs.push(disk::probe(scratch.path())?.micros(0.5) / 1e3);
        rounds.push(bench.round(times).await?);
    }
    let (all, idle) = (process::machine()?.0.saturating_sub(all), process::machine()?.1.saturating_sub(idle));
    let busy = 1.0 - idle.as_secs_f64() / all.as_secs_f64();
    print(args.json, times, &rounds, &Spread::of(syncs), busy);
    Ok(())
}

impl Bench {
    async fn start(args: &Args, scratch: &Path) -> Result<Self> {
        let repository = Repository::create(&scratch.join("app"), &[FREE, HELD])?;
        let home = scratch.join("home");
        std::fs::create_dir(&home)?;
        let meshctl = args.meshctl()?;
        let broker = Mesh::start("mesh", &meshctl, &home)?;
        let claude = Claude {
            meshctl,
            home,
            cwd: repository.main.clone(),
            session: "0c6b4e3a-6c0e-4a53-9a0b-000000000001".into(),
            pid: std::process::id(),
        };
        let scope = scope::detect(&repository.main)?.slug;
        let other = broker.join_in(&scope, Some(OTHER)).await?;
        let lock = AcquireLocksRequest {
            paths: vec![HELD.into()],
            mode: LockMode::Exclusive.into(),
            ttl: Duration::from_secs(3600).try_into().ok(),
            ..AcquireLocksRequest::default()
        };
        other.acquire(lock).await?;
        let said = claude.hook(&claude.session_start("startup"))?;
        ensure!(said.context.is_some(), "the session did not begin: {}", said.stderr);
        claude.hook(&claude.prompt())?;
        let has_node = Command::new("node").arg("-e").arg("0").stdin(Stdio::null()).status().is_ok();
        Ok(Self { file: repository.main.join(FREE), claude, other, broker, has_node })
    }

    /// Every case so many times, by turns.
    async fn round(&self, times: u32) -> Result<BTreeMap<Case, Vec<Cost>>> {
        let mut costs: BTreeMap<Case, Vec<Cost>> = BTreeMap::new();
        for _ in 0..times {
            for case in CASES {
                if case != Case::Node || self.has_node {
                    costs.entry(case).or_default().push(self.once(case).await.context(case.title())?);
                }
            }
        }
        Ok(costs)
    }

    async fn once(&self, case: Case) -> Result<Cost> {
        let claude = &self.claude;
        let read = || json!({"file_path": self.file});
        let content = json!({"type": "text", "file": {"filePath": self.file, "content": "one\ntwo\n"}});
        let edit = |file: &Path| json!({"file_path": file, "old_string": "one", "new_string": "uno"});
        let held = self.claude.cwd.join(HELD);
        let (cost, said) = match case {
            Case::True => return self.plain(Command::new("/bin/true")),
            Case::Node => {
                let mut node = Command::new("node");
                node.args(["-e", "0"]);
                return self.plain(node);
            }
            Case::Version => {
                let mut version = claude.command(&claude.meshctl);
                version.arg("--version");
                return self.plain(version);
            }
            Case::Ignored => self.hook(&claude.compacts())?,
            Case::BeforeRead => self.hook(&claude.before("Read", &read()))?,
            Case::Read => self.hook(&claude.after("Read", &read(), &content))?,
            Case::News => {
                self.write_to_the_agent().await?;
                self.hook(&claude.after("Read", &read(), &content))?
            }
            Case::Edit => {
                let measured = self.hook(&claude.before("Edit", &edit(&self.file)))?;
                claude.hook(&claude.stop(false))?;
                claude.hook(&claude.prompt())?;
                measured
            }
            Case::Held => self.hook(&claude.before("Edit", &edit(&held)))?,
            Case::Edited => self.hook(&claude.after("Edit", &edit(&self.file), &json!({})))?,
            Case::Prompt => self.hook(&claude.prompt())?,
            Case::Stop => {
                claude.hook(&claude.before("Edit", &edit(&self.file)))?;
                let measured = self.hook(&claude.stop(false))?;
                claude.hook(&claude.prompt())?;
                measured
            }
        };
        let as_expected = match case {
            Case::News => said.context.as_deref().is_some_and(|text| text.contains("the build is green")),
            Case::Held => said.denied.as_deref().is_some_and(|text| text.contains(OTHER)),
            Case::True
            | Case::Node
            | Case::Version
            | Case::Ignored
            | Case::BeforeRead
            | Case::Read
            | Case::Edit
            | Case::Edited
            | Case::Prompt
            | Case::Stop => said.context.is_none() && said.denied.is_none() && said.go_on.is_none(),
        };
        ensure!(as_expected, "unexpected: {said:?}");
        Ok(cost)
    }

    async fn write_to_the_agent(&self) -> Result<()> {
        let peers = self.other.list_peers(mesh_client::proto::ListPeersRequest {
            scope: self.other.scope(),
            ..Default::default()
        });
        let agent = peers.await?.peers.into_iter().find(|peer| peer.name != OTHER);
        let to = agent.context("the session has no peer")?.name;
        let request = SendRequest { to: vec![to], body: "the build is green".into(), ..Default::default() };
        self.other.send(request).await?;
        Ok(())
    }

    fn hook(&self, payload: &Value) -> Result<(Cost, Said)> {
        let mut said = None;
        let cost = self.measured(|| {
            let done = self.claude.hook(payload)?;
            let wall = done.wall;
            said = Some(done);
            Ok(wall)
        })?;
        Ok((cost, said.context("no answer")?))
    }

    fn plain(&self, mut command: Command) -> Result<Cost> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        self.measured(|| {
            let start = Instant::now();
            let status = command.status()?;
            ensure!(status.success(), "it ended with {status}");
            Ok(start.elapsed())
        })
    }

    fn measured(&self, run: impl FnOnce() -> Result<Duration>) -> Result<Cost> {
        let (cpu, broker) = (of_children()?, run_time_of(self.broker.pid())?);
        let wall = run()?;
        let cpu = of_children()?.saturating_sub(cpu);
        Ok(Cost { wall, cpu, broker: run_time_of(self.broker.pid())?.saturating_sub(broker) })
    }
}

/// Processor time of all children that have ended.
fn of_children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let span = |time: TimeVal| {
        let micros = u64::try_from(time.tv_usec()).unwrap_or_default();
        Duration::from_secs(u64::try_from(time.tv_sec()).unwrap_or_default()) + Duration::from_micros(micros)
    };
    Ok(span(usage.user_time()) + span(usage.system_time()))
}

/// The median of one round.
fn median(costs: &[Cost], value: fn(&Cost) -> Duration) -> f64 {
    Spread::of(costs.iter().map(|cost| value(cost).as_secs_f64() * 1e3)).median
}

fn print(json: bool, times: u32, rounds: &[BTreeMap<Case, Vec<Cost>>], sync: &Spread, busy: f64) {
    let of = |case: Case, value: fn(&Cost) -> Duration| -> Vec<f64> {
        rounds.iter().filter_map(|round| Some(median(round.get(&case)?, value))).collect()
    };
    let cases = CASES.iter().filter(|case| rounds.iter().any(|round| round.contains_key(case)));
    let figures = cases.map(|case| {
        let (wall, cpu) = (of(*case, |cost| cost.wall), of(*case, |cost| cost.cpu));
        let ratio = |values: &[f64], reference: fn(&Cost) -> Duration| {
            Spread::of_ratios(values, &of(Case::True, reference))
        };
        let ratios = (ratio(&wall, |cost| cost.wall), ratio(&cpu, |cost| cost.cpu));
        let broker = Spread::of(of(*case, |cost| cost.broker));
        (*case, Spread::of(wall.iter().copied()), Spread::of(cpu.iter().copied()), ratios, broker)
    });
    let figures: Vec<_> = figures.collect();
    if json {
        let cases = figures.iter().map(|(case, wall, cpu, ratios, broker)| {
            json!({"case": case.title(), "wall_ms": wall.json(), "cpu_ms": cpu.json(), "broker_cpu_ms": broker.json(),
                   "wall_to_true": ratios.0.json(), "cpu_to_true": ratios.1.json()})
        });
        let all = json!({"machine": Machine::here().to_string(), "rounds": rounds.len(), "times": times,
                         "sync_ms": sync.json(), "busy": busy, "cases": cases.collect::<Vec<_>>()});
        println!("{all:#}");
        return;
    }
    println!("{}; {} rounds of {times} each, by turns", Machine::here(), rounds.len());
    println!("median of each round, median over rounds [least..most]; milliseconds of the whole process");
    println!("one sync of the disk: {sync} ms; the machine was busy to {:.0} %\n", busy * 100.0);
    let titles = ["", "wall ms", "÷ true", "CPU ms", "÷ true", "broker CPU ms"].map(str::to_owned).to_vec();
    let rows = figures.iter().map(|(case, wall, cpu, ratios, broker)| {
        vec![
            case.title().to_owned(),
            wall.to_string(),
            ratios.0.to_string(),
            cpu.to_string(),
            ratios.1.to_string(),
            broker.to_string(),
        ]
    });
    print!("{}", table(&std::iter::once(titles).chain(rows).collect::<Vec<_>>()));
    if figures.iter().all(|(case, ..)| *case != Case::Node) {
        println!("\nnode is not installed");
    }
}
