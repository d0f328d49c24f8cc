//! One agent: the MCP adapter as a child process, driven line by line as an agent's host does it.
//!
//! Owns the process, which ends with this. Speaks just what it takes to call tools; a whole MCP client would be a
//! tenth of the program.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::cast::Cast;
use super::checkout::isolated;
use crate::error::CliError;

/// The revision of MCP that is spoken.
const PROTOCOL: &str = "2025-11-25";
/// How long an answer may take: the longest wait of a call, and the start of a broker.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);
/// How long the adapter may take to end after its input has.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// What makes an agent the one it is, across its processes.
#[derive(Debug)]
pub(super) struct Role {
    /// What it is called here, and on the mesh.
    pub(super) name: &'static str,
    /// The program that it says it is.
    pub(super) client: &'static str,
    /// The conversation that its calls belong to.
    pub(super) thread: &'static str,
    /// Where it works.
    pub(super) directory: PathBuf,
}

/// An agent that runs.
#[derive(Debug)]
pub(super) struct Agent {
    /// What it is called.
    pub(super) name: &'static str,
    thread: &'static str,
    child: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    last_id: u64,
}

/// A tool call that was not answered yet.
#[derive(Debug)]
pub(super) struct Waiting {
    id: u64,
    tool: &'static str,
}

/// What a tool answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// The text for the model.
    pub(super) text: String,
    /// Whether the tool failed or refused.
    pub(super) is_error: bool,
    agent: &'static str,
    tool: &'static str,
}

impl Answer {
    /// The text of a tool that did what it was asked, if it holds all of these.
    pub(super) fn done(self, parts: &[&str]) -> Result<String, CliError> {
        self.checked(false, parts)
    }

    /// The text of a tool that refused, if it holds all of these.
    pub(super) fn refused(self, parts: &[&str]) -> Result<String, CliError> {
        self.checked(true, parts)
    }

    fn checked(self, is_error: bool, parts: &[&str]) -> Result<String, CliError> {
        let missing = parts.iter().find(|part| !self.text.contains(**part));
        let wrong = match (self.is_error, missing) {
            (is, _) if is != is_error => {
                if is {
                    "failed".to_owned()
                } else {
                    "was not refused".to_owned()
                }
            }
            (_, Some(part)) => format!("should have answered \"{part}\""),
            (_, None) => return Ok(self.text),
        };
        Err(CliError::failure(format_args!(
            "{} of {} {wrong}; it said: {}",
            self.tool, self.agent, self.text
        )))
    }
}

#[derive(Deserialize)]
struct Line {
    id: Option<u64>,
    result: Option<Outcome>,
    error: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    #[serde(default)]
    content: Vec<Content>,
    #[serde(default)]
    is_error: bool,
}

#[derive(Deserialize)]
struct Content {
    text: String,
}

impl Agent {
    /// Starts the adapter in the role's directory, and shakes hands.
    pub(super) async fn start(role: &Role, cast: &Cast) -> Result<Self, CliError> {
        let mut command = Command::new(&cast.program);
        isolated(&mut command, &role.directory);
        command.arg("mcp").env("MESH_HOME", cast.home.path());
        // A signal from the terminal is for the demo, which ends its agents by itself.
        command.process_group(0).kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
        let failed = |what: &str| CliError::failure(format_args!("cannot start the MCP adapter: {what}"));
        let mut child = command.spawn().map_err(|error| failed(&error.to_string()))?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("it is not connected"));
        };
        let answers = BufReader::new(answers).lines();
        let mut agent = Self { name: role.name, thread: role.thread, child, requests, answers, last_id: 0 };
        let client = json!({"name": role.client, "version": "demo"});
        let hello = json!({"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client});
        let id = agent.request("initialize", &hello).await?;
        agent.outcome(id).await?;
        agent.write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
        Ok(agent)
    }

    /// Its process id; 0 once it has ended.
    pub(super) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Sends a tool call; [`Agent::answer`] is for it.
    pub(super) async fn call(&mut self, tool: &'static str, arguments: Value) -> Result<Waiting, CliError> {
        let meta = json!({"threadId": self.thread});
        let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
        Ok(Waiting { id: self.request("tools/call", &params).await?, tool })
    }

    /// Waits for the answer to a call. One at a time is under way.
    pub(super) async fn answer(&mut self, Waiting { id, tool }: Waiting) -> Result<Answer, CliError> {
        let outcome = self.outcome(id).await?;
        let texts: Vec<_> = outcome.content.into_iter().map(|content| content.text).collect();
        Ok(Answer { text: texts.join("\n"), is_error: outcome.is_error, agent: self.name, tool })
    }

    async fn outcome(&mut self, id: u64) -> Result<Outcome, CliError> {
        let line = match timeout(ANSWER_WITHIN, self.read(id)).await {
            Ok(line) => line?,
            Err(_) => return Err(self.failed(&format!("no answer within {} s", ANSWER_WITHIN.as_secs()))),
        };
        match (line.result, line.error) {
            (Some(outcome), None) => Ok(outcome),
            (_, error) => Err(self.failed(&format!("an answer that is none: {error:?}"))),
        }
    }

    /// Kills the process, as `kill -9` does.
    pub(super) async fn kill(mut self) -> Result<(), CliError> {
        self.child.kill().await.map_err(CliError::failure)
    }

    /// Ends the input, as a host does when it ends, and waits until the process is gone.
    pub(super) async fn close(self) -> Result<(), CliError> {
        let Self { mut child, requests, name, .. } = self;
        drop(requests);
        let failed = |what: String| CliError::failure(format_args!("the adapter of {name} {what}"));
        match timeout(GONE_WITHIN, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(failed(format!("ended with {status}"))),
            Ok(Err(error)) => Err(failed(format!("cannot be waited for: {error}"))),
            Err(_) => Err(failed("did not end with its input".to_owned())),
        }
    }

    async fn request(&mut self, method: &str, params: &Value) -> Result<u64, CliError> {
        self.last_id += 1;
        let id = self.last_id;
        self.write(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await?;
        Ok(id)
    }

    async fn write(&mut self, message: &Value) -> Result<(), CliError> {
        let line = format!("{message}\n");
        let written = self.requests.write_all(line.as_bytes()).await;
        written.map_err(|error| self.failed(&error.to_string()))
    }

    /// The next line that answers; what the adapter tells on its own account does not matter here.
    async fn read(&mut self, id: u64) -> Result<Line, CliError> {
        loop {
            let line = self.answers.next_line().await.map_err(|error| self.failed(&error.to_string()))?;
            let line = line.ok_or_else(|| self.failed("it ended"))?;
            let line: Line = serde_json::from_str(&line).map_err(|error| self.failed(&error.to_string()))?;
            if line.id == Some(id) {
                return Ok(line);
            }
        }
    }

    fn failed(&self, what: &str) -> CliError {
        CliError::failure(format_args!("the adapter of {}: {what}", self.name))
    }
}

impl Role {
    /// An agent that says it is Claude Code.
    pub(super) fn claude(directory: &Path) -> Self {
        Self { name: "claude", client: "claude-code", thread: "demo-1", directory: directory.to_owned() }
    }

    /// An agent that says it is Codex.
    pub(super) fn codex(directory: &Path) -> Self {
        Self { name: "codex", client: "codex-mcp-client", thread: "demo-2", directory: directory.to_owned() }
    }
}
