//! opencode.

use mesh_mock::{Model, Turn};
use mesh_tests::agents::{Desk, Opencode};
use serde_json::json;

use super::is_alone;

#[tokio::test]
async fn the_model_sees_what_its_tools_did() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let path = desk.path("a.txt");
    model.script([
        Turn::call("read", json!({"filePath": path})),
        Turn::call("edit", json!({"filePath": path, "oldString": "one", "newString": "uno"})),
        Turn::say("Changed it."),
    ]);
    let finished = Opencode::new(&desk).print(&model, "Change a.txt.", &[]).finish().await.ok();

    assert_eq!(desk.read("a.txt"), "uno\ntwo\n");
    assert!(finished.stdout.contains("Changed it."));
    let requests: Vec<_> = model.requests().into_iter().filter(|request| request.is_main()).collect();
    assert_eq!(requests.len(), 3, "{requests:#?}");
    assert!(requests[0].holds("Change a.txt."));
    assert!(requests[1].last_result().contains("1: one"));
    assert!(requests[2].last_result().contains("Edit applied"));
    assert!(requests.iter().all(|request| request.scripted && request.session.starts_with("ses_")));
}

#[tokio::test]
async fn the_mcp_server_is_connected_and_answers_the_model() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let opencode = Opencode::new(&desk);
    opencode.add_mcp();
    let list = opencode.run(&["mcp", "list"]).ok().stdout;
    assert!(list.contains("mesh") && list.contains("connected"), "{list}");

    model.script([Turn::call("mesh_mesh_who", json!({})), Turn::say("Alone.")]);
    opencode.print(&model, "Who is here?", &[]).finish().await.ok();
    let answered = model.requests().into_iter().find(|request| !request.tool_results().is_empty());
    let who = answered.expect("an answer of the tool").last_result();
    assert!(is_alone(&who), "{who}");
}

/// A plugin that speaks up at each occasion, and refuses to edit.
const SPEAKER: &str = r#"
export const Speaker = async () => ({
  "chat.message": async ({ sessionID }, { message, parts }) => {
    parts.push({ id: "prt_" + Date.now(), sessionID, messageID: message.id, type: "text", text: "With the prompt.", synthetic: true })
  },
  "tool.execute.before": async ({ tool }) => { if (tool === "edit") throw new Error("Fox has it.") },
  "tool.execute.after": async (_, output) => { output.output += "\nAfter the tool." },
})
"#;

#[tokio::test]
async fn what_a_plugin_says_reaches_the_model_once_and_a_refusal_holds() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let opencode = Opencode::new(&desk);
    opencode.plugin("speaker.js", SPEAKER);
    let path = desk.path("a.txt");
    model.script([
        Turn::call("read", json!({"filePath": path})),
        Turn::call("edit", json!({"filePath": path, "oldString": "one", "newString": "uno"})),
        Turn::say("Refused."),
    ]);
    opencode.print(&model, "Change a.txt.", &[]).finish().await.ok();
    assert_eq!(desk.read("a.txt"), "one\ntwo\n");
    let requests: Vec<_> = model.requests().into_iter().filter(|request| request.is_main()).collect();
    let counts =
        |request: usize| ["With the prompt.", "After the tool."].map(|text| requests[request].count(text));
    assert_eq!((counts(0), counts(1)), ([1, 0], [1, 1]));
    assert_eq!(requests[2].last_result(), "Fox has it.");
}

/// A plugin that asks the session what is written to a fifo.
const WAKER: &str = r#"
import { readFile } from "node:fs/promises"

export const Waker = async ({ client }) => ({
  "chat.message": async ({ sessionID }) => {
    readFile(process.env.TMPDIR + "/mail", "utf8").then((text) =>
      client.session.promptAsync({ path: { id: sessionID }, body: { parts: [{ type: "text", text }] } }))
  },
})
"#;

#[tokio::test]
async fn what_a_plugin_prompts_wakes_an_idle_session() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let mail = desk.tmp().join("mail");
    assert!(desk.command("mkfifo").arg(&mail).status().unwrap().success());
    let opencode = Opencode::new(&desk);
    opencode.plugin("waker.js", WAKER);
    let terminal = opencode.terminal(&model, &[]).await;
    model.script([Turn::say("Good morning.")]);
    terminal.enter("Hello there").await;
    terminal.until("the answer", |screen| screen.contains("Good morning.")).await;

    // Opening it waits until the plugin reads.
    let write = tokio::task::spawn_blocking(move || std::fs::write(mail, "Fox needs the lock."));
    terminal.meanwhile("the plugin", write).await.unwrap().unwrap();
    let woken = model.request(|request| request.is_main() && request.holds("Fox needs the lock."));
    let woken = terminal.meanwhile("the session to wake", woken).await;
    assert_eq!((woken.count("Hello there"), woken.count("Fox needs the lock.")), (1, 1));
}
