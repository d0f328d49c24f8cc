//! An example of every record, event and outcome.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_core::event::{DeleteCause, Event, LeaveCause, PeerChange, PeerField, UnlockCause, WaitEndCause};
use mesh_core::id::{
    CredentialId, EntryKey, MessageId, PeerName, RequestId, ResumeKey, ScopeId, SessionId, TopicName,
};
use mesh_core::outcome::{Conflict, Delivery, EntryMeta, Obstacle, Outcome};
use mesh_core::pattern::Pattern;
use mesh_core::record::{
    Activity, ChildAgent, Contract, EntryRecord, Fingerprint, Intent, LockMode, LockRecord, LogRecord,
    MessageRecord, PastRecord, PeerInfo, PeerRecord, PolicyKind, PolicyRecord, Recipients, Record,
    ReleaseAnswer, ReleaseRequestRecord, Role, ScopeRecord, SessionEnd, SessionRecord, TokenDigest,
    TokenRecord, TouchKind, TouchRecord, TouchTime, WaiterRecord,
};
use mesh_core::revision::{FencingToken, Revision, Sequence, Ticket, Version};
use mesh_core::target::Target;
use mesh_core::time::{Millis, Timestamp, WallTime};
use uuid::Uuid;

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

fn credential() -> CredentialId {
    CredentialId::parse("t-0a1b2c3d4e5f").unwrap()
}

fn token() -> Arc<TokenRecord> {
    Arc::new(TokenRecord {
        id: credential(),
        digest: TokenDigest([0xcd; 32]),
        note: "the build machine".into(),
        role: Role::Member,
        scopes: vec![Pattern::parse("scopes", "github.com/acme/*").unwrap(), Pattern::any()],
        peers: Pattern::parse("peers", "ci-*").unwrap(),
        expires: Some(WallTime(1_800_000_000_000)),
        created: WallTime(1_700_000_000_000),
        created_by: Some(CredentialId::unix()),
    })
}

fn child() -> ChildAgent {
    ChildAgent { id: "a1".into(), kind: "explore".into(), focus: "the tests".into() }
}

fn peer(live: bool) -> Arc<PeerRecord> {
    let joined = WallTime(1_700_000_000_000);
    let session_of_it = live.then_some(SessionRecord { id: session(1), ttl: Millis(60_000), joined });
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
            activity: if live { Activity::Idle } else { Activity::Unknown },
            wake: if live { "monitor".into() } else { String::new() },
            children: if live { vec![child()] } else { Vec::new() },
        },
        resume_key: Some(ResumeKey::parse("conversation-1").unwrap()),
        session: session_of_it,
        joined,
        ended: Some(end),
        acknowledged: Revision(300),
        topics: BTreeMap::from([(TopicName::parse("#deploys").unwrap(), Revision(298))]),
        credential: credential(),
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
        ticket: Some(Ticket(Revision(295))),
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
        thread: Some(MessageId(Uuid::from_u128(4))),
        paths: vec![target("src/api.rs")],
    })
}

fn contract() -> Contract {
    Contract { text: "charge(amount, currency)".into(), paths: vec![target("src/billing/")] }
}

fn waiter() -> Arc<WaiterRecord> {
    Arc::new(WaiterRecord {
        scope: scope(),
        ticket: Ticket(Revision(295)),
        peer: name("blue-owl"),
        session: session(3),
        targets: vec![target("src/auth/"), target("api:billing")],
        mode: LockMode::Exclusive,
        ttl: Millis(1_800_000),
        reason: "the new tax".into(),
        contract: Some(contract()),
        wait: Millis(60_000),
        at: Timestamp(5_500),
        queued: WallTime(1_700_000_005_500),
    })
}

fn release_request() -> Arc<ReleaseRequestRecord> {
    Arc::new(ReleaseRequestRecord {
        scope: scope(),
        id: Revision(296),
        from: name("blue-owl"),
        holder: name("amber-fox"),
        wanted: vec![target("src/auth/login.rs")],
        locks: vec![target("src/auth/")],
        reason: "a hot fix".into(),
        urgent: true,
        at: Timestamp(5_600),
        asked: WallTime(1_700_000_005_600),
    })
}

fn touch() -> Arc<TouchRecord> {
    let time = |revision| TouchTime {
        revision: Revision(revision),
        at: Timestamp(5_700),
        wall: WallTime(1_700_000_005_700),
    };
    Arc::new(TouchRecord {
        scope: scope(),
        path: target("src/api.rs"),
        peer: name("blue-owl"),
        branch: "main".into(),
        worktree: "/home/me/app".into(),
        read: Some(time(290)),
        edit: Some(time(291)),
    })
}

