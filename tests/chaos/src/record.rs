//! The history of a run while it is made: shared by all who take part.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mesh_client::ClientError;

use crate::history::{Answer, History, List, Mail, MailStep, Op, Snapshot, What};

/// How long a call may go unanswered altogether.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where everybody writes down what they see.
#[derive(Clone, Debug)]
pub struct Record {
    began: Instant,
    history: Arc<Mutex<History>>,
    /// How many batches the first watch has seen.
    seen: Arc<AtomicU64>,
}

/// A call that was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) request_id: String,
    pub(crate) what: What,
    pub(crate) started: u64,
}

impl Record {
    /// An empty history that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { began: Instant::now(), history: Arc::default(), seen: Arc::default() }
    }

    /// Microseconds of the run.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.micros(Instant::now())
    }

    /// A time in microseconds of the run.
    #[must_use]
    pub fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
    }

    /// The history so far.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sends(&self, request_id: String, what: What) -> Sent {
        Sent { request_id, what, started: self.now() }
    }

    pub(crate) fn answered(&self, peer: &str, sent: Sent, answer: Answer) {
        let Sent { request_id, what, started } = sent;
        let op = Op { peer: peer.into(), request_id, what, started, ended: self.now(), answer };
        self.history().ops.push(op);
    }

    pub(crate) fn looked(&self, started: u64, revision: u64, list: List) {
        let ended = self.now();
        self.history().snapshots.push(Snapshot { revision, started, ended, list });
    }

    pub(crate) fn mail(&self, peer: &str, step: MailStep) {
        self.history().mail.push(Mail { peer: peer.into(), step });
    }

    /// Somebody met an error that the contract does not let them meet.
    pub(crate) fn failed(&self, what: String) {
        self.history().failures.push(what);
    }

    /// Makes a call again whenever a client has given up on the broker, as it does after ten seconds, and counts that.
    /// Only what no patience helps is an error.
    pub(crate) async fn patiently<T, Fut>(&self, mut call: impl FnMut() -> Fut) -> Result<T, ClientError>
    where
        Fut: Future<Output = Result<T, ClientError>>,
    {
        let began = Instant::now();
        loop {
            match call().await {
                Err(ClientError::Unreachable { .. }) if began.elapsed() < PATIENCE => {
                    self.history().given_up += 1;
                }
                result => return result,
            }
        }
    }

    pub(crate) fn saw_a_batch(&self) {
        self.seen.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn batches(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}

/// A short pause of a program that makes faults at random times; nothing waits for anything here.
pub(crate) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}
