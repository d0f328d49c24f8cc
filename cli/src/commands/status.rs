//! `meshctl status`: how the broker is.

use mesh_client::ClientError;
use mesh_client::display::printable_line;
use mesh_client::proto::{GetStatusRequest, GetStatusResponse};

use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::exit::Exit;
use crate::json;
use crate::output;
use crate::render::bytes;
use crate::time::Clock;

/// Show how the broker is; exit code 3 if none runs
///
/// Does not start one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  meshctl status --json | jq .revision")]
pub(crate) struct Args {}

pub(crate) async fn run(ctx: &Context, _: Args) -> Result<(), CliError> {
    let client = ctx.client_of_running()?;
    let status = client.call(|c| async move { c.admin().get_status(GetStatusRequest {}).await }).await;
    let status = match status {
        Ok(status) => status,
        Err(ClientError::Unreachable { endpoint, cause }) => {
            let message = format!("no broker runs at {endpoint} ({cause})");
            return Err(CliError::new(Exit::NoBroker, "NOT_RUNNING", message)
                .hint("the next command that needs one starts it: `meshctl who`, say"));
        }
        Err(error) => return Err(error.into()),
    };
    if ctx.out.is_json() {
        return ctx.out.json(&json::Status::from(&status));
    }
    ctx.out.text(&lines(ctx, &status))?;
    if status.version != env!("CARGO_PKG_VERSION") {
        output::note(format_args!(
            "hint: this is meshctl {}; `meshctl stop` lets the next command start a broker of the same version",
            env!("CARGO_PKG_VERSION")
        ));
    }
    Ok(())
}

fn lines(ctx: &Context, status: &GetStatusResponse) -> String {
    let up = Clock::local().since(status.start_time.as_ref()).map(duration::show).unwrap_or_default();
    let idle = match status.idle_exit.as_ref() {
        Some(idle) => {
            format!("ends {} after its last peer", duration::show(duration::from_proto(Some(idle))))
        }
        None => "stays until it is stopped".to_owned(),
    };
    let started = if status.auto_started { "started by a client" } else { "started by hand" };
    let revision = status.header.as_ref().map_or(0, |header| header.revision);
    let rows = [
        ("broker", format!("version {}, pid {}, up {up}", printable_line(&status.version), status.pid)),
        ("lifetime", format!("{started}; {idle}")),
        ("listens", printable_line(&status.endpoints.join("  ")).into_owned()),
        ("store", format!("{}, {}", printable_line(&status.store_path), bytes(status.store_bytes))),
        ("revision", format!("{revision}, events kept from {}", status.oldest_revision)),
        ("peers", format!("{} online of {} known", status.peers_online, status.peers_known)),
        ("scopes", status.scopes.to_string()),
        ("locks", status.locks.to_string()),
        ("entries", status.entries.to_string()),
        ("messages", status.messages.to_string()),
        ("watches", status.watches.to_string()),
    ];
    rows.iter()
        .map(|(name, value)| format!("{}  {value}\n", ctx.out.paint().dim(&format!("{name:<8}"))))
        .collect()
}
