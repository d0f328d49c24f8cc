//! `meshctl who`: who is here.

use mesh_client::display::printable_line;
use mesh_client::proto::{ChildAgent, Peer, PeerStatus};
use serde::Serialize;

use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::json;
use crate::list;
use crate::output::Paint;
use crate::render::table::{Cell, table};
use crate::render::{activity, agent, quoted};
use crate::time::Clock;

/// How much of the id of a sub-agent is shown.
const CHILD_ID_CHARS: usize = 16;

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
    ctx.out.text(&families_table(ctx.out.paint(), &Clock::local(), &found.peers, args.all_scopes))
}

/// Peers as a table.
pub(crate) fn peers_table(paint: Paint, clock: &Clock, peers: &[Peer], with_scope: bool) -> String {
    let rows: Vec<_> = peers.iter().map(|peer| row(clock, peer, with_scope)).collect();
    table(paint, &heading(with_scope), &rows)
}

/// Peers as a table, each with its sub-agents beneath it.
fn families_table(paint: Paint, clock: &Clock, peers: &[Peer], with_scope: bool) -> String {
    let mut rows = Vec::new();
    for peer in peers {
        rows.push(row(clock, peer, with_scope));
        let children = peer.info.iter().flat_map(|info| &info.children);
        rows.extend(children.map(|child| child_row(child, with_scope)));
    }
    table(paint, &heading(with_scope), &rows)
}

fn heading(with_scope: bool) -> Vec<&'static str> {
    let mut heading = vec!["NAME", "AGENT", "BRANCH", "IS", "SEEN", "FOCUS"];
    if with_scope {
        heading.insert(0, "SCOPE");
    }
    heading
}

fn child_row(child: &ChildAgent, with_scope: bool) -> Vec<Cell> {
    let id: String = child.id.chars().take(CHILD_ID_CHARS).collect();
    let cut = if id.len() < child.id.len() { "…" } else { "" };
    let mut row = vec![
        Cell::plain(format!("└ {}{cut}", printable_line(&id))),
        Cell::plain(printable_line(&child.kind)),
        Cell::plain(""),
        Cell::plain(""),
        Cell::plain(""),
        Cell::plain(quoted(&child.focus)),
    ];
    if with_scope {
        row.insert(0, Cell::plain(""));
    }
    row
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
        Cell::plain(activity(info.activity())),
        Cell::dim(seen),
        Cell::plain(quoted(&info.focus)),
    ];
    if with_scope {
        row.insert(0, Cell::dim(printable_line(&peer.scope)));
    }
    row
}

#[cfg(test)]
mod tests {
    use mesh_client::proto::{PeerActivity, PeerInfo};
    use prost_types::Timestamp;

    use super::*;

    fn child(id: &str, kind: &str, focus: &str) -> ChildAgent {
        ChildAgent { id: id.into(), kind: kind.into(), focus: focus.into() }
    }

    #[test]
    fn sub_agents_stand_beneath_their_peer() {
        let clock = Clock::at(jiff::Timestamp::new(1_000, 0).unwrap());
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let peer = |name: &str, status: PeerStatus, info: PeerInfo| Peer {
            scope: "app".into(),
            name: name.into(),
            info: Some(info),
            status: status.into(),
            last_seen_time: at(997),
            ..Peer::default()
        };
        let fox = PeerInfo {
            agent_kind: "claude-code".into(),
            branch: "main".into(),
            focus: "the login".into(),
            activity: PeerActivity::Working.into(),
            children: vec![
                child("explore", "general-purpose", "where tokens expire"),
                child("\u{1b}[2J-a-rather-long-one", "a\nb", "\" left"),
            ],
            ..PeerInfo::default()
        };
        let owl = PeerInfo { activity: PeerActivity::Idle.into(), ..PeerInfo::default() };
        let peers = [
            peer("amber-fox", PeerStatus::Online, fox),
            peer("birch-owl", PeerStatus::Online, owl),
            peer("calm-elk", PeerStatus::Offline, PeerInfo::default()),
        ];
        insta::assert_snapshot!(families_table(Paint::plain(), &clock, &peers, false), @r#"
        NAME                 AGENT            BRANCH  IS       SEEN     FOCUS
        amber-fox            claude-code      main    working  3s       "the login"
        └ explore            general-purpose                            "where tokens expire"
        └ ␛[2J-a-rather-lo…  a␊b                                        "\" left"
        birch-owl                                     idle     3s
        calm-elk                                               away 3s
        "#);
        insta::assert_snapshot!(families_table(Paint::plain(), &clock, &peers[..1], true), @r#"
        SCOPE  NAME                 AGENT            BRANCH  IS       SEEN  FOCUS
        app    amber-fox            claude-code      main    working  3s    "the login"
               └ explore            general-purpose                         "where tokens expire"
               └ ␛[2J-a-rather-lo…  a␊b                                     "\" left"
        "#);
        insta::assert_snapshot!(peers_table(Paint::plain(), &clock, &peers[..1], false), @r#"
        NAME       AGENT        BRANCH  IS       SEEN  FOCUS
        amber-fox  claude-code  main    working  3s    "the login"
        "#);
    }
}
