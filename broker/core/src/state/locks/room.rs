//! How much fits into one transaction: the store takes only so many operations at once, and a large record is several.

use crate::event::Event;
use crate::record::{Record, Write};

/// Bytes of a record that are one operation of the store.
const OPERATION: usize = 4_096;
/// What the item of the history may come to, the answer to a repeat included. What lies in its slot may be as long.
const LOG: usize = 400 * 1024;
/// What the other records of a transaction may come to. The store takes 256 operations; the rest is for what is added
/// at the end.
const BATCH: usize = 248 * OPERATION - LOG;

/// What is left of a transaction.
#[derive(Debug)]
pub(super) struct Room {
    batch: usize,
    log: usize,
}

impl Room {
    /// All of it.
    pub(super) fn new() -> Self {
        Self { batch: BATCH, log: LOG }
    }

    /// Takes room for so many writes, for the bytes of those that are large, and for those of events; false, and
    /// nothing, when there is less. The answer may tell again what the events tell.
    pub(super) fn take(&mut self, writes: usize, bytes: usize, events: usize) -> bool {
        let log = 2 * events;
        let batch = writes * OPERATION + bytes;
        if batch > self.batch || log > self.log {
            return false;
        }
        self.batch -= batch;
        self.log -= log;
        true
    }

    /// Takes the room that something needs which cannot be left out.
    pub(super) fn use_for(&mut self, writes: &[Write], events: &[Event]) {
        let bytes = writes.iter().map(bytes).sum::<usize>();
        let log = 2 * events.iter().map(Event::weight).sum::<usize>();
        self.batch = self.batch.saturating_sub(writes.len() * OPERATION + bytes);
        self.log = self.log.saturating_sub(log);
    }
}

/// Bytes of a record, where there may be more than one operation takes.
fn bytes(write: &Write) -> usize {
    if let Write::Put(Record::Peer(peer)) = write { peer.weight() } else { 0 }
}
