//! Locks on the wire.

use mesh_core::Rejection;
use mesh_core::command::{Acquire, AnswerRelease, Command, RequestRelease};
use mesh_core::limits;
use mesh_core::outcome::{Conflict, Obstacle};
use mesh_core::record::{Contract, LockMode, LockRecord, ReleaseAnswer, ReleaseRequestRecord, WaiterRecord};
use mesh_core::revision::Revision;
use mesh_core::target::Target;
use mesh_core::time::Millis;
use mesh_proto::v1 as pb;

use super::{duration, few_globs, paths, span, targets, text, timestamp};

/// What an AcquireLocks asks.
pub(crate) fn acquire(request: pb::AcquireLocksRequest) -> Result<Acquire, Rejection> {
    let ttl = span("ttl", request.ttl, limits::LOCK_TTL)?;
    let wait = span("wait", request.wait, (Millis::ZERO, limits::LOCK_WAIT))?.unwrap_or_default();
    let most = if wait > Millis::ZERO { limits::WAIT_TARGETS } else { limits::TARGETS };
    Ok(Acquire {
        targets: wanted(&request.paths, most)?,
        mode: mode(request.mode)?,
        ttl: ttl.unwrap_or(limits::LOCK_TTL_DEFAULT),
        reason: text("reason", request.reason, limits::SENTENCE_BYTES)?,
        wait,
        contract: request.contract.map(contract).transpose()?,
    })
}

/// The targets of locks that a caller wants, or wants to be gone.
fn wanted(paths: &[String], max: usize) -> Result<Vec<Target>, Rejection> {
    if paths.is_empty() {
        return Err(Rejection::invalid("paths", format!("is empty; name 1 to {max} targets")));
    }
    targets("paths", paths, max)
}

fn contract(contract: pb::Contract) -> Result<Contract, Rejection> {
    if contract.text.is_empty() || contract.text.len() > limits::CONTRACT_BYTES {
        let problem =
            format!("must be 1 to {} bytes, and is {}", limits::CONTRACT_BYTES, contract.text.len());
        return Err(Rejection::invalid("contract.text", problem));
    }
    let paths = few_globs("contract.paths", &contract.paths, limits::ENTRY_PATHS)?;
    Ok(Contract { text: contract.text.into(), paths })
}

/// What a RenewLocks asks.
pub(crate) fn renew(request: &pb::RenewLocksRequest) -> Result<Command, Rejection> {
    let ttl = span("ttl", request.ttl, limits::LOCK_TTL)?;
    Ok(Command::Renew { targets: targets("paths", &request.paths, limits::TARGETS)?, ttl })
}

/// What a ReleaseLocks asks.
pub(crate) fn release(request: &pb::ReleaseLocksRequest) -> Result<Command, Rejection> {
    if request.paths.is_empty() && !request.keep.is_empty() {
        return Err(Rejection::invalid("keep", "needs `paths`: what is released, of which this is kept"));
    }
    Ok(Command::Release {
        targets: targets("paths", &request.paths, limits::TARGETS)?,
        keep: targets("keep", &request.keep, limits::WAIT_TARGETS)?,
        note: text("note", request.note.clone(), limits::SENTENCE_BYTES)?,
    })
}

/// What a RequestRelease asks.
pub(crate) fn request_release(request: pb::RequestReleaseRequest) -> Result<RequestRelease, Rejection> {
    Ok(RequestRelease {
        targets: wanted(&request.paths, limits::WAIT_TARGETS)?,
        mode: mode(request.mode)?,
        reason: text("reason", request.reason, limits::SENTENCE_BYTES)?,
        urgent: request.urgent,
    })
}

/// What an AnswerRelease says.
pub(crate) fn answer_release(request: pb::AnswerReleaseRequest) -> Result<AnswerRelease, Rejection> {
    let answer = match pb::ReleaseAnswer::try_from(request.answer) {
        Ok(pb::ReleaseAnswer::Keep) => ReleaseAnswer::Keep,
        Ok(pb::ReleaseAnswer::Release) => ReleaseAnswer::Release,
        Ok(pb::ReleaseAnswer::Narrow) => ReleaseAnswer::Narrow,
        Ok(pb::ReleaseAnswer::Unspecified) | Err(_) => {
            let problem = format!("has no value {}; answer KEEP, RELEASE or NARROW", request.answer);
            return Err(Rejection::invalid("answer", problem));
        }
    };
    match (answer, request.keep.is_empty()) {
        (ReleaseAnswer::Narrow, true) => {
            return Err(Rejection::invalid("keep", "is empty; name what to hold instead, or answer RELEASE"));
        }
        (ReleaseAnswer::Keep | ReleaseAnswer::Release, false) => {
            return Err(Rejection::invalid("keep", "must be empty, but with NARROW"));
        }
        (ReleaseAnswer::Narrow, false) | (ReleaseAnswer::Keep | ReleaseAnswer::Release, true) => {}
    }
    Ok(AnswerRelease {
        id: Revision(request.id),
        answer,
        keep: targets("keep", &request.keep, limits::WAIT_TARGETS)?,
        note: text("note", request.note, limits::SENTENCE_BYTES)?,
    })
}

