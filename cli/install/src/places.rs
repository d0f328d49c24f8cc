//! Where the hosts keep their files.
//!
//! What must hold: this module alone knows which environment variables move them, and reads none by itself.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// For whom something is registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// For this user, in every project.
    #[default]
    User,
    /// For everybody who works on one project: the files are committed.
    Project,
}

/// The directories of one user on one machine, and of one project.
#[derive(Clone, Debug)]
pub struct Places {
    /// The user's home.
    pub home: PathBuf,
    /// Root of the checkout.
    pub project: PathBuf,
    /// Configuration of programs that follow the XDG rules.
    pub config: PathBuf,
    /// Claude Code's directory.
    pub claude: PathBuf,
    /// The file in which Claude Code keeps a user's MCP servers.
    pub claude_json: PathBuf,
    /// Codex's directory.
    pub codex: PathBuf,
    /// Copilot CLI's directory.
    pub copilot: PathBuf,
    /// The user profile of VS Code.
    pub vscode: PathBuf,
    /// Zed's directory.
    pub zed: PathBuf,
    /// Where programs are searched.
    pub path: Vec<PathBuf>,
}

impl Places {
    /// The places of a user with this home and environment, and of the project with this root.
    pub fn new(home: &Path, project: &Path, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let directory = |name: &str, default: PathBuf| {
            variable(name).filter(|value| !value.is_empty()).map_or(default, PathBuf::from)
        };
        let config = directory("XDG_CONFIG_HOME", home.join(".config"));
        let claude = variable("CLAUDE_CONFIG_DIR").filter(|value| !value.is_empty()).map(PathBuf::from);
        let vscode = if cfg!(target_os = "macos") {
            home.join("Library/Application Support/Code/User")
        } else {
            config.join("Code/User")
        };
        // Zed and Goose follow the XDG rules on macOS as well.
        Self {
            claude_json: claude.as_deref().unwrap_or(home).join(".claude.json"),
            claude: claude.unwrap_or_else(|| home.join(".claude")),
            codex: directory("CODEX_HOME", home.join(".codex")),
            copilot: directory("COPILOT_HOME", home.join(".copilot")),
            zed: config.join("zed"),
            vscode,
            config,
            path: variable("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default(),
            home: home.to_owned(),
            project: project.to_owned(),
        }
    }

    /// Places below one directory: for tests.
    #[cfg(test)]
    pub(crate) fn below(root: &Path) -> Self {
        let path = root.join("bin");
        Self::new(&root.join("home"), &root.join("project"), |name| {
            (name == "PATH").then(|| path.clone().into_os_string())
        })
    }

    /// The program of this name on the search path.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let mut candidates = self.path.iter().map(|directory| directory.join(name));
        candidates.find(|path| {
            path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
    }

    /// A path as people write it: with `~` for the home.
    pub fn show(&self, path: &Path) -> String {
        let below = |root: &Path| path.strip_prefix(root).ok().map(Path::display);
        // A project is usually below the home; a home may be the project.
        if self.project != self.home
            && let Some(below) = below(&self.project)
        {
            return below.to_string();
        }
        below(&self.home).map_or_else(|| path.display().to_string(), |below| format!("~/{below}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_move_the_hosts_directories() {
        let set = |name: &str| match name {
            "XDG_CONFIG_HOME" => Some("/x".into()),
            "CLAUDE_CONFIG_DIR" => Some("/c".into()),
            "CODEX_HOME" => Some("/o".into()),
            "COPILOT_HOME" => Some(OsString::new()),
            _ => None,
        };
        let places = Places::new(Path::new("/home/ann"), Path::new("/home/ann/app"), set);
        assert_eq!(places.zed, Path::new("/x/zed"));
        assert_eq!(places.claude, Path::new("/c"));
        assert_eq!(places.claude_json, Path::new("/c/.claude.json"));
        assert_eq!(places.codex, Path::new("/o"));
        assert_eq!(places.copilot, Path::new("/home/ann/.copilot"), "empty is unset");
        assert_eq!(places.show(Path::new("/home/ann/.copilot/hooks")), "~/.copilot/hooks");
        assert_eq!(places.show(Path::new("/home/ann/app/.mcp.json")), ".mcp.json");
        assert_eq!(places.show(Path::new("/x/zed")), "/x/zed");
        let at_home = Places::new(Path::new("/home/ann"), Path::new("/home/ann"), |_| None);
        assert_eq!(at_home.show(Path::new("/home/ann/.codex")), "~/.codex");
    }
}
