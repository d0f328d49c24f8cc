//! What lines look like, above all for text that wants to look like something else.

use mesh_client::proto::{
    ChildAgent, Event, LeaveCause, Lock, LockWaiter, Peer, PeerActivity, PeerInfo, PeerJoined, PeerLeft,
    PeerUpdated, Policy, ReleaseRequest, Touch,
};

use super::*;

const EVIL: &str =
    "\u{1b}[2J\u{1b}]0;owned\u{7}\r\n12:03:44  root  locked  /\u{202e}txt.exe\u{200b}\u{9b}31m";

fn batch(actor: &str, kind: Kind) -> EventBatch {
    EventBatch {
        revision: 7,
        scope: "github.com/acme/app".to_owned(),
        sequence: 3,
        actor: actor.to_owned(),
        commit_time: Some(prost_types::Timestamp { seconds: 1_795_262_624, nanos: 0 }),
        events: vec![Event { event: Some(kind) }],
        ..EventBatch::default()
    }
}

fn clock() -> Clock {
    Clock::at(jiff::Timestamp::new(1_795_262_700, 0).unwrap())
}

fn terminal(batches: &[EventBatch]) -> String {
    let mut lines = EventLines::new(Paint::plain(), clock(), false, true);
    batches.iter().map(|batch| lines.batch(batch)).collect()
}

fn peer(name: &str, info: PeerInfo) -> Option<Peer> {
    Some(Peer { name: name.to_owned(), info: Some(info), ..Peer::default() })
}

