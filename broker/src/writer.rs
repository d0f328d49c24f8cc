//! The writer: the single owner of the state and the only one who writes to the store.
//!
//! It takes all that waits in its queue, decides one request after the other on a state that is ahead of the disk
//! by what it is about to commit, and commits the lot with one sync. Only then is any of it visible: first in the
//! view, then in the event log, then as answers, refusals too, since they may rest on what was just decided.
//!
//! A commit that fails ends the writer, and with it the process: nobody can tell what is on disk, and the next
//! start finds out. Nothing that was not acknowledged was promised.

mod history;
pub mod recovery;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mesh_core::command::{Command, Request};
use mesh_core::event::{Event, LeaveCause};
use mesh_core::id::SessionId;
use mesh_core::idempotency::Idempotency;
use mesh_core::mutation::{Mutation, planted};
use mesh_core::outcome::Outcome;
use mesh_core::rejection::Rejection;
use mesh_core::state::deadlines::Due;
use mesh_core::state::{Decision, Transaction};
use mesh_core::time::{Millis, Timestamp};
use mesh_core::{State, limits};
use tokio::sync::oneshot;

use self::history::History;
use crate::clock::{Clock, Time};
use crate::events::{EventLog, Publisher};
use crate::leases::Leases;
use crate::metrics::Commits;
use crate::queue::{self, CallError, Connection, Handle, Input, Inputs, Reply};
use crate::records;
use crate::store::{self, Batch, MAX_BATCH_OPS, MAX_VALUE_BYTES, Store, StoreError};
use crate::view::View;

/// A lease that ended so long before it was looked at was not heard out: the process was stopped or starved, and
/// what its clients sent meanwhile still waits to be read.
const STALL: Millis = Millis(250);

/// Half of what a timestamp counts.
const HALF: Duration = Duration::from_micros(500);

/// What the writer is told at start.
#[derive(Clone, Debug)]
pub struct WriterConfig {
    /// How long a peer whose stream broke may take to come back.
    pub grace: Millis,
    /// How many transactions the history keeps; at most [`limits::HISTORY_SLOTS`].
    pub history_count: u64,
    /// How long the history keeps a transaction, in mesh time.
    pub history_age: Millis,
    /// How many recent transactions are kept in memory.
    pub ring: usize,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self {
            grace: Millis(500),
            history_count: limits::HISTORY_SLOTS,
            history_age: Millis::days(7),
            ring: 8_192,
        }
    }
}

/// A running writer and what the rest of the broker sees of it.
#[derive(Debug)]
pub struct Started {
    /// The way to the writer.
    pub handle: Handle,
    /// What readers see.
    pub view: View,
    /// What subscribers see.
    pub events: EventLog,
    /// Signs of life.
    pub leases: Leases,
    /// Mesh time.
    pub clock: Clock,
    /// What is counted of commits.
    pub commits: Arc<Commits>,
    /// Ends when the writer does: with an error if the store failed it.
    pub thread: JoinHandle<Result<(), StoreError>>,
}

/// Recovers the state from the store and starts the writer on a thread of its own.
pub fn start(config: WriterConfig, store: Arc<dyn Store>) -> Result<Started, StoreError> {
    let (handle, inputs) = queue::queue();
    let (mut writer, seen) = Writer::recover(config, store, Time::Machine, &handle)?;
    let Seen { view, events, leases, clock, commits } = seen;
    let run = move || writer.run(&inputs);
    let thread = std::thread::Builder::new().name("writer".into()).spawn(run).map_err(|source| {
        StoreError::Io { action: "start the writer's thread for", path: "the store".into(), source }
    })?;
    Ok(Started { handle, view, events, leases, clock, commits, thread })
}

/// What the rest of the broker sees of a writer.
#[derive(Debug)]
pub struct Seen {
    /// What readers see.
    pub view: View,
    /// What subscribers see.
    pub events: EventLog,
    /// Signs of life.
    pub leases: Leases,
    /// Mesh time.
    pub clock: Clock,
    /// What its commits were like.
    pub commits: Arc<Commits>,
}

/// The owner of the state.
#[derive(Debug)]
pub struct Writer {
    config: WriterConfig,
    store: Arc<dyn Store>,
    clock: Clock,
    /// Ahead of the disk by `pending`.
    state: State,
    idempotency: Idempotency,
    view: View,
    publisher: Publisher,
    leases: Leases,
    /// Sessions whose last stream ended: until when they may come back, and the connection that carried it.
    graces: BTreeMap<(Timestamp, SessionId), Connection>,
    /// Sessions whose lease was found over too late to judge, with when they were last heard of: once a silence.
    spared: BTreeMap<SessionId, Timestamp>,
    history: History,
    commits: Arc<Commits>,
    pending: Pending,
}

