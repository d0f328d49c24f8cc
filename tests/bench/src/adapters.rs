//! The adapter beside the least that one can be: how long an agent's host waits for it, and what it takes.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::args::Args;
use crate::echo::Echo;
use crate::floor;
use crate::host::Host;
use crate::mesh::{Mesh, texts};
use crate::process::kib_of;
use crate::sheet::Sheet;
use crate::stats::Latencies;
use crate::system::Way;

/// A tool that makes one call to the broker, once its agent has joined.
const TOOL: &str = "mesh_locks";

pub(crate) fn measure(args: &Args, quick: bool, dir: &Path) -> Result<Sheet> {
    let calls = if quick { 10 } else { 500 };
    let columns = ["start to first result ms", "call p50 µs", "call p99 µs", "RSS MiB", "PSS MiB"];
    let aim = "cold ≤ 100 ms; warm ≤ 15 ms, call p50 ≤ 400 µs, PSS ≤ 6 MiB";
    let title = format!("adapter: start to the first tool's result, then {calls} calls of a tool");
    let mut sheet = Sheet::new(title, aim, &columns);
    let program = args.meshctl()?;
    let home = dir.join("warm");
    let mesh = Mesh::start("mesh", &program, &home)?;
    let echo = Echo::start(dir, texts(), Way::Unix)?;
    let socket = echo.socket().context("a bare server without a socket")?;
    for round in 0..args.rounds {
        let mut bare = Command::new(std::env::current_exe().context("cannot find myself")?);
        bare.arg("floor").arg(socket).env_clear();
        sheet.record("rmcp and tonic, no mesh", &ask(bare, floor::TOOL, calls)?);
        sheet.record("adapter, broker running", &ask(adapter(&program, &home), TOOL, calls)?);
        let cold = dir.join(format!("cold{round}"));
        std::fs::create_dir(&cold)?;
        sheet.record("adapter, it starts the broker", &ask(adapter(&program, &cold), TOOL, calls)?);
        let mut stop = Command::new(&program);
        let stopped = stop.arg("stop").env_clear().env("MESH_HOME", &cold).env("HOME", &cold).output()?;
        ensure!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    }
    drop(mesh);
    sheet.compare("adapter, broker running", "rmcp and tonic, no mesh");
    Ok(sheet)
}

/// As a host starts it, in a directory that is no repository.
pub(crate) fn adapter(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("mcp").env_clear().env("MESH_HOME", home).env("HOME", home).current_dir(home);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn ask(command: Command, tool: &str, calls: u32) -> Result<[f64; 5]> {
    let start = Instant::now();
    let mut host = Host::start(command, "bench", "0")?;
    host.run(tool)?;
    let first = start.elapsed();
    let mut latencies = Latencies::new()?;
    for _ in 0..calls {
        let before = Instant::now();
        host.run(tool)?;
        latencies.record(before.elapsed())?;
    }
    let pid = host.pid();
    let memory = |file: &str, field: &str| anyhow::Ok(mebibytes(kib_of(pid, file, field)?));
    let (rss, pss) = (memory("status", "VmRSS")?, memory("smaps_rollup", "Pss")?);
    Ok([millis(first), latencies.micros(0.5), latencies.micros(0.99), rss, pss])
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
fn mebibytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
