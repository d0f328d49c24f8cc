//! What is true of every state that was ever committed, said once more in the plainest way.
//!
//! Nothing that decides uses this: it is for whoever doubts the state, as a check of a store does, and a test. What it
//! finds is damage, or a bug. It takes the records as they are filed and looks at each, so a state too large to be read
//! at leisure takes a while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::State;
use super::locks::clash;
use crate::id::ScopeId;
use crate::limits;
use crate::record::{EntryRecord, LockRecord, LogRecord, PeerRecord};
use crate::revision::{Revision, Sequence};

/// Most problems told of one state; more say nothing new.
const TOLD: usize = 1_000;

/// Collects what is wrong.
#[derive(Debug, Default)]
struct Problems(Vec<String>);

impl Problems {
    fn unless(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds && self.0.len() < TOLD {
            self.0.push(problem());
        }
    }
}

impl State {
    /// What is wrong with the state, for people; nothing when it is sound.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let mut problems = Problems::default();
        self.check_scopes(&mut problems);
        self.check_peers(&mut problems);
        self.check_locks(&mut problems);
        self.check_requests(&mut problems);
        self.check_entries(&mut problems);
        self.check_messages(&mut problems);
        self.check_counts(&mut problems);
        problems.0
    }

    /// As [`Self::check`], of the state and the history that belongs to it: consecutive transactions, the newest last.
    #[must_use]
    pub fn check_history(&self, history: &[Arc<LogRecord>]) -> Vec<String> {
        let mut problems = Problems::default();
        let mut heads: BTreeMap<&ScopeId, (Sequence, Revision)> = BTreeMap::new();
        let mut last: Option<&LogRecord> = None;
        for log in history {
            let at = log.revision.0;
            if let Some(last) = last {
                problems.unless(log.revision == last.revision.next(), || {
                    format!("revision {at} of the history follows {}", last.revision.0)
                });
                problems.unless(log.at >= last.at, || {
                    format!("revision {at} is earlier in time than the one before")
                });
            }
            last = Some(log);
            if log.events.is_empty() {
                continue;
            }
            if let Some((sequence, revision)) = heads.insert(&log.scope, (log.sequence, log.revision)) {
                let follows = log.sequence == sequence.next() && log.prev_revision == revision;
                problems.unless(follows, || {
                    format!(
                        "revision {at} is sequence {} of {} after revision {}, which follows sequence {} of revision {}",
                        log.sequence.0, log.scope, log.prev_revision.0, sequence.0, revision.0
                    )
                });
            }
        }
        if let Some(last) = last {
            let (at, newest) = (self.revision.0, last.revision.0);
            problems.unless(at == newest, || {
                format!("the state is of revision {at}, the history ends with {newest}")
            });
        }
        for (scope, (sequence, revision)) in heads {
            let head = self.scopes.get(scope).map(|head| (head.sequence, head.last_revision));
            problems.unless(head == Some((sequence, revision)), || {
                let (sequence, revision) = (sequence.0, revision.0);
                format!(
                    "the history of {scope} ends with sequence {sequence} at {revision}, its head is {head:?}"
                )
            });
        }
        problems.0
    }

    fn is_past(&self, revision: Revision) -> bool {
        revision <= self.revision
    }

    fn check_scopes(&self, problems: &mut Problems) {
        for head in self.heads(None) {
            let (scope, at) = (&head.scope, head.last_revision);
            problems.unless(self.is_past(at), || {
                format!("scope {scope} has its last event at {}, which is to come", at.0)
            });
            problems.unless(head.sequence.0 <= at.0, || {
                format!("scope {scope} has had {} events by revision {}", head.sequence.0, at.0)
            });
        }
    }

    fn check_peers(&self, problems: &mut Problems) {
        let mut sessions = BTreeSet::new();
        let mut resume_keys = BTreeSet::new();
        for peer in self.peers.list(None, None) {
            let PeerRecord { scope, name, session, resume_key, acknowledged, topics, .. } = &**peer;
            let who = || format!("peer {name} of {scope}");
            problems.unless(self.scopes.contains_key(scope), || {
                format!("{} is in a scope without a head", who())
            });
            if let Some(session) = session {
                let is_own = sessions.insert(session.id) && self.peers.by_session(session.id) == Some(peer);
                problems.unless(is_own, || format!("{} has a session that another has too", who()));
            }
            if let Some(key) = resume_key {
                problems.unless(resume_keys.insert((scope, key)), || {
                    format!("{} has a resume key that another has too", who())
                });
            }
            let newest = topics.values().copied().fold(*acknowledged, Revision::max);
            // A peer that joins takes the revision of its joining.
            problems.unless(self.is_past(newest), || {
                format!("{} has read up to {}, which is to come", who(), newest.0)
            });
        }
    }

    fn check_locks(&self, problems: &mut Problems) {
        for lock in self.locks.list(None, None) {
            let LockRecord { scope, target, holder, token, .. } = &**lock;
            let what = || format!("the lock of {holder} on {target} of {scope}");
            let known = self.peers.get(scope, holder).is_some();
            problems.unless(known, || format!("{} is held by nobody who is known", what()));
            problems.unless(self.is_past(token.0), || {
                format!("{} was granted at {}, which is to come", what(), token.0.0)
            });
            for other in self.locks.overlapping(scope, target) {
                let is_told = (&other.target, &other.holder) > (target, holder);
                problems.unless(!is_told || other.holder == *holder || !clash(lock.mode, other.mode), || {
                    format!("{} conflicts with that of {} on {}", what(), other.holder, other.target)
                });
            }
        }
    }

    fn check_requests(&self, problems: &mut Problems) {
        for scope in self.scopes.keys() {
            for waiter in self.locks.waiters(scope) {
                let (peer, at) = (&waiter.peer, waiter.ticket.0);
                let what = || format!("the request {} of {peer} in {scope}", at.0);
                problems.unless(self.is_past(at), || format!("{} is to come", what()));
                let known = self.peers.get(scope, peer).is_some();
                problems.unless(known, || format!("{} is of nobody who is known", what()));
            }
            for request in self.locks.release_requests(scope) {
                let what = || format!("the request {} to {} in {scope}", request.id.0, request.holder);
                problems.unless(self.is_past(request.id), || format!("{} is to come", what()));
            }
        }
    }

    fn check_entries(&self, problems: &mut Problems) {
        let to_come =
            |entry: &EntryRecord| !self.is_past(entry.revision) || entry.create_revision > entry.revision;
        for (scope, key, present, past) in self.entries.with_versions() {
            let what = || format!("entry {key} of {scope}");
            let versions: Vec<&EntryRecord> =
                past.iter().map(|past| &*past.entry).chain(present.map(|present| &**present)).collect();
            for pair in versions.windows(2) {
                problems.unless(pair[0].version.0 + 1 == pair[1].version.0, || {
                    format!("{} has version {} after {}", what(), pair[1].version.0, pair[0].version.0)
                });
            }
            for entry in versions {
                problems.unless(!to_come(entry) && entry.version.0 > 0, || {
                    format!("{} has version {} of revision {}", what(), entry.version.0, entry.revision.0)
                });
            }
        }
    }

    fn check_messages(&self, problems: &mut Problems) {
        for problem in self.messages.misfiled() {
            problems.unless(false, || problem);
        }
        let newest = self.messages.newest();
        problems.unless(self.is_past(newest), || {
            format!("a message is of revision {}, which is to come", newest.0)
        });
    }

    fn check_counts(&self, problems: &mut Problems) {
        let counts = [
            ("peers", self.peers.known_count(), limits::PEERS),
            ("locks", self.locks.count(), limits::LOCKS),
            ("entries", self.entries.count(), limits::ENTRIES),
            ("messages", self.messages.count(), limits::MESSAGES),
            ("touches", self.touches.count(), limits::TOUCHES_PER_MESH),
        ];
        for (what, count, limit) in counts {
            problems.unless(count <= limit, || {
                format!("there are {count} {what}, and no more than {limit} may be")
            });
        }
    }
}
