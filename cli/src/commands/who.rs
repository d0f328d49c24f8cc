//! `meshctl who`: who is here.

use mesh_client::display::printable_line;
use mesh_client::proto::{Peer, PeerStatus};
use serde::Serialize;

use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::json;
use crate::list;
use crate::output::Paint;
use crate::render::table::{Cell, table};
use crate::render::{agent, quoted};
use crate::time::Clock;

/// Show who is here, and what they are doing
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  meshctl who --all          also those who are away")]
pub(crate) struct Args {
    /// Also peers that are away
    #[arg(long)]
    all: bool,

    /// Of every project
    #[arg(long)]
    all_scopes: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    revision: u64,
    peers: Vec<json::Peer<'a>>,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let scope = ctx.scope_or_all(args.all_scopes)?;
    let found = list::peers(&ctx.client()?, scope, args.all).await?;
    if ctx.out.is_json() {
        let peers = found.peers.iter().map(json::Peer::from).collect();
        return ctx.out.json(&Answer { revision: found.revision, peers });
    }
    if found.peers.is_empty() {
        return ctx.out.text("nobody is here\n");
    }
    ctx.out.text(&peers_table(ctx.out.paint(), &Clock::local(), &found.peers, args.all_scopes))
}

/// Peers as a table.
pub(crate) fn peers_table(paint: Paint, clock: &Clock, peers: &[Peer], with_scope: bool) -> String {
    let mut heading = vec!["NAME", "AGENT", "BRANCH", "SEEN", "FOCUS"];
    if with_scope {
        heading.insert(0, "SCOPE");
    }
    let rows: Vec<_> = peers.iter().map(|peer| row(clock, peer, with_scope)).collect();
    table(paint, &heading, &rows)
}

fn row(clock: &Clock, peer: &Peer, with_scope: bool) -> Vec<Cell> {
    let info = peer.info.clone().unwrap_or_default();
    let ago = clock.since(peer.last_seen_time.as_ref()).map(duration::show).unwrap_or_default();
    let seen = match peer.status() {
        PeerStatus::Online => ago,
        PeerStatus::Unspecified | PeerStatus::Offline => format!("away {ago}"),
    };
    let mut row = vec![
        Cell::name(&peer.name),
        Cell::plain(agent(&info)),
        Cell::plain(printable_line(&info.branch)),
        Cell::dim(seen),
        Cell::plain(quoted(&info.focus)),
    ];
    if with_scope {
        row.insert(0, Cell::dim(printable_line(&peer.scope)));
    }
    row
}
