//! The figures: which work, for whom, how often.

use std::path::Path;

use anyhow::{Context, Result};

use crate::args::Args;
use crate::cell::Cell;
use crate::disk;
use crate::echo::Echo;
use crate::fanout::Fanout;
use crate::load::{Load, rounds};
use crate::mesh::{Mesh, texts};
use crate::process::Machine;
use crate::report::{self, Report};
use crate::system::System;
use crate::unary::ClosedLoop;

/// A group of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One call after the other from each caller.
    Put,
    /// Events at a steady rate.
    Events,
}

/// One kind of work, done by every server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Calls from so many callers on so many connections.
    Calls { callers: usize, connections: usize },
    /// Events to so many subscribers, each on a connection of its own, at so many a second.
    Events { subscribers: usize, rate: u32 },
}

/// What a figure came to.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) work: Work,
    /// By server, the reference first; of each server one cell a round.
    pub(crate) servers: Vec<(String, Vec<Cell>)>,
    /// One sync of the disk in microseconds (p50), a value a round.
    pub(crate) syncs: Vec<f64>,
}

/// The running servers.
struct Servers {
    echo: Echo,
    /// The baseline, if there is one, before what is measured.
    brokers: Vec<Mesh>,
}

impl Kind {
    fn works(self) -> [Work; 2] {
        match self {
            Self::Put => {
                [Work::Calls { callers: 1, connections: 1 }, Work::Calls { callers: 64, connections: 8 }]
            }
            Self::Events => {
                [Work::Events { subscribers: 1, rate: 200 }, Work::Events { subscribers: 100, rate: 200 }]
            }
        }
    }
}

/// Measures and prints.
pub(crate) async fn run(args: &Args, kinds: &[Kind]) -> Result<()> {
    let scratch = args.scratch()?;
    disk::check(scratch.path())?;
    let mut figures = Vec::new();
    for work in kinds.iter().flat_map(|kind| kind.works()) {
        // New servers for each figure: none profits or suffers from the one before.
        let dir = tempfile::tempdir_in(scratch.path())?;
        let servers = Servers::start(args, dir.path())?;
        figures.push(measure(args, &servers, work, dir.path()).await.with_context(|| report::title(work))?);
    }
    Report { machine: Machine::here(), rounds: args.rounds, span: args.span(), figures }.print(args.json);
    Ok(())
}

async fn measure(args: &Args, servers: &Servers, work: Work, dir: &Path) -> Result<Figure> {
    let mut loads = vec![load(&servers.echo, work).await?];
    for broker in &servers.brokers {
        loads.push(load(broker, work).await?);
    }
    let mut syncs = Vec::new();
    let probe = || {
        syncs.push(disk::probe(dir)?.micros(0.5));
        Ok(())
    };
    let cells = rounds(&mut loads, args.rounds, args.span(), probe).await?;
    let names = loads.iter().map(|load| load.name().to_owned());
    Ok(Figure { work, servers: names.zip(cells).collect(), syncs })
}

async fn load<S: System>(system: &S, work: Work) -> Result<Box<dyn Load>>
where
    S::Publisher: Sync,
{
    Ok(match work {
        Work::Calls { callers, connections } => {
            Box::new(ClosedLoop::open(system, callers, connections).await?)
        }
        Work::Events { subscribers, rate } => Box::new(Fanout::open(system, subscribers, rate).await?),
    })
}

impl Servers {
    fn start(args: &Args, dir: &Path) -> Result<Self> {
        let echo = Echo::start(dir, texts())?;
        let mut brokers = Vec::new();
        if let Some(program) = args.baseline()? {
            brokers.push(Mesh::start("baseline", &program, &dir.join("b"))?);
        }
        brokers.push(Mesh::start("mesh", &args.meshctl()?, &dir.join("m"))?);
        Ok(Self { echo, brokers })
    }
}
