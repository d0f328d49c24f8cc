//! The one way to the writer: a bounded queue that is fair to its callers.
//!
//! Each caller has a lane. Requests of one lane are taken in their order; between lanes the writer takes the one whose
//! turn it is by what was taken of each so far, large requests counting for more (start-time fair queueing). What must
//! hold: a request that finds its lane empty is next but for one request of every other lane; a lane takes at most half
//! of what room is left, and a lane's first request has room that no other takes, so that whoever is quiet finds some
//! however many are noisy; nothing waits unbounded, in number or in bytes.

mod weight;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use mesh_core::command::Request;
use mesh_core::id::SessionId;
use mesh_core::outcome::Outcome;
use mesh_core::revision::Revision;
use mesh_core::time::Timestamp;
use mesh_core::{Rejection, limits};
use thiserror::Error;
use tokio::sync::{Notify, oneshot};

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
    /// Nothing more comes: end.
    Stop,
}

/// A transport connection: alive as long as its socket is open.
pub type Connection = Weak<()>;

/// Whose requests wait in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// A session's.
    Session(SessionId),
    /// Those that come without a session on one connection, which is told by where it is in memory.
    Connection(usize),
    /// The broker's own.
    Broker,
}

impl Lane {
    /// The lane of a caller: its session's, or its connection's if it has none.
    #[must_use]
    pub fn of(session: Option<SessionId>, connection: &Connection) -> Self {
        session.map_or_else(|| Self::Connection(connection.as_ptr().addr()), Self::Session)
    }
}

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
    /// There is no room for one more of this caller.
    #[error("too many requests wait for the disk; retry in a moment")]
    Overloaded,
    /// The broker is shutting down. The request may or may not have happened; a retry with its id tells.
    #[error("the broker is shutting down; retry with the same request_id")]
    Draining,
}

/// The callers' end.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Callers>);

/// What all clones of a [`Handle`] share; without it no input comes any more.
#[derive(Debug)]
struct Callers(Arc<Shared>);

/// The writer's end.
#[derive(Debug)]
pub struct Inputs(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    lanes: Mutex<Lanes>,
    /// Tells the writer, while it sleeps, that something came.
    came: Condvar,
    /// Rung with each input, for a writer that has no thread to sleep in.
    bell: Option<Arc<Notify>>,
}

/// All that waits.
#[derive(Debug, Default)]
struct Lanes {
    /// Those that have something waiting.
    lanes: HashMap<Lane, Waiting>,
    /// The first of each lane, by its turn; ties go to who came first.
    turns: BTreeMap<Turn, Lane>,
    /// The turn of what was taken last.
    at: u64,
    /// Counts the inputs.
    arrivals: u64,
    count: usize,
    bytes: usize,
    asleep: bool,
    closed: Closed,
}

/// What waits of one lane.
#[derive(Debug, Default)]
struct Waiting {
    inputs: VecDeque<(Input, usize)>,
    bytes: usize,
}

type Turn = (u64, u64);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Closed {
    #[default]
    Open,
    /// What waits is still taken, and then the writer is told to stop.
    Stopping,
    /// Nobody calls any more: as above, without a word.
    Deserted,
    /// Nobody takes anything any more.
    Dead,
}

/// A queue and its two ends.
#[must_use]
pub fn queue() -> (Handle, Inputs) {
    ends(Shared::default())
}

/// As [`queue`], with a bell that rings whenever there is something to take.
#[must_use]
pub fn queue_with_bell(bell: Arc<Notify>) -> (Handle, Inputs) {
    ends(Shared { bell: Some(bell), ..Shared::default() })
}

fn ends(shared: Shared) -> (Handle, Inputs) {
    let shared = Arc::new(shared);
    (Handle(Arc::new(Callers(shared.clone()))), Inputs(shared))
}

impl Handle {
    /// Asks the writer in the lane of the request's caller; the answer comes when it is durable. Dropping the future
    /// does not take the request back.
    pub async fn submit(&self, request: Request) -> Result<Reply, CallError> {
        let lane = request.caller.map_or(Lane::Broker, Lane::Session);
        self.submit_in(lane, request).await
    }

    /// As [`Self::submit`], in a lane.
    pub async fn submit_in(&self, lane: Lane, request: Request) -> Result<Reply, CallError> {
        let (sender, receiver) = oneshot::channel();
        let weight = weight::of(&request);
        self.shared().push(lane, Input::Submit(Box::new(request), sender), weight)?;
        receiver.await.map_err(|_| CallError::Draining)?
    }

    /// Has the writer write and read something that nobody sees, and waits until it is durable.
    pub async fn probe(&self) -> Result<(), CallError> {
        let (sender, receiver) = oneshot::channel();
        self.shared().push(Lane::Broker, Input::Probe(sender), weight::LEAST)?;
        receiver.await.map_err(|_| CallError::Draining)
    }

