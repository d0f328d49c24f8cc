//! What a broker that lies makes an agent hear: through each tool, the inbox, each hook and each way of waking.

use std::process::Stdio;
use std::time::Duration;

use mesh_client::ErrorReason;
use mesh_tests::hostile::{Lie, LyingBroker, unquoted};
use rmcp::model::ClientCapabilities;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::{faults_of_home, none};
use crate::hooks::seat::{Answer, Ground, Seat};
use crate::mcp::agent::{Agent, Era};
use crate::mcp::host::{Host, Note};

/// How long a process that waits for mail is listened to: a lying broker lets none wait long.
const LISTEN: Duration = Duration::from_secs(2);

/// Every tool, in each way that shows something else.
pub(super) fn calls() -> Vec<(&'static str, Value)> {
    vec![
        ("mesh_checkin", json!({"focus": "work", "files": ["src/a.rs"], "branch": "b"})),
        ("mesh_status", json!({})),
        ("mesh_who", json!({})),
        ("mesh_who", json!({"scope": "*"})),
        ("mesh_locks", json!({})),
        ("mesh_locks", json!({"path": "src/a.rs"})),
        ("mesh_inbox", json!({"after": 0})),
        ("mesh_inbox", json!({"wait_seconds": 1})),
        ("mesh_inbox", json!({"topic": "+#deploys"})),
        ("mesh_inbox", json!({"topic": "#deploys"})),
        ("mesh_inbox", json!({"topic": "-#deploys"})),
        ("mesh_inbox", json!({"ack": true})),
        ("mesh_send", json!({"to": "owl", "body": "hi", "intent": "request", "urgent": true})),
        ("mesh_send", json!({"to": "*", "body": "hi"})),
        ("mesh_send", json!({"to": "#deploys", "body": "hi"})),
        ("mesh_send", json!({"to": "owl", "body": "hi", "reply_to": 7})),
        ("mesh_send", json!({"to": "owl", "body": "hi", "wait_reply_seconds": 1})),
        ("mesh_recall", json!({})),
        ("mesh_recall", json!({"key": "k"})),
        ("mesh_recall", json!({"key": "k", "versions": true})),
        ("mesh_recall", json!({"prefix": ""})),
        ("mesh_recall", json!({"tag": "t"})),
        ("mesh_recall", json!({"query": "words"})),
        ("mesh_recall", json!({"path": "src/a.rs"})),
        ("mesh_recall", json!({"path": "src/", "scope": "global"})),
        ("mesh_remember", json!({"key": "k", "value": "v", "paths": ["src/"], "tags": ["t"]})),
        ("mesh_remember", json!({"key": "k", "value": ""})),
        ("mesh_lock", json!({"paths": ["src/a.rs"], "reason": "r"})),
        ("mesh_lock", json!({"paths": ["src/"], "wait_seconds": 1, "ask": true})),
        ("mesh_lock", json!({"paths": ["api:billing"], "contract": "charge()"})),
        ("mesh_lock", json!({"paths": ["src/b.rs"], "shared": true})),
        ("mesh_unlock", json!({"paths": ["src/a.rs"], "note": "n"})),
        ("mesh_unlock", json!({"keep": ["src/b.rs"]})),
        ("mesh_unlock", json!({})),
        ("mesh_events", json!({})),
        ("mesh_events", json!({"after": 1})),
        ("mesh_events", json!({"after": 1, "types": ["file_locked", "message_sent"]})),
        ("mesh_events", json!({"until": "key k", "wait_seconds": 1})),
        ("mesh_events", json!({"until": "key k = v", "wait_seconds": 1})),
        ("mesh_events", json!({"until": "free src/a.rs", "wait_seconds": 1})),
        ("mesh_events", json!({"until": "peer owl gone", "wait_seconds": 1})),
        ("mesh_events", json!({"until": "reply 7", "wait_seconds": 1})),
        ("mesh_checkout", json!({})),
    ]
}

/// Every text in a value, and every name of a field.
pub(super) fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(all) => all.iter().flat_map(texts).collect(),
        Value::Object(all) => {
            all.iter().flat_map(|(name, value)| [vec![name.as_str()], texts(value)].concat()).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => vec![],
    }
}

/// What is wrong with a value that an agent or its host is given.
pub(super) fn faults_of(what: &str, told: &Value) -> Vec<String> {
    texts(told).into_iter().flat_map(unquoted).map(|fault| format!("{what}: {fault}")).collect()
}

