//! Two clients from two ecosystems, rmcp and PyPI's `mcp`, coordinate through one broker in both protocol eras.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use mesh_client::proto::ListLockWaitersRequest;
use mesh_tests::{Mesh, meshctl, within};
use rmcp::model::{CallToolRequestParams, ClientCapabilities, ClientConfig, Implementation, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, RoleClient, RunningService, serve_client_with_lifecycle};
use rmcp::transport::TokioChildProcess;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::agent::{Answer, Era};

/// An agent on a client library, which starts the adapter by itself.
#[derive(Debug)]
enum Agent {
    Rust(Box<RunningService<RoleClient, ClientConfig>>),
    Python { process: Box<Child>, input: ChildStdin, output: Lines<BufReader<ChildStdout>> },
}

/// A pinned tool of the tests.
fn tool(name: &str) -> PathBuf {
    let tools = std::env::var_os("MESH_TOOLS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools"), PathBuf::from);
    let tool = tools.join("bin").join(name);
    assert!(tool.exists(), "{} is not installed; run `cargo xtask install-tools`", tool.display());
    tool
}

impl Agent {
    async fn rust(mesh: &Mesh, era: Era) -> Self {
        let client =
            ClientConfig::new(ClientCapabilities::default(), Implementation::new("rmcp-client", "1.0"));
        let (lifecycle, version) = match era {
            Era::Legacy => (ClientLifecycleMode::Initialize, None),
            Era::Modern => {
                let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
                (ClientLifecycleMode::Discover { preferred_versions }, Some(ProtocolVersion::V_2026_07_28))
            }
        };
        let adapter = TokioChildProcess::new(Command::from(mesh.meshctl(&["mcp"]))).unwrap();
        let client = serve_client_with_lifecycle(client, adapter, lifecycle).await.unwrap();
        if let Some(info) = client.peer_info() {
            assert!(version.is_none_or(|version| info.protocol_version == version), "{info:?}");
        }
        assert_eq!(client.list_all_tools().await.unwrap().len(), 12);
        Self::Rust(Box::new(client))
    }

    async fn python(mesh: &Mesh, era: Era) -> Self {
        let (mode, version) = match era {
            Era::Legacy => ("legacy", "2025-11-25"),
            Era::Modern => ("auto", "2026-07-28"),
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/it/mcp/client.py");
        let mut command = Command::new(tool("python"));
        command.arg(script).arg(mode).arg(meshctl()).arg("mcp").env_clear();
        let like = mesh.meshctl(&[]);
        command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(mesh.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let hello = next(&mut output).await;
        assert_eq!(hello["protocol"], version);
        assert_eq!(hello["tools"].as_array().unwrap().len(), 12, "{hello}");
        Self::Python { process: Box::new(process), input, output }
    }

    async fn call(&mut self, tool: &'static str, arguments: Value) -> Answer {
        match self {
            Self::Rust(client) => {
                let arguments = arguments.as_object().unwrap().clone();
                let call = client.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments));
                let result = within("an answer to rmcp", call).await.unwrap();
                assert_eq!((result.content.len(), &result.structured_content), (1, &None));
                let text = result.content[0].as_text().unwrap().text.clone();
                Answer { failed: result.is_error == Some(true), text }
            }
            Self::Python { input, output, .. } => {
                let call = json!({"tool": tool, "arguments": arguments});
                input.write_all(format!("{call}\n").as_bytes()).await.unwrap();
                let answer = next(output).await;
                let texts = answer["texts"].as_array().unwrap();
                assert_eq!(texts.len(), 1, "{answer}");
                Answer { failed: answer["failed"] == json!(true), text: texts[0].as_str().unwrap().into() }
            }
        }
    }

    /// Calls a tool that must not fail.
    async fn does(&mut self, tool: &'static str, arguments: Value) -> String {
        self.call(tool, arguments).await.done()
    }

    /// Calls a tool that must fail.
    async fn fails(&mut self, tool: &'static str, arguments: Value) -> String {
        self.call(tool, arguments).await.refused()
    }

    async fn end(self) {
        match self {
            Self::Rust(client) => drop(within("the end of rmcp", client.cancel()).await.unwrap()),
            Self::Python { mut process, input, .. } => {
                drop(input);
                assert!(within("the end of Python", process.wait()).await.unwrap().success());
            }
        }
    }
}

async fn next(output: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let line = within("a line of Python", output.next_line()).await.unwrap();
    serde_json::from_str(&line.expect("Python is alive; why it is not is on its stderr")).unwrap()
}

#[track_caller]
fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[tokio::test]
async fn a_modern_rust_agent_and_a_legacy_python_agent_coordinate() {
    let mesh = Mesh::new();
    let (mut fox, mut owl) = (Agent::rust(&mesh, Era::Modern).await, Agent::python(&mesh, Era::Legacy).await);
    coordinate(&mesh, &mut fox, &mut owl).await;
    fox.end().await;
    owl.end().await;
}

