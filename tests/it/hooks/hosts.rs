//! Every host's own payloads through the process: start, prompt, a refused edit, news after a tool, stop.

use mesh_client::Session;
use mesh_tests::{lock, message};
use serde_json::{Value, json};

use super::seat::{Answer, Ground, Seat};

/// What a host sends at each point, and the events that its payloads do not name.
struct Sample {
    host: &'static str,
    /// Start, prompt, before an edit, after a read, stop, end: file of the sample, event on the command line.
    points: [Option<(&'static str, Option<&'static str>)>; 6],
    /// The name of the edited file below the checkout, as the sample has it.
    edits: &'static str,
    /// Whether news reach the model after a tool, and whether a turn goes on.
    tells: bool,
    goes_on: bool,
}

const fn at(file: &'static str) -> Option<(&'static str, Option<&'static str>)> {
    Some((file, None))
}

const fn named(file: &'static str, event: &'static str) -> Option<(&'static str, Option<&'static str>)> {
    Some((file, Some(event)))
}

const SAMPLES: [Sample; 9] = [
    Sample {
        host: "claude-code",
        points: [
            at("session-start-startup"),
            at("prompt"),
            at("pre-edit"),
            at("post-read"),
            at("stop"),
            at("session-end-other"),
        ],
        edits: "src/a.rs",
        tells: true,
        goes_on: true,
    },
    Sample {
        host: "codex",
        points: [
            at("session-start"),
            at("prompt"),
            at("pre-apply-patch"),
            at("post-bash"),
            at("stop"),
            at("session-end"),
        ],
        edits: "src/a.rs",
        tells: true,
        goes_on: true,
    },
    Sample {
        host: "cursor",
        points: [
            at("session-start"),
            at("before-submit-prompt"),
            at("pre-write"),
            at("post-read"),
            at("stop"),
            at("session-end"),
        ],
        edits: "src/a.ts",
        tells: true,
        goes_on: true,
    },
    Sample {
        host: "gemini",
        points: [
            at("session-start"),
            at("before-agent"),
            at("before-write-file"),
            at("after-read-file"),
            at("after-agent"),
            at("session-end"),
        ],
        edits: "src/a.rs",
        tells: true,
        goes_on: true,
    },
    Sample {
        host: "opencode",
        points: [
            at("created"),
            at("chat-message"),
            at("before-edit"),
            at("after-read"),
            at("idle"),
            at("deleted"),
        ],
        edits: "src/a.rs",
        tells: true,
        goes_on: true,
    },
    Sample {
        host: "vscode",
        points: [
            at("session-start"),
            at("prompt"),
            at("pre-edit-files"),
            at("post-read-file"),
            at("stop"),
            None,
        ],
        edits: "src/a.ts",
        tells: true,
        goes_on: true,
    },
    Sample {
        host: "copilot",
        points: [
            named("sessionStart", "sessionStart"),
            named("userPromptSubmitted", "userPromptSubmitted"),
            named("preToolUse.edit", "preToolUse"),
            named("postToolUse.view", "postToolUse"),
            named("agentStop", "agentStop"),
            named("sessionEnd", "sessionEnd"),
        ],
        edits: "src/a.rs",
        tells: false,
        goes_on: true,
    },
    Sample {
        host: "windsurf",
        points: [
            None,
            at("pre-user-prompt"),
            at("pre-write-code"),
            at("post-write-code"),
            at("post-cascade-response"),
            None,
        ],
        edits: "a.py",
        tells: false,
        goes_on: false,
    },
    Sample {
        host: "goose",
        points: [
            at("session-start"),
            at("prompt"),
            at("pre-edit"),
            at("post-text-editor-write"),
            at("stop"),
            at("session-end"),
        ],
        edits: "src/a.rs",
        tells: false,
        goes_on: true,
    },
];

