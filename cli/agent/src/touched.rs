//! After a tool: which files it read and edited, for others and for this session to know.
//!
//! Before a read the state of the file is noted, so that a change while it is read is not taken for known.
//!
//! What hosts' own tools do is known exactly. What shell commands do is found by comparing `git status` at the end of
//! the turn with what it said before the turn's first shell command: as good as that can be, and silent about what
//! another peer of the same checkout has reported as its own.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mesh_client::Session;
use mesh_client::agent::{Look, Membership, state_of};
use mesh_client::proto::{DescribePathRequest, Lock, LockMode, Touch, TouchFilesRequest, TouchKind};
use mesh_hook::Tool;
use tokio::process::Command;

use crate::desk::Desk;
use crate::files::by_checkout;
use crate::problem::Problem;
use crate::project::Project;

/// How long git may take to say what is changed; in a repository where it takes longer, nobody waits for it.
const STATUS_WITHIN: Duration = Duration::from_millis(400);
/// Changed files that are compared, and reported of one turn.
const COMPARED: usize = 2000;
const REPORTED: usize = 50;
/// Most files of one report.
const TOUCHES: usize = 100;

/// Before a read: how the files are. Before the turn's first shell command: what is changed already.
pub(crate) async fn before(desk: &Desk, tool: &Tool) {
    if let Tool::Read(paths) = tool
        && let Err(error) = about_to_read(desk, paths)
    {
        tracing::debug!(%error, "what is read now does not count as known");
    }
    let is_shell = matches!(tool, Tool::Shell { .. });
    if !is_shell || !desk.project.has_git() || desk.member().is_none_or(|member| member.unclean.is_some()) {
        return;
    }
    let Some(mut unclean) = unclean(&desk.project).await else { return };
    // What is nobody's business is not even written down.
    unclean.retain(|name, _| desk.project.name(&desk.project.root.join(name)).is_some());
    if let Err(problem) = desk.change_in(&desk.project, |member| member.unclean = Some(unclean)).await {
        tracing::debug!(%problem, "shell edits of this turn stay unknown");
    }
}

fn about_to_read(desk: &Desk, paths: &[PathBuf]) -> io::Result<()> {
    let mut seen = desk.kept.agent().seen();
    for group in by_checkout(desk, paths.iter().map(|path| (path.clone(), ()))) {
        for (name, ()) in &group.files {
            let file = group.project.root.join(name);
            seen.note(Look::Before, desk.who(), &file, state_of(&file))?;
        }
    }
    Ok(())
}

/// Notes in which state this session now knows the files.
fn known(desk: &Desk, project: &Project, kind: TouchKind, names: &[String]) -> io::Result<()> {
    let mut seen = desk.kept.agent().seen();
    for name in names {
        let file = project.root.join(name);
        let before = seen.before(desk.who(), &file).filter(|_| kind == TouchKind::Read);
        let state = before.unwrap_or_else(|| state_of(&file));
        if before.is_some() || seen.known(desk.who(), &file) != Some(state) {
            seen.note(Look::Knows, desk.who(), &file, state)?;
        }
    }
    Ok(())
}

/// Reports what a tool has read or edited.
pub(crate) async fn after(desk: &Desk, tool: &Tool) -> Result<(), Problem> {
    let kind = if tool.edits().is_empty() { TouchKind::Read } else { TouchKind::Edit };
    let paths: Vec<_> = match tool {
        Tool::Read(paths) => {
            paths.iter().filter(|path| !desk.call.cwd.join(path).is_dir()).cloned().collect()
        }
        Tool::Edit(_) | Tool::Shell { .. } | Tool::Other => {
            tool.edits().iter().map(|edited| edited.path.clone()).collect()
        }
    };
    for group in by_checkout(desk, paths.into_iter().map(|path| (path, ()))) {
        let names: Vec<String> = group.files.into_iter().map(|(name, ())| name).collect();
        if let Err(error) = known(desk, &group.project, kind, &names) {
            tracing::debug!(%error, "what was read does not count as known");
        }
        let session = desk.session_in(&group.project).await?;
        report(&session, &group.project, kind, &names).await?;
        if kind == TouchKind::Edit {
            let is_here = group.project.root == desk.project.root;
            let done = |member: &mut Membership| {
                member.editing.retain(|name| !names.contains(name));
                if is_here {
                    member.edited.extend(names);
                }
            };
            desk.change_in(&group.project, done).await?;
        }
    }
    Ok(())
}

