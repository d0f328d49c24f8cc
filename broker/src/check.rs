//! Whether what is stored is sound: every record can be read and lies where it belongs, and all of them together are a
//! state that there can be.
//!
//! Takes the records of a store or of a backup in any order, and changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mesh_core::State;
use mesh_core::record::{LogRecord, Record, Write};
use mesh_core::revision::Revision;

use crate::records::{self, Loaded};
use crate::store::StoreError;
use crate::writer::recovery::consecutive;

/// Most damaged records named.
const NAMED: usize = 100;

/// What a check found.
#[derive(Debug, Default)]
pub struct Findings {
    /// How many records there are of each kind.
    pub records: BTreeMap<&'static str, u64>,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// The newest revision.
    pub revision: Revision,
    /// The oldest revision whose events are kept; one past the newest when none are.
    pub oldest: Revision,
    /// What cannot be read, or is not where it belongs.
    pub damage: Vec<String>,
    /// What contradicts itself, although it can be read.
    pub contradictions: Vec<String>,
}

impl Findings {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty() && self.contradictions.is_empty()
    }
}

/// Takes records in, and says at the end what is wrong with them.
#[derive(Debug, Default)]
pub struct Checker {
    found: Findings,
    state: Vec<Record>,
    logs: Vec<Arc<LogRecord>>,
    /// Newest revision of a history of format 1.
    old: Revision,
    unnamed: usize,
}

impl Checker {
    /// The next record, or why it cannot be read.
    pub fn take(&mut self, key: &[u8], value: Result<Bytes, StoreError>) {
        *self.found.records.entry(records::kind_of(key)).or_default() += 1;
        let loaded = value.and_then(|value| {
            self.found.bytes += (key.len() + value.len()) as u64;
            records::decode(key, &value)
        });
        match loaded {
            Err(error) => self.note_damage(error.to_string()),
            Ok(loaded) if !records::belongs_under(key, &loaded) => {
                let kind = records::kind_of(key);
                self.note_damage(format!("a record of the {kind} lies under the key of another"));
            }
            Ok(Loaded::Log(log)) => self.logs.push(log),
            Ok(Loaded::OldLog(log)) => self.old = self.old.max(log.revision),
            Ok(Loaded::Record(record)) => self.state.push(record),
        }
    }

    /// Something that is wrong beside the records.
    pub fn note_damage(&mut self, what: String) {
        if self.found.damage.len() < NAMED {
            self.found.damage.push(what);
        } else {
            self.unnamed += 1;
        }
    }

    /// What was found. `marked` is the revision that was noted as committed, if that is known.
    #[must_use]
    pub fn finish(mut self, marked: Option<u64>) -> Findings {
        if self.unnamed > 0 {
            self.found.damage.push(format!("and {} more", self.unnamed));
        }
        self.logs.sort_unstable_by_key(|log| log.revision);
        let at = self.logs.last().map(|log| log.at).unwrap_or_default();
        let head = self.logs.last().map_or(self.old, |log| log.revision);
        if let Some(marked) = marked.filter(|marked| head.0 < *marked) {
            let head = head.0;
            self.found
                .damage
                .push(format!("revision {marked} was committed, and the newest that is there is {head}"));
        }
        let history = consecutive(&self.logs);
        self.found.revision = head;
        self.found.oldest = history.first().map_or(head.next(), |log| log.revision);
        // Records that are missing contradict others, which says nothing new.
        if self.found.damage.is_empty() {
            let mut state = State::default();
            for record in self.state {
                state.apply(&Write::Put(record), at);
            }
            state.advance(head);
            self.found.contradictions = state.check();
            self.found.contradictions.extend(state.check_history(history));
        }
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::tests::golden;

    fn checked(rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Findings {
        let mut checker = Checker::default();
        for (key, value) in rows {
            checker.take(&key, Ok(value.into()));
        }
        checker.finish(None)
    }

    #[test]
    fn every_kind_of_record_is_counted_and_lies_where_it_belongs() {
        let rows = golden();
        let found = checked(rows.clone());
        assert_eq!(found.damage, Vec::<String>::new());
        assert_eq!(found.records.values().sum::<u64>(), rows.len() as u64);
        assert!(!found.records.contains_key("unknown"), "{found:?}");
    }

    #[test]
    fn a_record_under_the_key_of_another_is_found() {
        let rows = golden();
        let mut of_kind = rows.iter().filter(|(key, _)| records::kind_of(key) == "entries");
        let (_, value) = of_kind.next().unwrap();
        let mut key = vec![0x05];
        key.extend_from_slice(&[7; 32]);
        let found = checked([(key, value.clone())]);
        assert_eq!(found.damage, ["a record of the entries lies under the key of another"]);
    }

    #[test]
    fn a_lock_of_nobody_is_found() {
        let locks = golden().into_iter().filter(|(key, _)| records::kind_of(key) == "locks");
        let found = checked(locks);
        assert_eq!(found.damage, Vec::<String>::new());
        assert!(found.contradictions.iter().any(|what| what.contains("held by nobody")), "{found:?}");
        assert!(!found.is_sound());
    }

    #[test]
    fn what_is_missing_of_what_was_committed_is_found() {
        let rows = golden();
        let mut checker = Checker::default();
        rows.into_iter().for_each(|(key, value)| checker.take(&key, Ok(value.into())));
        let found = checker.finish(Some(u64::MAX));
        assert!(found.damage[0].contains("was committed"), "{found:?}");
    }
}
