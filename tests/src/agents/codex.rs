//! Codex.

use std::path::{Path, PathBuf};
use std::process::Command;

use mesh_mock::Model;
use serde_json::{Value, json};

use super::claude::{edit, push_hook};
use super::{Desk, Finished, Running, Terminal, agent};
use crate::meshctl;

/// A model whose tools are offered one by one.
pub const PLAIN: &str = "gpt-5.5";

/// A model that calls its tools from scripts, all through one tool named `exec`.
pub const SCRIPTING: &str = "gpt-6-sol";

/// The user's configuration: a provider of ours, and nothing that asks, moves or reports.
const CONFIG: &str = r#"
model = "gpt-5.5"
model_provider = "mock"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
disable_paste_burst = true

[model_providers.mock]
name = "mock"
base_url = "set on the command line"
wire_api = "responses"
env_key = "MOCK_KEY"
request_max_retries = 0
stream_max_retries = 0

[analytics]
enabled = false

[tui]
animations = false
screen_reader_detection_done = true

[tui.model_availability_nux]
"gpt-6.1-sol" = 1

[notice.model_migrations]
"gpt-5.5" = "gpt-6-sol"
"#;

/// Codex at a desk, past its first start: it trusts the project and asks nothing.
#[derive(Debug)]
pub struct Codex<'a> {
    desk: &'a Desk,
    dir: PathBuf,
}

impl<'a> Codex<'a> {
    /// In the project.
    #[must_use]
    pub fn new(desk: &'a Desk) -> Self {
        Self::within(desk, &desk.project())
    }

    /// In any directory, such as a worktree.
    #[must_use]
    pub fn within(desk: &'a Desk, dir: &Path) -> Self {
        let path = desk.home().join(".codex/config.toml");
        std::fs::create_dir_all(desk.home().join(".codex")).expect("a directory");
        let mut config = std::fs::read_to_string(&path).unwrap_or_else(|_| CONFIG.to_owned());
        let trust = format!("\n[projects.{:?}]\ntrust_level = \"trusted\"\n", dir.display().to_string());
        if !config.contains(&trust) {
            config += &trust;
        }
        std::fs::write(path, config).expect("a file of the home");
        Self { desk, dir: dir.to_path_buf() }
    }

    /// Runs a command for an event, beside those that are there; of tools' events only for tools that match, unless the
    /// matcher is empty.
    pub fn hook(&self, event: &str, matcher: &str, command: &str) {
        edit(&self.desk.home().join(".codex/hooks.json"), |file| {
            push_hook(file, event, matcher, &json!({"type": "command", "command": command}));
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
        command.args(["mcp", "add", "mesh", "--env", &home, "--"]).args(server);
        Finished::of(command).ok();
    }

    /// Runs one of its other commands, such as `mcp list` or `queue`.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        let mut command = self.command();
        command.args(arguments);
        Finished::of(command)
    }

    /// As [`Self::exec`], running those hooks only that its owner trusts.
    #[must_use]
    pub fn cautious_exec(&self, model: &Model, prompt: &str) -> Running {
        let mut command = self.with(model);
        command.args(["exec", "--json", prompt]);
        Running::start(command).without_input()
    }

    /// A session without a terminal that answers one prompt and ends.
    #[must_use]
    pub fn exec(&self, model: &Model, prompt: &str, arguments: &[&str]) -> Running {
        let mut command = self.with(model);
        command.args(["exec", "--json", "--dangerously-bypass-hook-trust"]).args(arguments).arg(prompt);
        Running::start(command).without_input()
    }

    /// A session in a terminal, ready for a prompt.
    pub async fn terminal(&self, model: &Model, arguments: &[&str]) -> Terminal {
        let mut command = self.with(model);
        command.arg("--dangerously-bypass-hook-trust").args(arguments);
        let terminal = self.desk.terminal(&command);
        terminal.until("its prompt", |screen| screen.contains("Ask Codex to do anything")).await;
        terminal
    }

    /// Trusts all hooks as they are, as their owner does with `/hooks`: what Codex writes then.
    pub async fn trust_hooks(&self) {
        let mut command = self.command();
        command.arg("app-server");
        let mut server = Running::start(command);
        for message in [
            json!({"id": 1, "method": "initialize", "params": {"clientInfo": {"name": "test", "version": "0"}}}),
            json!({"method": "initialized", "params": {}}),
            json!({"id": 2, "method": "hooks/list", "params": {"cwds": [self.dir]}}),
        ] {
            server.write_line(&message.to_string()).await;
        }
        let listed = server.line("its hooks", |line| line["id"] == 2).await;
        let hooks = listed["result"]["data"][0]["hooks"].as_array().expect("a list of hooks").iter();
        let state = |hook: &Value| {
            format!("\n[hooks.state.{}]\ntrusted_hash = {}\n", hook["key"], hook["currentHash"])
        };
        let trusted = hooks.map(state).collect::<String>();
        let path = self.desk.home().join(".codex/config.toml");
        let config = std::fs::read_to_string(&path).expect("a configuration");
        std::fs::write(path, config + &trusted).expect("a file of the home");
    }

    fn with(&self, model: &Model) -> Command {
        let mut command = self.command();
        command.arg("-c").arg(format!("model_providers.mock.base_url=\"{}/v1\"", model.url()));
        command
    }

    fn command(&self) -> Command {
        let mut command = self.desk.command(agent("codex"));
        command.current_dir(&self.dir).env("MOCK_KEY", "any");
        command
    }
}