/// At the end of a turn: reports what its shell commands have changed.
pub(crate) async fn by_shell(desk: &Desk, session: &Session) -> Result<(), Problem> {
    let Some(member) = desk.member() else { return Ok(()) };
    if let Some(before) = &member.unclean
        && let Some(now) = unclean(&desk.project).await
    {
        let named = differing(before, &now).into_iter().filter(|name| !member.edited.contains(*name));
        let named = named.filter_map(|name| desk.project.name(&desk.project.root.join(name)));
        let mut changed = Vec::new();
        for name in named.take(REPORTED) {
            if !another_did(session, &name, member.turn).await? {
                changed.push(name);
            }
        }
        if !changed.is_empty() {
            report(session, &desk.project, TouchKind::Edit, &changed).await?;
        }
    }
    Ok(())
}

/// Whether another peer has reported an edit of a file in this turn, or has it locked: then it is at it.
async fn another_did(session: &Session, name: &str, turn: u64) -> Result<bool, Problem> {
    let request = DescribePathRequest { path: name.to_owned(), limit: 5, peek: true, ..Default::default() };
    let known = session.describe_path(request).await?;
    let me = session.peer().name;
    let edited =
        known.activity.iter().any(|did| did.path == name && did.peer != me && did.edit_revision > turn);
    let excluded = |lock: &Lock| lock.holder != me && lock.mode() == LockMode::Exclusive;
    Ok(edited || known.locks.iter().any(excluded))
}

async fn report(
    session: &Session,
    project: &Project,
    kind: TouchKind,
    names: &[String],
) -> Result<(), Problem> {
    let touch = |name: &String| Touch { path: name.clone(), kind: kind.into() };
    for names in names.chunks(TOUCHES) {
        let request = TouchFilesRequest {
            touches: names.iter().map(touch).collect(),
            branch: project.branch().unwrap_or_default(),
            worktree: project.root.to_string_lossy().into_owned(),
            ..TouchFilesRequest::default()
        };
        session.touch_files(request).await?;
    }
    Ok(())
}

/// Files whose state is another one now, those that are clean again included.
fn differing<'a>(before: &'a BTreeMap<String, u64>, now: &'a BTreeMap<String, u64>) -> Vec<&'a String> {
    let changed = now.iter().filter(|(name, state)| before.get(*name) != Some(state)).map(|(name, _)| name);
    let cleaned = before.keys().filter(|name| !now.contains_key(*name));
    changed.chain(cleaned).collect()
}

/// What git calls changed or new, each with what tells one state of the file from the next; `None` when git does not
/// say so in time.
pub(crate) async fn unclean(project: &Project) -> Option<BTreeMap<String, u64>> {
    let mut git = Command::new("git");
    git.arg("-C").arg(&project.root).arg("--no-optional-locks");
    git.args(["status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all"]);
    git.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(STATUS_WITHIN, git.output()).await.ok()?.ok()?;
    output.status.success().then(|| parse(&output.stdout, &project.root))
}

/// Entries of `XY path`, each ended by NUL.
fn parse(output: &[u8], root: &Path) -> BTreeMap<String, u64> {
    let entries =
        output.split(|byte| *byte == 0).filter_map(|entry| std::str::from_utf8(entry.get(3..)?).ok());
    entries.take(COMPARED).map(|name| (name.to_owned(), state_of(&root.join(name)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_read_with_any_name() {
        let root = tempfile::tempdir().unwrap();
        let listed = parse(b" M a b.rs\0?? new\nline\0D  gone\0 M \xff\0", root.path());
        assert_eq!(listed.keys().collect::<Vec<_>>(), ["a b.rs", "gone", "new\nline"]);
    }

    #[test]
    fn what_changed_and_what_was_cleaned_differ() {
        let map = |pairs: &[(&str, u64)]| pairs.iter().map(|(name, at)| ((*name).to_owned(), *at)).collect();
        let before: BTreeMap<String, u64> = map(&[("same", 1), ("changed", 1), ("cleaned", 1)]);
        let now: BTreeMap<String, u64> = map(&[("same", 1), ("changed", 2), ("new", 1)]);
        assert_eq!(differing(&before, &now), ["changed", "new", "cleaned"]);
    }
}
