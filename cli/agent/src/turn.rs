//! Beginning and end of turns, sub-agents and sessions.
//!
//! What must hold: a turn is held up at most once for each message and each request, so that no agent is kept at work
//! for ever; locks that hooks took end with the turn, those of the agent do not.

use std::collections::{BTreeMap, BTreeSet};

use mesh_client::agent::Membership;
use mesh_client::proto::{
    ChildAgent, ListMessagesRequest, ListReleaseRequestsRequest, Message, MessageIntent, PeerActivity,
    PeerInfo, ReleaseRequest,
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
    let session = desk.session().await?;
    let (at_work, news) = tokio::join!(
        activity(desk, &session, PeerActivity::Working),
        news::since_the_last_look(desk, &session)
    );
    let revision = at_work?;
    let begin = |member: &mut Membership| {
        member.working = true;
        member.turn = member.turn.max(revision);
        member.unclean = None;
        // Those that still run show themselves with their next tool; those that were interrupted do not.
        member.children.clear();
    };
    desk.change_in(&desk.project, begin).await?;
    Ok(Reply { context: news?, ..Reply::default() })
}

/// The agent wants to end its turn.
pub(crate) async fn ends(desk: &Desk) -> Result<Reply, Problem> {
    let session = desk.session().await?;
    let Some(member) = desk.member() else { return Ok(Reply::default()) };
    let pending = pending(desk, &session, &member).await?;
    if !pending.is_empty() && member.children.is_empty() {
        let mail = news::mail(desk, &session).await?;
        let held = pending.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>();
        let hold = |member: &mut Membership| {
            member.held_up.extend(held);
            while member.held_up.len() > HELD_UP {
                member.held_up.pop_first();
            }
        };
        desk.change_in(&desk.project, hold).await?;
        let asked = pending.into_iter().filter_map(|(_, text)| text);
        let text: Vec<String> = asked.chain(mail).collect();
        if !text.is_empty() {
            return Ok(Reply { go_on: Some(text.join("\n")), ..Reply::default() });
        }
    }
    end(desk, &session, &member).await?;
    Ok(Reply::default())
}

/// The turn is over, whatever waits.
pub(crate) async fn broke_off(desk: &Desk) -> Result<Reply, Problem> {
    let session = desk.session().await?;
    if let Some(member) = desk.member() {
        end(desk, &session, &member).await?;
    }
    Ok(Reply::default())
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
async fn end(desk: &Desk, session: &Session, member: &Membership) -> Result<(), Problem> {
    touched::by_shell(desk, session).await?;
    // Sub-agents in the background go on editing under the same locks.
    if member.children.is_empty() {
        release(desk, session, member).await?;
    }
    // First here, then on the mesh: whoever waits to wake the agent looks when that is told.
    desk.change_in(&desk.project, |member| member.working = false).await?;
    let (idle, acknowledged) =
        tokio::join!(activity(desk, session, PeerActivity::Idle), news::acknowledge(desk, session));
    idle?;
    acknowledged
}

/// Gives back the locks that hooks took.
async fn release(desk: &Desk, session: &Session, member: &Membership) -> Result<(), Problem> {
    // One by one only when some have ended meanwhile, since otherwise none would be released.
    let all: Vec<String> = member.locks.keys().cloned().collect();
    for paths in all.chunks(100) {
        if session.release(paths.to_vec()).await.is_ok() {
            continue;
        }
        for path in paths {
            if let Err(error) = session.release(vec![path.clone()]).await {
                tracing::debug!(%error, path, "the lock had ended");
            }
        }
    }
    let given = |now: &mut Membership| all.iter().for_each(|path| _ = now.locks.remove(path));
    desk.change_in(&desk.project, given).await.map(drop)
}

/// Tells whether the agent is at work, and on which branch; the revision at which it was told.
async fn activity(desk: &Desk, session: &Session, activity: PeerActivity) -> Result<u64, Problem> {
    let children = if activity == PeerActivity::Working {
        vec![]
    } else {
        as_told(desk.member().map(|member| member.children).unwrap_or_default())
    };
    let info = PeerInfo {
        activity: activity.into(),
        children,
        branch: desk.project.branch().unwrap_or_default(),
        ..PeerInfo::default()
    };
    desk.update(session, info, &["activity", "branch", "children"]).await
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
    children(desk, |member| _ = member.children.remove(&child.id)).await
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
        let session = Session::enter(&desk.client, desk.kept.clone(), options).await?;
        if let Err(error) = session.leave().await {
            tracing::debug!(%error, "the session had ended");
        }
    }
    Ok(Reply::default())
}