/// The samples are of a checkout at `/p`.
fn moved(value: &mut Value, root: &str) {
    match value {
        Value::String(text) if text == "/p" || text.starts_with("/p/") => {
            text.replace_range(..2, root);
        }
        // A text of JSON, as arguments are for Copilot, or of a patch.
        Value::String(text) => *text = text.replace("\"/p/", &format!("\"{root}/")),
        Value::Array(items) => items.iter_mut().for_each(|item| moved(item, root)),
        Value::Object(members) => members.values_mut().for_each(|member| moved(member, root)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

async fn send(seat: &Seat, point: Option<(&str, Option<&str>)>) -> Option<Answer> {
    let (file, event) = point?;
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../cli/hook/tests/payloads");
    let text = std::fs::read_to_string(format!("{samples}/{}/{file}.json", seat.host)).unwrap();
    let mut payload: Value = serde_json::from_str(&text).unwrap();
    moved(&mut payload, &seat.cwd.to_string_lossy());
    // The samples are not of one session, and one is of a sub-agent.
    payload.as_object_mut().unwrap().remove("agent_id");
    for id in ["session_id", "sessionId", "sessionID", "conversation_id", "trajectory_id"] {
        if let Some(id) = payload.get_mut(id) {
            *id = json!(seat.session);
        }
    }
    let arguments: Vec<_> = std::iter::once(seat.host).chain(event).collect();
    let answer = seat.raw(&arguments, payload.to_string().as_bytes()).await;
    assert!(answer.code == Some(0) || seat.host == "windsurf", "{} {file}: {answer:?}", seat.host);
    Some(answer)
}

/// All that an answer says.
fn said(answer: &Answer) -> String {
    let json = if answer.json.is_null() { String::new() } else { answer.json.to_string() };
    json.replace("\\n", "\n").replace("\\\"", "\"") + &answer.stderr
}

fn is_quiet(answer: &Answer, host: &str) -> bool {
    answer.stderr.is_empty() && answer.json == if host == "cursor" { json!({}) } else { Value::Null }
}

async fn session(ground: &Ground, sample: &Sample) -> (Seat, Session, String) {
    let seat = Seat { process: None, ..ground.seat_of(sample.host, "app") };
    let start = send(&seat, sample.points[0]).await;
    if let Some(start) = &start {
        let told = said(start).contains("[mesh] you are ");
        assert_eq!(told, !matches!(sample.host, "copilot" | "goose"), "{}: {start:?}", sample.host);
    }
    let begun = send(&seat, sample.points[1]).await.unwrap();
    assert!(is_quiet(&begun, sample.host), "{}: {begun:?}", sample.host);
    let peer = ground.only(sample.host).await;
    (seat, ground.other("owl", "app").await, peer.name)
}

#[tokio::test]
async fn every_host_is_guarded_informed_and_released() {
    for sample in SAMPLES {
        let ground = Ground::new();
        let _broker = ground.mesh.serve(&[]);
        let (seat, owl, name) = session(&ground, &sample).await;
        owl.acquire(lock(&[sample.edits])).await.unwrap();
        let denied = send(&seat, sample.points[2]).await.unwrap();
        let reason = format!("{} is locked by owl", sample.edits);
        assert!(said(&denied).contains(&reason), "{}: {denied:?}", sample.host);
        assert_eq!(denied.code, Some(if sample.host == "windsurf" { 2 } else { 0 }));
        owl.release(vec![]).await.unwrap();
        let passed = send(&seat, sample.points[2]).await.unwrap();
        assert!(is_quiet(&passed, sample.host), "{}: {passed:?}", sample.host);
        assert!(ground.locked().await.contains(&(sample.edits.to_owned(), name.clone())), "{}", sample.host);
        owl.send(message(&name, "by the way")).await.unwrap();
        let after = send(&seat, sample.points[3]).await.unwrap();
        assert_eq!(said(&after).contains("> by the way"), sample.tells, "{}: {after:?}", sample.host);
        let stop = send(&seat, sample.points[4]).await.unwrap();
        let held = !sample.tells && sample.goes_on;
        assert_eq!(said(&stop).contains("> by the way"), held, "{}: {stop:?}", sample.host);
        let stop = send(&seat, sample.points[4]).await.unwrap();
        assert!(is_quiet(&stop, sample.host), "{}: {stop:?}", sample.host);
        assert_eq!(ground.locked().await, [], "{}", sample.host);
        // What could not be shown anywhere waits to be asked for.
        let shown = sample.tells || sample.goes_on;
        let receipts = owl.list_peers(Default::default()).await.unwrap();
        assert!(receipts.peers.iter().any(|peer| peer.name == name), "{}", sample.host);
        let unread = ground.unread(&name).await;
        assert_eq!(unread, u32::from(!shown), "{}", sample.host);
        if let Some(end) = send(&seat, sample.points[5]).await {
            assert!(is_quiet(&end, sample.host), "{}: {end:?}", sample.host);
            assert!(!super::seat::is_online(&ground.only(sample.host).await), "{}", sample.host);
        }
    }
}

#[tokio::test]
async fn every_host_gets_its_least_answer_when_there_is_nothing_to_say() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    for sample in SAMPLES {
        let mut seat = Seat { process: None, ..ground.seat_of(sample.host, "app") };
        for input in ["", "{", "[]", "null", "\u{0}\u{1}", "{\"session_id\": 7}"] {
            let answer = seat.raw(&[sample.host], input.as_bytes()).await;
            let json = if sample.host == "cursor" { json!({}) } else { Value::Null };
            assert_eq!((answer.code, &answer.json), (Some(0), &json), "{} {input:?}", sample.host);
            assert!(answer.stderr.starts_with("meshctl hook: "), "{} {input:?}: {answer:?}", sample.host);
        }
        seat.env.push(("MESH_HOOKS", "off".into()));
        for point in sample.points {
            if let Some(answer) = send(&seat, point).await {
                assert!(is_quiet(&answer, sample.host), "{}: {answer:?}", sample.host);
            }
        }
    }
    assert_eq!(ground.peers().await, []);
}
