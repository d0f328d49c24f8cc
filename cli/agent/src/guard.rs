//! Before an edit: whether another peer has the file, and whether it is still what this session has read.
//!
//! A free file is locked for this peer, until its turn ends. What must hold: the lock comes first and the look second,
//! so that nobody can change the file between the look and the edit; what is on disk counts, and not only what others
//! have reported; the lock of an agent that has crashed here is in nobody's way; a refusal names the holder, the time left and the
//! next step; a lock that the agent took itself is never given back here.

use std::fmt::Write;
use std::io;
use std::time::Duration;

use mesh_client::agent::{Look, state_of};
use mesh_client::display::model::{age, duration, left, quoted, word};
use mesh_client::proto::{
    AcquireLocksRequest, DescribePathRequest, FileActivity, LockConflict, LockMode, LockState,
};
use mesh_client::{Acquired, Session};
use mesh_hook::{Edited, How, Reply, Verdict};

use crate::desk::Desk;
use crate::files::{Group, by_checkout};
use crate::problem::Problem;
use crate::project::{Policy, Project};

/// How long a lock that is taken here lives if nobody ends the turn.
const TTL: Duration = Duration::from_secs(15 * 60);
/// Most targets of one request.
const TARGETS: usize = 100;
/// Peers named for each file.
const NAMED: usize = 2;

/// What is to be said before a tool is used; the hardest word counts.
#[derive(Debug, Default)]
pub(crate) struct Advice {
    deny: Vec<String>,
    ask: Vec<String>,
    warn: Vec<String>,
}

impl Advice {
    /// Adds a word, as hard as the policy says.
    pub(crate) fn say(&mut self, policy: Policy, text: String) {
        match policy {
            Policy::Off => {}
            Policy::Warn => self.warn.push(text),
            Policy::Ask => self.ask.push(text),
            Policy::Deny => self.deny.push(text),
        }
    }

    /// Whether nothing can change the verdict.
    pub(crate) fn is_final(&self) -> bool {
        !self.deny.is_empty()
    }

    /// Both.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.deny.extend(other.deny);
        self.ask.extend(other.ask);
        self.warn.extend(other.warn);
        self
    }

    /// As a reply: with a denial, what would only warn can wait.
    pub(crate) fn reply(self) -> Reply {
        let context = (!self.warn.is_empty()).then(|| self.warn.join("\n"));
        if !self.deny.is_empty() {
            return Reply { verdict: Verdict::Deny(self.deny.join("\n")), ..Reply::default() };
        }
        if !self.ask.is_empty() {
            return Reply { verdict: Verdict::Ask(self.ask.join("\n")), context, ..Reply::default() };
        }
        Reply { context, ..Reply::default() }
    }
}

/// Locks what is about to be edited, all of it or none, or says why not.
pub(crate) async fn before(desk: &Desk, edits: &[Edited]) -> Result<Advice, Problem> {
    let mut advice = Advice::default();
    let mut lent = Vec::new();
    let edits = edits.iter().map(|edited| (edited.path.clone(), edited.how));
    for group in by_checkout(desk, edits) {
        let policies = &group.project.settings.guard;
        if [policies.locked, policies.stale, policies.overwrite] == [Policy::Off; 3] {
            continue;
        }
        let session = desk.session_in(&group.project).await?;
        if policies.locked != Policy::Off {
            for files in group.files.chunks(TARGETS) {
                lent.push((session.clone(), lock(desk, &session, &group, files, &mut advice).await?));
            }
        }
        if advice.is_final() {
            break;
        }
        if (policies.stale, policies.overwrite) != (Policy::Off, Policy::Off) {
            look(desk, &session, &group, &mut advice).await?;
        }
    }
    if advice.is_final() {
        for (session, paths) in lent {
            session.give_back(&paths).await?;
        }
    }
    Ok(advice)
}

/// Takes the locks of some files, to be given back at the end of the turn; the paths of those that are new.
async fn lock(
    desk: &Desk,
    session: &Session,
    group: &Group<How>,
    files: &[(String, How)],
    advice: &mut Advice,
) -> Result<Vec<String>, Problem> {
    let request = AcquireLocksRequest {
        paths: files.iter().map(|(name, _)| name.clone()).collect(),
        mode: LockMode::Exclusive.into(),
        ttl: TTL.try_into().ok(),
        ..AcquireLocksRequest::default()
    };
    let (mut verdict, mut lent) = session.acquire_for_turn(request.clone()).await?;
    if let Acquired::Refused(conflicts) = &verdict
        && conflicts.iter().any(excludes)
        && desk.bury().await
    {
        (verdict, lent) = session.acquire_for_turn(request).await?;
    }
    let Acquired::Refused(conflicts) = verdict else {
        if let Err(error) = note(desk, &group.project, files) {
            tracing::debug!(%error, "a crash in this edit would not be noticed");
        }
        begins(desk, &group.project, files, &lent).await?;
        return Ok(lent);
    };
    let policy = group.project.settings.guard.locked;
    for conflict in conflicts.iter().take(NAMED * 2) {
        let hard = if excludes(conflict) { policy } else { policy.min_warn() };
        advice.say(hard, refusal(conflict));
    }
    Ok(lent)
}

/// Notes what is edited under locks that no hook has taken: a crash before the report would leave no trace of it.
async fn begins(
    desk: &Desk,
    project: &Project,
    files: &[(String, How)],
    lent: &[String],
) -> Result<(), Problem> {
    let locked = desk.kept.read(&project.scope).map(|member| member.locks).unwrap_or_default();
    let others = files.iter().map(|(name, _)| name).filter(|name| !lent.contains(name));
    let own: Vec<_> = others.filter(|name| !locked.contains_key(*name)).cloned().collect();
    if !own.is_empty() {
        desk.change_in(project, |member| member.editing.extend(own)).await?;
    }
    Ok(())
}