/// Runs every tool, and reads the inbox; what is wrong with the answers.
pub(super) async fn faults_of_tools(agent: &mut Agent, why: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (tool, arguments) in calls() {
        let response = agent.ask("tools/call", json!({"name": tool, "arguments": arguments})).await;
        faults.extend(faults_of(&format!("{why}: {tool} {arguments}"), &response));
    }
    let inbox = agent.ask("resources/read", json!({"uri": "mesh://inbox"})).await;
    faults.extend(faults_of(&format!("{why}: the inbox"), &inbox));
    faults
}

/// What is wrong with the answer of a hook.
fn faults_of_hook(what: &str, answer: &Answer) -> Vec<String> {
    let mut faults = faults_of(what, &answer.json);
    faults.extend(unquoted(&answer.stderr).into_iter().map(|fault| format!("{what}, stderr: {fault}")));
    if !matches!(answer.code, Some(0 | 2)) || answer.stderr.contains("panicked") {
        faults.push(format!("{what}: {:?} {}", answer.code, answer.stderr));
    }
    faults
}

/// Runs each hook of a session once; what is wrong with what they say, and how much they say.
pub(super) async fn faults_of_hooks(seat: &Seat, why: &str) -> (Vec<String>, usize) {
    let edit = json!({"file_path": seat.cwd.join("src/a.rs"), "old_string": "one", "new_string": "two"});
    let read = json!({"file_path": seat.cwd.join("src/a.rs")});
    let tool =
        |name: &str, input: &Value| json!({"tool_name": name, "tool_input": input, "tool_use_id": "t1"});
    let bash = |command: &str| tool("Bash", &json!({"command": command}));
    let hooks = [
        ("SessionStart", json!({"source": "startup", "model": "m"})),
        ("UserPromptSubmit", json!({"prompt": "do it"})),
        ("PostToolUse", tool("Read", &read)),
        ("PreToolUse", tool("Edit", &edit)),
        ("PostToolUse", tool("Edit", &edit)),
        ("PreToolUse", bash("git checkout -f main")),
        ("PreToolUse", bash("git stash")),
        ("PreToolUse", bash("echo x > src/b.rs")),
        ("PostToolUse", bash("git checkout -f main")),
        ("SubagentStart", json!({"agent_id": "1", "agent_type": "t"})),
        ("SubagentStop", json!({"agent_id": "1", "agent_type": "t"})),
        ("SessionStart", json!({"source": "compact", "model": "m"})),
        ("Stop", json!({"stop_hook_active": false, "last_assistant_message": "done"})),
        ("Stop", json!({"stop_hook_active": true, "last_assistant_message": "done"})),
    ];
    let (mut faults, mut said) = (Vec::new(), 0);
    for (event, more) in hooks {
        let answer = seat.any_hook(event, more.clone()).await;
        said += usize::from(!answer.json.is_null());
        faults.extend(faults_of_hook(&format!("{why}: {} {event} {more}", seat.host), &answer));
    }
    (faults, said)
}

/// What a process that waits beside an idle session says while it is listened to.
pub(super) async fn said_by_waiter(seat: &Seat, way: &str) -> String {
    let mut command = tokio::process::Command::from(seat.command(&["hook", seat.host, way]));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let payload = seat.payload("Stop", json!({})).to_string();
    child.stdin.take().unwrap().write_all(payload.as_bytes()).await.unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let both = async { tokio::join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err)) };
    // A monitor does not end by itself; what it has said until then counts.
    _ = tokio::time::timeout(LISTEN, both).await;
    String::from_utf8([out, b"\n".to_vec(), err].concat()).unwrap()
}

/// A session of a host, on a broker that lies.
fn seat_of(ground: &Ground, broker: &LyingBroker, host: &'static str) -> Seat {
    let mut seat = ground.seat_of(host, "app");
    seat.env.push(("MESH_ENDPOINT", broker.endpoint().into()));
    seat.env.push(("MESH_TOKEN", "a".repeat(64).into()));
    seat
}

/// An adapter process on a broker that lies.
fn adapter(ground: &Ground, broker: &LyingBroker, arguments: &[&str]) -> std::process::Command {
    let mut command = ground.mesh.meshctl(&[&["mcp"], arguments].concat());
    command.env("MESH_ENDPOINT", broker.endpoint()).env("MESH_TOKEN", "a".repeat(64));
    command
}

