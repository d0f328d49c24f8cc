//! A session of a peer: joining, staying alive, joining again, leaving.
//!
//! Owns the session's token and the peer as last known. What must hold: when the broker says that the session
//! has ended, one task joins again as the same peer, every call waiting for it goes on with the new session,
//! and the news tell about it; but a session that was replaced or left stays ended, since two processes that
//! keep replacing each other would never stop.

mod calls;
mod keep;
mod lend;
mod news;
mod rejoin;
mod wait;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Response, Status};

pub use self::calls::Acquired;
pub use self::news::{SessionEvents, SessionNews};
use crate::agent::{Kept, Record};
use crate::proto::{ErrorReason, JoinRequest, JoinResponse, Peer, PeerInfo};
use crate::watch::Cursor;
use crate::{Client, ClientError, Token, Watch, WatchOptions};

/// The lease that the broker gives when none is asked for.
const DEFAULT_LEASE: Duration = Duration::from_secs(60);
/// A session that ends so soon after joining did not run out; joining at once again would only repeat it.
const REJOIN_INTERVAL: Duration = Duration::from_secs(5);

/// How a session is kept alive between calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Liveness {
    /// An open event stream keeps the lease; its end tells the broker within a second that the process is gone.
    #[default]
    Attached,
    /// A background task sends a heartbeat at each third of the lease.
    Heartbeat,
    /// Nothing: the lease lasts from call to call. For short-lived programs that continue a session by turns.
    Unattended,
}

/// Whom to join as.
#[derive(Clone, Default)]
pub struct JoinOptions {
    /// Scope to join.
    pub scope: String,
    /// Name asked for; `None` for a generated one.
    pub name: Option<String>,
    /// Stable key of the conversation or terminal behind the peer; a secret, since it means being that peer.
    pub resume_key: Option<String>,
    /// What the peer says of itself.
    pub info: PeerInfo,
    /// Lease: 1 s to 24 h; `None` leaves it to the broker (60 s).
    pub lease_ttl: Option<Duration>,
    /// How the session is kept alive.
    pub liveness: Liveness,
    /// Where the session is kept for the other processes of an agent session; set by [`Session::enter`].
    pub kept: Option<Kept>,
}

/// What is needed to continue a session in another process. Serialized, it holds a secret: mode 0600.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSession {
    /// Scope of the peer.
    pub scope: String,
    /// Name of the peer.
    pub name: String,
    /// Id of the session; not a secret.
    pub session_id: String,
    /// The session's token.
    pub token: Token,
}

/// One session of a peer. Clones share it; when the last one is dropped its stream ends, which the broker
/// takes as the end of the process. [`Session::leave`] ends it properly.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
    keeper: Option<Arc<AbortOnDropHandle<()>>>,
}

/// What the clones of a session and its background task share.
struct Shared {
    client: Client,
    options: JoinOptions,
    current: watch::Sender<Arc<Current>>,
    /// Held while joining again; when that happened last.
    rejoined: Mutex<Instant>,
    feed: news::Feed,
}

/// The session as it is at one time.
#[derive(Clone)]
struct Current {
    peer: Peer,
    token: Token,
    /// Carries the token.
    client: Client,
    /// Where the session began, for its event stream.
    cursor: Cursor,
    /// Messages waiting when it began.
    unread: u32,
    /// How often the session was replaced by joining again.
    generation: u64,
    left: bool,
}

impl Session {
    /// Begins a session.
    pub async fn join(client: &Client, options: JoinOptions) -> Result<Self, ClientError> {
        let request = options.request(client);
        let answer = client
            .call(|client| {
                let request = request.clone();
                async move { client.peers().join(request).await }
            })
            .await?;
        let current = Current::joined(client, answer, 0)?;
        Ok(Self::begin(client, options, current))
    }

    /// Continues a session that another process saved, without asking the broker; `options` say how to join
    /// again should it have ended, as the saved peer.
    pub fn adopt(client: &Client, saved: SavedSession, options: JoinOptions) -> Result<Self, ClientError> {
        let current = Current {
            client: client.with_session(&saved.token)?,
            peer: Peer {
                scope: saved.scope.clone(),
                name: saved.name,
                session_id: saved.session_id,
                info: Some(options.info.clone()),
                lease_ttl: options.lease_ttl.and_then(|ttl| ttl.try_into().ok()),
                ..Peer::default()
            },
            token: saved.token,
            cursor: Cursor::default(),
            unread: 0,
            generation: 0,
            left: false,
        };
        Ok(Self::begin(client, JoinOptions { scope: saved.scope, ..options }, current))
    }

