//! The agents that the mesh can be registered with.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::places::Places;

/// A coding agent, or an editor with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Host {
    /// Claude Code, of Anthropic.
    ClaudeCode,
    /// Codex CLI, of OpenAI.
    Codex,
    /// Cursor: the editor and its command line.
    Cursor,
    /// Gemini CLI, of Google.
    Gemini,
    /// opencode.
    Opencode,
    /// Visual Studio Code with Copilot.
    Vscode,
    /// Copilot CLI, of GitHub.
    Copilot,
    /// Windsurf.
    Windsurf,
    /// Goose.
    Goose,
    /// Zed.
    Zed,
}

/// No host has this name.
#[derive(Clone, Debug, thiserror::Error)]
#[error("there is no host {0:?}; there are: {all}", all = Host::ALL.map(Host::name).join(", "))]
pub struct UnknownHost(String);

/// By what a host was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Detected {
    /// Its program, on the search path.
    Program(PathBuf),
    /// A directory that it keeps its configuration in.
    Directory(PathBuf),
}

impl Host {
    /// All of them, in the order they are told of.
    pub const ALL: [Self; 10] = [
        Self::ClaudeCode,
        Self::Codex,
        Self::Cursor,
        Self::Gemini,
        Self::Opencode,
        Self::Vscode,
        Self::Copilot,
        Self::Windsurf,
        Self::Goose,
        Self::Zed,
    ];

    /// As it is typed, and as the hook command takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
            Self::Cursor => "cursor",
            Self::Gemini => "gemini",
            Self::Opencode => "opencode",
            Self::Vscode => "vscode",
            Self::Copilot => "copilot",
            Self::Windsurf => "windsurf",
            Self::Goose => "goose",
            Self::Zed => "zed",
        }
    }

    /// Whether it is told of anything but tools: all but Zed have hooks or plugins.
    pub const fn has_hooks(self) -> bool {
        !matches!(self, Self::Zed)
    }

    /// The names of its program.
    pub const fn programs(self) -> &'static [&'static str] {
        match self {
            Self::ClaudeCode => &["claude"],
            Self::Codex => &["codex"],
            Self::Cursor => &["cursor", "cursor-agent"],
            Self::Gemini => &["gemini"],
            Self::Opencode => &["opencode"],
            Self::Vscode => &["code", "code-insiders"],
            Self::Copilot => &["copilot"],
            Self::Windsurf => &["windsurf"],
            Self::Goose => &["goose"],
            Self::Zed => &["zed", "zeditor"],
        }
    }

    /// The directory whose presence tells that somebody uses it.
    pub fn directory(self, places: &Places) -> PathBuf {
        match self {
            Self::ClaudeCode => places.claude.clone(),
            Self::Codex => places.codex.clone(),
            Self::Cursor => places.home.join(".cursor"),
            Self::Gemini => places.home.join(".gemini"),
            Self::Opencode => places.config.join("opencode"),
            Self::Vscode => places.vscode.clone(),
            Self::Copilot => places.copilot.clone(),
            Self::Windsurf => places.home.join(".codeium/windsurf"),
            Self::Goose => places.config.join("goose"),
            Self::Zed => places.zed.clone(),
        }
    }

    /// Whether it is on this machine, and by what that shows.
    pub fn detect(self, places: &Places) -> Option<Detected> {
        let program = self.programs().iter().find_map(|name| places.program(name));
        program.map(Detected::Program).or_else(|| {
            let directory = self.directory(places);
            directory.is_dir().then_some(Detected::Directory(directory))
        })
    }
}

impl FromStr for Host {
    type Err = UnknownHost;

    fn from_str(text: &str) -> Result<Self, UnknownHost> {
        Self::ALL.into_iter().find(|host| host.name() == text).ok_or_else(|| UnknownHost(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_are_those_of_the_receipts() {
        for host in Host::ALL {
            assert_eq!(host.name().parse::<Host>().unwrap(), host);
            assert_eq!(serde_json::to_value(host).unwrap(), host.name());
        }
        let error = "clippy".parse::<Host>().unwrap_err().to_string();
        assert!(error.contains("claude-code, codex"), "{error}");
    }

    #[test]
    fn a_host_is_found_by_its_program_or_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::below(dir.path());
        assert_eq!(Host::Goose.detect(&places), None);
        std::fs::create_dir_all(places.config.join("goose")).unwrap();
        assert_eq!(Host::Goose.detect(&places), Some(Detected::Directory(places.config.join("goose"))));
        let program = dir.path().join("bin/goose");
        std::fs::create_dir_all(dir.path().join("bin")).unwrap();
        std::fs::write(&program, "").unwrap();
        assert_eq!(
            Host::Goose.detect(&places),
            Some(Detected::Directory(places.config.join("goose"))),
            "what cannot run is no program"
        );
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(Host::Goose.detect(&places), Some(Detected::Program(program)));
    }
}
