//! Where an agent works: a home, a project and a mesh of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{Finished, Terminal, programs};
use crate::{Mesh, kill, meshctl};

/// The machine of one user. Dropping it ends every process that was started at it, and removes it.
#[derive(Debug)]
pub struct Desk {
    // Its broker ends before the files go.
    mesh: Mesh,
    dir: TempDir,
}

impl Desk {
    /// An empty home, and a project with one commit whose scope is [`SCOPE`](crate::SCOPE).
    #[must_use]
    pub fn new() -> Self {
        // Short, because agents bind Unix sockets in their temporary directory.
        let dir = tempfile::Builder::new().prefix("desk").tempdir().expect("temporary directory");
        // Where every program looks for it by itself: some hosts hand no variable of the user on.
        let desk = Self { mesh: Mesh::at(dir.path().join("home/.mesh")), dir };
        for dir in [desk.home(), desk.project(), desk.tmp()] {
            std::fs::create_dir(dir).expect("a directory");
        }
        desk.git(&["init", "--quiet", "--initial-branch", "main"]);
        desk.git(&["remote", "add", "origin", &format!("https://{}.git", crate::SCOPE)]);
        desk.write("a.txt", "one\ntwo\n");
        desk.git(&["add", "."]);
        desk.git(&["commit", "--quiet", "--message", "begin"]);
        desk
    }

    /// The mesh of this machine.
    #[must_use]
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// The user's home.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// The project's checkout, with `a.txt` in it: `one` and `two`, a line each.
    #[must_use]
    pub fn project(&self) -> PathBuf {
        self.dir.path().join("app")
    }

    /// Where agents put what is temporary.
    #[must_use]
    pub fn tmp(&self) -> PathBuf {
        self.dir.path().join("tmp")
    }

    /// The whole path of a file of the project, as tools want it.
    #[must_use]
    pub fn path(&self, file: &str) -> String {
        self.project().join(file).to_str().expect("UTF-8").to_owned()
    }

    /// Writes a file of the project.
    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.project().join(file), text).expect("a file of the project");
    }

    /// Reads a file of the project.
    #[must_use]
    pub fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.project().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// A command line of a hook that answers with a value, whatever it is told.
    #[must_use]
    pub fn answering(&self, answer: &Value) -> String {
        let (_, path) =
            tempfile::NamedTempFile::new_in(self.tmp()).and_then(|file| Ok(file.keep()?)).expect("a file");
        std::fs::write(&path, answer.to_string()).expect("a file");
        format!("cat {}", path.display())
    }

    /// Runs git in the project.
    pub fn git(&self, arguments: &[&str]) {
        let mut command = self.command("git");
        command.args(["-c", "user.name=tester", "-c", "user.email=tester@example.com"]).args(arguments);
        assert!(command.status().expect("git runs").success(), "git {arguments:?}");
    }

    /// The branch that the project is on.
    #[must_use]
    pub fn branch(&self) -> String {
        let head = std::fs::read_to_string(self.project().join(".git/HEAD")).expect("a repository");
        head.trim_end().trim_start_matches("ref: refs/heads/").to_owned()
    }

    /// The processes of `meshctl` at this desk that are not its broker: hooks, servers, and those that wait for mail.
    #[must_use]
    pub fn helpers(&self) -> Vec<(u32, String)> {
        let is_helper = |call: &str| call.contains("meshctl ") && !call.contains("meshctl serve");
        self.processes().into_iter().filter(|(_, call)| is_helper(call)).collect()
    }

    /// A second checkout of the project, on a new branch.
    #[must_use]
    pub fn worktree(&self, branch: &str) -> PathBuf {
        let path = self.dir.path().join(branch);
        self.git(&["worktree", "add", "--quiet", "-b", branch, path.to_str().expect("UTF-8")]);
        path
    }

    /// A program in the project, with an environment that holds nothing but this desk. `meshctl` and the agents are on
    /// its path.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.environment()).current_dir(self.project()).stdin(Stdio::null());
        command
    }

    /// Runs `meshctl` in the project, as the user does.
    #[must_use]
    pub fn meshctl(&self, arguments: &[&str]) -> Finished {
        let mut command = self.command(meshctl());
        command.args(arguments);
        Finished::of(command)
    }

    /// Registers the mesh, with the arguments of `meshctl install`.
    pub fn install(&self, arguments: &[&str]) {
        self.meshctl(&[&["install"], arguments].concat()).ok();
    }

    /// Starts a command of [`Self::command`] in a terminal.
    pub(super) fn terminal(&self, command: &Command) -> Terminal {
        let mut inner = pty_process::Command::new(command.get_program()).args(command.get_args()).env_clear();
        for (name, value) in command.get_envs() {
            inner = inner.env(name, value.expect("a command only sets variables"));
        }
        Terminal::start(inner.current_dir(command.get_current_dir().expect("a command has a directory")))
    }

    fn environment(&self) -> Vec<(&'static str, std::ffi::OsString)> {
        let found = std::env::var_os("PATH").unwrap_or_default();
        let own = meshctl();
        let dirs = own.parent().map(Path::to_path_buf).into_iter().chain([programs()]);
        let dirs = dirs.chain(std::env::split_paths(&found));
        vec![
            ("PATH", std::env::join_paths(dirs).expect("a path")),
            ("HOME", self.home().into()),
            ("TMPDIR", self.tmp().into()),
            ("TERM", "xterm-256color".into()),
            ("LANG", "C.UTF-8".into()),
            ("SHELL", "/bin/bash".into()),
            ("USER", "tester".into()),
            // Whatever an agent would fetch from elsewhere fails at once.
            ("HTTP_PROXY", "http://127.0.0.1:9".into()),
            ("HTTPS_PROXY", "http://127.0.0.1:9".into()),
            ("NO_PROXY", "127.0.0.1,localhost".into()),
            ("GIT_ALLOW_PROTOCOL", "file".into()),
        ]
    }

    /// The processes that were started at this desk and live, with how they were called.
    #[must_use]
    pub fn processes(&self) -> Vec<(u32, String)> {
        let home = format!("HOME={}", self.home().display());
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter_map(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
            environment.split(|byte| *byte == 0).find(|entry| *entry == home.as_bytes())?;
            let call = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            Some((pid, String::from_utf8_lossy(&call).replace('\0', " ")))
        })
        .collect()
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // What is killed may have started another meanwhile; nothing starts when nothing is left.
        loop {
            let left = self.processes();
            if left.is_empty() {
                break;
            }
            for (pid, _) in left {
                kill(pid);
            }
        }
    }
}
