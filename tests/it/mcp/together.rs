//! What agents settle between them through the adapter alone: conflicts, locks, questions, and waiting.

use mesh_client::proto::{ListLockWaitersRequest, Touch, TouchFilesRequest, TouchKind};
use mesh_tests::{Mesh, follow, message, within};
use serde_json::{Value, json};

use super::agent::{Agent, Era};

/// A call that is sent, but not waited for.
async fn begin(agent: &mut Agent, tool: &str, arguments: Value) -> u64 {
    agent.send("tools/call", json!({"name": tool, "arguments": arguments})).await
}

/// The text of its answer, and whether it failed.
async fn end(agent: &mut Agent, call: u64) -> (bool, String) {
    let result = agent.response(call).await["result"].take();
    (result["isError"] == json!(true), result["content"][0]["text"].as_str().unwrap().to_owned())
}

/// Waits until that many requests are in the queue.
async fn queued(mesh: &Mesh, number: usize) {
    let (scope, path) = (mesh_tests::SCOPE.to_owned(), String::new());
    let request = ListLockWaitersRequest { scope, path };
    within("requests in the queue", async {
        while mesh
            .client()
            .locks()
            .list_lock_waiters(request.clone())
            .await
            .unwrap()
            .into_inner()
            .waiters
            .len()
            != number
        {}
    })
    .await;
}

/// Calls a harmless tool until its answer tells this.
async fn told(agent: &mut Agent, part: &str) -> String {
    within(part, async {
        loop {
            let text = agent.call("mesh_locks", json!({})).await.done();
            if text.contains(part) {
                return text;
            }
        }
    })
    .await
}

#[track_caller]
fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

/// Two agents that have checked in, in a mesh with a broker.
async fn two(mesh: &Mesh) -> (Agent, Agent) {
    (Agent::named(mesh, Era::Modern, "fox").await, Agent::named(mesh, Era::Legacy, "owl").await)
}

#[tokio::test]
async fn a_conflict_is_merged_in_one_retry() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (mut fox, mut owl) = two(&mesh).await;
    let note = |value: &str| json!({"key": "plan", "value": value});
    let first = json!({"key": "plan", "value": "tabs\nred", "paths": ["src/"], "tags": ["style"]});
    fox.call("mesh_remember", first).await.done();
    owl.call("mesh_recall", json!({"key": "plan"})).await.done();
    owl.call("mesh_remember", note("tabs\nblue")).await.done();
    let conflict = fox.call("mesh_remember", note("spaces\nred")).await.refused();
    assert_holds(
        &conflict,
        &[
            "not written: plan is at version 2 by owl, ",
            "\nbase, version 1 by fox:\n> tabs\n> red\ntheirs:\n> tabs\n> blue\nyours:\n> spaces\n> red\n",
            "Next: merge, then mesh_remember {key: plan, value: what you merged}",
        ],
    );
    let merged = fox.call("mesh_remember", note("spaces\nblue")).await.done();
    assert_eq!(merged, "remembered plan version 3");
    // Labels that nobody named are still there.
    let found = owl.call("mesh_recall", json!({"tag": "style"})).await.done();
    assert_holds(&found, &["plan version 3 by fox, ", "about src/, tags style:\n> spaces\n> blue"]);
    let history = owl.call("mesh_recall", json!({"key": "plan", "versions": true})).await.done();
    assert_holds(&history, &["version 3 by fox", "version 2 by owl", "version 1 by fox"]);
    // Who has not read it cannot forget it unseen, and can once it is shown.
    let mut elk = Agent::named(&mesh, Era::Modern, "elk").await;
    let unseen = elk.call("mesh_remember", note("")).await.refused();
    assert_holds(&unseen, &["which you had not read\ntheirs:\n> spaces\n> blue\nyours: forget it\nNext: "]);
    assert_eq!(elk.call("mesh_remember", note("")).await.done(), "forgot plan");
}

