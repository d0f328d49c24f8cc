//! Who this person is on the mesh, or which agent runs this command in its shell.
//!
//! An agent that hooks or its MCP adapter have joined is the same peer here; the registry of agents knows it. Owns the saved sessions: one file per mesh, scope and name, mode 0600, below the home. What must hold: the
//! next invocation is the same peer, so that a lock outlives the command that took it and mail waits for its
//! reader; two invocations at once do not replace each other's session, so the sessions' directory is locked
//! from looking at a session until it is known to live.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mesh_client::agent::{Identity as AgentIdentity, Kept, Registry};
use mesh_client::proto::{GetStatusRequest, HeartbeatRequest, ListLocksRequest, PeerInfo};
use mesh_client::worktree::WorktreeInfo;
use mesh_client::{Client, ClientError, ErrorReason, Home, JoinOptions, Liveness, SavedSession, Session};
use serde::{Deserialize, Serialize};

use crate::context::{Context, current_dir};
use crate::error::CliError;
use crate::list;

/// What a lock lives when nothing else is asked for.
pub(crate) const LOCK_TTL: Duration = Duration::from_secs(30 * 60);
/// How much longer a session lives than the locks it took, so that they end by themselves and not with it.
const MARGIN: Duration = Duration::from_secs(60);
/// How long a person counts as present after a command, if no lock asks for longer.
const SHORTEST_LEASE: Duration = Duration::from_secs(2 * 60);
/// The longest lease there is.
const LONGEST_LEASE: Duration = Duration::from_secs(24 * 3600);

/// What the next invocation needs to be the same peer.
#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    /// Being this peer: a secret.
    resume_key: String,
    /// Lease of the session.
    lease_seconds: u64,
    session: SavedSession,
}

/// The session of this person, begun if there is none.
pub(crate) async fn act(ctx: &Context) -> Result<Session, CliError> {
    act_holding(ctx, Duration::ZERO).await
}

/// The session of this person, with a lease that outlives a lock of this ttl.
pub(crate) async fn act_holding(ctx: &Context, ttl: Duration) -> Result<Session, CliError> {
    let client = ctx.client()?;
    if let Some(kept) = agent(ctx, &client)? {
        return enter(ctx, &client, kept).await;
    }
    let incarnation = incarnation(&client).await?;
    let home = &client.config().home;
    home.create().map_err(|error| CliError::failure(format_args!("cannot keep sessions: {error}")))?;
    let _guard = lock_sessions(home).map_err(CliError::failure)?;
    let path = session_file(ctx, home, &incarnation)?;
    let saved = kept(&path);
    let lease = (ttl + MARGIN).clamp(SHORTEST_LEASE, LONGEST_LEASE);
    let Some(saved) = saved else {
        let options = options(ctx, uuid::Uuid::new_v4().to_string(), lease)?;
        return begin(&client, options, &path).await;
    };
    let live = is_live(&client, &saved.session).await?;
    let saved_lease = Duration::from_secs(saved.lease_seconds);
    if !live {
        return begin(&client, options(ctx, saved.resume_key, lease)?, &path).await;
    }
    let options = options(ctx, saved.resume_key.clone(), saved_lease.max(lease))?;
    let session = Session::adopt(&client, saved.session.clone(), options)?;
    if saved_lease < lease {
        session.set_lease(lease).await?;
        keep(&Identity { lease_seconds: lease.as_secs(), ..saved }, &path)?;
    }
    Ok(session)
}

/// Shortens the session's lease again once no lock needs it, so that this person does not count as present for
/// long.
pub(crate) async fn relax(ctx: &Context, session: &Session) -> Result<(), CliError> {
    let saved = session.saved();
    let request =
        ListLocksRequest { scope: saved.scope.clone(), holder: saved.name, ..ListLocksRequest::default() };
    let client = session.client();
    if session.is_shared() {
        return Ok(());
    }
    if !list::locks(&client, request).await?.locks.is_empty() {
        return Ok(());
    }
    session.set_lease(SHORTEST_LEASE).await?;
    let path = session_file(ctx, &client.config().home, &incarnation(&client).await?)?;
    match kept(&path) {
        Some(identity) => keep(&Identity { lease_seconds: SHORTEST_LEASE.as_secs(), ..identity }, &path),
        None => Ok(()),
    }
}

