//! Reports: what a session reads and edits, also by its shell, is known of the file, with who and on which branch.

use mesh_mock::{Model, Turn};
use mesh_tests::agents::{Claude, Codex, Desk};
use serde_json::{Value, json};

use super::{Colleague, PATCH, edit, read};

/// What `meshctl about` tells of a file: who did what on which branch.
fn about(desk: &Desk, file: &str) -> Vec<(String, String, [bool; 2])> {
    let told = desk.meshctl(&["about", file, "--json"]).ok().stdout;
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{told}"));
    let text = |of: &Value| of.as_str().unwrap_or_default().to_owned();
    let did = |of: &Value| ["read", "edit"].map(|what| !of[format!("{what}_time")].is_null());
    let activity = told["activity"].as_array().unwrap_or_else(|| panic!("{told:#}"));
    activity.iter().map(|of| (text(&of["peer"]), text(&of["branch"]), did(of))).collect()
}

#[tokio::test]
async fn what_claude_code_touches_is_known_of_the_file() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let owl = Colleague::join(&desk, "owl").await;
    desk.write("b.txt", "three\n");
    desk.install(&["claude-code"]);
    model.script([
        read(&desk, "b.txt"),
        read(&desk, "a.txt"),
        edit(&desk, "a.txt", "one", "uno"),
        Turn::call("Bash", json!({"command": "echo four > c.txt"})),
        Turn::say("Done."),
    ]);
    Claude::new(&desk).print(&model, "Change some.", &[]).finish().await.ok();
    let [agent] = &owl.peers("claude-code").await[..] else { panic!("one peer") };
    let on_main = |did| vec![(agent.name.clone(), "main".to_owned(), did)];
    assert_eq!(about(&desk, "a.txt"), on_main([true, true]));
    assert_eq!(about(&desk, "b.txt"), on_main([true, false]));
    assert_eq!(about(&desk, "c.txt"), on_main([false, true]));
    let shown = desk.meshctl(&["about", "a.txt"]).ok().stdout;
    assert!(shown.contains(&agent.name) && shown.contains("main"), "{shown}");
}

#[tokio::test]
async fn what_codex_touches_in_a_worktree_is_known_in_the_other() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let owl = Colleague::join(&desk, "owl").await;
    let side = desk.worktree("side");
    let codex = Codex::within(&desk, &side);
    desk.install(&["codex"]);
    model.script([
        Turn::call("apply_patch", json!(PATCH)),
        Turn::call("exec_command", json!({"cmd": "echo four > c.txt"})),
        Turn::say("Done."),
    ]);
    codex.exec(&model, "Change some.", &[]).finish().await.ok();
    let [agent] = &owl.peers("codex").await[..] else { panic!("one peer") };
    let edited = vec![(agent.name.clone(), "side".to_owned(), [false, true])];
    assert_eq!((about(&desk, "a.txt"), about(&desk, "c.txt")), (edited.clone(), edited));

    // Who edits the file in the other checkout is told.
    let model = Model::start().await;
    let claude = Claude::new(&desk);
    desk.install(&["claude-code"]);
    model.script([read(&desk, "a.txt"), edit(&desk, "a.txt", "one", "uno"), Turn::say("Done.")]);
    claude.print(&model, "Change a.txt.", &[]).finish().await.ok();
    let last = model.requests().pop().unwrap();
    assert_eq!(last.count(&format!("{} edited a.txt on branch side", agent.name)), 1, "{:#?}", last.texts());
    assert_eq!(desk.read("a.txt"), "uno\ntwo\n");
}
