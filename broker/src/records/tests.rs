//! The stored format, pinned: an example of every record, event and outcome as the bytes it has always had.

use std::sync::Arc;

use mesh_core::event::{DeleteCause, Event, LeaveCause, UnlockCause};
use mesh_core::id::{EntryKey, MessageId, PeerName, RequestId, ResumeKey, ScopeId, SessionId};
use mesh_core::outcome::{Conflict, EntryMeta, Outcome};
use mesh_core::record::{
    EntryRecord, Fingerprint, Intent, LockMode, LockRecord, LogRecord, MessageRecord, PeerInfo, PeerRecord,
    Recipients, Record, ScopeRecord, SessionEnd, SessionRecord, Write,
};
use mesh_core::revision::{FencingToken, Revision, Sequence, Version};
use mesh_core::state::Transaction;
use mesh_core::target::Target;
use mesh_core::time::{Millis, Timestamp, WallTime};
use proptest::prelude::*;
use uuid::Uuid;

use super::{Loaded, decode, decode_log, encode};

/// One line for each example: its name, its key and its value in hexadecimal.
const GOLDEN: &str = include_str!("golden.txt");

fn scope() -> ScopeId {
    ScopeId::parse("github.com/acme/app").unwrap()
}

fn name(text: &str) -> PeerName {
    PeerName::parse(text).unwrap()
}

fn key() -> EntryKey {
    EntryKey::parse("plan/api").unwrap()
}

fn target(text: &str) -> Target {
    Target::parse("path", text).unwrap()
}

fn session(n: u128) -> SessionId {
    SessionId(Uuid::from_u128(n))
}

fn peer(live: bool) -> Arc<PeerRecord> {
    let joined = WallTime(1_700_000_000_000);
    let live = live.then_some(SessionRecord { id: session(1), ttl: Millis(60_000), joined });
    let end = SessionEnd {
        session: session(2),
        cause: LeaveCause::Disconnected,
        at: Timestamp(5_000),
        wall: WallTime(1_700_000_005_000),
    };
    Arc::new(PeerRecord {
        scope: scope(),
        name: name("amber-fox"),
        info: PeerInfo {
            agent_kind: "claude-code".into(),
            agent_version: "2.1".into(),
            host: "box".into(),
            pid: 4_711,
            worktree: "/home/me/app".into(),
            branch: "main".into(),
            head: "0a1b2c3".into(),
            focus: "the login".into(),
            files: vec![target("src/auth/"), target("README.md")],
        },
        resume_key: Some(ResumeKey::parse("conversation-1").unwrap()),
        session: live,
        joined,
        ended: Some(end),
        acknowledged: Revision(300),
    })
}

fn lock(mode: LockMode) -> Arc<LockRecord> {
    Arc::new(LockRecord {
        scope: scope(),
        target: target("src/auth/"),
        holder: name("amber-fox"),
        session: session(1),
        mode,
        token: FencingToken(Revision(301)),
        reason: "refactoring".into(),
        ttl: Millis(1_800_000),
        acquired: WallTime(1_700_000_000_000),
    })
}

fn entry() -> EntryRecord {
    EntryRecord {
        scope: scope(),
        key: key(),
        value: "use POST".into(),
        version: Version(3),
        revision: Revision(302),
        create_revision: Revision(12),
        writer: name("amber-fox"),
        at: Timestamp(6_000),
        written: WallTime(1_700_000_006_000),
        paths: vec![target("src/api.rs")],
        tags: vec!["decision".into()],
        ttl: Some(Millis(3_600_000)),
    }
}

fn message(to: Recipients) -> Arc<MessageRecord> {
    Arc::new(MessageRecord {
        slot: 7,
        id: MessageId(Uuid::from_u128(3)),
        revision: Revision(303),
        scope: scope(),
        from: name("amber-fox"),
        to,
        body: "look at this".into(),
        reply_to: Some(MessageId(Uuid::from_u128(4))),
        intent: Intent::Request,
        urgent: true,
        at: Timestamp(7_000),
        sent: WallTime(1_700_000_007_000),
    })
}

