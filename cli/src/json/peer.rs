//! Peers as JSON.

use mesh_client::proto;
use serde::Serialize;

use super::{seconds, time, word};

/// A peer.
#[derive(Debug, Serialize)]
pub(crate) struct Peer<'a> {
    scope: &'a str,
    name: &'a str,
    info: PeerInfo<'a>,
    status: String,
    session_id: &'a str,
    join_time: Option<String>,
    last_seen_time: Option<String>,
    lease_ttl_seconds: Option<f64>,
    topics: &'a [String],
}

#[derive(Debug, Default, Serialize)]
struct PeerInfo<'a> {
    agent_kind: &'a str,
    agent_version: &'a str,
    host: &'a str,
    pid: u32,
    worktree: &'a str,
    branch: &'a str,
    head: &'a str,
    focus: &'a str,
    files: &'a [String],
    activity: String,
    wake: &'a str,
    children: Vec<ChildAgent<'a>>,
}

/// A sub-agent that acts as its peer.
#[derive(Debug, Serialize)]
pub(crate) struct ChildAgent<'a> {
    id: &'a str,
    kind: &'a str,
    focus: &'a str,
}

impl<'a> From<&'a proto::ChildAgent> for ChildAgent<'a> {
    fn from(child: &'a proto::ChildAgent) -> Self {
        Self { id: &child.id, kind: &child.kind, focus: &child.focus }
    }
}

impl<'a> From<&'a proto::Peer> for Peer<'a> {
    fn from(peer: &'a proto::Peer) -> Self {
        Self {
            scope: &peer.scope,
            name: &peer.name,
            info: peer.info.as_ref().map(PeerInfo::from).unwrap_or_default(),
            status: word(peer.status().as_str_name(), "PEER_STATUS_"),
            session_id: &peer.session_id,
            join_time: time(peer.join_time.as_ref()),
            last_seen_time: time(peer.last_seen_time.as_ref()),
            lease_ttl_seconds: seconds(peer.lease_ttl.as_ref()),
            topics: &peer.topics,
        }
    }
}

impl<'a> From<&'a proto::PeerInfo> for PeerInfo<'a> {
    fn from(info: &'a proto::PeerInfo) -> Self {
        Self {
            agent_kind: &info.agent_kind,
            agent_version: &info.agent_version,
            host: &info.host,
            pid: info.pid,
            worktree: &info.worktree,
            branch: &info.branch,
            head: &info.head,
            focus: &info.focus,
            files: &info.files,
            activity: word(info.activity().as_str_name(), "PEER_ACTIVITY_"),
            wake: &info.wake,
            children: info.children.iter().map(ChildAgent::from).collect(),
        }
    }
}
