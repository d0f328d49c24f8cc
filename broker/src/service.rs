//! The gRPC services: a method parses its request into the core's words, asks the writer or the view, and answers.
//!
//! Wire types stop here. Owns nothing: [`Mesh`] is the handle on everything a service needs. What must hold: every
//! call passes [`auth::Gate`] first, every refusal goes through [`status`], no guard of the view is held across an
//! await, and an answer's header carries the revision it reflects.

mod admin;
pub mod auth;
mod convert;
pub mod deadline;
pub(crate) mod edge;
mod events;
mod health;
mod locks;
mod memory;
mod messages;
mod page;
mod paths;
mod peers;
mod places;
mod rate;
mod reads;
mod receipts;
mod search;
mod shares;
mod state;
pub mod status;
#[cfg(test)]
mod tests;
mod tokens;
mod waits;
mod wakes;

use std::path::PathBuf;
use std::sync::Arc;

use mesh_core::command::{Command, Request as CoreRequest};
use mesh_core::id::{ScopeId, SessionId};
use mesh_core::record::PeerRecord;
use mesh_core::revision::Revision;
use mesh_core::time::{Millis, WallTime};
use mesh_core::{Rejection, State, limits};
use mesh_proto::v1 as pb;
use pb::admin_service_server::AdminServiceServer;
use pb::event_service_server::EventServiceServer;
use pb::lock_service_server::LockServiceServer;
use pb::message_service_server::MessageServiceServer;
use pb::path_service_server::PathServiceServer;
use pb::peer_service_server::PeerServiceServer;
use pb::state_service_server::StateServiceServer;
use pb::token_service_server::TokenServiceServer;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_server::HealthServer;
use uuid::Uuid;

use self::auth::{Authority, By, Caller, Gate, Passes, SessionTokens};
use self::convert::RequestKey;
use self::places::{Place, Places};
pub use self::reads::Reads;
pub use self::receipts::Shown;
pub use self::search::Indices;
use self::shares::{Bound, Holder, Share, Shares};
use self::status::Refusal;
pub use self::waits::Waits;
pub use self::wakes::Wakes;
use crate::clock::Clock;
use crate::events::EventLog;
use crate::ids::Ids;
use crate::leases::Leases;
use crate::queue::{Handle, Reply};
use crate::store::Store;
use crate::view::View;
use crate::vitals::Vitals;

/// Everything a service needs, shared by all of them.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// The way to the writer.
    pub writer: Handle,
    /// What readers see.
    pub view: View,
    /// What subscribers see.
    pub events: EventLog,
    /// Signs of life.
    pub leases: Leases,
    /// Mesh time and wall time.
    pub clock: Clock,
    /// Fresh ids.
    pub ids: Ids,
    /// Issues session tokens.
    pub tokens: SessionTokens,
    /// What goes on under the tokens that let callers in.
    pub passes: Passes,
    /// Facts about this broker.
    pub info: Arc<BrokerInfo>,
    /// Ends the broker.
    pub shutdown: CancellationToken,
    /// Open Watch streams.
    pub watches: WatchCount,
    /// What each session last read.
    pub reads: Reads,
    /// What each peer was shown of its mail.
    pub shown: Shown,
    /// What the peers' programs reported of waking their agents.
    pub wakes: Wakes,
    /// Where words are found.
    pub indices: Indices,
    /// Calls that wait.
    pub waits: Waits,
    /// What is counted, and how the broker is.
    pub vitals: Arc<Vitals>,
}

/// Facts about a running broker that do not change.
#[derive(Debug)]
pub struct BrokerInfo {
    /// Version of the program.
    pub version: &'static str,
    /// Its process id.
    pub pid: u32,
    /// When it started.
    pub started: WallTime,
    /// Directory of the store.
    pub store_path: PathBuf,
    /// Where it listens, as URIs.
    pub endpoints: Vec<String>,
    /// Whether a client started it.
    pub auto_started: bool,
    /// How long it stays without peers and streams; none when it stays.
    pub idle_exit: Option<Millis>,
    /// Names the history of the store.
    pub incarnation: Uuid,
    /// The store, for its size.
    pub store: Arc<dyn Store>,
}

