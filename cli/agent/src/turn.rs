//! Beginning and end of turns, sub-agents and sessions.
//!
//! What must hold: a turn is held up at most once for each message and each request, so that no agent is kept at work
//! for ever; locks that hooks took end with the turn, those of the agent do not.

use std::collections::{BTreeMap, BTreeSet};

use mesh_client::agent::Membership;
use mesh_client::proto::{
    ChildAgent, ListMessagesRequest, ListReleaseRequestsRequest, Message, MessageIntent, PeerActivity,
    PeerInfo, ReleaseRequest, TouchFilesRequest,
};
use mesh_client::{JoinOptions, Liveness, Session};
use mesh_hook::{End, Reply};

use crate::desk::Desk;
use crate::problem::Problem;
use crate::{news, touched, wake};

/// Children that the contract takes.
const CHILDREN: usize = 32;
/// Things that a turn was held up for, as remembered.
const HELD_UP: usize = 500;

/// The user has said something.
pub(crate) async fn begins(desk: &Desk) -> Result<Reply, Problem> {
    let sessions = desk.sessions().await?;
    let (at_work, news) = tokio::join!(
        activity(desk, &sessions, PeerActivity::Working),
        news::since_the_last_look(desk, &sessions)
    );
    // News are noted as shown by now; that the agent works is told by its next turn, if not by this one.
    let revision = at_work.unwrap_or_else(|problem| {
        tracing::warn!(%problem, "that the agent works stays untold");
        0
    });
    for session in &sessions {
        let begin = |member: &mut Membership| {
            member.working = true;
            member.turn = member.turn.max(revision);
            member.unclean = None;
            // Those that still run show themselves with their next tool; those that were interrupted do not.
            member.children.clear();
        };
        desk.kept.change(&session.scope(), begin).await?;
    }
    Ok(Reply { context: news?, ..Reply::default() })
}

/// The agent wants to end its turn.
pub(crate) async fn ends(desk: &Desk) -> Result<Reply, Problem> {
    let sessions = desk.sessions().await?;
    if desk.host().takes_go_on() && !has_children(desk) {
        let mut text = Vec::new();
        for session in &sessions {
            text.extend(held_up(desk, session).await?);
        }
        if !text.is_empty() {
            return Ok(Reply { go_on: Some(text.join("\n")), ..Reply::default() });
        }
    }
    end(desk, &sessions).await?;
    Ok(Reply::default())
}

/// What the turn is not let end over in one scope; it is held up once for each.
async fn held_up(desk: &Desk, session: &Session) -> Result<Vec<String>, Problem> {
    let scope = session.scope();
    let Some(member) = desk.kept.read(&scope) else { return Ok(vec![]) };
    let pending = pending(desk, session, &member).await?;
    if pending.is_empty() {
        return Ok(vec![]);
    }
    let mail = news::mail(desk, session).await?;
    let held = pending.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>();
    let hold = |member: &mut Membership| {
        member.held_up.extend(held);
        while member.held_up.len() > HELD_UP {
            member.held_up.pop_first();
        }
    };
    desk.kept.change(&scope, hold).await?;
    Ok(pending.into_iter().filter_map(|(_, text)| text).chain(mail).collect())
}

/// The turn is over, whatever waits.
pub(crate) async fn broke_off(desk: &Desk) -> Result<Reply, Problem> {
    end(desk, &desk.sessions().await?).await?;
    Ok(Reply::default())
}

/// Whether sub-agents are at work.
fn has_children(desk: &Desk) -> bool {
    desk.member().is_some_and(|member| !member.children.is_empty())
}

/// What the turn should not end over, by id: requests with their text, and mail, which is shown as such.
async fn pending(
    desk: &Desk,
    session: &Session,
    member: &Membership,
) -> Result<Vec<(u64, Option<String>)>, Problem> {
    let me = session.peer().name;
    let requests = ListReleaseRequestsRequest { holder: me, ..ListReleaseRequestsRequest::default() };
    let inbox = ListMessagesRequest { after_revision: member.shown, ..ListMessagesRequest::default() };
    let (requests, inbox) = tokio::join!(session.list_release_requests(requests), session.inbox(inbox));
    let (requests, inbox) = (requests?, inbox?);
    let only_way = wake::way_of(desk.host()) == wake::STOP_HOOK;
    // The locks of this turn's edits end with it, and so do the requests for them.
    let stays =
        |request: &ReleaseRequest| request.lock_paths.iter().any(|path| !member.locks.contains_key(path));
    let requests = requests.requests.iter().filter(|request| stays(request));
    let requests =
        requests.map(|request| (request.id, Some(format!("[mesh] {}", mesh_mcp::text::asks(request)))));
    let unread = inbox.messages.iter().filter(|message| message.revision > inbox.acknowledged_revision);
    let mail = unread.filter(|message| holds_up(message, only_way)).map(|message| (message.revision, None));
    Ok(requests.chain(mail).filter(|(id, _)| !member.held_up.contains(id)).collect())
}

/// Whether a turn should not end before a message is read. Where nothing wakes an idle agent, that is all that is sent
/// to it and wants something.
fn holds_up(message: &Message, only_way: bool) -> bool {
    let personal = !message.broadcast && message.topic.is_empty();
    message.intent() != MessageIntent::Ack && (message.urgent || (only_way && personal))
}

