//! Calls that wait: how many there are, which of them wait under the same ticket, and that their callers are alive.
//!
//! Knows nothing of what is waited for. What must hold: no more calls wait than may, and of several calls under one
//! ticket only the last to go gives it up, and only if none of them has answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mesh_core::event::Event;
use mesh_core::id::SessionId;
use mesh_core::record::{LogRecord, PeerRecord};
use mesh_core::revision::Ticket;
use mesh_core::{Rejection, State, limits};
use tokio::time::{Instant, sleep_until};

use super::Mesh;
use super::shares::{Bound, Holder, Share, Shares};
use crate::leases::Leases;

/// The calls that wait, for all to see.
#[derive(Clone, Debug)]
pub struct Waits {
    waiting: Arc<Mutex<Waiting>>,
    shares: Shares,
}

#[derive(Debug, Default)]
struct Waiting {
    calls: usize,
    tickets: HashMap<Ticket, Sharers>,
}

/// The calls that wait under one ticket: a repeat may come before the first call is known to be gone.
#[derive(Debug, Default)]
struct Sharers {
    calls: usize,
    /// Whether one of them has its answer.
    settled: bool,
}

/// One call that waits.
#[derive(Debug)]
pub(super) struct OpenWait {
    all: Waits,
    _share: Share,
}

impl Default for Waits {
    fn default() -> Self {
        let of_caller = Bound { what: "waiting calls of a caller", limit: limits::WAITING_CALLS_PER_CALLER };
        let of_token = Bound { what: "waiting calls of a token", limit: limits::WAITING_CALLS_PER_TOKEN };
        Self { waiting: Arc::default(), shares: Shares::new(of_caller, of_token) }
    }
}

impl Waits {
    /// Counts one more for as long as it lives, unless there are as many as may be, or its caller has its share.
    pub(super) fn open(&self, holder: &Holder) -> Result<OpenWait, Rejection> {
        let share = self.shares.take(holder)?;
        let mut waiting = self.lock();
        if waiting.calls >= limits::WAITING_CALLS {
            return Err(Rejection::LimitReached { what: "waiting calls", limit: limits::WAITING_CALLS });
        }
        waiting.calls += 1;
        Ok(OpenWait { all: self.clone(), _share: share })
    }

    /// A call waits under a ticket.
    pub(super) fn enter(&self, ticket: Ticket) {
        self.lock().tickets.entry(ticket).or_default().calls += 1;
    }

    /// A call under a ticket has its answer.
    pub(super) fn settle(&self, ticket: Ticket) {
        if let Some(sharers) = self.lock().tickets.get_mut(&ticket) {
            sharers.settled = true;
        }
    }

    /// A call waits under a ticket no longer. True when it was the last one, and none had its answer.
    pub(super) fn leave(&self, ticket: Ticket) -> bool {
        let mut waiting = self.lock();
        let Some(sharers) = waiting.tickets.get_mut(&ticket) else { return false };
        sharers.calls -= 1;
        if sharers.calls > 0 {
            return false;
        }
        let settled = sharers.settled;
        waiting.tickets.remove(&ticket);
        !settled
    }

    /// How many calls wait.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().calls
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenWait {
    fn drop(&mut self) {
        self.all.lock().calls -= 1;
    }
}

/// Signs of life of a session while a call of it waits: whoever waits is alive.
#[derive(Debug)]
pub(super) struct Vigil {
    leases: Leases,
    session: Option<SessionId>,
    last: Instant,
    /// A third of the lease.
    every: Duration,
}

impl Vigil {
    /// For a call that has just come; without a session there is nothing to keep alive.
    pub(super) fn new(mesh: &Mesh, session: Option<SessionId>) -> Self {
        Self { leases: mesh.leases.clone(), session, last: Instant::now(), every: Duration::ZERO }
    }

