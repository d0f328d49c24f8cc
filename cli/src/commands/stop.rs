//! `meshctl stop`: ends the broker.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::Duration;

use mesh_client::proto::{GetStatusRequest, GetStatusResponse, StopRequest};
use mesh_client::{Client, ClientError, Home};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;

/// How long the broker may take to flush and go. Less than clients wait for `start.lock`.
const GONE_WITHIN: Duration = Duration::from_secs(15);

/// End the broker, and wait until it is gone
///
/// Nothing is lost: the next command starts it again, and what follows events goes on where it was. Does nothing
/// if none runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  meshctl stop && meshctl fsck")]
pub(crate) struct Args {}

#[derive(Serialize)]
struct Answer {
    stopped: bool,
    pid: Option<u32>,
}

pub(crate) async fn run(ctx: &Context, _: Args) -> Result<(), CliError> {
    told(ctx, broker(&ctx.client_of_running()?).await?)
}

/// Ends the broker, waits until it is gone, and returns its process id; nothing if none runs.
pub(super) async fn broker(client: &Client) -> Result<Option<u32>, CliError> {
    let status = client.call(|c| async move { c.admin().get_status(GetStatusRequest {}).await }).await;
    let status = match status {
        Ok(status) => status,
        Err(ClientError::Unreachable { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let home = home_of(&status)?;
    // Clients that notice the end at once wait here, instead of starting the next broker before this one is gone.
    let starting = lock_within(&home.start_lock_path()).await;
    client.call(|c| async move { c.admin().stop(StopRequest {}).await }).await?;
    lock_within(&home.broker_lock_path()).await.map_err(|error| {
        let message = format!("the broker (pid {}) is ending, but not gone yet: {error}", status.pid);
        CliError::new(Exit::Timeout, "TIMEOUT", message).hint("see its log, broker.log in its home")
    })?;
    drop(starting);
    Ok(Some(status.pid))
}

fn told(ctx: &Context, pid: Option<u32>) -> Result<(), CliError> {
    if ctx.out.is_json() {
        return ctx.out.json(&Answer { stopped: pid.is_some(), pid });
    }
    match pid {
        Some(pid) => ctx.out.text(&format!("stopped the broker (pid {pid})\n")),
        None => ctx.out.text("no broker runs\n"),
    }
}

/// The home of the broker that answered, which need not be this program's.
fn home_of(status: &GetStatusResponse) -> Result<Home, CliError> {
    let store = Path::new(&status.store_path);
    Ok(Home::at(store.parent().unwrap_or(store))?)
}

/// Waits for the lock of a file, which lasts as long as the result. In a thread of its own, as there is no other
/// way to give up waiting.
async fn lock_within(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).open(path)?;
    let (done, locked) = oneshot::channel();
    std::thread::Builder::new().name("mesh-wait".into()).spawn(move || {
        let locked = file.lock().map(|()| file);
        // A lock that comes too late is dropped here.
        drop(done.send(locked));
    })?;
    match tokio::time::timeout(GONE_WITHIN, locked).await {
        Ok(Ok(locked)) => locked,
        Ok(Err(_)) => Err(io::Error::other("the waiting thread is gone")),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it still holds its lock after 15 s")),
    }
}