/// Reports shell edits, gives the turn's locks back, and waits for the user.
async fn end(desk: &Desk, sessions: &[Session]) -> Result<(), Problem> {
    let [session, ..] = sessions else { return Ok(()) };
    if let Err(problem) = touched::by_shell(desk, session).await {
        tracing::warn!(%problem, "what shell commands have changed stays untold");
    }
    // Sub-agents in the background go on editing under the same locks.
    if !has_children(desk) {
        give_back(desk, sessions).await?;
    }
    let over = |member: &mut Membership| {
        member.working = false;
        member.unclean = None;
        member.edited.clear();
        member.editing.clear();
    };
    // First here, then on the mesh: whoever waits to wake the agent looks when that is told.
    for session in sessions {
        desk.kept.change(&session.scope(), over).await?;
        news::acknowledge(desk, session).await?;
    }
    activity(desk, sessions, PeerActivity::Idle).await.map(drop)
}

/// What a turn that was broken off by a crash has left: its locks, and edits that it could not report.
pub(crate) async fn clear_up(desk: &Desk, session: &Session) -> Result<(), Problem> {
    let Some(member) = desk.member().filter(|member| !member.locks.is_empty() || !member.editing.is_empty())
    else {
        return Ok(());
    };
    let touches = mesh_client::agent::unreported(&member, &desk.kept.agent().seen());
    if !touches.is_empty() {
        let branch = desk.project.branch().unwrap_or_default();
        session.touch_files(TouchFilesRequest { touches, branch, ..TouchFilesRequest::default() }).await?;
    }
    desk.kept.change(&session.scope(), |member| member.editing.clear()).await?;
    give_back(desk, std::slice::from_ref(session)).await
}

/// Gives back the locks that hooks took, wherever they did.
async fn give_back(desk: &Desk, sessions: &[Session]) -> Result<(), Problem> {
    for session in sessions {
        let lent = desk.kept.read(&session.scope()).map(|member| member.locks).unwrap_or_default();
        session.give_back(&lent.into_keys().collect::<Vec<_>>()).await?;
    }
    Ok(())
}

/// Tells whether the agent is at work, and on which branch; the revision at which it was told.
async fn activity(desk: &Desk, sessions: &[Session], activity: PeerActivity) -> Result<u64, Problem> {
    let mut revision = 0;
    for session in sessions {
        let children = match activity {
            PeerActivity::Idle => desk.kept.read(&session.scope()).map(|member| member.children),
            PeerActivity::Working | PeerActivity::Unspecified => None,
        };
        let info = PeerInfo {
            activity: activity.into(),
            children: as_told(children.unwrap_or_default()),
            branch: desk.project.branch().unwrap_or_default(),
            ..PeerInfo::default()
        };
        let is_here = session.scope() == desk.project.scope;
        let mask = if is_here { &["activity", "branch", "children"][..] } else { &["activity"] };
        revision = revision.max(desk.update(session, info, mask).await?);
    }
    Ok(revision)
}

/// A sub-agent begins to act as this peer.
pub(crate) async fn child_starts(desk: &Desk) -> Result<Reply, Problem> {
    let Some(child) = desk.call.subagent.clone() else { return Ok(Reply::default()) };
    children(desk, |member| {
        if member.children.len() < CHILDREN {
            member.children.insert(child.id, child.kind);
        }
    })
    .await
}

/// A sub-agent uses a tool; it may have begun before anybody looked.
pub(crate) async fn child_works(desk: &Desk) -> Result<(), Problem> {
    let Some(child) = &desk.call.subagent else { return Ok(()) };
    if desk.member().is_some_and(|member| member.children.contains_key(&child.id)) {
        return Ok(());
    }
    child_starts(desk).await.map(drop)
}

/// A sub-agent has ended.
pub(crate) async fn child_stops(desk: &Desk) -> Result<Reply, Problem> {
    let Some(child) = desk.call.subagent.clone() else { return Ok(Reply::default()) };
    let reply = children(desk, |member| _ = member.children.remove(&child.id)).await?;
    // The last one that worked on after the turn had ended: with it ends what the locks are for.
    if desk.member().is_some_and(|member| !member.working && member.children.is_empty()) {
        give_back(desk, &desk.sessions().await?).await?;
    }
    Ok(reply)
}

fn as_told(children: BTreeMap<String, String>) -> Vec<ChildAgent> {
    children.into_iter().map(|(id, kind)| ChildAgent { id, kind, focus: String::new() }).collect()
}

async fn children(desk: &Desk, change: impl FnOnce(&mut Membership)) -> Result<Reply, Problem> {
    let session = desk.session().await?;
    let children = |member: &mut Membership| {
        change(member);
        member.children.clone()
    };
    let Some(children) = desk.change_in(&desk.project, children).await? else { return Ok(Reply::default()) };
    let info = PeerInfo { children: as_told(children), ..PeerInfo::default() };
    desk.update(&session, info, &["children"]).await?;
    Ok(Reply::default())
}

/// The session ends: the peer leaves every scope that it was in. After `/clear` it goes on.
pub(crate) async fn session_ends(desk: &Desk, end: End) -> Result<Reply, Problem> {
    if end == End::Clear {
        return broke_off(desk).await;
    }
    // Only what was joined is left; a session that has ended by itself is as good.
    for scope in desk.kept.scopes() {
        let options = JoinOptions { scope, liveness: Liveness::Unattended, ..JoinOptions::default() };
        let Some(session) = Session::enter_kept(&desk.client, desk.kept.clone(), options) else { continue };
        if let Err(error) = session.leave().await {
            tracing::debug!(%error, "the session had ended");
        }
    }
    // Its process may run another session from now on, and another process this one.
    let mut guard = desk.kept.agent().locked().await?;
    (guard.record.process, guard.record.ended) = (None, true);
    guard.save()?;
    Ok(Reply::default())
}
