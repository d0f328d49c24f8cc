//! Agents of several hosts at one desk.

use mesh_mock::{Model, Turn};
use mesh_tests::agents::{Claude, Codex, Desk};
use serde_json::json;

#[tokio::test]
async fn agents_of_two_hosts_see_each_other() {
    let desk = Desk::new();
    let (fox, owl) = (Model::start().await, Model::start().await);
    let (claude, codex) = (Claude::new(&desk), Codex::new(&desk));
    claude.add_mcp();
    codex.add_mcp();

    let (busy, hold) = Turn::say("Done.").held();
    fox.script([
        Turn::call("mcp__mesh__mesh_checkin", json!({"name": "fox", "focus": "rewrite auth"})),
        busy,
    ]);
    let first = claude.print(&fox, "Check in.", &[]);
    let joined = fox.request(|request| request.last_result().contains("you are fox"));
    first.meanwhile("fox to check in", joined).await;

    owl.script([Turn::call("mcp__mesh__mesh_who", json!({})), Turn::say("Fox is here.")]);
    codex.exec(&owl, "Who is here?", &[]).finish().await.ok();
    let who = owl.requests()[1].last_result();
    assert!(who.contains("fox (") && who.contains("\"rewrite auth\""), "{who}");

    hold.release();
    first.finish().await.ok();
}
