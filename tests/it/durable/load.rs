//! Mixed load on a broker that is being killed, and the record of all that was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use mesh_client::proto::precondition::Condition;
use mesh_client::proto::{EventBatch, GetRequest, ListLocksRequest, ListMessagesRequest, Precondition};
use mesh_client::{Acquired, Client, ErrorReason, Session, request_id};
use mesh_tests::{Mesh, SCOPE, get, lock, message, options, put, unattended};
use tokio::task::JoinSet;

const WORKERS: usize = 8;
const COUNTERS: usize = 3;

pub(super) fn must_not_exist() -> Precondition {
    Precondition { condition: Some(Condition::MustNotExist(true)) }
}

/// What was acknowledged.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    /// Per key, the newest version with its revision.
    entries: BTreeMap<String, (u64, u64)>,
    /// How often each counter was counted up.
    counts: BTreeMap<String, u64>,
    /// Locks held for good, with their tokens.
    locks: BTreeMap<String, u64>,
    /// Text of each message sent, with its recipient and revision.
    sent: BTreeMap<String, (String, u64)>,
    /// Text of each message read, with its reader and revision, as often as it was read.
    read: Vec<(String, String, u64)>,
    /// Revision of each change, by its request.
    changes: BTreeMap<String, u64>,
}

/// Eight clients at work, until told to finish.
pub(super) struct Crew {
    ledger: Arc<Mutex<Ledger>>,
    done: Arc<AtomicBool>,
    workers: JoinSet<Worker>,
}

impl Crew {
    pub(super) async fn start(mesh: &Mesh) -> Self {
        let mut crew = Self { ledger: Arc::default(), done: Arc::default(), workers: JoinSet::new() };
        let mut workers = Vec::new();
        for number in 0..WORKERS {
            let client = mesh.starting_client();
            let session = Session::join(&client, options(&name(number))).await.unwrap();
            workers.push(Worker { number, client, session, ledger: Arc::clone(&crew.ledger) });
        }
        for worker in workers {
            crew.workers.spawn(worker.run(Arc::clone(&crew.done)));
        }
        crew
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    /// Lets everybody finish and then read their mail.
    pub(super) async fn finish(self) -> Ledger {
        self.done.store(true, Ordering::Relaxed);
        for worker in self.workers.join_all().await {
            while worker.read().await {}
        }
        Arc::try_unwrap(self.ledger).unwrap().into_inner().unwrap()
    }
}

fn name(number: usize) -> String {
    format!("worker-{number}")
}

struct Worker {
    number: usize,
    client: Client,
    session: Session,
    ledger: Arc<Mutex<Ledger>>,
}

impl Worker {
    async fn run(self, done: Arc<AtomicBool>) -> Self {
        let own = format!("own/{}", self.number);
        let Acquired::Granted(locks) = self.session.acquire(lock(&[&own])).await.unwrap() else {
            panic!("{own} is nobody else's")
        };
        self.ledger().locks.insert(own, locks[0].fencing_token);
        for round in 0.. {
            if done.load(Ordering::Relaxed) {
                break;
            }
            match (self.number + round) % 6 {
                0 | 1 => self.count_up(round).await,
                2 => self.send(round).await,
                3 => self.lock(round).await,
                4 => self.visit(round).await,
                _ => {
                    self.read().await;
                }
            }
        }
        self
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    /// Compare and swap: each acknowledged one adds exactly one.
    async fn count_up(&self, round: usize) {
        let key = format!("counter/{}", round % COUNTERS);
        let (value, condition) = match self.session.get(get(&key)).await {
            Ok(found) => {
                let entry = found.entry.unwrap();
                (entry.value.parse::<u64>().unwrap() + 1, Condition::Revision(entry.revision))
            }
            Err(error) => {
                assert_eq!(error.reason(), Some(ErrorReason::KeyNotFound), "{error}");
                (1, Condition::MustNotExist(true))
            }
        };
        let mut request = put(&key, &value.to_string());
        request.precondition = Some(Precondition { condition: Some(condition) });
        request.request_id = request_id();
        match self.session.put(request.clone()).await {
            Ok(answer) => {
                let entry = answer.entry.unwrap();
                let mut ledger = self.ledger();
                *ledger.counts.entry(key.clone()).or_default() += 1;
                let newest = ledger.entries.entry(key).or_default();
                *newest = (entry.version, entry.revision).max(*newest);
                ledger.changes.insert(request.request_id, entry.revision);
            }
            Err(error) => {
                let lost_race = [Some(ErrorReason::VersionMismatch), Some(ErrorReason::KeyExists)];
                assert!(lost_race.contains(&error.reason()), "{error}");
            }
        }
    }

    async fn send(&self, round: usize) {
        let to = name((self.number + 1 + round % (WORKERS - 1)) % WORKERS);
        let body = format!("{}/{round}", self.number);
        let mut request = message(&to, &body);
        request.request_id = request_id();
        let id = request.request_id.clone();
        let revision = self.session.send(request).await.unwrap().header.unwrap().revision;
        let mut ledger = self.ledger();
        assert!(ledger.sent.insert(body, (to, revision)).is_none());
        ledger.changes.insert(id, revision);
    }

    async fn lock(&self, round: usize) {
        let mut request = lock(&[&format!("shared/{}/", round % 2)]);
        request.request_id = request_id();
        let id = request.request_id.clone();
        if let Acquired::Granted(locks) = self.session.acquire(request).await.unwrap() {
            self.ledger().changes.insert(id, locks[0].fencing_token);
            self.session.release(vec![locks[0].path.clone()]).await.unwrap();
        }
    }

    /// Somebody comes and goes.
    async fn visit(&self, round: usize) {
        let visitor = unattended(&format!("visitor-{}-{}", self.number, round % 3));
        let visitor = Session::join(&self.client, visitor).await.unwrap();
        let revision = visitor.joined_at().unwrap().revision;
        self.ledger().changes.insert(format!("join {revision}"), revision);
        visitor.leave().await.unwrap();
    }

    /// Reads a page of mail and acknowledges it; false when there was none.
    async fn read(&self) -> bool {
        let inbox = self.session.inbox(ListMessagesRequest::default()).await.unwrap();
        if inbox.messages.is_empty() {
            return false;
        }
        self.session.ack(inbox.next_after_revision).await.unwrap();
        let reader = name(self.number);
        let read = inbox.messages.into_iter().map(|m| (m.body, reader.clone(), m.revision));
        self.ledger().read.extend(read);
        true
    }
}

impl Ledger {
    /// How many changes were acknowledged.
    pub(super) fn changes(&self) -> usize {
        self.changes.len()
    }

