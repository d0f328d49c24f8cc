//! opencode.

use std::path::{Path, PathBuf};
use std::process::Command;

use mesh_mock::Model;
use serde_json::{Value, json};

use super::claude::edit;
use super::{Desk, Finished, Running, Terminal, agent};
use crate::meshctl;

/// What it does on its own account, and not here.
const SWITCHES: [&str; 3] =
    ["OPENCODE_DISABLE_AUTOUPDATE", "OPENCODE_DISABLE_MODELS_FETCH", "OPENCODE_DISABLE_LSP_DOWNLOAD"];

/// opencode at a desk: it has a model, and asks nothing.
#[derive(Debug)]
pub struct Opencode<'a> {
    desk: &'a Desk,
    dir: PathBuf,
}

impl<'a> Opencode<'a> {
    /// In the project.
    #[must_use]
    pub fn new(desk: &'a Desk) -> Self {
        Self::within(desk, &desk.project())
    }

    /// In any directory, such as a worktree.
    #[must_use]
    pub fn within(desk: &'a Desk, dir: &Path) -> Self {
        let opencode = Self { desk, dir: dir.to_path_buf() };
        let config = opencode.config();
        for part in ["plugins", "node_modules"] {
            std::fs::create_dir_all(config.join(part)).expect("a directory");
        }
        // It fetches the types of its plugin interface, unless they seem to be there.
        let types = json!({"dependencies": {"@opencode-ai/plugin": "*"}});
        edit(&config.join("package-lock.json"), |lock| lock["packages"][""] = types);
        opencode.set("permission", &json!("allow"));
        opencode.set("share", &json!("disabled"));
        opencode
    }

    /// Changes a key of the user's configuration.
    pub fn set(&self, key: &str, value: &Value) {
        edit(&self.config().join("opencode.json"), |config| config[key] = value.clone());
    }

    /// Adds a plugin for the user: a module in JavaScript.
    pub fn plugin(&self, name: &str, module: &str) {
        std::fs::write(self.config().join("plugins").join(name), module).expect("a file of the home");
    }

    /// Registers the MCP server of the mesh for the user.
    pub fn add_mcp(&self) {
        let environment = json!({"MESH_HOME": self.desk.mesh().path()});
        let server = json!({"type": "local", "command": [meshctl(), "mcp"], "environment": environment});
        self.set("mcp", &json!({"mesh": server}));
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
        command.args(["run", "--format", "json"]).args(arguments).arg(prompt);
        Running::start(command)
    }

    /// A session in a terminal, ready for a prompt.
    pub async fn terminal(&self, model: &Model, arguments: &[&str]) -> Terminal {
        let mut command = self.with(model);
        command.args(arguments);
        let terminal = self.desk.terminal(&command);
        terminal.until("its prompt", |screen| screen.contains("Ask anything")).await;
        terminal
    }

    fn with(&self, model: &Model) -> Command {
        let limit = json!({"context": 100_000, "output": 10_000});
        let provider = json!({
            "npm": "@ai-sdk/openai-compatible", "name": "mock",
            "options": {"baseURL": format!("{}/v1", model.url()), "apiKey": "any"},
            "models": {"mock": {"name": "mock", "tool_call": true, "limit": limit}},
        });
        let config = json!({
            "model": "mock/mock", "small_model": "mock/mock", "enabled_providers": ["mock"],
            "provider": {"mock": provider},
        });
        let mut command = self.command();
        command.env("OPENCODE_CONFIG_CONTENT", config.to_string());
        command
    }

    fn command(&self) -> Command {
        let mut command = self.desk.command(agent("opencode"));
        command.current_dir(&self.dir);
        for switch in SWITCHES {
            command.env(switch, "1");
        }
        command
    }

    fn config(&self) -> PathBuf {
        self.desk.home().join(".config/opencode")
    }
}
