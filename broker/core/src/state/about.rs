//! All that the mesh knows about a target, in one view.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::State;
use super::contracts::{contract_key, contract_subject};
use super::messages::Messages;
use crate::id::{EntryKey, PeerName, ScopeId};
use crate::record::{
    EntryRecord, LockRecord, MessageRecord, PeerKey, PeerRecord, Recipients, ReleaseRequestRecord,
    TouchRecord, WaiterRecord,
};
use crate::revision::FencingToken;
use crate::target::{Target, TargetKind};

/// What is known about a target; each list is cut at the limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// Locks that overlap it, by target and holder.
    pub locks: Vec<Arc<LockRecord>>,
    /// Requests that wait for a lock that overlaps it, in the order of the queue.
    pub waiters: Vec<Arc<WaiterRecord>>,
    /// Open requests to make way that overlap it, oldest first.
    pub release_requests: Vec<Arc<ReleaseRequestRecord>>,
    /// Locks on subjects that concern it, with their contracts, by subject and holder.
    pub intents: Vec<(Arc<LockRecord>, Option<Arc<EntryRecord>>)>,
    /// Entries about it, the latest written first, without the contracts of the intents.
    pub entries: Vec<Arc<EntryRecord>>,
    /// Who has touched it, the latest first.
    pub activity: Vec<Arc<TouchRecord>>,
    /// Live peers that name it among their files, by name.
    pub peers: Vec<Arc<PeerRecord>>,
    /// Messages that mention it and that the reader may see, the latest first.
    pub messages: Vec<Arc<MessageRecord>>,
    /// Names of the lists, as in `DescribePathResponse`, that hold fewer items than there are.
    pub more: Vec<&'static str>,
}

impl State {
    /// All that is known about a target. Direct messages are shown only as far as they concern the reader.
    #[must_use]
    pub fn about(
        &self,
        scope: &ScopeId,
        target: &Target,
        reader: Option<&PeerRecord>,
        limit: usize,
    ) -> About {
        let mut about = About {
            locks: self.locks_on(scope, target),
            waiters: self.waiting_for(scope, target),
            release_requests: self.asked_about(scope, target),
            intents: self.intents_on(scope, target),
            activity: self.activity_on(scope, target),
            peers: self.working_on(scope, target),
            messages: self.mentions_of(scope, target, reader),
            ..About::default()
        };
        cut(&mut about.locks, "locks", limit, &mut about.more);
        cut(&mut about.waiters, "waiters", limit, &mut about.more);
        cut(&mut about.release_requests, "release_requests", limit, &mut about.more);
        cut(&mut about.intents, "intents", limit, &mut about.more);
        about.entries = self.entries_about(scope, target, &about.intents);
        cut(&mut about.entries, "entries", limit, &mut about.more);
        cut(&mut about.activity, "activity", limit, &mut about.more);
        cut(&mut about.peers, "peers", limit, &mut about.more);
        cut(&mut about.messages, "messages", limit, &mut about.more);
        about
    }

    fn locks_on(&self, scope: &ScopeId, target: &Target) -> Vec<Arc<LockRecord>> {
        let mut locks: Vec<_> = self.locks.overlapping(scope, target).cloned().collect();
        locks.sort_by(|a, b| (&a.target, &a.holder).cmp(&(&b.target, &b.holder)));
        locks
    }

    fn waiting_for(&self, scope: &ScopeId, target: &Target) -> Vec<Arc<WaiterRecord>> {
        let overlaps = |at: &Target| at.intersects(target);
        self.locks.waiters(scope).filter(|waiter| waiter.targets.iter().any(overlaps)).cloned().collect()
    }

    fn asked_about(&self, scope: &ScopeId, target: &Target) -> Vec<Arc<ReleaseRequestRecord>> {
        let overlaps = |at: &Target| at.intersects(target);
        let requests = self.locks.release_requests(scope);
        requests.filter(|ask| ask.wanted.iter().chain(&ask.locks).any(overlaps)).cloned().collect()
    }

