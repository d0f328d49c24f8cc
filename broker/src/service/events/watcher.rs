//! One reader's stream: where it is, and what it sends next.
//!
//! It holds a cursor over the shared log and at most one chunk of it, whatever its pace, and moves only when the
//! transport asks for the next item. What must hold: every batch that the filter lets through from the start on
//! is sent once and in order, or the stream ends with the reason why it cannot be; no item says that more was
//! delivered than was.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::vec;

use mesh_core::event::{Event, LeaveCause};
use mesh_core::id::SessionId;
use mesh_core::record::{EntryRecord, LockRecord, LogRecord, PeerRecord};
use mesh_core::revision::Revision;
use mesh_core::{Rejection, State, limits};
use mesh_proto::v1 as pb;
use pb::state_item::Item;
use pb::watch_response::Payload;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::filter::Filter;
use super::{refuse_field, start};
use crate::events::Subscription;
use crate::leases::Attachment;
use crate::service::auth::Caller;
use crate::service::convert::locks::LockStatus;
use crate::service::convert::{entries, locks, span};
use crate::service::shares::Holder;
use crate::service::status::Refusal;
use crate::service::{Mesh, OpenWatch};

/// Transactions that may be passed over before progress is told, so that a reader who comes back after a
/// break does not pass over them again.
const STRETCH: u64 = 4_096;

/// A reader of the event log.
#[derive(Debug)]
pub(super) struct Watcher {
    mesh: Mesh,
    filter: Filter,
    stage: Stage,
    subscription: Subscription,
    /// Read from the log and not yet looked at.
    chunk: vec::IntoIter<Arc<LogRecord>>,
    /// The last revision looked at.
    looked_at: Revision,
    /// What the last item told: everything up to here was delivered.
    told: Revision,
    silence: Duration,
    /// When the silence has lasted long enough.
    progress_at: Instant,
    /// The session whose stream this is.
    session: Option<SessionId>,
    /// How that session ended, once its end was looked at.
    ended: Option<LeaveCause>,
    open: OpenWatch,
    _attachment: Option<Attachment>,
}

/// What comes next.
#[derive(Debug)]
enum Stage {
    /// That the stream is open; then the state, if it was asked for.
    Opening(Option<Kept>),
    /// The state, record by record.
    State(Kept),
    /// What happens.
    Following,
}

/// The state of some scopes at one revision: handles on the records, which are put into words one by one.
#[derive(Debug, Default)]
struct Snapshot {
    peers: vec::IntoIter<Arc<PeerRecord>>,
    locks: vec::IntoIter<(Arc<LockRecord>, LockStatus)>,
    entries: vec::IntoIter<Arc<EntryRecord>>,
}

/// The state to be sent, until it has taken too long: what others have let go of since is not kept for ever by a
/// reader that stalls.
#[derive(Debug)]
struct Kept {
    kept: Arc<Mutex<Option<Snapshot>>>,
    _deadline: AbortOnDropHandle<()>,
}

impl Watcher {
    /// Opens the stream, or says why it cannot be.
    pub(super) fn open(mesh: &Mesh, caller: &Caller, request: pb::WatchRequest) -> Result<Self, Refusal> {
        let filter = Filter::parse(&caller.principal, &request.scopes, request.filter)?;
        let silence = span("progress_interval", request.progress_interval, limits::PROGRESS)?;
        let silence = Duration::from_millis(silence.unwrap_or(limits::PROGRESS_DEFAULT).0);
        if request.send_initial_state && request.start_revision != 0 {
            return Err(refuse_field("start_revision", "must be 0 with send_initial_state"));
        }
        let start = start(mesh, request.start_revision, &request.incarnation)?;
        let open = mesh.watches.open(&Holder::of(caller))?;
        let attachment = match caller.session {
            None => None,
            Some(session) => {
                let expired = || mesh.view.read().peers.live(session).err();
                let attached = mesh.leases.attach(session, caller.connection.alive.clone());
                Some(attached.ok_or_else(|| expired().unwrap_or(Rejection::SessionExpired { cause: None }))?)
            }
        };
        let (start, snapshot) = {
            let state = mesh.view.read();
            // It lives at this revision, so its end comes after the start, and ends the stream.
            caller.session.map(|session| state.peers.live(session)).transpose()?;
            let start = start.unwrap_or(state.revision().next());
            (start, request.send_initial_state.then(|| Snapshot::take(&state, mesh, &filter)))
        };
        let snapshot = snapshot.map(Kept::new);
        let before = Revision(start.0 - 1);
        open.place.reached(before);
        Ok(Self {
            filter,
            stage: Stage::Opening(snapshot),
            subscription: mesh.events.subscribe(start),
            chunk: Vec::new().into_iter(),
            looked_at: before,
            told: before,
            silence,
            progress_at: Instant::now() + silence,
            mesh: mesh.clone(),
            session: caller.session,
            ended: None,
            open,
            _attachment: attachment,
        })
    }

    /// The next item, when there is one to send.
    pub(super) async fn next(&mut self) -> Result<pb::WatchResponse, Refusal> {
        if self.mesh.shutdown.is_cancelled() {
            return Err(Refusal::Draining);
        }
        match std::mem::replace(&mut self.stage, Stage::Following) {
            Stage::Opening(snapshot) => Ok(self.created(snapshot)),
            Stage::State(snapshot) => self.state(snapshot),
            Stage::Following => self.follow().await,
        }
    }

