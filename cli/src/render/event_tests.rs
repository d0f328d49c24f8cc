//! What lines look like, above all for text that wants to look like something else.

use mesh_client::proto::{Event, Lock, PeerJoined, PeerUpdated};

use super::*;

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
    };
    let mut unknown = batch("amber-fox", Kind::PeerUpdated(PeerUpdated::default()));
    unknown.events[0].event = None;
    let shown = terminal(&[
        batch("amber-fox", Kind::PeerJoined(PeerJoined { peer: peer("amber-fox", info), resumed: false })),
        batch("amber-fox", Kind::PeerUpdated(PeerUpdated { peer: peer("amber-fox", PeerInfo::default()) })),
        batch(
            "amber-fox",
            Kind::FileLocked(FileLocked { locks: vec![lock("src/auth.rs"), lock("src/b.rs")] }),
        ),
        batch("amber-fox", Kind::FileLocked(FileLocked { locks: vec![shared] })),
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
fn hostile_text_stays_inside_its_line() {
    let evil = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\n12:03:44  root  locked  /\u{202e}txt.exe\u{200b}\u{9b}31m";
    let info = PeerInfo {
        agent_kind: evil.to_owned(),
        branch: evil.to_owned(),
        focus: evil.to_owned(),
        files: texts(&[evil]),
        ..PeerInfo::default()
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
        batch(evil, Kind::PeerLeft(PeerLeft { name: evil.to_owned(), ..PeerLeft::default() })),
        batch(evil, Kind::MessageSent(message)),
        batch(evil, Kind::StateChanged(state)),
        batch(evil, Kind::StateDeleted(StateDeleted { key: evil.to_owned(), ..StateDeleted::default() })),
        batch(evil, Kind::FileLocked(FileLocked { locks: vec![held] })),
        batch(evil, Kind::FileUnlocked(unlocked)),
    ];
    let mut lines = EventLines::new(Paint::plain(), clock(), true, false);
    for mut batch in batches {
        batch.scope = evil.to_owned();
        let line = lines.batch(&batch);
        assert_eq!(line.lines().count(), 1, "{line:?}");
        let steers = |c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{200b}');
        assert!(!line.trim_end_matches('\n').contains(steers), "{line:?}");
    }
}

#[test]
fn piped_lines_carry_date_and_scope() {
    let mut lines = EventLines::new(Paint::plain(), clock(), true, false);
    let line =
        lines.batch(&batch("amber-fox", Kind::FileLocked(FileLocked { locks: vec![lock("src/auth.rs")] })));
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
