//! The repository of the demo: one file, a remote that is never contacted, and a second worktree.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::error::CliError;

/// Where the remote claims to be; names the scope.
const REMOTE: &str = "git@github.com:acme/app.git";
/// The file that both agents want.
pub(super) const FILE: &str = "src/auth.rs";
const SOURCE: &str = "pub fn refresh(session: &mut Session) {\n    session.token = issue_token();\n}\n";
/// The branch of the second worktree.
pub(super) const BRANCH: &str = "tests";

/// Two checkouts of one repository.
#[derive(Debug)]
pub(super) struct Checkout {
    /// The main checkout, on `main`.
    pub(super) main: PathBuf,
    /// A linked worktree, on [`BRANCH`].
    pub(super) linked: PathBuf,
}

impl Checkout {
    /// Makes the repository in a directory.
    pub(super) async fn make(dir: &Path) -> Result<Self, CliError> {
        let checkout = Self { main: dir.join("app"), linked: dir.join("app-tests") };
        let main = checkout.main.as_path();
        let file = main.join(FILE);
        std::fs::create_dir_all(file.parent().unwrap_or(main)).map_err(CliError::failure)?;
        std::fs::write(&file, SOURCE).map_err(CliError::failure)?;
        git(main, &["init", "--quiet"]).await?;
        // `init --initial-branch` would need git 2.28.
        git(main, &["symbolic-ref", "HEAD", "refs/heads/main"]).await?;
        git(main, &["remote", "add", "origin", REMOTE]).await?;
        git(main, &["add", "--all"]).await?;
        git(main, &["commit", "--quiet", "--message", "Sessions that refresh"]).await?;
        let linked = checkout.linked.to_string_lossy();
        git(main, &["worktree", "add", "--quiet", "-b", BRANCH, &linked]).await?;
        Ok(checkout)
    }
}

/// The environment of all that runs here: almost none, as agents' hosts do it too. The user's git configuration could
/// rewrite the remote, sign commits or run hooks, and variables of an agent around this would pass for its own.
pub(super) fn isolated(command: &mut Command, dir: &Path) {
    command.env_clear().env("HOME", dir).env("GIT_CONFIG_NOSYSTEM", "1").current_dir(dir);
    for name in ["PATH", "TMPDIR", "LD_LIBRARY_PATH", "DEVELOPER_DIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
}

async fn git(dir: &Path, args: &[&str]) -> Result<(), CliError> {
    let mut command = Command::new("git");
    isolated(&mut command, dir);
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "demo").env(format!("GIT_{role}_EMAIL"), "demo@localhost");
    }
    let output = command.args(args).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.map_err(|error| cannot_run(&error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(CliError::failure(format_args!("`git {}` failed: {}", args.join(" "), said.trim())))
}

fn cannot_run(error: &std::io::Error) -> CliError {
    if error.kind() == ErrorKind::NotFound {
        return CliError::failure("the demo needs git, and there is none on PATH")
            .hint("install git; the mesh itself works without it, in any directory");
    }
    CliError::failure(format_args!("cannot run git: {error}"))
}
