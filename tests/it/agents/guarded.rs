//! The guard: an edit of a file that another session has locked does not happen, and a git command under others does not.

use mesh_mock::{Model, Turn};
use mesh_tests::agents::{Claude, Codex, Desk, Gemini, Opencode};
use serde_json::json;

use super::{Busy, Colleague, PATCH, edit, read};

#[tokio::test]
async fn an_edit_of_a_locked_file_is_refused_until_the_turn_of_its_holder_ends() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let mut owl = Colleague::join(&desk, "owl").await;
    desk.install(&["claude-code"]);
    let fox = Busy::start(&desk, &mut owl).await;

    let (retry, hold) = edit(&desk, "a.txt", "two", "dos").held();
    model.script([read(&desk, "a.txt"), edit(&desk, "a.txt", "two", "dos"), retry, Turn::say("Done.")]);
    let second = Claude::new(&desk).print(&model, "Change a.txt too.", &[]);
    let refused = model.request(|request| request.tool_results().len() == 2);
    let refused = second.meanwhile("the refusal", refused).await.last_result();
    assert!(refused.contains(&format!("a.txt is locked by {}", fox.name)), "{refused}");
    assert!(refused.contains("left. Next: "), "{refused}");
    assert_eq!(desk.read("a.txt"), "uno\ntwo\n");
    // Two sessions in one directory are two peers.
    let names: Vec<_> = owl.agents("claude-code").await.into_iter().map(|peer| peer.name).collect();
    assert_eq!(names.len(), 2, "{names:?}");

    fox.end().await;
    hold.release();
    second.finish().await.ok();
    let done = model.requests().pop().unwrap().last_result();
    assert!(done.contains("has been updated"), "{done}");
    assert_eq!(desk.read("a.txt"), "uno\ndos\n");
    assert_eq!(owl.locks().await, []);
}

#[tokio::test]
async fn a_patch_of_codex_is_refused_while_claude_code_edits() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let mut owl = Colleague::join(&desk, "owl").await;
    let codex = Codex::new(&desk);
    desk.install(&["claude-code", "codex"]);
    let fox = Busy::start(&desk, &mut owl).await;

    let patch = PATCH.replace(" one", " uno");
    let (retry, hold) = Turn::call("apply_patch", json!(patch)).held();
    model.script([Turn::call("apply_patch", json!(patch)), retry, Turn::say("Done.")]);
    let second = codex.exec(&model, "Change a.txt too.", &[]);
    let refused = model.request(|request| request.tool_results().len() == 1);
    let refused = second.meanwhile("the refusal", refused).await.last_result();
    assert!(refused.contains(&format!("a.txt is locked by {}", fox.name)), "{refused}");
    assert_eq!(desk.read("a.txt"), "uno\ntwo\n");

    fox.end().await;
    hold.release();
    second.finish().await.ok();
    assert_eq!(desk.read("a.txt"), "uno\ndos\n");
}

#[tokio::test]
async fn gemini_cli_and_opencode_are_refused_while_claude_code_edits() {
    let (desk, model, other) = (Desk::new(), Model::start().await, Model::start().await);
    let mut owl = Colleague::join(&desk, "owl").await;
    let (gemini, opencode) = (Gemini::new(&desk), Opencode::new(&desk));
    desk.install(&["claude-code", "gemini", "opencode"]);
    let fox = Busy::start(&desk, &mut owl).await;

    let path = desk.path("a.txt");
    model
        .script([Turn::call("write_file", json!({"file_path": path, "content": ""})), Turn::say("Refused.")]);
    let first = gemini.print(&model, "Empty a.txt.", &[]);
    other.script([
        Turn::call("read", json!({"filePath": path})),
        Turn::call("edit", json!({"filePath": path, "oldString": "two", "newString": "dos"})),
        Turn::say("Refused."),
    ]);
    let second = opencode.print(&other, "Change a.txt.", &[]);
    first.finish().await.ok();
    second.finish().await.ok();
    for model in [&model, &other] {
        let requests = model.requests();
        let refused = requests.iter().rfind(|request| request.is_main()).unwrap().last_result();
        assert!(refused.contains(&format!("a.txt is locked by {}", fox.name)), "{refused}");
    }
    assert_eq!(desk.read("a.txt"), "uno\ntwo\n");
    fox.end().await;
}

#[tokio::test]
async fn a_git_command_under_another_session_is_asked_for_and_refused_where_nobody_can_be_asked() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let mut owl = Colleague::join(&desk, "owl").await;
    desk.install(&["claude-code"]);
    let fox = Busy::start(&desk, &mut owl).await;

    let bash = |command: &str| Turn::call("Bash", json!({"command": command}));
    let (retry, hold) = bash("git checkout -q -b side && git branch --show-current").held();
    model.script([bash("git checkout -q -b side"), retry, Turn::say("Done.")]);
    let second = Claude::new(&desk).print(&model, "Begin a branch.", &[]);
    let refused = model.request(|request| request.tool_results().len() == 1);
    let refused = second.meanwhile("the refusal", refused).await.last_result();
    assert!(refused.contains(&format!("{} has uncommitted changes in a.txt", fox.name)), "{refused}");
    assert_eq!(desk.branch(), "main");

    // In a terminal, the user is asked.
    let asking = Model::start().await;
    asking.script([bash("git stash"), Turn::say("Done.")]);
    let terminal = Claude::new(&desk).terminal(&asking, &[]).await;
    terminal.enter("Put it away.").await;
    let question = format!("{} has uncommitted changes in a.txt", fox.name);
    let asks = |screen: &str| screen.split_whitespace().collect::<Vec<_>>().join(" ").contains(&question);
    terminal.until("the question", asks).await;
    drop(terminal);

    fox.end().await;
    hold.release();
    second.finish().await.ok();
    assert_eq!(desk.branch(), "side");
}