#[tokio::test]
async fn a_value_that_was_shown_in_part_is_not_overwritten_until_all_of_it_was_read() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (mut fox, mut owl) = two(&mesh).await;
    let note = |letter: &str| json!({"key": "plan", "value": letter.repeat(30_000)});
    fox.call("mesh_remember", note("a")).await.done();
    owl.call("mesh_recall", json!({"key": "plan"})).await.done();
    owl.call("mesh_remember", note("b")).await.done();
    let conflict = fox.call("mesh_remember", note("c")).await.refused();
    assert!(conflict.len() < 8_500, "{}", conflict.len());
    assert_holds(
        &conflict,
        &[
            "by fox:\n> aaa",
            "theirs:\n> bbb",
            "yours:\n> ccc",
            "Next: mesh_recall {key: plan} for all of theirs, merge",
        ],
    );
    fox.call("mesh_remember", note("d")).await.refused();
    // Nor does a list show all of it.
    assert_holds(
        &fox.call("mesh_recall", json!({"prefix": "pl"})).await.done(),
        &["cut; whole: mesh_recall"],
    );
    fox.call("mesh_remember", note("d")).await.refused();
    fox.call("mesh_recall", json!({"key": "plan"})).await.done();
    assert_eq!(fox.call("mesh_remember", note("d")).await.done(), "remembered plan version 3");
}

#[tokio::test]
async fn a_lock_is_handed_over_to_whoever_waits() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (mut fox, mut owl) = two(&mesh).await;
    fox.call("mesh_lock", json!({"paths": ["src/**/*.rs"], "reason": "sweep"})).await.done();
    let wait = json!({"paths": ["src/auth.rs#login"], "reason": "fix", "wait_seconds": 50});
    let wait = begin(&mut owl, "mesh_lock", wait).await;
    queued(&mesh, 1).await;
    let locks = fox.call("mesh_locks", json!({"path": "src/auth.rs"})).await.done();
    assert_holds(
        &locks,
        &[
            "src/**/*.rs\" held by fox (you), 30m left, reason \"sweep\"",
            "\nowl waits for src/auth.rs#login (queued ",
            ", gives up in ",
        ],
    );
    // The queue is fair: who comes later is told whom it is behind.
    let behind = fox.call("mesh_lock", json!({"paths": ["src/auth.rs#login"], "wait_seconds": 0})).await;
    assert!(!behind.failed, "own locks never conflict: {}", behind.text);
    let mut elk = Agent::named(&mesh, Era::Modern, "elk").await;
    let refused = elk.call("mesh_lock", json!({"paths": ["src/auth.rs"]})).await.refused();
    assert_holds(&refused, &["held by fox", "owl waits for src/auth.rs#login (queued ", "reason \"fix\""]);
    fox.call("mesh_unlock", json!({})).await.done();
    let (failed, granted) = end(&mut owl, wait).await;
    assert!(!failed && granted.starts_with("locked src/auth.rs#login for 30m (token "), "{granted}");
    queued(&mesh, 0).await;
    let events = fox.call("mesh_events", json!({"types": ["file_locked", "lock_queued"]})).await.done();
    assert_holds(
        &events,
        &[
            "lock_queued src/auth.rs#login by owl behind fox",
            "src/auth.rs#login by owl after waiting: \"fix\"",
        ],
    );
}

