//! What each session last read of each key: so that overwriting a value needs no version in the caller's hands.
//!
//! Owned by the services alone: it is lost with the process, and forgetting costs one refusal that shows the value
//! again. What must hold: only what was really sent to a session counts as read by it; an older revision never takes
//! the place of a newer one; and what is kept is bounded, per session and in all.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_core::id::{EntryKey, ScopeId, SessionId};
use mesh_core::limits;
use mesh_core::record::EntryRecord;
use mesh_core::revision::Revision;

use crate::leases::Leases;

/// So many sessions may be remembered before it is first looked which of them have ended.
const FIRST_SWEEP: usize = 64;

/// What the sessions have read, for all services to see.
#[derive(Clone, Debug)]
pub struct Reads {
    leases: Leases,
    memory: Arc<Mutex<Memory>>,
}

/// All sessions' reads.
#[derive(Debug)]
struct Memory {
    sessions: HashMap<SessionId, Session>,
    /// How many reads there are in all.
    count: usize,
    /// Counts the reads, so that each has its place in time.
    clock: u64,
    /// With so many sessions, those that have ended are swept out.
    sweep_at: usize,
    /// Most reads that are remembered in all.
    room: usize,
}

/// One session's reads.
#[derive(Debug, Default)]
struct Session {
    last: HashMap<(ScopeId, EntryKey), Read>,
    /// The same, the oldest first.
    order: BTreeMap<u64, (ScopeId, EntryKey)>,
}

/// What was read of one key.
#[derive(Clone, Copy, Debug)]
struct Read {
    /// Revision of the value's write.
    revision: Revision,
    /// When it was read, by the memory's clock.
    at: u64,
}

impl Reads {
    /// Nothing was read yet. A session that the leases do not know is not remembered.
    #[must_use]
    pub fn new(leases: Leases) -> Self {
        Self::with_room(leases, limits::READS)
    }

    fn with_room(leases: Leases, room: usize) -> Self {
        let memory = Memory { sessions: HashMap::new(), count: 0, clock: 0, sweep_at: FIRST_SWEEP, room };
        Self { leases, memory: Arc::new(Mutex::new(memory)) }
    }

    /// The session, if there is one, was sent the value of a key that was written at this revision.
    pub fn note(&self, session: Option<SessionId>, scope: &ScopeId, key: &EntryKey, revision: Revision) {
        self.note_all(session, [(scope, key, revision)]);
    }

    /// The session, if there is one, was sent these entries with their values.
    pub fn note_entries<'a>(
        &self,
        session: Option<SessionId>,
        entries: impl IntoIterator<Item = &'a Arc<EntryRecord>>,
    ) {
        self.note_all(session, entries.into_iter().map(|entry| (&entry.scope, &entry.key, entry.revision)));
    }

    /// As [`Self::note`], several.
    pub fn note_all<'a>(
        &self,
        session: Option<SessionId>,
        reads: impl IntoIterator<Item = (&'a ScopeId, &'a EntryKey, Revision)>,
    ) {
        let Some(session) = session else { return };
        let is_live = |session: SessionId| self.leases.last_seen(session).is_some();
        if !is_live(session) {
            return;
        }
        let mut memory = self.memory();
        if !memory.sessions.contains_key(&session) {
            memory.sweep(is_live);
        }
        for (scope, key, revision) in reads {
            memory.note(session, scope, key, revision);
        }
        memory.shrink();
    }

    /// The revision at which the session last read the key, if it has.
    #[must_use]
    pub fn last(&self, session: SessionId, scope: &ScopeId, key: &EntryKey) -> Option<Revision> {
        let memory = self.memory();
        let read = memory.sessions.get(&session)?.last.get(&(scope.clone(), key.clone()))?;
        Some(read.revision)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn note(&mut self, session: SessionId, scope: &ScopeId, key: &EntryKey, revision: Revision) {
        self.clock += 1;
        let session = self.sessions.entry(session).or_default();
        let before = session.last.len();
        session.note((scope.clone(), key.clone()), Read { revision, at: self.clock });
        self.count = self.count + session.last.len() - before;
    }

    /// Forgets sessions that have ended, each time their number has doubled.
    fn sweep(&mut self, is_live: impl Fn(SessionId) -> bool) {
        if self.sessions.len() < self.sweep_at {
            return;
        }
        self.sessions.retain(|session, _| is_live(*session));
        self.count = self.sessions.values().map(|session| session.last.len()).sum();
        self.sweep_at = FIRST_SWEEP.max(self.sessions.len() * 2);
    }

    /// Forgets the sessions that have read nothing for the longest, until there is room again.
    fn shrink(&mut self) {
        if self.count <= self.room {
            return;
        }
        let mut quiet: Vec<(u64, SessionId)> =
            self.sessions.iter().map(|(id, session)| (session.latest(), *id)).collect();
        quiet.sort_unstable();
        for (_, session) in quiet {
            if self.count <= self.room / 8 * 7 {
                break;
            }
            let forgotten = self.sessions.remove(&session);
            self.count -= forgotten.map_or(0, |session| session.last.len());
        }
    }
}

