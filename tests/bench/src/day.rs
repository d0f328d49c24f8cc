//! The day of a team of agents, faster: each joins, watches, and then by turns shows that it lives, reads, remembers,
//! locks and talks, at a steady pace.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mesh_client::proto::{
    AcknowledgeMessagesRequest, AcquireLocksRequest, GetRequest, HeartbeatRequest, ListMessagesRequest,
    LockMode, PutRequest, ReleaseLocksRequest, SendRequest,
};
use mesh_client::{Client, Session, request_id};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::args::Args;
use crate::mesh::{Mesh, SCOPE, Watcher, value};
use crate::process::{Usage, kib_of};
use crate::sheet::Sheet;
use crate::stats::Latencies;

/// Between two acts of one agent.
const PACE: Duration = Duration::from_millis(500);

/// What an agent does, in this order, over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Heartbeat,
    Lock,
    Recall,
    Release,
    Remember,
    Send,
    Inbox,
}

const ACTS: [(Act, &str); 7] = [
    (Act::Heartbeat, "heartbeat"),
    (Act::Lock, "lock"),
    (Act::Recall, "read of an entry"),
    (Act::Release, "release"),
    (Act::Remember, "put"),
    (Act::Send, "message to another"),
    (Act::Inbox, "inbox, read and acknowledged"),
];

/// One agent: a connection with a session, and a stream on a connection of its own, which somebody reads.
struct Agent {
    number: u32,
    session: Session,
    /// Who its messages go to.
    neighbour: String,
    acts: usize,
}

pub(crate) async fn measure(args: &Args, quick: bool, dir: &Path) -> Result<Vec<Sheet>> {
    let (agents, span, pace) = if quick {
        (4, Duration::from_millis(700), PACE / 10)
    } else {
        (100, args.span().max(PACE * 8), PACE)
    };
    let mesh = Mesh::start("mesh", &args.meshctl()?, &dir.join("mesh"))?;
    let empty = kib_of(mesh.pid(), "status", "VmRSS")?;
    let mut team = join(&mesh, agents).await?;
    let told = Arc::new(AtomicU64::new(0));
    let mut watchers = JoinSet::new();
    for _ in 0..agents {
        watchers.spawn(follow(mesh.subscriber().await?, told.clone()));
    }
    let title = format!("a day of {agents} agents, each an act in {} ms and a stream", pace.as_millis());
    let mut acts = Sheet::new(title.clone(), "p99 ≤ 5 ms", &["p50 µs", "p99 µs"]);
    let mut taken = Sheet::new(
        format!("{title}: what the broker takes"),
        "told, not bounded",
        &["an agent's CPU ms/s", "an agent's RSS KiB", "events delivered/s"],
    );
    for round in 0..=args.rounds {
        let before = (Usage::of(mesh.pid())?, told.load(Ordering::Relaxed));
        let start = Instant::now();
        let (back, latencies) = work(team, start + span, pace).await?;
        team = back;
        let elapsed = start.elapsed();
        ensure!(watchers.try_join_next().is_none(), "a stream ended");
        // The first only warms up.
        if round == 0 {
            continue;
        }
        let mut all = Latencies::new()?;
        for ((_, name), its) in ACTS.iter().zip(&latencies) {
            all.merge(its)?;
            acts.record(name, &[its.micros(0.5), its.micros(0.99)]);
        }
        acts.record("all", &[all.micros(0.5), all.micros(0.99)]);
        let (cpu, _) = Usage::of(mesh.pid())?.since(&before.0);
        let grown = kib_of(mesh.pid(), "status", "VmRSS")?.saturating_sub(empty);
        let delivered = number(told.load(Ordering::Relaxed) - before.1) / elapsed.as_secs_f64();
        let each = |value: f64| value / f64::from(agents);
        let cpu = each(cpu.as_secs_f64() * 1e3 / elapsed.as_secs_f64());
        taken.record("mesh", &[cpu, each(number(grown)), delivered]);
    }
    Ok(vec![acts, taken])
}

