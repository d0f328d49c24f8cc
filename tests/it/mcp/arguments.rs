//! Bad arguments of every tool: a failure that the model can read and act on, no change, and an adapter that goes on.

use mesh_client::proto::GetStatusRequest;
use mesh_tests::Mesh;
use serde_json::{Value, json};

use super::agent::{Agent, Era};

/// Longest failure, footer aside.
const LONGEST: usize = 1_600;

/// A call, and what its failure must say.
type Case = (&'static str, Value, &'static str);

/// A text longer than the longest that any argument may have.
fn huge() -> String {
    "x".repeat(65_537)
}

fn many(number: usize) -> Value {
    (0..number).map(|n| format!("item-{n}")).collect::<Vec<_>>().into()
}

async fn revision(mesh: &Mesh) -> u64 {
    let status = mesh.client().admin().get_status(GetStatusRequest {}).await.unwrap().into_inner();
    status.header.unwrap().revision
}

/// Makes the calls in a mesh with two agents, where each must fail as said and nothing may change.
async fn all_fail(era: Era, cases: Vec<Case>) {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut fox = Agent::named(&mesh, era, "fox").await;
    let _owl = mesh.join("owl").await;
    let before = revision(&mesh).await;
    for (tool, arguments, told) in cases {
        let shown = arguments.to_string().chars().take(200).collect::<String>();
        let text = fox.call(tool, arguments).await.refused();
        assert!(text.contains(told), "{tool} {shown}\n{text}");
        let strange = |c: char| c.is_control() && c != '\n';
        assert!(text.len() <= LONGEST && !text.contains(strange), "{tool} {shown}\n{text:?}");
        assert_eq!(revision(&mesh).await, before, "{tool} {shown}\n{text}");
    }
    let status = fox.call("mesh_status", json!({})).await.done();
    assert!(status.contains("you are fox in ") && status.contains("locks: none"), "{status}");
    assert_eq!(fox.close().await.code(), Some(0));
}

fn of_presence() -> Vec<Case> {
    let name = "1 to 64 bytes of a-z, 0-9, `.`, `_`, `-`";
    vec![
        ("mesh_checkin", json!({"focus": ["a"]}), "focus: expected a text. Nothing was done"),
        ("mesh_checkin", json!({"focus": "a\u{1b}[2Jb"}), "focus holds a control character"),
        ("mesh_checkin", json!({"files": 7}), "files: expected a list of texts"),
        ("mesh_checkin", json!({"files": ["a", null]}), "files: expected a list of texts"),
        ("mesh_checkin", json!({"files": ["../x"]}), "name a path inside it"),
        ("mesh_checkin", json!({"files": ["/etc/passwd"]}), "name a path inside it"),
        ("mesh_checkin", json!({"files": many(101)}), "at most 100 are allowed"),
        ("mesh_checkin", json!({"branch": "b".repeat(257)}), "at most 256 are allowed"),
        ("mesh_checkin", json!({"branch": "a\nb"}), "branch holds a control character"),
        ("mesh_checkin", json!({"branch": {"a": 1}}), "branch: expected a text"),
        ("mesh_checkin", json!({"name": "../x"}), name),
        ("mesh_checkin", json!({"name": "n".repeat(65)}), name),
        ("mesh_checkin", json!({"name": "f\u{7}x"}), name),
        ("mesh_checkin", json!({"name": true}), "name: expected a text"),
        ("mesh_checkin", json!({"name": "owl"}), "owl"),
        ("mesh_checkin", json!({"name": "elk", "files": ["../x"]}), "name a path inside it"),
        ("mesh_who", json!({"scope": ["a"]}), "scope: expected a text"),
        ("mesh_who", json!({"scope": "../x"}), "scope has an empty, `.` or `..` segment"),
        ("mesh_who", json!({"scope": "a b"}), "scope may hold only"),
    ]
}

