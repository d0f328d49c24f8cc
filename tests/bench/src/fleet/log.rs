//! What happened to an agent, one JSON line for each thing, written at once: a killed process loses nothing of it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// The agent begins or goes on; the name of its peer, if the mesh says one.
    Begins { session: String, resumed: bool },
    /// A hook ran: how long, and what the model got to read.
    Hook { event: String, millis: f64, text: String },
    /// A tool of the mesh was called.
    Mesh { tool: String, millis: f64, asked: String, text: String },
    /// A tool of the host was called.
    Tool { name: String },
    /// An edit was refused or put off, and why.
    Refused { why: Why },
    /// The agent was told of an edit of the file in another worktree, since it last wrote the file.
    Told { file: usize },
    /// The tool has said that it is done: nothing may lose it from here on.
    Edit { mark: String, file: usize, tree: usize, whole: bool, at: u64 },
    /// The process kills itself.
    Crash { edits: usize, written: bool },
    /// A fault of the scripts or the product.
    Fault { text: String },
}

impl Line {
    /// With which edit the process crashed, if it did.
    pub(super) fn crash(&self) -> Option<usize> {
        if let Self::Crash { edits, .. } = self { Some(*edits) } else { None }
    }
}

/// Why an edit was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Why {
    /// Another has locked the file.
    Locked,
    /// The mesh says that it has changed.
    Stale,
    /// The host's tool found that it has changed.
    Host,
}

/// The log of one agent, of all its processes.
#[derive(Debug)]
pub(super) struct Log(File);

impl Log {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self(file.with_context(|| format!("cannot write {}", path.display()))?))
    }

    pub(super) fn write(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        Ok(self.0.write_all(text.as_bytes())?)
    }
}

/// Everything in a log.
pub(super) fn read(path: &Path) -> Result<Vec<Line>> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("in a log: {line}"))).collect()
}

/// Nanoseconds that all processes of the machine count alike.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}
