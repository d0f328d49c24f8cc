//! The adapter and the hooks of one agent session: the adapter takes up what hooks have begun, and neither shows mail that
//! the other has shown.

use std::io::Write;
use std::process::{Command, Stdio};

use mesh_client::agent::{Continues, Identity, Process, Registry};
use mesh_client::proto::event::Event;
use mesh_client::proto::{GetStatusRequest, LeaveCause};
use mesh_tests::{Mesh, Signal, commit_millis, follow, message, put, signal, within};
use rmcp::model::{CallToolRequestParams, ClientCapabilities, RequestMetaObject};
use serde_json::{Value, json};

use super::agent::{ERAS, Era};
use super::host::{Host, done};

/// The promise is a second; a machine that is busy with other tests gets some more.
const NOTICED_WITHIN: i64 = 3_000;
const SESSION: &str = "01a21091-a959-7283-bb0a-20c852814b07";

/// Runs a hook of Codex to its end, and returns what it tells the agent.
async fn hook(mesh: &Mesh, event: &str, more: &Value) -> String {
    let mut payload = json!({
        "session_id": SESSION,
        "cwd": mesh.path(),
        "hook_event_name": event,
        "model": "gpt-6",
        "permission_mode": "default",
    });
    payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut command: Command = mesh.meshctl(&["hook", "codex"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(payload.to_string().as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    let output = within("a hook", run).await.unwrap();
    assert!(output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(stderr, "");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    told["hookSpecificOutput"]["additionalContext"].as_str().unwrap_or_default().to_owned()
}

/// Starts a session, and returns its name on the mesh with what keeps hooks from starting a process that waits for mail,
/// which would hold a stream too.
async fn starts(mesh: &Mesh) -> (String, std::fs::File) {
    let process = Process::of(std::process::id());
    let who = Identity { kind: "codex".into(), session: Some(SESSION.into()), process };
    let agent = Registry::of(&mesh.home()).bind(&who, Continues::Nothing).unwrap();
    let waiter = agent.claim("wake").unwrap().expect("nobody waits");
    let told = hook(mesh, "SessionStart", &json!({"source": "startup"})).await;
    let name = told.strip_prefix("[mesh] you are ").and_then(|rest| rest.split(' ').next());
    (name.unwrap_or_else(|| panic!("{told}")).to_owned(), waiter)
}

async fn codex(mesh: &Mesh, era: Era) -> Host {
    Host::start(mesh.meshctl(&["mcp"]), era, "codex-mcp-client", ClientCapabilities::default()).await
}

/// Calls a tool as Codex does, which names the session.
async fn does(host: &Host, tool: &'static str, arguments: Value) -> String {
    let mut call = CallToolRequestParams::new(tool).with_arguments(arguments.as_object().unwrap().clone());
    call.meta = Some(serde_json::from_value::<RequestMetaObject>(json!({"sessionId": SESSION})).unwrap());
    done(&within("an answer", host.client.call_tool(call)).await.unwrap())
}

/// How many streams the broker serves.
async fn streams(mesh: &Mesh) -> u32 {
    let client = mesh.client();
    client.admin().get_status(GetStatusRequest {}).await.unwrap().into_inner().watches
}

#[tokio::test]
async fn the_session_of_the_hooks_ends_with_its_agent_though_no_tool_was_called() {
    for era in ERAS {
        let mesh = Mesh::new();
        let _broker = mesh.serve(&[]);
        let witness = mesh.join("witness").await;
        let mut watch = follow(&mesh.client(), 0).await;
        let host = codex(&mesh, era).await;
        host.client.list_all_tools().await.unwrap();
        let before = streams(&mesh).await;
        let (name, _waiter) = starts(&mesh).await;
        within("the stream of the adapter", async { while streams(&mesh).await == before {} }).await;
        let joins = |watch: &mesh_tests::Followed| {
            let joined = |event: &&Event| matches!(event, Event::PeerJoined(_));
            watch.seen.iter().flat_map(mesh_tests::events).filter(joined).count()
        };
        let written = witness.put(put("mark", "now")).await.unwrap().entry.unwrap().revision;
        watch.reach(written).await;
        assert_eq!(joins(&watch), 1, "the adapter has not joined by itself");
        // A host that is killed with its servers runs no hook.
        let killed = commit_millis(watch.seen.last().unwrap());
        signal(host.pid, Signal::KILL);
        let (left, cause) = watch.until_left(&name).await;
        let noticed = commit_millis(&left) - killed;
        eprintln!("the end of an agent was noticed after {noticed} ms");
        assert_eq!(cause, LeaveCause::Disconnected);
        assert!(noticed <= NOTICED_WITHIN, "{noticed} ms");
    }
}

#[tokio::test]
async fn a_call_says_which_session_it_is_and_finds_the_one_that_was_taken_up() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let host = codex(&mesh, Era::Legacy).await;
    let before = streams(&mesh).await;
    let (name, _waiter) = starts(&mesh).await;
    within("the stream of the adapter", async { while streams(&mesh).await == before {} }).await;
    let status = does(&host, "mesh_status", json!({})).await;
    assert!(status.starts_with(&format!("you are {name} in ")), "{status}");
    hook(&mesh, "SessionEnd", &json!({"reason": "other"})).await;
    assert_eq!(watch.until_left(&name).await.1, LeaveCause::Left);
    assert_eq!(watch.seen.iter().flat_map(mesh_tests::events).filter(|event| joined(event)).count(), 1);
    host.end().await;
}

fn joined(event: &Event) -> bool {
    matches!(event, Event::PeerJoined(_))
}

#[tokio::test]
async fn without_hooks_nothing_is_done_before_a_call() {
    let mesh = Mesh::new();
    for era in ERAS {
        let host = codex(&mesh, era).await;
        host.client.list_all_tools().await.unwrap();
        host.end().await;
    }
    assert!(!mesh.home().agents_path().exists());
    assert_eq!(mesh.broker_pid(), None);
}

#[tokio::test]
async fn mail_is_shown_by_hooks_or_by_the_inbox_and_not_by_both() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join("owl").await;
    let host = codex(&mesh, Era::Modern).await;
    let (name, _waiter) = starts(&mesh).await;
    does(&host, "mesh_locks", json!({})).await;
    hook(&mesh, "UserPromptSubmit", &json!({"prompt": "go on"})).await;

    // Hooks first: no answer tells of it.
    owl.send(message(&name, "to be shown by a hook")).await.unwrap();
    let told = hook(&mesh, "UserPromptSubmit", &json!({"prompt": "go on"})).await;
    assert!(told.contains("> to be shown by a hook"), "{told}");
    let answer = does(&host, "mesh_locks", json!({})).await;
    assert!(!answer.contains("unread"), "{answer}");
    // Nor does a call that waits for mail get it, in a second in which no other comes.
    let waited = does(&host, "mesh_inbox", json!({"wait_seconds": 1})).await;
    assert_eq!(waited, "no mail came; 1 unread before that");

    // The inbox first: no hook shows it.
    let sent = owl.send(message(&name, "to be shown by the inbox")).await.unwrap();
    let mail = does(&host, "mesh_inbox", json!({})).await;
    assert!(mail.contains("> to be shown by the inbox"), "{mail}");
    let told = hook(&mesh, "UserPromptSubmit", &json!({"prompt": "go on"})).await;
    assert_eq!(told, "");
    let inbox =
        owl.receipts(mesh_client::proto::GetReceiptsRequest { message_id: sent.message_id }).await.unwrap();
    assert_eq!(inbox.deliveries[0].status(), mesh_client::proto::DeliveryStatus::Read, "the hook marks it");
    host.end().await;
}