fn of_mail() -> Vec<Case> {
    let unknown = "there is no message";
    let number = "expected a whole number";
    vec![
        ("mesh_send", json!({}), "body: say what to send"),
        ("mesh_send", json!({"to": "owl"}), "body: say what to send"),
        ("mesh_send", json!({"body": "x"}), "to: name an agent (mesh_who lists them), #topic, or * for all"),
        (
            "mesh_send",
            json!({"to": "nobody", "body": "x"}),
            "no agent named nobody is known here. Online: owl",
        ),
        ("mesh_send", json!({"to": ["owl", "nobody"], "body": "x"}), "not sent: no agent named nobody"),
        ("mesh_send", json!({"to": "fox", "body": "x"}), "fox is you. Next: mesh_who"),
        ("mesh_send", json!({"to": 7, "body": "x"}), "to: expected a list of texts"),
        ("mesh_send", json!({"to": "../x", "body": "x"}), "to must be 1 to 64 bytes"),
        ("mesh_send", json!({"to": "o\u{0}l", "body": "x"}), "to must be 1 to 64 bytes"),
        ("mesh_send", json!({"to": many(33), "body": "x"}), "more than 32 peers"),
        ("mesh_send", json!({"to": "*", "body": huge()}), "body must be 1 to 65536 bytes"),
        ("mesh_send", json!({"to": "*", "body": {"a": 1}}), "body: expected a text"),
        ("mesh_send", json!({"to": "*", "body": "x", "intent": "order"}), "intent: inform, request or ack"),
        ("mesh_send", json!({"to": "*", "body": "x", "urgent": "maybe"}), "urgent: expected true or false"),
        ("mesh_send", json!({"to": "#a, owl", "body": "x"}), "to: a message goes to one topic, or to names"),
        ("mesh_send", json!({"to": "#a, #b", "body": "x"}), "to: a message goes to one topic, or to names"),
        ("mesh_send", json!({"to": "#a b", "body": "x"}), "topic"),
        ("mesh_send", json!({"to": "owl", "body": "x", "wait_reply_seconds": "long"}), number),
        ("mesh_send", json!({"to": "*", "body": "x", "reply_to": 1}), unknown),
        ("mesh_send", json!({"to": "*", "body": "x", "reply_to": 99}), unknown),
        ("mesh_send", json!({"to": "*", "body": "x", "reply_to": u64::MAX}), unknown),
        ("mesh_send", json!({"to": "*", "body": "x", "reply_to": -1}), unknown),
        ("mesh_send", json!({"to": "*", "body": "x", "reply_to": "the last"}), unknown),
        ("mesh_inbox", json!({"after": "soon"}), number),
        ("mesh_inbox", json!({"after": -1}), number),
        ("mesh_inbox", json!({"after": u64::MAX}), "but the newest revision is"),
        ("mesh_inbox", json!({"ack": [1]}), "ack: expected true or false"),
        ("mesh_inbox", json!({"ack": -1}), "ack: expected true or false"),
        ("mesh_inbox", json!({"ack": 999_999}), "but the newest revision is"),
        ("mesh_inbox", json!({"topic": "#a b"}), "topic"),
        ("mesh_inbox", json!({"topic": ["#a"]}), "topic: expected a text"),
        ("mesh_inbox", json!({"topic": 999_999}), "message 999999 was not shown to you"),
        ("mesh_inbox", json!({"limit": -1}), number),
        ("mesh_inbox", json!({"limit": 1e300}), number),
        ("mesh_inbox", json!({"wait_seconds": -5}), number),
        ("mesh_inbox", json!({"wait_seconds": 1.5}), number),
    ]
}

#[tokio::test]
async fn bad_arguments_of_presence_and_mail_change_nothing() {
    all_fail(Era::Legacy, [of_presence(), of_mail()].concat()).await;
}

