//! The writer over a store in memory with faults on order. No thread and no waiting: a test hands the writer its
//! inputs, ends its turn and puts the clock forward.

mod commits;
mod damage;
mod fairness;
mod formats;
mod history;
mod liveness;
mod restarts;
mod sizes;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mesh_core::command::{Acquire, Command, Join, Labels, Precondition, Put, Request, Send};
use mesh_core::id::{EntryKey, MessageId, PeerName, RequestId, ResumeKey, ScopeId, SessionId};
use mesh_core::outcome::Outcome;
use mesh_core::pattern::Pattern;
use mesh_core::record::{Fingerprint, Intent, LockMode, LogRecord, PeerInfo, Recipients};
use mesh_core::revision::Revision;
use mesh_core::target::Target;
use mesh_core::time::Millis;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Seen, Writer, WriterConfig};
use crate::clock::Time;
use crate::queue::{self, CallError, Handle, Input, Inputs, Reply};
use crate::store::{Batch, Identity, Key, MemoryDisk, MemoryStore, Secret, Store, StoreError, Visitor};

type Answered = oneshot::Receiver<Result<Reply, CallError>>;

/// A writer with everything around it, and the disk that outlives it.
struct Bench {
    disk: MemoryDisk,
    config: WriterConfig,
    store: Arc<Ledger>,
    writer: Writer,
    seen: Seen,
    handle: Handle,
    inputs: Inputs,
    serial: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(WriterConfig::default())
    }

    fn with(config: WriterConfig) -> Self {
        Self::on(MemoryDisk::new(), config)
    }

    fn on(disk: MemoryDisk, config: WriterConfig) -> Self {
        disk.crash();
        let store = Arc::new(Ledger { inner: open(&disk), costs: Mutex::default() });
        let (handle, inputs) = queue::queue();
        let (writer, seen) = Writer::recover(config.clone(), store.clone(), Time::Machine, &handle).unwrap();
        Self { disk, config, store, writer, seen, handle, inputs, serial: 0 }
    }

    /// Kills this writer and starts another one on what is on its disk.
    fn reopen(self) -> Self {
        let serial = self.serial;
        Self { serial, ..Self::on(self.disk, self.config) }
    }

    /// Hands a request to the writer, whose turn goes on.
    fn submit(&mut self, request: Request) -> Answered {
        let (sender, receiver) = oneshot::channel();
        self.writer.take(Input::Submit(Box::new(request), sender)).unwrap();
        receiver
    }

    /// Hands a probe to the writer.
    fn probe(&mut self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.writer.take(Input::Probe(sender)).unwrap();
        receiver
    }

    /// Ends the writer's turn, with what streams have told meanwhile.
    fn turn(&mut self) -> Result<(), StoreError> {
        for input in self.inputs.waiting() {
            self.writer.take(input)?;
        }
        self.writer.expire()?;
        self.writer.commit()?;
        self.writer.trim()
    }

    /// Puts the clock forward and lets the writer do what is due.
    fn pass(&mut self, span: Millis) {
        self.seen.clock.advance(span);
        self.turn().unwrap();
    }

    fn ask(&mut self, request: Request) -> Result<Reply, CallError> {
        let mut answer = self.submit(request);
        self.turn().unwrap();
        answer.try_recv().expect("the turn is over")
    }

    fn outcome(&mut self, caller: SessionId, command: Command) -> Outcome {
        self.ask(by(caller, command)).unwrap().outcome
    }

    fn id(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn join(&mut self, who: &str) -> SessionId {
        self.join_for(who, Millis::minutes(10))
    }

    fn join_for(&mut self, who: &str, ttl: Millis) -> SessionId {
        let join = Join { ttl, ..self.a_join(who) };
        let session = join.session;
        self.ask(Request::internal(Command::Join(join))).unwrap();
        session
    }

    /// A join under a name, with a resume key of the same text.
    fn a_join(&mut self, who: &str) -> Join {
        Join {
            scope: scope(),
            name: Some(name(who)),
            allowed: Pattern::any(),
            resume_key: Some(ResumeKey::parse(who).unwrap()),
            info: PeerInfo::default(),
            ttl: Millis::minutes(10),
            session: SessionId(Uuid::from_u64_pair(7, self.id())),
            name_seed: 0,
        }
    }

    /// All that is in the log.
    fn log(&self) -> Vec<Arc<LogRecord>> {
        let mut found = Vec::new();
        let mut subscription = self.seen.events.subscribe(self.seen.events.oldest());
        loop {
            let chunk = now_or_never(subscription.ready()).unwrap();
            if chunk.is_empty() {
                return found;
            }
            found.extend(chunk);
        }
    }

    fn locked(&self) -> Vec<String> {
        self.seen.view.read().locks.list(None, None).map(|lock| lock.target.to_string()).collect()
    }

    fn online(&self) -> Vec<String> {
        self.seen.view.read().peers.online(&scope()).map(|peer| peer.name.to_string()).collect()
    }

    fn value(&self, at: &str) -> Option<String> {
        let view = self.seen.view.read();
        view.entries.get(&scope(), &key(at)).map(|entry| entry.value.to_string())
    }
}

