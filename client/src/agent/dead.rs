//! Agents that have crashed: their hooks run no more, and what they held would be held until it runs out.
//!
//! Whoever meets such a lock, or ends beside such an agent, ends its session for it. What must hold: only a session
//! whose process is known to be gone, on this machine, is ended, and its record changes under its lock; an edit that the
//! agent had no time to report is reported first; what it is to others (name, mail) waits for it to be resumed.

use std::collections::BTreeSet;

use super::{Agent, Kept, Membership, Process, Record, Registry, Seen};
use crate::proto::{LeaveRequest, Touch, TouchFilesRequest, TouchKind};
use crate::{Client, ClientError, ErrorReason, request_id};

impl Registry {
    /// Ends the sessions of all agents that have crashed; how many there were.
    pub async fn bury(&self, client: &Client) -> usize {
        let mut buried = 0;
        for agent in self.agents() {
            if agent.has_crashed() && bury(&agent, client).await {
                buried += 1;
            }
        }
        buried
    }
}

impl Registry {
    /// Whether an agent that hooks report on is on the mesh with this process.
    pub fn has_at_work(&self, process: Process) -> bool {
        let records = self.agents();
        let mut records = records.iter().filter_map(Agent::read);
        records.any(|record| record.hooked && record.process == Some(process) && is_present(&record))
    }
}

impl Agent {
    /// Whether its process is known to be gone, while it is still something on the mesh.
    pub fn has_crashed(&self) -> bool {
        self.read().is_some_and(|record| is_dead(&record) && is_present(&record))
    }
}

fn is_present(record: &Record) -> bool {
    record.memberships.values().any(|of| !of.ended)
}

fn is_dead(record: &Record) -> bool {
    // The processes of another machine, or of another container, cannot be seen from here.
    record.machine == super::process::this_machine()
        && record.hooked
        && record.steady == record.process
        && record.process.is_some_and(|process| !process.is_alive())
}

/// Ends the sessions of one agent; false when it lives, or nothing can be done.
async fn bury(agent: &Agent, client: &Client) -> bool {
    let Ok(mut guard) = agent.locked().await else { return false };
    if !is_dead(&guard.record) {
        return false;
    }
    let kept = Kept::new(agent.clone(), client.config());
    let seen = agent.seen();
    let mut ended = false;
    for scope in kept.scopes_of(&guard.record) {
        let Some(membership) = kept.of_mut(&mut guard.record, &scope).filter(|of| !of.ended) else {
            continue;
        };
        if let Err(error) = end(membership, &seen, client).await {
            tracing::debug!(%error, "the session of a crashed agent is not ended");
            continue;
        }
        membership.locks.clear();
        membership.editing.clear();
        membership.children.clear();
        membership.working = false;
        membership.ended = true;
        ended = true;
    }
    ended && guard.save().is_ok()
}

/// Reports what was edited, and leaves. The session itself would join again.
async fn end(membership: &Membership, seen: &Seen, client: &Client) -> Result<(), ClientError> {
    let client = client.with_session(&membership.session.token)?;
    let touches = unreported(membership, seen);
    if !touches.is_empty() {
        let request = TouchFilesRequest { touches, request_id: request_id(), ..TouchFilesRequest::default() };
        let reported = client.call(|client| {
            let request = request.clone();
            async move { client.paths().touch_files(request).await }
        });
        over_is_fine(reported.await.map(drop))?;
    }
    let request = LeaveRequest { request_id: request_id() };
    let left = client.call(|client| {
        let request = request.clone();
        async move { client.peers().leave(request).await }
    });
    over_is_fine(left.await.map(drop))
}

/// Files that an agent was about to edit, under whatever lock, and that were changed since.
pub fn unreported(membership: &Membership, seen: &Seen) -> Vec<Touch> {
    let names: BTreeSet<_> = membership.locks.keys().chain(&membership.editing).collect();
    let changed =
        names.into_iter().filter(|name| seen.named(name).next().is_some_and(|file| seen.differs(file)));
    changed.map(|name| Touch { path: name.clone(), kind: TouchKind::Edit.into() }).collect()
}

/// A session that has ended already is as good.
fn over_is_fine(result: Result<(), ClientError>) -> Result<(), ClientError> {
    match result {
        Err(error)
            if !matches!(
                error.reason(),
                Some(ErrorReason::SessionExpired | ErrorReason::Unauthenticated)
            ) =>
        {
            Err(error)
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