fn of_memory() -> Vec<Case> {
    let with = |name: &str, value: Value| {
        let mut arguments = json!({"key": "k", "value": "v"});
        arguments[name] = value;
        arguments
    };
    let ttl = "ttl must be from 1 s to 31536000 s";
    vec![
        ("mesh_remember", json!({}), "key: name what to remember"),
        ("mesh_remember", json!({"value": "v"}), "key: name what to remember"),
        ("mesh_remember", json!({"key": "k"}), "value: say what to remember"),
        ("mesh_remember", with("key", json!(["k"])), "key: expected a text"),
        ("mesh_remember", with("key", json!("k\u{0}")), "key holds a control character"),
        ("mesh_remember", with("key", json!("k".repeat(513))), "at most 512 are allowed"),
        ("mesh_remember", with("value", json!(huge())), "at most 65536 are allowed"),
        ("mesh_remember", with("version", json!(-1)), "version: expected a whole number"),
        ("mesh_remember", with("version", json!(7)), "not written: there is nothing under k. Next: "),
        ("mesh_remember", with("version", json!(u64::MAX)), "not written: there is nothing under k. Next: "),
        ("mesh_remember", with("ttl_seconds", json!(0)), ttl),
        ("mesh_remember", with("ttl_seconds", json!(31_536_001)), ttl),
        ("mesh_remember", with("ttl_seconds", json!(u64::MAX)), ttl),
        ("mesh_remember", with("ttl_seconds", json!(-1)), "ttl_seconds: expected a whole number"),
        ("mesh_remember", with("scope", json!("a b")), "scope may hold only"),
        (
            "mesh_remember",
            with("scope", json!("another/place")),
            "fox may write to its own scope and to `global`",
        ),
        ("mesh_remember", with("paths", json!(["../x"])), "name a path inside it"),
        ("mesh_remember", with("paths", json!(["/etc/passwd"])), "name a path inside it"),
        ("mesh_remember", with("paths", json!({"a": 1})), "paths: expected a list of texts"),
        ("mesh_remember", with("paths", many(33)), "at most 32 are allowed"),
        ("mesh_remember", with("tags", json!([1])), "tags: expected a list of texts"),
        ("mesh_remember", with("tags", json!(["t".repeat(65)])), "at most 64 are allowed"),
        ("mesh_remember", with("tags", many(17)), "at most 16 are allowed"),
        ("mesh_recall", json!({"key": {"a": 1}}), "key: expected a text"),
        ("mesh_recall", json!({"key": "k".repeat(513)}), "at most 512 are allowed"),
        ("mesh_recall", json!({"prefix": "k".repeat(513)}), "at most 512 are allowed"),
        ("mesh_recall", json!({"key": "k", "versions": 3}), "versions: expected true or false"),
        ("mesh_recall", json!({"tag": 3}), "tag: expected a list of texts"),
        ("mesh_recall", json!({"query": huge()}), "query must be 1 to 512 bytes"),
        ("mesh_recall", json!({"path": "../x"}), "name a path inside it"),
        ("mesh_recall", json!({"path": "/etc/passwd"}), "name a path inside it"),
        ("mesh_recall", json!({"path": ["a"]}), "path: expected a text"),
        ("mesh_recall", json!({"scope": "../x"}), "scope has an empty, `.` or `..` segment"),
    ]
}

#[tokio::test]
async fn bad_arguments_of_memory_change_nothing() {
    all_fail(Era::Modern, of_memory()).await;
}

fn of_locks() -> Vec<Case> {
    let with = |name: &str, value: Value| {
        let mut arguments = json!({"paths": ["a"]});
        arguments[name] = value;
        arguments
    };
    let ttl = "ttl must be from 1 s to 86400 s";
    vec![
        ("mesh_lock", json!({}), "paths: name the files or directories (src/) to lock"),
        ("mesh_lock", json!({"paths": []}), "paths: name the files or directories"),
        ("mesh_lock", json!({"paths": 1}), "paths: expected a list of texts"),
        ("mesh_lock", json!({"paths": ["a", {"b": 1}]}), "paths: expected a list of texts"),
        ("mesh_lock", json!({"paths": "../x"}), "name a path inside it"),
        ("mesh_lock", json!({"paths": ["a", "b/../../x"]}), "name a path inside it"),
        ("mesh_lock", json!({"paths": ["a", "/etc/passwd"]}), "name a path inside it"),
        ("mesh_lock", json!({"paths": ["a", "a\u{1b}[2Jb"]}), "holds a control character"),
        ("mesh_lock", json!({"paths": ["a\nb"]}), "holds a control character"),
        ("mesh_lock", json!({"paths": ["a\u{0}b"]}), "holds a control character"),
        ("mesh_lock", json!({"paths": ["a\\b"]}), "paths are separated by `/`"),
        ("mesh_lock", json!({"paths": ["../*.rs"]}), "name a path inside it"),
        ("mesh_lock", json!({"paths": ["/etc/*#x"]}), "name a path inside it"),
        ("mesh_lock", json!({"paths": ["task:"]}), "names no subject after the colon"),
        ("mesh_lock", with("ask", json!(7)), "ask: expected true or false"),
        ("mesh_lock", with("contract", json!("x")), "contract: it goes with one subject"),
        (
            "mesh_lock",
            json!({"paths": ["api:a"], "shared": true, "contract": "x"}),
            "contract: it goes with one subject",
        ),
        ("mesh_lock", json!({"paths": ["p".repeat(1_025)]}), "longer than 1,024 bytes"),
        ("mesh_lock", json!({"paths": many(101)}), "at most 100 are allowed"),
        ("mesh_lock", with("ttl_seconds", json!(0)), ttl),
        ("mesh_lock", with("ttl_seconds", json!(86_401)), ttl),
        ("mesh_lock", with("ttl_seconds", json!(u64::MAX)), ttl),
        ("mesh_lock", with("ttl_seconds", json!(-1)), "ttl_seconds: expected a whole number"),
        ("mesh_lock", with("ttl_seconds", json!("long")), "ttl_seconds: expected a whole number"),
        ("mesh_lock", with("wait_seconds", json!(-1)), "wait_seconds: expected a whole number"),
        ("mesh_lock", with("shared", json!(3)), "shared: expected true or false"),
        ("mesh_lock", with("reason", json!({"a": 1})), "reason: expected a text"),
        ("mesh_lock", with("reason", json!("a\u{1b}b")), "reason holds a control character"),
        (
            "mesh_unlock",
            json!({"paths": ["never"]}),
            "nothing unlocked: you hold no lock on never. You hold no locks",
        ),
        ("mesh_unlock", json!({"paths": ["../x"]}), "name a path inside it"),
        ("mesh_unlock", json!({"paths": 5}), "paths: expected a list of texts"),
        ("mesh_unlock", json!({"keep": ["a"]}), "paths: name the locks to narrow. Nothing was unlocked"),
        ("mesh_unlock", json!({"paths": ["a"], "keep": 5}), "keep: expected a list of texts"),
        ("mesh_unlock", json!({"note": {"a": 1}}), "note: expected a text"),
        ("mesh_unlock", json!({"colour": "a"}), "colour: is none of paths, keep, note. Nothing was unlocked"),
        ("mesh_locks", json!({"path": "../x"}), "name a path inside it"),
        ("mesh_locks", json!({"path": 5}), "path: expected a list of texts"),
    ]
}

