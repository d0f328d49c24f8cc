//! Waiting for locks: the call that waits for the fate of its request, and what happens when it is gone before.
//!
//! The queue itself is the core's, and durable; nothing here decides who gets what. What must hold: a caller that is
//! told of locks has them, and one that is gone leaves nothing behind, neither its place in the queue nor locks. But a
//! broker that ends keeps the places: the callers come back to the next one.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::command::{Acquire, Command};
use mesh_core::event::Event;
use mesh_core::id::SessionId;
use mesh_core::outcome::Outcome;
use mesh_core::record::{LockRecord, LogRecord, WaiterRecord};
use mesh_core::revision::{FencingToken, Revision, Ticket};
use mesh_core::target::Target;
use mesh_core::time::Millis;
use mesh_core::{State, limits};
use tokio::runtime::Handle;
use tokio::task::coop::consume_budget;
use tokio::time::sleep;

use crate::events::{ReadError, Subscription};
use crate::queue::Reply;
use crate::service::Mesh;
use crate::service::auth::By;
use crate::service::convert::RequestKey;
use crate::service::shares::Holder;
use crate::service::status::Refusal;
use crate::service::waits::{OpenWait, Vigil};

/// When to try again to give something back while too many requests wait for the disk.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// What became of a request that was willing to wait.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) revision: Revision,
    /// A grant or conflicts.
    pub(super) outcome: Outcome,
    /// The ticket under which it waited, if it had to.
    pub(super) ticket: Option<Ticket>,
}

/// Takes locks, and waits for them if need be.
///
/// A wait that ends without locks before its time is over (the ticket is that of a call which was given up, say, or
/// somebody took the locks away before anyone heard of them) goes on under a new ticket for the time that is left; at
/// last the request is decided without waiting, which tells what is in the way.
pub(super) async fn acquire(
    mesh: &Mesh,
    by: By,
    session: SessionId,
    mut key: RequestKey,
    mut acquire: Acquire,
) -> Result<Answer, Refusal> {
    let place = Arc::new(mesh.waits.open(&Holder::behind(&by))?);
    let (asked, wait) = (mesh.clock.at(), acquire.wait);
    let mut waited = None;
    loop {
        let (reply, claim) =
            submit(mesh, (by.clone(), session), std::mem::take(&mut key), acquire.clone(), place.clone())
                .await?;
        let Outcome::Queued { ticket } = reply.outcome else {
            claim.settle();
            return Ok(Answer { revision: reply.revision, outcome: reply.outcome, ticket: waited });
        };
        waited = Some(ticket);
        let fate = fate(mesh, session, ticket, &acquire.targets).await;
        if let Ok(Fate::Torn) = fate {
            // All or none: what is left of a grant that did not last goes back.
            give_back(mesh, session, Command::Abandon { ticket }).await;
        }
        claim.settle();
        match fate? {
            Fate::Granted(revision, locks) => {
                return Ok(Answer { revision, outcome: Outcome::Granted { locks }, ticket: waited });
            }
            Fate::Over | Fate::Torn => {}
        }
        acquire.wait = Millis(wait.0.saturating_sub(mesh.clock.at().since(asked).0));
    }
}

/// Submits a request in a task of its own, so that what it brings is known also when the caller is gone meanwhile:
/// then nobody takes the claim, and it gives everything back.
async fn submit(
    mesh: &Mesh,
    (by, session): (By, SessionId),
    key: RequestKey,
    acquire: Acquire,
    place: Arc<OpenWait>,
) -> Result<(Reply, Claim), Refusal> {
    let mesh = mesh.clone();
    let submitted = tokio::spawn(async move {
        let repeatable = key.id.is_some();
        let reply = mesh.submit(by, key, Command::Acquire(acquire)).await?;
        let held = Held::by(&reply, repeatable);
        if let Held::Ticket(ticket) = held {
            mesh.waits.enter(ticket);
        }
        Ok((reply, Claim { mesh, session, held, settled: false, place: Some(place) }))
    });
    // The task ends early only with the runtime.
    submitted.await.map_err(|_| Refusal::Draining)?
}

/// What a caller has, or may get, that it has not heard of yet.
#[derive(Debug)]
enum Held {
    Nothing,
    /// A place in the queue, and what comes of it.
    Ticket(Ticket),
    /// Locks that were granted at once.
    Locks(Vec<Target>),
}

impl Held {
    /// A grant that a repeat would be told of stays: giving it back would make that answer a lie.
    fn by(reply: &Reply, repeatable: bool) -> Self {
        if let Outcome::Queued { ticket } = reply.outcome {
            return Self::Ticket(ticket);
        }
        if let Outcome::Granted { locks } = &reply.outcome
            && !repeatable
        {
            let fresh = locks.iter().filter(|lock| lock.token == FencingToken(reply.revision));
            return Self::Locks(fresh.map(|lock| lock.target.clone()).collect());
        }
        Self::Nothing
    }
}

/// What is held for a call; given back when the call goes without an answer.
#[derive(Debug)]
struct Claim {
    mesh: Mesh,
    session: SessionId,
    held: Held,
    settled: bool,
    /// Counts the call until everything is given back; none when no call is behind it.
    place: Option<Arc<OpenWait>>,
}

