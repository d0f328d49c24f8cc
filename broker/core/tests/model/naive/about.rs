//! All that is known about a target.

use std::cmp::Reverse;
use std::sync::Arc;

use mesh_core::id::ScopeId;
use mesh_core::record::{EntryRecord, LockRecord, PeerRecord, Recipients};
use mesh_core::state::about::About;
use mesh_core::target::Target;

use super::Naive;
use super::contracts::subject_of;
use super::messages::may_read;
use crate::world;

impl Naive {
    pub(crate) fn about(
        &self,
        scope: &ScopeId,
        target: &Target,
        reader: Option<&PeerRecord>,
        limit: usize,
    ) -> About {
        let any = |targets: &[Target]| targets.iter().any(|at| world::overlap(at, target));
        let mut locks: Vec<LockRecord> = self.locks.iter().map(|held| held.lock.clone()).collect();
        locks.retain(|lock| lock.scope == *scope && world::overlap(&lock.target, target));
        locks.sort_by_key(LockRecord::key);
        let waiters = self.waiters.iter().filter(|waiter| waiter.scope == *scope && any(&waiter.targets));
        let requests =
            self.requests.iter().map(|asked| &asked.record).filter(|request| request.scope == *scope);
        let requests = requests.filter(|request| any(&request.wanted) || any(&request.locks));
        let mut activity: Vec<_> = self.touches.iter().filter(|touch| touch.scope == *scope).collect();
        activity.retain(|touch| world::overlap(&touch.path, target));
        activity.sort_by_key(|touch| (Reverse(touch.latest()), touch.peer.clone(), touch.path.clone()));
        let mut peers: Vec<&PeerRecord> = self.peers.iter().filter(|peer| peer.scope == *scope).collect();
        peers.retain(|peer| peer.session.is_some() && any(&peer.info.files));
        peers.sort_by_key(|peer| &peer.name);
        let messages = self.messages.iter().rev().map(|kept| &kept.record).filter(|message| {
            let shown = match message.to {
                Recipients::Broadcast | Recipients::Topic(_) => true,
                Recipients::Direct(_) => reader.is_some_and(|reader| may_read(message, reader)),
            };
            message.scope == *scope && shown && any(&message.paths)
        });
        let mut more = Vec::new();
        let intents = cut(self.intents(scope, target), "intents", limit, &mut more);
        let contracts: Vec<_> = intents.iter().filter_map(|(_, contract)| contract.clone()).collect();
        let mut entries: Vec<&EntryRecord> =
            self.entries.iter().filter(|entry| entry.scope == *scope).collect();
        entries.retain(|entry| any(&entry.paths));
        entries.retain(|entry| contracts.iter().all(|contract| contract.key != entry.key));
        entries.sort_by_key(|entry| (Reverse(entry.revision), entry.key.clone()));
        About {
            locks: cut(shared(locks), "locks", limit, &mut more),
            waiters: cut(shared(waiters.cloned()), "waiters", limit, &mut more),
            release_requests: cut(shared(requests.cloned()), "release_requests", limit, &mut more),
            intents,
            entries: cut(shared(entries.into_iter().cloned()), "entries", limit, &mut more),
            activity: cut(shared(activity.into_iter().cloned()), "activity", limit, &mut more),
            peers: cut(shared(peers.into_iter().cloned()), "peers", limit, &mut more),
            messages: cut(shared(messages.cloned()), "messages", limit, &mut more),
            more,
        }
    }

    /// Locks on subjects: that overlap the target, that were granted together with a lock which does, or whose
    /// contract names it.
    fn intents(&self, scope: &ScopeId, target: &Target) -> Vec<(Arc<LockRecord>, Option<Arc<EntryRecord>>)> {
        let here: Vec<&LockRecord> =
            self.locks.iter().map(|held| &held.lock).filter(|lock| lock.scope == *scope).collect();
        let contract = |subject: &Target| {
            self.entries
                .iter()
                .find(|entry| entry.scope == *scope && subject_of(&entry.key).as_ref() == Some(subject))
        };
        let concerns = |lock: &&&LockRecord| {
            let together = here.iter().any(|other| {
                other.holder == lock.holder
                    && other.token == lock.token
                    && world::overlap(&other.target, target)
            });
            let named = contract(&lock.target)
                .is_some_and(|contract| contract.paths.iter().any(|path| world::overlap(path, target)));
            world::is_subject(&lock.target) && (together || named)
        };
        let mut found: Vec<LockRecord> = here.iter().filter(concerns).map(|lock| (*lock).clone()).collect();
        found.sort_by_key(LockRecord::key);
        let with = |lock: LockRecord| {
            let contract = contract(&lock.target).cloned().map(Arc::new);
            (Arc::new(lock), contract)
        };
        found.into_iter().map(with).collect()
    }
}

fn shared<T>(all: impl IntoIterator<Item = T>) -> Vec<Arc<T>> {
    all.into_iter().map(Arc::new).collect()
}

fn cut<T>(mut all: Vec<T>, name: &'static str, limit: usize, more: &mut Vec<&'static str>) -> Vec<T> {
    if all.len() > limit {
        all.truncate(limit);
        more.push(name);
    }
    all
}
