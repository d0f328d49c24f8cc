//! The peer behind the calls: joined by the first tool call that comes, left at the end.
//!
//! Owns the session; `shared` is the record that it is in when hooks report on the same agent session, `attach` takes
//! up the session that they have begun. What must hold: calls that come together join once; a call never joins after the process
//! began to end; a name given up is not taken again by itself; where hooks report on the same agent session, all its
//! processes are one peer, whichever of them came first.

mod attach;
mod joined;
mod shared;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mesh_client::agent::Kept;
use mesh_client::proto::PeerInfo;
use mesh_client::{Client, ClientError, ErrorReason, JoinOptions, Liveness, Session};
use rmcp::model::{Implementation, RequestMetaObject};
use rmcp::service::{Peer, RoleServer};
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::task::AbortOnDropHandle;

pub(crate) use self::joined::Joined;
use self::joined::Ties;
use self::shared::Shared;
use crate::Options;
use crate::args::Failure;
use crate::host::{Agent, Host};
use crate::news::{Reached, SharedNews, Signals, held_list};
use crate::place::Place;
use crate::wake::{Push, Waker, Way};

/// How long leaving may take when the process ends; the broker notices the end by itself soon after.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// How long an agent whose end closed this process's input is watched for being gone.
const DYING_LOOK: Duration = Duration::from_millis(10);
const DYING_LOOKS: u32 = 20;
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

/// The peer of this process.
#[derive(Debug)]
pub(crate) struct Member {
    client: Client,
    scope: Option<String>,
    host: Host,
    push: Push,
    /// The client, once it has said something.
    met: OnceLock<Peer<RoleServer>>,
    /// When to look at the mail, whichever session it is of.
    pub(crate) signals: Signals,
    /// What looks for a session that hooks have begun.
    attaching: std::sync::Mutex<Option<AbortOnDropHandle<()>>>,
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

impl Member {
    /// A peer that has not joined yet.
    pub(crate) fn new(options: Options, host: Host) -> anyhow::Result<Self> {
        let scope = options.scope.or_else(|| options.config.scope.clone());
        let state = State { name: options.name, any_name: true, ..State::default() };
        Ok(Self {
            client: Client::new(options.config)?,
            scope,
            host,
            push: options.push,
            met: OnceLock::new(),
            signals: Signals::default(),
            attaching: std::sync::Mutex::default(),
            state: Mutex::new(state),
        })
    }

    /// The agent behind a call.
    pub(crate) fn agent(&self, caller: &Caller) -> Agent {
        self.host.agent(caller.client.as_ref(), &caller.meta)
    }

    /// The session, which the first caller begins.
    pub(crate) async fn joined(&self, caller: &Caller) -> Result<Joined, Failure> {
        let mut state = self.state.lock().await;
        self.follow_hooks(&mut state, Some(&self.agent(caller)));
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
        self.follow_hooks(&mut state, Some(&self.agent(caller)));
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
        self.attaching.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let leave = async {
            let mut state = self.state.lock().await;
            state.ended = true;
            let Some(joined) = state.joined.take() else { return };
            if joined.goes_on() {
                let stays = joined.is_kept();
                drop(joined);
                if !self.bury().await && stays {
                    tokio::time::sleep(OUTLIVES).await;
                }
            } else if let Err(error) = joined.session.leave().await {
                tracing::debug!(%error, "could not leave; the broker will notice");
            }
        };
        if tokio::time::timeout(LEAVE_WITHIN, leave).await.is_err() {
            tracing::debug!("leaving took too long; the broker, or who meets its locks, will notice");
        }
    }

    /// Ends the session of the agent if it has crashed: no hook will. One that ends in order has told so before. Whether
    /// the agent is gone.
    async fn bury(&self) -> bool {
        let Some(process) = self.host.process else { return false };
        let registry = self.registry();
        for _ in 0..DYING_LOOKS {
            if !registry.has_at_work(process) {
                return true;
            }
            if !process.is_alive() {
                registry.bury(&self.client).await;
                return true;
            }
            // The input of a process that dies closes a little before it is gone.
            tokio::time::sleep(DYING_LOOK).await;
        }
        false
    }

