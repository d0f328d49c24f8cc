//! The peer behind the calls: joined by the first tool call that comes, left at the end.
//!
//! Owns the session. What must hold: calls that come together join once; a call never joins after the process
//! began to end; a name given up is not taken again by itself; where hooks report on the same agent session, all its
//! processes are one peer, whichever of them came first.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use mesh_client::agent::{self, Continues, Kept, Membership, Process, Registry};
use mesh_client::proto::PeerInfo;
use mesh_client::{Client, ClientError, ErrorReason, JoinOptions, Liveness, Session};
use rmcp::model::{Implementation, RequestMetaObject};
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::task::AbortOnDropHandle;

use crate::Options;
use crate::args::Failure;
use crate::host::{Agent, Host};
use crate::news::{Reached, SharedNews, held_list};
use crate::place::Place;

/// How long leaving may take when the process ends; the broker notices the end by itself soon after.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// Kinds of agent whose hooks can add to what the agent reads after a tool.
const TOLD: [&str; 6] = ["claude-code", "codex", "cursor", "gemini", "opencode", "vscode"];
/// How long the connection stays after the stream of a session that goes on without this process, as when the host starts
/// its servers anew: longer than the broker gives a session whose connection is gone. A killed agent has no such time.
const OUTLIVES: Duration = Duration::from_millis(700);

/// Who is calling, as the client says with the call.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Name and version of the client program.
    pub(crate) client: Option<Implementation>,
    /// What came with the request.
    pub(crate) meta: RequestMetaObject,
}

/// What an agent says of itself when it checks in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// What it is doing; `None` leaves it.
    pub(crate) focus: Option<String>,
    /// What it is working on, as it wrote it; empty leaves it.
    pub(crate) files: Vec<String>,
    /// Its branch; `None` means that of the checkout.
    pub(crate) branch: Option<String>,
}

/// A session with what belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct Joined {
    /// The session.
    pub(crate) session: Session,
    /// What happened meanwhile.
    pub(crate) news: SharedNews,
    /// Where the agent works.
    pub(crate) place: Arc<Place>,
    /// Where the session is shared with the hooks of the same agent session.
    shared: Option<Shared>,
    _follower: Arc<AbortOnDropHandle<()>>,
}

/// The record of an agent session that this process belongs to.
#[derive(Clone, Debug)]
struct Shared {
    kind: String,
    kept: Kept,
    /// The process may come to run another session.
    may_move: bool,
    /// Held while this process serves the agent session.
    _claim: Option<Arc<File>>,
}

/// The peer of this process.
#[derive(Debug)]
pub(crate) struct Member {
    client: Client,
    scope: Option<String>,
    host: Host,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    place: Option<Arc<Place>>,
    joined: Option<Joined>,
    /// The name to join under, and whether another will do while it is taken.
    name: Option<String>,
    any_name: bool,
    /// Another process has this conversation; with its key, the two would take turns for ever.
    detached: bool,
    ended: bool,
}

impl Joined {
    /// Name of the peer.
    pub(crate) fn name(&self) -> String {
        self.session.peer().name
    }

    fn is_replaced(&self) -> bool {
        self.news.lock().replaced
    }

    /// Whether hooks tell the agent after each tool what happened meanwhile.
    fn is_told_by_hooks(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| TOLD.contains(&shared.kind.as_str())) && self.goes_on()
    }

    /// Mail after one revision was shown up to another: hooks do not show it again.
    pub(crate) async fn note_shown(&self, after: u64, upto: u64) {
        let Some(shared) = &self.shared else { return };
        let note = |member: &mut Membership| {
            // What lies before may not have been shown.
            if after <= member.shown.max(member.acknowledged) {
                member.shown = member.shown.max(upto);
            }
        };
        if let Err(error) = shared.kept.change(&self.session.scope(), note).await {
            tracing::warn!(%error, "the registry of agents cannot be written; a hook shows mail again");
        }
    }

    /// Whether the agent session has not left.
    fn is_kept(&self) -> bool {
        let scope = self.session.scope();
        self.shared.as_ref().is_some_and(|shared| shared.kept.read(&scope).is_some())
    }

    /// Whether the session outlives this process: then hooks tell when the agent has ended.
    fn goes_on(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| is_hooked(shared.kept.agent()))
    }
}

impl Member {
    /// A peer that has not joined yet.
    pub(crate) fn new(options: Options, host: Host) -> anyhow::Result<Self> {
        let scope = options.scope.or_else(|| options.config.scope.clone());
        let state = State { name: options.name, any_name: true, ..State::default() };
        Ok(Self { client: Client::new(options.config)?, scope, host, state: Mutex::new(state) })
    }

    /// The session, which the first caller begins.
    pub(crate) async fn joined(&self, caller: &Caller) -> Result<Joined, Failure> {
        let mut state = self.state.lock().await;
        self.follow_hooks(&mut state);
        match &state.joined {
            Some(joined) if joined.is_replaced() => Err(Failure::replaced()),
            Some(joined) => Ok(joined.clone()),
            None => self.join(&mut state, caller, &Said::default(), Name::Wish).await,
        }
    }

