//! An agent's host as the mesh sees it: what Claude Code runs at points of a session, and what it writes to it.
//!
//! Payloads are those of the real program, with what hooks do not read cut short.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// A session of an agent in a checkout.
#[derive(Clone, Debug)]
pub(crate) struct Claude {
    /// The program that hooks run.
    pub(crate) meshctl: PathBuf,
    /// The home of the mesh.
    pub(crate) home: PathBuf,
    /// Where the session runs.
    pub(crate) cwd: PathBuf,
    /// The host's id of the session.
    pub(crate) session: String,
    /// The process of the agent.
    pub(crate) pid: u32,
}

/// What a hook answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// Why the tool may not be used.
    pub(crate) denied: Option<String>,
    /// What the model gets to read.
    pub(crate) context: Option<String>,
    /// Why the turn is not let end.
    pub(crate) go_on: Option<String>,
    /// From before the start of the process until its end was known.
    pub(crate) wall: Duration,
    /// What was written to standard error.
    pub(crate) stderr: String,
}

impl Claude {
    /// A program in the environment that the host gives its children.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(&self.cwd);
        for name in ["PATH", "TMPDIR", "LANG"] {
            command.env(name, std::env::var_os(name).unwrap_or_else(OsString::new));
        }
        command.env("HOME", &self.home).env("MESH_HOME", &self.home);
        command.env("CLAUDECODE", "1").env("CLAUDE_CODE_ENTRYPOINT", "cli");
        command.env("CLAUDE_PROJECT_DIR", &self.cwd).env("CLAUDE_CODE_SESSION_ID", &self.session);
        command.env("AI_AGENT", "claude-code_2-1-329_harness");
        command
    }

    /// Runs a hook.
    pub(crate) fn hook(&self, payload: &Value) -> Result<Said> {
        let payload = payload.to_string();
        let mut command = self.command(&self.meshctl);
        command.args(["hook", "claude-code"]).env("CLAUDE_PID", self.pid.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = command.spawn().context("cannot start meshctl")?;
        // One that does not read its input is no fault of the host's.
        if let Some(mut stdin) = child.stdin.take() {
            _ = stdin.write_all(payload.as_bytes());
        }
        let mut stdout = String::new();
        child.stdout.take().context("no stdout")?.read_to_string(&mut stdout)?;
        let status = child.wait()?;
        let wall = start.elapsed();
        let mut stderr = String::new();
        child.stderr.take().context("no stderr")?.read_to_string(&mut stderr)?;
        ensure!(status.success(), "the hook ended with {status}: {stderr}");
        Ok(Said { wall, stderr, ..Said::of(&stdout)? })
    }

    fn payload(&self, event: &str, more: &Value) -> Value {
        let mut payload = json!({
            "session_id": self.session,
            "transcript_path": self.home.join("transcript.jsonl"),
            "cwd": self.cwd,
            "permission_mode": "acceptEdits",
            "hook_event_name": event,
        });
        if let (Some(payload), Some(more)) = (payload.as_object_mut(), more.as_object()) {
            payload.extend(more.clone());
        }
        payload
    }

    /// `startup`, `resume`, …
    pub(crate) fn session_start(&self, source: &str) -> Value {
        self.payload("SessionStart", &json!({"source": source}))
    }

    pub(crate) fn prompt(&self) -> Value {
        self.payload("UserPromptSubmit", &json!({"prompt": "go on with the next file, please"}))
    }

    pub(crate) fn before(&self, tool: &str, input: &Value) -> Value {
        self.payload("PreToolUse", &json!({"tool_name": tool, "tool_input": input, "tool_use_id": "toolu_1"}))
    }

    pub(crate) fn after(&self, tool: &str, input: &Value, answer: &Value) -> Value {
        let more = json!({"tool_name": tool, "tool_input": input, "tool_response": answer,
                          "tool_use_id": "toolu_1", "duration_ms": 5});
        self.payload("PostToolUse", &more)
    }

    pub(crate) fn stop(&self, again: bool) -> Value {
        let more = json!({"stop_hook_active": again, "last_assistant_message": "done"});
        self.payload("Stop", &more)
    }

    pub(crate) fn session_end(&self) -> Value {
        self.payload("SessionEnd", &json!({"reason": "prompt_input_exit"}))
    }

    /// An event that hooks have nothing to say to.
    pub(crate) fn compacts(&self) -> Value {
        self.payload("PreCompact", &json!({"trigger": "auto", "custom_instructions": ""}))
    }
}

impl Said {
    fn of(stdout: &str) -> Result<Self> {
        if stdout.trim().is_empty() {
            return Ok(Self::default());
        }
        let answer: Value = serde_json::from_str(stdout).with_context(|| format!("not JSON: {stdout}"))?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let specific = &answer["hookSpecificOutput"];
        let denied = specific["permissionDecision"] == "deny";
        Ok(Self {
            denied: text(&specific["permissionDecisionReason"]).filter(|_| denied),
            context: text(&specific["additionalContext"]),
            go_on: text(&answer["reason"]).filter(|_| answer["decision"] == "block"),
            ..Self::default()
        })
    }
}
