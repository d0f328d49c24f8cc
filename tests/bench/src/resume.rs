//! A subscriber that comes late: all that it has missed, against a read of the same bytes from the disk, and what
//! another peer notices meanwhile.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::{Advice, fadvise};
use tokio::task::JoinSet;

use crate::args::Args;
use crate::mesh::{Mesh, PutCaller};
use crate::sheet::Sheet;
use crate::stats::Latencies;
use crate::system::{Caller, Subscriber};

const PUBLISHERS: u64 = 64;
const CONNECTIONS: usize = 8;
/// Between two puts of the other peer.
const PACE: Duration = Duration::from_millis(5);

pub(crate) async fn measure(args: &Args, quick: bool, dir: &Path) -> Result<Sheet> {
    let (events, span) = if quick { (512, Duration::from_millis(100)) } else { (100_000, args.span()) };
    let mesh = Mesh::start("mesh", &args.meshctl()?, &dir.join("mesh"))?;
    let (mut follower, from) = mesh.watch_from(0).await?;
    publish(&mesh, events).await?;
    let file = dir.join("events");
    let mut kept = File::create_new(&file)?;
    let mut bytes = 0;
    for _ in 0..events {
        let event = follower.next_encoded().await?;
        bytes += event.len();
        kept.write_all(&event)?;
    }
    drop(follower);
    kept.sync_all()?;
    replay(&mesh, from, events).await?;
    let title = format!("resume: {events} events to a late subscriber; meanwhile another puts, 200 a second");
    let columns = ["s", "MiB/s", "events/s", "another's put p50 µs", "p99 µs"];
    let aim = "MiB/s ≥ 0.3 × sequential read; the other's put as without";
    let mut sheet = Sheet::new(title, aim, &columns);
    let speeds = |took: Duration| [took.as_secs_f64(), mebibytes(bytes, took), number(events, took)];
    let mut other = mesh.writers(1, 1).await?.pop().context("no writer")?;
    for _ in 0..args.rounds {
        sheet.record("sequential read", &speeds(read(&kept, &file, bytes)?));
        let stop = Arc::new(AtomicBool::new(false));
        let pace = tokio::spawn(put_at_pace(other, stop.clone()));
        tokio::time::sleep(span).await;
        stop.store(true, Ordering::Relaxed);
        let (back, alone) = pace.await??;
        sheet.record("nobody resumes", &with([f64::NAN; 3], &alone));
        let stop = Arc::new(AtomicBool::new(false));
        let pace = tokio::spawn(put_at_pace(back, stop.clone()));
        let took = replays(&mesh, from, events, span).await;
        stop.store(true, Ordering::Relaxed);
        let (back, beside) = pace.await??;
        sheet.record("mesh", &with(speeds(took?), &beside));
        other = back;
    }
    sheet.compare("mesh", "sequential read");
    sheet.compare("mesh", "nobody resumes");
    Ok(sheet)
}

/// Puts so often, by many peers.
async fn publish(mesh: &Mesh, events: u64) -> Result<()> {
    let publishers = mesh.publishers(usize::try_from(PUBLISHERS)?, CONNECTIONS).await?;
    let mut tasks = JoinSet::new();
    for (first, mut publisher) in (0..PUBLISHERS).zip(publishers) {
        tasks.spawn(async move {
            let mut number = first;
            while number < events {
                publisher.call(number).await?;
                number += PUBLISHERS;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// From the connection to the last of the events.
async fn replay(mesh: &Mesh, from: u64, events: u64) -> Result<()> {
    let (mut late, _) = mesh.watch_from(from).await?;
    for _ in 0..events {
        late.next().await?;
    }
    Ok(())
}

/// Replays until the time is over: how long one took.
async fn replays(mesh: &Mesh, from: u64, events: u64, span: Duration) -> Result<Duration> {
    let start = Instant::now();
    let mut done = 0;
    while done == 0 || start.elapsed() < span {
        replay(mesh, from, events).await?;
        done += 1;
    }
    Ok(start.elapsed() / done)
}

async fn put_at_pace(mut caller: PutCaller, stop: Arc<AtomicBool>) -> Result<(PutCaller, Latencies)> {
    let mut ticks = tokio::time::interval(PACE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut latencies = Latencies::new()?;
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let before = Instant::now();
        caller.call(number).await?;
        latencies.record(before.elapsed())?;
        number += 1;
    }
    Ok((caller, latencies))
}

/// Reads the file from the disk, after the system has forgotten it.
fn read(kept: &File, path: &Path, bytes: usize) -> Result<Duration> {
    fadvise(kept, 0, None, Advice::DontNeed)?;
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    let start = Instant::now();
    let mut seen = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            more => seen += more,
        }
    }
    anyhow::ensure!(seen == bytes, "{seen} of {bytes} bytes were read");
    Ok(start.elapsed())
}

fn with(speeds: [f64; 3], other: &Latencies) -> [f64; 5] {
    let [seconds, bytes, events] = speeds;
    [seconds, bytes, events, other.micros(0.5), other.micros(0.99)]
}

#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
fn mebibytes(bytes: usize, took: Duration) -> f64 {
    bytes as f64 / f64::from(1 << 20) / took.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn number(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}