    /// The session under a name, with what the agent says of itself.
    pub(crate) async fn check_in(
        &self,
        caller: &Caller,
        name: Option<String>,
        said: &Said,
    ) -> Result<Joined, Failure> {
        let mut state = self.state.lock().await;
        self.follow_hooks(&mut state);
        if let Some(name) = name
            && state.joined.as_ref().is_none_or(|joined| joined.name() != name || joined.is_replaced())
        {
            return self.rename(&mut state, caller, name, said).await;
        }
        let Some(joined) = state.joined.clone() else {
            return self.join(&mut state, caller, said, Name::Wish).await;
        };
        if joined.is_replaced() {
            return Err(Failure::replaced());
        }
        drop(state);
        say(&joined, said).await?;
        Ok(joined)
    }

    /// Ends the session, if there is one. The next call joins again, under the same name.
    pub(crate) async fn check_out(&self) -> Result<Option<Joined>, Failure> {
        let mut state = self.state.lock().await;
        let Some(joined) = state.joined.take() else { return Ok(None) };
        (state.name, state.any_name) = (Some(joined.name()), true);
        state.detached |= joined.is_replaced();
        joined.session.leave().await?;
        Ok(Some(joined))
    }

    /// Ends the session for good, within a second.
    pub(crate) async fn end(&self) {
        let leave = async {
            let mut state = self.state.lock().await;
            state.ended = true;
            let Some(joined) = state.joined.take() else { return };
            if joined.goes_on() {
                if self.host.process.is_some_and(Process::is_alive) && joined.is_kept() {
                    drop(joined);
                    tokio::time::sleep(OUTLIVES).await;
                }
            } else if let Err(error) = joined.session.leave().await {
                tracing::debug!(%error, "could not leave; the broker will notice");
            }
        };
        if tokio::time::timeout(LEAVE_WITHIN, leave).await.is_err() {
            tracing::debug!("leaving took too long; the broker will notice");
        }
    }

    /// What the agent should know besides the answer; empty without news, or while another call joins.
    pub(crate) fn footer(&self, reached: Reached) -> String {
        let Ok(state) = self.state.try_lock() else { return String::new() };
        let Some(joined) = &state.joined else { return String::new() };
        let news = joined.news.lock().footer(reached);
        // It is told once: the hook that runs after the tool has a better way to.
        if joined.is_told_by_hooks() { String::new() } else { news }
    }

    /// Takes another name: not while locks are held, which would be lost on the way.
    async fn rename(
        &self,
        state: &mut MutexGuard<'_, State>,
        caller: &Caller,
        name: String,
        said: &Said,
    ) -> Result<Joined, Failure> {
        let former = state.joined.clone();
        state.detached |= former.as_ref().is_some_and(Joined::is_replaced);
        if let Some(joined) = former.as_ref().filter(|joined| !joined.is_replaced()) {
            let held = joined.news.lock().locks().clone();
            if !held.is_empty() {
                return Err(Failure::new(format!(
                    "you are {} and hold locks under that name: {}. Next: mesh_unlock, then check in as {name}",
                    joined.name(),
                    held_list(&held)
                )));
            }
        }
        let focus = former.as_ref().and_then(|joined| joined.session.peer().info).map(|info| info.focus);
        let said = Said { focus: said.focus.clone().or(focus), ..said.clone() };
        let before = (state.name.replace(name), std::mem::replace(&mut state.any_name, false));
        // First the new name, so that one that is taken changes nothing.
        let renamed = self.join(state, caller, &said, Name::Demand).await;
        match &renamed {
            Ok(_) => state.any_name = true,
            Err(_) => (state.name, state.any_name) = before,
        }
        if let (Ok(_), Some(former)) = (&renamed, former) {
            former.session.leave().await?;
        }
        renamed
    }

    /// Lets go of a session that hooks have ended for all processes, or that is not the one that runs in the agent's
    /// process any longer, as after `/resume`.
    fn follow_hooks(&self, state: &mut MutexGuard<'_, State>) {
        let Some(joined) = &state.joined else { return };
        let Some(shared) = &joined.shared else { return };
        let process = self.host.process.filter(|_| shared.may_move);
        let runs = process.and_then(|process| self.registry().of_process(&shared.kind, process));
        let moved = runs.is_some_and(|runs| runs != *shared.kept.agent() && is_hooked(&runs));
        if moved || joined.news.lock().left {
            state.joined = None;
        }
    }

    fn registry(&self) -> Registry {
        Registry::of(&self.client.config().home)
    }

