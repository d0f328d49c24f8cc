//! When a session starts, or goes on with an emptied context: who is here, on what, and what there is to know.
//!
//! What must hold: it is short, whatever the mesh holds, and says nothing where there is nothing to say but the name.

use std::fmt::Write;
use std::fs::{self, File};
use std::io;
use std::time::Duration;

use mesh_client::Session;
use mesh_client::agent::Membership;
use mesh_client::display::model::{age, quoted, word};
use mesh_client::proto::list_feed_request::Feed;
use mesh_client::proto::{
    Entry, ListEntriesRequest, ListFeedRequest, ListLocksRequest, ListPeersRequest,
    ListReleaseRequestsRequest, Lock, Message, Peer, PeerActivity, PeerInfo,
};
use mesh_hook::{Reply, Source};

use crate::desk::Desk;
use crate::problem::Problem;
use crate::{news, turn, wake};

/// How things stand takes so many bytes at most; a context takes 10,000, and mail half of that.
const STANDING: usize = 4500;
/// Lines of each kind.
const PEERS: usize = 8;
const LOCKS: usize = 8;
const FACTS: usize = 8;
const NOTES: usize = 4;

/// How soon after a start the next one like it is the same.
const SAME: Duration = Duration::from_secs(10);

/// Joins, and says how things stand: once, though hooks that are registered for the user and in the project run twice.
pub(crate) async fn oriented(desk: &Desk, source: Source) -> Result<Reply, Problem> {
    let Some(telling) = desk.kept.agent().claim("start")? else { return Ok(Reply::default()) };
    let start = format!("{source:?} {} {:?}", desk.call.session, desk.process());
    if was_just_told(desk, &telling, &start) {
        return Ok(Reply::default());
    }
    let reply = joined(desk, source).await?;
    telling.set_len(0)?;
    io::Write::write_all(&mut &telling, start.as_bytes())?;
    Ok(reply)
}

/// Whether another hook has answered to the same start.
fn was_just_told(desk: &Desk, telling: &File, start: &str) -> bool {
    let told = telling.metadata().and_then(|metadata| metadata.modified());
    let just_now = told.is_ok_and(|told| told.elapsed().is_ok_and(|passed| passed < SAME));
    just_now && fs::read_to_string(desk.kept.agent().beside("start")).is_ok_and(|told| told == start)
}

async fn joined(desk: &Desk, source: Source) -> Result<Reply, Problem> {
    if source == Source::Startup || source == Source::Resume {
        desk.bury().await;
    }
    let known = desk.member().is_some();
    let session = desk.session().await?;
    if source != Source::Compact {
        turn::clear_up(desk, &session).await?;
    }
    // A context that was emptied no longer holds what was shown.
    let forget = |member: &mut Membership| {
        member.shown = member.acknowledged;
        member.handing = None;
        member.children.clear();
        // A context is summarized in the middle of a turn.
        member.working &= source == Source::Compact;
    };
    desk.change_in(&desk.project, forget).await?;
    if known {
        let info = PeerInfo { activity: PeerActivity::Idle.into(), ..desk.whole_info(&desk.project) };
        let mut mask = vec!["activity", "agent_version", "branch", "children", "head", "pid", "worktree"];
        // A process that waits beside the agent tells its own way, and goes on doing so after `/clear`.
        if !wake::has_process(desk.host()) {
            mask.push("wake");
        }
        desk.update(&session, info, &mask).await?;
    } else {
        let info = PeerInfo { activity: PeerActivity::Idle.into(), ..PeerInfo::default() };
        desk.update(&session, info, &["activity"]).await?;
    }
    wake::start(desk);
    // What the host drops would count as shown.
    if !desk.host().takes_context(&desk.call) {
        return Ok(Reply::default());
    }
    let text = standing(desk, &session, source).await?;
    let mail = news::mail(desk, &session).await?;
    let text = [Some(bounded(text)), mail].into_iter().flatten().collect::<Vec<_>>().join("\n");
    Ok(Reply { context: Some(text), ..Reply::default() })
}

