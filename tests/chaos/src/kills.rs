//! `kill -9` of the broker at random instants, under load, again and again; the next call of anybody starts another.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use mesh_client::proto::GetStatusRequest;
use mesh_tests::{Mesh, is_running, kill};

use crate::crew::Crew;
use crate::dice::Dice;
use crate::record::{Record, pause};
use crate::report::Report;
use crate::victim::Victims;

const WORKERS: usize = 8;
/// How long nobody may have started another broker before the run is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// When the next kill comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// At any time of its work.
    Working,
    /// While it starts: it may be reading its store.
    Starting,
    /// A moment after it has committed something, with more under way.
    Committing,
}

/// Kills the broker so often, and checks what came of it.
pub async fn run(seed: u64, rounds: u64, victims: &Victims) -> Result<Report> {
    let (mesh, record) = (Mesh::new(), Record::new());
    let mut dice = Dice::new(seed);
    let client = mesh.starting_client();
    let status = client.call(|client| async move { client.admin().get_status(GetStatusRequest {}).await });
    let mut pid = status.await?.pid;
    let crew = Crew::start(WORKERS, &dice, &record, || mesh.starting_client()).await;
    let (mut faults, mut times) = (BTreeMap::new(), Vec::new());
    let mut victim = victims.start(&mesh, 0, &mut dice)?;
    let mut when = Moment::Working;
    for round in 0..rounds {
        when = match (when, dice.among(0..3)) {
            // Clients try for ten seconds: nobody gets over a broker that never works.
            (Moment::Working | Moment::Committing, 0) => Moment::Starting,
            (_, 1) => Moment::Working,
            _ => Moment::Committing,
        };
        let what = match when {
            Moment::Working => {
                committed(&record, dice.among(20..60)).await;
                pause(Duration::from_millis(dice.among(0..400))).await;
                "kill at work"
            }
            Moment::Starting => {
                pause(Duration::from_micros(dice.among(0..40_000))).await;
                "kill while starting"
            }
            Moment::Committing => {
                committed(&record, dice.among(1..40)).await;
                pause(Duration::from_micros(dice.among(0..3_000))).await;
                "kill while committing"
            }
        };
        if dice.percent(20) {
            victim.start_kill()?;
            victim.wait().await?;
            victim = victims.start(&mesh, round, &mut dice)?;
            *faults.entry("kill of a client").or_default() += 1;
        }
        kill(pid);
        times.push(record.now());
        *faults.entry(what).or_default() += 1;
        pid = next_broker(&mesh, pid).await?;
    }
    victim.start_kill()?;
    victim.wait().await?;
    crew.finish(&client).await;
    let history = record.history();
    Ok(Report::of(seed, faults, &times, &history))
}

/// Waits until so many batches more were seen; a broker that is down for long is killed all the same.
async fn committed(record: &Record, more: u64) {
    let (until, began) = (record.batches() + more, Instant::now());
    while record.batches() < until && began.elapsed() < Duration::from_secs(8) {
        pause(Duration::from_micros(200)).await;
    }
}

/// The process id of the broker that follows on a killed one. It need not be ready.
async fn next_broker(mesh: &Mesh, killed: u32) -> Result<u32> {
    let began = Instant::now();
    while began.elapsed() < STUCK {
        // Not by its lock: looking there would keep a broker that starts from taking it.
        let record = mesh.home().broker_record();
        if let Some(record) = record.filter(|record| record.pid != killed && is_running(record.pid)) {
            return Ok(record.pid);
        }
        pause(Duration::from_micros(500)).await;
    }
    let log = std::fs::read_to_string(mesh.home().log_path()).unwrap_or_default();
    bail!("nobody has started another broker for {STUCK:?}; the log:\n{log}")
}
