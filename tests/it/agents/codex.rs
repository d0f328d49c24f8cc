//! Codex.

use mesh_mock::{Model, Turn};
use mesh_tests::agents::{Codex, Desk, SCRIPTING};
use serde_json::json;

use super::{Parents, context, is_alone, refusal};

const PATCH: &str = "*** Begin Patch\n*** Update File: a.txt\n@@\n-one\n+uno\n two\n*** End Patch\n";

#[tokio::test]
async fn the_model_sees_what_its_tools_did() {
    let (desk, model) = (Desk::new(), Model::start().await);
    model.script([
        Turn::call("exec_command", json!({"cmd": "cat a.txt"})),
        Turn::call("apply_patch", json!(PATCH)),
        Turn::say("Changed it."),
    ]);
    let finished = Codex::new(&desk).exec(&model, "Change a.txt.", &[]).finish().await.ok();

    assert_eq!(desk.read("a.txt"), "uno\ntwo\n");
    assert!(finished.stdout.contains("Changed it."));
    let requests = model.requests();
    assert_eq!(requests.len(), 3, "{requests:#?}");
    assert!(requests[0].holds("Change a.txt."));
    assert!(requests[1].last_result().contains("one\ntwo"));
    assert!(requests[2].last_result().contains("M a.txt"));
    assert!(requests.iter().all(|request| request.scripted && request.is_main()));
}

#[tokio::test]
async fn a_model_that_scripts_its_tools_edits_through_the_same_ones() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let script = format!("text(await tools.apply_patch({}));", json!(PATCH));
    model.script([Turn::call("exec", json!(script)), Turn::say("Changed it.")]);
    Codex::new(&desk).exec(&model, "Change a.txt.", &["--model", SCRIPTING]).finish().await.ok();
    assert_eq!(desk.read("a.txt"), "uno\ntwo\n");
    assert!(model.requests()[1].last_result().contains("Script completed"));
}

#[tokio::test]
async fn the_mcp_server_is_registered_and_answers_the_model() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let codex = Codex::new(&desk);
    codex.add_mcp();
    let list = codex.run(&["mcp", "list"]).ok().stdout;
    assert!(list.lines().any(|line| line.starts_with("mesh ") && line.contains("enabled")), "{list}");

    model.script([Turn::call("mcp__mesh__mesh_who", json!({})), Turn::say("Alone.")]);
    codex.exec(&model, "Who is here?", &[]).finish().await.ok();
    let who = model.requests()[1].last_result();
    assert!(is_alone(&who), "{who}");
}

#[tokio::test]
async fn what_is_queued_wakes_an_idle_session() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let codex = Codex::new(&desk);
    let terminal = codex.terminal(&model, &[]).await;
    model.script([Turn::say("Good morning.")]);
    terminal.enter("Hello there").await;
    let first = model.request(|request| request.is_main() && request.holds("Hello there"));
    let first = terminal.meanwhile("the first prompt", first).await;
    terminal.until("the answer", |screen| screen.contains("Good morning.")).await;

    codex.run(&["queue", "--thread", &first.session, "--message", "Fox needs the lock."]).ok();
    let woken = model.request(|request| request.is_main() && request.holds("Fox needs the lock."));
    let woken = terminal.meanwhile("the session to wake", woken).await;
    assert_eq!((woken.session, woken.body["stream"].clone()), (first.session, json!(true)));

    terminal.enter("/quit").await;
    assert_eq!(terminal.ended().await, Some(0));
    assert_eq!(desk.processes(), []);
}

#[tokio::test]
async fn what_hooks_say_reaches_the_model_once() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let codex = Codex::new(&desk);
    let said = ["At the start.", "With the prompt.", "Before the tool.", "After the tool."];
    for (event, text) in
        ["SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse"].into_iter().zip(said)
    {
        codex.hook(event, "", &desk.answering(&context(event, text)));
    }
    model.script([Turn::call("exec_command", json!({"cmd": "cat a.txt"})), Turn::say("Read.")]);
    codex.exec(&model, "Read a.txt.", &[]).finish().await.ok();
    let requests = model.requests();
    let counts = |request: usize| said.map(|text| requests[request].count(text));
    assert_eq!((counts(0), counts(1)), ([1, 1, 0, 0], [1, 1, 1, 1]));
}

#[tokio::test]
async fn a_hook_can_refuse_an_edit() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let codex = Codex::new(&desk);
    codex.hook("PreToolUse", "apply_patch", &desk.answering(&refusal("Fox has it.")));
    model.script([Turn::call("apply_patch", json!(PATCH)), Turn::say("Refused.")]);
    codex.exec(&model, "Change a.txt.", &[]).finish().await.ok();
    assert_eq!(desk.read("a.txt"), "one\ntwo\n");
    assert!(model.requests()[1].last_result().contains("blocked by PreToolUse hook: Fox has it."));
}

#[tokio::test]
async fn hooks_and_the_mcp_server_have_one_parent() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let codex = Codex::new(&desk);
    let parents = Parents::new(&desk);
    codex.add_mcp_as(&parents.server());
    codex.hook("PreToolUse", "mcp__.*", &parents.hook());
    model.script([Turn::call("mcp__mesh__mesh_who", json!({})), Turn::say("Alone.")]);
    let session = codex.exec(&model, "Who is here?", &[]);
    let pid = session.pid();
    session.finish().await.ok();
    assert_eq!(parents.read(), (pid, pid));
}