    /// The session that all processes of an agent session share: the one that is kept, else a new one, which is kept
    /// from then on. The key to join with is that of the agent session. Whether a kept one still lives shows the first
    /// call, which joins again if need be.
    pub async fn enter(client: &Client, kept: Kept, options: JoinOptions) -> Result<Self, ClientError> {
        Self::enter_as(client, kept, options, false).await
    }

    /// As [`Session::enter`], but always begins a new session, under the name asked for, for all the processes.
    pub async fn enter_anew(client: &Client, kept: Kept, options: JoinOptions) -> Result<Self, ClientError> {
        Self::enter_as(client, kept, options, true).await
    }

    /// As [`Session::enter`], if there is a session; none is begun, now or later.
    pub fn enter_kept(client: &Client, kept: Kept, options: JoinOptions) -> Option<Self> {
        let record = kept.agent().read()?;
        let saved = kept.of(&record, &options.scope)?.session.clone();
        let resume_key = Some(record.key).filter(|key| !key.is_empty());
        Self::adopt(client, saved, JoinOptions { resume_key, kept: Some(kept), ..options }).ok()
    }

    async fn enter_as(
        client: &Client,
        kept: Kept,
        options: JoinOptions,
        anew: bool,
    ) -> Result<Self, ClientError> {
        let of_record = |record: &Record| JoinOptions {
            resume_key: Some(record.key.clone()).filter(|key| !key.is_empty()),
            kept: Some(kept.clone()),
            ..options.clone()
        };
        // A reader needs no lock, and one that has become old joins again under it.
        if !anew
            && let Some(record) = kept.agent().read()
            && let Some(membership) = kept.of(&record, &options.scope)
        {
            return Self::adopt(client, membership.session.clone(), of_record(&record));
        }
        let mut guard = kept.guard(client).await?;
        let options = of_record(&guard.record);
        if let Some(membership) = kept.of(&guard.record, &options.scope).filter(|_| !anew) {
            return Self::adopt(client, membership.session.clone(), options);
        }
        let session = Self::join(client, options).await?;
        rejoin::keep(client, &kept, &mut guard, &session.shared.current())?;
        Ok(session)
    }

    fn begin(client: &Client, options: JoinOptions, current: Current) -> Self {
        let liveness = options.liveness;
        let shared = Arc::new(Shared {
            client: client.clone(),
            options,
            current: watch::Sender::new(Arc::new(current)),
            rejoined: Mutex::new(Instant::now()),
            feed: news::Feed::default(),
        });
        let keeper = match liveness {
            Liveness::Attached => Some(tokio::spawn(keep::attend(Arc::clone(&shared)))),
            Liveness::Heartbeat => Some(tokio::spawn(keep::beat(Arc::clone(&shared)))),
            Liveness::Unattended => None,
        };
        Self { shared, keeper: keeper.map(|task| Arc::new(AbortOnDropHandle::new(task))) }
    }

    /// The peer, as of joining or the last update. Of an adopted session, only what was saved.
    pub fn peer(&self) -> Peer {
        self.shared.current().peer.clone()
    }

    /// Scope of the peer.
    pub fn scope(&self) -> String {
        self.shared.current().peer.scope.clone()
    }

    /// The session's token: a secret.
    pub fn token(&self) -> Token {
        self.shared.current().token.clone()
    }

    /// Whether other processes of the same agent session use it too; see [`Session::enter`].
    pub fn is_shared(&self) -> bool {
        self.shared.options.kept.is_some()
    }

    /// Messages that were waiting when the session began.
    pub fn unread_at_join(&self) -> u32 {
        self.shared.current().unread
    }

    /// The revision at which the session began: a watch from the next one misses nothing. `None` after
    /// [`Session::adopt`].
    pub fn joined_at(&self) -> Option<Cursor> {
        Some(self.shared.current().cursor.clone()).filter(|cursor| cursor.revision > 0)
    }

    /// What another process needs to continue the session. Save it anew after [`SessionNews::Rejoined`].
    pub fn saved(&self) -> SavedSession {
        self.shared.current().saved()
    }