/// How many Watch streams are open, for all to see.
#[derive(Clone, Debug)]
pub struct WatchCount {
    count: watch::Sender<usize>,
    places: Places,
    shares: Shares,
}

/// One open Watch stream.
#[derive(Debug)]
struct OpenWatch {
    all: WatchCount,
    /// Where it is.
    place: Place,
    _share: Share,
}

impl Default for WatchCount {
    fn default() -> Self {
        let of_caller = Bound { what: "watches of a caller", limit: limits::WATCHES_PER_CALLER };
        let of_token = Bound { what: "watches of a token", limit: limits::WATCHES_PER_TOKEN };
        let shares = Shares::new(of_caller, of_token);
        Self { count: watch::Sender::default(), places: Places::default(), shares }
    }
}

impl WatchCount {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Tells whenever the count changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// How far the slowest of them is behind the newest revision.
    #[must_use]
    pub fn lag(&self, head: Revision) -> u64 {
        self.places.lag(head)
    }

    /// Counts one more for as long as it lives, unless there are as many as may be, or its caller has its share.
    fn open(&self, holder: &Holder) -> Result<OpenWatch, Rejection> {
        let share = self.shares.take(holder)?;
        let counted = self.count.send_if_modified(|open| {
            let room = *open < limits::WATCHES;
            *open += usize::from(room);
            room
        });
        if counted {
            return Ok(OpenWatch { all: self.clone(), place: self.places.take(), _share: share });
        }
        Err(Rejection::LimitReached { what: "watches", limit: limits::WATCHES })
    }
}

impl Drop for OpenWatch {
    fn drop(&mut self) {
        self.all.count.send_modify(|open| *open -= 1);
    }
}

/// All services behind one gate: those of [`services`], and reflection for tools of either age.
pub fn router(mesh: &Mesh, authority: Arc<Authority>) -> Result<Routes, tonic_reflection::server::Error> {
    let gate = Gate::new(authority, mesh);
    Ok(behind(&gate, mesh)
        .add_service(gate.guard(reflection().build_v1()?))
        .add_service(gate.guard(reflection().build_v1alpha()?)))
}

/// The eight services of the contract, and health, behind one gate.
pub fn services(mesh: &Mesh, authority: Arc<Authority>) -> Routes {
    behind(&Gate::new(authority, mesh), mesh)
}

