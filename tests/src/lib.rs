//! The harness of the end-to-end tests: a mesh of its own for each test, made of real processes.
//!
//! Owns a home in a temporary directory, the broker that serves it, and how to reach both. What must hold: nothing
//! outlives a test, nothing outside the temporary directory is touched, and a test waits for events, not for time.

#![expect(clippy::expect_used, reason = "a harness that cannot set up its test must stop it")]

pub mod agents;
mod answer;
mod ask;
mod broker;
pub mod hostile;
mod log;
pub mod released;
mod wait;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mesh_client::{Autostart, Client, Config, Endpoint, Home, JoinOptions, Liveness, Session, Token};
use tempfile::TempDir;

pub use answer::{refused, status_refused};
pub use ask::{broadcast, get, lock, message, overwrite, put, seconds, share};
pub use broker::{Broker, is_running, kill, signal};
pub use log::{commit_millis, events, history};
pub use rustix::process::Signal;
pub use wait::{Followed, follow, follow_with, within};

/// The scope that tests use unless they say otherwise.
pub const SCOPE: &str = "example.com/acme/app";

/// The meshctl under test: that of the same build, unless `MESHCTL` names another.
#[must_use]
pub fn meshctl() -> PathBuf {
    if let Some(named) = std::env::var_os("MESHCTL") {
        return named.into();
    }
    let this = std::env::current_exe().expect("path of the test binary");
    let profile = this.ancestors().nth(2).expect("test binaries lie in target/PROFILE/deps");
    let beside = this.with_file_name("meshctl");
    let found = [beside, profile.join("meshctl"), profile.join("../meshctl")];
    let found = found.into_iter().find(|path| path.exists());
    found
        .unwrap_or_else(|| panic!("no meshctl in {}; run `cargo build --workspace` first", profile.display()))
}

/// A mesh with a home of its own. Dropping it ends its broker and removes the home.
#[derive(Debug)]
pub struct Mesh {
    path: PathBuf,
    _dir: Option<TempDir>,
}

impl Mesh {
    /// A home without a broker.
    #[must_use]
    pub fn new() -> Self {
        // Short, because the path of a Unix socket is.
        let dir = tempfile::Builder::new().prefix("mesh").tempdir().expect("temporary directory");
        Self { path: dir.path().to_path_buf(), _dir: Some(dir) }
    }

    /// A home without a broker at a place that somebody else removes.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path, _dir: None }
    }

    /// The home's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The home, as clients know it.
    #[must_use]
    pub fn home(&self) -> Home {
        Home::at(&self.path).expect("home")
    }

    /// Starts a broker with further arguments of `serve`, and waits until it is ready.
    #[must_use]
    pub fn serve(&self, arguments: &[&str]) -> Broker {
        Broker::start(self, arguments)
    }

    /// As [`Self::serve`], with a log of what the filter lets through, as `RUST_LOG` has it.
    #[must_use]
    pub fn serve_logging(&self, filter: &str, arguments: &[&str]) -> Broker {
        Broker::start_logging(self, Some(filter), arguments)
    }

    /// A client that starts no broker.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(Config { autostart: Autostart::Never, ..Config::local(self.home()) }).expect("client")
    }

    /// A client that starts a broker when there is none.
    #[must_use]
    pub fn starting_client(&self) -> Client {
        let command = vec![meshctl().into(), "serve".into(), "--auto".into()];
        let config = Config { autostart: Autostart::Command(command), ..Config::local(self.home()) };
        Client::new(config).expect("client")
    }

    /// A client over TCP, with the token of the home.
    #[must_use]
    pub fn tcp_client(&self, endpoint: &str) -> Client {
        let token = std::fs::read_to_string(self.home().token_path()).expect("token of the broker");
        self.tcp_client_with(endpoint, &token)
    }

    /// A client over TCP, with any token.
    #[must_use]
    pub fn tcp_client_with(&self, endpoint: &str, token: &str) -> Client {
        let endpoint = Endpoint::parse(endpoint).expect("endpoint");
        let token = Some(Token::parse(token).expect("token"));
        let config = Config { endpoint, token, autostart: Autostart::Never, ..Config::local(self.home()) };
        Client::new(config).expect("client")
    }

    /// Joins the test scope under a name, with a stream that keeps the session.
    pub async fn join(&self, name: &str) -> Session {
        Session::join(&self.client(), options(name)).await.expect("join")
    }

    /// Joins the test scope under a name, with nothing that keeps the session but its calls.
    pub async fn join_unattended(&self, name: &str) -> Session {
        Session::join(&self.client(), unattended(name)).await.expect("join")
    }

    /// `meshctl` in this mesh, with an environment of its own.
    #[must_use]
    pub fn meshctl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(meshctl());
        command.args(arguments).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path()).env("MESH_HOME", self.path()).env("USER", "tester");
        command.env("MESH_SCOPE", SCOPE).current_dir(self.path());
        command
    }

    /// Runs `meshctl` to its end.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.meshctl(arguments).output().expect("meshctl runs")
    }

    /// Starts `meshctl` and leaves it running, with its output to be read; it is killed when it is dropped. A
    /// command it runs outlives that, unless it is one that ends with its stdin, as `cat` does.
    #[must_use]
    pub fn spawn(&self, arguments: &[&str]) -> tokio::process::Child {
        let mut command = tokio::process::Command::from(self.meshctl(arguments));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.spawn().expect("meshctl starts")
    }

    /// The process id of the broker that serves this home, whoever started it.
    #[must_use]
    pub fn broker_pid(&self) -> Option<u32> {
        // A broker holds its lock while it lives; without that check its number might be another process's by now.
        let home = self.home();
        let lock = std::fs::File::open(home.broker_lock_path());
        let lives = lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock)));
        home.broker_record().filter(|_| lives).map(|record| record.pid)
    }
}

impl Default for Mesh {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        // A broker that a client of the test has started is not a child of the test.
        if let Some(pid) = self.broker_pid() {
            kill(pid);
        }
    }
}

/// How tests join: by name, attached.
#[must_use]
pub fn options(name: &str) -> JoinOptions {
    JoinOptions {
        scope: SCOPE.into(),
        name: Some(name.into()),
        resume_key: Some(format!("test:{name}")),
        ..JoinOptions::default()
    }
}

/// As [`options`], with nothing that keeps the session but its calls.
#[must_use]
pub fn unattended(name: &str) -> JoinOptions {
    JoinOptions { liveness: Liveness::Unattended, ..options(name) }
}
