//! A real repository, with worktrees.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// A repository with its checkouts.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    /// The main checkout, canonical.
    pub(crate) main: PathBuf,
}

impl Repository {
    /// With these files, committed.
    pub(crate) fn create(root: &Path, files: &[&str]) -> Result<Self> {
        std::fs::create_dir_all(root)?;
        let main = root.canonicalize()?;
        git(&main, &["init", "-q", "-b", "main"])?;
        for file in files {
            let path = main.join(file);
            std::fs::create_dir_all(path.parent().context("a file has a directory")?)?;
            std::fs::write(path, "one\ntwo\n")?;
        }
        git(&main, &["add", "-A"])?;
        let identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.com"];
        git(&main, &[&identity[..], &["commit", "-q", "-m", "one"]].concat())?;
        Ok(Self { main })
    }

    /// A further worktree beside it, on a branch of its own.
    pub(crate) fn worktree(&self, name: &str) -> Result<PathBuf> {
        git(&self.main, &["worktree", "add", "-q", "-b", name, &format!("../{name}")])?;
        Ok(self.main.with_file_name(name).canonicalize()?)
    }
}

fn git(directory: &Path, args: &[&str]) -> Result<()> {
    let mut git = Command::new("git");
    git.current_dir(directory).args(args).env("GIT_CONFIG_GLOBAL", "/dev/null").stdin(Stdio::null());
    let output = git.output().context("cannot run git")?;
    ensure!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