    /// Tells the writer that a session's last stream ended.
    ///
    /// Without room in the queue nothing is told: the lease still ends the session, only later.
    pub fn detached(&self, session: SessionId, connection: Connection, at: Timestamp) {
        let told = Input::Detached { session, connection, at };
        let _ = self.shared().push(Lane::Session(session), told, weight::LEAST);
    }

    /// Ends the writer once it has done what is queued.
    pub fn stop(&self) {
        self.shared().close(Closed::Stopping);
    }

    /// How many inputs wait.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.shared().lanes().count
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.0.close(Closed::Deserted);
    }
}

impl Inputs {
    /// The next input, waiting for it at most so long, or without end.
    pub fn wait(&self, longest: Option<Duration>) -> Result<Input, RecvTimeoutError> {
        let until = longest.and_then(|longest| Instant::now().checked_add(longest));
        let mut lanes = self.0.lanes();
        loop {
            if let Some(input) = lanes.take() {
                return Ok(input);
            }
            match lanes.closed {
                Closed::Open => {}
                Closed::Stopping => return Ok(Input::Stop),
                Closed::Deserted | Closed::Dead => return Err(RecvTimeoutError::Disconnected),
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Err(RecvTimeoutError::Timeout);
            }
            lanes.asleep = true;
            lanes = match left {
                None => self.0.came.wait(lanes).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.0.came.wait_timeout(lanes, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            lanes.asleep = false;
        }
    }

    /// What waits, one by one, each when it is asked for.
    pub fn waiting(&self) -> impl Iterator<Item = Input> {
        std::iter::from_fn(|| {
            let mut lanes = self.0.lanes();
            let stop = (lanes.closed == Closed::Stopping).then_some(Input::Stop);
            lanes.take().or(stop)
        })
    }
}

impl Drop for Inputs {
    fn drop(&mut self) {
        let mut lanes = self.0.lanes();
        // Whoever waits learns of the end by its answer's sender going.
        let left = std::mem::replace(&mut *lanes, Lanes { closed: Closed::Dead, ..Lanes::default() });
        // Those who wait are let go in their order, and the same run ends in the same way.
        let Lanes { lanes: mut waiting, turns, .. } = left;
        for lane in turns.into_values() {
            drop(waiting.remove(&lane));
        }
    }
}

impl Shared {
    fn push(&self, lane: Lane, input: Input, weight: usize) -> Result<(), CallError> {
        let mut lanes = self.lanes();
        if lanes.closed != Closed::Open {
            return Err(CallError::Draining);
        }
        lanes.push(lane, input, weight)?;
        // Waking costs a system call, which a writer that is at work does not need.
        if lanes.asleep {
            self.came.notify_one();
        }
        drop(lanes);
        self.ring();
        Ok(())
    }

    fn close(&self, how: Closed) {
        let mut lanes = self.lanes();
        if lanes.closed == Closed::Open {
            lanes.closed = how;
            self.came.notify_one();
            drop(lanes);
            self.ring();
        }
    }

    fn ring(&self) {
        if let Some(bell) = &self.bell {
            bell.notify_one();
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    fn push(&mut self, lane: Lane, input: Input, weight: usize) -> Result<(), CallError> {
        let waits = self.lanes.get(&lane);
        let (count, bytes) = waits.map_or((0, 0), |waits| (waits.inputs.len(), waits.bytes));
        let left = limits::QUEUE.saturating_sub(self.count).min(limits::QUEUE_PER_CALLER);
        let left_bytes = limits::QUEUE_BYTES.saturating_sub(self.bytes);
        let fits = match count {
            0 => self.count < 2 * limits::QUEUE && self.bytes + weight <= 2 * limits::QUEUE_BYTES,
            // Leaves as much room as it takes.
            _ => count < left && bytes + weight <= left_bytes,
        };
        if !fits {
            return Err(CallError::Overloaded);
        }
        self.arrivals += 1;
        if waits.is_none() {
            self.turns.insert((self.at, self.arrivals), lane);
        }
        let waits = self.lanes.entry(lane).or_default();
        waits.inputs.push_back((input, weight));
        waits.bytes += weight;
        self.count += 1;
        self.bytes += weight;
        Ok(())
    }

    /// What is next. The lane's own next gets its turn later, the more so the more this weighs.
    fn take(&mut self) -> Option<Input> {
        let ((turn, arrival), lane) = self.turns.pop_first()?;
        let waits = self.lanes.get_mut(&lane)?;
        let (input, weight) = waits.inputs.pop_front()?;
        waits.bytes -= weight;
        self.count -= 1;
        self.bytes -= weight;
        self.at = turn;
        if waits.inputs.is_empty() {
            self.lanes.remove(&lane);
        } else {
            self.turns.insert((turn.saturating_add(weight as u64), arrival), lane);
        }
        Some(input)
    }
}

#[cfg(test)]
mod tests;