/// Notes how the files are, so that an edit which this agent has no time to report is known all the same.
fn note(desk: &Desk, project: &Project, files: &[(String, How)]) -> io::Result<()> {
    let mut seen = desk.kept.agent().seen();
    for (name, _) in files {
        let file = project.root.join(name);
        let state = state_of(&file);
        if seen.last(&file) != Some(state) {
            seen.note(Look::Locks, desk.who(), &file, state)?;
        }
    }
    Ok(())
}

/// Whether a live peer holds it for itself. A shared lock, a queue and a dead peer's lock only give a warning.
fn excludes(conflict: &LockConflict) -> bool {
    conflict
        .lock
        .as_ref()
        .is_some_and(|lock| lock.mode() == LockMode::Exclusive && lock.state() == LockState::Held)
}

/// Who is in the way, doing what, for how long, and what to do about it.
fn refusal(conflict: &LockConflict) -> String {
    let path = word(&conflict.path);
    let focus = match conflict.holder_focus.as_str() {
        "" => String::new(),
        focus => format!(", who is doing {}", quoted(focus, 200)),
    };
    let Some(lock) = &conflict.lock else {
        let peer = conflict.waiter.as_ref().map(|waiter| word(&waiter.peer)).unwrap_or_default();
        return format!("[mesh] {peer}{focus} waits for {path}: leave it alone if you can");
    };
    let left = left(duration(lock.remaining));
    if lock.state() == LockState::Lingering {
        return format!(
            "[mesh] {path} was locked by {}, whose process has ended; it is free in {left}",
            word(&lock.holder)
        );
    }
    let mut out = format!("[mesh] {path} is locked by {}{focus}", word(&lock.holder));
    if lock.path != conflict.path {
        _ = write!(out, " (as {})", word(&lock.path));
    }
    if lock.mode() == LockMode::Shared {
        out.push_str(", shared");
    }
    if !lock.reason.is_empty() {
        _ = write!(out, ", reason {}", quoted(&lock.reason, 200));
    }
    _ = write!(
        out,
        ", {left} left. Next: work on another file, or mesh_lock {{paths: [{}], wait_seconds: 50, ask: \"why you need it\"}}",
        quoted(&conflict.path, 200)
    );
    out
}

/// What other peers did to the files since this one knew them.
async fn look(
    desk: &Desk,
    session: &Session,
    group: &Group<How>,
    advice: &mut Advice,
) -> Result<(), Problem> {
    let me = session.peer().name;
    let root = group.project.root.to_string_lossy();
    let seen = desk.kept.agent().seen();
    for (name, how) in &group.files {
        let request = DescribePathRequest { path: name.clone(), limit: 20, peek: true, ..Default::default() };
        let activity = session.describe_path(request).await?.activity;
        let of_file = activity.iter().filter(|did| did.path == *name);
        let (own, others): (Vec<_>, Vec<_>) = of_file.partition(|did| did.peer == me);
        let own = own.first().copied();
        let edited = others.into_iter().filter(|did| did.edit_revision > 0);
        let (here, there): (Vec<_>, Vec<_>) = edited.partition(|did| did.worktree == root);
        let file = group.project.root.join(name);
        let now = state_of(&file);
        // Where there is nothing, nothing is written over.
        let whole = matches!(how, How::Whole | How::Create) && now != 0;
        let policies = &group.project.settings.guard;
        let policy = if whole { policies.overwrite } else { policies.stale };
        let stale_by: Vec<_> = here.into_iter().filter(|did| is_stale(did, own, whole)).take(NAMED).collect();
        // A part that is replaced must be there; what is written over as a whole is gone, whoever wrote it.
        if stale_by.is_empty() && whole && seen.known(desk.who(), &file).is_some_and(|known| known != now) {
            advice.say(policy, changed(name));
        }
        for did in stale_by {
            advice.say(policy, stale(name, did, own.is_some_and(|own| own.read_revision > 0)));
        }
        let since = own.map(|own| own.edit_revision).unwrap_or_default();
        for did in there.into_iter().filter(|did| did.edit_revision > since).take(NAMED) {
            advice.say(policies.stale.min_warn(), elsewhere(name, did));
        }
    }
    Ok(())
}

/// Whether a file was changed by another peer since this one read or wrote it. One that was never read is only known
/// as it was when it would be written over as a whole.
fn is_stale(did: &FileActivity, own: Option<&FileActivity>, whole: bool) -> bool {
    match own.map(|own| own.read_revision.max(own.edit_revision)) {
        Some(known) => did.edit_revision > known,
        None => whole,
    }
}

fn stale(name: &str, did: &FileActivity, read: bool) -> String {
    let since = if read { "since you read it" } else { "and you have not read it since" };
    let path = word(name);
    format!(
        "[mesh] {path} was changed {since}: {} edited it {}. Read it again first",
        word(&did.peer),
        age(did.edit_time)
    )
}

/// For a change that nobody has reported: by a person, a formatter, or an agent that was not done with its edit.
fn changed(name: &str) -> String {
    format!("[mesh] {} was changed since you read it. Read it again first", word(name))
}

fn elsewhere(name: &str, did: &FileActivity) -> String {
    let place = if did.branch.is_empty() {
        format!("in {}", word(&did.worktree))
    } else {
        format!("on branch {}", word(&did.branch))
    };
    format!(
        "[mesh] {} edited {} {place}, {}: expect to merge; mesh_recall {{path: {}}} tells more",
        word(&did.peer),
        word(name),
        age(did.edit_time),
        quoted(name, 200)
    )
}
