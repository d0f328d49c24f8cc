//! Contracts: the entries `contract/SUBJECT`, and who depends on them.

use std::collections::BTreeSet;

use mesh_core::event::Event;
use mesh_core::id::{EntryKey, PeerName, ScopeId};
use mesh_core::record::{EntryRecord, LockMode};
use mesh_core::target::Target;

use super::{Naive, preview};
use crate::world;

/// The subject whose contract a key names.
pub(super) fn subject_of(key: &EntryKey) -> Option<Target> {
    let subject = key.as_str().strip_prefix("contract/")?;
    let subject = Target::parse("key", subject).ok()?;
    world::is_subject(&subject).then_some(subject)
}

impl Naive {
    /// What those are told who depend on the subject of an entry, if it is a contract.
    pub(super) fn contract_event(
        &self,
        entry: &EntryRecord,
        by: Option<&PeerName>,
        deleted: bool,
    ) -> Option<Event> {
        let subject = subject_of(&entry.key)?;
        Some(Event::ContractChanged {
            dependents: self.dependents(&entry.scope, &subject, by),
            subject,
            key: entry.key.clone(),
            version: entry.version,
            deleted,
            by: by.cloned(),
            preview: preview(&entry.value),
        })
    }

    /// Other holders of a shared lock that overlaps the subject, and those who wait for one; as of before the change.
    fn dependents(&self, scope: &ScopeId, subject: &Target, by: Option<&PeerName>) -> Vec<PeerName> {
        let mut names = BTreeSet::new();
        let (locks, waiters) = &self.before;
        for lock in locks.iter().map(|held| &held.lock) {
            if lock.scope == *scope && lock.mode == LockMode::Shared && world::overlap(&lock.target, subject)
            {
                names.insert(lock.holder.clone());
            }
        }
        for waiter in waiters {
            let overlaps = waiter.targets.iter().any(|target| world::overlap(target, subject));
            if waiter.scope == *scope && waiter.mode == LockMode::Shared && overlaps {
                names.insert(waiter.peer.clone());
            }
        }
        names.into_iter().filter(|name| Some(name) != by).collect()
    }
}
