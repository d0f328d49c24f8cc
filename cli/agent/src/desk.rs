//! What belongs to one call of a hook: the project, the agent session, its session on the mesh.
//!
//! Owns the way from a call to the peer that it acts for. What must hold: all calls of one agent session, and its MCP
//! adapter, are one peer in each scope.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use mesh_client::agent::{Agent, Continues, Identity, Kept, Membership, Process, Record, Registry};
use mesh_client::proto::{PeerActivity, PeerInfo, UpdatePeerRequest};
use mesh_client::worktree::WorktreeInfo;
use mesh_client::{Autostart, Client, Config, Endpoint, JoinOptions, Liveness, Session};
use mesh_hook::{Call, Event, Host, Source};
use prost_types::FieldMask;

use crate::problem::Problem;
use crate::project::Project;

/// How long an agent counts as present after a hook, when no process of it holds a stream.
pub(crate) const LEASE: std::time::Duration = std::time::Duration::from_secs(20 * 60);

/// One call of a hook, with all that it needs.
#[derive(Debug)]
pub(crate) struct Desk {
    /// What the host says.
    pub(crate) call: Call,
    /// The way to the broker.
    pub(crate) client: Client,
    /// Where the session runs.
    pub(crate) project: Rc<Project>,
    /// The agent session.
    pub(crate) kept: Kept,
    /// Whether a broker listens, as far as can be told without waiting. One that is stopped looks the same.
    pub(crate) reached: bool,
    chosen: Option<String>,
    /// The record as this call has last seen it. What must not be done twice is decided under the record's lock.
    record: RefCell<Record>,
    /// The sessions that this call uses, by scope.
    sessions: RefCell<BTreeMap<String, Session>>,
    /// Mail that this call has noted as shown: the scope, up to where before, and up to where now.
    pub(crate) shown: RefCell<Vec<(String, u64, u64)>>,
}