    fn created(&mut self, snapshot: Option<Kept>) -> pb::WatchResponse {
        let created = Payload::Created(pb::WatchCreated {
            start_revision: self.looked_at.next().0,
            oldest_revision: self.mesh.events.oldest().0,
        });
        let Some(snapshot) = snapshot else { return self.item(self.looked_at, created) };
        // Nothing counts as delivered until the state is complete.
        self.stage = Stage::State(snapshot);
        self.item(Revision::ZERO, created)
    }

    fn state(&mut self, snapshot: Kept) -> Result<pb::WatchResponse, Refusal> {
        let Some(item) = snapshot.next(&self.mesh, self.session)? else {
            return Ok(self.item(self.looked_at, Payload::InitialStateEnd(pb::InitialStateEnd {})));
        };
        self.stage = Stage::State(snapshot);
        Ok(self.item(self.looked_at, Payload::InitialState(pb::StateItem { item: Some(item) })))
    }

    async fn follow(&mut self) -> Result<pb::WatchResponse, Refusal> {
        loop {
            if let Some(cause) = self.ended {
                return Err(Rejection::SessionExpired { cause: Some(cause) }.into());
            }
            if let Some(batch) = self.pass_over() {
                return Ok(self.item(self.looked_at, Payload::Events(batch)));
            }
            if self.looked_at.0 - self.told.0 >= STRETCH || Instant::now() >= self.progress_at {
                return Ok(self.item(self.looked_at, Payload::Progress(pb::WatchProgress {})));
            }
            // A long way back through the log leaves room for others.
            consume_budget().await;
            tokio::select! {
                biased;
                () = self.mesh.shutdown.cancelled() => return Err(Refusal::Draining),
                logs = self.subscription.next() => self.chunk = logs?.into_iter(),
                () = sleep_until(self.progress_at) => {}
            }
        }
    }

    /// Looks at what was read, up to the first batch that the filter lets through.
    fn pass_over(&mut self) -> Option<pb::EventBatch> {
        for log in self.chunk.by_ref() {
            self.looked_at = log.revision;
            self.open.place.reached(log.revision);
            self.ended = self.session.and_then(|session| end_of(session, &log));
            let batch = self.filter.batch(&log);
            if batch.is_some() || self.ended.is_some() {
                return batch;
            }
        }
        None
    }

    fn item(&mut self, delivered: Revision, payload: Payload) -> pb::WatchResponse {
        self.told = delivered;
        self.progress_at = Instant::now() + self.silence;
        pb::WatchResponse { header: self.mesh.header(delivered), payload: Some(payload) }
    }
}

impl Kept {
    fn new(snapshot: Snapshot) -> Self {
        let kept = Arc::new(Mutex::new(Some(snapshot)));
        let given_up = kept.clone();
        // In a task of its own: whoever stalls is not asked for more.
        let deadline = tokio::spawn(async move {
            sleep(Duration::from_millis(limits::INITIAL_STATE.0)).await;
            let snapshot = given_up.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(snapshot);
        });
        Self { kept, _deadline: AbortOnDropHandle::new(deadline) }
    }

    /// The next record to send; none at the end.
    fn next(&self, mesh: &Mesh, session: Option<SessionId>) -> Result<Option<Item>, Refusal> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = kept.as_mut().ok_or(Refusal::Stalled)?;
        Ok(snapshot.next(mesh, session))
    }
}

impl Snapshot {
    fn take(state: &State, mesh: &Mesh, filter: &Filter) -> Self {
        let scopes: Vec<_> =
            if filter.scopes.is_empty() { vec![None] } else { filter.scopes.iter().map(Some).collect() };
        let now = mesh.clock.at();
        let (mut peers, mut locks, mut entries) = (Vec::new(), Vec::new(), Vec::new());
        for scope in scopes {
            let here = |peer: &&Arc<PeerRecord>| peer.session.is_some() && filter.sees(&peer.scope);
            peers.extend(state.peers.list(scope, None).filter(here).cloned());
            let as_it_stands = |lock: &Arc<LockRecord>| (lock.clone(), state.lock_status(lock, now).into());
            let seen = state.locks.list(scope, None).filter(|lock| filter.sees(&lock.scope));
            locks.extend(seen.map(as_it_stands));
            entries.extend(state.entries.all(scope).filter(|entry| filter.sees(&entry.scope)).cloned());
        }
        Self { peers: peers.into_iter(), locks: locks.into_iter(), entries: entries.into_iter() }
    }

    /// The next record to send; an entry that is sent to a session was read by it.
    fn next(&mut self, mesh: &Mesh, session: Option<SessionId>) -> Option<Item> {
        if let Some(peer) = self.peers.next() {
            return Some(Item::Peer(mesh.peer(&peer)));
        }
        if let Some((lock, status)) = self.locks.next() {
            return Some(Item::Lock(locks::lock(&lock, status)));
        }
        let entry = self.entries.next()?;
        mesh.reads.note_entries(session, [&entry]);
        Some(Item::Entry(entries::entry(&entry)))
    }
}

/// How the session ended, if it ended in this transaction.
fn end_of(session: SessionId, log: &LogRecord) -> Option<LeaveCause> {
    log.events.iter().find_map(|event| {
        let Event::PeerLeft { session: ended, cause, .. } = event else { return None };
        (*ended == session).then_some(*cause)
    })
}
