//! A broker in memory, called as clients call it but for the socket.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLockReadGuard};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use mesh_broker::ids::Ids;
use mesh_broker::service::auth::{Authority, ConnectionInfo, Passes, SessionTokens, Transport};
use mesh_broker::service::{self, BrokerInfo, Indices, Mesh, Reads, Shown, Waits, Wakes, WatchCount};
use mesh_broker::store::{Identity, MemoryDisk, MemoryStore, Secret, Store};
use mesh_broker::vitals::Vitals;
use mesh_broker::writer::{self, Started, WriterConfig};
use mesh_core::State;
use mesh_core::record::Record;
use mesh_core::time::WallTime;
use mesh_proto::v1::{JoinRequest, JoinResponse};
use prost::Message;
use prost_reflect::{DynamicMessage, MethodDescriptor, Value};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::ServiceExt;
use uuid::Uuid;

const UID: u32 = 1000;
/// A call that waits for longer is left alone: somebody waits for what does not come.
const LONGEST: Duration = Duration::from_millis(30);
/// What has to come.
const CERTAIN: Duration = Duration::from_secs(60);
/// Texts of answers that later requests may use.
const MET: usize = 64;

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub(super) enum Credentials {
    None,
    /// One of the two peers that there are from the start.
    Peer(usize),
    Nonsense,
}

/// A broker with two peers, fox and owl.
pub(super) struct Broker {
    disk: MemoryDisk,
    store: Arc<dyn Store>,
    mesh: Mesh,
    thread: std::thread::JoinHandle<Result<(), mesh_broker::store::StoreError>>,
    routes: Routes,
    socket: Arc<()>,
    sessions: Vec<String>,
    met: Mutex<Vec<String>>,
}

fn started(disk: &MemoryDisk) -> (Arc<dyn Store>, Started) {
    let identity = Identity { incarnation: Uuid::from_u128(7), secret: Secret::new([7; 32]), created_ms: 0 };
    let store: Arc<dyn Store> = Arc::new(MemoryStore::open(disk, identity).unwrap());
    let started = writer::start(WriterConfig::default(), store.clone()).unwrap();
    (store, started)
}

