//! The servers of one figure, and the load that each is given.

use std::path::Path;

use anyhow::{Context, Result};

use crate::args::Args;
use crate::echo::Echo;
use crate::fanout::Fanout;
use crate::figures::Work;
use crate::load::Load;
use crate::mesh::{Mesh, texts};
use crate::reference::{etcd::Etcd, nats::Nats, redis::Redis};
use crate::surge::Surge;
use crate::system::{Caller, Way};
use crate::unary::ClosedLoop;

/// Connections that many callers share.
const CONNECTIONS: usize = 8;

/// The running servers of one figure.
pub(crate) struct Servers {
    echo: Vec<Echo>,
    /// The baseline, if there is one, before what is measured.
    brokers: Vec<Mesh>,
    etcd: Option<Etcd>,
    nats: Option<Nats>,
    redis: Option<Redis>,
}

type Loads = Vec<Box<dyn Load>>;

/// Connections that so many callers share.
fn over(callers: usize) -> usize {
    callers.min(CONNECTIONS)
}

/// So many subscribers, one after the other.
async fn each<S, F: Future<Output = Result<S>>>(count: usize, make: impl Fn() -> F) -> Result<Vec<S>> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(make().await?);
    }
    Ok(all)
}

fn calls<C: Caller>(name: String, pid: u32, callers: Vec<C>) -> Box<dyn Load> {
    Box::new(ClosedLoop::new(name, pid, callers))
}

/// The name of the lock that a caller takes.
fn lock(contended: bool) -> impl Fn(usize) -> String {
    move |caller| if contended { "src/all.rs".into() } else { format!("src/{caller}.rs") }
}

impl Servers {
    pub(crate) async fn start(args: &Args, work: Work, dir: &Path) -> Result<Self> {
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

    pub(crate) fn missing(&self, work: Work) -> Vec<&'static str> {
        let wanted = [
            ("etcd-server", work.has_etcd() && self.etcd.is_none()),
            ("nats-server", work.has_nats() && self.nats.is_none()),
            ("redis-server", work.has_redis() && self.redis.is_none()),
        ];
        wanted.into_iter().filter(|(_, missing)| *missing).map(|(name, _)| name).collect()
    }

    pub(crate) async fn loads(&self, work: Work) -> Result<Loads> {
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
            calls(name, pid, echo.callers(callers, over(callers)).await?)
        }
        Work::Lock { .. } | Work::Mail { .. } => return Ok(None),
        Work::Events { subscribers, rate } => {
            let publisher = echo.publishers(1, 1).await?.pop().context("no publisher")?;
            let all = each(subscribers, || echo.subscriber()).await?;
            Box::new(Fanout::new(name, pid, publisher, all, rate))
        }
        Work::Fanout { publishers: n, subscribers } => {
            let all = each(subscribers, || echo.subscriber()).await?;
            Box::new(Surge::new(name, pid, echo.publishers(n, over(n)).await?, all)?)
        }
    }))
}

async fn mesh_load(mesh: &Mesh, work: Work) -> Result<Box<dyn Load>> {
    let (name, pid) = (mesh.name(), mesh.pid());
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
            let all = each(subscribers, || mesh.subscriber()).await?;
            Box::new(Fanout::new(name, pid, publisher, all, rate))
        }
        Work::Fanout { publishers: n, subscribers } => {
            let all = each(subscribers, || mesh.subscriber()).await?;
            Box::new(Surge::new(name, pid, mesh.publishers(n, over(n)).await?, all)?)
        }
    })
}

async fn etcd_load(etcd: &Etcd, work: Work) -> Result<Option<Box<dyn Load>>> {
    let (name, pid) = ("etcd".to_owned(), etcd.pid());
    Ok(Some(match work {
        Work::Put { callers: n } => calls(name, pid, etcd.writers("caller", n, over(n)).await?),
        Work::Lock { callers: n, contended } => {
            calls(name, pid, etcd.lockers(n, over(n), lock(contended)).await?)
        }
        Work::Events { subscribers, rate } => {
            let publisher = etcd.writers("publisher", 1, 1).await?.pop().context("no publisher")?;
            let all = each(subscribers, || etcd.subscriber()).await?;
            Box::new(Fanout::new(name, pid, publisher, all, rate))
        }
        Work::Fanout { publishers: n, subscribers } => {
            let all = each(subscribers, || etcd.subscriber()).await?;
            Box::new(Surge::new(name, pid, etcd.writers("publisher", n, over(n)).await?, all)?)
        }
        Work::Heartbeat { .. } | Work::Read { .. } | Work::Mail { .. } => return Ok(None),
    }))
}

async fn redis_load(redis: &Redis, work: Work) -> Result<Option<Box<dyn Load>>> {
    let (name, pid) = ("redis".to_owned(), redis.pid());
    Ok(Some(match work {
        Work::Put { callers: n } => calls(name, pid, redis.writers(n, over(n)).await?),
        Work::Lock { callers: n, contended } => {
            calls(name, pid, redis.lockers(n, over(n), lock(contended)).await?)
        }
        Work::Heartbeat { .. }
        | Work::Read { .. }
        | Work::Mail { .. }
        | Work::Events { .. }
        | Work::Fanout { .. } => return Ok(None),
    }))
}

async fn nats_load(nats: &Nats, work: Work) -> Result<Option<Box<dyn Load>>> {
    let pid = nats.pid();
    Ok(Some(match work {
        Work::Mail { callers: n } => calls("NATS JetStream".into(), pid, nats.mailers(n, over(n)).await?),
        Work::Events { subscribers, rate } => {
            let publisher = nats.publishers(1, 1).await?.pop().context("no publisher")?;
            let all = each(subscribers, || nats.subscriber()).await?;
            Box::new(Fanout::new("NATS core".into(), pid, publisher, all, rate))
        }
        Work::Fanout { publishers: n, subscribers } => {
            let all = each(subscribers, || nats.subscriber()).await?;
            Box::new(Surge::new("NATS core".into(), pid, nats.publishers(n, over(n)).await?, all)?)
        }
        Work::Heartbeat { .. } | Work::Read { .. } | Work::Put { .. } | Work::Lock { .. } => return Ok(None),
    }))
}
