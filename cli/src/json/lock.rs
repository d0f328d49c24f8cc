//! Locks as JSON, who waits for them, and who is asked to make way.

use mesh_client::proto;
use serde::Serialize;

use super::{seconds, time, word};

/// A lock.
#[derive(Debug, Serialize)]
pub(crate) struct Lock<'a> {
    scope: &'a str,
    path: &'a str,
    holder: &'a str,
    session_id: &'a str,
    mode: String,
    fencing_token: u64,
    state: String,
    reason: &'a str,
    ttl_seconds: Option<f64>,
    remaining_seconds: Option<f64>,
    acquire_time: Option<String>,
    ticket: u64,
}

impl<'a> From<&'a proto::Lock> for Lock<'a> {
    fn from(lock: &'a proto::Lock) -> Self {
        Self {
            scope: &lock.scope,
            path: &lock.path,
            holder: &lock.holder,
            session_id: &lock.session_id,
            mode: word(lock.mode().as_str_name(), "LOCK_MODE_"),
            fencing_token: lock.fencing_token,
            state: word(lock.state().as_str_name(), "LOCK_STATE_"),
            reason: &lock.reason,
            ttl_seconds: seconds(lock.ttl.as_ref()),
            remaining_seconds: seconds(lock.remaining.as_ref()),
            acquire_time: time(lock.acquire_time.as_ref()),
            ticket: lock.ticket,
        }
    }
}

/// What is in the way: a lock, or an earlier request.
#[derive(Debug, Serialize)]
pub(crate) struct Conflict<'a> {
    path: &'a str,
    lock: Option<Lock<'a>>,
    holder_focus: &'a str,
    waiter: Option<Waiter<'a>>,
}

impl<'a> From<&'a proto::LockConflict> for Conflict<'a> {
    fn from(conflict: &'a proto::LockConflict) -> Self {
        Self {
            path: &conflict.path,
            lock: conflict.lock.as_ref().map(Lock::from),
            holder_focus: &conflict.holder_focus,
            waiter: conflict.waiter.as_ref().map(Waiter::from),
        }
    }
}

/// A request that waits for locks.
#[derive(Debug, Serialize)]
pub(crate) struct Waiter<'a> {
    scope: &'a str,
    ticket: u64,
    peer: &'a str,
    session_id: &'a str,
    paths: &'a [String],
    mode: String,
    reason: &'a str,
    queue_time: Option<String>,
    remaining_seconds: Option<f64>,
}

impl<'a> From<&'a proto::LockWaiter> for Waiter<'a> {
    fn from(waiter: &'a proto::LockWaiter) -> Self {
        Self {
            scope: &waiter.scope,
            ticket: waiter.ticket,
            peer: &waiter.peer,
            session_id: &waiter.session_id,
            paths: &waiter.paths,
            mode: word(waiter.mode().as_str_name(), "LOCK_MODE_"),
            reason: &waiter.reason,
            queue_time: time(waiter.queue_time.as_ref()),
            remaining_seconds: seconds(waiter.remaining.as_ref()),
        }
    }
}

/// A request to make way.
#[derive(Debug, Serialize)]
pub(crate) struct ReleaseRequest<'a> {
    scope: &'a str,
    id: u64,
    from: &'a str,
    holder: &'a str,
    paths: &'a [String],
    lock_paths: &'a [String],
    reason: &'a str,
    urgent: bool,
    ask_time: Option<String>,
}

impl<'a> From<&'a proto::ReleaseRequest> for ReleaseRequest<'a> {
    fn from(request: &'a proto::ReleaseRequest) -> Self {
        Self {
            scope: &request.scope,
            id: request.id,
            from: &request.from,
            holder: &request.holder,
            paths: &request.paths,
            lock_paths: &request.lock_paths,
            reason: &request.reason,
            urgent: request.urgent,
            ask_time: time(request.ask_time.as_ref()),
        }
    }
}
