//! One agent: a process that does what a model would tell its host to do, by script.
//!
//! A turn is a prompt, a few files that are read, thought over and edited, and an end. Around each tool the host runs
//! the hooks. What a hook or a tool of the mesh says is done: work on another file, wait for the lock, read again.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::log::{Line, Log, Why, millis, now};
use super::rng::Rng;
use crate::claude::{Claude, Said};
use crate::host::Host;

/// Longest time to think between a read and an edit, in milliseconds.
const THINKING: u64 = 60;
/// Edits of one turn, at most.
const TURN: u64 = 3;
/// Seconds that a wait for a lock may take; the text of a refusal says 50.
const LOCK_WAIT: u64 = 50;
/// How often a file is tried before another is taken.
const TRIES: usize = 6;

/// What stands between an agent and a lost edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// Nothing.
    Bare,
    /// The host's own look at the time of the file, as Claude Code does.
    Host,
    /// Hooks and the tools of the mesh, and no look of the host's own.
    Mesh,
}

/// What a process of an agent is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) mode: Mode,
    pub(super) seed: u64,
    /// Number of the agent, and of its process.
    pub(super) agent: u64,
    pub(super) life: u64,
    pub(super) session: String,
    pub(super) resumes: bool,
    pub(super) meshctl: PathBuf,
    pub(super) home: PathBuf,
    pub(super) checkout: PathBuf,
    /// Number of the checkout.
    pub(super) tree: usize,
    pub(super) files: usize,
    /// Edits made by earlier processes, and those to be made in all.
    pub(super) made: usize,
    pub(super) wanted: usize,
    /// A crash comes with every so many edits of an agent; 0 for none.
    pub(super) crash_every: usize,
    /// The edit with which the process before crashed.
    pub(super) crashed_at: Option<usize>,
    pub(super) log: PathBuf,
}

/// How a file was read.
struct Read {
    text: String,
    modified: SystemTime,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// Look at it again.
    Again,
    /// Do something else.
    Other,
}

struct Agent {
    orders: Orders,
    claude: Claude,
    adapter: Option<Host>,
    log: Log,
    rng: Rng,
    made: usize,
    /// A lock that the agent itself has taken.
    own_lock: Option<String>,
}

/// The name of a file in a checkout.
pub(super) fn name_of(file: usize) -> String {
    format!("src/part{file:02}.txt")
}

/// Does as ordered, until its edits are made.
pub(crate) fn run(orders: &str) -> Result<()> {
    let orders: Orders = serde_json::from_str(orders)?;
    let mut log = Log::open(&orders.log)?;
    let result = Agent::begin(orders).and_then(Agent::work);
    if let Err(error) = &result {
        log.write(&Line::Fault { text: format!("{error:#}") })?;
    }
    result
}

impl Agent {
    fn begin(orders: Orders) -> Result<Self> {
        let claude = Claude {
            meshctl: orders.meshctl.clone(),
            home: orders.home.clone(),
            cwd: orders.checkout.clone(),
            session: orders.session.clone(),
            pid: std::process::id(),
        };
        let adapter = (orders.mode == Mode::Mesh).then(|| start_adapter(&claude)).transpose()?;
        let mut log = Log::open(&orders.log)?;
        log.write(&Line::Begins { session: orders.session.clone(), resumed: orders.resumes })?;
        let rng = Rng::of(orders.seed, [orders.agent, orders.life]);
        let made = orders.made;
        let mut agent = Self { claude, adapter, log, rng, made, own_lock: None, orders };
        let source = if agent.orders.resumes { "resume" } else { "startup" };
        agent.hook("SessionStart", &agent.claude.session_start(source))?;
        Ok(agent)
    }

    fn work(mut self) -> Result<()> {
        while self.made < self.orders.wanted {
            self.hook("UserPromptSubmit", &self.claude.prompt())?;
            self.turn()?;
            self.end_turn()?;
        }
        self.hook("SessionEnd", &self.claude.session_end())?;
        self.adapter.take().map_or(Ok(()), Host::close)
    }

    fn end_turn(&mut self) -> Result<()> {
        self.unlock()?;
        let mut said = self.hook("Stop", &self.claude.stop(false))?;
        // It is held up at most once for each thing.
        for _ in 0..3 {
            if said.go_on.is_none() {
                break;
            }
            said = self.hook("Stop", &self.claude.stop(true))?;
        }
        Ok(())
    }