fn of_the_log() -> Vec<Case> {
    vec![
        ("mesh_events", json!({"after": "x"}), "after: expected a whole number"),
        ("mesh_events", json!({"after": -1}), "after: expected a whole number"),
        ("mesh_events", json!({"after": u64::MAX}), "after: no event has come that far yet"),
        ("mesh_events", json!({"types": ["nope"]}), "types: nope is none. Known: peer_joined, "),
        ("mesh_events", json!({"types": 5}), "types: expected a list of texts"),
        ("mesh_events", json!({"until": "soon"}), "until: \"soon\" is none. Write one of: key K, "),
        ("mesh_events", json!({"until": {"key": "k"}}), "until: expected a list of texts"),
        ("mesh_events", json!({"until": "reply 7"}), "you sent no message 7"),
        ("mesh_events", json!({"until": "free ../x"}), "name a path inside it"),
        ("mesh_events", json!({"limit": -1}), "limit: expected a whole number"),
        ("mesh_events", json!({"wait_seconds": "x"}), "wait_seconds: expected a whole number"),
    ]
}

#[tokio::test]
async fn bad_arguments_of_locks_and_the_log_change_nothing() {
    all_fail(Era::Legacy, [of_locks(), of_the_log()].concat()).await;
}

#[tokio::test]
async fn what_is_meant_beyond_doubt_is_taken() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut fox = Agent::named(&mesh, Era::Modern, "fox").await;
    let _owl = mesh.join("owl").await;
    for (tool, arguments, told) in [
        ("mesh_status", json!({"verbose": true}), "you are fox"),
        ("mesh_checkin", json!({"focus": "x".repeat(70_000)}), "you are fox"),
        ("mesh_inbox", json!({"limit": u64::MAX}), "no mail"),
        ("mesh_inbox", json!({"limit": 0, "after": null}), "no mail"),
        ("mesh_send", json!({"to": "@Owl", "body": 7}), "queued for owl (online)"),
        ("mesh_remember", json!({"key": "k", "value": {"a": [1]}, "version": "0"}), "remembered k version 1"),
        ("mesh_remember", json!({"key": "nothing", "value": ""}), "there was nothing under nothing"),
        ("mesh_lock", json!({"paths": "[\"src/**\", \"a\"]", "ttl_seconds": "60"}), "locked src/, a for 60s"),
        ("mesh_lock", json!({"file": "b, c", "wait": 0}), "locked b, c for 30m"),
        ("mesh_unlock", json!({"path": "b"}), "unlocked b; you still hold a ("),
        ("mesh_events", json!({"limit": 0, "types": "file_locked"}), "file_locked"),
    ] {
        let text = fox.call(tool, arguments).await.done();
        assert!(text.contains(told), "{tool}: {text}");
    }
}
