//! A fake broker: just enough of the contract, with its state outside of the server so that it outlives a kill.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mesh_client::proto::event_service_server::{EventService, EventServiceServer};
use mesh_client::proto::lock_service_server::{LockService, LockServiceServer};
use mesh_client::proto::message_service_server::{MessageService, MessageServiceServer};
use mesh_client::proto::peer_service_server::{PeerService, PeerServiceServer};
use mesh_client::proto::state_service_server::{StateService, StateServiceServer};
use mesh_client::proto::watch_response::Payload;
use mesh_client::proto::*;
use mesh_client::{Autostart, Client, Config, Home};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

pub(crate) const SCOPE: &str = "github.com/acme/app";

/// A home with a broker that can be killed and started again.
pub(crate) struct Fake {
    pub(crate) state: Arc<State>,
    pub(crate) home: Home,
    _dir: tempfile::TempDir,
    server: Mutex<Option<Runtime>>,
}

/// What the fake broker keeps, and what a test may look at.
pub(crate) struct State {
    log: watch::Sender<Vec<EventBatch>>,
    /// Revisions up to here are compacted.
    pub(crate) compacted: Mutex<u64>,
    pub(crate) locks: Mutex<HashMap<String, String>>,
    /// Requests for locks as they came.
    pub(crate) acquires: Mutex<Vec<AcquireLocksRequest>>,
    /// Whether the next request that waits loses its place in the queue.
    pub(crate) loses_place: Mutex<bool>,
    /// Questions, and waits for a condition, as they came.
    pub(crate) asks: Mutex<Vec<AskRequest>>,
    pub(crate) waits: Mutex<Vec<WaitRequest>>,
    /// Whether these get no answer.
    pub(crate) hangs: Mutex<bool>,
    pub(crate) sessions: Mutex<Vec<String>>,
    pub(crate) joins: Mutex<Vec<JoinRequest>>,
    /// Answers to the next Puts, before they succeed; `None` means to hang.
    pub(crate) script: Mutex<VecDeque<Option<Status>>>,
    /// (request_id, session, authorization) of each Put seen.
    pub(crate) puts: Mutex<Vec<(String, String, String)>>,
    pub(crate) watches: watch::Sender<i32>,
    pub(crate) watch_requests: Mutex<Vec<WatchRequest>>,
}

impl Fake {
    /// A home without a running broker.
    pub(crate) fn stopped() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path()).unwrap();
        home.create().unwrap();
        Self { state: State::new(), home, _dir: dir, server: Mutex::new(None) }
    }

    pub(crate) fn running() -> Self {
        let fake = Self::stopped();
        fake.start();
        fake
    }

    pub(crate) fn start(&self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (path, state) = (self.home.socket_path(), Arc::clone(&self.state));
        let (bound, wait) = std::sync::mpsc::channel();
        runtime.spawn(async move { serve(&path, state, || bound.send(()).unwrap()).await });
        wait.recv().unwrap();
        *self.server.lock().unwrap() = Some(runtime);
    }

    /// As `kill -9`: every connection breaks, the socket stays behind.
    pub(crate) fn kill(&self) {
        let runtime = self.server.lock().unwrap().take().unwrap();
        // In a thread, since it blocks until every task of the server is gone.
        let killed = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(5)));
        killed.join().unwrap();
    }

    pub(crate) fn config(&self) -> Config {
        Config { autostart: Autostart::Never, ..Config::local(self.home.clone()) }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.config()).unwrap()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(runtime) = self.server.lock().unwrap().take() {
            runtime.shutdown_background();
        }
    }
}

