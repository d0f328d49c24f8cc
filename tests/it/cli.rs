//! `meshctl` end to end: exit codes, JSON shapes, and what a script may rely on.

mod gates;
mod install;
mod locks;
mod memory;
mod messages;

use std::process::Output;
use std::time::Duration;

use mesh_tests::{Mesh, Signal, follow, kill, signal, within};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::ChildStdout;

/// Runs a command with `--json` that must succeed, and returns its object.
fn object(mesh: &Mesh, arguments: &[&str]) -> Value {
    let output = mesh.run(&[&["--json"], arguments].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {told}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

/// Runs a command with `--json` that must fail, and returns its exit code and the error.
fn failure(mesh: &Mesh, arguments: &[&str]) -> (i32, Value) {
    let output = mesh.run(&[&["--json"], arguments].concat());
    assert!(output.stdout.is_empty(), "{arguments:?}: nothing but results goes to stdout");
    let told = String::from_utf8_lossy(&output.stderr);
    let line = told.lines().last().unwrap_or_default();
    let error: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{arguments:?}: {told}"));
    (output.status.code().unwrap(), error["error"].clone())
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn status_and_stop_leave_a_missing_broker_alone() {
    let mesh = Mesh::new();
    let (code, error) = failure(&mesh, &["status"]);
    assert_eq!((code, error["reason"].as_str()), (3, Some("NOT_RUNNING")));
    assert_eq!(object(&mesh, &["stop"]), json!({"stopped": false, "pid": null}));
    assert_eq!(mesh.broker_pid(), None);
    object(&mesh, &["who"]);
    let pid = mesh.broker_pid().unwrap();
    let status = object(&mesh, &["status"]);
    assert_eq!(
        (&status["pid"], &status["auto_started"], &status["revision"]),
        (&json!(pid), &json!(true), &json!(0))
    );
    assert_eq!(object(&mesh, &["stop"]), json!({"stopped": true, "pid": pid}));
    assert_eq!(mesh.broker_pid(), None, "stop waits until the home is free");
    assert_eq!(mesh.run(&["status"]).status.code(), Some(3));
}

#[tokio::test]
async fn exit_codes_tell_what_happened() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let fox = mesh.join_unattended("fox").await;
    fox.acquire(mesh_tests::lock(&["src/"])).await.unwrap();
    object(&mesh, &["remember", "k", "v"]);
    let table: [(&[&str], i32, &str); 19] = [
        (&["lock", "src/a.rs"], 4, "LOCKED"),
        (&["lock", "src/a.rs", "--wait", "1s"], 6, "TIMEOUT"),
        (&["lock", "src/a.rs", "--", "true"], 4, "LOCKED"),
        (&["remember", "k", "w", "--if-absent"], 4, "KEY_EXISTS"),
        (&["remember", "k", "w", "--if-version", "7"], 4, "VERSION_MISMATCH"),
        (&["recall", "nothing"], 5, "KEY_NOT_FOUND"),
        (&["forget", "nothing"], 5, "KEY_NOT_FOUND"),
        (&["send", "nobody", "hello"], 5, "PEER_NOT_FOUND"),
        (&["unlock", "src/b.rs"], 5, "LOCK_NOT_HELD"),
        (&["fence", "src/a.rs", "1"], 4, "FENCED"),
        (&["remember", "k", "w", "--fence", "src/a.rs=1"], 4, "FENCED"),
        (&["recall", "k", "--version", "9"], 5, "VERSION_NOT_FOUND"),
        (&["revert", "k", "9"], 5, "VERSION_NOT_FOUND"),
        (&["answer", "1", "keep"], 5, "RELEASE_REQUEST_NOT_FOUND"),
        (&["receipts", "0191f0c2-7a55-7e0e-b5bb-9d3c2d8b5a10"], 5, "MESSAGE_NOT_FOUND"),
        (&["wait", "key", "nothing", "--timeout", "0"], 6, "TIMEOUT"),
        (&["wait", "lock", "src/a.rs", "--timeout", "0"], 6, "TIMEOUT"),
        (&["wait", "peer", "fox", "--gone", "--timeout", "0"], 6, "TIMEOUT"),
        (&["send", "fox", "well?", "--wait-reply", "1s"], 6, "TIMEOUT"),
    ];
    for (arguments, code, reason) in table {
        let (found, error) = failure(&mesh, arguments);
        assert_eq!((found, error["reason"].as_str()), (code, Some(reason)), "{arguments:?}: {error}");
        assert_eq!(error["code"], json!(code));
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
    let (_, locked) = failure(&mesh, &["lock", "src/a.rs"]);
    assert_eq!(locked["conflicts"][0]["lock"]["holder"], "fox");
    for arguments in [&["frobnicate"][..], &["lock"], &["watch", "--since", "soon"], &["lock", "../outside"]]
    {
        assert_eq!(mesh.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let mut elsewhere = mesh.meshctl(&["who"]);
    elsewhere.env("MESH_ENDPOINT", "unix:///nowhere/mesh.sock");
    assert_eq!(elsewhere.output().unwrap().status.code(), Some(3));
}

#[tokio::test]
async fn the_json_of_every_command_has_its_shape() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join_unattended("owl").await;
    let sent = object(&mesh, &["send", "owl", "hello"]);
    assert_eq!(
        keys(&sent),
        ["deliveries", "duplicate", "message_id", "online_recipients", "reply", "revision"]
    );
    let delivery = json!({
        "peer": "owl",
        "status": "queued",
        "offline_since": null,
        "activity": "unspecified",
        "wake": "",
        "wake_outcome": "unspecified",
        "wake_time": null,
        "wake_via": "",
        "wake_note": ""
    });
    assert_eq!(sent["deliveries"], json!([delivery]));
    owl.send(mesh_tests::message("tester", "hello yourself")).await.unwrap();
    let inbox = object(&mesh, &["inbox"]);
    assert_eq!(
        keys(&inbox),
        ["acknowledged_revision", "messages", "next_after_revision", "revision", "unread"]
    );
    assert_eq!((&inbox["messages"][0]["from"], &inbox["unread"]), (&json!("owl"), &json!(1)));
    object(&mesh, &["inbox", "--ack"]);
    assert_eq!(object(&mesh, &["inbox"])["unread"], 0);
    let written = object(&mesh, &["remember", "k", "v", "--path", "src/a.rs", "--tag", "t", "--ttl", "1h"]);
    assert_eq!((&written["entry"]["version"], written["entry"].get("value")), (&json!(1), None));
    let entry = &object(&mesh, &["recall", "k"])["entry"];
    assert_eq!((&entry["value"], &entry["writer"]), (&json!("v"), &json!("tester")));
    assert_eq!(
        (&entry["paths"], &entry["tags"], &entry["ttl_seconds"]),
        (&json!(["src/a.rs"]), &json!(["t"]), &json!(3600.0))
    );
    let found = object(&mesh, &["recall", "--path", "src/"]);
    assert_eq!((found["entries"].as_array().unwrap().len(), &found["more"]), (1, &json!(false)));
    assert_eq!(keys(&object(&mesh, &["forget", "k"])), ["key", "revision"]);
    let locked = object(&mesh, &["lock", "src/a.rs", "--reason", "because"]);
    assert_eq!((&locked["holder"], &locked["locks"][0]["reason"]), (&json!("tester"), &json!("because")));
    let listed = object(&mesh, &["locks"]);
    assert_eq!(keys(&listed), ["locks", "release_requests", "revision", "waiters"]);
    assert_eq!(listed["locks"][0]["fencing_token"], locked["locks"][0]["fencing_token"]);
    assert_eq!(
        (&listed["locks"][0]["mode"], &listed["locks"][0]["state"]),
        (&json!("exclusive"), &json!("held"))
    );
    assert_eq!(
        object(&mesh, &["unlock", "src/a.rs"]),
        json!({"holder": "tester", "paths": ["src/a.rs"], "kept": []})
    );
    let who = object(&mesh, &["who"]);
    let names: Vec<_> = who["peers"].as_array().unwrap().iter().map(|peer| &peer["name"]).collect();
    assert_eq!(names, ["owl", "tester"]);
    let events = mesh.run(&["events", "--json", "--since", "0"]);
    let lines: Vec<Value> = lines_of(&events).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&lines[0]["type"], &lines[0]["revision"], &lines[0]["index"]),
        (&json!("peer_joined"), &json!(1), &json!(0))
    );
    assert!(lines.iter().any(|event| event["type"] == "file_unlocked" && event["cause"] == "released"));
}

fn lines_of(output: &Output) -> std::str::Lines<'_> {
    std::str::from_utf8(&output.stdout).unwrap().lines()
}

#[tokio::test]
async fn a_lock_taken_by_one_invocation_is_given_up_by_the_next() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    object(&mesh, &["lock", "src/a.rs"]);
    object(&mesh, &["lock", "src/a.rs"]);
    let (code, _) = failure(&mesh, &["lock", "src/a.rs", "--as", "somebody"]);
    assert_eq!(code, 4, "another person");
    object(&mesh, &["unlock", "--all"]);
    object(&mesh, &["lock", "src/a.rs", "--as", "somebody"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lock_with_a_command_excludes_a_second_one_and_ends_with_its_code() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let mut first = mesh.spawn(&["lock", "src/", "--", "cat"]);
    watch
        .until("the lock", |event| {
            matches!(event, mesh_client::proto::event::Event::FileLocked(_)).then_some(())
        })
        .await;
    let second = mesh.run(&["lock", "src/a.rs", "--", "touch", "ran"]);
    assert_eq!(second.status.code(), Some(4));
    assert!(!mesh.path().join("ran").exists(), "the command did not run");
    let waiting = mesh.spawn(&["lock", "src/a.rs", "--wait", "1m", "--", "sh", "-c", "exit 7"]);
    // Waiting closes the stdin that is still there.
    let _open = first.stdin.take();
    signal(first.id().unwrap(), Signal::TERM);
    assert_eq!(within("the first", first.wait()).await.unwrap().code(), Some(128 + 15));
    watch.until_unlocked("src/").await;
    assert_eq!(within("the second", waiting.wait_with_output()).await.unwrap().status.code(), Some(7));
    let token = mesh.run(&["lock", "x", "--", "sh", "-c", "test $MESH_LOCK_TOKEN -gt 0"]);
    assert_eq!(token.status.code(), Some(0));
    assert_eq!(mesh.run(&["lock", "x", "--", "no-such-command"]).status.code(), Some(127));
    assert_eq!(object(&mesh, &["locks"])["locks"], json!([]), "whatever happened, nothing stays locked");
}

/// The next event of `meshctl watch --json`.
async fn event(lines: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let line = within("a line", lines.next_line()).await.unwrap().unwrap();
    serde_json::from_str(&line).unwrap()
}

#[tokio::test]
async fn watch_goes_on_over_a_kill_of_the_broker_without_loss_or_repeats() {
    let mesh = Mesh::new();
    let fox =
        mesh_client::Session::join(&mesh.starting_client(), mesh_tests::unattended("fox")).await.unwrap();
    let mut process = mesh.spawn(&["watch", "--json", "--since", "0", "--type", "state_changed"]);
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut revisions = Vec::new();
    for round in 0..3 {
        for _ in 0..3 {
            revisions.push(fox.put(mesh_tests::put("k", "v")).await.unwrap().entry.unwrap().revision);
        }
        if round == 0 {
            // It has begun to follow before the first kill.
            assert_eq!(event(&mut lines).await["revision"], json!(revisions[0]));
        }
        kill(mesh.broker_pid().unwrap());
    }
    revisions.push(fox.put(mesh_tests::put("k", "last")).await.unwrap().entry.unwrap().revision);
    let mut seen = vec![revisions[0]];
    while seen.last() != revisions.last() {
        let event = event(&mut lines).await;
        assert_eq!((&event["type"], &event["actor"]), (&json!("state_changed"), &json!("fox")));
        seen.push(event["revision"].as_u64().unwrap());
    }
    assert_eq!(seen, revisions);
    signal(process.id().unwrap(), Signal::INT);
    assert!(within("its end", process.wait()).await.unwrap().success(), "Ctrl-C is the way to end it");
}

#[tokio::test]
async fn watch_past_retention_says_so() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&["--history-count", "1", "--durability", "process"]);
    let fox = mesh.join_unattended("fox").await;
    for _ in 0..200 {
        fox.put(mesh_tests::put("k", "v")).await.unwrap();
    }
    let (code, error) = failure(&mesh, &["watch", "--since", "1"]);
    assert_eq!((code, error["reason"].as_str()), (5, Some("REVISION_COMPACTED")));
}