#[tokio::test]
async fn a_holder_that_is_asked_narrows_its_lock_and_the_asker_hears_of_it() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (mut fox, mut owl) = two(&mesh).await;
    fox.call("mesh_lock", json!({"paths": ["src/"]})).await.done();
    let ask = json!({"paths": ["src/b.rs"], "reason": "a fix", "ask": true});
    let refused = owl.call("mesh_lock", ask).await.refused();
    assert_holds(&refused, &["src/ held by fox", "\nasked fox to make way\nNext: work on something else"]);
    let news = told(&mut fox, "owl asks you").await;
    assert_holds(
        &news,
        &[
            "[mesh] owl asks you to release src/ (for src/b.rs, reason \"a fix\", ",
            "mesh_unlock {paths: [\"src/\"]}",
        ],
    );
    assert!(!fox.call("mesh_who", json!({})).await.done().contains("owl asks you"), "once");
    assert_holds(&fox.call("mesh_status", json!({})).await.done(), &["\nowl asks you to release src/ ("]);
    let status = owl.call("mesh_status", json!({})).await.done();
    assert_holds(&status, &["\nyou asked fox to release src/, "]);
    let narrow = json!({"paths": ["src/"], "keep": ["src/a.rs"], "note": "all yours but a.rs"});
    let narrowed = fox.call("mesh_unlock", narrow).await.done();
    assert_eq!(narrowed, "unlocked src/; kept src/a.rs; owl is told");
    let news = told(&mut owl, "fox narrowed").await;
    assert_holds(&news, &["[mesh] fox narrowed src/ to src/a.rs: \"all yours but a.rs\". mesh_lock now"]);
    owl.call("mesh_lock", json!({"paths": ["src/b.rs"]})).await.done();
    assert_holds(&fox.call("mesh_status", json!({})).await.done(), &["locks: src/a.rs ("]);
}

#[tokio::test]
async fn a_holder_may_keep_its_lock_or_release_it_to_one_that_waits() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (mut fox, mut owl) = two(&mesh).await;
    fox.call("mesh_lock", json!({"paths": ["src/"]})).await.done();
    let ask = |seconds: u64| json!({"paths": ["src/"], "ask": "just one line", "wait_seconds": seconds});
    let wait = begin(&mut owl, "mesh_lock", ask(1)).await;
    assert_holds(&told(&mut fox, "owl asks you").await, &["reason \"just one line\""]);
    let keep = json!({"paths": ["src/"], "keep": ["src/"], "note": "five minutes"});
    assert_eq!(fox.call("mesh_unlock", keep).await.done(), "kept src/; owl is told");
    let (failed, mut text) = end(&mut owl, wait).await;
    assert!(failed && text.starts_with("not locked, after waiting 1s:\nsrc/ held by fox"), "{text}");
    if !text.contains("fox keeps") {
        text = told(&mut owl, "fox keeps").await;
    }
    assert_holds(&text, &["[mesh] fox keeps src/: \"five minutes\""]);
    let wait = begin(&mut owl, "mesh_lock", ask(50)).await;
    told(&mut fox, "owl asks you").await;
    queued(&mesh, 1).await;
    assert_eq!(
        fox.call("mesh_unlock", json!({"paths": ["src/"]})).await.done(),
        "unlocked src/; owl is told"
    );
    let (failed, text) = end(&mut owl, wait).await;
    assert!(!failed && text.starts_with("locked src/ for 30m"), "{text}");
}

#[tokio::test]
async fn a_request_that_came_while_the_adapter_was_away_is_told_when_it_is_back() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join("owl").await;
    let mut watch = follow(&mesh.client(), 0).await;
    let conversation = || {
        let mut command = mesh.meshctl(&["mcp"]);
        command.env("CLAUDECODE", "1").env("CLAUDE_CODE_SESSION_ID", "0f9c");
        command
    };
    let mut first = Agent::spawn(conversation(), Era::Modern).await;
    first.call("mesh_checkin", json!({"name": "fox"})).await.done();
    first.call("mesh_lock", json!({"paths": ["src/"]})).await.done();
    first.kill().await;
    watch.until_left("fox").await;
    let request = mesh_client::proto::RequestReleaseRequest {
        paths: vec!["src/".into()],
        urgent: true,
        ..Default::default()
    };
    owl.request_release(request).await.unwrap();
    let mut again = Agent::spawn(conversation(), Era::Modern).await;
    let locks = again.call("mesh_locks", json!({})).await.done();
    assert_holds(&locks, &["src/ held by fox (you)", "[mesh] URGENT: owl asks you to release src/ ("]);
}

