//! Whatever is wrong, the agent goes on: exit code 0, the host's least answer, the user told once, and no waiting.

use std::fs::File;
use std::process::Command;
use std::time::{Duration, Instant};

use mesh_tests::within;
use serde_json::{Value, json};

use super::seat::{Answer, Ground, Seat};

/// Far more than a hook may take, and far less than a host waits.
const BOUND: Duration = Duration::from_secs(15);

/// A hook with how long it took.
async fn timed(seat: &Seat, event: &str, more: Value) -> (Answer, Duration) {
    let begun = Instant::now();
    let answer = seat.any_hook(event, more).await;
    let took = begun.elapsed();
    assert!(took < BOUND, "{event} took {took:?}");
    assert_eq!(answer.code, Some(0), "{answer:?}");
    (answer, took)
}

fn edit(seat: &Seat) -> Value {
    let input = json!({"file_path": seat.cwd.join("src/a.rs"), "old_string": "one", "new_string": "two"});
    json!({"tool_name": "Edit", "tool_input": input})
}

/// The user is told by the first hook and by no other; nothing is ever refused. How long each took.
async fn told_once(seat: &Seat) -> Vec<Duration> {
    let (first, took) = timed(seat, "UserPromptSubmit", json!({"prompt": "x"})).await;
    assert!(first.notice().contains("mesh: the broker is away ("), "{first:?}");
    let mut all = vec![took];
    for (event, more) in [
        ("PreToolUse", edit(seat)),
        ("PostToolUse", edit(seat)),
        ("Stop", json!({})),
        ("SubagentStart", json!({"agent_id": "a", "agent_type": "b"})),
        ("UserPromptSubmit", json!({"prompt": "x"})),
    ] {
        let (answer, took) = timed(seat, event, more).await;
        all.push(took);
        assert_eq!(answer.json, Value::Null, "{event}: {answer:?}");
        assert!(
            answer.stderr.starts_with("meshctl hook: ") && answer.stderr.lines().count() == 1,
            "{answer:?}"
        );
    }
    all
}

/// Hooks until one tells that the broker is back: each gives a busy machine only a moment.
async fn told_back(seat: &Seat) {
    within("the broker to be back", async {
        loop {
            let (answer, _) = timed(seat, "UserPromptSubmit", json!({"prompt": "x"})).await;
            if answer.notice() == "mesh: the broker is back" {
                return;
            }
            assert_eq!(answer.json, Value::Null, "{answer:?}");
        }
    })
    .await;
    seat.prompt().await.silent();
}

#[tokio::test]
async fn without_a_broker_the_agent_goes_on_and_is_told_once() {
    let ground = Ground::new();
    let mut seat = ground.seat();
    // One that is not there, and cannot be started.
    seat.env.push(("MESH_ENDPOINT", "unix:///nowhere/mesh.sock".into()));
    eprintln!("hooks took {:?}", told_once(&seat).await);
    seat.env.clear();
    let _broker = ground.mesh.serve(&[]);
    told_back(&seat).await;
}

#[tokio::test]
async fn a_broker_that_cannot_start_is_told_once() {
    let ground = Ground::new();
    // Another process has what a broker needs.
    ground.mesh.home().create().unwrap();
    let taken = File::create(ground.mesh.home().broker_lock_path()).unwrap();
    taken.lock().unwrap();
    let seat = ground.seat();
    eprintln!("hooks took {:?}", told_once(&seat).await);
    // The next hook starts it.
    drop(taken);
    told_back(&seat).await;
}

#[tokio::test]
async fn a_stopped_broker_is_waited_for_once() {
    let ground = Ground::new();
    let broker = ground.mesh.serve(&[]);
    let seat = ground.seat();
    seat.start().await;
    broker.pause();
    eprintln!("hooks took {:?}", told_once(&seat).await);
    broker.resume();
    told_back(&seat).await;
}

#[tokio::test]
async fn a_killed_broker_is_started_again_by_the_next_hook() {
    let ground = Ground::new();
    let broker = ground.mesh.serve(&[]);
    let seat = ground.seat();
    seat.start().await;
    let name = seat.name();
    broker.kill();
    within("a broker", async {
        while ground.mesh.broker_pid().is_none() {
            seat.any_hook("UserPromptSubmit", json!({"prompt": "x"})).await;
        }
    })
    .await;
    within("the peer", async { while !seat.any_hook("Stop", json!({})).await.stderr.is_empty() {} }).await;
    assert_eq!(ground.only("claude-code").await.name, name);
}

#[tokio::test]
async fn the_first_hook_of_all_finds_its_broker() {
    let ground = Ground::new();
    let seat = ground.seat();
    let (start, _) = timed(&seat, "SessionStart", json!({"source": "startup"})).await;
    assert!(start.context().contains("[mesh] you are "), "{start:?}");
}

