//! Gemini CLI.

use mesh_mock::{Model, Turn};
use mesh_tests::agents::{Desk, Gemini};
use serde_json::json;

use super::{Parents, context, is_alone};

#[tokio::test]
async fn the_model_sees_what_its_tools_did() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let edit = json!({
        "file_path": desk.path("a.txt"), "old_string": "one", "new_string": "uno", "instruction": "translate",
    });
    model.script([
        Turn::call("read_file", json!({"file_path": "a.txt"})),
        Turn::call("replace", edit),
        Turn::say("Changed it."),
    ]);
    let finished = Gemini::new(&desk).print(&model, "Change a.txt.", &[]).finish().await.ok();

    assert_eq!(desk.read("a.txt"), "uno\ntwo\n");
    assert!(finished.stdout.contains("Changed it."));
    let requests = model.requests();
    assert_eq!(requests.len(), 3, "{requests:#?}");
    assert!(requests[0].holds("Change a.txt."));
    assert!(requests[1].last_result().contains("one\ntwo"));
    assert!(requests[2].last_result().contains("Successfully modified"));
    assert!(requests.iter().all(|request| request.scripted && request.is_main()));
}

#[tokio::test]
async fn the_mcp_server_is_connected_and_answers_the_model() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let gemini = Gemini::new(&desk);
    gemini.add_mcp();
    let list = gemini.run(&["mcp", "list"]).ok();
    let list = list.stdout + &list.stderr;
    assert!(list.contains("mesh: ") && list.contains("Connected"), "{list}");

    model.script([Turn::call("mcp_mesh_mesh_who", json!({})), Turn::say("Alone.")]);
    gemini.print(&model, "Who is here?", &[]).finish().await.ok();
    let who = model.requests()[1].last_result();
    assert!(is_alone(&who), "{who}");
}

#[tokio::test]
async fn what_hooks_say_reaches_the_model_once_and_a_refusal_holds() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let gemini = Gemini::new(&desk);
    let said = ["At the start.", "With the prompt.", "After the tool."];
    for (event, text) in ["SessionStart", "BeforeAgent", "AfterTool"].into_iter().zip(said) {
        gemini.hook(event, "", &desk.answering(&context(event, text)));
    }
    let refusal = json!({"decision": "deny", "reason": "Fox has it."});
    gemini.hook("BeforeTool", "write_file", &desk.answering(&refusal));
    model.script([
        Turn::call("read_file", json!({"file_path": "a.txt"})),
        Turn::call("write_file", json!({"file_path": desk.path("a.txt"), "content": ""})),
        Turn::say("Refused."),
    ]);
    gemini.print(&model, "Empty a.txt.", &[]).finish().await.ok();
    assert_eq!(desk.read("a.txt"), "one\ntwo\n");
    let requests = model.requests();
    let counts = |request: usize| said.map(|text| requests[request].count(text));
    assert_eq!((counts(0), counts(1)), ([1, 1, 0], [1, 1, 1]));
    assert_eq!(requests[2].last_result(), "Tool execution blocked: Fox has it.");
}

#[tokio::test]
async fn hooks_and_the_mcp_server_have_one_parent() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let gemini = Gemini::new(&desk);
    let parents = Parents::new(&desk);
    gemini.add_mcp_as(&parents.server());
    gemini.hook("BeforeTool", "mcp_.*", &parents.hook());
    model.script([Turn::call("mcp_mesh_mesh_who", json!({})), Turn::say("Alone.")]);
    let session = gemini.print(&model, "Who is here?", &[]);
    let pid = session.pid();
    session.finish().await.ok();
    assert_eq!(parents.read(), (pid, pid));
}

#[tokio::test]
async fn a_session_in_a_terminal_answers() {
    let (desk, model) = (Desk::new(), Model::start().await);
    model.script([Turn::say("Good morning.")]);
    let terminal = Gemini::new(&desk).terminal(&model, "Hello there", &[]);
    terminal.until("the answer", |screen| screen.contains("Good morning.")).await;
    let [request] = &model.requests()[..] else { panic!("{:#?}", model.requests()) };
    assert_eq!((request.is_main(), request.count("Hello there")), (true, 1));
}
