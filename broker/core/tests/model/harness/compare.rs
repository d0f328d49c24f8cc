//! Everything that readers of the state see, and what must hold of it.

use mesh_core::id::PeerName;
use mesh_core::record::{LockMode, LockRecord, PeerRecord, PolicyRecord, Recipients, WaiterRecord};
use mesh_core::revision::Revision;
use mesh_core::state::PageSize;
use mesh_core::state::entries::EntryFilter;
use mesh_core::time::Timestamp;

use super::Harness;
use crate::naive::{Wish, leads};
use crate::world::{self, KEYS, PREFIXES, SCOPES, TARGETS, TOPICS};

/// More than there is of anything.
const ALL: usize = 1_000;

impl Harness {
    /// What can be compared at little cost.
    pub(super) fn compare_briefly(&self) {
        let deadlines = self.naive.deadlines();
        assert_eq!(self.state.next_deadline(), deadlines.iter().map(|(_, at)| *at).min());
        assert_eq!(self.state.locks.count(), self.naive.locks.len());
        assert_eq!(self.state.entries.count(), self.naive.entries.len());
        assert_eq!(self.state.messages.count(), self.naive.messages.len());
        assert_eq!(self.state.touches.count(), self.naive.touches.len());
    }

    pub(super) fn compare(&self) {
        self.compare_peers();
        self.compare_locks();
        self.compare_queue();
        self.compare_entries();
        self.compare_listings();
        self.compare_messages();
        self.compare_topics();
        self.compare_touches();
        self.compare_about();
        assert_eq!(self.state.check(), Vec::<String>::new());
        let now = Timestamp(self.now);
        for (due, at) in self.naive.deadlines() {
            assert_eq!(self.state.remaining(&due, now), Some(at.since(now)), "{due:?}");
        }
    }