impl Broker {
    pub(super) async fn start() -> Self {
        let disk = MemoryDisk::new();
        let (store, started) = started(&disk);
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
            tokens: SessionTokens::new(&store.identity().secret),
            info: Arc::new(info),
            shutdown: CancellationToken::new(),
            watches: WatchCount::default(),
            waits: Waits::default(),
            ids: Ids::default(),
            vitals: Arc::new(vitals),
            passes: Passes::default(),
        };
        let routes = service::router(&mesh, Arc::new(Authority::new(UID, None))).unwrap();
        let mut broker = Self {
            disk,
            store,
            mesh,
            thread: started.thread,
            routes,
            socket: Arc::new(()),
            sessions: Vec::new(),
            met: Mutex::default(),
        };
        for name in ["fox", "owl"] {
            let join = JoinRequest { scope: "acme/app".into(), name: name.into(), ..JoinRequest::default() };
            let answer = broker
                .send("mesh.v1.PeerService/Join", Credentials::None, join.encode_to_vec(), CERTAIN)
                .await;
            let (answer, _) = answer.expect("joining does not wait");
            let joined = JoinResponse::decode(answer.slice(5..)).expect("an answer");
            broker.sessions.push(joined.session_token);
        }
        broker
    }

    /// What readers see.
    pub(super) fn view(&self) -> RwLockReadGuard<'_, State> {
        self.mesh.view.read()
    }

    /// Texts that answers held.
    pub(super) fn met(&self) -> Vec<String> {
        self.met.lock().unwrap().clone()
    }

    /// Makes a call, and looks whether the answer is one.
    pub(super) async fn call(&self, method: &MethodDescriptor, who: Credentials, message: Vec<u8>) {
        let path = format!("{}/{}", method.parent_service().full_name(), method.name());
        let is_message = DynamicMessage::decode(method.input(), &message[..]).is_ok();
        // Where nothing came for long, somebody waits.
        let Some((answer, status)) = self.send(&path, who, message, LONGEST).await else { return };
        if status.code() == Code::Ok {
            if let Some(body) = answer.get(5..) {
                let answer =
                    DynamicMessage::decode(method.output(), body).expect("an answer of the contract");
                self.keep(&answer);
            }
            return;
        }
        assert!(!status.message().is_empty(), "{path}: a refusal without a word: {status:?}");
        assert!(!status.message().chars().any(char::is_control), "{path}: {:?}", status.message());
        assert!(status.message().len() < 2_000, "{path}: a refusal repeats what it refuses");
        if is_message {
            let info = status.get_details_error_info();
            let info = info.unwrap_or_else(|| panic!("{path}: a refusal without a reason: {status:?}"));
            assert_eq!(info.domain, mesh_proto::ERROR_DOMAIN);
            assert_ne!(status.code(), Code::Internal, "{path}: {status:?}");
        }
    }

    async fn send(
        &self,
        path: &str,
        who: Credentials,
        message: Vec<u8>,
        within: Duration,
    ) -> Option<(Bytes, Status)> {
        let length = u32::try_from(message.len()).unwrap();
        let frame = [&[0][..], &length.to_be_bytes(), &message].concat();
        let mut request = http::Request::post(format!("http://mesh/{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let session = match who {
            Credentials::None => None,
            Credentials::Peer(number) => self.sessions.get(number).map(String::as_str),
            Credentials::Nonsense => Some("nonsense"),
        };
        if let Some(session) = session {
            request = request.header(mesh_proto::SESSION_METADATA, session);
        }
        let connection =
            ConnectionInfo { transport: Transport::Unix { uid: UID }, alive: Arc::downgrade(&self.socket) };
        let mut request = request.body(Body::new(Full::from(frame))).unwrap();
        request.extensions_mut().insert(connection);
        let answered = async {
            let response = self.routes.clone().oneshot(request).await.expect("routes do not fail");
            let (head, mut body) = response.into_parts();
            if let Some(status) = Status::from_header_map(&head.headers) {
                return (Bytes::new(), status);
            }
            let (mut bytes, mut trailers) = (Vec::new(), None);
            while let Some(frame) = body.frame().await {
                match frame.expect("bodies do not fail").into_data() {
                    // The first answer of a stream says enough.
                    Ok(data) if bytes.is_empty() => bytes.extend_from_slice(&data),
                    Ok(_) => break,
                    Err(frame) => trailers = frame.into_trailers().ok(),
                }
            }
            let status = trailers.and_then(|trailers| Status::from_header_map(&trailers));
            (Bytes::from(bytes), status.unwrap_or_else(|| Status::ok("")))
        };
        tokio::time::timeout(within, answered).await.ok()
    }

    /// Keeps the texts of an answer that a later request may name.
    fn keep(&self, answer: &DynamicMessage) {
        let mut met = self.met.lock().unwrap();
        let mut found = Vec::new();
        texts(&Value::Message(answer.clone()), &mut found);
        met.extend(found.into_iter().filter(|text| text.len() > 8 && text.len() < 200));
        let surplus = met.len().saturating_sub(MET);
        met.drain(..surplus);
    }

    /// Ends the broker and starts another on its disk; what each held.
    pub(super) fn restart(self) -> (Vec<Record>, Vec<Record>) {
        end(&self.mesh.writer, self.thread);
        let before = super::contents(&self.mesh.view.read());
        // Whoever still holds the disk is dead.
        self.disk.crash();
        let (_, again) = started(&self.disk);
        let after = super::contents(&again.view.read());
        end(&again.handle, again.thread);
        (before, after)
    }

    /// Ends the broker; what its store holds.
    pub(super) fn stored(self) -> Vec<(Vec<u8>, Vec<u8>)> {
        end(&self.mesh.writer, self.thread);
        let mut all = Vec::new();
        let mut visit = |key: &[u8], value: Bytes| {
            all.push((key.to_vec(), value.to_vec()));
            Ok(())
        };
        self.store.load(&mut visit).expect("memory does not fail");
        all
    }
}

fn end(
    handle: &mesh_broker::queue::Handle,
    thread: std::thread::JoinHandle<Result<(), mesh_broker::store::StoreError>>,
) {
    handle.stop();
    thread.join().expect("the writer does not panic").expect("memory does not fail");
}

fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Message(message) => message.fields().for_each(|(_, value)| texts(value, found)),
        Value::List(values) => values.iter().for_each(|value| texts(value, found)),
        Value::Bool(_)
        | Value::I32(_)
        | Value::I64(_)
        | Value::U32(_)
        | Value::U64(_)
        | Value::F32(_)
        | Value::F64(_)
        | Value::Bytes(_)
        | Value::EnumNumber(_)
        | Value::Map(_) => {}
    }
}
