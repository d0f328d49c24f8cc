//! Whether an operation takes longer when there is more of everything: two brokers in the same rounds, one with few
//! peers, locks or entries, one with many.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::args::Args;
use crate::load::{Load, rounds};
use crate::mesh::Mesh;
use crate::sheet::Sheet;
use crate::unary::ClosedLoop;

/// Of what there is more.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Peers,
    Locks,
    Entries,
}

impl Kind {
    fn sizes(self, quick: bool) -> (u64, u64) {
        match self {
            Self::Peers | Self::Locks if quick => (10, 100),
            Self::Entries if quick => (100, 1_000),
            Self::Peers => (10, 10_000),
            Self::Locks => (10, 100_000),
            Self::Entries => (1_000, 1_000_000),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Peers => "peers",
            Self::Locks => "locks",
            Self::Entries => "entries",
        }
    }

    fn operation(self) -> &'static str {
        match self {
            Self::Peers => "one joins and leaves",
            Self::Locks => "lock and release",
            Self::Entries => "durable put",
        }
    }

    async fn load(self, mesh: &Mesh, size: u64, name: String) -> Result<Box<dyn Load>> {
        let pid = mesh.pid();
        // What the operation itself has is of the number too.
        Ok(match self {
            Self::Peers => {
                mesh.fill_peers(size - 1).await?;
                Box::new(ClosedLoop::new(name, pid, vec![mesh.visitor()?]))
            }
            Self::Locks => {
                mesh.fill_locks(size - 1).await?;
                Box::new(ClosedLoop::new(name, pid, mesh.lockers(1, 1, |_| "src/own.rs".into()).await?))
            }
            Self::Entries => {
                mesh.fill_entries(size - crate::mesh::KEYS).await?;
                Box::new(ClosedLoop::new(name, pid, mesh.writers(1, 1).await?))
            }
        })
    }
}

/// One table for each kind.
pub(crate) async fn measure(args: &Args, quick: bool, dir: &Path) -> Result<Vec<Sheet>> {
    let mut sheets = Vec::new();
    for kind in [Kind::Peers, Kind::Locks, Kind::Entries] {
        let (few, many) = kind.sizes(quick);
        let span = if quick { Duration::from_millis(100) } else { args.span() };
        let title = format!("{}, {few} {what} and {many}, 1 caller", kind.operation(), what = kind.name());
        let columns = ["calls/s", "p50 µs", "p99 µs", "server CPU µs/each"];
        let mut sheet = Sheet::new(title, "flat within 1.3 ×", &columns);
        let home = |size: u64| dir.join(format!("{}{size}", kind.name()));
        let brokers = [few, many]
            .map(|size| Mesh::start("mesh", &args.meshctl()?, &home(size)).map(|mesh| (mesh, size)));
        let [small, large] = brokers;
        let servers = [small?, large?];
        let mut loads = Vec::new();
        for (mesh, size) in &servers {
            let name = format!("{size} {}", kind.name());
            loads.push(kind.load(mesh, *size, name.clone()).await.context(name)?);
        }
        let cells = rounds(&mut loads, args.rounds, span, || Ok(())).await?;
        for (load, cells) in loads.iter().zip(cells) {
            for cell in cells {
                let times = [cell.latencies.micros(0.5), cell.latencies.micros(0.99)];
                sheet.record(load.name(), &[cell.rate(), times[0], times[1], cell.server_micros()]);
            }
        }
        if let [small, large] = &loads[..] {
            sheet.compare(large.name(), small.name());
        }
        sheets.push(sheet);
    }
    Ok(sheets)
}
