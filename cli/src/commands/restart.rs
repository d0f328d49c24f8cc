//! `meshctl restart`: the same mesh, served by this program.

use mesh_client::proto::{GetStatusRequest, GetStatusResponse};
use mesh_client::{Client, ClientError};
use serde::Serialize;

use super::stop;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;

/// Let this version of the program serve: end the broker and start it again
///
/// The way to take a newer version into use. Calls in flight are answered, sessions, locks, mail and streams go on
/// where they were, and clients notice at most a short wait. Starts a broker if none runs. One that a service manager
/// keeps is left to it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  meshctl restart")]
pub(crate) struct Args {}

#[derive(Serialize)]
struct Answer<'a> {
    pid: u32,
    version: &'a str,
    revision: u64,
    former_pid: Option<u32>,
    former_version: Option<&'a str>,
}

pub(crate) async fn run(ctx: &Context, _: Args) -> Result<(), CliError> {
    let running = ctx.client_of_running()?;
    let former = match status(&running).await {
        Ok(former) => Some(former),
        Err(ClientError::Unreachable { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(former) = &former {
        if !former.auto_started {
            let message = format!("the broker (pid {}) was not started by a client", former.pid);
            return Err(CliError::new(Exit::Failure, "NOT_AUTO_STARTED", message)
                .hint("restart it where it was started: `systemctl --user restart mesh`, say"));
        }
        stop::broker(&running).await?;
    }
    let served = status(&ctx.client()?).await?;
    told(ctx, former.as_ref(), &served)
}

async fn status(client: &Client) -> Result<GetStatusResponse, ClientError> {
    client.call(|c| async move { c.admin().get_status(GetStatusRequest {}).await }).await
}

fn told(
    ctx: &Context,
    former: Option<&GetStatusResponse>,
    served: &GetStatusResponse,
) -> Result<(), CliError> {
    if ctx.out.is_json() {
        return ctx.out.json(&Answer {
            pid: served.pid,
            version: &served.version,
            revision: served.header.as_ref().map_or(0, |header| header.revision),
            former_pid: former.map(|former| former.pid),
            former_version: former.map(|former| former.version.as_str()),
        });
    }
    let now = format!("pid {}, version {}", served.pid, served.version);
    ctx.out.text(&match former {
        Some(former) => {
            format!("restarted the broker (pid {}, version {}): {now}\n", former.pid, former.version)
        }
        None => format!("started a broker: {now}\n"),
    })
}
