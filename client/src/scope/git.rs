//! Runs git.
//!
//! Owns how git is started and how its refusals are told apart; what to ask is its callers' business. The
//! binary is used, not a library, as it alone is faithful to the user's includes, `insteadOf`, worktrees and
//! ownership checks. No command run here writes, talks to a network or runs a hook.
//!
//! The directory given decides, not the variables git sets for its hooks (`GIT_DIR` and the like): they would
//! make every directory look like the repository whose hook is running.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use super::ScopeError;

/// Variables that point git at another repository than the one around its working directory.
const REDIRECTIONS: [&str; 9] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_SHALLOW_FILE",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
];

/// How to start git.
#[derive(Debug)]
pub(crate) struct Git {
    program: OsString,
    environment: Vec<(OsString, OsString)>,
}

/// A git that runs.
#[derive(Debug)]
pub(crate) struct Running(Child);

/// What a git that ended has said.
#[derive(Debug)]
pub(crate) struct Output {
    status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Git {
    /// The git on `PATH`, with the environment of this process.
    pub(crate) fn on_path() -> Self {
        Self { program: "git".into(), environment: Vec::new() }
    }

    /// Starts git in a directory; `None` when there is no git.
    pub(crate) fn start(&self, dir: &Path, args: &[&str]) -> Result<Option<Running>, ScopeError> {
        let mut command = Command::new(&self.program);
        command
            // Messages are matched, so they must be in one language.
            .env("LC_ALL", "C")
            .env("LANGUAGE", "C")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .arg("-C")
            .arg(dir)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for variable in REDIRECTIONS {
            command.env_remove(variable);
        }
        match command.spawn() {
            Ok(child) => Ok(Some(Running(child))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ScopeError::Start { source }),
        }
    }

    /// Runs git in a directory to its end; `None` when there is no git.
    pub(crate) fn run(&self, dir: &Path, args: &[&str]) -> Result<Option<Output>, ScopeError> {
        self.start(dir, args)?.map(Running::output).transpose()
    }
}

impl Running {
    /// Waits for the end.
    pub(crate) fn output(self) -> Result<Output, ScopeError> {
        let output = self.0.wait_with_output().map_err(|source| ScopeError::Start { source })?;
        Ok(Output {
            status: output.status,
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

impl Output {
    /// Whether git did what it was asked.
    pub(crate) fn success(&self) -> bool {
        self.status.success()
    }

    /// Whether git did what it was asked, and there was nothing: so `git config` tells it from a failure.
    pub(crate) fn is_empty_answer(&self) -> bool {
        self.status.code() == Some(1)
    }

    /// Whether git found no repository around the directory. A repository that it found but cannot read (a
    /// worktree whose main repository is gone, say) is not that.
    pub(crate) fn is_no_repository(&self) -> bool {
        self.stderr.contains("not a git repository (or any")
    }

    /// Whether git found a repository but no worktree: a bare one, or the inside of `.git`.
    pub(crate) fn is_no_worktree(&self) -> bool {
        self.stderr.contains("must be run in a work tree")
    }

    /// The error that git's refusal amounts to.
    pub(crate) fn into_error(self, dir: &Path) -> ScopeError {
        const DUBIOUS: &str = "detected dubious ownership in repository at '";
        let directory = dir.to_path_buf();
        if let Some((_, rest)) = self.stderr.split_once(DUBIOUS) {
            let repository = rest.split_once("'\n").map_or(rest, |(repository, _)| repository).into();
            return ScopeError::DubiousOwnership { repository };
        }
        let lines = self.stderr.lines();
        let message = lines.clone().find_map(|line| line.strip_prefix("fatal: ")).or(lines.last());
        ScopeError::Git { directory, message: message.unwrap_or("it ended without a message").to_owned() }
    }
}

#[cfg(test)]
impl Git {
    /// A git that sees no configuration but the repository's own, and that finds no repository around `ceiling`.
    pub(crate) fn isolated(ceiling: &Path) -> Self {
        Self { program: "git".into(), environment: Vec::new() }
            .with("GIT_CONFIG_GLOBAL", "/dev/null")
            .with("GIT_CONFIG_SYSTEM", "/dev/null")
            .with("GIT_CONFIG_NOSYSTEM", "1")
            .with("GIT_CEILING_DIRECTORIES", ceiling)
            .with("GIT_AUTHOR_NAME", "a")
            .with("GIT_AUTHOR_EMAIL", "a@example.com")
            .with("GIT_COMMITTER_NAME", "a")
            .with("GIT_COMMITTER_EMAIL", "a@example.com")
    }

    pub(crate) fn with(mut self, key: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((key.into(), value.into()));
        self
    }

    /// A git that is not there.
    pub(crate) fn missing() -> Self {
        Self { program: "/nonexistent/git".into(), environment: Vec::new() }
    }

    /// Runs a line of git arguments that must succeed.
    pub(crate) fn ok(&self, dir: &Path, line: &str) -> String {
        let args: Vec<&str> = line.split_whitespace().collect();
        let output = self.run(dir, &args).unwrap().unwrap();
        assert!(output.success(), "git {line}: {}", output.stderr);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}
