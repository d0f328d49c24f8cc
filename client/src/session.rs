//! placeholder
use std::time::Duration;
use serde::{Deserialize, Serialize};
use crate::proto::*;
use crate::{Client, ClientError, Token, Watch, WatchOptions};

/// How a session is kept alive between calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Liveness {
    /// An open event stream keeps the lease; its end tells the broker within a second that the process is gone.
    #[default]
    Attached,
    /// A background task sends heartbeats at a third of the lease.
    Heartbeat,
    /// Nothing: the lease lasts from call to call. For short-lived programs that continue a session by turns.
    Unattended,
}

/// Who to join as.
#[derive(Clone, Default)]
pub struct JoinOptions {
    /// Scope to join.
    pub scope: String,
    /// Name asked for; `None` for a generated one.
    pub name: Option<String>,
    /// Stable key of the conversation or terminal behind the peer; a secret.
    pub resume_key: Option<String>,
    /// What the peer says of itself.
    pub info: PeerInfo,
    /// Lease: 1 s to 24 h; `None` leaves it to the broker (60 s).
    pub lease_ttl: Option<Duration>,
    /// How the session is kept alive.
    pub liveness: Liveness,
}

/// What is needed to continue a session from another process. Holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSession {
    /// Scope of the peer.
    pub scope: String,
    /// Name of the peer.
    pub name: String,
    /// Id of the session.
    pub session_id: String,
    /// The session's token.
    pub token: Token,
}

/// The verdict on a set of locks.
#[derive(Clone, Debug, PartialEq)]
pub enum Acquired {
    /// All targets are locked.
    Granted(Vec<Lock>),
    /// None is; this is in the way.
    Refused(Vec<LockConflict>),
}

/// News that reach a session.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SessionNews {
    /// Something happened in the scope, the peer's own doings included.
    Batch(EventBatch),
    /// The session had ended and a new one of the same peer began: locks may be gone.
    Rejoined(Box<Peer>),
    /// The connection is lost and being restored; nothing is missed.
    Interrupted(String),
}

/// The news of a session, from [`Session::events`].
#[derive(Debug)]
pub struct SessionEvents { _p: () }

impl SessionEvents {
    /// The next news; `None` after the session's end. Safe to cancel.
    pub async fn next(&mut self) -> Option<Result<SessionNews, ClientError>> { todo!() }
}

/// One incarnation of a peer. Clones share it; when the last is dropped its stream ends (= process gone).
#[derive(Clone, Debug)]
pub struct Session { _p: () }

impl Session {
    /// Joins.
    pub async fn join(_client: &Client, _options: JoinOptions) -> Result<Self, ClientError> { todo!() }
    /// Continues a saved session; `options` say how to join again should it have ended.
    pub fn adopt(_client: &Client, _saved: SavedSession, _options: JoinOptions) -> Self { todo!() }
    /// The peer as of the last join or update.
    pub fn peer(&self) -> Peer { todo!() }
    /// The session's token.
    pub fn token(&self) -> Token { todo!() }
    /// What another process needs to continue it.
    pub fn saved(&self) -> SavedSession { todo!() }
    /// A client whose calls carry the session's token.
    pub fn client(&self) -> Client { todo!() }
    /// News from now on. A later call ends the stream of an earlier one.
    pub fn events(&self) -> SessionEvents { todo!() }
    /// A watch of its own; empty `scopes` mean the session's scope.
    pub fn watch(&self, _options: WatchOptions) -> Watch { todo!() }
    /// Sends a message.
    pub async fn send(&self, _request: SendRequest) -> Result<SendResponse, ClientError> { todo!() }
    /// Reads the inbox.
    pub async fn inbox(&self, _request: ListMessagesRequest) -> Result<ListMessagesResponse, ClientError> { todo!() }
    /// Marks messages as read.
    pub async fn ack(&self, _up_to_revision: u64) -> Result<AcknowledgeMessagesResponse, ClientError> { todo!() }
    /// Writes an entry.
    pub async fn put(&self, _request: PutRequest) -> Result<PutResponse, ClientError> { todo!() }
    /// Reads an entry.
    pub async fn get(&self, _request: GetRequest) -> Result<GetResponse, ClientError> { todo!() }
    /// Lists entries.
    pub async fn list_entries(&self, _request: ListEntriesRequest) -> Result<ListEntriesResponse, ClientError> { todo!() }
    /// Deletes an entry.
    pub async fn delete(&self, _request: DeleteRequest) -> Result<DeleteResponse, ClientError> { todo!() }
    /// Takes locks, all or none.
    pub async fn acquire(&self, _request: AcquireLocksRequest) -> Result<Acquired, ClientError> { todo!() }
    /// Takes locks, waiting up to `patience` for others to give them up.
    pub async fn acquire_wait(&self, _request: AcquireLocksRequest, _patience: Duration) -> Result<Acquired, ClientError> { todo!() }
    /// Renews own locks; no paths mean all.
    pub async fn renew(&self, _request: RenewLocksRequest) -> Result<RenewLocksResponse, ClientError> { todo!() }
    /// Releases own locks; no paths mean all. Answers the targets released.
    pub async fn release(&self, _paths: Vec<String>) -> Result<Vec<String>, ClientError> { todo!() }
    /// Lists locks.
    pub async fn list_locks(&self, _request: ListLocksRequest) -> Result<ListLocksResponse, ClientError> { todo!() }
    /// Lists peers.
    pub async fn list_peers(&self, _request: ListPeersRequest) -> Result<ListPeersResponse, ClientError> { todo!() }
    /// Changes what the peer says of itself: the fields named in `mask`.
    pub async fn update(&self, _info: PeerInfo, _mask: &[&str]) -> Result<Peer, ClientError> { todo!() }
    /// Refreshes the lease.
    pub async fn heartbeat(&self) -> Result<(), ClientError> { todo!() }
    /// Ends the session.
    pub async fn leave(&self) -> Result<(), ClientError> { todo!() }
}