    /// Reads a few files, and then edits them one by one, as agents do.
    fn turn(&mut self) -> Result<()> {
        let mut files = Vec::new();
        for _ in 0..=self.rng.below(TURN) {
            let file = self.any_file()?;
            if files.iter().all(|(known, _)| *known != file) {
                files.push((file, self.read(file)?));
            }
        }
        let mut edited = Vec::new();
        for (file, read) in files {
            // An agent knows its own edits, and does not write over one with what it has read before.
            if self.made < self.orders.wanted && !edited.contains(&file) {
                edited.push(self.edit(file, read)?);
            }
        }
        Ok(())
    }

    fn any_file(&mut self) -> Result<usize> {
        Ok(usize::try_from(self.rng.below(self.orders.files as u64))?)
    }

    /// Edits a file, or another one if that cannot be had; which it was.
    fn edit(&mut self, mut file: usize, mut read: Read) -> Result<usize> {
        loop {
            let whole = self.rng.is_heads();
            for _ in 0..TRIES {
                match self.attempt(file, whole, &read)? {
                    Outcome::Done => return Ok(file),
                    Outcome::Again => read = self.read(file)?,
                    Outcome::Other => break,
                }
            }
            file = self.any_file()?;
            read = self.read(file)?;
        }
    }

    fn attempt(&mut self, file: usize, whole: bool, read: &Read) -> Result<Outcome> {
        std::thread::sleep(Duration::from_millis(self.rng.below(THINKING)));
        let mark = format!("mark-{}-{}", self.orders.agent, self.made);
        let input = self.input(file, whole, read, &mark);
        // The host looks before it asks anybody.
        if !self.would_work(file, whole, read)? {
            return self.refused(Why::Host, Outcome::Again);
        }
        let tool = if whole { "Write" } else { "Edit" };
        let said = self.hook("PreToolUse", &self.claude.before(tool, &input))?;
        // Before anything is done about the answer.
        let told =
            [&said.denied, &said.context].into_iter().flatten().any(|text| text.contains("expect to merge"));
        if told {
            self.log.write(&Line::Told { file })?;
        }
        if let Some(reason) = &said.denied {
            return self.denied(file, reason);
        }
        if said.context.is_some_and(|context| context.contains("Read it again first")) {
            return self.refused(Why::Stale, Outcome::Again);
        }
        self.crash(false)?;
        if !self.would_work(file, whole, read)? {
            return self.refused(Why::Host, Outcome::Again);
        }
        self.apply(file, whole, read, &mark)?;
        self.log.write(&Line::Tool { name: tool.into() })?;
        let tree = self.orders.tree;
        self.log.write(&Line::Edit { mark, file, tree, whole, at: now() })?;
        self.made += 1;
        self.crash(true)?;
        self.hook("PostToolUse", &self.claude.after(tool, &input, &json!({"type": "update"})))?;
        self.unlock()?;
        Ok(Outcome::Done)
    }

    fn refused(&mut self, why: Why, outcome: Outcome) -> Result<Outcome> {
        self.log.write(&Line::Refused { why })?;
        Ok(outcome)
    }

    /// Does what the refusal says.
    fn denied(&mut self, file: usize, reason: &str) -> Result<Outcome> {
        if reason.contains("Read it again first") {
            return self.refused(Why::Stale, Outcome::Again);
        }
        self.log.write(&Line::Refused { why: Why::Locked })?;
        if self.own_lock.is_some() || self.rng.is_heads() {
            return Ok(Outcome::Other);
        }
        let path = name_of(file);
        let asked = json!({"paths": [path], "wait_seconds": LOCK_WAIT, "ask": "to add a line"});
        if !self.mesh("mesh_lock", &asked)? {
            return Ok(Outcome::Other);
        }
        self.own_lock = Some(path);
        Ok(Outcome::Again)
    }

    fn unlock(&mut self) -> Result<()> {
        let Some(path) = self.own_lock.take() else { return Ok(()) };
        self.mesh("mesh_unlock", &json!({"paths": [path]})).map(drop)
    }

