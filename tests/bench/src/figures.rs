//! The figures: which work, for whom, how often, beside whom.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::args::{Args, Row};
use crate::cell::Cell;
use crate::disk;
use crate::load::rounds;
use crate::process::{Machine, raise_open_files};
use crate::report::Report;
use crate::servers::Servers;
use crate::sheet::Sheet;
use crate::{adapters, bytes, day, resume, scale, starts};

/// How long each server works when only whether it works is asked.
const QUICK: Duration = Duration::from_millis(100);

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
    /// Events at full speed to so many subscribers, each on a connection of its own.
    Fanout {
        publishers: usize,
        subscribers: usize,
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
            Self::Resume | Self::Scale | Self::Disk | Self::Start | Self::Day | Self::Adapter => Vec::new(),
            Self::Fanout if quick => vec![Work::Fanout { publishers: many, subscribers: 3 }],
            Self::Fanout => {
                [10, 100, 1_000].map(|subscribers| Work::Fanout { publishers: many, subscribers }).into()
            }
            Self::Events if quick => vec![Work::Events { subscribers: 3, rate: 50 }],
            Self::Events => [(1, 200), (100, 200), (1_000, 20)]
                .map(|(subscribers, rate)| Work::Events { subscribers, rate })
                .into(),
        }
    }
}

impl Work {
    pub(crate) fn has_etcd(self) -> bool {
        matches!(self, Self::Put { .. } | Self::Lock { .. } | Self::Events { .. } | Self::Fanout { .. })
    }

    pub(crate) fn has_redis(self) -> bool {
        matches!(self, Self::Put { .. } | Self::Lock { .. })
    }

    pub(crate) fn has_nats(self) -> bool {
        matches!(self, Self::Mail { .. } | Self::Events { .. } | Self::Fanout { .. })
    }
}

/// Measures and prints, each table as soon as it is there.
pub(crate) async fn run(args: &Args, rows: &[Row], quick: bool) -> Result<()> {
    let scratch = args.scratch()?;
    if !quick {
        disk::check(scratch.path())?;
    }
    raise_open_files()?;
    let span = if quick { QUICK } else { args.span() };
    let mut report = Report::begin(&Machine::here(), args.rounds, span, args.json);
    for row in rows {
        for work in row.works(quick) {
            // New servers for each figure: none profits or suffers from the one before.
            let dir = tempfile::tempdir_in(scratch.path())?;
            let figure = measure(args, span, work, dir.path()).await;
            report.figure(&figure.with_context(|| work.title())?);
        }
        let dir = tempfile::tempdir_in(scratch.path())?;
        for sheet in sheets(args, *row, quick, dir.path()).await.with_context(|| format!("{row:?}"))? {
            report.sheet(&sheet);
        }
    }
    report.end();
    Ok(())
}

/// Of a row that is no work done by every server alike.
async fn sheets(args: &Args, row: Row, quick: bool, dir: &Path) -> Result<Vec<Sheet>> {
    Ok(match row {
        Row::Resume => vec![resume::measure(args, quick, dir).await?],
        Row::Scale => scale::measure(args, quick, dir).await?,
        Row::Disk => vec![bytes::measure(args, quick, dir).await?],
        Row::Start => starts::measure(args, quick, dir).await?,
        Row::Day => day::measure(args, quick, dir).await?,
        Row::Adapter => vec![adapters::measure(args, quick, dir)?],
        Row::Put | Row::Heartbeat | Row::Read | Row::Events | Row::Fanout | Row::Lock | Row::Mail => {
            Vec::new()
        }
    })
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