#[tokio::test]
async fn a_circle_of_waiting_is_refused_and_told() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (mut fox, mut owl) = two(&mesh).await;
    fox.call("mesh_lock", json!({"paths": ["a"]})).await.done();
    owl.call("mesh_lock", json!({"paths": ["b"]})).await.done();
    let wait = begin(&mut fox, "mesh_lock", json!({"paths": ["b"], "wait_seconds": 50})).await;
    queued(&mesh, 1).await;
    let circle = owl.call("mesh_lock", json!({"paths": ["a"], "wait_seconds": 50})).await.refused();
    assert_holds(
        &circle,
        &[
            "not locked, deadlock: would wait: ",
            "fox for owl",
            "owl for fox",
            "Next: mesh_unlock what the others wait for (you hold b (",
        ],
    );
    owl.call("mesh_unlock", json!({})).await.done();
    assert!(!end(&mut fox, wait).await.0);
}

#[tokio::test]
async fn a_changed_contract_is_told_to_whoever_depends_on_it() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (mut fox, mut owl) = two(&mesh).await;
    let mut elk = Agent::named(&mesh, Era::Modern, "elk").await;
    let changing = |text: &str| json!({"paths": ["api:billing", "src/billing.rs"], "contract": text});
    let granted = fox.call("mesh_lock", changing("cents")).await.done();
    assert_holds(&granted, &["locked api:billing, src/billing.rs", "\ncontract is in contract/api:billing"]);
    let about = owl.call("mesh_recall", json!({"path": "src/billing.rs"})).await.done();
    assert_holds(
        &about,
        &["intent: fox is changing api:billing; contract/api:billing version 1 by fox", "\"cents\""],
    );
    fox.call("mesh_unlock", json!({})).await.done();
    owl.call("mesh_lock", json!({"paths": ["api:billing"], "shared": true})).await.done();
    let change = json!({"key": "contract/api:billing", "value": "euros"});
    fox.call("mesh_remember", change).await.done();
    let news = told(&mut owl, "contract api:billing").await;
    assert_holds(
        &news,
        &["[mesh] contract api:billing changed by fox (version 2): mesh_recall {key: contract/api:billing}"],
    );
    assert!(!elk.call("mesh_locks", json!({})).await.done().contains("[mesh] contract"));
    let shared = json!({"paths": ["api:x"], "shared": true, "contract": "y"});
    assert_holds(&elk.call("mesh_lock", shared).await.refused(), &["contract: it goes with one subject"]);
}

#[tokio::test]
async fn a_question_waits_for_its_reply() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (mut fox, mut owl) = two(&mesh).await;
    let question = json!({"to": "owl", "body": "May I?", "wait_reply_seconds": 50});
    let asked = begin(&mut fox, "mesh_send", question).await;
    let mail = owl.call("mesh_inbox", json!({"wait_seconds": 50})).await.done();
    let number = mail.split(' ').next().unwrap();
    assert_holds(&mail, &[" from fox, request, ", "> May I?"]);
    owl.call("mesh_send", json!({"to": "fox", "body": "Yes.", "reply_to": number})).await.done();
    let (failed, text) = end(&mut fox, asked).await;
    assert!(!failed && text.starts_with(&format!("{number} queued for owl (online)\n")), "{text}");
    assert_holds(&text, &[&format!(" from owl, reply to {number}, "), "\n> Yes."]);
    let inbox = fox.call("mesh_inbox", json!({"ack": true})).await.done();
    assert_holds(&inbox, &["> Yes."]);
    let unanswered = json!({"to": "owl", "body": "Well?", "wait_reply_seconds": 1});
    let text = fox.call("mesh_send", unanswered).await.done();
    assert_holds(&text, &["\nno reply within 1s; it will come to mesh_inbox"]);
}

