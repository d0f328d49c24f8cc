//! `meshctl status`: how the broker is, and what to do if something is wrong.

mod findings;

use std::path::Path;

use mesh_client::display::printable_line;
use mesh_client::proto::{GetStatusRequest, GetStatusResponse, Vitals};
use mesh_client::{Client, ClientError, Home};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

pub(crate) use self::findings::Finding;
use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::exit::Exit;
use crate::json;
use crate::render::bytes;
use crate::time::Clock;

/// Show how the broker is and what is wrong, if anything; exit code 3 if none runs
///
/// Does not start one. With --probe the broker proves that it works: it writes and reads something that nobody sees.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl status --json | jq .findings
  meshctl status --probe")]
pub(crate) struct Args {
    /// Have the broker write to its store and read it back; exit code 1 if it cannot
    #[arg(long)]
    probe: bool,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
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
    let works = if args.probe { Some(works(&client).await?) } else { None };
    let log = log_path(&status);
    let findings = findings::of(&status, env!("CARGO_PKG_VERSION"));
    if ctx.out.is_json() {
        ctx.out.json(&json::Status::new(&status, log, works, &findings))?;
    } else {
        ctx.out.text(&lines(ctx, &status, log.as_deref(), works, &findings))?;
    }
    if works == Some(false) {
        let message = "the broker does not write and read, or takes too long for it";
        return Err(CliError::new(Exit::Failure, "NOT_SERVING", message)
            .hint("look at its log and its disk; what was acknowledged is safe, and a restart finds out"));
    }
    Ok(())
}

/// Whether the broker writes and reads.
async fn works(client: &Client) -> Result<bool, CliError> {
    let check = |c: Client| async move { c.health().check(HealthCheckRequest::default()).await };
    Ok(client.call(check).await?.status() == ServingStatus::Serving)
}

/// Where a broker that a client started logs; what others do with stderr is not known.
fn log_path(status: &GetStatusResponse) -> Option<String> {
    let home = Path::new(&status.store_path).parent().filter(|_| status.auto_started)?;
    Some(Home::at(home).ok()?.log_path().display().to_string())
}

fn lines(
    ctx: &Context,
    status: &GetStatusResponse,
    log: Option<&str>,
    works: Option<bool>,
    findings: &[Finding],
) -> String {
    let mut rows = about(status);
    rows.extend(status.vitals.iter().flat_map(work));
    rows.extend(log.map(|log| ("log", printable_line(log).into_owned())));
    rows.extend(works.map(|works| ("probe", if works { "writes and reads" } else { "fails" }.to_owned())));
    let mut text: String = rows
        .iter()
        .map(|(name, value)| format!("{}  {value}\n", ctx.out.paint().dim(&format!("{name:<8}"))))
        .collect();
    if !findings.is_empty() {
        text.push_str("\nneeds attention\n");
        text.extend(findings.iter().map(Finding::lines));
    }
    text
}

fn about(status: &GetStatusResponse) -> Vec<(&'static str, String)> {
    let up = Clock::local().since(status.start_time.as_ref()).map(duration::show).unwrap_or_default();
    let idle = match status.idle_exit.as_ref() {
        Some(idle) => {
            format!("ends {} after its last peer", duration::show(duration::from_proto(Some(idle))))
        }
        None => "stays until it is stopped".to_owned(),
    };
    let started = if status.auto_started { "started by a client" } else { "started by hand" };
    let revision = status.header.as_ref().map_or(0, |header| header.revision);
    let free = status.vitals.as_ref().and_then(|vitals| vitals.free_bytes);
    let free = free.map(|free| format!(", {} free", bytes(free))).unwrap_or_default();
    vec![
        ("broker", format!("version {}, pid {}, up {up}", printable_line(&status.version), status.pid)),
        ("lifetime", format!("{started}; {idle}")),
        ("listens", printable_line(&status.endpoints.join("  ")).into_owned()),
        ("store", format!("{}, {}{free}", printable_line(&status.store_path), bytes(status.store_bytes))),
        ("revision", format!("{revision}, events kept from {}", status.oldest_revision)),
        ("peers", format!("{} online of {} known", status.peers_online, status.peers_known)),
        ("scopes", status.scopes.to_string()),
        ("locks", status.locks.to_string()),
        ("entries", status.entries.to_string()),
        ("messages", status.messages.to_string()),
        ("watches", status.watches.to_string()),
    ]
}

fn work(vitals: &Vitals) -> Vec<(&'static str, String)> {
    let took = |span: Option<&_>| findings::millis(duration::from_proto(span));
    let commits = match vitals.commits {
        0 => "none yet".to_owned(),
        count => format!(
            "{count}, the last took {}, the slowest {}",
            took(vitals.last_commit.as_ref()),
            took(vitals.longest_commit.as_ref())
        ),
    };
    let memory = vitals.resident_bytes.map(|resident| format!("{} of memory, ", bytes(resident)));
    let files = vitals.open_files.map(|open| format!("{open} open files")).unwrap_or_default();
    let mut rows = vec![
        ("commits", commits),
        (
            "load",
            format!(
                "{} waiting for the disk, {} for locks; slowest stream {} behind",
                vitals.queue_depth, vitals.waiters, vitals.watch_lag
            ),
        ),
        ("process", format!("{}{files}, {} connections", memory.unwrap_or_default(), vitals.connections)),
    ];
    for (name, endpoint) in [("metrics", &vitals.metrics_endpoint), ("otlp", &vitals.otlp_endpoint)] {
        if !endpoint.is_empty() {
            rows.push((name, printable_line(endpoint).into_owned()));
        }
    }
    rows
}