#[tokio::test]
async fn a_modern_python_agent_and_a_legacy_rust_agent_coordinate() {
    let mesh = Mesh::new();
    let (mut fox, mut owl) = (Agent::python(&mesh, Era::Modern).await, Agent::rust(&mesh, Era::Legacy).await);
    coordinate(&mesh, &mut fox, &mut owl).await;
    fox.end().await;
    owl.end().await;
}

async fn coordinate(mesh: &Mesh, fox: &mut Agent, owl: &mut Agent) {
    they_find_each_other(fox, owl).await;
    they_talk(fox, owl).await;
    they_remember(fox, owl).await;
    they_collide(fox, owl).await;
    one_waits_and_the_other_makes_way(mesh, fox, owl).await;
    they_see_what_happened(fox, owl).await;
}

async fn they_find_each_other(fox: &mut Agent, owl: &mut Agent) {
    let checkin = json!({"name": "fox", "focus": "rewrite auth", "files": ["src/auth.rs"], "branch": "auth"});
    let alone = fox.does("mesh_checkin", checkin).await;
    assert_eq!(alone, "you are fox in example.com/acme/app on auth\nnobody else is here");
    let met = owl.does("mesh_checkin", json!({"name": "owl", "focus": "billing"})).await;
    assert_holds(
        &met,
        &["you are owl in", "1 other here:\nfox (", "on auth", "\"rewrite auth\" files src/auth.rs"],
    );
    let seen = fox.does("mesh_who", json!({})).await;
    assert_holds(&seen, &["fox (you", "owl (", "in your checkout): \"billing\""]);
}

/// The number at the beginning of an answer.
fn number(text: &str) -> u64 {
    text.split(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("no number: {text}"))
}

async fn they_talk(fox: &mut Agent, owl: &mut Agent) {
    let question = json!({"to": "owl", "body": "May I change\nauth?", "intent": "request", "urgent": true});
    let sent = fox.does("mesh_send", question).await;
    let asked = number(&sent);
    assert_eq!(sent, format!("{asked} queued for owl (online)"));
    let read = owl.does("mesh_inbox", json!({"ack": true})).await;
    assert_holds(&read, &[&format!("{asked} from fox, request, URGENT, "), "\n> May I change\n> auth?\n"]);
    assert_holds(&read, &["read; nothing unread"]);
    let answer = json!({"to": "fox", "body": "Go on.", "reply_to": asked, "intent": "ack"});
    owl.does("mesh_send", answer).await;
    let unread = fox.does("mesh_inbox", json!({})).await;
    let head = format!("from owl, ack (needs no answer), reply to {asked}, ");
    assert_holds(&unread, &[&head, "> Go on.", "1 unread until ack"]);
    assert_holds(&fox.does("mesh_inbox", json!({"ack": true})).await, &["> Go on.", "read; nothing unread"]);
    assert_eq!(fox.does("mesh_inbox", json!({})).await, "no mail");
    let waiting = json!({"wait_seconds": 50, "ack": true});
    let all = json!({"to": "*", "body": "Lunch."});
    let (read, sent) = tokio::join!(fox.does("mesh_inbox", waiting), owl.does("mesh_send", all));
    assert_holds(&sent, &["queued for all (1 agent online)"]);
    assert_holds(&read, &["from owl, to all, ", "> Lunch."]);
    let nobody = fox.fails("mesh_send", json!({"to": "elk", "body": "?"})).await;
    assert_holds(&nobody, &["not sent: no agent named elk", "Online: owl"]);
}

async fn they_remember(fox: &mut Agent, owl: &mut Agent) {
    let plan = json!({"key": "plan", "value": "first", "paths": ["src/auth.rs"], "tags": ["design"]});
    assert_eq!(fox.does("mesh_remember", plan).await, "remembered plan version 1");
    let read = owl.does("mesh_recall", json!({"key": "plan"})).await;
    assert_holds(&read, &["plan version 1 by fox, ", "about src/auth.rs, tags design:\n> first"]);
    let better = json!({"key": "plan", "value": "second thoughts", "version": 1, "paths": ["src/"]});
    assert_eq!(owl.does("mesh_remember", better).await, "remembered plan version 2");
    let mine = |version: u64| json!({"key": "plan", "value": "mine", "version": version});
    let conflict = fox.fails("mesh_remember", mine(1)).await;
    assert_holds(
        &conflict,
        &[
            "not written: plan is at version 2 by owl, ",
            "\nbase, version 1 by fox:\n> first\ntheirs:\n> second thoughts\nyours:\n> mine\nNext: merge, then",
        ],
    );
    for how in [json!({"query": "thoughts"}), json!({"prefix": "pl"}), json!({"tag": "design"})] {
        assert_holds(&fox.does("mesh_recall", how).await, &["plan version 2 by owl", "> second thoughts"]);
    }
    let about = fox.does("mesh_recall", json!({"path": "src/auth.rs"})).await;
    assert_holds(&about, &["remembered: plan version 2 by owl, ", ": \"second thoughts\""]);
    assert_eq!(fox.does("mesh_remember", mine(2)).await, "remembered plan version 3");
    let stale = owl.fails("mesh_remember", json!({"key": "plan", "value": "", "version": 2})).await;
    assert_holds(&stale, &["at version 3 by fox", "yours: forget it\nNext: "]);
    let gone = owl.does("mesh_remember", json!({"key": "plan", "value": "", "version": 3})).await;
    assert_eq!(gone, "forgot plan");
    assert_eq!(
        fox.does("mesh_recall", json!({"key": "plan"})).await,
        "nothing is remembered under plan. Next: mesh_recall with prefix or query"
    );
}

