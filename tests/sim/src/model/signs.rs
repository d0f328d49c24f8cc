//! Signs of life as the broker could see them, and when it ran: what "late, never early" and "no ghosts" are held
//! against.

use std::collections::BTreeMap;

use mesh_core::event::LeaveCause;
use mesh_core::id::SessionId;
use mesh_core::record::LogRecord;
use mesh_core::time::Timestamp;

use super::Broken;
use super::peers::Session;

/// How long a peer whose stream broke may take to come back, in milliseconds; see the weather.
const GRACE: u64 = 500;
/// How late things may be beside what the simulation has delayed them by itself, in milliseconds.
const SLACK: u64 = 3_000;

/// See the module. All times are mesh time in milliseconds.
#[derive(Debug, Default)]
pub struct Signs {
    /// When the present broker began.
    base: u64,
    last: u64,
    /// What the simulation has held the broker up by, in all.
    pub stalls: u64,
    heard: BTreeMap<SessionId, Vec<u64>>,
    /// When its streams began and ended.
    streams: BTreeMap<SessionId, Vec<(u64, Option<u64>)>>,
}

impl Signs {
    /// A broker begins.
    pub fn broker_began(&mut self, at: Timestamp) {
        self.base = at.0;
        // What an earlier broker saw after its last commit never was, for this one.
        for heard in self.heard.values_mut().flatten() {
            *heard = (*heard).min(at.0);
        }
        for (begun, ended) in self.streams.values_mut().flatten() {
            *begun = (*begun).min(at.0);
            *ended = ended.map(|ended| ended.min(at.0));
        }
    }

    /// The broker is gone, and every stream with it.
    pub fn broker_ended(&mut self) {
        let last = self.last;
        for (begun, ended) in self.streams.values_mut().flatten() {
            ended.get_or_insert(last.max(*begun));
        }
    }

    /// A call of a session came in.
    pub fn heard(&mut self, session: SessionId, at: Timestamp) {
        self.heard.entry(session).or_default().push(at.0);
    }

    /// A stream of a session was opened.
    pub fn stream_began(&mut self, session: SessionId, at: Timestamp) {
        self.streams.entry(session).or_default().push((at.0, None));
    }

    /// One of its streams is gone.
    pub fn stream_ended(&mut self, session: SessionId, at: Timestamp) {
        let open = self.streams.get_mut(&session).into_iter().flatten().find(|(_, ended)| ended.is_none());
        if let Some((_, ended)) = open {
            *ended = Some(at.0);
        }
    }

    /// The start of the present broker, from which every lease runs anew.
    #[must_use]
    pub fn since_start(&self, moment: u64) -> u64 {
        moment.max(self.base)
    }

    /// The latest that something due may happen.
    #[must_use]
    pub fn latest(&self, due: u64) -> u64 {
        due + self.stalls + SLACK
    }

    pub(super) fn time_goes_on(&mut self, log: &LogRecord) -> Result<(), Broken> {
        let (before, at) = (self.last, log.at.0);
        self.last = before.max(at);
        let kept = at >= before;
        kept.then_some(())
            .ok_or_else(|| ("late, never early", format!("mesh time went from {before} to {at}")))
    }

    /// Whether a session may end like this.
    pub(super) fn may_end(
        &self,
        log: &LogRecord,
        id: SessionId,
        cause: LeaveCause,
        session: Option<&Session>,
    ) -> Result<(), Broken> {
        let Some(session) = session else { return Ok(()) };
        let at = log.at.0;
        let streams = self.streams.get(&id).map(Vec::as_slice).unwrap_or_default();
        let open = streams.iter().any(|(begun, ended)| *begun < at && ended.is_none_or(|ended| ended > at));
        let closed = streams.iter().filter_map(|(_, ended)| *ended).filter(|ended| *ended <= at).max();
        let heard = self.heard.get(&id).into_iter().flatten().copied().filter(|heard| *heard < at).max();
        match cause {
            LeaveCause::Expired => {
                let alive = session.began.max(heard.unwrap_or_default()).max(closed.unwrap_or_default());
                let due = self.since_start(alive) + session.ttl;
                if open || at < due {
                    let name = &session.name;
                    let what = format!("the lease of {name} ran out at {at}, due at {due}, stream: {open}");
                    return Err(("late, never early", what));
                }
            }
            LeaveCause::Disconnected => {
                let due = closed.map(|closed| closed + GRACE);
                let back = closed < heard;
                if open || back || due.is_none_or(|due| at < due) {
                    let name = &session.name;
                    let what = format!("{name} counts as gone at {at}, due at {due:?}, heard of {heard:?}");
                    return Err(("late, never early", what));
                }
            }
            LeaveCause::Left | LeaveCause::Replaced | LeaveCause::Revoked => {}
        }
        Ok(())
    }

    /// No session lives on that nobody heard of for so long. A lease that was found over too late to judge runs once
    /// more.
    pub(super) fn no_ghosts<'a>(
        &self,
        now: u64,
        live: impl Iterator<Item = (SessionId, &'a Session)>,
    ) -> Result<(), Broken> {
        for (id, session) in live {
            let streams = self.streams.get(&id).map(Vec::as_slice).unwrap_or_default();
            if streams.iter().any(|(_, ended)| ended.is_none()) {
                continue;
            }
            let closed = streams.iter().filter_map(|(_, ended)| *ended).max().unwrap_or_default();
            let heard = self.heard.get(&id).and_then(|heard| heard.last()).copied().unwrap_or_default();
            let alive = self.since_start(session.began.max(heard).max(closed));
            let latest = self.latest(alive + 2 * session.ttl);
            if now > latest {
                let what = format!("{} lives at {now} and was last heard of at {alive}", session.name);
                return Err(("no ghosts", what));
            }
        }
        Ok(())
    }
}
