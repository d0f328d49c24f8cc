//! What a session is told when it starts, and when it goes on: it reaches the model, once.

use mesh_client::proto::PeerInfo;
use mesh_mock::{Model, Request, Turn};
use mesh_tests::agents::{Claude, Codex, Desk, Gemini, Opencode, Running};
use mesh_tests::{lock, put};
use serde_json::json;

use super::{Colleague, read};

/// A colleague who is on something, has a lock and has remembered a fact.
async fn at_work(desk: &Desk) -> Colleague {
    let owl = Colleague::join(desk, "owl").await;
    let focus = PeerInfo { focus: "redraw the plan".into(), ..PeerInfo::default() };
    owl.session.update(focus, &["focus"]).await.unwrap();
    owl.session.acquire(lock(&["docs/plan.md"])).await.unwrap();
    owl.session.put(put("api/login", "is by token only")).await.unwrap();
    owl
}

/// A session that starts is told of all that; when it goes on later, also what was said to it meanwhile. `run` starts
/// the host, anew or to go on.
async fn is_told(owl: &Colleague, kind: &str, model: &Model, run: impl Fn(bool) -> Running) {
    run(false).finish().await.ok();
    let [agent] = &owl.peers(kind).await[..] else { panic!("{:#?}", owl.peers(kind).await) };
    let requests: Vec<Request> = model.requests().into_iter().filter(Request::is_main).collect();
    let (first, last) = (requests.first().unwrap(), requests.last().unwrap());
    assert!(last.number > first.number);
    let told = [
        format!("[mesh] you are {} on the mesh of {}", agent.name, mesh_tests::SCOPE),
        "- owl (".into(),
        "\"redraw the plan\"".into(),
        "docs/plan.md by owl".into(),
        "api/login by owl".into(),
        "\"is by token only\"".into(),
    ];
    for text in &told {
        assert_eq!((first.count(text), last.count(text)), (1, 1), "{text} in {:#?}", first.texts());
    }

    owl.tell(&agent.name, "The plan is void.").await;
    run(true).finish().await.ok();
    let request = model.requests().into_iter().rfind(Request::is_main).unwrap();
    assert_eq!(request.count("The plan is void."), 1, "{:#?}", request.texts());
    assert_eq!(request.count(&format!("[mesh] you are {} (still)", agent.name)), 1, "{:#?}", request.texts());
    let peers = owl.peers(kind).await;
    assert_eq!(peers.iter().map(|peer| &peer.name).collect::<Vec<_>>(), [&agent.name]);
}

#[tokio::test]
async fn claude_code_is_told_how_things_stand() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let owl = at_work(&desk).await;
    let claude = Claude::new(&desk);
    desk.install(&["claude-code"]);
    model.script([read(&desk, "a.txt"), Turn::say("Read.")]);
    let go_on: [&[&str]; 2] = [&[], &["--continue"]];
    is_told(&owl, "claude-code", &model, |again| claude.print(&model, "Go.", go_on[usize::from(again)]))
        .await;
}

#[tokio::test]
async fn codex_is_told_how_things_stand() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let owl = at_work(&desk).await;
    let codex = Codex::new(&desk);
    desk.install(&["codex"]);
    model.script([Turn::call("exec_command", json!({"cmd": "cat a.txt"})), Turn::say("Read.")]);
    let go_on: [&[&str]; 2] = [&[], &["resume", "--last"]];
    is_told(&owl, "codex", &model, |again| codex.exec(&model, "Go.", go_on[usize::from(again)])).await;
}

#[tokio::test]
async fn gemini_cli_is_told_how_things_stand() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let owl = at_work(&desk).await;
    let gemini = Gemini::new(&desk);
    desk.install(&["gemini"]);
    model.script([Turn::call("read_file", json!({"file_path": "a.txt"})), Turn::say("Read.")]);
    let go_on: [&[&str]; 2] = [&[], &["--resume", "latest"]];
    is_told(&owl, "gemini", &model, |again| gemini.print(&model, "Go.", go_on[usize::from(again)])).await;
}

#[tokio::test]
async fn opencode_is_told_how_things_stand() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let owl = at_work(&desk).await;
    let opencode = Opencode::new(&desk);
    desk.install(&["opencode"]);
    model.script([Turn::call("read", json!({"filePath": desk.path("a.txt")})), Turn::say("Read.")]);
    let go_on: [&[&str]; 2] = [&[], &["--continue"]];
    is_told(&owl, "opencode", &model, |again| opencode.print(&model, "Go.", go_on[usize::from(again)])).await;
}
