//! Peers on the wire.

use std::collections::BTreeSet;

use mesh_core::Rejection;
use mesh_core::command::{Join, Update};
use mesh_core::event::PeerField;
use mesh_core::id::{PeerName, ResumeKey, ScopeId};
use mesh_core::limits;
use mesh_core::pattern::Pattern;
use mesh_core::record::{Activity, ChildAgent, PeerInfo, PeerRecord};
use mesh_core::time::WallTime;
use mesh_proto::v1 as pb;

use super::{at_most, duration, few_globs, paths, span, text, timestamp, unless_empty};
use crate::ids::Ids;

/// The names of the fields of `PeerInfo`, as an update mask spells them.
const INFO_FIELDS: [&str; 12] = [
    "agent_kind",
    "agent_version",
    "host",
    "pid",
    "worktree",
    "branch",
    "head",
    "focus",
    "files",
    "activity",
    "wake",
    "children",
];

/// What a Join asks, with fresh ids.
pub(crate) fn join(request: pb::JoinRequest, allowed: Pattern, ids: &Ids) -> Result<Join, Rejection> {
    let ttl = span("lease_ttl", request.lease_ttl, limits::LEASE_TTL)?;
    Ok(Join {
        scope: ScopeId::parse(&request.scope)?,
        name: unless_empty(&request.name, PeerName::parse)?,
        allowed,
        resume_key: unless_empty(&request.resume_key, ResumeKey::parse)?,
        info: info(request.info.unwrap_or_default())?,
        ttl: ttl.unwrap_or(limits::LEASE_TTL_DEFAULT),
        session: ids.session(),
        name_seed: ids.name_seed(),
    })
}

/// What an UpdatePeer asks: the fields that its mask names, and only those are looked at.
pub(crate) fn update(request: pb::UpdatePeerRequest) -> Result<Update, Rejection> {
    let ttl = span("lease_ttl", request.lease_ttl, limits::LEASE_TTL)?;
    let mask = request.update_mask.unwrap_or_default().paths;
    let mask: BTreeSet<&str> = mask.iter().map(String::as_str).collect();
    if mask.is_empty() && ttl.is_none() {
        return Err(Rejection::invalid("update_mask", "is empty; name the fields to change, or `*`"));
    }
    if !mask.iter().all(|name| *name == "*" || INFO_FIELDS.contains(name)) {
        let problem = format!("may name only `*`, {}", INFO_FIELDS.join(", "));
        return Err(Rejection::invalid("update_mask", problem));
    }
    let named = |field: &str| mask.contains("*") || mask.contains(field);
    let given = request.info.unwrap_or_default();
    let pick = |field: &str, value: String| if named(field) { value } else { String::new() };
    let given = pb::PeerInfo {
        agent_kind: pick("agent_kind", given.agent_kind),
        agent_version: pick("agent_version", given.agent_version),
        host: pick("host", given.host),
        pid: given.pid,
        worktree: pick("worktree", given.worktree),
        branch: pick("branch", given.branch),
        head: pick("head", given.head),
        focus: pick("focus", given.focus),
        files: if named("files") { given.files } else { Vec::new() },
        activity: if named("activity") { given.activity } else { 0 },
        wake: pick("wake", given.wake),
        children: if named("children") { given.children } else { Vec::new() },
    };
    let parsed = info(given)?;
    Ok(Update {
        agent_kind: named("agent_kind").then_some(parsed.agent_kind),
        agent_version: named("agent_version").then_some(parsed.agent_version),
        host: named("host").then_some(parsed.host),
        pid: named("pid").then_some(parsed.pid),
        worktree: named("worktree").then_some(parsed.worktree),
        branch: named("branch").then_some(parsed.branch),
        head: named("head").then_some(parsed.head),
        focus: named("focus").then_some(parsed.focus),
        files: named("files").then_some(parsed.files),
        activity: named("activity").then_some(parsed.activity),
        wake: named("wake").then_some(parsed.wake),
        children: named("children").then_some(parsed.children),
        ttl,
    })
}

fn info(info: pb::PeerInfo) -> Result<PeerInfo, Rejection> {
    Ok(PeerInfo {
        agent_kind: text("info.agent_kind", info.agent_kind, limits::SHORT_TEXT_BYTES)?,
        agent_version: text("info.agent_version", info.agent_version, limits::SHORT_TEXT_BYTES)?,
        host: text("info.host", info.host, limits::NAME_TEXT_BYTES)?,
        pid: info.pid,
        worktree: text("info.worktree", info.worktree, limits::WORKTREE_BYTES)?,
        branch: text("info.branch", info.branch, limits::NAME_TEXT_BYTES)?,
        head: text("info.head", info.head, limits::SHORT_TEXT_BYTES)?,
        focus: text("info.focus", info.focus, limits::SENTENCE_BYTES)?,
        files: few_globs("info.files", &info.files, limits::PEER_FILES)?,
        activity: activity(info.activity)?,
        wake: text("info.wake", info.wake, limits::WAKE_BYTES)?,
        children: children(info.children)?,
    })
}