#[tokio::test]
async fn topics_are_followed_read_and_answered() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (mut fox, mut owl) = two(&mesh).await;
    let mixed = fox.call("mesh_send", json!({"to": "#deploys, owl", "body": "x"})).await.refused();
    assert_holds(&mixed, &["to: a message goes to one topic, or to names. Nothing was sent"]);
    let followed = owl.call("mesh_inbox", json!({"topic": "+#deploys"})).await.done();
    assert_holds(&followed, &["you follow ", "#deploys", "nothing in #deploys"]);
    assert_holds(&owl.call("mesh_status", json!({})).await.done(), &["\ntopics: #notes, #deploys\n"]);
    let sent = fox.call("mesh_send", json!({"to": "#deploys", "body": "v2 is out"})).await.done();
    assert_holds(&sent, &[" queued for #deploys (1 agent online)"]);
    fox.call("mesh_send", json!({"to": "#notes", "body": "added a nav item"})).await.done();
    let mail = owl.call("mesh_inbox", json!({})).await.done();
    assert_holds(
        &mail,
        &[" from fox, in #deploys, ", "> v2 is out", " from fox, in #notes, ", "> added a nav item"],
    );
    let number = mail.split(' ').next().unwrap();
    owl.call("mesh_send", json!({"body": "seen", "reply_to": number})).await.done();
    let feed = fox.call("mesh_inbox", json!({"topic": "#deploys"})).await.done();
    assert_holds(
        &feed,
        &[
            "> v2 is out",
            " from owl, in #deploys, reply to ",
            "> seen",
            "later ones: mesh_inbox {topic: #deploys, after: ",
        ],
    );
    let thread = fox.call("mesh_inbox", json!({"topic": number})).await.done();
    assert_holds(&thread, &["> v2 is out", "> seen"]);
    let left = owl.call("mesh_inbox", json!({"topic": "-#deploys"})).await.done();
    assert_eq!(left.lines().next(), Some("you follow #notes"));
}

#[tokio::test]
async fn a_path_tells_all_that_is_known_about_it() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let hen = mesh.join("hen").await;
    let touch = |kind: TouchKind| Touch { path: "src/auth.rs".into(), kind: kind.into() };
    let edit = TouchFilesRequest {
        touches: vec![touch(TouchKind::Edit)],
        branch: "side".into(),
        ..TouchFilesRequest::default()
    };
    hen.touch_files(edit).await.unwrap();
    let (mut fox, mut owl) = two(&mesh).await;
    let checkin = json!({"focus": "tokens", "files": ["src/auth.rs"], "branch": "main"});
    owl.call("mesh_checkin", checkin).await.done();
    owl.call("mesh_lock", json!({"paths": ["src/"], "reason": "sweep"})).await.done();
    let note = json!({"key": "auth", "value": "no cookies", "paths": ["src/auth.rs"]});
    owl.call("mesh_remember", note).await.done();
    owl.call("mesh_send", json!({"to": "*", "body": "I broke src/auth.rs, sorry"})).await.done();
    fox.call("mesh_checkin", json!({"branch": "main"})).await.done();
    let about = fox.call("mesh_recall", json!({"path": "src/auth.rs"})).await.done();
    assert_holds(
        &about,
        &[
            "lock: src/ held by owl, 30m left, reason \"sweep\", taken ",
            "\nworking on it: owl on main: \"tokens\"",
            "\nedited ",
            " by hen on side (another branch)",
            "\nremembered: auth version 1 by owl, ",
            ", about src/auth.rs: \"no cookies\"",
            " from owl to all, ",
            ": \"I broke src/auth.rs, sorry\"",
        ],
    );
    let unknown = fox.call("mesh_recall", json!({"path": "docs/x.md"})).await.done();
    assert!(unknown.starts_with("nothing is known about docs/x.md"), "{unknown}");
}

