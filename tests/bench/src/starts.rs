//! How long a server takes to start, on nothing and on much, and what it takes while nothing happens.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::args::Args;
use crate::mesh::Mesh;
use crate::process::{End, kib_of, run_time_of};
use crate::reference::{etcd::Etcd, nats::Nats, redis::Redis};
use crate::sheet::Sheet;

/// One server of each kind, where it is installed.
struct Idle {
    mesh: Mesh,
    etcd: Option<Etcd>,
    nats: Option<Nats>,
    redis: Option<Redis>,
}

/// On nothing, all servers; on much, the broker after each way to end.
pub(crate) async fn measure(args: &Args, quick: bool, dir: &Path) -> Result<Vec<Sheet>> {
    let span = Duration::from_secs(if quick { 1 } else { 60 });
    let title = format!("start on an empty store until it answers; then idle for {} s", span.as_secs());
    let aim = "start ≤ 6 ms; RSS ≤ 10 MiB; CPU 0";
    let mut sheet = Sheet::new(title, aim, &["start ms", "idle RSS MiB", "idle CPU ms/s"]);
    for round in 0..args.rounds {
        let home = dir.join(format!("round{round}"));
        std::fs::create_dir(&home)?;
        let servers = Idle::start(args, &home, &mut sheet).await?;
        // A minute of nothing is much the same in every round.
        if round == 0 {
            servers.idle(span, &mut sheet).await?;
        }
    }
    Ok(vec![sheet, again(args, quick, dir).await?])
}

impl Idle {
    async fn start(args: &Args, dir: &Path, sheet: &mut Sheet) -> Result<Self> {
        sheet.missing.clear();
        let mut started = |name: &str, package: &'static str, here: bool, since: Instant| {
            if here {
                sheet.record(name, &[millis(since.elapsed()), f64::NAN, f64::NAN]);
            } else {
                sheet.missing.push(package);
            }
        };
        let since = Instant::now();
        let mesh = Mesh::start("mesh", &args.meshctl()?, &dir.join("mesh"))?;
        started("mesh", "meshctl", true, since);
        let since = Instant::now();
        let etcd = Etcd::start(&dir.join("etcd")).await?;
        started("etcd", "etcd-server", etcd.is_some(), since);
        let since = Instant::now();
        let nats = Nats::start(&dir.join("nats"))?;
        started("NATS JetStream", "nats-server", nats.is_some(), since);
        let since = Instant::now();
        let redis = Redis::start(&dir.join("redis"))?;
        started("redis", "redis-server", redis.is_some(), since);
        Ok(Self { mesh, etcd, nats, redis })
    }

    fn pids(&self) -> Vec<(&'static str, u32)> {
        let others = [
            ("etcd", self.etcd.as_ref().map(Etcd::pid)),
            ("NATS JetStream", self.nats.as_ref().map(Nats::pid)),
            ("redis", self.redis.as_ref().map(Redis::pid)),
        ];
        let here = others.into_iter().filter_map(|(name, pid)| Some((name, pid?)));
        std::iter::once(("mesh", self.mesh.pid())).chain(here).collect()
    }

    /// All at the same time.
    async fn idle(&self, span: Duration, sheet: &mut Sheet) -> Result<()> {
        tokio::time::sleep(Duration::from_secs(1).min(span)).await;
        let pids = self.pids();
        let before = pids.iter().map(|(_, pid)| run_time_of(*pid)).collect::<Result<Vec<_>>>()?;
        tokio::time::sleep(span).await;
        for ((name, pid), before) in pids.into_iter().zip(before) {
            let used = run_time_of(pid)?.saturating_sub(before);
            let rss = mebibytes(kib_of(pid, "status", "VmRSS")?);
            sheet.record(name, &[f64::NAN, rss, millis(used) / span.as_secs_f64()]);
        }
        Ok(())
    }
}

/// The broker on a store with much in it.
async fn again(args: &Args, quick: bool, dir: &Path) -> Result<Sheet> {
    let entries = if quick { 1_000 } else { 1_000_000 };
    let (program, home) = (args.meshctl()?, dir.join("full"));
    let title = format!("start on {entries} entries until it answers");
    let mut sheet = Sheet::new(title, "≤ 2 s on a million", &["start ms", "RSS MiB"]);
    let mut mesh = Mesh::start("mesh", &program, &home)?;
    mesh.fill_entries(entries).await.context("entries")?;
    for _ in 0..args.rounds {
        for (name, end) in [("after a stop", End::Stop), ("after a kill", End::Kill)] {
            mesh.end(end)?;
            let start = Instant::now();
            mesh = Mesh::start("mesh", &program, &home)?;
            let took = millis(start.elapsed());
            sheet.record(name, &[took, mebibytes(kib_of(mesh.pid(), "status", "VmRSS")?)]);
        }
    }
    Ok(sheet)
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
fn mebibytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