fn activity(value: i32) -> Result<Activity, Rejection> {
    match pb::PeerActivity::try_from(value) {
        Ok(pb::PeerActivity::Unspecified) => Ok(Activity::Unknown),
        Ok(pb::PeerActivity::Working) => Ok(Activity::Working),
        Ok(pb::PeerActivity::Idle) => Ok(Activity::Idle),
        Err(_) => Err(Rejection::invalid("info.activity", format!("has no value {value}"))),
    }
}

fn children(children: Vec<pb::ChildAgent>) -> Result<Vec<ChildAgent>, Rejection> {
    at_most("info.children", children.len(), limits::CHILDREN)?;
    let mut ids = BTreeSet::new();
    for child in &children {
        if child.id.is_empty() {
            return Err(Rejection::invalid("info.children.id", "is empty"));
        }
        if !ids.insert(child.id.as_str()) {
            return Err(Rejection::invalid("info.children.id", "is that of another one too"));
        }
    }
    let child = |child: pb::ChildAgent| {
        Ok(ChildAgent {
            id: text("info.children.id", child.id, limits::CHILD_ID_BYTES)?,
            kind: text("info.children.kind", child.kind, limits::SHORT_TEXT_BYTES)?,
            focus: text("info.children.focus", child.focus, limits::SENTENCE_BYTES)?,
        })
    };
    children.into_iter().map(child).collect()
}

/// A peer; `last_heard` counts while it is online.
pub(crate) fn peer(peer: &PeerRecord, last_heard: WallTime) -> pb::Peer {
    let session = peer.session.as_ref();
    let status = if session.is_some() { pb::PeerStatus::Online } else { pb::PeerStatus::Offline };
    let ended = peer.ended.as_ref().map_or(peer.joined, |end| end.wall);
    let last_seen = if session.is_some() { last_heard } else { ended };
    pb::Peer {
        scope: peer.scope.to_string(),
        name: peer.name.to_string(),
        info: Some(info_to_wire(&peer.info)),
        status: status.into(),
        session_id: session.map(|session| session.id.to_string()).unwrap_or_default(),
        join_time: Some(timestamp(session.map_or(peer.joined, |session| session.joined))),
        last_seen_time: Some(timestamp(last_seen)),
        lease_ttl: session.map(|session| duration(session.ttl)),
        topics: peer.topics.keys().map(ToString::to_string).collect(),
    }
}

fn info_to_wire(info: &PeerInfo) -> pb::PeerInfo {
    pb::PeerInfo {
        agent_kind: info.agent_kind.clone(),
        agent_version: info.agent_version.clone(),
        host: info.host.clone(),
        pid: info.pid,
        worktree: info.worktree.clone(),
        branch: info.branch.clone(),
        head: info.head.clone(),
        focus: info.focus.clone(),
        files: paths(&info.files),
        activity: activity_to_wire(info.activity).into(),
        wake: info.wake.clone(),
        children: info.children.iter().map(child_to_wire).collect(),
    }
}

/// Whether an agent is at work.
pub(crate) fn activity_to_wire(activity: Activity) -> pb::PeerActivity {
    match activity {
        Activity::Unknown => pb::PeerActivity::Unspecified,
        Activity::Working => pb::PeerActivity::Working,
        Activity::Idle => pb::PeerActivity::Idle,
    }
}

/// A sub-agent.
pub(crate) fn child_to_wire(child: &ChildAgent) -> pb::ChildAgent {
    pb::ChildAgent { id: child.id.clone(), kind: child.kind.clone(), focus: child.focus.clone() }
}

/// The name of something that a peer may change: as an update mask spells it, or of a field of `Peer`.
pub(crate) fn field(field: PeerField) -> &'static str {
    match field {
        PeerField::AgentKind => "agent_kind",
        PeerField::AgentVersion => "agent_version",
        PeerField::Host => "host",
        PeerField::Pid => "pid",
        PeerField::Worktree => "worktree",
        PeerField::Branch => "branch",
        PeerField::Head => "head",
        PeerField::Focus => "focus",
        PeerField::Files => "files",
        PeerField::Activity => "activity",
        PeerField::Wake => "wake",
        PeerField::Children => "children",
        PeerField::LeaseTtl => "lease_ttl",
        PeerField::Topics => "topics",
    }
}

/// Roughly how many bytes a peer takes in an answer.
pub(crate) fn peer_size(peer: &PeerRecord) -> usize {
    let files: usize = peer.info.files.iter().map(|file| file.as_str().len() + 4).sum();
    let child = |child: &ChildAgent| child.id.len() + child.kind.len() + child.focus.len() + 12;
    let children: usize = peer.info.children.iter().map(child).sum();
    files + children + peer.info.worktree.len() + peer.info.focus.len() + peer.info.branch.len() + 256
}