async fn standing(desk: &Desk, session: &Session, source: Source) -> Result<String, Problem> {
    let scope = desk.project.scope.clone();
    let peers = ListPeersRequest { scope: scope.clone(), page_size: 100, ..ListPeersRequest::default() };
    let locks = ListLocksRequest { scope: scope.clone(), ..ListLocksRequest::default() };
    let facts = ListEntriesRequest { page_size: 1000, peek: true, ..ListEntriesRequest::default() };
    let me = session.peer().name;
    let asked = ListReleaseRequestsRequest { holder: me.clone(), ..ListReleaseRequestsRequest::default() };
    let notes = ListFeedRequest { feed: Some(Feed::Topic("#notes".into())), limit: 20, ..Default::default() };
    let (peers, locks, facts, asked, notes) = tokio::join!(
        session.list_peers(peers),
        session.list_locks(locks),
        session.list_entries(facts),
        session.list_release_requests(asked),
        session.list_feed(notes)
    );
    let mut out = String::new();
    let again = if source == Source::Startup { "" } else { " (still)" };
    _ = write!(out, "[mesh] you are {}{again} on the mesh", word(&me));
    if is_name(&scope) {
        _ = write!(out, " of {}", word(&scope));
    }
    out.push_str("; other agents see your edits and locks.");
    peers_told(&mut out, &peers?.peers, &me);
    locks_told(&mut out, &locks?.locks, &me);
    for request in asked?.requests.iter().take(LOCKS) {
        _ = write!(out, "\n{}", mesh_mcp::text::asks(request));
    }
    facts_told(&mut out, facts?.entries);
    notes_told(&mut out, notes?.messages, &me);
    if desk.project.settings.guard.locked != crate::project::Policy::Off {
        out.push_str("\nA file is locked for you when you first edit it, until your turn ends; one that another holds is refused.");
    }
    Ok(out)
}

/// The lines that fit before the mail, which must not be cut off behind them.
fn bounded(text: String) -> String {
    if text.len() <= STANDING {
        return text;
    }
    let mut kept = String::with_capacity(STANDING + 80);
    for line in text.lines().take_while(|line| line.len() <= STANDING) {
        if kept.len() + line.len() >= STANDING {
            break;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept.push_str("… cut; more: mesh_who, mesh_locks, mesh_recall");
    kept
}

/// Whether a scope tells a reader something: not one made of a commit, or of a directory.
fn is_name(scope: &str) -> bool {
    !scope.starts_with("git/") && !scope.starts_with("host/")
}

fn peers_told(out: &mut String, peers: &[Peer], me: &str) {
    let others: Vec<_> = peers.iter().filter(|peer| peer.name != me).collect();
    if others.is_empty() {
        out.push_str(" Nobody else is here.");
        return;
    }
    out.push_str("\nhere:");
    for peer in others.iter().take(PEERS) {
        let info = peer.info.clone().unwrap_or_default();
        _ = write!(out, "\n- {} ({}", peer.name, word(&info.agent_kind));
        if !info.branch.is_empty() {
            _ = write!(out, ", branch {}", word(&info.branch));
        }
        match info.activity() {
            PeerActivity::Working => out.push_str(", working"),
            PeerActivity::Idle => out.push_str(", idle"),
            PeerActivity::Unspecified => {}
        }
        out.push(')');
        if !info.focus.is_empty() {
            _ = write!(out, ": {}", quoted(&info.focus, 160));
        }
    }
    rest(out, others.len(), PEERS, "mesh_who");
}

fn locks_told(out: &mut String, locks: &[Lock], me: &str) {
    let others: Vec<_> = locks.iter().filter(|lock| lock.holder != me).collect();
    if others.is_empty() {
        return;
    }
    out.push_str("\nlocked:");
    for lock in others.iter().take(LOCKS) {
        _ = write!(out, "\n- {} by {}", word(&lock.path), lock.holder);
        if !lock.reason.is_empty() {
            _ = write!(out, ": {}", quoted(&lock.reason, 120));
        }
    }
    rest(out, others.len(), LOCKS, "mesh_locks");
}

/// The facts that were written last.
fn facts_told(out: &mut String, mut facts: Vec<Entry>) {
    if facts.is_empty() {
        return;
    }
    facts.sort_by_key(|fact| std::cmp::Reverse(fact.revision));
    out.push_str("\nremembered (mesh_recall shows the whole):");
    for fact in facts.iter().take(FACTS) {
        _ = write!(
            out,
            "\n- {} by {}, {}: {}",
            word(&fact.key),
            word(&fact.writer),
            age(fact.write_time),
            quoted(&fact.value, 120)
        );
    }
    rest(out, facts.len(), FACTS, "mesh_recall");
}

fn notes_told(out: &mut String, mut notes: Vec<Message>, me: &str) {
    notes.retain(|note| note.from != me);
    if notes.is_empty() {
        return;
    }
    out.push_str("\nnotes:");
    for note in notes.iter().rev().take(NOTES) {
        _ = write!(out, "\n- {}, {}: {}", word(&note.from), age(note.send_time), quoted(&note.body, 160));
    }
    rest(out, notes.len(), NOTES, "mesh_inbox {topic: #notes}");
}

fn rest(out: &mut String, all: usize, shown: usize, how: &str) {
    if all > shown {
        _ = write!(out, "\n- {} more: {how}", all - shown);
    }
}
