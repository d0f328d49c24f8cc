//! Real agents on the mesh: their own command lines, with a model that the test scripts.
//!
//! They need `cargo xtask install-agents`; without it they fail and say so.

use std::path::PathBuf;

use mesh_tests::agents::Desk;
use mesh_tests::meshctl;
use serde_json::{Value, json};

mod claude;
mod codex;
mod gemini;
mod opencode;
mod together;

/// The answer of `mesh_who` to one who is alone.
fn is_alone(who: &str) -> bool {
    who.contains("(you, ") && who.lines().filter(|line| line.contains("(you, ")).count() == 1
}

/// What a hook of Claude Code's form answers to add to what the model knows.
fn context(event: &str, text: &str) -> Value {
    json!({"hookSpecificOutput": {"hookEventName": event, "additionalContext": text}})
}

/// What a hook of Claude Code's form answers before a tool that may not run.
fn refusal(reason: &str) -> Value {
    let verdict = json!({"permissionDecision": "deny", "permissionDecisionReason": reason});
    let mut answer = json!({"hookSpecificOutput": verdict});
    answer["hookSpecificOutput"]["hookEventName"] = json!("PreToolUse");
    answer
}

/// Who starts the hooks and the MCP server of an agent: what binds the two together where nothing else does.
struct Parents {
    dir: PathBuf,
    script: String,
}

impl Parents {
    fn new(desk: &Desk) -> Self {
        let dir = desk.tmp();
        let script = format!("echo $PPID > {}/server; exec {} mcp", dir.display(), meshctl().display());
        Self { dir, script }
    }

    /// The command of the MCP server.
    fn server(&self) -> [&str; 3] {
        ["/bin/sh", "-c", &self.script]
    }

    /// The command line of the hook.
    fn hook(&self) -> String {
        format!("echo $PPID > {}/hook", self.dir.display())
    }

    /// The parents of the hook and of the server.
    fn read(&self) -> (u32, u32) {
        ["hook", "server"]
            .map(|who| {
                let text = std::fs::read_to_string(self.dir.join(who))
                    .unwrap_or_else(|error| panic!("{who}: {error}"));
                text.trim().parse().unwrap()
            })
            .into()
    }
}