fn behind(gate: &Gate, mesh: &Mesh) -> Routes {
    let open = gate.always_open();
    let peers = PeerServiceServer::new(mesh.clone()).max_decoding_message_size(limits::REQUEST_BYTES);
    let messages = MessageServiceServer::new(mesh.clone()).max_decoding_message_size(limits::REQUEST_BYTES);
    let state = StateServiceServer::new(mesh.clone()).max_decoding_message_size(limits::REQUEST_BYTES);
    let locks = LockServiceServer::new(mesh.clone()).max_decoding_message_size(limits::REQUEST_BYTES);
    let paths = PathServiceServer::new(mesh.clone()).max_decoding_message_size(limits::REQUEST_BYTES);
    let events = EventServiceServer::new(mesh.clone()).max_decoding_message_size(limits::REQUEST_BYTES);
    let tokens = TokenServiceServer::new(mesh.clone()).max_decoding_message_size(limits::REQUEST_BYTES);
    let admin = AdminServiceServer::new(mesh.clone()).max_decoding_message_size(limits::REQUEST_BYTES);
    let health = HealthServer::new(health::Health::new(mesh.vitals.clone(), mesh.shutdown.clone()));
    Routes::new(gate.guard(peers))
        .add_service(gate.guard(messages))
        .add_service(gate.guard(state))
        .add_service(gate.guard(locks))
        .add_service(gate.guard(paths))
        .add_service(gate.guard(events))
        .add_service(gate.guard(tokens))
        .add_service(open.guard(admin))
        .add_service(open.guard(health))
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(mesh_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Runs a call: who calls and what for in, an answer or a status out.
async fn answer<Q, A, F>(request: Request<Q>, run: impl FnOnce(Caller, Q) -> F) -> Result<Response<A>, Status>
where
    F: Future<Output = Result<A, Refusal>>,
{
    let caller = Caller::of(&request)?;
    if let Some(session) = caller.session {
        tracing::Span::current().record("session", tracing::field::display(session.0));
    }
    request.extensions().get::<rate::Pace>().copied().unwrap_or(rate::Pace::Now).keep().await?;
    // The edge logs what was refused, in one line for each.
    Ok(Response::new(run(caller, request.into_inner()).await?))
}

impl Mesh {
    /// Asks the writer on behalf of somebody.
    async fn submit(&self, by: By, key: RequestKey, command: Command) -> Result<Reply, Refusal> {
        let request = CoreRequest {
            caller: by.session,
            credential: by.credential,
            request_id: key.id,
            fingerprint: key.fingerprint,
            command,
        };
        self.name_in_span(by.session, &request);
        let reply = self.writer.submit_in(by.lane, request).await?;
        tracing::Span::current().record("revision", reply.revision.0);
        Ok(reply)
    }

    /// Whoever reads the log finds a change by these; looked up only when it is written.
    fn name_in_span(&self, caller: Option<SessionId>, request: &CoreRequest) {
        let span = tracing::Span::current();
        if span.is_disabled() {
            return;
        }
        if let Some(id) = &request.request_id {
            span.record("request_id", tracing::field::debug(id));
        }
        let state = self.view.read();
        if let Some(peer) = caller.and_then(|session| state.peers.by_session(session)) {
            span.record("scope", tracing::field::display(&peer.scope));
            span.record("peer", tracing::field::display(&peer.name));
        }
    }

    /// The header of an answer that reflects a revision.
    fn header(&self, revision: Revision) -> Option<pb::ResponseHeader> {
        Some(pb::ResponseHeader { incarnation: self.info.incarnation.to_string(), revision: revision.0 })
    }

    /// A peer as it is now.
    fn peer(&self, peer: &PeerRecord) -> pb::Peer {
        convert::peers::peer(peer, self.last_heard(peer))
    }

    /// When an online peer was last heard of, on the wall clock.
    fn last_heard(&self, peer: &PeerRecord) -> WallTime {
        let Some(session) = &peer.session else { return peer.joined };
        let Some(seen) = self.leases.last_seen(session.id) else { return session.joined };
        let now = self.clock.now();
        WallTime(now.wall.0.saturating_sub(now.at.since(seen).0))
    }

    /// The scope that a read is about: the one named, or the session's; none when there is neither. In place of one that
    /// the caller may not see, it is one in which nothing is.
    ///
    /// A session that has ended no longer tells its scope, and saying so lets its owner join again.
    fn scope_of(&self, state: &State, caller: &Caller, named: &str) -> Result<Option<ScopeId>, Refusal> {
        if !named.is_empty() {
            return Ok(Some(caller.principal.readable(ScopeId::parse(named)?)));
        }
        let Some(session) = caller.session else { return Ok(None) };
        let peer = state.peers.live(session)?;
        Ok(Some(peer.scope.clone()))
    }

    /// As [`Self::scope_of`], for reads of one scope.
    fn one_scope(&self, state: &State, caller: &Caller, named: &str) -> Result<ScopeId, Refusal> {
        let problem = "is empty; name a scope, or call with a session to mean its own";
        let scope = self.scope_of(state, caller, named)?;
        scope.ok_or_else(|| Rejection::invalid("scope", problem).into())
    }
}

/// The refusal when an answer is not the one that its request can have.
fn misfit(call: &'static str) -> Refusal {
    Refusal::Corrupt(format!("the answer stored for a {call} is not one to a {call}"))
}