impl Session {
    fn note(&mut self, key: (ScopeId, EntryKey), read: Read) {
        let former = self.last.get(&key).copied();
        let revision = former.map_or(read.revision, |former| former.revision.max(read.revision));
        if let Some(former) = former {
            self.order.remove(&former.at);
        }
        self.order.insert(read.at, key.clone());
        self.last.insert(key, Read { revision, ..read });
        if self.last.len() > limits::READS_PER_SESSION
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.last.remove(&oldest);
        }
    }

    /// When it last read something.
    fn latest(&self) -> u64 {
        self.order.last_key_value().map_or(0, |(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::time::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::clock::Clock;
    use crate::queue;

    const ROOM: usize = 4 * limits::READS_PER_SESSION;

    fn reads() -> Reads {
        let (handle, _inputs) = queue::queue();
        let leases = Leases::new(Clock::starting_at(Timestamp::default()), handle);
        Reads::with_room(leases, ROOM)
    }

    fn session(reads: &Reads, number: u128) -> SessionId {
        let session = SessionId(Uuid::from_u128(number));
        reads.leases.begin(session);
        session
    }

    fn key(text: &str) -> EntryKey {
        EntryKey::parse(text).unwrap()
    }

    fn count(reads: &Reads) -> (usize, usize) {
        let memory = reads.memory();
        let kept: usize = memory.sessions.values().map(|session| session.last.len()).sum();
        assert_eq!(memory.count, kept);
        assert!(memory.sessions.values().all(|session| session.last.len() == session.order.len()));
        (memory.sessions.len(), kept)
    }

    #[test]
    fn each_session_has_its_own_reads_and_they_never_go_back() {
        let reads = reads();
        let (one, two) = (session(&reads, 1), session(&reads, 2));
        let (here, global) = (ScopeId::parse("a/b").unwrap(), ScopeId::global());
        reads.note(Some(one), &here, &key("k"), Revision(5));
        reads.note(Some(one), &here, &key("k"), Revision(3));
        reads.note(Some(one), &global, &key("k"), Revision(4));
        reads.note(None, &global, &key("k"), Revision(9));
        assert_eq!(reads.last(one, &here, &key("k")), Some(Revision(5)));
        assert_eq!(reads.last(one, &global, &key("k")), Some(Revision(4)));
        assert_eq!(reads.last(two, &here, &key("k")), None);
        assert_eq!(reads.last(one, &here, &key("l")), None);
        reads.note(Some(one), &here, &key("k"), Revision(6));
        assert_eq!(reads.last(one, &here, &key("k")), Some(Revision(6)));
    }

    #[test]
    fn a_session_forgets_what_it_read_longest_ago() {
        let reads = reads();
        let one = session(&reads, 1);
        let scope = ScopeId::global();
        for n in 0..limits::READS_PER_SESSION {
            reads.note(Some(one), &scope, &key(&format!("k{n}")), Revision(1));
        }
        reads.note(Some(one), &scope, &key("k0"), Revision(1));
        reads.note(Some(one), &scope, &key("more"), Revision(1));
        assert_eq!(reads.last(one, &scope, &key("k0")), Some(Revision(1)), "read again of late");
        assert_eq!(reads.last(one, &scope, &key("k1")), None);
        assert_eq!(count(&reads), (1, limits::READS_PER_SESSION));
    }

    #[test]
    fn sessions_that_have_ended_are_forgotten() {
        let reads = reads();
        let scope = ScopeId::global();
        for n in 0..1_000 {
            let session = session(&reads, n);
            reads.note(Some(session), &scope, &key("k"), Revision(1));
            reads.leases.end(session);
            reads.note(Some(session), &scope, &key("late"), Revision(2));
            assert_eq!(reads.last(session, &scope, &key("late")), None, "it has ended");
        }
        let (sessions, kept) = count(&reads);
        assert!(sessions <= FIRST_SWEEP && kept == sessions, "{sessions} {kept}");
    }

    #[test]
    fn the_quietest_sessions_give_way_when_all_together_read_too_much() {
        let reads = reads();
        let scope = ScopeId::global();
        let keys: Vec<_> = (0..limits::READS_PER_SESSION).map(|n| key(&format!("k{n}"))).collect();
        let full = ROOM / limits::READS_PER_SESSION;
        let read_all = |number: usize| {
            let session = session(&reads, u128::try_from(number).unwrap());
            reads.note_all(Some(session), keys.iter().map(|key| (&scope, key, Revision(1))));
            session
        };
        let first = read_all(0);
        let second = read_all(1);
        for number in 2..full {
            read_all(number);
        }
        assert_eq!(count(&reads), (full, ROOM));
        reads.note(Some(first), &scope, &keys[0], Revision(2));
        let last = read_all(full);
        assert_eq!(reads.last(second, &scope, &keys[0]), None);
        assert_eq!(reads.last(first, &scope, &keys[0]), Some(Revision(2)), "it has read of late");
        assert_eq!(reads.last(last, &scope, &keys[0]), Some(Revision(1)));
        assert!(count(&reads).1 <= ROOM);
    }
}