    /// What the agent should know besides the answer; empty without news, or while another call joins.
    pub(crate) fn footer(&self, reached: Reached) -> String {
        let Ok(state) = self.state.try_lock() else { return String::new() };
        state.joined.as_ref().map(|joined| joined.footer(reached)).unwrap_or_default()
    }

    /// The session, if there is one at present.
    pub(crate) async fn present(&self) -> Option<Joined> {
        self.state.lock().await.joined.clone()
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
                    crate::render::word(&joined.name()),
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
        let place = self.place(state).await?;
        let agent = self.agent(caller);
        let former = state.joined.as_ref().and_then(|joined| joined.shared.as_ref());
        let shared = if state.detached { None } else { self.shared(&agent, former) };
        let resume_key = agent.session.as_ref().map(|id| format!("{}:{id}", agent.kind));
        // One process wakes; another beside it would do so too.
        let serves = shared.as_ref().is_none_or(Shared::is_served_here);
        let way = self.way(&agent.kind).filter(|_| serves);
        let hooked = shared.as_ref().is_some_and(Shared::is_hooked);
        let info = PeerInfo {
            // Hooks tell theirs.
            wake: way.as_ref().filter(|_| !hooked).map(|way| way.name().to_owned()).unwrap_or_default(),
            ..described(&place, said).await?
        };
        let options = JoinOptions {
            scope: place.scope.clone(),
            name: state.name.clone(),
            resume_key: resume_key.filter(|_| !state.detached),
            info: self.introduced(info, agent, &place),
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
        let joined = self.settle(session, Ties { place, shared, way }, maybe_known).await;
        state.joined = Some(joined.clone());
        Ok(joined)
    }

    /// A session with all that follows it.
    async fn settle(&self, session: Session, ties: Ties, maybe_known: bool) -> Joined {
        // At once: events without a reader are not kept.
        let events = session.events();
        let news = SharedNews::new(&session, self.signals.clone());
        let adopted = session.joined_at().is_none();
        // One that has ended begins anew now, so that its locks are seen to linger.
        if adopted && let Err(error) = session.heartbeat().await {
            tracing::warn!(%error, "the session that was left here may have ended");
        }
        if adopted || maybe_known {
            news.take_over_locks(&session).await;
        }
        if adopted {
            news.catch_up(&session).await;
        } else if maybe_known {
            news.learn_requests(&session).await;
        }
        let mut tasks = Vec::new();
        if let Some(way) = ties.way.clone() {
            let kept = ties.shared.as_ref().map(|shared| shared.kept.clone());
            tasks.push(tokio::spawn(Waker::new(way, session.clone(), news.clone(), kept).run()));
        }
        tasks.push(tokio::spawn(news.clone().follow(session.clone(), events)));
        let joined = Joined::new(session, news, ties, tasks);
        if adopted {
            joined.tell_wake().await;
        }
        joined
    }

    async fn place(&self, state: &mut MutexGuard<'_, State>) -> Result<Arc<Place>, Failure> {
        let place = match &state.place {
            Some(place) => Arc::clone(place),
            None => Arc::new(Place::find(&self.host.directory, self.scope.as_deref()).await?),
        };
        state.place = Some(Arc::clone(&place));
        Ok(place)
    }

    /// The way by which this process can wake an agent.
    fn way(&self, kind: &str) -> Option<Way> {
        Way::choose(self.push, self.host.inbox_of(kind), self.met.get())
    }

    /// What is said of a peer, with who it is and where.
    fn introduced(&self, info: PeerInfo, agent: Agent, place: &Place) -> PeerInfo {
        PeerInfo {
            agent_kind: agent.kind,
            agent_version: agent.version,
            host: self.host.machine.clone(),
            pid: self.host.process.map(|process| process.pid).unwrap_or_default(),
            worktree: place.worktree(),
            ..info
        }
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
