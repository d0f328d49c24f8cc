//! Claude Code.

use std::path::{Path, PathBuf};
use std::process::Command;

use mesh_mock::Model;
use serde_json::{Value, json};

use super::{Desk, Finished, Running, Terminal, agent};
use crate::meshctl;

/// Any key will do; its end is what the configuration approves, so that no dialog asks.
const KEY: &str = "sk-ant-api03-key-of-a-test-0000000000";

/// What it does on its own account, and not here.
const SWITCHES: [&str; 3] = [
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL",
    "DISABLE_AUTOUPDATER",
];

/// What it may do without asking: everything the tests script.
const ALLOWED: [&str; 10] = [
    "Bash",
    "Edit",
    "Write",
    "Read",
    "NotebookEdit",
    "Agent",
    "Task",
    "ToolSearch",
    "mcp__mesh",
    "mcp__plugin_mesh_mesh",
];

/// Claude Code at a desk, past its first start: it knows the user, trusts the project and asks nothing.
#[derive(Debug)]
pub struct Claude<'a> {
    desk: &'a Desk,
    dir: PathBuf,
}

impl<'a> Claude<'a> {
    /// In the project.
    #[must_use]
    pub fn new(desk: &'a Desk) -> Self {
        Self::within(desk, &desk.project())
    }

    /// In any directory, such as a worktree.
    #[must_use]
    pub fn within(desk: &'a Desk, dir: &Path) -> Self {
        let claude = Self { desk, dir: dir.to_path_buf() };
        std::fs::create_dir_all(desk.home().join(".claude")).expect("a directory");
        edit(&desk.home().join(".claude.json"), |state| {
            state["hasCompletedOnboarding"] = json!(true);
            state["theme"] = json!("dark");
            state["customApiKeyResponses"] = json!({"approved": [KEY[KEY.len() - 20..]], "rejected": []});
            let project = json!({"hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true});
            state["projects"][dir.to_str().expect("UTF-8")] = project;
        });
        claude.set("permissions", &json!({"allow": ALLOWED, "defaultMode": "acceptEdits"}));
        claude
    }

    /// Changes a key of the user's settings.
    pub fn set(&self, key: &str, value: &Value) {
        edit(&self.desk.home().join(".claude/settings.json"), |settings| settings[key] = value.clone());
    }

    /// Runs a hook for an event, beside those that are there; of tools' events only for tools that match, unless the
    /// matcher is empty.
    pub fn hook(&self, event: &str, matcher: &str, hook: &Value) {
        edit(&self.desk.home().join(".claude/settings.json"), |settings| {
            push_hook(settings, event, matcher, hook);
        });
    }

    /// Registers the MCP server of the mesh for the user, with its own command.
    pub fn add_mcp(&self) {
        self.add_mcp_as(&[&meshctl().to_string_lossy(), "mcp"]);
    }

    /// Registers any command as the MCP server of the mesh.
    pub fn add_mcp_as(&self, server: &[&str]) {
        let home = format!("MESH_HOME={}", self.desk.mesh().path().display());
        let mut command = self.command();
        command.args(["mcp", "add", "--scope", "user", "mesh", "--env", &home, "--"]).args(server);
        Finished::of(command).ok();
    }

    /// Runs one of its other commands, such as `mcp list`.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        let mut command = self.command();
        command.args(arguments);
        Finished::of(command)
    }

    /// A session without a terminal that answers one prompt and ends.
    #[must_use]
    pub fn print(&self, model: &Model, prompt: &str, arguments: &[&str]) -> Running {
        let mut command = self.with(model);
        command.args(["-p", prompt, "--output-format", "stream-json", "--verbose"]).args(arguments);
        Running::start(command)
    }

    /// A session without a terminal that takes prompts from [`Self::say`] until its input ends.
    #[must_use]
    pub fn stream(&self, model: &Model, arguments: &[&str]) -> Running {
        let mut command = self.with(model);
        let formats = ["--input-format", "stream-json", "--output-format", "stream-json", "--verbose"];
        command.arg("-p").args(formats).args(arguments);
        Running::start(command)
    }

    /// Says something to a session of [`Self::stream`].
    pub async fn say(session: &mut Running, text: &str) {
        let message = json!({"role": "user", "content": [{"type": "text", "text": text}]});
        session.write_line(&json!({"type": "user", "message": message}).to_string()).await;
    }

    /// A session in a terminal, ready for a prompt.
    pub async fn terminal(&self, model: &Model, arguments: &[&str]) -> Terminal {
        let mut command = self.with(model);
        command.args(arguments);
        let terminal = self.desk.terminal(&command);
        terminal.until("its prompt", |screen| screen.contains("accept edits on")).await;
        terminal
    }

    fn with(&self, model: &Model) -> Command {
        let mut command = self.command();
        command.env("ANTHROPIC_BASE_URL", model.url()).env("ANTHROPIC_API_KEY", KEY);
        command
    }

    fn command(&self) -> Command {
        let mut command = self.desk.command(agent("claude"));
        command.current_dir(&self.dir);
        for switch in SWITCHES {
            command.env(switch, "1");
        }
        command
    }
}

/// Adds a hook to a file of them, in the form that Claude Code has made common.
pub(super) fn push_hook(file: &mut Value, event: &str, matcher: &str, hook: &Value) {
    let hooks = &mut file["hooks"][event];
    if hooks.is_null() {
        *hooks = json!([]);
    }
    hooks.as_array_mut().expect("a list of hooks").push(json!({"matcher": matcher, "hooks": [hook]}));
}

/// Changes a JSON file, which need not exist.
pub(super) fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).expect("JSON"),
        Err(_) => json!({}),
    };
    change(&mut value);
    std::fs::write(path, value.to_string()).expect("a file of the home");
}