/// What is decided and not yet durable.
#[derive(Debug, Default)]
struct Pending {
    batch: Batch,
    cost: usize,
    transactions: Vec<Transaction>,
    answers: Vec<Answer>,
    probes: Vec<oneshot::Sender<()>>,
}

type Answer = (oneshot::Sender<Result<Reply, CallError>>, Result<Reply, CallError>);

impl Writer {
    /// Rebuilds everything from the store. Whoever has a writer without a thread makes it work step by step:
    /// [`Self::gather`], [`Self::commit`], [`Self::trim`].
    pub fn recover(
        config: WriterConfig,
        store: Arc<dyn Store>,
        time: Time,
        handle: &Handle,
    ) -> Result<(Self, Seen), StoreError> {
        let recovered = recovery::recover(store.as_ref(), config.ring)?;
        let clock = Clock::of(time, recovered.at);
        let leases = Leases::new(clock.clone(), handle.clone());
        for session in recovered.state.peers.sessions() {
            leases.begin(session.id);
        }
        let view = View::new(recovered.state.clone());
        let head = recovered.state.revision();
        let (events, publisher) =
            crate::events::open(store.clone(), recovered.recent, recovered.oldest, head, config.ring);
        let history = History { oldest: recovered.oldest, oldest_at: recovered.oldest_at };
        let writer = Self {
            config,
            store,
            clock: clock.clone(),
            state: recovered.state,
            idempotency: recovered.idempotency,
            view: view.clone(),
            publisher,
            leases: leases.clone(),
            graces: BTreeMap::new(),
            spared: BTreeMap::new(),
            history,
            commits: Arc::default(),
            pending: Pending::default(),
        };
        let commits = writer.commits.clone();
        Ok((writer, Seen { view, events, leases, clock, commits }))
    }

    /// Works until it is told to stop or its last caller is gone.
    fn run(&mut self, inputs: &Inputs) -> Result<(), StoreError> {
        loop {
            let first = match self.wait(inputs) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let stop = self.gather(first, inputs)?;
            self.commit()?;
            if stop {
                return Ok(());
            }
            self.trim()?;
        }
    }

    /// Decides what waits in the queue, after `first`, and ends what is due. True when it was told to stop.
    pub fn gather(&mut self, first: Option<Input>, inputs: &Inputs) -> Result<bool, StoreError> {
        let mut stop = false;
        // Bounded, so that the commit and its answers come even if inputs never cease.
        for input in first.into_iter().chain(inputs.waiting()).take(limits::INPUTS_PER_TURN) {
            stop |= matches!(input, Input::Stop);
            self.take(input)?;
            if stop {
                break;
            }
        }
        self.expire()?;
        Ok(stop)
    }