/// What a ForceRelease asks.
pub(crate) fn force_release(request: pb::ForceReleaseRequest) -> Result<Command, Rejection> {
    if request.reason.is_empty() {
        return Err(Rejection::invalid("reason", "is empty; say why the locks are taken away"));
    }
    Ok(Command::ForceRelease {
        targets: wanted(&request.paths, limits::WAIT_TARGETS)?,
        reason: text("reason", request.reason, limits::SENTENCE_BYTES)?,
    })
}

/// How a lock is to exclude others.
pub(crate) fn mode(value: i32) -> Result<LockMode, Rejection> {
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
    pb::Lock {
        scope: lock.scope.to_string(),
        path: lock.target.to_string(),
        holder: lock.holder.to_string(),
        session_id: lock.session.to_string(),
        mode: mode_to_wire(lock.mode).into(),
        fencing_token: lock.token.0.0,
        state: status.state.into(),
        reason: lock.reason.clone(),
        ttl: Some(duration(lock.ttl)),
        remaining: Some(duration(status.remaining)),
        acquire_time: Some(timestamp(lock.acquired)),
        ticket: lock.ticket.map_or(0, |ticket| ticket.0.0),
    }
}

fn mode_to_wire(mode: LockMode) -> pb::LockMode {
    match mode {
        LockMode::Exclusive => pb::LockMode::Exclusive,
        LockMode::Shared => pb::LockMode::Shared,
    }
}

/// A request that waits, with the time it has left.
pub(crate) fn waiter(waiter: &WaiterRecord, remaining: Millis) -> pb::LockWaiter {
    pb::LockWaiter {
        scope: waiter.scope.to_string(),
        ticket: waiter.ticket.0.0,
        peer: waiter.peer.to_string(),
        session_id: waiter.session.to_string(),
        paths: paths(&waiter.targets),
        mode: mode_to_wire(waiter.mode).into(),
        reason: waiter.reason.clone(),
        queue_time: Some(timestamp(waiter.queued)),
        remaining: Some(duration(remaining)),
    }
}

/// A request to make way.
pub(crate) fn release_request(request: &ReleaseRequestRecord) -> pb::ReleaseRequest {
    pb::ReleaseRequest {
        scope: request.scope.to_string(),
        id: request.id.0,
        from: request.from.to_string(),
        holder: request.holder.to_string(),
        paths: paths(&request.wanted),
        lock_paths: paths(&request.locks),
        reason: request.reason.clone(),
        urgent: request.urgent,
        ask_time: Some(timestamp(request.asked)),
    }
}

/// What a holder answers.
pub(crate) fn release_answer(answer: ReleaseAnswer) -> pb::ReleaseAnswer {
    match answer {
        ReleaseAnswer::Keep => pb::ReleaseAnswer::Keep,
        ReleaseAnswer::Release => pb::ReleaseAnswer::Release,
        ReleaseAnswer::Narrow => pb::ReleaseAnswer::Narrow,
    }
}

/// A lock as it was granted.
pub(crate) fn granted(record: &LockRecord) -> pb::Lock {
    lock(record, LockStatus { state: pb::LockState::Held, remaining: record.ttl })
}

/// A lock in the way.
pub(crate) fn conflict(conflict: Conflict) -> pb::LockConflict {
    let mut wire = pb::LockConflict {
        path: conflict.target.to_string(),
        holder_focus: conflict.holder_focus,
        ..pb::LockConflict::default()
    };
    match conflict.obstacle {
        Obstacle::Lock { lock: held, lingering } => {
            wire.lock = Some(lock(&held, LockStatus::from((lingering, conflict.remaining))));
        }
        Obstacle::Waiter(record) => wire.waiter = Some(waiter(&record, conflict.remaining)),
    }
    wire
}

/// Roughly how many bytes a lock takes in an answer.
pub(crate) fn lock_size(lock: &LockRecord) -> usize {
    lock.target.as_str().len() + lock.reason.len() + lock.scope.as_str().len() + 192
}

/// Roughly how many bytes a request that waits takes in an answer.
pub(crate) fn waiter_size(waiter: &WaiterRecord) -> usize {
    targets_size(&waiter.targets) + waiter.reason.len() + waiter.scope.as_str().len() + 192
}

/// Roughly how many bytes a request to make way takes in an answer.
pub(crate) fn release_request_size(request: &ReleaseRequestRecord) -> usize {
    let targets = targets_size(&request.wanted) + targets_size(&request.locks);
    targets + request.reason.len() + request.scope.as_str().len() + 192
}

fn targets_size(targets: &[Target]) -> usize {
    targets.iter().map(|target| target.as_str().len() + 4).sum()
}
