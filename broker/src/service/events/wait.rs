//! One call in place of a polling loop: it looks, and looks again when something happens that could matter.
//!
//! It follows the log as a stream does, and reads the view for what is to be so rather than to happen. What must hold:
//! a condition that holds at the revision of a look ends the wait, and an event after the start is never passed over.

mod condition;

use std::sync::Arc;
use std::time::Duration;

use mesh_core::id::{PeerName, ScopeId};
use mesh_core::record::LogRecord;
use mesh_core::revision::Revision;
use mesh_core::time::Millis;
use mesh_core::{Rejection, State, limits};
use mesh_proto::v1 as pb;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until};

use self::condition::{Condition, Met};
use crate::events::{ReadError, Subscription};
use crate::service::Mesh;
use crate::service::auth::Caller;
use crate::service::convert::span;
use crate::service::shares::Holder;
use crate::service::status::Refusal;
use crate::service::waits::Vigil;

/// Answers Wait.
pub(super) async fn wait(
    mesh: &Mesh,
    caller: Caller,
    request: pb::WaitRequest,
) -> Result<pb::WaitResponse, Refusal> {
    let (longest, usual) = limits::WAIT_CONDITION;
    let timeout = span("timeout", request.timeout, (Millis::ZERO, longest))?.unwrap_or(usual);
    let deadline = Instant::now() + Duration::from_millis(timeout.0);
    let conditions = condition::parse(&caller.principal, request.conditions)?;
    let _place = (timeout > Millis::ZERO).then(|| mesh.waits.open(&Holder::of(&caller))).transpose()?;
    let mut wait = Wait::open(mesh, &caller, &request.scope, conditions)?;
    wait.catch_up().await?;
    let mut over = timeout == Millis::ZERO;
    loop {
        let (revision, met) = wait.look()?;
        if over || met.is_some() {
            if let Some((_, Met::Entry(entry))) = &met {
                mesh.reads.note_entries(caller.session, [entry]);
            }
            return Ok(wait.answer(revision, met));
        }
        over = wait.stir(deadline).await?;
    }
}

/// A call that waits.
#[derive(Debug)]
struct Wait<'a> {
    mesh: &'a Mesh,
    vigil: Vigil,
    scope: ScopeId,
    /// What the caller is called in the scope, if it is one of its peers.
    own_name: Option<PeerName>,
    conditions: Vec<Condition>,
    news: Subscription,
    /// What happened up to here is history, to be looked through before the first answer.
    began: Revision,
    /// The first event that was waited for, with the place of its condition.
    event: Option<(usize, pb::EventBatch)>,
}

impl<'a> Wait<'a> {
    fn open(
        mesh: &'a Mesh,
        caller: &Caller,
        scope: &str,
        mut conditions: Vec<Condition>,
    ) -> Result<Self, Refusal> {
        let mut vigil = Vigil::new(mesh, caller.session);
        let state = mesh.view.read();
        let peer = vigil.peer(&state)?;
        if peer.is_none() && conditions.iter().any(Condition::needs_session) {
            return Err(Rejection::SessionRequired.into());
        }
        let scope = mesh.one_scope(&state, caller, scope)?;
        let began = state.revision();
        let oldest = mesh.events.oldest();
        let mut start = began.next();
        for (at, condition) in conditions.iter_mut().enumerate() {
            condition.resolve(&state, peer)?;
            if let Some(after) = condition.begin(&scope, began, at)? {
                if after.next() < oldest {
                    return Err(Refusal::Compacted { oldest, head: began });
                }
                start = start.min(after.next());
            }
        }
        let own_name = peer.filter(|peer| peer.scope == scope).map(|peer| peer.name.clone());
        Ok(Self {
            mesh,
            vigil,
            scope,
            own_name,
            conditions,
            news: mesh.events.subscribe(start),
            began,
            event: None,
        })
    }

    /// Looks through the history from where the conditions ask for it.
    async fn catch_up(&mut self) -> Result<(), Refusal> {
        // What readers see is ahead of what subscribers see for a moment after a commit.
        self.mesh.events.reached(self.began).await?;
        while self.event.is_none() && self.news.position() <= self.began {
            consume_budget().await;
            if self.mesh.shutdown.is_cancelled() {
                return Err(Refusal::Draining);
            }
            let logs = self.news.ready().await?;
            self.take(&logs);
        }
        Ok(())
    }

    /// What holds now, with the place of its condition; the first of several. What does is in the answer.
    fn look(&mut self) -> Result<(Revision, Option<(usize, Met)>), Refusal> {
        let state = self.mesh.view.read();
        let peer = self.vigil.peer(&state)?;
        let met = self.conditions.iter().enumerate().find_map(|(at, condition)| {
            let event = || self.event.as_ref().filter(|(place, _)| *place == at);
            let happened = || event().map(|(_, batch)| Met::Event(Box::new(batch.clone())));
            let met = self.holds(&state, condition).or_else(happened)?;
            Some((at, met))
        });
        if let (Some((_, Met::Reply(reply))), Some(peer)) = (&met, peer) {
            self.mesh.shown.note(&state, peer, std::slice::from_ref(reply));
        }
        Ok((state.revision(), met))
    }

    fn holds(&self, state: &State, condition: &Condition) -> Option<Met> {
        condition.holds(state, &self.scope, self.own_name.as_ref())
    }

    /// Waits until another look is worth it. True when it is the last one.
    async fn stir(&mut self, deadline: Instant) -> Result<bool, Refusal> {
        loop {
            consume_budget().await;
            let logs = tokio::select! {
                biased;
                () = self.mesh.shutdown.cancelled() => return Err(Refusal::Draining),
                () = sleep_until(deadline) => return Ok(true),
                () = self.vigil.tick() => return Ok(false),
                logs = self.news.next() => logs,
            };
            match logs {
                Ok(logs) => {
                    if self.take(&logs) {
                        return Ok(false);
                    }
                }
                // What is to be so can be seen without history; what is to happen cannot.
                Err(ReadError::Compacted { .. }) if !self.conditions.iter().any(Condition::is_event) => {
                    self.news = self.mesh.events.subscribe(self.mesh.view.revision().next());
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Looks at what happened; true when it could matter.
    fn take(&mut self, logs: &[Arc<LogRecord>]) -> bool {
        let mut matters = false;
        for log in logs {
            if self.event.is_none() {
                let happened = |(at, condition): (usize, &Condition)| Some((at, condition.batch(log)?));
                self.event = self.conditions.iter().enumerate().find_map(happened);
                matters |= self.event.is_some();
            }
            matters = matters
                || self.vigil.concerned_by(log)
                || self.conditions.iter().any(|condition| condition.stirred_by(log, &self.scope));
        }
        matters
    }

    fn answer(&self, revision: Revision, met: Option<(usize, Met)>) -> pb::WaitResponse {
        let header = self.mesh.header(revision);
        let Some((at, met)) = met else { return pb::WaitResponse { header, ..Default::default() } };
        let index = u32::try_from(at).unwrap_or_default();
        pb::WaitResponse { header, met: true, index, by: met.into_wire(self.mesh) }
    }
}