#[tokio::test]
async fn one_call_waits_until_something_holds() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (mut fox, mut owl) = two(&mesh).await;
    owl.call("mesh_lock", json!({"paths": ["src/"]})).await.done();
    let until = |text: &str| json!({"until": text});
    for (condition, told) in [
        ("key gate", "not now: key gate"),
        ("free src/a.rs", "not now: free src/a.rs"),
        ("peer elk", "not now: peer elk"),
        ("peer owl gone", "not now: peer owl gone"),
        ("peer owl", "now: peer owl"),
        ("no key gate", "now: no key gate"),
        ("free docs/", "now: free docs/. Next: mesh_lock"),
    ] {
        let text = fox.call("mesh_events", json!({"until": condition, "wait_seconds": 0})).await.done();
        assert_eq!(text.lines().next(), Some(told), "{condition}");
    }
    let timed = fox.call("mesh_events", json!({"until": "key gate", "wait_seconds": 1})).await.done();
    assert!(timed.starts_with("not within 1s: key gate. Next: call again"), "{timed}");

    let gate = begin(&mut fox, "mesh_events", until("key gate = open")).await;
    owl.call("mesh_remember", json!({"key": "gate", "value": "closed"})).await.done();
    owl.call("mesh_remember", json!({"key": "gate", "value": "open"})).await.done();
    let (_, text) = end(&mut fox, gate).await;
    assert!(text.starts_with("now: key gate = \"open\"\ngate version 2 by owl, "), "{text}");

    let free = begin(&mut fox, "mesh_events", until("lock src/a.rs free")).await;
    owl.call("mesh_unlock", json!({})).await.done();
    let (_, text) = end(&mut fox, free).await;
    assert!(text.starts_with("now: free src/a.rs. Next: mesh_lock"), "{text}");

    let sent = fox.call("mesh_send", json!({"to": "owl", "body": "ready?"})).await.done();
    let number = sent.split(' ').next().unwrap().to_owned();
    let reply = begin(&mut fox, "mesh_events", until(&format!("reply {number}"))).await;
    owl.call("mesh_inbox", json!({})).await.done();
    owl.call("mesh_send", json!({"to": "fox", "body": "ready", "reply_to": number})).await.done();
    let (_, text) = end(&mut fox, reply).await;
    assert!(text.starts_with(&format!("now: reply to {number}\n")) && text.contains("\n> ready"), "{text}");

    let either = json!({"until": ["peer owl gone", "key never"], "types": ["policy_changed"]});
    let gone = begin(&mut fox, "mesh_events", either).await;
    owl.call("mesh_checkout", json!({})).await.done();
    let (_, text) = end(&mut fox, gone).await;
    assert!(text.starts_with("now: peer owl gone"), "{text}");

    for (bad, told) in [
        ("tests pass", "until: \"tests pass\" is none. Write one of: key K"),
        ("reply 9999", "you sent no message 9999"),
    ] {
        assert_holds(&fox.call("mesh_events", until(bad)).await.refused(), &[told]);
    }
}

#[tokio::test]
async fn a_lock_that_a_person_takes_away_is_told_with_the_reason() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let ann = mesh.join("ann").await;
    let mut fox = Agent::named(&mesh, Era::Modern, "fox").await;
    fox.call("mesh_lock", json!({"paths": ["src/"]})).await.done();
    let force = mesh_client::proto::ForceReleaseRequest {
        paths: vec!["src/a.rs".into()],
        reason: "it hangs".into(),
        ..Default::default()
    };
    ann.force_release(force).await.unwrap();
    let news = told(&mut fox, "you lost").await;
    assert_holds(
        &news,
        &["[mesh] you lost the lock on src/ (taken away by ann, reason \"it hangs\"). mesh_lock again"],
    );
    ann.send(message("fox", "sorry")).await.unwrap();
    assert_holds(&told(&mut fox, "unread").await, &["1 unread (newest from ann)"]);
}