async fn they_collide(fox: &mut Agent, owl: &mut Agent) {
    let claim = json!({"paths": ["src/auth.rs"], "reason": "new tokens", "ttl_seconds": 600});
    assert_holds(&fox.does("mesh_lock", claim).await, &["locked src/auth.rs for 10m (token "]);
    let refusal = owl.fails("mesh_lock", json!({"paths": ["docs/", "src/"]})).await;
    let told = ["not locked:\nsrc/auth.rs held by fox, 10m left, reason \"new tokens\"", "\"rewrite auth\""];
    assert_holds(&refusal, &told);
    assert_holds(&refusal, &["\nNext: mesh_lock again with ask: true and wait_seconds 50"]);
    assert_eq!(owl.does("mesh_locks", json!({"path": "docs/"})).await, "docs/ is free");
    let about = owl.does("mesh_recall", json!({"path": "src/auth.rs"})).await;
    assert_holds(&about, &["lock: src/auth.rs held by fox", "working on it: fox on auth"]);
}

async fn one_waits_and_the_other_makes_way(mesh: &Mesh, fox: &mut Agent, owl: &mut Agent) {
    let client = mesh.client();
    let scope = mesh_tests::SCOPE.to_owned();
    let request = ListLockWaitersRequest { scope, ..ListLockWaitersRequest::default() };
    let waits = || async {
        let waiters = client.locks().list_lock_waiters(request.clone()).await.unwrap().into_inner().waiters;
        !waiters.is_empty()
    };
    let makes_way = async {
        within("one that waits", async { while !waits().await {} }).await;
        fox.does("mesh_unlock", json!({"paths": ["src/auth.rs"]})).await
    };
    let claim = json!({"paths": ["src/auth.rs"], "reason": "fees", "wait_seconds": 50});
    let (granted, freed) = tokio::join!(owl.does("mesh_lock", claim), makes_way);
    assert_eq!(freed, "unlocked src/auth.rs");
    assert_holds(&granted, &["locked src/auth.rs for 30m (token "]);
    let refusal = fox.fails("mesh_lock", json!({"paths": ["src/auth.rs"], "wait_seconds": 1})).await;
    assert_holds(&refusal, &["not locked, after waiting 1s:", "held by owl", "reason \"fees\""]);
    let not_mine = fox.fails("mesh_unlock", json!({"paths": ["src/auth.rs"]})).await;
    assert_holds(&not_mine, &["nothing unlocked: you hold no lock on src/auth.rs"]);
}

async fn they_see_what_happened(fox: &mut Agent, owl: &mut Agent) {
    let status = owl.does("mesh_status", json!({})).await;
    assert_holds(
        &status,
        &["you are owl in", "locks: src/auth.rs (30m left)", "unread: 0", "online here: 2"],
    );
    let events = fox.does("mesh_events", json!({"types": ["file_locked", "file_unlocked"]})).await;
    let told = [
        "file_locked src/auth.rs by fox: \"new tokens\"",
        "file_unlocked src/auth.rs of fox (released)",
        "file_locked src/auth.rs by owl after waiting: \"fees\"",
    ];
    let places: Vec<_> = told.iter().map(|event| events.find(event)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{events}");
    let all = fox.does("mesh_events", json!({"after": 0, "limit": 200})).await;
    assert_holds(
        &all,
        &["peer_joined fox", "peer_joined owl", "state_changed plan version 3", "message_sent owl to all"],
    );
    let last: u64 = all.rsplit("after: ").next().unwrap().trim_end_matches('}').parse().unwrap();
    let wait = json!({"after": last, "types": ["peer_left"], "wait_seconds": 50});
    let (seen, left) = tokio::join!(fox.does("mesh_events", wait), owl.does("mesh_checkout", json!({})));
    assert_eq!(left, "owl left; 1 lock freed. Any mesh tool joins again");
    assert_holds(&seen, &["peer_left owl (left)"]);
    assert_eq!(fox.does("mesh_locks", json!({})).await, "no locks");
    assert_holds(&owl.does("mesh_status", json!({})).await, &["you are owl in", "locks: none"]);
}
