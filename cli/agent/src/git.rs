//! Before a shell command that moves HEAD, index or stash: whether another live peer works in the same checkout.

use std::path::{Path, PathBuf};

use mesh_client::Session;
use mesh_client::display::model::{word, words};
use mesh_client::proto::{DescribePathRequest, ListPeersRequest, Peer};
use mesh_hook::Tool;
use mesh_hook::shell::{self, Change, GitMove};

use crate::desk::Desk;
use crate::guard::Advice;
use crate::problem::Problem;
use crate::project::{Policy, Project};
use crate::touched;

/// Peers and files that are named.
const PEERS: usize = 3;
const FILES: usize = 5;

/// What is to be said before a shell command.
pub(crate) async fn before(desk: &Desk, tool: &Tool) -> Result<Advice, Problem> {
    let mut advice = Advice::default();
    let Tool::Shell { command, cwd, .. } = tool else { return Ok(advice) };
    let moves = shell::git_moves(command);
    if moves.is_empty() {
        return Ok(advice);
    }
    let base = cwd.as_ref().map_or_else(|| desk.call.cwd.clone(), |cwd| desk.call.cwd.join(cwd));
    let mut seen: Vec<PathBuf> = Vec::new();
    for of in moves {
        let Ok(project) = desk.project_of(&place(&base, &of)) else { continue };
        let policy = project.settings.guard.git;
        if policy == Policy::Off || !project.settings.hooks || seen.contains(&project.root) {
            continue;
        }
        seen.push(project.root.clone());
        let session = desk.session_in(&project).await?;
        let others = others(&session, &project).await?;
        if !others.is_empty() {
            advice.say(policy, warning(&session, &project, &of, &others).await?);
        }
    }
    Ok(advice)
}

/// The directory that a command is about: for the removal of a worktree, that worktree.
fn place(base: &Path, of: &GitMove) -> PathBuf {
    let directory = of.dir.as_ref().map_or_else(|| base.to_owned(), |dir| base.join(dir));
    if let Change::WorktreeRemove(removed) = &of.kind { base.join(removed) } else { directory }
}

/// Live peers in the same checkout of this machine.
async fn others(session: &Session, project: &Project) -> Result<Vec<Peer>, Problem> {
    let request =
        ListPeersRequest { scope: project.scope.clone(), page_size: 1000, ..ListPeersRequest::default() };
    let peers = session.list_peers(request).await?.peers;
    let (me, root) = (session.peer().name, project.root.to_string_lossy().into_owned());
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let here = |peer: &Peer| {
        peer.name != me
            && peer.info.as_ref().is_some_and(|info| {
                info.worktree == root && info.host == machine && is_agent(&info.agent_kind)
            })
    };
    Ok(peers.into_iter().filter(here).collect())
}

/// A person at a terminal of the checkout sees what is done there.
fn is_agent(kind: &str) -> bool {
    kind != "human"
}

async fn warning(
    session: &Session,
    project: &Project,
    of: &GitMove,
    others: &[Peer],
) -> Result<String, Problem> {
    let changed = touched::unclean(project).await.unwrap_or_default();
    let request = DescribePathRequest { path: "/".into(), limit: 100, peek: true, ..Default::default() };
    let known = session.describe_path(request).await?;
    let root = project.root.to_string_lossy();
    let mut named = Vec::new();
    for peer in others.iter().take(PEERS) {
        let theirs = known
            .activity
            .iter()
            .filter(|did| did.peer == peer.name && did.edit_revision > 0 && did.worktree == root);
        let files: Vec<String> =
            theirs.map(|did| did.path.clone()).filter(|path| changed.contains_key(path)).collect();
        named.push(match files.as_slice() {
            [] => format!("{} works in this checkout", word(&peer.name)),
            files => format!("{} has uncommitted changes in {}", word(&peer.name), words(files, FILES)),
        });
    }
    if others.len() > PEERS {
        named.push(format!("{} more work here", others.len() - PEERS));
    }
    let them = others.first().map(|peer| word(&peer.name)).unwrap_or_default();
    Ok(format!(
        "[mesh] `git {}` would change {} under others: {}. Next: ask with mesh_send {{to: {them}}}, or work in a \
         worktree of your own (git worktree add)",
        of.verb,
        if matches!(of.kind, Change::WorktreeRemove(_)) {
            format!("the worktree {}", word(&root))
        } else {
            "this checkout".into()
        },
        named.join("; ")
    ))
}
