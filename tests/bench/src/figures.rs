//! The figures: which work, for whom, how often, beside whom.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::args::{Args, Row};
use crate::cell::Cell;
use crate::disk;
use crate::echo::Echo;
use crate::fanout::Fanout;
use crate::load::{Load, rounds};
use crate::mesh::{Mesh, texts};
use crate::process::Machine;
use crate::reference::{etcd::Etcd, nats::Nats, redis::Redis};
use crate::report::Report;
use crate::system::{Caller, Way};
use crate::unary::ClosedLoop;

/// How long each server works when only whether it works is asked.
const QUICK: Duration = Duration::from_millis(200);
/// Connections that many callers share.
const CONNECTIONS: usize = 8;

/// One kind of work, done by every server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Heartbeat {
        callers: usize,
    },
    Read {
        callers: usize,
    },
    Put {
        callers: usize,
    },
    Lock {
        callers: usize,
        contended: bool,
    },
    Mail {
        callers: usize,
    },
    /// Events to so many subscribers, each on a connection of its own, at so many a second.
    Events {
        subscribers: usize,
        rate: u32,
    },
}

/// What a figure came to.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) work: Work,
    /// By server, the bare one first; of each server one cell a round.
    pub(crate) servers: Vec<(String, Vec<Cell>)>,
    /// One sync of the disk in microseconds (p50), a value a round.
    pub(crate) syncs: Vec<f64>,
    /// Servers that are not installed.
    pub(crate) missing: Vec<&'static str>,
}

/// The running servers of one figure.
struct Servers {
    echo: Vec<Echo>,
    /// The baseline, if there is one, before what is measured.
    brokers: Vec<Mesh>,
    etcd: Option<Etcd>,
    nats: Option<Nats>,
    redis: Option<Redis>,
}

type Loads = Vec<Box<dyn Load>>;

impl Row {
    fn works(self, quick: bool) -> Vec<Work> {
        let many = if quick { 4 } else { 64 };
        match self {
            Self::Heartbeat => [1, 8, many].map(|callers| Work::Heartbeat { callers }).into(),
            Self::Read => [1, 8, many].map(|callers| Work::Read { callers }).into(),
            Self::Put => [1, many].map(|callers| Work::Put { callers }).into(),
            Self::Lock => [(1, false), (many, false), (many, true)]
                .map(|(callers, contended)| Work::Lock { callers, contended })
                .into(),
            Self::Mail => [1, many].map(|callers| Work::Mail { callers }).into(),
            Self::Events if quick => vec![Work::Events { subscribers: 3, rate: 50 }],
            Self::Events => [(1, 200), (100, 200), (1_000, 20)]
                .map(|(subscribers, rate)| Work::Events { subscribers, rate })
                .into(),
        }
    }
}

impl Work {
    fn has_etcd(self) -> bool {
        matches!(self, Self::Put { .. } | Self::Lock { .. } | Self::Events { .. })
    }

    fn has_redis(self) -> bool {
        matches!(self, Self::Put { .. } | Self::Lock { .. })
    }

    fn has_nats(self) -> bool {
        matches!(self, Self::Mail { .. } | Self::Events { .. })
    }
}

/// Measures and prints.
pub(crate) async fn run(args: &Args, rows: &[Row], quick: bool) -> Result<()> {
    let scratch = args.scratch()?;
    if !quick {
        disk::check(scratch.path())?;
    }
    let span = if quick { QUICK } else { args.span() };
    let mut figures = Vec::new();
    for work in rows.iter().flat_map(|row| row.works(quick)) {
        // New servers for each figure: none profits or suffers from the one before.
        let dir = tempfile::tempdir_in(scratch.path())?;
        figures.push(measure(args, span, work, dir.path()).await.with_context(|| work.title())?);
    }
    Report { machine: Machine::here(), rounds: args.rounds, span, figures }.print(args.json);
    Ok(())
}

async fn measure(args: &Args, span: Duration, work: Work, dir: &Path) -> Result<Figure> {
    let servers = Servers::start(args, work, dir).await?;
    let mut loads = servers.loads(work).await?;
    let mut syncs = Vec::new();
    let probe = || {
        syncs.push(disk::probe(dir)?.micros(0.5));
        Ok(())
    };
    let cells = rounds(&mut loads, args.rounds, span, probe).await?;
    let names = loads.iter().map(|load| load.name().to_owned());
    Ok(Figure { work, servers: names.zip(cells).collect(), syncs, missing: servers.missing(work) })
}

fn calls<C: Caller>(name: String, pid: u32, callers: Vec<C>) -> Box<dyn Load> {
    Box::new(ClosedLoop::new(name, pid, callers))
}

/// The name of the lock that a caller takes.
fn lock(contended: bool) -> impl Fn(usize) -> String {
    move |caller| if contended { "src/all.rs".into() } else { format!("src/{caller}.rs") }
}

impl Servers {
    async fn start(args: &Args, work: Work, dir: &Path) -> Result<Self> {
        let (mut echo, mut brokers) = (Vec::new(), Vec::new());
        if let Some(program) = args.baseline()? {
            brokers.push(Mesh::start("baseline", &program, &dir.join("b"))?);
        }
        for way in [Way::Unix, Way::Tcp] {
            echo.push(Echo::start(dir, texts(), way)?);
            let home = dir.join(way.name());
            brokers.push(Mesh::start_on("mesh", &args.meshctl()?, &home, way)?);
        }
        let etcd = if work.has_etcd() { Etcd::start(&dir.join("etcd")).await? } else { None };
        let nats = if work.has_nats() { Nats::start(&dir.join("nats"))? } else { None };
        let redis = if work.has_redis() { Redis::start(&dir.join("redis"))? } else { None };
        Ok(Self { echo, brokers, etcd, nats, redis })
    }

