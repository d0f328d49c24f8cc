//! Gemini CLI.

use std::path::{Path, PathBuf};
use std::process::Command;

use mesh_mock::Model;
use serde_json::{Value, json};

use super::claude::{edit, push_hook};
use super::{Desk, Finished, Running, Terminal, agent};
use crate::meshctl;

/// A model by name, so that it does not ask another which to use.
const MODEL: &str = "gemini-2.5-pro";

/// Gemini CLI at a desk, past its first start: it has a key, trusts the project and asks nothing.
#[derive(Debug)]
pub struct Gemini<'a> {
    desk: &'a Desk,
    dir: PathBuf,
}

impl<'a> Gemini<'a> {
    /// In the project.
    #[must_use]
    pub fn new(desk: &'a Desk) -> Self {
        Self::within(desk, &desk.project())
    }

    /// In any directory, such as a worktree.
    #[must_use]
    pub fn within(desk: &'a Desk, dir: &Path) -> Self {
        let gemini = Self { desk, dir: dir.to_path_buf() };
        std::fs::create_dir_all(desk.home().join(".gemini")).expect("a directory");
        edit(&desk.home().join(".gemini/trustedFolders.json"), |trusted| {
            trusted[dir.to_str().expect("UTF-8")] = json!("TRUST_FOLDER");
        });
        gemini.set("security", &json!({"auth": {"selectedType": "gemini-api-key"}}));
        gemini.set("privacy", &json!({"usageStatisticsEnabled": false}));
        gemini.set("general", &json!({"enableAutoUpdate": false, "enableAutoUpdateNotification": false}));
        gemini
    }

    /// Changes a key of the user's settings.
    pub fn set(&self, key: &str, value: &Value) {
        edit(&self.desk.home().join(".gemini/settings.json"), |settings| settings[key] = value.clone());
    }

    /// Runs a command for an event, beside those that are there; of tools' events only for tools that match, unless the
    /// matcher is empty.
    pub fn hook(&self, event: &str, matcher: &str, command: &str) {
        edit(&self.desk.home().join(".gemini/settings.json"), |file| {
            push_hook(file, event, matcher, &json!({"type": "command", "command": command}));
        });
    }

    /// Registers the MCP server of the mesh for the user.
    pub fn add_mcp(&self) {
        self.add_mcp_as(&[&meshctl().to_string_lossy(), "mcp"]);
    }

    /// Registers any command as the MCP server of the mesh.
    pub fn add_mcp_as(&self, server: &[&str]) {
        let environment = json!({"MESH_HOME": self.desk.mesh().path()});
        let server = json!({"command": server[0], "args": server[1..], "env": environment, "trust": true});
        self.set("mcpServers", &json!({"mesh": server}));
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
        command.args(["--prompt", prompt, "--output-format", "stream-json"]).args(arguments);
        Running::start(command)
    }

    /// A session in a terminal that begins with a prompt. Typing is of little use: an Enter too soon after a character is
    /// taken for pasted text, and nothing shows when it no longer is.
    #[must_use]
    pub fn terminal(&self, model: &Model, prompt: &str, arguments: &[&str]) -> Terminal {
        let mut command = self.with(model);
        command.args(["--prompt-interactive", prompt]).args(arguments);
        self.desk.terminal(&command)
    }

    fn with(&self, model: &Model) -> Command {
        let mut command = self.command();
        command.env("GOOGLE_GEMINI_BASE_URL", model.url()).args(["--yolo", "--model", MODEL]);
        command
    }

    fn command(&self) -> Command {
        let mut command = self.desk.command(agent("gemini"));
        // Without the last it starts itself anew, with more memory.
        command.current_dir(&self.dir).env("GEMINI_API_KEY", "any").env("GEMINI_CLI_NO_RELAUNCH", "true");
        command
    }
}
