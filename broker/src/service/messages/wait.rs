//! Waiting for something that happens in a scope, as a sign of life of who waits.

use std::time::Duration;

use mesh_core::event::Event;
use mesh_core::id::SessionId;
use mesh_core::record::LogRecord;
use mesh_core::time::Millis;
use tokio::time::{Instant, Interval, interval, sleep_until};

use crate::events::{ReadError, Subscription};
use crate::service::Mesh;
use crate::service::status::Refusal;

/// One call that waits. Nothing needs undoing when it is dropped.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    mesh: &'a Mesh,
    session: SessionId,
    news: Subscription,
    deadline: Instant,
    /// Whoever waits is alive.
    signs_of_life: Interval,
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
    pub(super) fn new(mesh: &'a Mesh, session: SessionId, wait: Millis) -> Self {
        let lease = {
            let state = mesh.view.read();
            let peer = state.peers.by_session(session);
            peer.and_then(|peer| peer.session.as_ref()).map_or(Millis::ZERO, |session| session.ttl)
        };
        Self {
            mesh,
            session,
            news: mesh.events.subscribe(mesh.view.revision().next()),
            deadline: Instant::now() + Duration::from_millis(wait.0),
            signs_of_life: interval(Duration::from_millis((lease.0 / 3).max(1))),
        }
    }

    /// Waits for a transaction that is of interest, or that ends the session.
    pub(super) async fn next(
        &mut self,
        is_of_interest: impl Fn(&LogRecord) -> bool,
    ) -> Result<Woken, Refusal> {
        loop {
            tokio::select! {
                biased;
                () = self.mesh.shutdown.cancelled() => return Err(Refusal::Draining),
                () = sleep_until(self.deadline) => return Ok(Woken::TimeOver),
                logs = self.news.next() => match logs {
                    Ok(logs) => {
                        if logs.iter().any(|log| is_of_interest(log) || ends(log, self.session)) {
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
                _ = self.signs_of_life.tick() => {
                    self.mesh.leases.touch(self.session);
                }
            }
        }
    }
}

/// Whether the session ended in a transaction.
fn ends(log: &LogRecord, session: SessionId) -> bool {
    log.events
        .iter()
        .any(|event| matches!(event, Event::PeerLeft { session: ended, .. } if *ended == session))
}
