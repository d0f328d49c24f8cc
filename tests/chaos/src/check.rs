//! Whether a history is one that the mesh promises, decided by revision in linear time.
//!
//! Every answer names its place in the one order, so nothing is searched: the log is replayed once, and each answer,
//! list and page is compared with the replay at its own revision. Overlap of targets, versions, cursors and the queue
//! are worked out here anew, in the simplest way, and not with the broker's code.
//!
//! What must hold: every kind of [`Fault`] can be found; a test beside this file breaks a good history once for each.

mod calls;
mod mail;
mod replay;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use mesh_client::proto::EventBatch;

use self::replay::World;
use crate::history::History;

/// What kind of promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Something acknowledged is not in the history, or not as it was acknowledged.
    Lost,
    /// A call took effect twice, or although it was refused.
    Twice,
    /// A revision or sequence does not follow on the one before.
    Gap,
    /// Two peers hold what excludes each other.
    Overlap,
    /// A fencing token is not larger than an earlier one, or not the revision of its grant.
    Token,
    /// A lock was ended by somebody who may not, or one that nobody held.
    Unlock,
    /// A session began or ended twice, or somebody acted without one.
    Session,
    /// A write does not follow on the version before it, or not on the one it was conditional on.
    Version,
    /// Something happened before what had been answered when it was asked.
    Order,
    /// A list shows what the history does not.
    State,
    /// A reader of the history was not shown all of it, once.
    Watch,
    /// A message was lost, shown twice, or out of order.
    Mail,
    /// A request waits for nothing, or ended twice.
    Queue,
    /// A client did not get over it.
    Client,
}

/// One broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub fault: Fault,
    /// Where, and how.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.fault, self.what)
    }
}

/// Collects violations.
#[derive(Debug, Default)]
struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, fault: Fault, what: impl Into<String>) {
        self.0.push(Violation { fault, what: what.into() });
    }

    fn unless(&mut self, holds: bool, fault: Fault, what: impl FnOnce() -> String) {
        if !holds {
            self.add(fault, what());
        }
    }
}

/// Every broken promise of a history; none is as it should be.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let mut found = Found::default();
    for failure in &history.failures {
        found.add(Fault::Client, failure);
    }
    let by_revision: BTreeMap<u64, &EventBatch> = history.log.iter().map(|b| (b.revision, b)).collect();
    let mut snapshots: Vec<_> = history.snapshots.iter().collect();
    snapshots.sort_by_key(|snapshot| snapshot.revision);
    let mut snapshots = snapshots.into_iter().peekable();
    let mut world = World::new(history);
    for batch in &history.log {
        while let Some(snapshot) = snapshots.next_if(|snapshot| snapshot.revision < batch.revision) {
            world.compare(snapshot, &mut found);
        }
        world.apply(batch, &mut found);
    }
    for snapshot in snapshots {
        world.compare(snapshot, &mut found);
    }
    calls::check(history, &by_revision, &mut found);
    mail::check(&history.mail, world.sent(), &mut found);
    for watched in &history.watches {
        watch(watched.from, &watched.seen, &history.log, &mut found);
    }
    found.0
}

/// What a reader saw is the log from where it began, without a hole up to where it stopped.
fn watch(from: u64, seen: &[EventBatch], log: &[EventBatch], found: &mut Found) {
    let expected = &log[log.partition_point(|batch| batch.revision < from)..];
    found.unless(seen.len() <= expected.len(), Fault::Watch, || {
        format!("a reader from {from} saw {} batches of {}", seen.len(), expected.len())
    });
    let differs = seen.iter().zip(expected).find(|(seen, expected)| seen != expected);
    if let Some((seen, expected)) = differs {
        let what = format!(
            "a reader from {from} saw revision {} where {} was next",
            seen.revision, expected.revision
        );
        found.add(Fault::Watch, what);
    }
}