impl Desk {
    /// Finds out whom a call is for; `None` when hooks are switched off there. Needs a runtime; asks no broker.
    pub(crate) fn open(
        mut call: Call,
        config: Config,
        var: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Option<Self>, Problem> {
        if call.cwd.as_os_str().is_empty() {
            call.cwd = std::env::current_dir().map_err(|error| format!("the working directory: {error}"))?;
        }
        let chosen = config.scope.clone();
        let project = Rc::new(Project::around(&call.cwd, &config.home, chosen.as_deref())?);
        if !project.settings.hooks {
            return Ok(None);
        }
        let registry = Registry::of(&config.home);
        config.home.create()?;
        let who = identity(&call, var);
        let begins = matches!(call.event, Event::SessionStart(_) | Event::Prompt);
        let known = if begins { None } else { registry.find_running(&who) };
        // What was still under way when a session ended does not bring it back.
        let is_over = known.as_ref().is_some_and(|agent| agent.read().is_some_and(|record| record.ended));
        // What never began is not begun by its end: `claude mcp list` ends a session that nobody has seen.
        if is_over || (known.is_none() && matches!(call.event, Event::SessionEnd(_))) {
            return Ok(None);
        }
        let cleared = call.event == Event::SessionStart(Source::Clear);
        let agent = registry.bind(&who, if cleared { Continues::Process } else { Continues::Nothing })?;
        if call.event == Event::SessionStart(Source::Startup) {
            registry.tidy();
        }
        let record = hooked(&agent, who.process)?;
        let kept = Kept::new(agent, &config);
        let (reached, made) = reached(&config);
        let client = Client::over(config, made)?;
        let (record, sessions) = (RefCell::new(record), RefCell::default());
        Ok(Some(Self {
            call,
            client,
            project,
            kept,
            reached,
            chosen,
            record,
            sessions,
            shown: RefCell::default(),
        }))
    }

    /// The session in the scope of the project.
    pub(crate) async fn session(&self) -> Result<Session, Problem> {
        self.session_in(&self.project).await
    }

    /// The session in the scope of a project, begun if there is none.
    pub(crate) async fn session_in(&self, project: &Project) -> Result<Session, Problem> {
        if let Some(session) = self.sessions.borrow().get(&project.scope) {
            return Ok(session.clone());
        }
        let is_known = self.member_in(project).is_some();
        let options = JoinOptions {
            scope: project.scope.clone(),
            // Joining, now or later, asks for it: a git process only where there is no session yet.
            info: if is_known { self.info(project) } else { self.whole_info(project) },
            lease_ttl: Some(LEASE),
            liveness: Liveness::Unattended,
            ..JoinOptions::default()
        };
        let session = Session::enter(&self.client, self.kept.clone(), options).await?;
        if !is_known && let Some(record) = self.kept.agent().read() {
            self.record.replace(record);
        }
        self.sessions.borrow_mut().insert(project.scope.clone(), session.clone());
        Ok(session)
    }

    /// The sessions in all scopes that the agent session is in, that of the project first: it edits in other projects
    /// too, and is spoken to there.
    pub(crate) async fn sessions(&self) -> Result<Vec<Session>, Problem> {
        let mut all = vec![self.session().await?];
        for scope in self.kept.scopes().into_iter().filter(|scope| *scope != self.project.scope) {
            let options = JoinOptions {
                scope,
                lease_ttl: Some(LEASE),
                liveness: Liveness::Unattended,
                ..JoinOptions::default()
            };
            all.push(Session::enter(&self.client, self.kept.clone(), options).await?);
        }
        Ok(all)
    }

    /// What is kept of the session in the scope of the project.
    pub(crate) fn member(&self) -> Option<Membership> {
        self.member_in(&self.project)
    }

    /// What is kept of the session in the scope of a project.
    pub(crate) fn member_in(&self, project: &Project) -> Option<Membership> {
        self.kept.of(&self.record.borrow(), &project.scope).cloned()
    }

    /// Changes what is kept of the session in the scope of a project.
    pub(crate) async fn change_in<T>(
        &self,
        project: &Project,
        change: impl FnOnce(&mut Membership) -> T,
    ) -> Result<Option<T>, Problem> {
        let (changed, record) = self.kept.change_and_read(&project.scope, change).await?;
        self.record.replace(record);
        Ok(changed)
    }

    /// Tells what has changed of what the peer says of itself; the revision at which it was told.
    pub(crate) async fn update(
        &self,
        session: &Session,
        info: PeerInfo,
        mask: &[&str],
    ) -> Result<u64, Problem> {
        let request = UpdatePeerRequest {
            // Whoever began the session may have asked for less.
            lease_ttl: LEASE.try_into().ok(),
            info: Some(info),
            update_mask: Some(FieldMask { paths: mask.iter().map(ToString::to_string).collect() }),
            request_id: mesh_client::request_id(),
        };
        let answer = session.call(|client| {
            let request = request.clone();
            async move { client.peers().update_peer(request).await }
        });
        Ok(answer.await?.header.unwrap_or_default().revision)
    }

    /// The project around a path.
    pub(crate) fn project_of(&self, path: &Path) -> Result<Project, Problem> {
        Ok(Project::around(path, &self.client.config().home, self.chosen.as_deref())?)
    }

    /// The kind of agent.
    pub(crate) fn host(&self) -> Host {
        self.call.host
    }

    /// The agent or sub-agent that the call is about, in what the session notes for itself.
    pub(crate) fn who(&self) -> &str {
        self.call.subagent.as_ref().map_or("main", |child| child.id.as_str())
    }

    /// Ends the sessions of agents that have crashed here; whether there were any.
    pub(crate) async fn bury(&self) -> bool {
        Registry::of(&self.client.config().home).bury(&self.client).await > 0
    }

    /// Whether the broker was away not longer ago than that.
    pub(crate) fn was_away(&self, lately: std::time::Duration) -> bool {
        let noted = self.away_file().metadata().and_then(|metadata| metadata.modified());
        noted.is_ok_and(|at| at.elapsed().is_ok_and(|passed| passed < lately))
    }

    /// The broker is away; whether that is news to the user of this session. `anew` when it had all the time it gets.
    pub(crate) fn note_away(&self, anew: bool) -> bool {
        let file = self.away_file();
        let is_known = file.exists();
        if is_known && !anew {
            return false;
        }
        std::fs::write(file, b"").is_ok() && !is_known
    }

    /// The broker is there; whether it had been away.
    pub(crate) fn note_back(&self) -> bool {
        std::fs::remove_file(self.away_file()).is_ok()
    }

    /// One per agent session: each user is told once.
    fn away_file(&self) -> PathBuf {
        self.kept.agent().beside("away")
    }

    /// What the peer says of itself, as far as it is known without running git.
    pub(crate) fn info(&self, project: &Project) -> PeerInfo {
        PeerInfo {
            agent_kind: self.call.host.agent_kind().to_owned(),
            agent_version: self.call.version.clone().unwrap_or_default(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: self.process().map(|process| process.pid).unwrap_or_default(),
            worktree: project.root.to_string_lossy().into_owned(),
            branch: project.branch().unwrap_or_default(),
            wake: crate::wake::way_of(self.host()).to_owned(),
            activity: PeerActivity::Working.into(),
            ..PeerInfo::default()
        }
    }

    /// With the commit that is checked out.
    pub(crate) fn whole_info(&self, project: &Project) -> PeerInfo {
        let read = WorktreeInfo::read(&project.root).ok().flatten();
        let head = read.and_then(|worktree| worktree.head).unwrap_or_default();
        PeerInfo { head, ..self.info(project) }
    }

    /// The process of the agent.
    pub(crate) fn process(&self) -> Option<Process> {
        self.record.borrow().process
    }
}

/// The record, in which it is noted that hooks report on the agent.
fn hooked(agent: &Agent, process: Option<Process>) -> io::Result<Record> {
    let known = agent.read().filter(|record| record.hooked && !record.ended);
    let mut guard = match known {
        None => agent.lock()?,
        Some(record) if !record.clone().hook_from(process) => return Ok(record),
        // The next hook notes it as well.
        Some(record) => match agent.lock_at_once()? {
            Some(guard) => guard,
            None => return Ok(record),
        },
    };
    if guard.record.hook_from(process) | std::mem::take(&mut guard.record.ended) {
        guard.save()?;
    }
    Ok(guard.record.clone())
}

/// Whether a broker listens, and a connection to it if that is what tells.
fn reached(config: &Config) -> (bool, Option<UnixStream>) {
    let socket = match &config.endpoint {
        Endpoint::Local => config.home.socket_path(),
        Endpoint::Unix(path) => path.clone(),
        // The way there takes its time.
        Endpoint::Tcp(_) => return (true, None),
    };
    match UnixStream::connect(socket) {
        Ok(stream) => (true, Some(stream)),
        Err(error) => {
            (error.kind() == io::ErrorKind::WouldBlock && config.autostart != Autostart::Never, None)
        }
    }
}

fn identity(call: &Call, var: &dyn Fn(&str) -> Option<OsString>) -> Identity {
    let told = var("CLAUDE_PID").filter(|_| call.host == Host::ClaudeCode);
    let told = told.and_then(|pid| pid.to_str()?.parse().ok()).and_then(Process::of);
    Identity {
        kind: call.host.agent_kind().to_owned(),
        session: Some(call.session.clone()).filter(|id| !id.is_empty()),
        process: told.or_else(Process::above),
    }
}