    fn path(&self, file: usize) -> PathBuf {
        self.orders.checkout.join(name_of(file))
    }

    fn read(&mut self, file: usize) -> Result<Read> {
        let path = self.path(file);
        let input = json!({"file_path": path});
        self.hook("PreToolUse", &self.claude.before("Read", &input))?;
        let modified = path.metadata()?.modified()?;
        let text = std::fs::read_to_string(&path)?;
        self.log.write(&Line::Tool { name: "Read".into() })?;
        let answer = json!({"type": "text", "file": {"filePath": path, "content": text}});
        self.hook("PostToolUse", &self.claude.after("Read", &input, &answer))?;
        Ok(Read { text, modified })
    }

    fn input(&self, file: usize, whole: bool, read: &Read, mark: &str) -> Value {
        let path = self.path(file);
        if whole {
            return json!({"file_path": path, "content": format!("{}{mark}\n", read.text)});
        }
        let last = read.text.lines().last().unwrap_or_default();
        json!({"file_path": path, "old_string": format!("{last}\n"), "new_string": format!("{last}\n{mark}\n")})
    }

    /// Whether the host's tool would do it: what is to be replaced must be there, and, if the host looks at that, the
    /// file be the one that was read.
    fn would_work(&self, file: usize, whole: bool, read: &Read) -> Result<bool> {
        let path = self.path(file);
        if self.orders.mode == Mode::Host && path.metadata()?.modified()? != read.modified {
            return Ok(false);
        }
        let last = read.text.lines().last().unwrap_or_default();
        Ok(whole || std::fs::read_to_string(path)?.contains(&format!("{last}\n")))
    }

    /// What the host's tool does with the file.
    fn apply(&self, file: usize, whole: bool, read: &Read, mark: &str) -> Result<()> {
        let path = self.path(file);
        let text = if whole {
            format!("{}{mark}\n", read.text)
        } else {
            let last = format!("{}\n", read.text.lines().last().unwrap_or_default());
            let now = std::fs::read_to_string(&path)?;
            now.replacen(&last, &format!("{last}{mark}\n"), 1)
        };
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Kills this process, if it is time.
    fn crash(&mut self, written: bool) -> Result<()> {
        let (every, at) = (self.orders.crash_every, self.made);
        let offset = usize::try_from(self.orders.agent)? * 7;
        // By turns, before and after the edit.
        let due =
            every > 0 && (at + offset) % every == every / 2 && ((at + offset) / every % 2 == 1) == written;
        if !due || self.orders.crashed_at == Some(at) {
            return Ok(());
        }
        self.log.write(&Line::Crash { edits: at, written })?;
        let this = rustix::process::getpid();
        rustix::process::kill_process(this, rustix::process::Signal::KILL)?;
        // Nothing goes on after that signal.
        loop {
            std::thread::park();
        }
    }

    fn hook(&mut self, event: &str, payload: &Value) -> Result<Said> {
        if self.orders.mode != Mode::Mesh {
            return Ok(Said::default());
        }
        let said = self.claude.hook(payload)?;
        let texts = [&said.denied, &said.context, &said.go_on].into_iter().flatten();
        let text: Vec<_> = texts.map(String::as_str).collect();
        let line = Line::Hook { event: event.into(), millis: millis(said.wall), text: text.join("\n") };
        self.log.write(&line)?;
        if !said.stderr.is_empty() {
            self.log.write(&Line::Fault { text: format!("{event}: {}", said.stderr) })?;
        }
        Ok(said)
    }

    /// Calls a tool of the mesh; whether it was done.
    fn mesh(&mut self, tool: &str, arguments: &Value) -> Result<bool> {
        let adapter = self.adapter.as_mut().context("no adapter")?;
        let start = Instant::now();
        let (done, text) = adapter.call(tool, arguments)?;
        let millis = millis(start.elapsed());
        let asked = arguments.to_string();
        self.log.write(&Line::Mesh { tool: tool.into(), millis, asked, text })?;
        Ok(done)
    }
}

/// The MCP server of an agent, as its host starts it.
fn start_adapter(claude: &Claude) -> Result<Host> {
    let mut command = claude.command(&claude.meshctl);
    command.arg("mcp");
    Host::start(command, "claude-code", "2.1.329")
}
