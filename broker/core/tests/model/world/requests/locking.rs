//! Requests about locks.

use std::sync::Arc;

use mesh_core::command::{Acquire, AnswerRelease, Command, RequestRelease};
use mesh_core::record::{Contract, PeerRecord, ReleaseAnswer};
use mesh_core::revision::{Revision, Ticket};
use mesh_core::target::Target;
use mesh_core::time::Millis;

use super::{mode, pick, targets, texts};
use crate::naive::Naive;
use crate::world::ops::{Locking, Which};
use crate::world::{self, TARGETS, is_subject, target};

pub(super) fn command(what: &Locking, naive: &Naive, own: Option<&PeerRecord>) -> Command {
    match what {
        Locking::Acquire { targets: on, shared, ttl, reason, wait, contract } => {
            let mut on = targets(on);
            let contract = contract.filter(|_| !shared || *reason == 2).map(|subject| {
                on.retain(|target| !is_subject(target));
                on.push(target(subject));
                let text: Arc<str> = format!("shape {reason}").into();
                Contract { text, paths: vec![target(subject), target(*reason + 1)] }
            });
            Command::Acquire(Acquire {
                targets: on,
                mode: mode(*shared),
                ttl: Millis(*ttl),
                reason: texts(*reason),
                wait: Millis(*wait),
                contract,
            })
        }
        Locking::Abandon { which, .. } => {
            let tickets = naive.tickets();
            let ticket = pick(which, &tickets).map_or(Ticket(Revision(1)), |(ticket, _)| *ticket);
            Command::Abandon { ticket }
        }
        Locking::Renew { which, ttl } => {
            Command::Renew { targets: named(which, naive, own), ttl: ttl.map(Millis) }
        }
        Locking::Release { which, keep, fits } => {
            let released = named(which, naive, own);
            let keep = if released.is_empty() { Vec::new() } else { narrowed(keep, &released, *fits) };
            Command::Release { targets: released, keep, note: texts(1) }
        }
        Locking::RequestRelease { targets: on, shared, reason, urgent } => {
            Command::RequestRelease(RequestRelease {
                targets: targets(on),
                mode: mode(*shared),
                reason: texts(*reason),
                urgent: *urgent,
            })
        }
        Locking::AnswerRelease { which, answer, keep, fits, .. } => {
            use ReleaseAnswer::{Keep, Narrow, Release};
            let request = pick(which, &naive.requests).map(|asked| &asked.record);
            let answer = [Keep, Release, Narrow][*answer];
            let locks = request.map(|request| request.locks.clone()).unwrap_or_default();
            let keep = narrowed(keep, &locks, *fits);
            Command::AnswerRelease(AnswerRelease {
                id: request.map_or(Revision(1), |request| request.id),
                answer,
                keep: if answer == Narrow { keep } else { Vec::new() },
                note: texts(2),
            })
        }
        Locking::ForceRelease { targets: on, reason } => {
            Command::ForceRelease { targets: targets(on), reason: texts(*reason) }
        }
    }
}

/// What to keep of some targets: what lies within them, if it is to fit, or anything.
fn narrowed(keep: &[usize], of: &[Target], fits: bool) -> Vec<Target> {
    let within = |target: &Target| of.iter().any(|outer| world::covers(outer, target));
    if !fits || keep.is_empty() {
        return targets(keep);
    }
    let inner: Vec<usize> = (0..TARGETS.len()).filter(|at| within(&target(*at))).collect();
    if inner.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for at in keep.iter().map(|at| inner[at % inner.len()]) {
        if !found.contains(&target(at)) {
            found.push(target(at));
        }
    }
    found
}

/// Targets of the caller's locks, as an operation names them.
fn named(which: &Which, naive: &Naive, own: Option<&PeerRecord>) -> Vec<Target> {
    match which {
        Which::All => Vec::new(),
        Which::These(these) => targets(these),
        Which::Own(at) => {
            let held =
                naive.locks.iter().map(|held| &held.lock).filter(|lock| {
                    own.is_some_and(|peer| peer.scope == lock.scope && peer.name == lock.holder)
                });
            let held: Vec<Target> = held.map(|lock| lock.target.clone()).collect();
            pick(at, &held).into_iter().cloned().collect()
        }
    }
}