    /// Locks on subjects: those granted together with a lock on the target, those whose contract names the target and,
    /// if it is a subject, those that overlap it.
    fn intents_on(
        &self,
        scope: &ScopeId,
        target: &Target,
    ) -> Vec<(Arc<LockRecord>, Option<Arc<EntryRecord>>)> {
        let is_subject = |lock: &&Arc<LockRecord>| lock.target.kind() == TargetKind::Subject;
        let mut found: BTreeMap<(&Target, &PeerName), &Arc<LockRecord>> = BTreeMap::new();
        let mut grants: BTreeMap<&PeerName, BTreeSet<FencingToken>> = BTreeMap::new();
        for lock in self.locks.overlapping(scope, target) {
            if is_subject(&lock) {
                found.insert((&lock.target, &lock.holder), lock);
            }
            grants.entry(&lock.holder).or_default().insert(lock.token);
        }
        for (holder, tokens) in grants {
            let holder = PeerKey { scope: scope.clone(), name: holder.clone() };
            let together = |lock: &&Arc<LockRecord>| tokens.contains(&lock.token);
            for lock in self.locks.of_holder(&holder).filter(is_subject).filter(together) {
                found.insert((&lock.target, &lock.holder), lock);
            }
        }
        let named: Vec<Target> =
            self.entries.about(scope, target).filter_map(|entry| contract_subject(&entry.key)).collect();
        for subject in &named {
            for lock in self.locks.overlapping(scope, subject).filter(|lock| lock.target == *subject) {
                found.insert((&lock.target, &lock.holder), lock);
            }
        }
        let contract =
            |lock: &Arc<LockRecord>| self.entries.get(scope, &contract_key(&lock.target)?).cloned();
        found.into_values().map(|lock| (lock.clone(), contract(lock))).collect()
    }

    fn entries_about(
        &self,
        scope: &ScopeId,
        target: &Target,
        intents: &[(Arc<LockRecord>, Option<Arc<EntryRecord>>)],
    ) -> Vec<Arc<EntryRecord>> {
        let contracts = intents.iter().filter_map(|(_, contract)| contract.as_ref());
        let shown: BTreeSet<&EntryKey> = contracts.map(|contract| &contract.key).collect();
        let others = self.entries.about(scope, target).filter(|entry| !shown.contains(&entry.key));
        let mut entries: Vec<_> = others.cloned().collect();
        entries.sort_by(|a, b| b.revision.cmp(&a.revision).then_with(|| a.key.cmp(&b.key)));
        entries
    }

    fn activity_on(&self, scope: &ScopeId, target: &Target) -> Vec<Arc<TouchRecord>> {
        let mut touches: Vec<_> = self.touches.about(scope, target).cloned().collect();
        touches.sort_by(|a, b| {
            (Reverse(a.latest()), &a.peer, &a.path).cmp(&(Reverse(b.latest()), &b.peer, &b.path))
        });
        touches
    }

    fn working_on(&self, scope: &ScopeId, target: &Target) -> Vec<Arc<PeerRecord>> {
        let overlaps = |at: &Target| at.intersects(target);
        self.peers.online(scope).filter(|peer| peer.info.files.iter().any(overlaps)).cloned().collect()
    }

    fn mentions_of(
        &self,
        scope: &ScopeId,
        target: &Target,
        reader: Option<&PeerRecord>,
    ) -> Vec<Arc<MessageRecord>> {
        let may_see = |message: &&Arc<MessageRecord>| match &message.to {
            Recipients::Broadcast | Recipients::Topic(_) => true,
            Recipients::Direct(_) => reader.is_some_and(|reader| Messages::concerns(message, reader)),
        };
        let mut messages: Vec<_> = self.messages.about(scope, target).filter(may_see).cloned().collect();
        messages.sort_by_key(|message| Reverse(message.revision));
        messages
    }
}

fn cut<T>(list: &mut Vec<T>, name: &'static str, limit: usize, more: &mut Vec<&'static str>) {
    if list.len() > limit {
        list.truncate(limit);
        more.push(name);
    }
}