    /// A client that carries the present token, for calls that have no method here; [`Session::call`] also
    /// joins again.
    pub fn client(&self) -> Client {
        self.shared.current().client.clone()
    }

    /// News from this call on, for one reader: a later call ends the stream of an earlier one. Only an attached
    /// session gets batches of events; every session learns that it has joined again. A reader that is slow
    /// delays its own news and loses none.
    pub fn events(&self) -> SessionEvents {
        SessionEvents::new(&self.shared)
    }

    /// A watch of its own, which does not depend on the session; empty `scopes` mean the session's scope.
    pub fn watch(&self, mut options: WatchOptions) -> Watch {
        if options.scopes.is_empty() {
            options.scopes.push(self.scope());
        }
        Watch::new(&self.shared.client, options)
    }

    /// Makes a call on behalf of the session, as [`Client::call`]; if the session has ended, joins again and
    /// repeats the call once.
    pub async fn call<T, F, Fut>(&self, call: F) -> Result<T, ClientError>
    where
        F: FnMut(Client) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        self.shared.call_waiting(Duration::ZERO, call).await
    }
}

impl Shared {
    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.borrow())
    }

    fn change(&self, change: impl FnOnce(&mut Current)) {
        self.current.send_modify(|current| change(Arc::make_mut(current)));
    }

    async fn call_waiting<T, F, Fut>(&self, wait: Duration, mut call: F) -> Result<T, ClientError>
    where
        F: FnMut(Client) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let current = self.current();
        if current.left {
            return Err(ClientError::SessionLeft);
        }
        match current.client.call_waiting(wait, &mut call).await {
            Err(error) if has_ended(&error) => {
                let current = self.rejoin(&current, error).await?;
                current.client.call_waiting(wait, call).await
            }
            result => result,
        }
    }
}

impl Current {
    fn saved(&self) -> SavedSession {
        let Self { peer, token, .. } = self.clone();
        SavedSession { scope: peer.scope, name: peer.name, session_id: peer.session_id, token }
    }

    fn joined(client: &Client, answer: JoinResponse, generation: u64) -> Result<Self, ClientError> {
        let (Some(header), Some(peer)) = (answer.header, answer.peer) else {
            return Err(ClientError::Protocol("an answer to Join names no peer or revision".into()));
        };
        let token = Token::parse(&answer.session_token)?;
        Ok(Self {
            client: client.with_session(&token)?,
            peer,
            token,
            cursor: Cursor { incarnation: header.incarnation, revision: header.revision },
            unread: answer.unread,
            generation,
            left: false,
        })
    }

    fn lease(&self) -> Duration {
        self.peer.lease_ttl.and_then(|ttl| ttl.try_into().ok()).unwrap_or(DEFAULT_LEASE)
    }
}

/// Whether the session of the call is no more. An unknown token comes as UNAUTHENTICATED.
fn has_ended(error: &ClientError) -> bool {
    matches!(error.reason(), Some(ErrorReason::SessionExpired | ErrorReason::Unauthenticated))
}

/// Whether another process has taken the peer over.
fn was_replaced(error: &ClientError) -> bool {
    error.refusal().and_then(|refusal| refusal.metadata.get("cause")).is_some_and(|cause| cause == "REPLACED")
}

impl JoinOptions {
    fn request(&self, client: &Client) -> JoinRequest {
        JoinRequest {
            scope: self.scope.clone(),
            name: self.name.clone().unwrap_or_default(),
            resume_key: self.resume_key.clone().unwrap_or_default(),
            info: Some(self.info.clone()),
            lease_ttl: self.lease_ttl.and_then(|ttl| ttl.try_into().ok()),
            request_id: client.request_id(),
        }
    }
}

impl fmt::Debug for JoinOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinOptions")
            .field("scope", &self.scope)
            .field("name", &self.name)
            .field("resume_key", &self.resume_key.as_ref().map(|_| "hidden"))
            .field("info", &self.info)
            .field("lease_ttl", &self.lease_ttl)
            .field("liveness", &self.liveness)
            .finish()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.shared.current();
        f.debug_struct("Session")
            .field("scope", &current.peer.scope)
            .field("peer", &current.peer.name)
            .field("session_id", &current.peer.session_id)
            .finish_non_exhaustive()
    }
}
