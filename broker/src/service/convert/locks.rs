//! Locks on the wire.

use mesh_core::Rejection;
use mesh_core::command::{Acquire, Command};
use mesh_core::limits;
use mesh_core::outcome::Conflict;
use mesh_core::record::{LockMode, LockRecord};
use mesh_core::time::Millis;
use mesh_proto::v1 as pb;

use super::{duration, span, targets, text, timestamp};

/// What an AcquireLocks asks.
pub(crate) fn acquire(request: pb::AcquireLocksRequest) -> Result<Acquire, Rejection> {
    if request.paths.is_empty() {
        return Err(Rejection::invalid("paths", "is empty; name 1 to 100 targets"));
    }
    let ttl = span("ttl", request.ttl, limits::LOCK_TTL)?;
    Ok(Acquire {
        targets: targets("paths", &request.paths, limits::TARGETS)?,
        mode: mode(request.mode)?,
        ttl: ttl.unwrap_or(limits::LOCK_TTL_DEFAULT),
        reason: text("reason", request.reason, limits::SENTENCE_BYTES)?,
    })
}

/// What a RenewLocks asks.
pub(crate) fn renew(request: &pb::RenewLocksRequest) -> Result<Command, Rejection> {
    let ttl = span("ttl", request.ttl, limits::LOCK_TTL)?;
    Ok(Command::Renew { targets: targets("paths", &request.paths, limits::TARGETS)?, ttl })
}

/// What a ReleaseLocks asks.
pub(crate) fn release(request: &pb::ReleaseLocksRequest) -> Result<Command, Rejection> {
    Ok(Command::Release { targets: targets("paths", &request.paths, limits::TARGETS)? })
}

fn mode(value: i32) -> Result<LockMode, Rejection> {
    match pb::LockMode::try_from(value) {
        Ok(pb::LockMode::Unspecified | pb::LockMode::Exclusive) => Ok(LockMode::Exclusive),
        Ok(pb::LockMode::Shared) => Ok(LockMode::Shared),
        Err(_) => Err(Rejection::invalid("mode", format!("has no value {value}"))),
    }
}

/// How a lock stands at one moment: whether its holder is there, and the time it has left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LockStatus {
    pub(crate) state: pb::LockState,
    pub(crate) remaining: Millis,
}

impl From<(bool, Millis)> for LockStatus {
    /// From whether the lock lingers and the time it has left, as the core tells.
    fn from((lingering, remaining): (bool, Millis)) -> Self {
        let state = if lingering { pb::LockState::Lingering } else { pb::LockState::Held };
        Self { state, remaining }
    }
}

/// A lock as it stands.
pub(crate) fn lock(lock: &LockRecord, status: LockStatus) -> pb::Lock {
    let mode = match lock.mode {
        LockMode::Exclusive => pb::LockMode::Exclusive,
        LockMode::Shared => pb::LockMode::Shared,
    };
    pb::Lock {
        scope: lock.scope.to_string(),
        path: lock.target.to_string(),
        holder: lock.holder.to_string(),
        session_id: lock.session.to_string(),
        mode: mode.into(),
        fencing_token: lock.token.0.0,
        state: status.state.into(),
        reason: lock.reason.clone(),
        ttl: Some(duration(lock.ttl)),
        remaining: Some(duration(status.remaining)),
        acquire_time: Some(timestamp(lock.acquired)),
    }
}

/// A lock as it was granted.
pub(crate) fn granted(record: &LockRecord) -> pb::Lock {
    lock(record, LockStatus { state: pb::LockState::Held, remaining: record.ttl })
}

/// A lock in the way.
pub(crate) fn conflict(conflict: Conflict) -> pb::LockConflict {
    let status = LockStatus::from((conflict.lingering, conflict.remaining));
    pb::LockConflict {
        path: conflict.target.to_string(),
        lock: Some(lock(&conflict.lock, status)),
        holder_focus: conflict.holder_focus,
    }
}

/// Roughly how many bytes a lock takes in an answer.
pub(crate) fn lock_size(lock: &LockRecord) -> usize {
    lock.target.as_str().len() + lock.reason.len() + lock.scope.as_str().len() + 192
}
