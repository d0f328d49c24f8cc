//! The services over the real writer and a store in memory, called as clients call them but for the socket.

mod asks;
mod events;
mod limits;
mod locks;
mod messages;
mod overwrites;
mod paths;
mod peers;
mod router;
mod search;
mod socket;
mod state;
mod topics;
mod wait;
mod waiting;
mod wakes;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::time::WallTime;
use mesh_proto::SESSION_METADATA;
use mesh_proto::v1 as pb;
use pb::admin_service_client::AdminServiceClient;
use pb::event_service_client::EventServiceClient;
use pb::lock_service_client::LockServiceClient;
use pb::message_service_client::MessageServiceClient;
use pb::path_service_client::PathServiceClient;
use pb::peer_service_client::PeerServiceClient;
use pb::state_service_client::StateServiceClient;
use prost::Message;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::service::{Interceptor, Routes};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

use super::auth::{Authority, ConnectionInfo, Passes, SessionTokens, Transport};
use super::{BrokerInfo, Indices, Mesh, Reads, Shown, Waits, Wakes, WatchCount, router as routes};
use crate::ids::Ids;
use crate::store::{Identity, MemoryDisk, MemoryStore, Secret, Store};
use crate::vitals::Vitals;
use crate::writer::{self, WriterConfig};

const UID: u32 = 1000;
const SCOPE: &str = "github.com/acme/app";

/// What a test asks of a broker, through a client's eyes.
struct Broker {
    mesh: Mesh,
    routes: Routes,
    /// The socket that all clients share.
    socket: Arc<()>,
}

/// A client's connection, with its credentials.
#[derive(Clone)]
struct Dial {
    connection: Option<ConnectionInfo>,
    bearer: Option<String>,
    session: Option<String>,
}

impl Interceptor for Dial {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(connection) = &self.connection {
            request.extensions_mut().insert(connection.clone());
        }
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.parse().unwrap());
        }
        if let Some(session) = &self.session {
            request.metadata_mut().insert(SESSION_METADATA, session.parse().unwrap());
        }
        Ok(request)
    }
}

/// One caller: clients of all services with the same credentials.
#[derive(Clone)]
struct Caller {
    token: String,
    wire: Wire,
}

type Wire = InterceptedService<Routes, Dial>;

impl Broker {
    fn start() -> Self {
        Self::with(WriterConfig::default())
    }

    fn with(config: WriterConfig) -> Self {
        Self::on(&MemoryDisk::new(), config)
    }

    /// A broker of what is on a disk.
    fn on(disk: &MemoryDisk, config: WriterConfig) -> Self {
        let identity =
            Identity { incarnation: Uuid::from_u128(7), secret: Secret::new([7; 32]), created_ms: 0 };
        let store: Arc<dyn Store> = Arc::new(MemoryStore::open(disk, identity).unwrap());
        let started = writer::start(config, store.clone()).unwrap();
        let info = BrokerInfo {
            version: "0.0.0",
            pid: 1,
            started: WallTime(1_000),
            store_path: PathBuf::from("memory"),
            endpoints: vec!["unix:///socket".to_owned()],
            auto_started: false,
            idle_exit: None,
            incarnation: store.identity().incarnation,
            store: store.clone(),
        };
        let vitals = Vitals::new(started.commits, started.handle.clone());
        let mesh = Mesh {
            reads: Reads::new(started.leases.clone()),
            shown: Shown::default(),
            wakes: Wakes::default(),
            indices: Indices::default(),
            writer: started.handle,
            view: started.view,
            events: started.events,
            leases: started.leases,
            clock: started.clock,
            ids: Ids::default(),
            tokens: SessionTokens::new(&store.identity().secret),
            info: Arc::new(info),
            shutdown: CancellationToken::new(),
            watches: WatchCount::default(),
            waits: Waits::default(),
            vitals: Arc::new(vitals),
            passes: Passes::default(),
        };
        let routes = routes(&mesh, Arc::new(Authority::new(UID, Some("open sesame")))).unwrap();
        Self { mesh, routes, socket: Arc::new(()) }
    }

    fn dial(&self) -> Dial {
        let transport = Transport::Unix { uid: UID };
        let connection = ConnectionInfo { transport, alive: Arc::downgrade(&self.socket) };
        Dial { connection: Some(connection), bearer: None, session: None }
    }

    fn tcp(&self, bearer: Option<&str>) -> Caller {
        let connection = ConnectionInfo { transport: Transport::Tcp, alive: Arc::downgrade(&self.socket) };
        let bearer = bearer.map(str::to_owned);
        self.caller(Dial { connection: Some(connection), bearer, session: None })
    }