    /// The peer that waits, if it is one. Its session must be live; its lease says how often to [`Self::tick`].
    pub(super) fn peer<'a>(&mut self, state: &'a State) -> Result<Option<&'a Arc<PeerRecord>>, Rejection> {
        let Some(session) = self.session else { return Ok(None) };
        let peer = state.peers.live(session)?;
        let lease = peer.session.as_ref().map(|session| session.ttl).unwrap_or_default();
        self.every = Duration::from_millis((lease.0 / 3).max(1));
        Ok(Some(peer))
    }

    /// Gives the next sign of life when it is time. Cancel safe.
    pub(super) async fn tick(&mut self) {
        let Some(session) = self.session else { return std::future::pending().await };
        sleep_until(self.last + self.every).await;
        self.last = Instant::now();
        self.leases.touch(session);
    }

    /// Whether a transaction ends the session or gives it another lease.
    pub(super) fn concerned_by(&self, log: &LogRecord) -> bool {
        let Some(session) = self.session else { return false };
        log.events.iter().any(|event| {
            matches!(event, Event::PeerLeft { session: ended, .. } if *ended == session)
                || matches!(
                    event,
                    Event::PeerUpdated { peer, .. } if peer.session.as_ref().is_some_and(|at| at.id == session)
                )
        })
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::revision::Revision;
    use mesh_core::time::{Millis, Timestamp};
    use uuid::Uuid;

    use super::*;
    use crate::clock::Clock;
    use crate::queue;

    const TICKET: Ticket = Ticket(Revision(7));

    #[test]
    fn only_the_last_call_under_a_ticket_gives_it_up() {
        let waits = Waits::default();
        waits.enter(TICKET);
        waits.enter(TICKET);
        assert!(!waits.leave(TICKET), "another call waits");
        assert!(waits.leave(TICKET));
        assert!(!waits.leave(TICKET), "it is given up");
    }

    #[test]
    fn what_one_call_was_told_no_other_gives_up() {
        let waits = Waits::default();
        waits.enter(TICKET);
        waits.enter(TICKET);
        waits.settle(TICKET);
        assert!(!waits.leave(TICKET));
        assert!(!waits.leave(TICKET));
        waits.enter(TICKET);
        assert!(waits.leave(TICKET), "forgotten with the last call");
    }

    #[test]
    fn there_are_only_so_many_waiting_calls() {
        let waits = Waits::default();
        let each = limits::WAITING_CALLS_PER_CALLER;
        let nth = |n: usize| Holder::nth(n / each, None);
        let open: Vec<_> = (0..limits::WAITING_CALLS).map(|n| waits.open(&nth(n)).unwrap()).collect();
        let refused = Rejection::LimitReached { what: "waiting calls", limit: limits::WAITING_CALLS };
        assert_eq!(waits.open(&nth(limits::WAITING_CALLS)).unwrap_err(), refused);
        drop(open);
        let open: Vec<_> = (0..each).map(|n| waits.open(&nth(n)).unwrap()).collect();
        let refused = Rejection::LimitReached { what: "waiting calls of a caller", limit: each };
        assert_eq!(waits.open(&nth(0)).unwrap_err(), refused);
        drop(open);
        let per_token = limits::WAITING_CALLS_PER_TOKEN;
        let of_token = |n: usize| Holder::nth(n, Some("t-00000001"));
        let open: Vec<_> = (0..per_token).map(|n| waits.open(&of_token(n)).unwrap()).collect();
        let refused = Rejection::LimitReached { what: "waiting calls of a token", limit: per_token };
        assert_eq!(waits.open(&of_token(per_token)).unwrap_err(), refused);
        drop(open);
        assert_eq!(waits.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_gives_signs_of_life() {
        let (writer, _inputs) = queue::queue();
        let clock = Clock::starting_at(Timestamp::default());
        let leases = Leases::new(clock.clone(), writer);
        let session = SessionId(Uuid::from_u128(1));
        leases.begin(session);
        let every = Duration::from_secs(20);
        let mut vigil = Vigil { leases: leases.clone(), session: Some(session), last: Instant::now(), every };
        for _ in 0..3 {
            clock.advance(Millis::seconds(20));
            let before = Instant::now();
            vigil.tick().await;
            assert_eq!(before.elapsed(), every);
            let silence = clock.at().since(leases.last_seen(session).unwrap());
            assert!(silence < Millis::seconds(1), "{silence:?}");
        }
    }
}