fn changed() -> PeerChange {
    PeerChange {
        fields: vec![PeerField::AgentKind, PeerField::Activity, PeerField::Children, PeerField::Topics],
        started: vec!["a1".into()],
        ended: vec![child()],
    }
}

/// The events that format 1 has not.
fn events_of_2() -> Vec<Event> {
    let (owl, paths) = (name("blue-owl"), vec![target("src/api.rs")]);
    let mut events = vec![
        Event::LockQueued { waiter: waiter(), waits_for: vec![name("amber-fox")] },
        Event::LockReleaseRequested { request: release_request() },
        Event::FileTouched {
            peer: owl.clone(),
            branch: "main".into(),
            touches: vec![(target("src/api.rs"), TouchKind::Edit), (target("README.md"), TouchKind::Read)],
        },
        Event::ContractChanged {
            subject: target("api:billing"),
            key: EntryKey::parse("contract/api:billing").unwrap(),
            version: Version(2),
            deleted: false,
            by: Some(name("amber-fox")),
            dependents: vec![owl.clone()],
            preview: "charge(amount, currency)".into(),
        },
        Event::MessageSent {
            id: MessageId(Uuid::from_u128(3)),
            from: owl.clone(),
            to: Recipients::Topic(TopicName::notes()),
            reply_to: None,
            intent: Intent::Inform,
            urgent: false,
            size: 12,
            preview: "look at this".into(),
            thread: None,
            paths: paths.clone(),
        },
    ];
    for cause in [WaitEndCause::TimedOut, WaitEndCause::Cancelled, WaitEndCause::SessionEnded] {
        let (ticket, peer) = (Ticket(Revision(295)), owl.clone());
        events.push(Event::LockWaitEnded { ticket, peer, targets: paths.clone(), cause });
    }
    for answer in [ReleaseAnswer::Keep, ReleaseAnswer::Release, ReleaseAnswer::Narrow] {
        let (request, keep) = (release_request(), paths.clone());
        events.push(Event::LockReleaseAnswered { request, answer, keep, note: "soon".into() });
    }
    for cause in [UnlockCause::Forced, UnlockCause::Narrowed] {
        let (holder, targets) = (owl.clone(), paths.clone());
        events.push(Event::FileUnlocked { holder, targets, cause, reason: "it hangs".into() });
    }
    let kinds =
        [PolicyKind::RequireVersion, PolicyKind::LastWriteWins, PolicyKind::MergePatch, PolicyKind::Append];
    for kind in kinds.map(Some).into_iter().chain([None]) {
        events.push(Event::PolicyChanged { prefix: "status/".into(), kind });
    }
    events
}

fn events() -> Vec<Event> {
    let (id, from) = (MessageId(Uuid::from_u128(3)), name("amber-fox"));
    let paths = vec![target("src/api.rs")];
    let mut events = vec![
        Event::PeerJoined { peer: peer(true), resumed: true },
        Event::PeerUpdated { peer: peer(true), changed: changed() },
        Event::StateChanged {
            key: key(),
            version: Version(3),
            writer: from.clone(),
            size: 8,
            preview: "use POST".into(),
            paths: paths.clone(),
            tags: vec!["decision".into()],
        },
        Event::FileLocked {
            locks: vec![lock(LockMode::Exclusive), lock(LockMode::Shared)],
            ticket: Some(Ticket(Revision(295))),
        },
        Event::MessageSent {
            id,
            from: from.clone(),
            to: Recipients::Direct(vec![name("blue-owl")]),
            reply_to: None,
            intent: Intent::Inform,
            urgent: false,
            size: 12,
            preview: "look at this".into(),
            thread: Some(MessageId(Uuid::from_u128(4))),
            paths: paths.clone(),
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
        events.push(Event::FileUnlocked {
            holder: from.clone(),
            targets: paths.clone(),
            cause,
            reason: String::new(),
        });
    }
    events.extend(events_of_2());
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
        obstacle: Obstacle::Lock { lock: lock(LockMode::Exclusive), lingering: true },
        remaining: Millis(9_000),
        holder_focus: "the login".into(),
    };
    let behind = Conflict { obstacle: Obstacle::Waiter(waiter()), ..conflict.clone() };
    let delivery = |who, offline_since, activity, wake: &str| Delivery {
        peer: name(who),
        offline_since,
        activity,
        wake: wake.into(),
    };
    let deliveries = vec![
        delivery("blue-owl", None, Activity::Working, "codex-queue"),
        delivery("red-hen", Some(WallTime(1_700_000_001_000)), Activity::Unknown, ""),
    ];
    vec![
        ("joined", Outcome::Joined { peer: peer(true), resumed: false, unread: 2 }),
        ("updated", Outcome::Updated { peer: peer(true) }),
        ("done", Outcome::Done),
        (
            "sent",
            Outcome::Sent {
                id: MessageId(Uuid::from_u128(3)),
                deliveries,
                online: 1,
                revision: Revision(303),
                duplicate: true,
            },
        ),
        ("acknowledged", Outcome::Acknowledged { acknowledged: Revision(303), unread: 1 }),
        ("following", Outcome::Following { topics: vec![TopicName::notes()] }),
        ("written", Outcome::Written(meta.clone())),
        ("transacted", Outcome::Transacted(vec![meta])),
        ("deleted", Outcome::Deleted),
        ("granted", Outcome::Granted { locks: vec![lock(LockMode::Shared)] }),
        ("conflicts", Outcome::Conflicts(vec![conflict, behind])),
        ("renewed", Outcome::Renewed { locks: vec![lock(LockMode::Exclusive)] }),
        (
            "released",
            Outcome::Released {
                targets: vec![target("src/auth/")],
                remaining: 1,
                kept: vec![lock(LockMode::Shared)],
            },
        ),
        ("queued", Outcome::Queued { ticket: Ticket(Revision(295)) }),
        ("release requested", Outcome::ReleaseRequested { requests: vec![release_request()] }),
        ("forced", Outcome::Forced { locks: vec![lock(LockMode::Exclusive)], remaining: 2 }),
    ]
}