    /// Entries at their version or beyond, locks with their tokens.
    pub(super) async fn check_state(&self, client: &Client) {
        for (key, (version, revision)) in &self.entries {
            let entry = entry(client, key).await;
            assert!(entry.version >= *version && entry.revision >= *revision, "{key} is back at {entry:?}");
        }
        let answer = client.call(|client| async move {
            let request = ListLocksRequest { scope: SCOPE.into(), path: "own/".into(), ..Default::default() };
            client.locks().list_locks(request).await
        });
        let held: BTreeMap<_, _> =
            answer.await.unwrap().locks.into_iter().map(|lock| (lock.path, lock.fencing_token)).collect();
        for (path, token) in &self.locks {
            assert_eq!(held.get(path), Some(token), "the lock on {path}");
        }
    }

    /// Every acknowledged count counted, and none twice.
    pub(super) async fn check_counters(&self, client: &Client) {
        for (key, count) in &self.counts {
            let entry = entry(client, key).await;
            assert_eq!((entry.value, entry.version), (count.to_string(), *count), "{key}");
        }
    }

    /// Every acknowledged message was read by whom it was for, once.
    pub(super) fn check_messages(&self) {
        let mut read = BTreeSet::new();
        for (body, reader, revision) in &self.read {
            assert!(read.insert(body), "{body} was offered again after it was acknowledged");
            assert_eq!(self.sent.get(body), Some(&(reader.clone(), *revision)), "{body}");
        }
        let unread = self.sent.keys().filter(|body| !read.contains(body)).count();
        assert_eq!(unread, 0, "of {} messages", self.sent.len());
    }

    /// Every acknowledged change is in the log once, under its request.
    pub(super) fn check_log(&self, log: &[EventBatch]) {
        let by_request: BTreeMap<_, _> = log.iter().map(|b| (b.request_id.as_str(), b.revision)).collect();
        let mut revisions: Vec<u64> = log.iter().map(|batch| batch.revision).collect();
        revisions.dedup();
        assert_eq!(revisions.len(), log.len());
        for (request, revision) in &self.changes {
            assert!(revisions.binary_search(revision).is_ok(), "revision {revision} is missing");
            if !request.starts_with("join") {
                assert_eq!(by_request.get(request.as_str()), Some(revision), "{request}");
            }
        }
    }
}

async fn entry(client: &Client, key: &str) -> mesh_client::proto::Entry {
    let request = GetRequest { scope: SCOPE.into(), ..get(key) };
    let answer = client.call(|client| {
        let request = request.clone();
        async move { client.state().get(request).await }
    });
    answer.await.unwrap().entry.unwrap()
}
