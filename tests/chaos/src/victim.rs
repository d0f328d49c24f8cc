//! A client as a process of its own, to be stopped and killed while it holds locks.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use mesh_client::proto::AcquireLocksRequest;
use mesh_client::{Acquired, Session};
use mesh_tests::{Mesh, lock, options, overwrite};
use tokio::process::{Child, Command};

use crate::dice::Dice;
use crate::record::pause;

/// Takes locks and writes, until it is killed. Errors end it: it is there to be killed anyway.
pub async fn run(home: &Path, name: &str, seed: u64) -> Result<()> {
    let mesh = Mesh::at(home.to_path_buf());
    let mut dice = Dice::new(seed);
    let client = mesh.client();
    // It is no part of the run's end: what it leaves behind is what others have to live with.
    std::mem::forget(mesh);
    let session = Session::join(&client, options(name)).await?;
    loop {
        let target = *dice.pick(&["src/", "src/a.rs", "docs/", "task.md"]);
        let request = AcquireLocksRequest { wait: mesh_tests::seconds(1), ..lock(&[target]) };
        if let Acquired::Granted(locks) = session.acquire(request).await? {
            session.put(overwrite("victim", &dice.number().to_string())).await?;
            pause(Duration::from_millis(dice.among(0..200))).await;
            session.release(locks.into_iter().map(|lock| lock.path).collect()).await?;
        }
    }
}

/// How a victim is started: this program, with a subcommand.
#[derive(Clone, Debug)]
pub struct Victims {
    program: PathBuf,
}

impl Victims {
    /// Victims that run this program.
    #[must_use]
    pub fn of(program: PathBuf) -> Self {
        Self { program }
    }

    pub(crate) fn start(&self, mesh: &Mesh, number: u64, dice: &mut Dice) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command.arg("victim").arg(mesh.path()).arg(format!("victim-{}", number % 3));
        command.arg(dice.number().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        command.spawn().with_context(|| format!("cannot start {}", self.program.display()))
    }
}