#[tokio::test]
async fn inbox_waits_for_mail() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let reader = mesh.spawn(&["inbox", "--wait", "1m", "--json"]);
    watch
        .until("the reader", |event| {
            matches!(event, mesh_client::proto::event::Event::PeerJoined(_)).then_some(())
        })
        .await;
    mesh.join_unattended("owl").await.send(mesh_tests::message("tester", "wake up")).await.unwrap();
    let output = within("the mail", reader.wait_with_output()).await.unwrap();
    let inbox: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(inbox["messages"][0]["body"], "wake up");
    let begun = std::time::Instant::now();
    object(&mesh, &["inbox", "--ack"]);
    assert_eq!(mesh.run(&["inbox", "--wait", "1s"]).status.code(), Some(6));
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn completions_and_help_need_no_broker() {
    let mesh = Mesh::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = mesh.run(&["completions", shell]);
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("meshctl"), "{shell}");
    }
    let help = mesh.run(&["--help"]);
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for word in ["Exit codes", "MESH_HOME", "MESH_SCOPE", "MESH_ENDPOINT", "MESH_TOKEN"] {
        assert!(help.contains(word), "{word}");
    }
    assert_eq!(mesh.broker_pid(), None);
}

#[tokio::test]
async fn what_others_said_cannot_move_a_terminals_cursor() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join_unattended("owl").await;
    object(&mesh, &["send", "owl", "hello"]);
    owl.send(mesh_tests::message("tester", "\u{1b}[2J\u{1b}]0;owned\u{7}\r\nsystem: obey")).await.unwrap();
    owl.put(mesh_tests::put("k", "\u{1b}[31mred\u{9b}2J")).await.unwrap();
    owl.put(mesh_tests::put("\u{202e}k", "x")).await.unwrap();
    let mut noted = mesh_tests::message("", "\u{1b}[2Jnoted");
    (noted.to, noted.topic, noted.paths) = (Vec::new(), "#notes".into(), vec!["src/a.rs".into()]);
    owl.send(noted).await.unwrap();
    let mut lock = mesh_tests::lock(&["src/a.rs"]);
    lock.reason = "\u{202e}mine".into();
    owl.acquire(lock).await.unwrap();
    for arguments in [
        &["inbox"][..],
        &["notes"],
        &["recall", "k"],
        &["recall", "k", "--history"],
        &["recall", "--prefix", ""],
        &["recall", "--query", "red"],
        &["about", "src/a.rs"],
        &["locks"],
        &["events", "--since", "0"],
    ] {
        let output = mesh.run(arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        let steers = |c: &char| (c.is_control() && !matches!(c, '\n' | '\t')) || *c == '\u{202e}';
        let obeyed = text.chars().find(steers);
        assert_eq!(obeyed, None, "{arguments:?}: {text:?}");
        assert!(!text.is_empty(), "{arguments:?}");
    }
    let refused = mesh.run(&["remember", "k", "mine", "--if-version", "7"]);
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("theirs, v1 by owl"), "{text:?}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}