    fn caller(&self, dial: Dial) -> Caller {
        let token = dial.session.clone().unwrap_or_default();
        Caller { token, wire: InterceptedService::new(self.routes.clone(), dial) }
    }

    /// Somebody without a session.
    fn nobody(&self) -> Caller {
        self.caller(self.dial())
    }

    fn with_token(&self, token: &str) -> Caller {
        self.caller(Dial { session: Some(token.to_owned()), ..self.dial() })
    }

    /// A peer of the usual scope.
    async fn join(&self, name: &str) -> Caller {
        self.join_in(SCOPE, name).await
    }

    async fn join_in(&self, scope: &str, name: &str) -> Caller {
        let request = pb::JoinRequest { scope: scope.into(), name: name.into(), ..Default::default() };
        let joined = self.nobody().peers().join(request).await.unwrap().into_inner();
        self.with_token(&joined.session_token)
    }

    fn revision(&self) -> u64 {
        self.mesh.view.revision().0
    }
}

impl Caller {
    fn peers(&self) -> PeerServiceClient<Wire> {
        PeerServiceClient::new(self.wire.clone())
    }

    fn state(&self) -> StateServiceClient<Wire> {
        StateServiceClient::new(self.wire.clone()).max_decoding_message_size(usize::MAX)
    }

    fn locks(&self) -> LockServiceClient<Wire> {
        LockServiceClient::new(self.wire.clone())
    }

    fn messages(&self) -> MessageServiceClient<Wire> {
        MessageServiceClient::new(self.wire.clone())
    }

    fn events(&self) -> EventServiceClient<Wire> {
        EventServiceClient::new(self.wire.clone())
    }

    fn paths(&self) -> PathServiceClient<Wire> {
        PathServiceClient::new(self.wire.clone())
    }

    fn admin(&self) -> AdminServiceClient<Wire> {
        AdminServiceClient::new(self.wire.clone())
    }

    async fn put(&self, key: &str, value: &str) -> pb::PutResponse {
        let request = pb::PutRequest { key: key.into(), value: value.into(), ..Default::default() };
        self.state().put(request).await.unwrap().into_inner()
    }

    async fn lock(&self, paths: &[&str]) -> pb::AcquireLocksResponse {
        let request = pb::AcquireLocksRequest { paths: texts(paths), ..Default::default() };
        self.locks().acquire_locks(request).await.unwrap().into_inner()
    }

    async fn read(&self, key: &str) -> pb::Entry {
        let request = pb::GetRequest { key: key.into(), ..Default::default() };
        self.state().get(request).await.unwrap().into_inner().entry.unwrap()
    }

    /// Writes without a precondition, which may be refused.
    async fn try_put(&self, key: &str, value: &str) -> Result<pb::Entry, Status> {
        let request = pb::PutRequest { key: key.into(), value: value.into(), ..Default::default() };
        self.state().put(request).await.map(|answer| answer.into_inner().entry.unwrap())
    }

    async fn tell(&self, to: &[&str], body: &str) -> pb::SendResponse {
        let broadcast = to.is_empty();
        let request = pb::SendRequest { to: texts(to), broadcast, body: body.into(), ..Default::default() };
        self.messages().send(request).await.unwrap().into_inner()
    }

    async fn leave(&self) {
        self.peers().leave(pb::LeaveRequest::default()).await.unwrap();
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn revision(header: &Option<pb::ResponseHeader>) -> u64 {
    header.as_ref().expect("every answer has a header").revision
}

/// The code and reason of a refusal, with the metadata that comes with it.
fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String, Vec<(String, String)>) {
    let status = answer.expect_err("a refusal");
    let info = status.get_details_error_info().expect("every refusal carries ErrorInfo");
    assert_eq!(info.domain, "mesh.v1");
    let mut metadata: Vec<_> = info.metadata.into_iter().collect();
    metadata.sort();
    (status.code(), info.reason, metadata)
}

fn reason<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    refusal(answer).1
}

/// What a refused write is told to merge with.
fn conflict<T: std::fmt::Debug>(answer: Result<T, Status>) -> pb::WriteConflict {
    let status = answer.expect_err("a refusal");
    let details = tonic_types::Status::decode(status.details()).unwrap().details;
    let own = details.iter().find(|detail| detail.type_url == mesh_proto::WRITE_CONFLICT_TYPE);
    pb::WriteConflict::decode(own.expect("a conflict is told in whole").value.as_slice()).unwrap()
}

/// The field that a refusal names.
fn field<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    let status = answer.expect_err("a refusal");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_details_bad_request().expect("INVALID_ARGUMENT carries BadRequest");
    details.field_violations.into_iter().map(|violation| violation.field).collect()
}

/// Nothing in these tests takes this long unless it hangs.
async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("an answer in time")
}