fn events() -> Vec<Event> {
    let (id, from) = (MessageId(Uuid::from_u128(3)), name("amber-fox"));
    let paths = vec![target("src/api.rs")];
    let mut events = vec![
        Event::PeerJoined { peer: peer(true), resumed: true },
        Event::PeerUpdated { peer: peer(true) },
        Event::StateChanged {
            key: key(),
            version: Version(3),
            writer: from.clone(),
            size: 8,
            preview: "use POST".into(),
            paths: paths.clone(),
            tags: vec!["decision".into()],
        },
        Event::FileLocked { locks: vec![lock(LockMode::Exclusive), lock(LockMode::Shared)] },
        Event::MessageSent {
            id,
            from: from.clone(),
            to: Recipients::Direct(vec![name("blue-owl")]),
            reply_to: None,
            intent: Intent::Inform,
            urgent: false,
            size: 12,
            preview: "look at this".into(),
        },
    ];
    for cause in [LeaveCause::Left, LeaveCause::Expired, LeaveCause::Disconnected, LeaveCause::Replaced] {
        events.push(Event::PeerLeft { name: from.clone(), session: session(1), cause });
    }
    for cause in [DeleteCause::Deleted, DeleteCause::Expired] {
        events.push(Event::StateDeleted { key: key(), version: Version(3), cause, paths: paths.clone() });
    }
    let causes = [UnlockCause::Released, UnlockCause::Expired, UnlockCause::Left, UnlockCause::SessionEnded];
    for cause in causes {
        events.push(Event::FileUnlocked { holder: from.clone(), targets: paths.clone(), cause });
    }
    events
}

fn outcomes() -> Vec<(&'static str, Outcome)> {
    let entry = entry();
    let meta = EntryMeta {
        scope: entry.scope,
        key: entry.key,
        version: entry.version,
        revision: entry.revision,
        create_revision: entry.create_revision,
        writer: entry.writer,
        written: entry.written,
        paths: entry.paths,
        tags: entry.tags,
        ttl: entry.ttl,
    };
    let conflict = Conflict {
        target: target("src/auth/login.rs"),
        lock: lock(LockMode::Exclusive),
        lingering: true,
        remaining: Millis(9_000),
        holder_focus: "the login".into(),
    };
    let deliveries = vec![(name("blue-owl"), None), (name("red-hen"), Some(WallTime(1_700_000_001_000)))];
    vec![
        ("joined", Outcome::Joined { peer: peer(true), resumed: false, unread: 2 }),
        ("updated", Outcome::Updated { peer: peer(true) }),
        ("done", Outcome::Done),
        ("sent", Outcome::Sent { id: MessageId(Uuid::from_u128(3)), deliveries, online: 1 }),
        ("acknowledged", Outcome::Acknowledged { acknowledged: Revision(303), unread: 1 }),
        ("written", Outcome::Written(meta)),
        ("deleted", Outcome::Deleted),
        ("granted", Outcome::Granted { locks: vec![lock(LockMode::Shared)] }),
        ("conflicts", Outcome::Conflicts(vec![conflict])),
        ("renewed", Outcome::Renewed { locks: vec![lock(LockMode::Exclusive)] }),
        ("released", Outcome::Released { targets: vec![target("src/auth/")], remaining: 1 }),
    ]
}

fn log(events: Vec<Event>, outcome: Option<Outcome>) -> LogRecord {
    LogRecord {
        revision: Revision(304),
        scope: scope(),
        sequence: Sequence(40),
        prev_revision: Revision(299),
        actor: Some(name("amber-fox")),
        session: Some(session(1)),
        request_id: Some(RequestId::parse("request-1").unwrap()),
        fingerprint: Fingerprint([0xab; 16]),
        at: Timestamp(8_000),
        committed: WallTime(1_700_000_008_000),
        events,
        outcome,
    }
}

