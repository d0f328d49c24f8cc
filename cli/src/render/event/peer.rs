//! What is told of peers.

use anstyle::AnsiColor;
use mesh_client::display::printable_line;
use mesh_client::proto::{ChildAgent, LeaveCause, Peer, PeerActivity, PeerInfo, PeerLeft, PeerUpdated};

use super::{Said, paths};
use crate::render::{agent, child, quoted};

/// What of a peer's description a line shows.
const SHOWN: [&str; 5] = ["agent_kind", "agent_version", "branch", "files", "focus"];
/// Sub-agents named in a line.
const CHILDREN: usize = 3;

/// A peer with what it is and does.
pub(super) fn is<'a>(peer: Option<&'a Peer>, verb: &'static str, color: AnsiColor) -> Said<'a> {
    let what = peer.and_then(|peer| peer.info.as_ref()).map(doing).unwrap_or_default();
    Said { who: peer.map_or("", |peer| &peer.name), verb, color, what }
}

fn doing(info: &PeerInfo) -> Vec<String> {
    let branch =
        if info.branch.is_empty() { String::new() } else { format!("on {}", printable_line(&info.branch)) };
    let files = paths(&info.files);
    vec![agent(info), branch, files, quoted(&info.focus)]
}

pub(super) fn left(event: &PeerLeft) -> Said<'_> {
    let why = match event.cause() {
        LeaveCause::Unspecified | LeaveCause::Left => "",
        LeaveCause::Expired => "(its lease ran out)",
        LeaveCause::Disconnected => "(its process is gone)",
        LeaveCause::Replaced => "(it joined anew)",
        LeaveCause::Revoked => "(its token is over)",
    };
    Said { who: &event.name, verb: "left", color: AnsiColor::Red, what: vec![why.to_owned()] }
}

/// Whether something changed that is in the description of a peer; an old broker does not tell.
pub(super) fn describes_itself_anew(event: &PeerUpdated) -> bool {
    event.changed.is_empty() || event.changed.iter().any(|name| SHOWN.contains(&name.as_str()))
}

/// What a peer began or ended to do, without all that it is.
pub(super) fn news(event: &PeerUpdated) -> Vec<Said<'_>> {
    let Some(peer) = &event.peer else { return Vec::new() };
    let Some(info) = &peer.info else { return Vec::new() };
    let said = |verb, color, what| Said { who: &peer.name, verb, color, what };
    let mut news = Vec::new();
    if event.changed.iter().any(|name| name == "activity") {
        match info.activity() {
            PeerActivity::Unspecified => {}
            PeerActivity::Working => news.push(said("is working", AnsiColor::White, Vec::new())),
            PeerActivity::Idle => news.push(said("is idle", AnsiColor::White, Vec::new())),
        }
    }
    let is_new = |child: &&ChildAgent| event.started_children.contains(&child.id);
    let started: Vec<_> = info.children.iter().filter(is_new).collect();
    if !started.is_empty() {
        news.push(said("started", AnsiColor::White, sub_agents(&started)));
    }
    let ended: Vec<_> = event.ended_children.iter().collect();
    if !ended.is_empty() {
        news.push(said("ended", AnsiColor::White, sub_agents(&ended)));
    }
    news
}

/// `a sub-agent: explore  "where tokens expire"`, or `4 sub-agents: explore, plan, explore +1`.
fn sub_agents(children: &[&ChildAgent]) -> Vec<String> {
    if let [only] = children {
        return vec![format!("a sub-agent: {}", child(only)), quoted(&only.focus)];
    }
    let named: Vec<_> = children.iter().take(CHILDREN).map(|one| child(one)).collect();
    let more = children.len() - named.len();
    let rest = if more > 0 { format!(" +{more}") } else { String::new() };
    vec![format!("{} sub-agents: {}{rest}", children.len(), named.join(", "))]
}