/// A store that keeps account of what each commit costs.
#[derive(Debug)]
struct Ledger {
    inner: MemoryStore,
    costs: Mutex<Vec<usize>>,
}

impl Ledger {
    /// What the commits since the last call have cost.
    fn costs(&self) -> Vec<usize> {
        std::mem::take(&mut *self.costs.lock().unwrap())
    }
}

impl Store for Ledger {
    fn identity(&self) -> &Identity {
        self.inner.identity()
    }

    fn load(&self, visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        self.inner.load(visit)
    }

    fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(key)
    }

    fn cost(&self, batch: &Batch) -> usize {
        self.inner.cost(batch)
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.costs.lock().unwrap().push(self.inner.cost(batch));
        self.inner.commit(batch)
    }

    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }
}

fn open(disk: &MemoryDisk) -> MemoryStore {
    let identity = Identity { incarnation: Uuid::from_u128(1), secret: Secret::new([7; 32]), created_ms: 0 };
    MemoryStore::open(disk, identity).unwrap()
}

/// Drives what needs no waiting, on a runtime of its own since history is read on a blocking thread.
fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let limit = std::time::Duration::from_secs(20);
    runtime.block_on(async { tokio::time::timeout(limit, future).await }).expect("this hangs")
}

fn scope() -> ScopeId {
    ScopeId::parse("github.com/acme/app").unwrap()
}

fn name(text: &str) -> PeerName {
    PeerName::parse(text).unwrap()
}

fn key(text: &str) -> EntryKey {
    EntryKey::parse(text).unwrap()
}

fn target(text: &str) -> Target {
    Target::parse("path", text).unwrap()
}

fn joining(session: SessionId, who: &str) -> Request {
    Request::internal(Command::Join(Join {
        scope: scope(),
        name: Some(name(who)),
        resume_key: Some(ResumeKey::parse(who).unwrap()),
        info: PeerInfo::default(),
        ttl: Millis::minutes(10),
        session,
        name_seed: 0,
        allowed: Pattern::any(),
    }))
}

fn by(caller: SessionId, command: Command) -> Request {
    Request { caller: Some(caller), ..Request::internal(command) }
}

/// The same, to be repeated safely.
fn with_id(request: Request, id: &str) -> Request {
    Request { request_id: Some(RequestId::parse(id).unwrap()), fingerprint: Fingerprint([1; 16]), ..request }
}

fn put(at: &str, value: impl Into<Arc<str>>) -> Command {
    Command::Put(Put {
        scope: None,
        key: key(at),
        value: value.into(),
        precondition: Precondition::Any,
        ttl: None,
        paths: Vec::new(),
        tags: Vec::new(),
        labels: Labels::Replace,
        fence: None,
    })
}

fn lock(on: &str) -> Command {
    lock_for(on, Millis::minutes(30))
}

fn lock_for(on: &str, ttl: Millis) -> Command {
    let (mode, reason) = (LockMode::Exclusive, String::new());
    Command::Acquire(Acquire {
        targets: vec![target(on)],
        mode,
        ttl,
        reason,
        wait: Millis::ZERO,
        contract: None,
    })
}

fn send(id: u64, to: &str, body: impl Into<Arc<str>>) -> Command {
    Command::Send(Send {
        id: MessageId(Uuid::from_u64_pair(8, id)),
        to: Recipients::Direct(vec![name(to)]),
        body: body.into(),
        reply_to: None,
        intent: Intent::Inform,
        urgent: false,
        paths: Vec::new(),
    })
}

fn acknowledge(up_to: Revision) -> Command {
    Command::Acknowledge { up_to }
}

fn release_all() -> Command {
    Command::Release { targets: Vec::new(), keep: Vec::new(), note: String::new() }
}