#[tokio::test]
async fn what_a_broker_answers_is_data_in_every_tool() {
    let mut faults = Vec::new();
    for (variant, era) in [(0, Era::Legacy), (1, Era::Modern), (2, Era::Modern), (3, Era::Modern)] {
        let broker = LyingBroker::start(Lie::Answer(variant)).await;
        let ground = Ground::new();
        let mut agent = Agent::spawn(adapter(&ground, &broker, &[]), era).await;
        faults.extend(faults_of_tools(&mut agent, &format!("answer {variant}")).await);
        assert!(broker.calls() > calls().len() / 2, "the tools do not reach the broker");
        faults.extend(faults_of_home(&ground.mesh));
    }
    none(&faults);
}

/// What is wrong with what tools say when they are refused for a reason: with one tool in six, by turns.
async fn faults_of_refusals(reason: i32) -> Vec<String> {
    let broker = LyingBroker::start(Lie::Refuse(reason)).await;
    let ground = Ground::new();
    let mut agent = Agent::spawn(adapter(&ground, &broker, &[]), Era::Modern).await;
    let mut faults = Vec::new();
    let first = usize::try_from(reason).unwrap_or_default() % 6;
    for (tool, arguments) in calls().into_iter().skip(first).step_by(6) {
        let response = agent.ask("tools/call", json!({"name": tool, "arguments": arguments})).await;
        faults.extend(faults_of(&format!("refused for {reason}: {tool} {arguments}"), &response));
    }
    assert!(broker.calls() > 0, "the tools do not reach the broker");
    faults
}

#[tokio::test]
async fn how_a_broker_refuses_is_data_in_every_tool() {
    let reasons: Vec<i32> = (0..64).take_while(|&reason| ErrorReason::try_from(reason).is_ok()).collect();
    let mut found = Vec::new();
    // A few at a time: some refusals are waited out.
    for some in reasons.chunks(6) {
        let asked: JoinSet<_> = some.iter().copied().map(faults_of_refusals).collect();
        found.extend(asked.join_all().await.into_iter().flatten());
    }
    none(&found);
}

#[tokio::test]
async fn what_a_broker_says_is_data_in_every_hook() {
    let mut faults = Vec::new();
    let refusals = [ErrorReason::LimitReached, ErrorReason::SessionExpired, ErrorReason::Unspecified]
        .map(|reason| Lie::Refuse(reason.into()));
    let lies = [0, 1, 2, 3].map(Lie::Answer);
    for lie in lies.into_iter().chain(refusals) {
        let broker = LyingBroker::start(lie).await;
        let ground = Ground::new();
        let seat = seat_of(&ground, &broker, "claude-code");
        let (found, said) = faults_of_hooks(&seat, &format!("{lie:?}")).await;
        faults.extend(found);
        assert!(said > 0, "no hook says anything of {lie:?}");
        faults.extend(faults_of_home(&ground.mesh));
    }
    none(&faults);
}

#[tokio::test]
async fn a_wake_by_a_broker_that_lies_is_data() {
    let (mut faults, mut woken) = (Vec::new(), 0);
    for variant in 0..4 {
        let broker = LyingBroker::start(Lie::Answer(variant)).await;
        for way in ["wait", "monitor"] {
            let ground = Ground::new();
            let seat = seat_of(&ground, &broker, "claude-code");
            for (event, more) in [
                ("SessionStart", json!({"source": "startup", "model": "m"})),
                ("UserPromptSubmit", json!({"prompt": "do it"})),
                ("Stop", json!({"stop_hook_active": true, "last_assistant_message": "done"})),
            ] {
                seat.any_hook(event, more).await;
            }
            let said = said_by_waiter(&seat, way).await;
            woken += usize::from(said.contains("FORGED"));
            faults.extend(
                unquoted(&said).into_iter().map(|fault| format!("{way} of answer {variant}: {fault}")),
            );
        }
        let ground = Ground::new();
        let command = adapter(&ground, &broker, &["--push", "channel"]);
        let mut host = Host::start(command, Era::Legacy, "test-host", ClientCapabilities::default()).await;
        host.ask("mesh_checkin", &json!({})).await;
        let notes = async {
            while let Note::Custom(_, params) = host.note().await {
                woken += usize::from(params.to_string().contains("FORGED"));
                faults.extend(faults_of(&format!("a channel of answer {variant}"), &params));
            }
        };
        _ = tokio::time::timeout(LISTEN, notes).await;
    }
    none(&faults);
    assert!(woken > 0, "nobody is woken");
}