/// An example of each record of the state, with its name.
fn records() -> Vec<(String, Record)> {
    let head = ScopeRecord { scope: scope(), sequence: Sequence(40), last_revision: Revision(304) };
    let direct = Recipients::Direct(vec![name("blue-owl"), name("red-hen")]);
    let records = [
        ("scope", Record::Scope(head)),
        ("peer", Record::Peer(peer(true))),
        ("peer offline", Record::Peer(peer(false))),
        ("lock exclusive", Record::Lock(lock(LockMode::Exclusive))),
        ("lock shared", Record::Lock(lock(LockMode::Shared))),
        ("entry", Record::Entry(Arc::new(entry()))),
        ("message direct", Record::Message(message(direct))),
        ("message broadcast", Record::Message(message(Recipients::Broadcast))),
    ];
    records.map(|(what, record)| (what.to_owned(), record)).into()
}

/// An item of the history for each event and outcome, with its name.
fn items() -> Vec<(String, LogRecord)> {
    let events = events().into_iter().enumerate();
    let events =
        events.map(|(n, event)| (format!("log event {n} {:?}", event.kind()), log(vec![event], None)));
    let outcomes = outcomes().into_iter();
    let outcomes =
        outcomes.map(|(what, outcome)| (format!("log outcome {what}"), log(vec![], Some(outcome))));
    events.chain(outcomes).collect()
}

/// The line of an example, as the broker writes it.
fn line(what: &str, write: Option<Record>, log: LogRecord) -> String {
    let keeps_state = write.is_some();
    let writes = write.into_iter().map(Write::Put).collect();
    let batch = encode(&Transaction { writes, log: log.into(), outcome: Outcome::Done }).unwrap();
    let mut ops = batch.writes();
    let (key, value) = if keeps_state { ops.nth(1) } else { ops.next() }.unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("{what}: {} = {}", hex(key.as_bytes()), hex(value.as_deref().unwrap()))
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A failure means that stores written before cannot be read: bump the format, keep a reader of the old one.
#[test]
fn records_have_the_bytes_they_always_had() {
    let state = records().into_iter().map(|(what, record)| line(&what, Some(record), log(vec![], None)));
    let logs = items().into_iter().map(|(what, log)| line(&what, None, log));
    let found: Vec<String> = state.chain(logs).collect();
    let golden: Vec<&str> = GOLDEN.lines().collect();
    assert_eq!(found, golden, "the stored format has changed:\n{}", found.join("\n"));
}

#[test]
fn the_bytes_of_old_are_read_as_what_was_written() {
    let stored = GOLDEN.lines().map(|line| {
        let (key, value) = line.split_once(": ").unwrap().1.split_once(" = ").unwrap();
        decode(&bytes(key), &bytes(value)).unwrap()
    });
    let (mut state, mut history) = (Vec::new(), Vec::new());
    for loaded in stored {
        match loaded {
            Loaded::Record(record) => state.push(record),
            Loaded::Log(log) => history.push(LogRecord::clone(&log)),
        }
    }
    assert_eq!(state, records().into_iter().map(|(_, record)| record).collect::<Vec<_>>());
    assert_eq!(history, items().into_iter().map(|(_, log)| log).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_is_an_error_and_never_a_panic(kind in 0_u8..9, value in prop::collection::vec(any::<u8>(), 0..300)) {
        let known = (1..=6).contains(&kind);
        prop_assert!(decode(&[kind, 0, 0, 0, 1], &value).is_err() || known);
    }

    #[test]
    fn a_damaged_record_is_never_a_panic(which: prop::sample::Index, at: prop::sample::Index, byte: u8, cut: bool) {
        let lines: Vec<&str> = GOLDEN.lines().collect();
        let (key, value) = which.get(&lines).split_once(": ").unwrap().1.split_once(" = ").unwrap();
        let (key, mut value) = (bytes(key), bytes(value));
        let place = at.index(value.len());
        value[place] = byte;
        if cut {
            value.truncate(place);
        }
        let read = decode(&key, &value);
        prop_assert!(!cut || read.is_err(), "a record that was cut short is not a record");
        prop_assert_eq!(decode_log(&value).is_ok(), matches!(decode(&[1], &value), Ok(Loaded::Log(_))));
    }
}
