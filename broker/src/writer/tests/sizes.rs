//! The largest requests that the contract allows are not refused for their size, whatever the slots of the history
//! held before.

use mesh_core::command::{Acquire, Command, Delete, Join, Labels, Precondition, Put, Request, Send, Update};
use mesh_core::event::LeaveCause;
use mesh_core::id::{EntryKey, MessageId, PeerName, ResumeKey, ScopeId, SessionId};
use mesh_core::limits;
use mesh_core::outcome::Outcome;
use mesh_core::pattern::Pattern;
use mesh_core::record::{Activity, ChildAgent, Intent, LockMode, PeerInfo, Recipients};
use mesh_core::target::Target;
use mesh_core::time::Millis;
use uuid::Uuid;

use super::{Bench, acknowledge, by, with_id};
use crate::records;
use crate::store::{MAX_BATCH_OPS, Store, chunks};

/// Chunks of the longest item that the history may hold: a grant of a hundred long locks.
const LONGEST_ITEM: usize = 88;

/// A text of just so many bytes that begins as given.
fn fill(start: &str, len: usize) -> String {
    format!("{start}{}", "x".repeat(len - start.len()))
}

fn scope() -> ScopeId {
    ScopeId::parse(&fill("s", limits::SCOPE_BYTES)).unwrap()
}

fn name(n: usize) -> PeerName {
    PeerName::parse(&fill(&format!("peer{n}-"), limits::PEER_NAME_BYTES)).unwrap()
}

fn paths(count: usize) -> Vec<Target> {
    (0..count)
        .map(|n| Target::parse("paths", &fill(&format!("{n:04}/"), limits::PATH_BYTES)).unwrap())
        .collect()
}

fn info() -> PeerInfo {
    PeerInfo {
        agent_kind: fill("", limits::SHORT_TEXT_BYTES),
        agent_version: fill("", limits::SHORT_TEXT_BYTES),
        host: fill("", limits::NAME_TEXT_BYTES),
        pid: u32::MAX,
        worktree: fill("", limits::WORKTREE_BYTES),
        branch: fill("", limits::NAME_TEXT_BYTES),
        head: fill("", limits::SHORT_TEXT_BYTES),
        focus: fill("", limits::SENTENCE_BYTES),
        files: paths(limits::PEER_FILES),
        activity: Activity::Idle,
        wake: fill("", limits::WAKE_BYTES),
        children: children("first"),
    }
}

fn children(start: &str) -> Vec<ChildAgent> {
    let child = |n| ChildAgent {
        id: fill(&format!("{start}{n}-"), limits::CHILD_ID_BYTES),
        kind: fill("", limits::SHORT_TEXT_BYTES),
        focus: fill("", limits::SENTENCE_BYTES),
    };
    (0..limits::CHILDREN).map(child).collect()
}

/// A bench that gives every request a long id and notes what it costs.
struct Scales {
    bench: Bench,
    /// Chunks of the longest item of the history so far.
    longest: usize,
    /// The dearest request so far.
    dearest: (&'static str, usize),
}

impl Scales {
    fn new() -> Self {
        let bench = Bench::new();
        // Numbers take as many bytes as they ever will.
        bench.seen.clock.advance(Millis(1 << 48));
        Self { bench, longest: 0, dearest: ("", 0) }
    }

    /// Asks, and adds what it would cost if the slot of its item had held the longest item there is.
    fn ask(&mut self, what: &'static str, request: Request) -> Outcome {
        let id = fill(&format!("{}-", self.bench.id()), limits::REQUEST_ID_BYTES);
        let head = self.bench.seen.events.head();
        self.bench.store.costs();
        let reply = self.bench.ask(with_id(request, &id)).unwrap_or_else(|error| panic!("{what}: {error}"));
        let costs = self.bench.store.costs();
        assert_eq!(costs.len(), 1, "{what} is one commit: {costs:?}");
        let value = self.bench.store.get(&records::log_key(head.next())).unwrap().unwrap();
        self.longest = self.longest.max(chunks(value.len()));
        let whole = costs[0] - chunks(value.len());
        if whole > self.dearest.1 {
            self.dearest = (what, whole);
        }
        reply.outcome
    }

    fn join(&mut self, n: usize, key: &str) -> SessionId {
        let session = SessionId(Uuid::from_u64_pair(7, self.bench.id()));
        let join = Command::Join(Join {
            scope: scope(),
            name: Some(name(n)),
            allowed: Pattern::any(),
            resume_key: Some(ResumeKey::parse(&fill(key, limits::RESUME_KEY_BYTES)).unwrap()),
            info: info(),
            ttl: limits::LEASE_TTL.1,
            session,
            name_seed: 0,
        });
        self.ask("join", Request::internal(join));
        session
    }

    fn acquire(&mut self, caller: SessionId, targets: Vec<Target>) -> Outcome {
        let reason = fill("", limits::SENTENCE_BYTES);
        let (mode, ttl) = (LockMode::Exclusive, limits::LOCK_TTL.1);
        self.ask(
            "acquire",
            by(
                caller,
                Command::Acquire(Acquire { targets, mode, ttl, reason, wait: Millis::ZERO, contract: None }),
            ),
        )
    }

