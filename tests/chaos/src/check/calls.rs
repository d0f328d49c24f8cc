//! Each answer beside the log, and the order of calls that did not overlap in time.

use std::collections::BTreeMap;

use mesh_client::proto::EventBatch;
use mesh_client::proto::event::Event;

use super::{Fault, Found};
use crate::history::{Answer, History, Op, What};

type Log<'a> = BTreeMap<u64, &'a EventBatch>;

/// Where a call took effect.
fn effect(op: &Op, log: &Log<'_>, by_request: &BTreeMap<&str, Vec<u64>>) -> Option<u64> {
    match op.answer {
        Answer::Done(revision) => {
            Some(revision).filter(|at| log.get(at).is_some_and(|batch| shows(batch, op)))
        }
        Answer::Refused => None,
        Answer::Unknown => {
            let batches = by_request.get(op.request_id.as_str())?;
            batches.iter().copied().find(|revision| log.get(revision).is_some_and(|batch| shows(batch, op)))
        }
    }
}

pub(super) fn check(history: &History, log: &Log<'_>, found: &mut Found) {
    let mut by_request: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for batch in history.log.iter().filter(|batch| !batch.request_id.is_empty()) {
        by_request.entry(&batch.request_id).or_default().push(batch.revision);
    }
    for op in &history.ops {
        let batches = by_request.get(op.request_id.as_str()).map(Vec::as_slice).unwrap_or_default();
        once(op, batches, log, found);
        if let Answer::Done(revision) = op.answer {
            let there =
                log.get(&revision).is_some_and(|batch| shows(batch, op) || had_been_granted(batch, op));
            found.unless(there, Fault::Lost, || {
                let (peer, what, id) = (&op.peer, &op.what, &op.request_id);
                format!("{what:?} of {peer} was acknowledged at {revision} and is not there ({id})")
            });
        }
    }
    order(history, log, &by_request, found);
}

/// A call takes effect once, and not at all when it is refused. A request for locks may be queued more than once.
fn once(op: &Op, batches: &[u64], log: &Log<'_>, found: &mut Found) {
    let effects = batches.iter().filter(|at| log.get(at).is_some_and(|batch| shows(batch, op))).count();
    let most = usize::from(op.answer != Answer::Refused);
    found.unless(effects <= most, Fault::Twice, || {
        format!("{:?} of {} was {:?} and took effect at {batches:?}", op.what, op.peer, op.answer)
    });
}

/// Whether a batch shows what a call asked for.
fn shows(batch: &EventBatch, op: &Op) -> bool {
    let own = batch.actor == op.peer && (batch.request_id == op.request_id || op.request_id.is_empty());
    let mut events = batch.events.iter().filter_map(|event| event.event.as_ref());
    events.any(|event| match (&op.what, event) {
        (What::Join(session), Event::PeerJoined(joined)) => {
            joined.peer.as_ref().is_some_and(|p| p.session_id == *session && p.name == op.peer)
        }
        (What::Put(key, _), Event::StateChanged(change)) => own && change.key == *key,
        (What::Delete(key), Event::StateDeleted(deleted)) => own && deleted.key == *key,
        (What::Send, Event::MessageSent(message)) => own && message.from == op.peer,
        // A request that waited is granted by whoever made way.
        (What::Acquire(paths), Event::FileLocked(locked)) => {
            let mine = locked.locks.iter().filter(|lock| lock.holder == op.peer);
            let granted: Vec<_> = mine.map(|lock| &lock.path).collect();
            (own || locked.ticket != 0) && paths.iter().any(|path| granted.contains(&path))
        }
        (What::Release, Event::FileUnlocked(unlocked)) => own && unlocked.holder == op.peer,
        (What::Leave, Event::PeerLeft(left)) => own && left.name == op.peer,
        _ => false,
    })
}

/// Whether what was asked for was held already, by a request of before. That it still was is seen in the list of what
/// was answered.
fn had_been_granted(batch: &EventBatch, op: &Op) -> bool {
    let What::Acquire(paths) = &op.what else { return false };
    let events = batch.events.iter().filter_map(|event| event.event.as_ref());
    let granted = events
        .filter_map(|event| if let Event::FileLocked(locked) = event { Some(&locked.locks) } else { None });
    granted.flatten().any(|lock| lock.holder == op.peer && paths.contains(&lock.path))
}

/// What was asked after an answer was there comes after it.
fn order(history: &History, log: &Log<'_>, by_request: &BTreeMap<&str, Vec<u64>>, found: &mut Found) {
    // (when it started, when it ended, at which revision, whether that is its own)
    let calls = history.ops.iter().filter_map(|op| {
        let at = effect(op, log, by_request)?;
        let ended = if op.answer == Answer::Unknown { u64::MAX } else { op.ended };
        Some((op.started, ended, at, true))
    });
    let reads = history.snapshots.iter().map(|read| (read.started, read.ended, read.revision, false));
    let mut spans: Vec<_> = calls.chain(reads).collect();
    let mut ends: Vec<_> = spans.iter().map(|(_, ended, at, _)| (*ended, *at)).collect();
    spans.sort_unstable();
    ends.sort_unstable();
    let mut ends = ends.into_iter().peekable();
    let mut newest = 0;
    for (started, _, at, own) in spans {
        while let Some((_, answered)) = ends.next_if(|(ended, _)| *ended < started) {
            newest = newest.max(answered);
        }
        found.unless(at > newest || at == newest && !own, Fault::Order, || {
            format!("asked at {started} µs, answered with {at}; {newest} had been answered before")
        });
    }
}