    fn missing(&self, work: Work) -> Vec<&'static str> {
        let wanted = [
            ("etcd-server", work.has_etcd() && self.etcd.is_none()),
            ("nats-server", work.has_nats() && self.nats.is_none()),
            ("redis-server", work.has_redis() && self.redis.is_none()),
        ];
        wanted.into_iter().filter(|(_, missing)| *missing).map(|(name, _)| name).collect()
    }

    async fn loads(&self, work: Work) -> Result<Loads> {
        let mut loads = Loads::new();
        for echo in &self.echo {
            loads.extend(echo_load(echo, work).await?);
        }
        for mesh in &self.brokers {
            loads.push(mesh_load(mesh, work).await?);
        }
        if let Some(etcd) = &self.etcd {
            loads.extend(etcd_load(etcd, work).await?);
        }
        if let Some(redis) = &self.redis {
            loads.extend(redis_load(redis, work).await?);
        }
        if let Some(nats) = &self.nats {
            loads.extend(nats_load(nats, work).await?);
        }
        Ok(loads)
    }
}

async fn echo_load(echo: &Echo, work: Work) -> Result<Option<Box<dyn Load>>> {
    let (name, pid) = (echo.name(), echo.pid());
    Ok(Some(match work {
        Work::Heartbeat { callers } | Work::Read { callers } | Work::Put { callers } => {
            calls(name, pid, echo.callers(callers, callers.min(CONNECTIONS)).await?)
        }
        Work::Lock { .. } | Work::Mail { .. } => return Ok(None),
        Work::Events { subscribers, rate } => {
            let publisher = echo.publishers(1, 1).await?.pop().context("no publisher")?;
            let mut all = Vec::new();
            for _ in 0..subscribers {
                all.push(echo.subscriber().await?);
            }
            Box::new(Fanout::new(name, pid, publisher, all, rate))
        }
    }))
}

async fn mesh_load(mesh: &Mesh, work: Work) -> Result<Box<dyn Load>> {
    let (name, pid) = (mesh.name(), mesh.pid());
    let over = |callers: usize| callers.min(CONNECTIONS);
    Ok(match work {
        Work::Heartbeat { callers: n } => calls(name, pid, mesh.heartbeats(n, over(n)).await?),
        Work::Read { callers: n } => calls(name, pid, mesh.readers(n, over(n)).await?),
        Work::Put { callers: n } => calls(name, pid, mesh.writers(n, over(n)).await?),
        Work::Lock { callers: n, contended } => {
            calls(name, pid, mesh.lockers(n, over(n), lock(contended)).await?)
        }
        Work::Mail { callers: n } => calls(name, pid, mesh.mailers(n, over(n)).await?),
        Work::Events { subscribers, rate } => {
            let publisher = mesh.publishers(1, 1).await?.pop().context("no publisher")?;
            let mut all = Vec::new();
            for _ in 0..subscribers {
                all.push(mesh.subscriber().await?);
            }
            Box::new(Fanout::new(name, pid, publisher, all, rate))
        }
    })
}

async fn etcd_load(etcd: &Etcd, work: Work) -> Result<Option<Box<dyn Load>>> {
    let (name, pid) = ("etcd".to_owned(), etcd.pid());
    Ok(Some(match work {
        Work::Put { callers: n } => calls(name, pid, etcd.writers("caller", n, n.min(CONNECTIONS)).await?),
        Work::Lock { callers: n, contended } => {
            calls(name, pid, etcd.lockers(n, n.min(CONNECTIONS), lock(contended)).await?)
        }
        Work::Events { subscribers, rate } => {
            let publisher = etcd.writers("publisher", 1, 1).await?.pop().context("no publisher")?;
            let mut all = Vec::new();
            for _ in 0..subscribers {
                all.push(etcd.subscriber().await?);
            }
            Box::new(Fanout::new(name, pid, publisher, all, rate))
        }
        Work::Heartbeat { .. } | Work::Read { .. } | Work::Mail { .. } => return Ok(None),
    }))
}

async fn redis_load(redis: &Redis, work: Work) -> Result<Option<Box<dyn Load>>> {
    let (name, pid) = ("redis".to_owned(), redis.pid());
    Ok(Some(match work {
        Work::Put { callers: n } => calls(name, pid, redis.writers(n, n.min(CONNECTIONS)).await?),
        Work::Lock { callers: n, contended } => {
            calls(name, pid, redis.lockers(n, n.min(CONNECTIONS), lock(contended)).await?)
        }
        Work::Heartbeat { .. } | Work::Read { .. } | Work::Mail { .. } | Work::Events { .. } => {
            return Ok(None);
        }
    }))
}

async fn nats_load(nats: &Nats, work: Work) -> Result<Option<Box<dyn Load>>> {
    let pid = nats.pid();
    Ok(Some(match work {
        Work::Mail { callers: n } => {
            calls("NATS JetStream".into(), pid, nats.mailers(n, n.min(CONNECTIONS)).await?)
        }
        Work::Events { subscribers, rate } => {
            let publisher = nats.publishers(1, 1).await?.pop().context("no publisher")?;
            let mut all = Vec::new();
            for _ in 0..subscribers {
                all.push(nats.subscriber().await?);
            }
            Box::new(Fanout::new("NATS core".into(), pid, publisher, all, rate))
        }
        Work::Heartbeat { .. } | Work::Read { .. } | Work::Put { .. } | Work::Lock { .. } => return Ok(None),
    }))
}
