//! Waiting for something that happens to messages.

use std::time::Duration;

use mesh_core::record::LogRecord;
use mesh_core::time::Millis;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until};

use crate::events::{ReadError, Subscription};
use crate::service::Mesh;
use crate::service::auth::Caller;
use crate::service::shares::Holder;
use crate::service::status::Refusal;
use crate::service::waits::{OpenWait, Vigil};

/// One call that waits. Nothing needs undoing when it is dropped.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    mesh: &'a Mesh,
    vigil: Vigil,
    news: Subscription,
    deadline: Instant,
    _place: Option<OpenWait>,
}

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// There may be what was waited for.
    News,
    /// The time is over.
    TimeOver,
}

impl<'a> Waiting<'a> {
    /// Attaches to what happens after the view's revision, so look at the view only after this.
    pub(super) fn new(mesh: &'a Mesh, caller: &Caller, wait: Millis) -> Result<Self, Refusal> {
        let session = caller.require_session()?;
        let place = (wait > Millis::ZERO).then(|| mesh.waits.open(&Holder::of(caller))).transpose()?;
        let mut vigil = Vigil::new(mesh, Some(session));
        let state = mesh.view.read();
        vigil.peer(&state)?;
        Ok(Self {
            mesh,
            vigil,
            news: mesh.events.subscribe(state.revision().next()),
            deadline: Instant::now() + Duration::from_millis(wait.0),
            _place: place,
        })
    }

    /// Waits for a transaction that is of interest, or that ends the session.
    pub(super) async fn next(
        &mut self,
        is_of_interest: impl Fn(&LogRecord) -> bool,
    ) -> Result<Woken, Refusal> {
        loop {
            consume_budget().await;
            tokio::select! {
                biased;
                () = self.mesh.shutdown.cancelled() => return Err(Refusal::Draining),
                () = sleep_until(self.deadline) => return Ok(Woken::TimeOver),
                logs = self.news.next() => match logs {
                    Ok(logs) => {
                        if logs.iter().any(|log| self.vigil.concerned_by(log)) {
                            self.vigil.peer(&self.mesh.view.read())?;
                        }
                        if logs.iter().any(|log| is_of_interest(log)) {
                            return Ok(Woken::News);
                        }
                    }
                    // A history too short to follow: it may be there, and goes on from here.
                    Err(ReadError::Compacted { .. }) => {
                        self.news = self.mesh.events.subscribe(self.mesh.view.revision().next());
                        return Ok(Woken::News);
                    }
                    Err(error) => return Err(error.into()),
                },
                () = self.vigil.tick() => {}
            }
        }
    }
}
