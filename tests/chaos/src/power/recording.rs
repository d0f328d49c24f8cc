//! Brokers under `strace`, one after the other in one home, and clients that write.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mesh_client::{Session, request_id};
use mesh_tests::{Mesh, Signal, overwrite, signal, unattended};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::KEYS;
use super::trace::{self, Trace};
use super::wire::{self, Exchange};
use crate::dice::Dice;
use crate::record::pause;

/// More than any call of the broker writes at once.
const LONGEST_STRING: &str = "8388608";
const WRITERS: u64 = 3;

/// How a life of the broker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By SIGKILL, with writes under way.
    Killed,
    /// By SIGTERM, in order.
    Asked,
}

/// What one broker did.
#[derive(Clone, Debug)]
pub struct Life {
    /// Its system calls.
    pub trace: Trace,
    /// What it was asked to write, and what it answered.
    pub exchanges: Vec<Exchange>,
    /// The files as programs saw them after its end, by their path below the root.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
}

/// Several lives in one home, which did not exist before.
#[derive(Debug)]
pub struct Recording {
    dir: TempDir,
    /// One after the other.
    pub lives: Vec<Life>,
}

impl Recording {
    /// Runs brokers with these arguments of `serve`; each is asked for so many writes, and ends so.
    pub async fn make(arguments: &[&str], ends: &[End], writes: u64, dice: &mut Dice) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("mesh").tempdir()?;
        let mut recording = Self { dir, lives: Vec::new() };
        fs::create_dir(recording.root())?;
        for (number, end) in ends.iter().enumerate() {
            let log = recording.dir.path().join(format!("trace-{number}"));
            let life = recording.live(&log, number, arguments, *end, writes, dice).await?;
            recording.lives.push(life);
        }
        Ok(recording)
    }

    /// The directory that the home is in: what is below it is what a power cut may take.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("device")
    }

    /// Where the home is, below the root.
    #[must_use]
    pub fn home_below() -> &'static Path {
        Path::new("home")
    }

    async fn live(
        &self,
        log: &Path,
        number: usize,
        arguments: &[&str],
        end: End,
        writes: u64,
        dice: &mut Dice,
    ) -> Result<Life> {
        let mesh = Mesh::at(self.root().join(Self::home_below()));
        let mut traced = start(&mesh, log, arguments).await?;
        let pid = mesh.home().broker_record().context("no record of the broker")?.pid;
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let session = Session::join(&mesh.client(), unattended(&format!("writer-{writer}"))).await?;
            let prefix = format!("{KEYS}{writer}");
            writers.spawn(write(session, prefix, number, writes, dice.part(writer)));
        }
        if end == End::Killed {
            // In the midst of it.
            while writers.len() == usize::try_from(WRITERS)? && writers.try_join_next().is_none() {
                pause(Duration::from_millis(2)).await;
            }
            signal(pid, Signal::KILL);
            writers.abort_all();
        }
        while let Some(written) = writers.join_next().await {
            match written {
                Ok(written) => written?,
                Err(error) => ensure!(error.is_cancelled(), "{error}"),
            }
        }
        if end == End::Asked {
            signal(pid, Signal::TERM);
        }
        let status = tokio::time::timeout(Duration::from_secs(60), traced.wait()).await??;
        ensure!(end == End::Killed || status.success(), "the broker ended with {status}");
        let trace = trace::parse(&fs::read_to_string(log)?)?;
        let exchanges = wire::exchanges(&trace)?;
        let files = files(&self.root())?;
        Ok(Life { trace, exchanges, files })
    }
}

/// Every file below a directory, sockets apart.
pub(super) fn files(root: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let (kind, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
            if kind?.is_dir() {
                directories.push(path);
            } else if path.is_file() {
                files.insert(path.strip_prefix(root)?.to_path_buf(), fs::read(&path)?);
            }
        }
    }
    Ok(files)
}

/// Starts a broker under `strace`, and waits until it is ready.
async fn start(mesh: &Mesh, log: &Path, arguments: &[&str]) -> Result<Child> {
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-xx", "-s", LONGEST_STRING, "-e", "trace=%desc,%file,%network", "-o"]);
    command.arg(log).arg(mesh_tests::meshctl());
    command.args(["serve", "--auto", "--idle-exit", "3600"]).args(arguments);
    command.env_clear().env("MESH_HOME", mesh.path()).env("HOME", log.parent().unwrap_or(log));
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let hint = "cannot run strace; this check needs it (Debian: `apt-get install strace`)";
    let mut child = command.spawn().context(hint)?;
    let stdout = child.stdout.take().context("no output")?;
    let began = Instant::now();
    let line =
        tokio::time::timeout(Duration::from_secs(60), BufReader::new(stdout).lines().next_line()).await??;
    if line.as_deref() != Some("ready") {
        bail!("the broker under strace said {line:?} after {:?}; may this user trace?", began.elapsed());
    }
    Ok(child)
}

/// Writes keys anew and others again, with values of any size.
async fn write(session: Session, prefix: String, life: usize, writes: u64, mut dice: Dice) -> Result<()> {
    for number in 0..writes {
        let key = if dice.percent(50) { format!("{prefix}/{number}") } else { format!("{prefix}/again") };
        let size = if dice.percent(20) { dice.among(1_000..20_000) } else { dice.among(1..200) };
        // Nothing else in the store is like it, so that a write of the file that holds it is found.
        let value = format!("{prefix}-{life}-{number}-{}", "v".repeat(usize::try_from(size)?));
        let request = mesh_client::proto::PutRequest { request_id: request_id(), ..overwrite(&key, &value) };
        session.put(request).await?;
    }
    Ok(())
}