fn lock(path: &str) -> Lock {
    Lock {
        path: path.to_owned(),
        holder: "amber-fox".to_owned(),
        reason: "refactor login".to_owned(),
        ..Lock::default()
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

#[test]
fn presence_and_locks_have_their_lines() {
    let info = PeerInfo {
        agent_kind: "claude-code".to_owned(),
        agent_version: "2.1".to_owned(),
        branch: "fix/login".to_owned(),
        focus: "refactor login".to_owned(),
        files: texts(&["a", "b", "c", "d", "e"]),
        ..PeerInfo::default()
    };
    let left = |cause: LeaveCause| PeerLeft {
        name: "amber-fox".to_owned(),
        cause: cause.into(),
        ..PeerLeft::default()
    };
    let shared = Lock { mode: LockMode::Shared.into(), reason: String::new(), ..lock("docs/") };
    let unlocked = FileUnlocked {
        holder: "amber-fox".to_owned(),
        paths: texts(&["src/auth.rs"]),
        cause: UnlockCause::SessionEnded.into(),
        reason: String::new(),
    };
    let mut unknown = batch("amber-fox", Kind::PeerUpdated(PeerUpdated::default()));
    unknown.events[0].event = None;
    let shown = terminal(&[
        batch("amber-fox", Kind::PeerJoined(PeerJoined { peer: peer("amber-fox", info), resumed: false })),
        batch(
            "amber-fox",
            Kind::PeerUpdated(PeerUpdated {
                peer: peer("amber-fox", PeerInfo::default()),
                ..PeerUpdated::default()
            }),
        ),
        batch(
            "amber-fox",
            Kind::FileLocked(FileLocked { locks: vec![lock("src/auth.rs"), lock("src/b.rs")], ticket: 0 }),
        ),
        batch("amber-fox", Kind::FileLocked(FileLocked { locks: vec![shared], ticket: 0 })),
        batch("amber-fox", Kind::PeerLeft(left(LeaveCause::Left))),
        batch("", Kind::PeerLeft(left(LeaveCause::Disconnected))),
        batch("", Kind::FileUnlocked(unlocked)),
        unknown,
    ]);
    insta::assert_snapshot!(shown, @r#"
    12:03:44  amber-fox       joined      claude-code 2.1  on fix/login  a b c +2  "refactor login"
    12:03:44  amber-fox       updated
    12:03:44  amber-fox       locked      src/auth.rs src/b.rs  "refactor login"
    12:03:44  amber-fox       locked      docs/  (shared)
    12:03:44  amber-fox       left
    12:03:44  amber-fox       left        (its process is gone)
    12:03:44  amber-fox       unlocked    src/auth.rs  (the holder is gone)
    12:03:44  amber-fox       ?           an event that this version of meshctl does not know
    "#);
}

#[test]
fn messages_and_memory_have_their_lines() {
    let message = MessageSent {
        from: "blue-owl".to_owned(),
        to: texts(&["amber-fox", "alice"]),
        intent: MessageIntent::Request.into(),
        urgent: true,
        preview: "can I have src/auth.rs?".to_owned(),
        ..MessageSent::default()
    };
    let broadcast =
        MessageSent { broadcast: true, to: Vec::new(), urgent: false, intent: 0, ..message.clone() };
    let state = StateChanged {
        key: "decisions/auth".to_owned(),
        version: 3,
        writer: "blue-owl".to_owned(),
        preview: "tokens live 15 min".to_owned(),
        paths: texts(&["src/auth/"]),
        tags: texts(&["decision", "auth"]),
        ..StateChanged::default()
    };
    let deleted = |cause: DeleteCause| StateDeleted {
        key: "k".to_owned(),
        cause: cause.into(),
        ..StateDeleted::default()
    };
    let shown = terminal(&[
        batch("blue-owl", Kind::MessageSent(message)),
        batch("blue-owl", Kind::MessageSent(broadcast)),
        batch("blue-owl", Kind::StateChanged(state)),
        batch("blue-owl", Kind::StateDeleted(deleted(DeleteCause::Deleted))),
        batch("", Kind::StateDeleted(deleted(DeleteCause::Expired))),
    ]);
    insta::assert_snapshot!(shown, @r#"
    12:03:44  blue-owl        said        → amber-fox alice  (request)  (urgent)  "can I have src/auth.rs?"
    12:03:44  blue-owl        said        → everyone  "can I have src/auth.rs?"
    12:03:44  blue-owl        remembered  decisions/auth v3  "tokens live 15 min"  src/auth/  #decision #auth
    12:03:44  blue-owl        forgot      k
    12:03:44  -               forgot      k  (its ttl ran out)
    "#);
}

#[test]
fn the_queue_has_its_lines() {
    let waiter = LockWaiter {
        peer: "blue-owl".to_owned(),
        paths: texts(&["src/"]),
        reason: "release".to_owned(),
        ..LockWaiter::default()
    };
    let ended = LockWaitEnded {
        peer: "blue-owl".to_owned(),
        paths: texts(&["src/"]),
        cause: WaitEndCause::TimedOut.into(),
        ..LockWaitEnded::default()
    };
    let granted = Lock { holder: "blue-owl".to_owned(), ..lock("src/") };
    let forced = FileUnlocked {
        holder: "amber-fox".to_owned(),
        paths: texts(&["src/"]),
        cause: UnlockCause::Forced.into(),
        reason: "it hangs".to_owned(),
    };
    let narrowed =
        FileUnlocked { cause: UnlockCause::Narrowed.into(), reason: String::new(), ..forced.clone() };
    let shown = terminal(&[
        batch(
            "blue-owl",
            Kind::LockQueued(LockQueued { waiter: Some(waiter), waits_for: texts(&["amber-fox"]) }),
        ),
        batch("blue-owl", Kind::LockWaitEnded(ended)),
        batch("amber-fox", Kind::FileLocked(FileLocked { locks: vec![granted], ticket: 7 })),
        batch("alice", Kind::FileUnlocked(forced)),
        batch("amber-fox", Kind::FileUnlocked(narrowed)),
    ]);
    insta::assert_snapshot!(shown, @r#"
    12:03:44  blue-owl        waits       src/  for amber-fox  "release"
    12:03:44  blue-owl        gave up     src/  (its time was over)
    12:03:44  blue-owl        locked      src/  (after waiting)  "refactor login"
    12:03:44  alice           took away   src/  from amber-fox  "it hangs"
    12:03:44  amber-fox       unlocked    src/  (narrowed)
    "#);
}

#[test]
fn making_way_has_its_lines() {
    let request = ReleaseRequest {
        id: 4711,
        from: "blue-owl".to_owned(),
        holder: "amber-fox".to_owned(),
        lock_paths: texts(&["src/"]),
        reason: "for the release".to_owned(),
        urgent: true,
        ..ReleaseRequest::default()
    };
    let answered = |answer: ReleaseAnswer| {
        let keep = if answer == ReleaseAnswer::Narrow { texts(&["src/a.rs"]) } else { Vec::new() };
        let note = "soon".to_owned();
        let request = Some(request.clone());
        batch(
            "amber-fox",
            Kind::LockReleaseAnswered(LockReleaseAnswered { request, answer: answer.into(), keep, note }),
        )
    };
    let shown = terminal(&[
        batch(
            "blue-owl",
            Kind::LockReleaseRequested(LockReleaseRequested { request: Some(request.clone()) }),
        ),
        answered(ReleaseAnswer::Keep),
        answered(ReleaseAnswer::Release),
        answered(ReleaseAnswer::Narrow),
    ]);
    insta::assert_snapshot!(shown, @r#"
    12:03:44  blue-owl        asked       amber-fox for src/  (urgent)  "for the release"  (request 4711)
    12:03:44  amber-fox       answered    blue-owl: keeps src/  "soon"
    12:03:44  amber-fox       answered    blue-owl: releases src/  "soon"
    12:03:44  amber-fox       answered    blue-owl: narrows src/ to src/a.rs  "soon"
    "#);
}

#[test]
fn what_is_touched_agreed_and_ruled_has_its_lines() {
    let touch = |path: &str, kind: TouchKind| Touch { path: path.to_owned(), kind: kind.into() };
    let touched = |touches: Vec<Touch>| {
        let (peer, branch) = ("amber-fox".to_owned(), "fix/login".to_owned());
        batch("amber-fox", Kind::FileTouched(FileTouched { peer, branch, touches }))
    };
    let contract = ContractChanged {
        subject: "api:billing".to_owned(),
        version: 2,
        changed_by: "amber-fox".to_owned(),
        dependents: texts(&["blue-owl", "red-elk"]),
        preview: "charge(amount)".to_owned(),
        ..ContractChanged::default()
    };
    let withdrawn =
        ContractChanged { deleted: true, preview: String::new(), dependents: Vec::new(), ..contract.clone() };
    let policy = |prefix: &str, kind: PolicyKind| {
        let policy = Some(Policy { prefix: prefix.to_owned(), kind: kind.into() });
        batch("alice", Kind::PolicyChanged(PolicyChanged { policy }))
    };
    let topic = MessageSent {
        from: "blue-owl".to_owned(),
        topic: "#deploys".to_owned(),
        reply_to: "01".to_owned(),
        preview: "rolled back".to_owned(),
        paths: texts(&["src/nav.rs"]),
        ..MessageSent::default()
    };
    let shown = terminal(&[
        touched(vec![touch("a.rs", TouchKind::Edit), touch("b.rs", TouchKind::Edit)]),
        touched(vec![touch("a.rs", TouchKind::Read)]),
        touched(vec![touch("a.rs", TouchKind::Read), touch("b.rs", TouchKind::Edit)]),
        batch("amber-fox", Kind::ContractChanged(contract)),
        batch("amber-fox", Kind::ContractChanged(withdrawn)),
        policy("log/", PolicyKind::Append),
        policy("", PolicyKind::Unspecified),
        batch("blue-owl", Kind::MessageSent(topic)),
    ]);
    insta::assert_snapshot!(shown, @r#"
    12:03:44  amber-fox       edited      a.rs b.rs  on fix/login
    12:03:44  amber-fox       read        a.rs  on fix/login
    12:03:44  amber-fox       edited      b.rs  (read a.rs)  on fix/login
    12:03:44  amber-fox       changed     the contract of api:billing v2  "charge(amount)"  (of interest to blue-owl red-elk)
    12:03:44  amber-fox       withdrew    the contract of api:billing v2
    12:03:44  alice           set policy  of log/: append
    12:03:44  alice           set policy  of every key: none
    12:03:44  blue-owl        said        → #deploys  (reply)  "rolled back"  src/nav.rs
    "#);
}

#[test]
fn hostile_text_stays_inside_its_line() {
    let evil = EVIL;
    let info = PeerInfo {
        agent_kind: evil.to_owned(),
        branch: evil.to_owned(),
        focus: evil.to_owned(),
        files: texts(&[evil]),
        ..PeerInfo::default()
    };
    let agent = ChildAgent { id: evil.to_owned(), kind: String::new(), focus: evil.to_owned() };
    let children = PeerInfo { children: vec![agent], ..PeerInfo::default() };
    let started = PeerUpdated {
        peer: peer(evil, children),
        changed: texts(&["children"]),
        started_children: texts(&[evil]),
        ended_children: Vec::new(),
    };
    let message = MessageSent {
        from: evil.to_owned(),
        to: texts(&[evil]),
        preview: evil.to_owned(),
        ..MessageSent::default()
    };
    let state = StateChanged {
        key: evil.to_owned(),
        writer: evil.to_owned(),
        preview: evil.to_owned(),
        paths: texts(&[evil]),
        tags: texts(&[evil]),
        ..StateChanged::default()
    };
    let unlocked = FileUnlocked { holder: evil.to_owned(), paths: texts(&[evil]), ..FileUnlocked::default() };
    let held =
        Lock { path: evil.to_owned(), holder: evil.to_owned(), reason: evil.to_owned(), ..Lock::default() };
    let batches = [
        batch(evil, Kind::PeerJoined(PeerJoined { peer: peer(evil, info), resumed: false })),
        batch(evil, Kind::PeerUpdated(started)),
        batch(evil, Kind::PeerLeft(PeerLeft { name: evil.to_owned(), ..PeerLeft::default() })),
        batch(evil, Kind::MessageSent(message)),
        batch(evil, Kind::StateChanged(state)),
        batch(evil, Kind::StateDeleted(StateDeleted { key: evil.to_owned(), ..StateDeleted::default() })),
        batch(evil, Kind::FileLocked(FileLocked { locks: vec![held], ticket: 0 })),
        batch(evil, Kind::FileUnlocked(unlocked)),
    ];
    assert_one_line_each(batches, EVIL);
}

#[test]
fn hostile_text_about_locks_and_files_stays_inside_its_line() {
    let evil = EVIL;
    let waiter = LockWaiter {
        peer: evil.to_owned(),
        paths: texts(&[evil]),
        reason: evil.to_owned(),
        ..LockWaiter::default()
    };
    let ended = LockWaitEnded { peer: evil.to_owned(), paths: texts(&[evil]), ..LockWaitEnded::default() };
    let request = ReleaseRequest {
        from: evil.to_owned(),
        holder: evil.to_owned(),
        lock_paths: texts(&[evil]),
        reason: evil.to_owned(),
        ..ReleaseRequest::default()
    };
    let answered = LockReleaseAnswered {
        request: Some(request.clone()),
        answer: ReleaseAnswer::Narrow.into(),
        keep: texts(&[evil]),
        note: evil.to_owned(),
    };
    let touch = Touch { path: evil.to_owned(), kind: TouchKind::Edit.into() };
    let touched = FileTouched { peer: evil.to_owned(), branch: evil.to_owned(), touches: vec![touch] };
    let contract = ContractChanged {
        subject: evil.to_owned(),
        changed_by: evil.to_owned(),
        dependents: texts(&[evil]),
        preview: evil.to_owned(),
        ..ContractChanged::default()
    };
    let policy = Policy { prefix: evil.to_owned(), kind: PolicyKind::Append.into() };
    let batches = [
        batch(evil, Kind::LockQueued(LockQueued { waiter: Some(waiter), waits_for: texts(&[evil]) })),
        batch(evil, Kind::LockWaitEnded(ended)),
        batch(evil, Kind::LockReleaseRequested(LockReleaseRequested { request: Some(request) })),
        batch(evil, Kind::LockReleaseAnswered(answered)),
        batch(evil, Kind::FileTouched(touched)),
        batch(evil, Kind::ContractChanged(contract)),
        batch(evil, Kind::PolicyChanged(PolicyChanged { policy: Some(policy) })),
    ];
    assert_one_line_each(batches, EVIL);
}

fn assert_one_line_each(batches: impl IntoIterator<Item = EventBatch>, scope: &str) {
    let mut lines = EventLines::new(Paint::plain(), clock(), true, false);
    for mut batch in batches {
        batch.scope = scope.to_owned();
        let line = lines.batch(&batch);
        assert_eq!(line.lines().count(), 1, "{line:?}");
        let steers = |c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{200b}');
        assert!(!line.trim_end_matches('\n').contains(steers), "{line:?}");
    }
}

#[test]
fn piped_lines_carry_date_and_scope() {
    let mut lines = EventLines::new(Paint::plain(), clock(), true, false);
    let line = lines.batch(&batch(
        "amber-fox",
        Kind::FileLocked(FileLocked { locks: vec![lock("src/auth.rs")], ticket: 0 }),
    ));
    insta::assert_snapshot!(line, @r#"
    2026-11-21 12:03:44  github.com/acme/app       amber-fox       locked      src/auth.rs  "refactor login"
    "#);
}

#[test]
fn another_day_is_announced_once() {
    let clock = Clock::at(jiff::Timestamp::new(1_795_400_000, 0).unwrap());
    let mut lines = EventLines::new(Paint::plain(), clock, false, true);
    let left = PeerLeft { name: "amber-fox".to_owned(), ..PeerLeft::default() };
    let batch = batch("amber-fox", Kind::PeerLeft(left));
    let shown = lines.batch(&batch) + &lines.batch(&batch);
    insta::assert_snapshot!(shown, @r"
    ── 2026-11-21 ──
    12:03:44  amber-fox       left
    12:03:44  amber-fox       left
    ");
}

#[test]
fn a_change_that_shows_nothing_new_has_no_line() {
    let info = PeerInfo { focus: "refactor login".to_owned(), ..PeerInfo::default() };
    let updated = |info: &PeerInfo| {
        Kind::PeerUpdated(PeerUpdated { peer: peer("amber-fox", info.clone()), ..PeerUpdated::default() })
    };
    let joined =
        Kind::PeerJoined(PeerJoined { peer: peer("amber-fox", info.clone()), ..PeerJoined::default() });
    let other = PeerInfo { focus: "write docs".to_owned(), ..PeerInfo::default() };
    let kinds = [joined, updated(&info), updated(&other), updated(&other), updated(&info)];
    let batches: Vec<_> = kinds.map(|kind| batch("amber-fox", kind)).into();
    insta::assert_snapshot!(terminal(&batches), @r#"
    12:03:44  amber-fox       joined      "refactor login"
    12:03:44  amber-fox       updated     "write docs"
    12:03:44  amber-fox       updated     "refactor login"
    "#);
}

#[test]
fn what_a_peer_begins_and_ends_is_told_in_few_words() {
    let child = |id: &str, kind: &str, focus: &str| ChildAgent {
        id: id.to_owned(),
        kind: kind.to_owned(),
        focus: focus.to_owned(),
    };
    let info = |activity: PeerActivity, children: &[ChildAgent]| PeerInfo {
        agent_kind: "claude-code".to_owned(),
        branch: "main".to_owned(),
        focus: "refactor login".to_owned(),
        activity: activity.into(),
        children: children.to_vec(),
        ..PeerInfo::default()
    };
    let updated = |changed: &[&str], info: PeerInfo| PeerUpdated {
        peer: peer("amber-fox", info),
        changed: texts(changed),
        ..PeerUpdated::default()
    };
    let (working, idle) = (PeerActivity::Working, PeerActivity::Idle);
    let one = child("a1", "explore", "where tokens expire");
    let four = [one.clone(), child("a2", "plan", ""), child("a3", "", ""), child("a4", "explore", "")];
    let changes = [
        updated(&["activity"], info(idle, &[])),
        updated(&["activity", "wake"], info(working, &[])),
        updated(&["activity"], info(PeerActivity::Unspecified, &[])),
        updated(&["lease_ttl", "wake", "head", "topics"], info(working, &[])),
        PeerUpdated {
            started_children: texts(&["a1"]),
            ..updated(&["children"], info(working, std::slice::from_ref(&one)))
        },
        PeerUpdated {
            started_children: texts(&["a1", "a2", "a3", "a4"]),
            ..updated(&["children"], info(working, &four))
        },
        PeerUpdated {
            ended_children: vec![one],
            ..updated(&["activity", "children", "focus"], info(idle, &[]))
        },
        updated(&["focus"], info(idle, &[])),
    ];
    let batches: Vec<_> = changes.map(|change| batch("amber-fox", Kind::PeerUpdated(change))).into();
    insta::assert_snapshot!(terminal(&batches), @r#"
    12:03:44  amber-fox       is idle
    12:03:44  amber-fox       is working
    12:03:44  amber-fox       started     a sub-agent: explore  "where tokens expire"
    12:03:44  amber-fox       started     4 sub-agents: explore, plan, a3 +1
    12:03:44  amber-fox       is idle
    12:03:44  amber-fox       ended       a sub-agent: explore  "where tokens expire"
    12:03:44  amber-fox       updated     claude-code  on main  "refactor login"
    "#);
}