impl State {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            log: watch::Sender::default(),
            compacted: Mutex::default(),
            locks: Mutex::default(),
            acquires: Mutex::default(),
            loses_place: Mutex::default(),
            asks: Mutex::default(),
            waits: Mutex::default(),
            hangs: Mutex::default(),
            sessions: Mutex::default(),
            joins: Mutex::default(),
            script: Mutex::default(),
            puts: Mutex::default(),
            watches: watch::Sender::default(),
            watch_requests: Mutex::default(),
        })
    }

    async fn hang(&self) {
        if *self.hangs.lock().unwrap() {
            std::future::pending::<()>().await;
        }
    }

    fn header(&self) -> Option<ResponseHeader> {
        header(self.log.borrow().len() as u64)
    }

    /// Appends a batch with one event; the revision is its place in the log.
    pub(crate) fn append(&self, event: event::Event) -> u64 {
        self.log.send_modify(|log| {
            let revision = log.len() as u64 + 1;
            log.push(EventBatch {
                revision,
                scope: SCOPE.into(),
                sequence: revision,
                prev_revision: revision - 1,
                events: vec![Event { event: Some(event) }],
                ..EventBatch::default()
            });
        });
        self.log.borrow().len() as u64
    }

    pub(crate) fn append_many(&self, count: usize) {
        for _ in 0..count {
            self.append(event::Event::StateChanged(StateChanged::default()));
        }
    }

    pub(crate) fn unlock(&self, path: &str) {
        let holder = self.locks.lock().unwrap().remove(path).unwrap();
        let ended = FileUnlocked { holder, paths: vec![path.into()], ..FileUnlocked::default() };
        self.append(event::Event::FileUnlocked(ended));
    }

    /// Waits until that many watches are open.
    pub(crate) async fn open_watches(&self, count: i32) {
        let mut watches = self.watches.subscribe();
        let open = watches.wait_for(|open| *open == count);
        tokio::time::timeout(Duration::from_secs(10), open).await.unwrap().unwrap();
    }

    fn check_session<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let token = metadata(request, "mesh-session");
        if self.sessions.lock().unwrap().contains(&token) {
            return Ok(());
        }
        Err(refusal(Code::FailedPrecondition, "SESSION_EXPIRED", &[]))
    }
}

pub(crate) fn refusal(code: Code, reason: &str, metadata: &[(&str, &str)]) -> Status {
    let metadata: HashMap<_, _> = metadata.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let details = ErrorDetails::with_error_info(reason, "mesh.v1", metadata);
    Status::with_error_details(code, reason, details)
}

fn header(revision: u64) -> Option<ResponseHeader> {
    Some(ResponseHeader { incarnation: "first".into(), revision })
}

fn metadata<T>(request: &Request<T>, key: &str) -> String {
    request.metadata().get(key).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

async fn serve(path: &Path, state: Arc<State>, bound: impl FnOnce()) {
    _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).unwrap();
    bound();
    tonic::transport::Server::builder()
        .add_service(PeerServiceServer::from_arc(Arc::clone(&state)))
        .add_service(StateServiceServer::from_arc(Arc::clone(&state)))
        .add_service(LockServiceServer::from_arc(Arc::clone(&state)))
        .add_service(MessageServiceServer::from_arc(Arc::clone(&state)))
        .add_service(EventServiceServer::from_arc(state))
        .serve_with_incoming(UnixListenerStream::new(listener))
        .await
        .unwrap();
}

/// Not a test of its own: the program that `start` tests start as a broker.
#[tokio::test]
async fn serve_process() {
    let Some(home) = std::env::var_os("MESH_FAKE_SERVE").and(std::env::var_os("MESH_HOME")) else { return };
    let home = PathBuf::from(home);
    let starts = std::fs::OpenOptions::new().create(true).append(true).open(home.join("starts"));
    std::io::Write::write_all(&mut starts.unwrap(), format!("{}\n", std::process::id()).as_bytes()).unwrap();
    serve(&home.join("mesh.sock"), State::new(), || println!("\nready")).await;
}

