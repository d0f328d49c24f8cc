//! The one way to the writer: a bounded queue.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};

use mesh_core::Rejection;
use mesh_core::command::Request;
use mesh_core::id::SessionId;
use mesh_core::outcome::Outcome;
use mesh_core::revision::Revision;
use mesh_core::time::Timestamp;
use thiserror::Error;
use tokio::sync::{Notify, oneshot};

/// How many requests may wait for the disk.
pub(crate) const CAPACITY: usize = 8_192;

/// What the writer is told.
#[derive(Debug)]
pub enum Input {
    /// Decide this, and answer when the answer is durable.
    Submit(Box<Request>, oneshot::Sender<Result<Reply, CallError>>),
    /// The last stream of a session ended.
    Detached {
        /// The session.
        session: SessionId,
        /// What the stream was on.
        connection: Connection,
        /// When, since the writer may hear of it later than of a sign of life that came after.
        at: Timestamp,
    },
    /// Write and read something that nobody sees, and answer when it is durable.
    Probe(oneshot::Sender<()>),
    /// Finish what is queued before this, and end.
    Stop,
}

/// A transport connection: alive as long as its socket is open.
pub type Connection = Weak<()>;

/// An answer, with the revision that it stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Revision of the change, or the current one when nothing changed.
    pub revision: Revision,
    /// The answer.
    pub outcome: Outcome,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    /// The answer is no.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The queue is full.
    #[error("too many requests wait for the disk; retry in a moment")]
    Overloaded,
    /// The broker is shutting down. The request may or may not have happened; a retry with its id tells.
    #[error("the broker is shutting down; retry with the same request_id")]
    Draining,
}

/// The callers' end.
#[derive(Clone, Debug)]
pub struct Handle {
    inputs: SyncSender<Input>,
    waiting: Arc<AtomicUsize>,
    /// Rung with each input, for a writer that has no thread to wait in.
    bell: Option<Arc<Notify>>,
}

/// A caller that waits for its answer.
#[derive(Debug)]
struct Waiting<'a>(&'a AtomicUsize);

/// A queue and its two ends.
#[must_use]
pub fn queue() -> (Handle, Receiver<Input>) {
    let (sender, receiver) = sync_channel(CAPACITY);
    (Handle { inputs: sender, waiting: Arc::default(), bell: None }, receiver)
}

/// As [`queue`], with a bell that rings whenever there is something to take.
#[must_use]
pub fn queue_with_bell(bell: Arc<Notify>) -> (Handle, Receiver<Input>) {
    let (handle, receiver) = queue();
    (Handle { bell: Some(bell), ..handle }, receiver)
}

impl Handle {
    /// Asks the writer; the answer comes when it is durable. Dropping the future does not take the request back.
    pub async fn submit(&self, request: Request) -> Result<Reply, CallError> {
        let (sender, receiver) = oneshot::channel();
        let _waiting = Waiting::new(&self.waiting);
        self.send(Input::Submit(Box::new(request), sender))?;
        receiver.await.map_err(|_| CallError::Draining)?
    }

    /// Has the writer write and read something that nobody sees, and waits until it is durable.
    pub async fn probe(&self) -> Result<(), CallError> {
        let (sender, receiver) = oneshot::channel();
        self.send(Input::Probe(sender))?;
        receiver.await.map_err(|_| CallError::Draining)
    }

    /// How many requests wait for their answer.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Tells the writer that a session's last stream ended.
    ///
    /// Without room in the queue nothing is told: the lease still ends the session, only later.
    pub fn detached(&self, session: SessionId, connection: Connection, at: Timestamp) {
        let _ = self.send(Input::Detached { session, connection, at });
    }

    /// Ends the writer once it has done what is queued. Waits for room, so call it from a blocking thread.
    pub fn stop(&self) {
        // A writer that is gone already needs no telling.
        let _ = self.inputs.send(Input::Stop);
        self.ring();
    }

    fn ring(&self) {
        if let Some(bell) = &self.bell {
            bell.notify_one();
        }
    }

    fn send(&self, input: Input) -> Result<(), CallError> {
        let sent = self.inputs.try_send(input).map_err(|error| match error {
            TrySendError::Full(_) => CallError::Overloaded,
            TrySendError::Disconnected(_) => CallError::Draining,
        });
        self.ring();
        sent
    }
}

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