impl Claim {
    /// For a caller of an earlier broker.
    fn left(mesh: &Mesh, waiter: &WaiterRecord) -> Self {
        mesh.waits.enter(waiter.ticket);
        let held = Held::Ticket(waiter.ticket);
        Self { mesh: mesh.clone(), session: waiter.session, held, settled: false, place: None }
    }

    /// The call has its answer.
    fn settle(mut self) {
        self.settled = true;
        if let Held::Ticket(ticket) = self.held {
            self.mesh.waits.settle(ticket);
        }
    }

    /// What gives back what is held, if it is to be given back.
    fn release(&mut self) -> Option<Command> {
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Ticket(ticket) => self.mesh.waits.leave(ticket).then_some(Command::Abandon { ticket }),
            Held::Locks(targets) if !self.settled && !targets.is_empty() => {
                Some(Command::Release { targets, keep: Vec::new(), note: String::new() })
            }
            Held::Locks(_) | Held::Nothing => None,
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(command) = self.release() else { return };
        if self.mesh.shutdown.is_cancelled() {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let (mesh, session, place) = (self.mesh.clone(), self.session, self.place.take());
            runtime.spawn(async move {
                give_back(&mesh, session, command).await;
                drop(place);
            });
        }
    }
}

/// Gives something back that no caller has; as many of these run at most as there may be calls that wait.
async fn give_back(mesh: &Mesh, session: SessionId, command: Command) {
    loop {
        match mesh.submit(By::broker_for(session), RequestKey::default(), command.clone()).await {
            Err(Refusal::Overloaded) => sleep(RETRY_DELAY).await,
            Ok(_) => break,
            // With its session, everything of it ends anyway.
            Err(refusal) => {
                tracing::debug!(?session, %refusal, "nothing to give back");
                break;
            }
        }
    }
}

impl Mesh {
    /// Holds the places in the queue that an earlier broker has left for callers who repeat their requests; those that
    /// nobody claims are given up.
    pub fn keep_places(&self) {
        let claims: Vec<Claim> = {
            let state = self.view.read();
            let waiters = state.heads(None).flat_map(|head| state.locks.waiters(&head.scope));
            waiters.map(|waiter| Claim::left(self, waiter)).collect()
        };
        let mesh = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = mesh.shutdown.cancelled() => {}
                () = sleep(Duration::from_millis(limits::PLACE_KEPT.0)) => {}
            }
            drop(claims);
        });
    }
}

/// How a wait under a ticket ended.
#[derive(Debug)]
enum Fate {
    /// All is granted: the locks in the order asked, as of a revision.
    Granted(Revision, Vec<Arc<LockRecord>>),
    /// Nothing is granted.
    Over,
    /// Some of what was granted is gone already.
    Torn,
}

/// Waits until a ticket is granted or given up.
async fn fate(mesh: &Mesh, session: SessionId, ticket: Ticket, targets: &[Target]) -> Result<Fate, Refusal> {
    let mut vigil = Vigil::new(mesh, Some(session));
    // Attached before the view is read, so that nothing comes between.
    let mut news = mesh.events.subscribe(mesh.view.revision().next());
    loop {
        if let Some(fate) = look(&mesh.view.read(), &mut vigil, ticket, targets)? {
            return Ok(fate);
        }
        stir(mesh, &mut news, &mut vigil, ticket).await?;
    }
}

/// What has become of a ticket; none while it waits.
fn look(
    state: &State,
    vigil: &mut Vigil,
    ticket: Ticket,
    targets: &[Target],
) -> Result<Option<Fate>, Refusal> {
    let Some(peer) = vigil.peer(state)? else { return Ok(Some(Fate::Over)) };
    if state.locks.waiter(ticket).is_some() {
        return Ok(None);
    }
    if state.locks.granted_under(&peer.key(), ticket).is_empty() {
        return Ok(Some(Fate::Over));
    }
    let held = targets.iter().map(|target| state.locks.get(&peer.scope, target, &peer.name).cloned());
    let held: Option<Vec<_>> = held.collect();
    Ok(Some(held.map_or(Fate::Torn, |locks| Fate::Granted(state.revision(), locks))))
}

/// Waits until another look is worth it.
async fn stir(
    mesh: &Mesh,
    news: &mut Subscription,
    vigil: &mut Vigil,
    ticket: Ticket,
) -> Result<(), Refusal> {
    loop {
        consume_budget().await;
        tokio::select! {
            biased;
            () = mesh.shutdown.cancelled() => return Err(Refusal::Draining),
            () = vigil.tick() => return Ok(()),
            logs = news.next() => match logs {
                Ok(logs) if logs.iter().any(|log| names(log, ticket) || vigil.concerned_by(log)) => return Ok(()),
                Ok(_) => {}
                // A history too short to follow: the view tells.
                Err(ReadError::Compacted { .. }) => {
                    *news = mesh.events.subscribe(mesh.view.revision().next());
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            },
        }
    }
}

/// Whether a transaction decides the fate of a ticket.
fn names(log: &LogRecord, ticket: Ticket) -> bool {
    log.events.iter().any(|event| {
        matches!(event, Event::FileLocked { ticket: Some(granted), .. } if *granted == ticket)
            || matches!(event, Event::LockWaitEnded { ticket: ended, .. } if *ended == ticket)
    })
}