/// Methods that no test needs, as `async_trait` would write them.
macro_rules! not_faked {
    ($($name:ident($request:ty) -> $answer:ty;)*) => {
        $(fn $name<'a, 'b>(
            &'a self,
            _: Request<$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<$answer>, Status>> + Send + 'b>>
        where
            'a: 'b,
            Self: 'b,
        {
            Box::pin(async { Err(Status::unimplemented("not faked")) })
        })*
    };
}

#[tonic::async_trait]
impl PeerService for State {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let request = request.into_inner();
        let mut joins = self.joins.lock().unwrap();
        joins.push(request.clone());
        let token = format!("token-{}", joins.len());
        *self.sessions.lock().unwrap() = vec![token.clone()];
        let name = if request.name.is_empty() { "amber-fox".into() } else { request.name };
        let revision = self.append(event::Event::PeerJoined(PeerJoined::default()));
        Ok(Response::new(JoinResponse {
            header: header(revision),
            peer: Some(Peer {
                scope: request.scope,
                name,
                session_id: format!("session-{}", joins.len()),
                info: request.info,
                lease_ttl: request.lease_ttl,
                ..Peer::default()
            }),
            session_token: token,
            resumed: joins.len() > 1,
            unread: 0,
        }))
    }

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        self.check_session(&request)?;
        Ok(Response::new(HeartbeatResponse { header: self.header(), lease_ttl: None, peer: None }))
    }

    async fn leave(&self, request: Request<LeaveRequest>) -> Result<Response<LeaveResponse>, Status> {
        self.check_session(&request)?;
        self.sessions.lock().unwrap().clear();
        Ok(Response::new(LeaveResponse { header: self.header() }))
    }

    /// Knows of the peer that joined last what it said then, but for what ends with its session.
    async fn list_peers(
        &self,
        request: Request<ListPeersRequest>,
    ) -> Result<Response<ListPeersResponse>, Status> {
        let last = self.joins.lock().unwrap().last().cloned().filter(|_| request.get_ref().include_offline);
        let peer = last.map(|join| Peer {
            scope: join.scope,
            name: "amber-fox".into(),
            info: join.info.map(|info| PeerInfo {
                activity: PeerActivity::Unspecified.into(),
                wake: String::new(),
                children: Vec::new(),
                ..info
            }),
            ..Peer::default()
        });
        let peers = peer.into_iter().collect();
        Ok(Response::new(ListPeersResponse { header: self.header(), peers, ..ListPeersResponse::default() }))
    }

    not_faked! {
        update_peer(UpdatePeerRequest) -> UpdatePeerResponse;
    }
}

#[tonic::async_trait]
impl StateService for State {
    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let seen = (
            request.get_ref().request_id.clone(),
            metadata(&request, "mesh-session"),
            metadata(&request, "authorization"),
        );
        self.puts.lock().unwrap().push(seen);
        let scripted = self.script.lock().unwrap().pop_front();
        match scripted {
            Some(Some(status)) => return Err(status),
            Some(None) => std::future::pending().await,
            None => self.check_session(&request)?,
        }
        let revision = self.append(event::Event::StateChanged(StateChanged::default()));
        Ok(Response::new(PutResponse { header: header(revision), entry: None }))
    }

    async fn get(&self, _: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        Err(refusal(Code::NotFound, "KEY_NOT_FOUND", &[("key", "k")]))
    }

    not_faked! {
        list_entries(ListEntriesRequest) -> ListEntriesResponse;
        search_entries(SearchEntriesRequest) -> SearchEntriesResponse;
        list_versions(ListVersionsRequest) -> ListVersionsResponse;
        delete(DeleteRequest) -> DeleteResponse;
        restore(RestoreRequest) -> RestoreResponse;
        transact(TransactRequest) -> TransactResponse;
        set_policy(SetPolicyRequest) -> SetPolicyResponse;
        list_policies(ListPoliciesRequest) -> ListPoliciesResponse;
    }
}

impl State {
    /// Takes what is asked for, if none of it is held.
    fn try_locks(&self, paths: &[String]) -> AcquireLocksResponse {
        let mut held = self.locks.lock().unwrap();
        let lock = |path: &String, holder: &str| Lock {
            path: path.clone(),
            holder: holder.into(),
            remaining: Some(prost_types::Duration { seconds: 1800, nanos: 0 }),
            ..Lock::default()
        };
        let conflicts: Vec<_> = paths
            .iter()
            .filter_map(|path| held.get(path).map(|holder| lock(path, holder)))
            .map(|lock| LockConflict { path: lock.path.clone(), lock: Some(lock), ..LockConflict::default() })
            .collect();
        let mut locks = Vec::new();
        if conflicts.is_empty() {
            locks.extend(paths.iter().map(|path| lock(path, "amber-fox")));
            held.extend(paths.iter().map(|path| (path.clone(), "amber-fox".to_owned())));
        }
        AcquireLocksResponse { header: self.header(), locks, conflicts, ticket: 0 }
    }
}

#[tonic::async_trait]
impl LockService for State {
    async fn acquire_locks(
        &self,
        request: Request<AcquireLocksRequest>,
    ) -> Result<Response<AcquireLocksResponse>, Status> {
        let request = request.into_inner();
        self.acquires.lock().unwrap().push(request.clone());
        let wait = request.wait.map(|wait| Duration::try_from(wait).unwrap()).unwrap_or_default();
        let deadline = Instant::now() + wait;
        let mut log = self.log.subscribe();
        loop {
            let answer = self.try_locks(&request.paths);
            let thrown_out = !wait.is_zero() && std::mem::take(&mut *self.loses_place.lock().unwrap());
            if answer.conflicts.is_empty() || thrown_out || Instant::now() >= deadline {
                return Ok(Response::new(answer));
            }
            _ = tokio::time::timeout_at(deadline, log.changed()).await;
        }
    }