/// The way to read: for this person, if a session of theirs lives, so that what is read counts as read by them; else
/// for nobody, since reading needs no session and should begin none.
pub(crate) async fn reader(ctx: &Context) -> Result<Reader, CliError> {
    let client = ctx.client()?;
    let token = match agent(ctx, &client)? {
        Some(agent) => agent.read(&ctx.scope()?).map(|member| member.session.token),
        None => {
            let path = session_file(ctx, &client.config().home, &incarnation(&client).await?)?;
            kept(&path).map(|identity| identity.session.token)
        }
    };
    let saved = token.map(|token| client.with_session(&token)).transpose()?;
    Ok(Reader { anybody: client, saved })
}

/// Makes calls that only read.
pub(crate) struct Reader {
    anybody: Client,
    saved: Option<Client>,
}

impl Reader {
    /// Reads; as nobody, should the session have ended.
    pub(crate) async fn read<T>(
        &self,
        call: impl AsyncFn(&Client) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        if let Some(saved) = &self.saved {
            match call(saved).await {
                Err(error) if has_ended(&error) => {}
                result => return result,
            }
        }
        call(&self.anybody).await
    }
}

/// Reads with one method of a service: a copy of the request per try. With `waiting`, lets the broker wait so long.
macro_rules! read {
    ($reader:expr, $service:ident.$method:ident($request:expr), waiting $wait:expr) => {{
        let (request, wait) = ($request, $wait);
        let call = async |client: &mesh_client::Client| {
            let call = |client: mesh_client::Client| {
                let request = request.clone();
                async move { client.$service().$method(request).await }
            };
            client.call_waiting(wait, call).await
        };
        $reader.read(call).await
    }};
    ($reader:expr, $service:ident.$method:ident($request:expr)) => {
        crate::identity::read!($reader, $service.$method($request), waiting std::time::Duration::ZERO)
    };
}

pub(crate) use read;

/// The agent that runs this command in its shell, if it is known and no name was given.
fn agent(ctx: &Context, client: &Client) -> Result<Option<Kept>, CliError> {
    if ctx.given_name().is_some() {
        return Ok(None);
    }
    let Some(who) = AgentIdentity::of_shell(|name| std::env::var(name).ok()) else { return Ok(None) };
    let config = client.config();
    let kept = Registry::of(&config.home).find_above(&who).map(|agent| Kept::new(agent, config));
    // One that is nowhere has no hooks and no adapter; its commands are those of its user.
    Ok(kept.filter(|kept| !kept.scopes().is_empty()))
}

async fn enter(ctx: &Context, client: &Client, kept: Kept) -> Result<Session, CliError> {
    let options = JoinOptions {
        scope: ctx.scope()?,
        info: PeerInfo { agent_kind: kept.kind(), ..info_with_worktree()? },
        liveness: Liveness::Unattended,
        ..JoinOptions::default()
    };
    Ok(Session::enter(client, kept, options).await?)
}

/// The mesh's history, which tells meshes apart, whichever way they are reached.
async fn incarnation(client: &Client) -> Result<String, ClientError> {
    let status = client.call(|c| async move { c.admin().get_status(GetStatusRequest {}).await }).await?;
    Ok(status.header.unwrap_or_default().incarnation)
}

/// A peer for as long as this process: its own locks exclude those of every other invocation. In an agent's shell, the
/// agent: it must not be locked out by what it holds itself.
pub(crate) async fn ephemeral(ctx: &Context, focus: String) -> Result<Session, CliError> {
    let client = ctx.client()?;
    if let Some(kept) = agent(ctx, &client)? {
        return enter(ctx, &client, kept).await;
    }
    let name = with_pid(&ctx.name(), std::process::id());
    let info = PeerInfo { pid: std::process::id(), focus, ..info_with_worktree()? };
    let mut options = JoinOptions { scope: ctx.scope()?, name: Some(name), info, ..JoinOptions::default() };
    match Session::join(&client, options.clone()).await {
        // Somebody else's process of this number, on another machine.
        Err(error) if error.reason() == Some(ErrorReason::PeerNameTaken) => {
            options.name = None;
            Ok(Session::join(&client, options).await?)
        }
        result => Ok(result?),
    }
}

