//! Contracts: what a lock on a subject is about, kept as the entry `contract/SUBJECT`.
//!
//! Whoever writes or deletes such an entry, and by whatever command, tells those who depend on the subject.

use std::collections::BTreeSet;

use super::entries::Content;
use super::{Change, State};
use crate::event::{Event, preview};
use crate::id::{EntryKey, PeerName, ScopeId};
use crate::limits;
use crate::record::{Contract, EntryRecord, LockMode};
use crate::rejection::Rejection;
use crate::target::{Target, TargetKind};
use crate::time::Now;

const PREFIX: &str = "contract/";

/// Key of a subject's contract; none for what is no subject, or a name that is too long for a key.
#[must_use]
pub fn contract_key(subject: &Target) -> Option<EntryKey> {
    if subject.kind() != TargetKind::Subject {
        return None;
    }
    EntryKey::parse(&format!("{PREFIX}{subject}")).ok()
}

/// The subject whose contract a key names.
#[must_use]
pub fn contract_subject(key: &EntryKey) -> Option<Target> {
    let subject = Target::parse("key", key.as_str().strip_prefix(PREFIX)?).ok()?;
    (contract_key(&subject).as_ref() == Some(key)).then_some(subject)
}

impl State {
    /// Refuses a contract that could not be written: to be asked before locks are granted or a request is queued.
    pub fn check_contract(&self, scope: &ScopeId, subject: &Target) -> Result<(), Rejection> {
        let Some(key) = contract_key(subject) else {
            let longest = limits::KEY_BYTES - PREFIX.len();
            let problem = format!("needs a subject of at most {longest} bytes; give it a shorter name");
            return Err(Rejection::invalid("contract", problem));
        };
        if self.entries.get(scope, &key).is_some() {
            return Ok(());
        }
        self.entries.check_room(scope, 1)
    }

    /// Adds the writes and events that make a text the contract of a subject, whoever wrote the one before. Of several
    /// in one change the last one stands.
    pub(super) fn write_contract(
        &self,
        change: &mut Change,
        subject: &Target,
        contract: &Contract,
        writer: &PeerName,
        now: Now,
    ) {
        let Some(key) = contract_key(subject) else { return };
        let mut paths = vec![subject.clone()];
        for path in &contract.paths {
            if !paths.contains(path) {
                paths.push(path.clone());
            }
        }
        let content = Content { value: contract.text.clone(), paths, tags: Vec::new(), ttl: None };
        self.write_entry(change, &key, content, writer, now);
    }

    /// How many writes a contract may come to, and of how many bytes: its entry, and the former ones.
    pub(super) fn contract_writes(
        &self,
        scope: &ScopeId,
        subject: &Target,
        contract: &Contract,
    ) -> (usize, usize) {
        let Some(key) = contract_key(subject) else { return (0, 0) };
        let (versions, _) = self.entries.versions(scope, &key);
        let former = versions.iter().map(|version| version.bytes()).sum::<usize>();
        let latest = versions.first().map_or(0, |version| version.bytes());
        (2 + versions.len(), contract.weight() + latest + former)
    }

    /// The event of an entry that was written, if it is a contract.
    pub(super) fn contract_written(&self, entry: &EntryRecord) -> Option<Event> {
        let subject = contract_subject(&entry.key)?;
        let by = Some(entry.writer.clone());
        let dependents = self.dependents(&entry.scope, &subject, by.as_ref());
        Some(Event::ContractChanged {
            subject,
            key: entry.key.clone(),
            version: entry.version,
            deleted: false,
            by,
            dependents,
            preview: preview(&entry.value),
        })
    }

    /// The event of an entry that is going, if it is a contract.
    pub(super) fn contract_deleted(&self, entry: &EntryRecord, by: Option<&PeerName>) -> Option<Event> {
        let subject = contract_subject(&entry.key)?;
        let dependents = self.dependents(&entry.scope, &subject, by);
        Some(Event::ContractChanged {
            subject,
            key: entry.key.clone(),
            version: entry.version,
            deleted: true,
            by: by.cloned(),
            dependents,
            preview: preview(&entry.value),
        })
    }

    /// Who depends on a subject: the peers that hold a shared lock which overlaps it, or wait for one, by name.
    fn dependents(&self, scope: &ScopeId, subject: &Target, but: Option<&PeerName>) -> Vec<PeerName> {
        let shared = self.locks.overlapping(scope, subject).filter(|lock| lock.mode == LockMode::Shared);
        let waiting = self.locks.waiters(scope).filter(|waiter| {
            let overlaps = |target: &Target| target.intersects(subject);
            waiter.mode == LockMode::Shared && waiter.targets.iter().any(overlaps)
        });
        let names = shared.map(|lock| &lock.holder).chain(waiting.map(|waiter| &waiter.peer));
        let names: BTreeSet<&PeerName> = names.filter(|name| Some(*name) != but).collect();
        names.into_iter().take(limits::DEPENDENTS_SHOWN).cloned().collect()
    }
}