#[tokio::test]
async fn input_that_makes_no_sense_is_no_matter() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let seat = ground.seat();
    let huge = format!("{{\"hook_event_name\": \"PostToolUse\", \"x\": \"{}\"}}", "y".repeat(33 << 20));
    for input in [
        b"\xff\xfe\x00binary".to_vec(),
        "[".repeat(100_000).into_bytes(),
        format!("{{\"a\":{}", "{\"a\":".repeat(100_000)).into_bytes(),
        huge.into_bytes(),
        json!({"hook_event_name": ["PreToolUse"], "session_id": {"a": 1}}).to_string().into_bytes(),
    ] {
        let begun = Instant::now();
        let answer = seat.raw(&["claude-code"], &input).await;
        assert_eq!((answer.code, &answer.json), (Some(0), &Value::Null), "{answer:?}");
        assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    }
    // What makes sense in part is taken as that.
    for payload in [
        json!({"hook_event_name": "PreToolUse", "tool_name": 7, "tool_input": "x", "session_id": "s", "cwd": seat.cwd}),
        json!({"hook_event_name": "PreToolUse", "tool_name": "Edit", "tool_input": {"file_path": "\u{0}"},
            "session_id": "s", "cwd": seat.cwd}),
        json!({"hook_event_name": "PreToolUse", "tool_name": "Edit", "tool_input": {"file_path": "x/".repeat(4000)},
            "session_id": "s", "cwd": seat.cwd}),
        json!({"hook_event_name": "PostToolUse", "tool_name": "Read", "tool_input": {"file_path": "../../../etc/passwd"},
            "session_id": "s", "cwd": seat.cwd}),
        json!({"hook_event_name": "Stop", "session_id": "s".repeat(5000), "cwd": seat.cwd}),
        json!({"hook_event_name": "Stop", "session_id": "../../x", "cwd": seat.cwd}),
    ] {
        let answer = seat.raw(&["claude-code"], payload.to_string().as_bytes()).await;
        assert_eq!((answer.code, &answer.json), (Some(0), &Value::Null), "{payload}: {answer:?}");
    }
}

#[tokio::test]
async fn a_home_that_cannot_be_used_is_told_at_the_start() {
    let ground = Ground::new();
    ground.write("file", "");
    let mut seat = ground.seat();
    for home in [ground.path("file/home").into_os_string(), "relative".into()] {
        seat.env = vec![("MESH_HOME", home)];
        let (start, _) = timed(&seat, "SessionStart", json!({"source": "startup"})).await;
        assert!(start.notice().starts_with("mesh: hooks do nothing in this session ("), "{start:?}");
        let (edited, _) = timed(&seat, "PreToolUse", edit(&seat)).await;
        assert_eq!(edited.json, Value::Null, "{edited:?}");
    }
}

#[tokio::test]
async fn settings_that_are_not_understood_are_told_at_the_start() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    ground.write("app/.mesh.toml", "[guard]\nlocked = \"maybe\"\n");
    let seat = ground.seat();
    let (start, _) = timed(&seat, "SessionStart", json!({"source": "startup"})).await;
    assert!(start.notice().contains(".mesh.toml: "), "{start:?}");
    let (edited, _) = timed(&seat, "PreToolUse", edit(&seat)).await;
    assert_eq!(edited.json, Value::Null);
}

#[tokio::test]
async fn a_project_is_left_alone_that_wants_no_hooks() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    ground.write("app/.mesh.toml", "hooks = false\n");
    let seat = ground.seat();
    for (event, more) in
        [("SessionStart", json!({"source": "startup"})), ("PreToolUse", edit(&seat)), ("Stop", json!({}))]
    {
        seat.hook(event, more).await.silent();
    }
    // Nor is it looked into from a session of another project.
    ground.repository("other", "git@example.com:acme/other.git");
    let other = ground.seat_of("claude-code", "other");
    other.start().await;
    other.edits(ground.path("app/src/a.rs")).await.silent();
    other.edited(ground.path("app/src/a.rs")).await.silent();
    assert_eq!((ground.peers().await, ground.locked().await), (vec![], vec![]));
}

#[tokio::test]
async fn a_record_that_another_process_holds_is_not_waited_for_long() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let seat = ground.seat();
    seat.start().await;
    let agents = std::fs::read_dir(ground.mesh.home().agents_path()).unwrap().flatten();
    let lock = agents.map(|file| file.path()).find(|path| {
        path.extension().is_some_and(|end| end == "lock")
            && path.file_stem().is_some_and(|name| name != ".lock")
    });
    let held = File::options().write(true).open(lock.unwrap()).unwrap();
    held.lock().unwrap();
    let (answer, _) = timed(&seat, "UserPromptSubmit", json!({"prompt": "x"})).await;
    assert!(!answer.notice().is_empty(), "{answer:?}");
    drop(held);
    told_back(&seat).await;
}

#[tokio::test]
async fn git_is_not_needed() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let mut seat = ground.seat();
    std::fs::create_dir(ground.path("empty")).unwrap();
    seat.env.push(("PATH", ground.path("empty").into_os_string()));
    let start = seat.start().await;
    assert!(start.context().contains("[mesh] you are "), "{start:?}");
    seat.prompt().await.silent();
    seat.runs("ls; git stash").await.silent();
    seat.edits("src/a.rs").await.silent();
    seat.stop().await.silent();
    // Whose scope it is, git alone tells; once it is there, nothing is left of what was assumed without it.
    seat.env.clear();
    seat.prompt().await.silent();
    assert_eq!(ground.peers().await.len(), 1);
}

#[tokio::test]
async fn a_directory_that_is_gone_is_no_matter() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    ground.worktree("wt", "side");
    let seat = ground.seat_of("claude-code", "wt");
    seat.start().await;
    seat.edits("src/a.rs").await.passed();
    for event in ["UserPromptSubmit", "Stop", "SessionEnd"] {
        let template = seat.command(&["hook", "claude-code"]);
        let mut command = Command::new("sh");
        command.current_dir(&ground.base).env_clear();
        command.envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.args([
            "-c",
            "mkdir -p gone && cd gone && rmdir ../gone && rm -rf ../wt && exec \"$0\" hook claude-code",
        ]);
        command.arg(mesh_tests::meshctl());
        let payload = seat.payload(event, json!({"reason": "other"})).to_string();
        let outputs = super::news::at_once(vec![command], payload.into_bytes()).await;
        assert!(outputs[0].status.success() && outputs[0].stdout.is_empty(), "{event}: {outputs:?}");
    }
    assert!(!super::seat::is_online(&ground.only("claude-code").await));
    assert_eq!(ground.locked().await, []);
}