    fn send(&mut self, caller: SessionId, to: Recipients, bytes: usize) {
        let id = MessageId(Uuid::from_u64_pair(9, self.bench.id()));
        let (body, reply_to) = (fill("", bytes).into(), Some(id));
        let message = Send {
            id,
            to,
            body,
            reply_to,
            intent: Intent::Request,
            urgent: true,
            paths: paths(limits::MENTIONS),
        };
        self.ask("send", by(caller, Command::Send(message)));
    }

    /// No request is refused, even in a slot that held the longest item.
    fn check(&self) {
        let (what, whole) = self.dearest;
        assert!(self.longest <= LONGEST_ITEM, "{} chunks of history", self.longest);
        assert!(whole + LONGEST_ITEM <= MAX_BATCH_OPS, "{what} costs {whole} beside the history");
    }
}

#[test]
fn peers_that_say_all_they_may_join_update_move_and_leave() {
    let mut scales = Scales::new();
    scales.join(1, "first");
    let second = scales.join(2, "second");
    let update = Update { files: Some(Vec::new()), ..Update::default() };
    scales.ask("update", by(second, Command::Update(update)));
    let update = Update { files: Some(paths(limits::PEER_FILES)), ..Update::default() };
    scales.ask("update", by(second, Command::Update(update)));
    // All its sub-agents end, and as many others start.
    let update = Update { children: Some(children("other")), ..Update::default() };
    scales.ask("update", by(second, Command::Update(update)));
    scales.ask("leave", by(second, Command::Leave));
    // The first peer's conversation takes the second one's name.
    scales.join(2, "first");
    scales.check();
}

#[test]
fn a_hundred_long_locks_are_granted_renewed_and_released_together() {
    let mut scales = Scales::new();
    let session = scales.join(1, "first");
    for _ in 0..2 {
        let granted = scales.acquire(session, paths(limits::TARGETS));
        assert!(matches!(granted, Outcome::Granted { locks } if locks.len() == limits::TARGETS));
    }
    scales.ask("renew", by(session, Command::Renew { targets: Vec::new(), ttl: None }));
    scales.ask("release", by(session, super::release_all()));
    scales.acquire(session, paths(limits::TARGETS));
    scales.ask("leave", by(session, Command::Leave));
    let session = scales.join(1, "first");
    scales.acquire(session, paths(limits::TARGETS));
    scales.ask("end", Request::internal(Command::End { session, cause: LeaveCause::Disconnected }));
    scales.bench.store.costs();
    scales.bench.pass(limits::LOCK_DELAY);
    let freed = scales.bench.store.costs();
    assert_eq!(freed.len(), 1);
    assert!(freed[0] + LONGEST_ITEM <= MAX_BATCH_OPS, "{freed:?}");
    assert_eq!(scales.bench.seen.view.read().locks.count(), 0);
    scales.check();
}

#[test]
fn the_longest_entry_is_written_and_deleted() {
    let mut scales = Scales::new();
    let session = scales.join(1, "first");
    let key = EntryKey::parse(&fill("k", limits::KEY_BYTES)).unwrap();
    for _ in 0..2 {
        let put = Command::Put(Put {
            scope: None,
            key: key.clone(),
            value: fill("", limits::VALUE_BYTES).into(),
            precondition: Precondition::Any,
            ttl: Some(limits::ENTRY_TTL.1),
            paths: paths(limits::ENTRY_PATHS),
            labels: Labels::Replace,
            fence: None,
            tags: (0..limits::ENTRY_TAGS).map(|n| fill(&format!("{n:02}"), limits::TAG_BYTES)).collect(),
        });
        scales.ask("put", by(session, put));
    }
    let delete = Delete { scope: None, key, precondition: Precondition::Any, fence: None };
    scales.ask("delete", by(session, Command::Delete(delete)));
    scales.check();
}

#[test]
fn the_longest_messages_are_sent_and_acknowledged_together() {
    let mut scales = Scales::new();
    let sender = scales.join(0, "sender");
    let sessions: Vec<SessionId> =
        (1..=limits::RECIPIENTS).map(|n| scales.join(n, &format!("key{n}-"))).collect();
    let all = Recipients::Direct((1..=limits::RECIPIENTS).map(name).collect());
    scales.send(sender, Recipients::Broadcast, limits::BODY_BYTES);
    // As many chunks as so many bytes can take: each body ends just beyond the end of one.
    let (count, bytes) = limits::DELETES_PER_TRANSACTION;
    let bodies: Vec<usize> = (0..count).map(|n| if n < 38 { 6_238 } else { 1_900 }).collect();
    assert!((bytes - 4_096..=bytes).contains(&bodies.iter().sum()));
    for body in bodies {
        scales.send(sender, all.clone(), body);
    }
    for _ in 0..4 {
        scales.send(sender, all.clone(), limits::BODY_BYTES);
    }
    let newest = scales.bench.seen.view.revision();
    for session in sessions {
        let outcome = scales.ask("acknowledge", by(session, acknowledge(newest)));
        assert!(matches!(outcome, Outcome::Acknowledged { unread: 0, .. }), "{outcome:?}");
    }
    scales.bench.store.costs();
    scales.bench.pass(limits::READ_RETENTION);
    let deleted = scales.bench.store.costs();
    assert!(deleted.iter().all(|cost| *cost <= MAX_BATCH_OPS), "{deleted:?}");
    let left = scales.bench.seen.view.read().messages.count();
    assert_eq!(left, 1, "the broadcast is kept longer");
    scales.check();
}