pub(super) fn log(events: Vec<Event>, outcome: Option<Outcome>) -> LogRecord {
    LogRecord {
        revision: Revision(304),
        scope: scope(),
        sequence: Sequence(40),
        prev_revision: Revision(299),
        actor: Some(name("amber-fox")),
        session: Some(session(1)),
        credential: Some(credential()),
        request_id: Some(RequestId::parse("request-1").unwrap()),
        fingerprint: Fingerprint([0xab; 16]),
        at: Timestamp(8_000),
        committed: WallTime(1_700_000_008_000),
        events,
        outcome,
    }
}

/// An example of each record of the state, with its name.
pub(super) fn records() -> Vec<(String, Record)> {
    let head = ScopeRecord {
        scope: scope(),
        sequence: Sequence(40),
        last_revision: Revision(304),
        handover_due: true,
    };
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
        ("message topic", Record::Message(message(Recipients::Topic(TopicName::notes())))),
        ("past", Record::Past(Arc::new(PastRecord { entry: Arc::new(entry()), ended: Timestamp(6_500) }))),
        (
            "policy",
            Record::Policy(PolicyRecord {
                scope: scope(),
                prefix: "status/".into(),
                kind: PolicyKind::LastWriteWins,
            }),
        ),
        ("waiter", Record::Waiter(waiter())),
        ("release request", Record::ReleaseRequest(release_request())),
        ("touch", Record::Touch(touch())),
    ];
    records.map(|(what, record)| (what.to_owned(), record)).into()
}

/// An item of the history for each event and outcome, with its name.
pub(super) fn items() -> Vec<(String, LogRecord)> {
    let events = events().into_iter().enumerate();
    let events =
        events.map(|(n, event)| (format!("log event {n} {:?}", event.kind()), log(vec![event], None)));
    let outcomes = outcomes().into_iter();
    let outcomes =
        outcomes.map(|(what, outcome)| (format!("log outcome {what}"), log(vec![], Some(outcome))));
    events.chain(outcomes).collect()
}

/// An example of each record of the state that format 3 has not.
pub(super) fn records_of_4() -> Vec<(String, Record)> {
    vec![("token".to_owned(), Record::Token(token()))]
}

/// An example of each event and outcome that format 3 has not.
pub(super) fn items_of_4() -> Vec<(String, LogRecord)> {
    let left = Event::PeerLeft { name: name("amber-fox"), session: session(1), cause: LeaveCause::Revoked };
    let revoked = Event::TokenRevoked { id: credential(), note: "the build machine".into() };
    let events = [left, Event::TokenCreated { token: token() }, revoked];
    let created = log(vec![], Some(Outcome::TokenCreated { token: token() }));
    let events =
        events.into_iter().map(|event| (format!("log event {:?}", event.kind()), log(vec![event], None)));
    events.chain([("log outcome token created".to_owned(), created)]).collect()
}