    /// One of so many, another one each time.
    fn turn(&self, salt: u64, of: usize) -> usize {
        usize::try_from((self.serial + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33).expect("small") % of
    }

    fn compare_peers(&self) {
        let mut expected = self.naive.peers.clone();
        expected.sort_by_key(PeerRecord::key);
        let all: Vec<PeerRecord> = self.state.peers.list(None, None).map(|p| (**p).clone()).collect();
        assert_eq!(all, expected);
        assert_eq!(self.state.peers.known_count(), expected.len());
        assert_eq!(self.state.peers.online_count(), self.naive.leases.len());
        for scope in (0..SCOPES.len()).map(world::scope) {
            let online: Vec<&PeerName> = self.state.peers.online(&scope).map(|peer| &peer.name).collect();
            let here = expected.iter().filter(|peer| peer.scope == scope && peer.session.is_some());
            assert_eq!(online, here.map(|peer| &peer.name).collect::<Vec<_>>());
        }
        for session in &self.sessions {
            let found = self.state.peers.by_session(*session).map(|peer| (**peer).clone());
            assert_eq!(found.as_ref(), self.naive.by_session(Some(*session)));
        }
        if let Some(first) = expected.first() {
            let first = first.key();
            let rest = self.state.peers.list(None, Some(&first)).map(|peer| peer.key());
            assert!(rest.eq(expected[1..].iter().map(PeerRecord::key)));
        }
    }

    fn compare_locks(&self) {
        let mut expected: Vec<LockRecord> = self.naive.locks.iter().map(|held| held.lock.clone()).collect();
        expected.sort_by_key(LockRecord::key);
        let all: Vec<LockRecord> = self.state.locks.list(None, None).map(|lock| (**lock).clone()).collect();
        assert_eq!(all, expected);
        for (at, left) in expected.iter().enumerate() {
            let (lingering, _) = self.state.lock_status(left, Timestamp(self.now));
            assert_eq!(lingering, self.naive.is_orphan(left), "{left:?}");
            for right in expected[at + 1..].iter().filter(|right| right.scope == left.scope) {
                let exclusive = left.mode == LockMode::Exclusive || right.mode == LockMode::Exclusive;
                let clash = exclusive && left.holder != right.holder;
                assert!(!clash || !world::overlap(&left.target, &right.target), "{left:?} {right:?}");
            }
        }
        for peer in &self.naive.peers {
            let own = expected.iter().filter(|l| l.scope == peer.scope && l.holder == peer.name);
            assert_eq!(self.state.locks.count_of_holder(&peer.key()), own.count());
        }
        for (ticket, holder) in self.naive.tickets() {
            let under = self.state.locks.granted_under(&holder, ticket);
            let own = expected.iter().filter(|lock| lock.ticket == Some(ticket));
            assert!(under.iter().map(AsRef::as_ref).eq(own), "{ticket:?}");
        }
        for scope in (0..SCOPES.len()).map(world::scope) {
            let target = world::target(self.turn(0, TARGETS.len()));
            let mut found: Vec<_> = self.state.locks.overlapping(&scope, &target).map(|l| l.key()).collect();
            found.sort();
            let near = expected.iter().filter(|l| l.scope == scope && world::overlap(&l.target, &target));
            assert_eq!(found, near.map(LockRecord::key).collect::<Vec<_>>(), "{target}");
            let name = (self.turn(1, 3) > 0).then(|| world::name(self.turn(2, 3)));
            for mode in [LockMode::Exclusive, LockMode::Shared] {
                let (peer, targets) = (name.as_ref(), std::slice::from_ref(&target));
                let wish = Wish { scope: &scope, peer, targets, mode, ticket: None };
                let free = self.state.is_free(&scope, peer, &target, mode);
                assert_eq!(free, self.naive.grants(&wish), "{mode:?} {target} for {peer:?}");
            }
        }
    }

    fn compare_queue(&self) {
        for scope in (0..SCOPES.len()).map(world::scope) {
            let expected: Vec<&WaiterRecord> =
                self.naive.waiters.iter().filter(|waiter| waiter.scope == scope).collect();
            let all: Vec<WaiterRecord> = self.state.locks.waiters(&scope).map(|w| (**w).clone()).collect();
            assert!(all.iter().eq(expected.iter().copied()), "{all:?} instead of {expected:?}");
            let mut requests: Vec<_> = self.naive.requests.iter().map(|asked| &asked.record).collect();
            requests.retain(|request| request.scope == scope);
            requests.sort_by_key(|request| (request.id, request.holder.clone()));
            assert!(self.state.locks.release_requests(&scope).map(AsRef::as_ref).eq(requests));
            let pairs = self.naive.pairs(&scope);
            for waiter in expected {
                assert_eq!(self.state.locks.waiter(waiter.ticket).map(AsRef::as_ref), Some(waiter));
                assert!(!self.naive.grants(&Wish::of(waiter)), "{waiter:?} could be granted");
                assert!(!leads(&pairs, &waiter.peer, &waiter.peer), "{} waits for itself", waiter.peer);
            }
        }
    }

    fn compare_entries(&self) {
        let mut expected = self.naive.entries.clone();
        expected.sort_by_key(|entry| (entry.scope.clone(), entry.key.clone()));
        let all: Vec<_> = self.state.entries.all(None).map(|entry| (**entry).clone()).collect();
        assert_eq!(all, expected);
        for scope in (0..SCOPES.len()).map(world::scope) {
            for key in (0..KEYS.len()).map(world::key) {
                let versions = self.naive.versions(&scope, &key);
                let deleted = self.naive.entry(&scope, &key).is_none() && !versions.is_empty();
                let (found, is_deleted) = self.state.entries.versions(&scope, &key);
                assert!(found.iter().map(AsRef::as_ref).eq(&versions), "{key}");
                assert_eq!(is_deleted, deleted, "{key}");
                assert_eq!(self.state.entries.policy(&scope, &key), self.naive.policy(&scope, &key), "{key}");
                for version in &versions {
                    let found = self.state.entries.version(&scope, &key, version.version);
                    assert_eq!(found.as_deref(), Some(version));
                }
            }
            let mut policies: Vec<&PolicyRecord> =
                self.naive.policies.iter().filter(|policy| policy.scope == scope).collect();
            policies.sort_by_key(|policy| &policy.prefix);
            assert!(self.state.entries.policies(&scope).eq(policies));
        }
    }

    fn compare_listings(&self) {
        let scope = world::scope(self.turn(3, SCOPES.len()));
        let mut expected: Vec<_> = self.naive.entries.iter().filter(|entry| entry.scope == scope).collect();
        expected.sort_by_key(|entry| &entry.key);
        for n in 0..4 {
            let prefix = PREFIXES[self.turn(4 + n, PREFIXES.len())];
            let path = (self.turn(5 + n, 2) == 0).then(|| world::target(self.turn(6 + n, TARGETS.len())));
            let tags = if self.turn(7 + n, 2) == 0 { vec!["tag-0".to_owned()] } else { Vec::new() };
            let after = (self.turn(8 + n, 2) == 0).then(|| world::key(self.turn(9 + n, KEYS.len())));
            let filter = EntryFilter { prefix: prefix.into(), path: path.clone(), tags: tags.clone() };
            let found = self.state.entries.list(&scope, &filter, after.as_ref()).map(|entry| &entry.key);
            let mut listed = expected.clone();
            listed.retain(|entry| {
                let on_path = |path: &_| entry.paths.iter().any(|at| world::overlap(at, path));
                entry.key.as_str().starts_with(prefix)
                    && path.as_ref().is_none_or(on_path)
                    && tags.iter().all(|tag| entry.tags.contains(tag))
                    && after.as_ref().is_none_or(|after| entry.key > *after)
            });
            assert!(found.eq(listed.iter().map(|entry| &entry.key)), "{filter:?} after {after:?}");
        }
    }

    fn compare_messages(&self) {
        for peer in &self.naive.peers {
            assert_eq!(self.state.messages.unread(peer), self.naive.unread(peer));
            for after in [Revision::ZERO, peer.acknowledged] {
                let (inbox, more) = self.state.messages.inbox(peer, after, PageSize::of(ALL));
                assert!(!more, "a thousand messages fit");
                let expected = self.naive.inbox(peer, after);
                assert!(inbox.iter().map(AsRef::as_ref).eq(&expected), "{}: {inbox:?}", peer.name);
            }
        }
        for message in self.naive.messages.iter().map(|kept| &kept.record) {
            let found = self.state.messages.by_id(message.id).expect("a message that is stored");
            assert_eq!(**found, *message);
            let reply = self.state.messages.reply_to(message);
            assert_eq!(reply.map(AsRef::as_ref), self.naive.reply_to(message));
            assert_eq!(self.state.receipts(message), self.naive.receipts(message), "{message:?}");
            let own = self.naive.peer(&message.scope, &message.from);
            let direct = matches!(message.to, Recipients::Direct(_));
            let reader = own.or(self.naive.peers.len().checked_sub(1)).filter(|_| direct || own.is_some());
            if let Some(reader) = reader.map(|at| &self.naive.peers[at]) {
                let page = PageSize::of(ALL);
                let thread = self.state.messages.thread(message, reader, Revision::ZERO, page);
                let expected = self.naive.thread(message, reader);
                assert!(thread.iter().map(AsRef::as_ref).eq(&expected), "{thread:?} {expected:?}");
                let thread = self.state.messages.thread(message, reader, message.revision, page);
                let later = expected.iter().filter(|other| other.revision > message.revision);
                assert!(thread.iter().map(AsRef::as_ref).eq(later), "after {message:?}");
            }
        }
    }

    fn compare_topics(&self) {
        for scope in (0..SCOPES.len()).map(world::scope) {
            let mut known = Vec::new();
            let mut topics: Vec<_> = (0..TOPICS.len()).map(world::topic).collect();
            topics.sort();
            for topic in topics {
                let expected = self.naive.topic(&scope, &topic);
                let page = self.state.messages.topic(&scope, &topic, Revision::ZERO, PageSize::of(ALL));
                assert!(page.iter().map(AsRef::as_ref).eq(&expected), "{topic}");
                let newest = self.state.messages.topic(&scope, &topic, Revision::ZERO, PageSize::of(2));
                let skipped = expected.len().saturating_sub(2);
                assert!(newest.iter().map(AsRef::as_ref).eq(&expected[skipped..]), "{topic}");
                known.extend(expected.last().map(|last| (topic, expected.len(), last.revision)));
            }
            let found = self.state.messages.topics(&scope).map(|(topic, n, last)| (topic.clone(), n, last));
            assert_eq!(found.collect::<Vec<_>>(), known);
        }
    }

    fn compare_touches(&self) {
        for touch in &self.naive.touches {
            let found = self.state.touches.get(&touch.scope, &touch.path, &touch.peer);
            assert_eq!(found.map(AsRef::as_ref), Some(touch));
        }
    }

    fn compare_about(&self) {
        let (scope, target) = (world::scope(self.turn(20, SCOPES.len())), self.turn(21, TARGETS.len()));
        let target = world::target(target);
        let reader = (!self.naive.peers.is_empty() && self.turn(22, 3) > 0)
            .then(|| &self.naive.peers[self.turn(23, self.naive.peers.len())]);
        let limit = [1, 3, 100][self.turn(24, 3)];
        let mut found = self.state.about(&scope, &target, reader, limit);
        let mut expected = self.naive.about(&scope, &target, reader, limit);
        found.more.sort_unstable();
        expected.more.sort_unstable();
        assert_eq!(found, expected, "about {target}");
    }
}
