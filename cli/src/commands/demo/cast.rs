//! What takes part: a temporary directory, a mesh in it, and the way to end both.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mesh_client::proto::{GetStatusRequest, GetStatusResponse};
use mesh_client::{Autostart, Client, Config, Home};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::commands::stop;
use crate::error::CliError;

/// How long a broker takes, generously, from its start until it can be found and ended.
const STARTED_WITHIN: Duration = Duration::from_millis(500);

/// A mesh of the demo's own.
#[derive(Debug)]
pub(super) struct Cast {
    dir: TempDir,
    /// This very program, wherever it was when the demo began.
    pub(super) program: PathBuf,
    /// Directory of the mesh.
    pub(super) home: Home,
    /// A client, which starts the broker as any other does.
    pub(super) client: Client,
}

impl Cast {
    /// Makes the directory. Nothing runs yet.
    pub(super) fn new() -> Result<Self, CliError> {
        let (dir, home) = directory()?;
        let program = std::env::current_exe().map_err(CliError::failure)?;
        let autostart = Autostart::this_program().map_err(CliError::failure)?;
        let client = Client::new(Config { autostart, ..Config::local(home.clone()) })?;
        Ok(Self { dir, program, home, client })
    }

    /// The directory of all that the demo makes.
    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What the broker says of itself.
    pub(super) async fn broker(&self) -> Result<GetStatusResponse, CliError> {
        let ask = |client: Client| async move { client.admin().get_status(GetStatusRequest {}).await };
        Ok(self.client.call(ask).await?)
    }

    /// Ends the broker and removes the directory. Whatever else could start a broker here has ended before.
    pub(super) async fn end(self, interrupted: bool) -> Result<(), CliError> {
        if interrupted {
            // Its client may be gone while a broker is just starting.
            tokio::time::sleep(STARTED_WITHIN).await;
        }
        let config = Config { autostart: Autostart::Never, ..Config::local(self.home.clone()) };
        let ended = stop::broker(&Client::new(config)?).await;
        if let Some(pid) = running(&self.home) {
            // It did not end when asked; what it still had to write goes with the directory.
            let _ = kill_process(pid, Signal::KILL);
        }
        let path = self.path().to_owned();
        self.dir.close().map_err(|error| left(&path, &error))?;
        ended.map(drop)
    }
}

/// Kills the broker, as `kill -9` does.
pub(super) fn kill(broker: &GetStatusResponse) -> Result<(), CliError> {
    let pid = i32::try_from(broker.pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| CliError::failure("the broker does not know its process id"))?;
    kill_process(pid, Signal::KILL)
        .map_err(|error| CliError::failure(format_args!("cannot kill the broker: {error}")))
}

/// A temporary directory, short enough for the socket in it.
fn directory() -> Result<(TempDir, Home), CliError> {
    let make = |parent: PathBuf| -> Result<_, CliError> {
        let dir = tempfile::Builder::new().prefix("mesh-demo-").tempdir_in(&parent).map_err(|error| {
            CliError::failure(format_args!("cannot make a directory in {}: {error}", parent.display()))
        })?;
        let home = Home::at(dir.path().join("home"))?;
        Ok((dir, home))
    };
    // A long TMPDIR leaves no room for the name of a socket below it.
    make(std::env::temp_dir()).or_else(|_| make(Path::new("/").join("tmp")))
}

/// The broker of a home. It holds its lock while it lives; without that its number might be another's by now.
fn running(home: &Home) -> Option<Pid> {
    let lock = File::open(home.broker_lock_path());
    let lives = lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
    let record = home.broker_record().filter(|_| lives)?;
    i32::try_from(record.pid).ok().and_then(Pid::from_raw)
}

fn left(path: &Path, error: &std::io::Error) -> CliError {
    CliError::failure(format_args!("cannot remove {}: {error}", path.display()))
}