async fn join(mesh: &Mesh, agents: u32) -> Result<Vec<Agent>> {
    let mut team = Vec::new();
    for number in 0..agents {
        let session = mesh.join_in(SCOPE, Some(&format!("agent-{number}"))).await?;
        let neighbour = format!("agent-{}", (number + 1) % agents);
        team.push(Agent { number, session, neighbour, acts: 0 });
    }
    for agent in &team {
        agent.act(Act::Remember, &agent.session.client()).await?;
    }
    Ok(team)
}

async fn follow(mut watcher: Watcher, told: Arc<AtomicU64>) -> Result<()> {
    loop {
        watcher.any().await?;
        told.fetch_add(1, Ordering::Relaxed);
    }
}

/// All agents at their pace: them again, and how long acts took, in the order of [`ACTS`].
async fn work(team: Vec<Agent>, end: Instant, pace: Duration) -> Result<(Vec<Agent>, Vec<Latencies>)> {
    let count = u32::try_from(team.len())?;
    let mut tasks = JoinSet::new();
    for (place, agent) in (0..).zip(team) {
        // Not all at the same moment.
        tasks.spawn(agent.work(pace * place / count, end, pace));
    }
    let mut team = Vec::new();
    let mut all = ACTS.iter().map(|_| Latencies::new()).collect::<Result<Vec<_>>>()?;
    while let Some(done) = tasks.join_next().await {
        let (agent, latencies) = done.context("an agent panicked")??;
        for (all, its) in all.iter_mut().zip(&latencies) {
            all.merge(its)?;
        }
        team.push(agent);
    }
    Ok((team, all))
}

impl Agent {
    async fn work(mut self, delay: Duration, end: Instant, pace: Duration) -> Result<(Self, Vec<Latencies>)> {
        let mut latencies = ACTS.iter().map(|_| Latencies::new()).collect::<Result<Vec<_>>>()?;
        let first = tokio::time::Instant::now() + delay;
        let mut ticks = tokio::time::interval_at(first, pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let client = self.session.client();
        while Instant::now() < end {
            ticks.tick().await;
            let place = self.acts % ACTS.len();
            let (Some((act, name)), Some(histogram)) = (ACTS.get(place), latencies.get_mut(place)) else {
                break;
            };
            let before = Instant::now();
            self.act(*act, &client).await.with_context(|| format!("{name} of agent {}", self.number))?;
            histogram.record(before.elapsed())?;
            self.acts += 1;
        }
        Ok((self, latencies))
    }

    async fn act(&self, act: Act, client: &Client) -> Result<()> {
        let path = format!("src/{}.rs", self.number);
        let key = format!("day/{}/{}", self.number, self.acts / ACTS.len() % 20);
        match act {
            Act::Heartbeat => {
                client.peers().heartbeat(HeartbeatRequest {}).await?;
            }
            Act::Lock => {
                let mode = LockMode::Exclusive.into();
                let paths = vec![path];
                let lock =
                    AcquireLocksRequest { paths, mode, request_id: request_id(), ..Default::default() };
                let granted = client.locks().acquire_locks(lock).await?.into_inner();
                ensure!(!granted.locks.is_empty(), "a lock of its own was refused");
            }
            Act::Release => {
                let release =
                    ReleaseLocksRequest { paths: vec![path], request_id: request_id(), ..Default::default() };
                client.locks().release_locks(release).await?;
            }
            Act::Recall => {
                let key = format!("day/{}/0", self.number);
                client.state().get(GetRequest { key, ..Default::default() }).await?;
            }
            Act::Remember => {
                let value = value(u64::try_from(self.acts)?);
                let put = PutRequest { key, value, request_id: request_id(), ..Default::default() };
                client.state().put(put).await?;
            }
            Act::Send => {
                let (to, body) = (vec![self.neighbour.clone()], value(0));
                let send = SendRequest { to, body, request_id: request_id(), ..Default::default() };
                client.messages().send(send).await?;
            }
            Act::Inbox => {
                let page =
                    client.messages().list_messages(ListMessagesRequest::default()).await?.into_inner();
                if !page.messages.is_empty() {
                    let up_to_revision = page.next_after_revision;
                    let read = AcknowledgeMessagesRequest { up_to_revision, request_id: request_id() };
                    client.messages().acknowledge_messages(read).await?;
                }
            }
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn number(value: u64) -> f64 {
    value as f64
}