    /// The record of the agent session behind a call; `None` when nothing tells which it is.
    fn shared(&self, agent: &Agent) -> Option<Shared> {
        let identity = agent.identity(self.host.process);
        if !agent.may_be_hooked() || (identity.session.is_none() && identity.process.is_none()) {
            return None;
        }
        // What hooks know of the process is newer than what it was started with.
        let runs = self.host.process.and_then(|process| self.registry().of_process(&agent.kind, process));
        let bind = || {
            self.client.config().home.create()?;
            self.registry().bind(&identity, Continues::Nothing)
        };
        let found = runs.filter(|runs| !agent.told_now && is_hooked(runs)).map_or_else(bind, Ok);
        let claimed = found.and_then(|found| Ok((found.claim("adapter")?, found)));
        match claimed {
            // Another adapter serves this process, and nothing says that both do so for one session.
            Ok((None, found)) if agent.session.is_none() && !is_hooked(&found) => None,
            Ok((claim, found)) => Some(Shared {
                kind: agent.kind.clone(),
                may_move: !agent.told_now,
                kept: Kept::new(found, self.client.config()),
                _claim: claim.map(Arc::new),
            }),
            Err(error) => {
                tracing::warn!(%error, "no registry of agents; hooks will be another peer");
                None
            }
        }
    }

    /// Begins a session, or takes up the one that the agent session has.
    async fn begin(
        &self,
        kept: Option<&Kept>,
        options: JoinOptions,
        name: Name,
    ) -> Result<Session, ClientError> {
        match (kept, name) {
            (None, _) => Session::join(&self.client, options).await,
            (Some(kept), Name::Wish) => Session::enter(&self.client, kept.clone(), options).await,
            (Some(kept), Name::Demand) => Session::enter_anew(&self.client, kept.clone(), options).await,
        }
    }

    async fn join(
        &self,
        state: &mut MutexGuard<'_, State>,
        caller: &Caller,
        said: &Said,
        name: Name,
    ) -> Result<Joined, Failure> {
        if state.ended {
            return Err(Failure::new("this MCP server is shutting down"));
        }
        let place = match &state.place {
            Some(place) => Arc::clone(place),
            None => Arc::new(Place::find(&self.host.directory, self.scope.as_deref()).await?),
        };
        state.place = Some(Arc::clone(&place));
        let agent = self.host.agent(caller.client.as_ref(), &caller.meta);
        let shared = if state.detached { None } else { self.shared(&agent) };
        let resume_key = agent.session.as_ref().map(|id| format!("{}:{id}", agent.kind));
        let info = PeerInfo {
            agent_kind: agent.kind,
            agent_version: agent.version,
            host: self.host.machine.clone(),
            pid: self.host.process.map(|process| process.pid).unwrap_or_default(),
            worktree: place.worktree(),
            ..described(&place, said).await?
        };
        let options = JoinOptions {
            scope: place.scope.clone(),
            name: state.name.clone(),
            resume_key: resume_key.filter(|_| !state.detached),
            info,
            lease_ttl: None,
            liveness: Liveness::Attached,
            kept: None,
        };
        let maybe_known = options.name.is_some() || options.resume_key.is_some() || shared.is_some();
        let kept = shared.as_ref().map(|shared| &shared.kept);
        let session = match self.begin(kept, options.clone(), name).await {
            Err(error) if error.reason() == Some(ErrorReason::PeerNameTaken) && state.any_name => {
                tracing::warn!(
                    name = state.name,
                    "another live peer has the name; joining under a generated one"
                );
                self.begin(kept, JoinOptions { name: None, ..options }, name).await?
            }
            joined => joined?,
        };
        // At once: events without a reader are not kept.
        let events = session.events();
        let news = SharedNews::new(&session);
        if session.joined_at().is_none() {
            news.catch_up(&session).await;
        } else if maybe_known {
            news.take_over_locks(&session).await;
            news.learn_requests(&session).await;
        }
        let follow = tokio::spawn(news.clone().follow(session.clone(), events));
        let joined =
            Joined { session, news, place, shared, _follower: Arc::new(AbortOnDropHandle::new(follow)) };
        state.joined = Some(joined.clone());
        Ok(joined)
    }
}

/// Whether the name under which to join must be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    /// Another one will do, above all that of a session that there is.
    Wish,
    /// Only this one.
    Demand,
}

/// Whether hooks report on an agent session.
fn is_hooked(agent: &agent::Agent) -> bool {
    agent.read().is_some_and(|record| record.hooked)
}

/// The part of a peer's description that changes with the work.
async fn described(place: &Place, said: &Said) -> Result<PeerInfo, Failure> {
    let (branch, head) = place.head().await;
    Ok(PeerInfo {
        branch: said.branch.clone().unwrap_or(branch),
        head,
        focus: said.focus.clone().unwrap_or_default(),
        files: place.paths(&said.files).await?,
        ..PeerInfo::default()
    })
}

/// Tells the mesh what the agent says of itself, if that is new.
async fn say(joined: &Joined, said: &Said) -> Result<(), Failure> {
    let info = described(&joined.place, said).await?;
    let mut mask = vec!["branch", "head"];
    if said.focus.is_some() {
        mask.push("focus");
    }
    if !said.files.is_empty() {
        mask.push("files");
    }
    joined.session.update(info, &mask).await?;
    Ok(())
}