    async fn release_locks(
        &self,
        _: Request<ReleaseLocksRequest>,
    ) -> Result<Response<ReleaseLocksResponse>, Status> {
        // At most two a call, to have several.
        let mut held = self.locks.lock().unwrap();
        let paths: Vec<_> = held.keys().take(2).cloned().collect();
        held.retain(|path, _| !paths.contains(path));
        let remaining = held.len() as u32;
        let header = self.header();
        Ok(Response::new(ReleaseLocksResponse { header, paths, remaining, ..Default::default() }))
    }

    not_faked! {
        renew_locks(RenewLocksRequest) -> RenewLocksResponse;
        list_locks(ListLocksRequest) -> ListLocksResponse;
        list_lock_waiters(ListLockWaitersRequest) -> ListLockWaitersResponse;
        request_release(RequestReleaseRequest) -> RequestReleaseResponse;
        answer_release(AnswerReleaseRequest) -> AnswerReleaseResponse;
        list_release_requests(ListReleaseRequestsRequest) -> ListReleaseRequestsResponse;
        force_release(ForceReleaseRequest) -> ForceReleaseResponse;
        check_fence(CheckFenceRequest) -> CheckFenceResponse;
    }
}

#[tonic::async_trait]
impl MessageService for State {
    async fn ask(&self, request: Request<AskRequest>) -> Result<Response<AskResponse>, Status> {
        let request = request.into_inner();
        self.asks.lock().unwrap().push(request);
        self.hang().await;
        let reply = Message { body: "yes".into(), ..Message::default() };
        Ok(Response::new(AskResponse { header: self.header(), sent: None, reply: Some(reply) }))
    }

    not_faked! {
        send(SendRequest) -> SendResponse;
        list_messages(ListMessagesRequest) -> ListMessagesResponse;
        acknowledge_messages(AcknowledgeMessagesRequest) -> AcknowledgeMessagesResponse;
        get_receipts(GetReceiptsRequest) -> GetReceiptsResponse;
        report_wake(ReportWakeRequest) -> ReportWakeResponse;
        list_feed(ListFeedRequest) -> ListFeedResponse;
        follow_topics(FollowTopicsRequest) -> FollowTopicsResponse;
        list_topics(ListTopicsRequest) -> ListTopicsResponse;
    }
}

/// Counts an open watch for as long as it lives.
struct Open(Arc<watch::Sender<i32>>);

impl Open {
    fn new(watches: &watch::Sender<i32>) -> Self {
        watches.send_modify(|open| *open += 1);
        Self(Arc::new(watches.clone()))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

#[tonic::async_trait]
impl EventService for State {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        if request.metadata().contains_key("mesh-session") {
            self.check_session(&request)?;
        }
        let request = request.into_inner();
        self.watch_requests.lock().unwrap().push(request.clone());
        let mut log = self.log.subscribe();
        let mut next = match request.start_revision {
            0 => log.borrow().len() as u64 + 1,
            revision => revision,
        };
        if next <= *self.compacted.lock().unwrap() {
            return Err(refusal(Code::OutOfRange, "REVISION_COMPACTED", &[("oldest_revision", "3")]));
        }
        let open = Open::new(&self.watches);
        let stream = async_stream::stream! {
            let _open = open;
            let created = WatchCreated { start_revision: next, oldest_revision: 1 };
            yield WatchResponse { header: header(next - 1), payload: Some(Payload::Created(created)) };
            loop {
                let batch = log.borrow_and_update().get(next as usize - 1).cloned();
                match batch {
                    Some(batch) => {
                        next += 1;
                        yield WatchResponse { header: header(next - 1), payload: Some(Payload::Events(batch)) };
                    }
                    None => {
                        if log.changed().await.is_err() {
                            break;
                        }
                    }
                }
            }
        };
        Ok(Response::new(Box::pin(stream.map(Ok))))
    }

    async fn wait(&self, request: Request<WaitRequest>) -> Result<Response<WaitResponse>, Status> {
        self.waits.lock().unwrap().push(request.into_inner());
        self.hang().await;
        Ok(Response::new(WaitResponse { header: self.header(), met: true, ..WaitResponse::default() }))
    }

    not_faked! {
        list_events(ListEventsRequest) -> ListEventsResponse;
    }
}