fn with_pid(name: &str, pid: u32) -> String {
    let suffix = format!("-{pid}");
    // Names are ASCII.
    format!("{}{suffix}", &name[..name.len().min(64 - suffix.len())])
}

async fn begin(client: &Client, options: JoinOptions, path: &PathBuf) -> Result<Session, CliError> {
    let options = JoinOptions { info: info_with_worktree()?, ..options };
    let resume_key = options.resume_key.clone().unwrap_or_default();
    let lease_seconds = options.lease_ttl.unwrap_or_default().as_secs();
    let session = Session::join(client, options).await?;
    let identity = Identity { resume_key, lease_seconds, session: session.saved() };
    keep(&identity, path)?;
    Ok(session)
}

fn options(ctx: &Context, resume_key: String, lease: Duration) -> Result<JoinOptions, CliError> {
    Ok(JoinOptions {
        scope: ctx.scope()?,
        name: Some(ctx.name()),
        resume_key: Some(resume_key),
        info: info(),
        lease_ttl: Some(lease),
        liveness: Liveness::Unattended,
        kept: None,
    })
}

/// What a person says of itself. No process id: the one that joins is gone in a moment.
fn info() -> PeerInfo {
    PeerInfo {
        agent_kind: "human".to_owned(),
        agent_version: concat!("meshctl ", env!("CARGO_PKG_VERSION")).to_owned(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        ..PeerInfo::default()
    }
}

/// With where it works, which takes a git process: only for joining.
fn info_with_worktree() -> Result<PeerInfo, CliError> {
    let mut info = info();
    if let Some(worktree) = WorktreeInfo::read(&current_dir()?).ok().flatten() {
        info.worktree = worktree.root.to_string_lossy().into_owned();
        info.branch = worktree.branch.unwrap_or_default();
        info.head = worktree.head.unwrap_or_default();
    }
    Ok(info)
}

/// Whether the broker still knows the session; asking refreshes its lease.
async fn is_live(client: &Client, saved: &SavedSession) -> Result<bool, CliError> {
    let client = client.with_session(&saved.token)?;
    let beat = client.call(|c| async move { c.peers().heartbeat(HeartbeatRequest {}).await }).await;
    match beat {
        Ok(_) => Ok(true),
        Err(error) if has_ended(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether a call failed because its session is no more.
pub(crate) fn has_ended(error: &ClientError) -> bool {
    matches!(error.reason(), Some(ErrorReason::SessionExpired | ErrorReason::Unauthenticated))
}

/// Waits for other invocations that are looking for their session.
fn lock_sessions(home: &Home) -> std::io::Result<File> {
    let directory = File::open(home.sessions_path())?;
    directory.lock()?;
    Ok(directory)
}

/// The file's name tells the person whose it is; the hash tells the mesh and the scope.
fn session_file(ctx: &Context, home: &Home, incarnation: &str) -> Result<PathBuf, CliError> {
    let (name, scope) = (ctx.name(), ctx.scope()?);
    let key = format!("{incarnation}\n{scope}\n{name}");
    let hash = blake3::hash(key.as_bytes()).to_hex();
    let readable: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).take(64).collect();
    Ok(home.sessions_path().join(format!("{readable}-{}.json", &hash[..16])))
}

/// What an earlier invocation kept, if any.
fn kept(path: &Path) -> Option<Identity> {
    std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
}

fn keep(identity: &Identity, path: &PathBuf) -> Result<(), CliError> {
    save(identity, path).map_err(|error| CliError::failure(format_args!("cannot keep the session: {error}")))
}

/// Replaces the file in one step; nobody else can read it.
fn save(identity: &Identity, path: &PathBuf) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(&serde_json::to_vec(identity)?)?;
    file.persist(path)?;
    Ok(())
}
