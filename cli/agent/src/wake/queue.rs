//! Codex: `codex queue` gives an idle session a message. Nothing of Codex runs our waiting process, so the hook at the
//! start of a session does.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use mesh_client::agent::Kept;
use mesh_hook::Host;

use crate::desk::Desk;
use crate::problem::Problem;

/// How long Codex may take to take a message.
const TAKEN_WITHIN: Duration = Duration::from_secs(20);

/// Starts the waiting process of a session that has none, where the host does not. It outlives the hook.
pub(crate) fn start(desk: &Desk) {
    if desk.host() != Host::Codex || desk.process().is_none() {
        return;
    }
    if let Err(error) = spawn(desk) {
        tracing::debug!(%error, "nothing will wake this agent");
    }
}

fn spawn(desk: &Desk) -> io::Result<()> {
    // One that is held has its process.
    let Some(claim) = desk.kept.agent().claim("wake")? else { return Ok(()) };
    drop(claim);
    let payload = serde_json::json!({"session_id": desk.call.session, "cwd": desk.call.cwd}).to_string();
    let (reader, writer) = io::pipe()?;
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args(["hook", "codex", "queue"]).stdin(reader).stdout(Stdio::null()).stderr(Stdio::null());
    // Out of the reach of signals to the agent's group: it ends when the agent has.
    command.process_group(0).spawn()?;
    io::Write::write_all(&mut &writer, payload.as_bytes())
}

/// Gives the latest session of an agent a message.
pub(super) async fn send(kept: &Kept, text: &str) -> Result<(), Problem> {
    let record = kept.agent().read().ok_or("the record is gone")?;
    let thread = record.sessions.last().ok_or("the session has no id")?;
    let mut command = tokio::process::Command::new(program(record.process.map(|process| process.pid)));
    command.args(["queue", "--thread", thread, "--message", text]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(TAKEN_WITHIN, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("codex: {error}").into()),
        Err(_) => return Err("codex queue took too long".into()),
    };
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("codex queue: {}", stderr.lines().last().unwrap_or_default()).into())
}

/// The program that the agent itself runs, where the system tells.
fn program(pid: Option<u32>) -> PathBuf {
    let running = pid.and_then(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok());
    running.filter(|path| path.is_file()).unwrap_or_else(|| "codex".into())
}