    /// When there is something to do without an input.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let grace = self.graces.first_key_value().map(|((until, _), _)| *until);
        [self.state.next_deadline(), grace, self.trim_deadline()].into_iter().flatten().min()
    }

    /// Waits for an input, at most until something is due.
    fn wait(&self, inputs: &Inputs) -> Result<Input, RecvTimeoutError> {
        // A timestamp counts whole milliseconds; half a one more and the thing is due on waking.
        let until = |at: Timestamp| Duration::from_millis(at.since(self.clock.at()).0) + HALF;
        inputs.wait(self.next_deadline().map(until))
    }

    fn take(&mut self, input: Input) -> Result<(), StoreError> {
        self.expire()?;
        match input {
            Input::Submit(request, caller) => {
                let answer = self.decide(&request)?;
                let is_no = matches!(&answer, Err(_) | Ok(Reply { outcome: Outcome::Conflicts(_), .. }));
                if planted(Mutation::AnswerBeforeCommit) || (is_no && planted(Mutation::RefusalBeforeCommit))
                {
                    let _ = caller.send(answer);
                    return Ok(());
                }
                self.pending.answers.push((caller, answer));
            }
            Input::Detached { session, connection, at } => {
                let until = at.after(self.grace());
                self.graces.insert((until, session), connection);
            }
            Input::Probe(caller) => self.pending.probes.push(caller),
            Input::Stop => {}
        }
        Ok(())
    }

    /// Decides a request on the state as it will be once everything pending is durable.
    fn decide(&mut self, request: &Request) -> Result<Result<Reply, CallError>, StoreError> {
        let caller = request.caller.and_then(|session| self.state.peers.by_session(session));
        let caller = caller.map(|peer| (&peer.scope, &peer.name));
        match self.idempotency.first_answer(request, caller) {
            Ok(Some((revision, outcome))) => return Ok(Ok(Reply { revision, outcome })),
            Ok(None) => {}
            Err(rejection) => {
                // Who calls on a session that is over learns that, and nothing of a request that another made.
                let other = request.caller.filter(|_| !self.idempotency.is_of_caller(request));
                let ended = other.and_then(|session| self.state.peers.live(session).err());
                return Ok(Err(ended.unwrap_or(rejection).into()));
            }
        }
        let decision = match self.state.decide(request, self.clock.now()) {
            Ok(decision) => decision,
            Err(rejection) => return Ok(Err(rejection.into())),
        };
        match decision {
            Decision::Answer(outcome) => Ok(Ok(Reply { revision: self.state.revision(), outcome })),
            Decision::Commit(transaction) => self.admit(transaction),
        }
    }

    /// Adds a transaction to what the next commit makes durable.
    fn admit(&mut self, transaction: Transaction) -> Result<Result<Reply, CallError>, StoreError> {
        let batch = records::encode(&transaction)?;
        let mut cost = self.store.cost(&batch);
        if self.pending.cost + cost > MAX_BATCH_OPS {
            self.commit()?;
            // What was just stored may be what this one replaces or deletes.
            cost = self.store.cost(&batch);
        }
        if cost > MAX_BATCH_OPS {
            self.empty_slot(transaction.log.revision)?;
            cost = self.store.cost(&batch);
        }
        if cost > MAX_BATCH_OPS
            || batch.writes().any(|(_, v)| v.as_ref().is_some_and(|v| v.len() > MAX_VALUE_BYTES))
        {
            let limit = MAX_BATCH_OPS;
            return Ok(Err(Rejection::LimitReached { what: "changes of one request", limit }.into()));
        }
        let reply = Reply { revision: transaction.log.revision, outcome: transaction.outcome.clone() };
        self.state.apply_transaction(&transaction, self.clock.at());
        self.idempotency.remember(&transaction.log);
        if planted(Mutation::ViewBeforeCommit) {
            self.view.apply(std::iter::once(&transaction), self.clock.at());
        }
        if planted(Mutation::PublishBeforeCommit) {
            self.publisher.publish(std::iter::once(transaction.log.clone()));
        }
        self.pending.cost += cost;
        self.pending.batch.merge(batch);
        self.pending.transactions.push(transaction);
        Ok(Ok(reply))
    }

    /// Makes what is pending durable, then visible, then answers.
    pub fn commit(&mut self) -> Result<(), StoreError> {
        let pending = std::mem::take(&mut self.pending);
        if !pending.transactions.is_empty() {
            self.write(&pending.batch, pending.transactions.len()).or_else(taken_for_good)?;
            if let Some(last) = pending.transactions.last() {
                self.store.mark(last.log.revision.0)?;
            }
            self.note_sessions(&pending.transactions);
            if !planted(Mutation::ViewBeforeCommit) {
                self.view.apply(pending.transactions.iter(), self.clock.at());
            }
            if !planted(Mutation::PublishBeforeCommit) {
                self.publisher.publish(pending.transactions.iter().map(|t| t.log.clone()));
            }
            self.note_history(&pending.transactions);
        }
        for (caller, answer) in pending.answers {
            // A caller that is gone does not hear it.
            let _ = caller.send(answer);
        }
        self.prove(pending.probes)
    }

    /// Makes a batch durable, and counts that.
    fn write(&self, batch: &Batch, transactions: usize) -> Result<(), StoreError> {
        let bytes = batch.bytes();
        let span = tracing::debug_span!("commit", transactions, bytes);
        let begun = Instant::now();
        span.in_scope(|| self.store.commit(batch))?;
        self.commits.note(begun.elapsed(), transactions, bytes);
        Ok(())
    }

    /// Shows whoever asked that a write and a read work; one of each is enough for all.
    fn prove(&self, callers: Vec<oneshot::Sender<()>>) -> Result<(), StoreError> {
        if !callers.is_empty() {
            store::probe(self.store.as_ref(), self.clock.at().0)?;
        }
        for caller in callers {
            // A caller that is gone does not hear it.
            let _ = caller.send(());
        }
        Ok(())
    }

    /// Sessions that began or ended have, or have no longer, signs of life.
    fn note_sessions(&mut self, transactions: &[Transaction]) {
        for event in transactions.iter().flat_map(|transaction| &transaction.log.events) {
            match event {
                Event::PeerJoined { peer, .. } => {
                    if let Some(session) = &peer.session {
                        self.leases.begin(session.id);
                    }
                }
                Event::PeerLeft { session, cause, .. } => {
                    if *cause == LeaveCause::Expired {
                        self.commits.note_expired_lease();
                    }
                    self.leases.end(*session);
                    self.spared.remove(session);
                }
                Event::PeerUpdated { .. }
                | Event::StateChanged { .. }
                | Event::StateDeleted { .. }
                | Event::FileLocked { .. }
                | Event::FileUnlocked { .. }
                | Event::MessageSent { .. }
                | Event::LockQueued { .. }
                | Event::LockWaitEnded { .. }
                | Event::LockReleaseRequested { .. }
                | Event::LockReleaseAnswered { .. }
                | Event::FileTouched { .. }
                | Event::ContractChanged { .. }
                | Event::PolicyChanged { .. }
                | Event::TokenCreated { .. }
                | Event::TokenRevoked { .. } => {}
            }
        }
    }

    /// Ends everything that is past its deadline, so that no decision rests on what should be over.
    fn expire(&mut self) -> Result<(), StoreError> {
        let now = self.clock.at();
        while let Some(session) = self.overdue_grace(now) {
            self.submit_internal(Command::End { session, cause: LeaveCause::Disconnected })?;
        }
        while let Some(due) = self.state.due(now) {
            if let Due::Session(session) = due
                && let Some(alive_until) = self.heard_until(session, now)
                && alive_until > now
            {
                self.state.set_lease_deadline(session, alive_until);
                continue;
            }
            self.submit_internal(Command::Expire(due))?;
        }
        Ok(())
    }

    fn submit_internal(&mut self, command: Command) -> Result<(), StoreError> {
        match self.decide(&Request::internal(command))? {
            Ok(_) => Ok(()),
            // What is due would stay due for ever: better to end than to turn in a circle.
            Err(refused) => {
                let what = format!("what is due in it cannot be done: {refused}");
                Err(StoreError::Corrupt { what })
            }
        }
    }

    /// As [`Self::alive_until`], but a lease that was not heard out starts anew, once in a silence: late, never
    /// early, and not without end on a disk that makes every look a late one.
    fn heard_until(&mut self, session: SessionId, now: Timestamp) -> Option<Timestamp> {
        let until = self.alive_until(session)?;
        if now.since(until) <= STALL {
            return Some(until);
        }
        let seen = self.leases.last_seen(session)?;
        let spared = self.spared.insert(session, seen) == Some(seen);
        Some(if spared { until } else { now.after(until.since(seen)) })
    }

    /// Until when a session lives, as far as its signs of life tell.
    fn alive_until(&self, session: SessionId) -> Option<Timestamp> {
        let ttl = self.state.peers.by_session(session)?.session.as_ref()?.ttl;
        let ttl = if planted(Mutation::LeaseTooShort) { Millis(ttl.0 / 2) } else { ttl };
        if planted(Mutation::SignsOfLifeIgnored) {
            return Some(self.clock.at());
        }
        // A session whose join is not durable yet waits for its answer: it is alive.
        Some(self.leases.last_seen(session).unwrap_or_else(|| self.clock.at()).after(ttl))
    }

    /// How long a peer whose stream broke may take to come back.
    fn grace(&self) -> Millis {
        if planted(Mutation::GraceIgnored) { Millis::ZERO } else { self.config.grace }
    }

    /// A session whose time to come back is over and whose connection is gone.
    fn overdue_grace(&mut self, now: Timestamp) -> Option<SessionId> {
        while let Some(first) = self.graces.first_entry() {
            let (until, session) = *first.key();
            if until > now {
                return None;
            }
            let connection = first.remove();
            let since = Timestamp(until.0.saturating_sub(self.grace().0));
            let heard_of = self.leases.last_seen(session).is_some_and(|seen| seen > since);
            if connection.strong_count() == 0 && !heard_of && !self.leases.is_attached(session) {
                return Some(session);
            }
        }
        None
    }
}

/// A failed commit stays one, but for a planted bug.
fn taken_for_good(error: StoreError) -> Result<(), StoreError> {
    if planted(Mutation::CommitErrorIgnored) { Ok(()) } else { Err(error) }
}
