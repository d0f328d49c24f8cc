//! Gemini CLI.

use mesh_mock::{Model, Turn};
use mesh_tests::agents::{Desk, Gemini};
use serde_json::json;

use super::is_alone;

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
