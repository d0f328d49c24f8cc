//! What the program and an idle broker take: bytes, milliseconds, memory, wake-ups.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::args::Args;
use crate::host::Host;
use crate::mesh::Mesh;
use crate::process::{cpu_of, kib_of, switches_of};
use crate::report::table;
use crate::stats::Spread;
use crate::{adapters, disk};

/// What was found, by name and unit.
type Finding = (&'static str, Spread);

/// Measures and prints.
pub(crate) fn measure(args: &Args, idle_seconds: u64) -> Result<()> {
    let program = args.meshctl()?;
    let scratch = args.scratch()?;
    disk::check(scratch.path())?;
    let mut findings = vec![("program, MiB", once(mebibytes(std::fs::metadata(&program)?.len())))];
    let mut starts = Vec::new();
    for round in 0..args.rounds {
        let home = scratch.path().join(round.to_string());
        std::fs::create_dir(&home)?;
        let before = Instant::now();
        let broker = Mesh::start("mesh", &program, &home)?;
        starts.push(before.elapsed().as_secs_f64() * 1e3);
        drop(broker);
    }
    findings.push(("start on an empty store to `ready`, ms", Spread::of(starts)));
    let home = scratch.path().join("idle");
    std::fs::create_dir(&home)?;
    let broker = Mesh::start("mesh", &program, &home)?;
    findings.extend(idle(broker.pid(), Duration::from_secs(idle_seconds))?);
    findings.extend(adapter(&program, &home)?);
    print(args.json, &findings);
    Ok(())
}

fn idle(pid: u32, span: Duration) -> Result<Vec<Finding>> {
    let (cpu, switches) = (cpu_of(pid)?, switches_of(pid)?);
    std::thread::sleep(span);
    let used = cpu_of(pid)?.saturating_sub(cpu);
    let woken = switches_of(pid)?.saturating_sub(switches);
    Ok(vec![
        ("idle broker, RSS MiB", once(kibibytes(kib_of(pid, "status", "VmRSS")?))),
        ("idle broker, PSS MiB", once(kibibytes(kib_of(pid, "smaps_rollup", "Pss")?))),
        ("idle broker, CPU ms/s", once(used.as_secs_f64() * 1e3 / span.as_secs_f64())),
        ("idle broker, wake-ups/s", once(number(woken) / span.as_secs_f64())),
    ])
}

/// An adapter that a host has started and asked once.
fn adapter(program: &Path, home: &Path) -> Result<Vec<Finding>> {
    let start = Instant::now();
    let mut host = Host::start(adapters::adapter(program, home), "bench", "0")?;
    host.run("mesh_status")?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    let pid = host.pid();
    Ok(vec![
        ("adapter, start to the first tool's result, ms", once(took)),
        ("adapter, RSS MiB", once(kibibytes(kib_of(pid, "status", "VmRSS")?))),
        ("adapter, PSS MiB", once(kibibytes(kib_of(pid, "smaps_rollup", "Pss")?))),
    ])
}

fn print(json: bool, findings: &[Finding]) {
    if json {
        let found: serde_json::Map<_, _> =
            findings.iter().map(|(name, spread)| ((*name).to_owned(), spread.json())).collect();
        println!("{:#}", Value::Object(found));
        return;
    }
    let rows = findings.iter().map(|(name, spread)| vec![(*name).to_owned(), text(spread)]);
    let rows: Vec<_> = std::iter::once(vec![String::new(), String::new()]).chain(rows).collect();
    print!("{}", table(&rows));
}

fn text(spread: &Spread) -> String {
    if spread.min < spread.max { spread.to_string() } else { format!("{:.2}", spread.median) }
}

fn once(value: f64) -> Spread {
    Spread::of([value])
}

fn mebibytes(bytes: u64) -> f64 {
    kibibytes(bytes) / 1024.0
}

/// KiB as MiB.
fn kibibytes(kib: u64) -> f64 {
    number(kib) / 1024.0
}

#[expect(clippy::cast_precision_loss, reason = "sizes and counts far below 2^52")]
fn number(value: u64) -> f64 {
    value as f64
}
