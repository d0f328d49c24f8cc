//! From the store to a state: what a start needs to know, with no command to run and nothing to repair.

use std::collections::VecDeque;
use std::sync::Arc;

use mesh_core::State;
use mesh_core::idempotency::Idempotency;
use mesh_core::mutation::{Mutation, planted};
use mesh_core::record::{LogRecord, Record, Write};
use mesh_core::revision::Revision;
use mesh_core::time::Timestamp;

use crate::records::{self, Loaded, OldLog};
use crate::store::{Store, StoreError};

/// Everything that is in the store, as the broker keeps it in memory.
#[derive(Debug)]
pub struct Recovered {
    /// The state; leases in it start anew, in full.
    pub state: State,
    /// First answers to recent requests.
    pub idempotency: Idempotency,
    /// The newest transactions, consecutive.
    pub recent: VecDeque<Arc<LogRecord>>,
    /// Oldest revision of the history; one past the newest when there is none.
    pub oldest: Revision,
    /// When that one was committed.
    pub oldest_at: Timestamp,
    /// The mesh's time: that of the last commit.
    pub at: Timestamp,
}

/// Reads the whole store once.
pub fn recover(store: &dyn Store, ring: usize) -> Result<Recovered, StoreError> {
    let mut logs = Vec::new();
    let mut old = OldLog::default();
    let mut writes = Vec::new();
    store.load(&mut |key, value| {
        match records::decode(key, &value)? {
            Loaded::Log(log) => logs.push(log),
            Loaded::OldLog(log) if log.revision > old.revision => old = log,
            Loaded::OldLog(_) => {}
            Loaded::Record(record) => writes.push(Write::Put(record)),
        }
        Ok(())
    })?;
    logs.sort_unstable_by_key(|log| log.revision);
    if planted(Mutation::LastRecordDropped) {
        logs.pop();
    }
    if planted(Mutation::MessageDropped)
        && let Some(last) = writes.iter().rposition(|write| matches!(write, Write::Put(Record::Message(_))))
    {
        writes.remove(last);
    }
    let at = logs.last().map_or(old.at, |log| log.at);
    let mut state = State::default();
    for write in &writes {
        let lost = if planted(Mutation::LeasesNotRestarted) { 1_500 } else { 0 };
        state.apply(write, Timestamp(at.0.saturating_sub(lost)));
    }
    let head = logs.last().map_or(old.revision, |log| log.revision);
    state.advance(head);
    if let Some(marked) = store.marked().filter(|marked| head.0 < *marked) {
        let what = format!(
            "it ends with revision {}, and revision {marked} was committed: its newest records are gone; restore a \
             backup (`meshctl restore FILE`), or empty its file LOCK to go on without them",
            head.0
        );
        return Err(StoreError::Corrupt { what });
    }
    let history = consecutive(&logs);
    let mut idempotency = Idempotency::default();
    for log in history.iter().filter(|_| !planted(Mutation::RequestsNotRecovered)) {
        idempotency.remember(log);
    }
    let recent = history.iter().skip(history.len().saturating_sub(ring)).cloned().collect();
    Ok(Recovered {
        state,
        idempotency,
        recent,
        oldest: history.first().map_or(head.next(), |log| log.revision),
        oldest_at: history.first().map_or(at, |log| log.at),
        at,
    })
}

/// The newest run without a gap: what lies before a gap is left over from a trim that was cut short.
pub(crate) fn consecutive(logs: &[Arc<LogRecord>]) -> &[Arc<LogRecord>] {
    let gap = logs.windows(2).rposition(|pair| pair[0].revision.next() != pair[1].revision);
    &logs[gap.map_or(0, |at| at + 1)..]
}
