//! Identity: hooks, tools and shell of one session are one peer, for as long as the session goes on and no longer.

use mesh_client::proto::event::Event;
use mesh_client::proto::{LeaveCause, ListMessagesRequest, PeerActivity};
use mesh_mock::{Model, Request, Turn};
use mesh_tests::agents::{Claude, Codex, Desk};
use mesh_tests::{kill, within};
use serde_json::json;

use super::{Colleague, PATCH, edit, read};

/// Who has sent the last message to the colleague.
async fn sender(owl: &Colleague) -> String {
    let inbox = owl.session.inbox(ListMessagesRequest { limit: 20, ..Default::default() }).await.unwrap();
    inbox.messages.last().expect("a message").from.clone()
}

/// Waits until no process of ours is left that belongs to an agent.
async fn nobody_waits(desk: &Desk) {
    within("the end of what waits", async {
        while !desk.helpers().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn hooks_tools_and_shell_of_claude_code_are_one_peer() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let mut owl = Colleague::join(&desk, "owl").await;
    let claude = Claude::new(&desk);
    desk.install(&["claude-code"]);
    let (last, hold) = Turn::say("Done.").held();
    model.script([
        Turn::call("mcp__plugin_mesh_mesh__mesh_who", json!({})),
        Turn::call("Bash", json!({"command": "meshctl who && meshctl send owl hello"})),
        read(&desk, "a.txt"),
        edit(&desk, "a.txt", "one", "uno"),
        last,
    ]);
    let session = claude.print(&model, "Do all.", &[]);
    let edited = model.request(|request| request.last_result().contains("has been updated"));
    session.meanwhile("the edit", edited).await;
    let agent = owl.agent("claude-code").await;
    let requests = model.requests();
    assert_eq!(requests[0].count(&format!("[mesh] you are {}", agent.name)), 1);
    let results = requests.last().unwrap().tool_results();
    assert!(results[0].contains(&format!("{} (you, ", agent.name)), "{}", results[0]);
    assert!(results[1].contains(&agent.name), "{}", results[1]);
    assert_eq!(sender(&owl).await, agent.name);
    let held = owl.locks().await;
    assert_eq!(
        held.iter().map(|lock| (&*lock.path, &lock.holder)).collect::<Vec<_>>(),
        [("a.txt", &agent.name)]
    );
    // Nobody but these two was ever here.
    assert_eq!(owl.peers("human").await.len(), 0);

    hold.release();
    session.finish().await.ok();
    let (_, cause) = owl.events.until_left(&agent.name).await;
    assert_eq!((cause, owl.locks().await), (LeaveCause::Left, vec![]));
    nobody_waits(&desk).await;
}

#[tokio::test]
async fn hooks_tools_and_shell_of_codex_are_one_peer_also_when_it_goes_on() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let mut owl = Colleague::join(&desk, "owl").await;
    let codex = Codex::new(&desk);
    desk.install(&["codex"]);
    model.script([
        Turn::call("mcp__mesh__mesh_who", json!({})),
        Turn::call("exec_command", json!({"cmd": "meshctl send owl hello"})),
        Turn::call("apply_patch", json!(PATCH)),
        Turn::say("Done."),
    ]);
    codex.exec(&model, "Do all.", &[]).finish().await.ok();
    let [agent] = &owl.peers("codex").await[..] else { panic!("{:#?}", owl.peers("codex").await) };
    assert!(model.requests()[1].last_result().contains(&format!("{} (you, ", agent.name)));
    assert_eq!(sender(&owl).await, agent.name);
    assert_eq!(desk.read("a.txt"), "one\ndos\n");
    let (_, cause) = owl.events.until_left(&agent.name).await;
    assert_eq!((cause, owl.locks().await), (LeaveCause::Left, vec![]));
    nobody_waits(&desk).await;

    model.script([Turn::call("mcp__mesh__mesh_who", json!({})), Turn::say("Done.")]);
    codex.exec(&model, "Who is here?", &["resume", "--last"]).finish().await.ok();
    let who = model.requests().pop().unwrap().last_result();
    assert!(who.contains(&format!("{} (you, ", agent.name)), "{who}");
    assert_eq!((owl.peers("codex").await.len(), owl.peers("human").await.len()), (1, 0));
}

#[tokio::test]
async fn a_session_that_is_cleared_and_compacted_stays_the_same_peer() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let mut owl = Colleague::join(&desk, "owl").await;
    let claude = Claude::new(&desk);
    desk.install(&["claude-code"]);
    let terminal = claude.terminal(&model, &[]).await;
    terminal.enter("First words").await;
    let name = terminal.meanwhile("it to join", owl.until_joined("claude-code")).await;
    terminal.meanwhile("its rest", owl.until_activity(&name, PeerActivity::Idle)).await;
    terminal.meanwhile("its monitor", owl.is_woken_by("claude-code", "monitor")).await;

    terminal.enter("/clear").await;
    terminal.until("an empty conversation", |screen| !screen.contains("First words")).await;
    model.script([Turn::call("mcp__plugin_mesh_mesh__mesh_who", json!({})), Turn::say("Nobody.")]);
    terminal.enter("Second words").await;
    let who = model.request(|request| request.is_main() && request.last_result().contains("(you, "));
    let who = terminal.meanwhile("who is here", who).await;
    assert!(who.last_result().contains(&format!("{name} (you, ")), "{}", who.last_result());
    assert_eq!(who.count(&format!("[mesh] you are {name} (still)")), 1, "{:#?}", who.texts());
    assert!(!who.holds("First words"));
    terminal.meanwhile("its rest", owl.until_activity(&name, PeerActivity::Idle)).await;

    terminal.until("the answer", |screen| screen.contains("Nobody.")).await;
    terminal.enter("/compact").await;
    terminal.until("the summary", |screen| screen.contains("Compacted")).await;
    terminal.enter("Third words").await;
    let third = model.request(|request| request.is_main() && request.holds("Third words"));
    let third = terminal.meanwhile("the prompt", third).await;
    assert_eq!(third.count(&format!("[mesh] you are {name} (still)")), 1, "{:#?}", third.texts());
    terminal.meanwhile("its rest", owl.until_activity(&name, PeerActivity::Idle)).await;
    assert_eq!(owl.peers("claude-code").await.iter().map(|peer| &peer.name).collect::<Vec<_>>(), [&name]);

    // What waits for mail is still the one process.
    assert_eq!(owl.agent("claude-code").await.info.unwrap().wake, "monitor");
    owl.tell(&name, "The plan is void.").await;
    let woken = model.request(|request| request.is_main() && request.holds("The plan is void."));
    terminal.meanwhile("the session to wake", woken).await;
    terminal.meanwhile("its rest", owl.until_activity(&name, PeerActivity::Idle)).await;
    terminal.enter("/exit").await;
    assert_eq!(terminal.ended().await, Some(0));
    owl.events.until_left(&name).await;
    let last = model.requests().into_iter().rfind(Request::is_main).unwrap();
    assert_eq!(last.count("The plan is void."), 1);
    nobody_waits(&desk).await;
}

#[tokio::test]
async fn a_sub_agent_is_shown_as_a_child_while_it_works() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let mut owl = Colleague::join(&desk, "owl").await;
    let claude = Claude::new(&desk);
    desk.install(&["claude-code"]);
    let task = json!({"description": "look", "prompt": "Look at a.txt.", "subagent_type": "general-purpose"});
    let (reads, hold) = read(&desk, "a.txt").held();
    model.script([Turn::call("Task", task), Turn::say("Waiting."), Turn::say("Seen.")]);
    model.script_subagents([reads, Turn::say("Read.")]);
    let session = claude.print(&model, "Have it looked at.", &[]);
    let name = session.meanwhile("it to join", owl.until_joined("claude-code")).await;

    let children = |few: bool| {
        let name = name.clone();
        move |event: &Event| match event {
            Event::PeerUpdated(updated) => {
                let peer = updated.peer.as_ref().filter(|peer| peer.name == name)?;
                let children = &peer.info.as_ref()?.children;
                let told = updated.changed.iter().any(|field| field == "children");
                (told && children.is_empty() == few).then(|| children.clone())
            }
            _ => None,
        }
    };
    let (_, shown) = session.meanwhile("a child", owl.events.until("a child", children(false))).await;
    assert_eq!(shown.iter().map(|child| &*child.kind).collect::<Vec<_>>(), ["general-purpose"]);
    let who = desk.meshctl(&["who"]).ok().stdout;
    assert!(who.contains("general-purpose"), "{who}");
    hold.release();
    session.meanwhile("no child", owl.events.until("no child", children(true))).await;
    session.finish().await.ok();
    assert_eq!(owl.peers("claude-code").await.len(), 1);
    assert_eq!(owl.activity("a.txt").await[0].peer, name);
}

#[tokio::test]
async fn a_killed_session_is_gone_with_its_locks_and_all_that_waited_for_it() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let mut owl = Colleague::join(&desk, "owl").await;
    let claude = Claude::new(&desk);
    desk.install(&["claude-code"]);
    let terminal = claude.terminal(&model, &[]).await;
    let (last, _hold) = Turn::say("Done.").held();
    model.script([
        Turn::call("mcp__plugin_mesh_mesh__mesh_who", json!({})),
        read(&desk, "a.txt"),
        edit(&desk, "a.txt", "one", "uno"),
        last,
    ]);
    terminal.enter("Change a.txt.").await;
    let name = terminal.meanwhile("it to join", owl.until_joined("claude-code")).await;
    let edited = model.request(|request| request.last_result().contains("has been updated"));
    terminal.meanwhile("the edit", edited).await;
    assert_eq!(owl.locks().await.len(), 1);
    assert!(!desk.helpers().is_empty());

    kill(terminal.pid());
    let (_, cause) = owl.events.until_left(&name).await;
    // By its adapter, which sees the end of its agent, or by the broker, which sees that of the adapter.
    assert!(matches!(cause, LeaveCause::Left | LeaveCause::Disconnected), "{cause:?}");
    nobody_waits(&desk).await;
    if cause == LeaveCause::Disconnected {
        owl.events.until_unlocked("a.txt").await;
    }
    assert_eq!(owl.locks().await, []);
}

#[tokio::test]
async fn a_killed_session_that_never_used_a_tool_of_the_mesh_is_gone_as_well() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let mut owl = Colleague::join(&desk, "owl").await;
    let claude = Claude::new(&desk);
    desk.install(&["claude-code"]);
    let terminal = claude.terminal(&model, &[]).await;
    let (last, _hold) = Turn::say("Done.").held();
    model.script([read(&desk, "a.txt"), edit(&desk, "a.txt", "one", "uno"), last]);
    terminal.enter("Change a.txt.").await;
    let name = terminal.meanwhile("it to join", owl.until_joined("claude-code")).await;
    let edited = model.request(|request| request.last_result().contains("has been updated"));
    terminal.meanwhile("the edit", edited).await;
    terminal.meanwhile("its monitor", owl.is_woken_by("claude-code", "monitor")).await;

    kill(terminal.pid());
    // By the end of a stream, or by the process that waits beside it, whichever was there.
    let (_, cause) = owl.events.until_left(&name).await;
    assert!(matches!(cause, LeaveCause::Disconnected | LeaveCause::Left), "{cause:?}");
    nobody_waits(&desk).await;
}

#[tokio::test]
async fn codex_stays_the_same_peer_when_it_is_cleared_and_compacted_and_is_gone_when_it_is_killed() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let mut owl = Colleague::join(&desk, "owl").await;
    let codex = Codex::new(&desk);
    desk.install(&["codex"]);
    let terminal = codex.terminal(&model, &[]).await;
    terminal.enter("First words").await;
    let name = terminal.meanwhile("it to join", owl.until_joined("codex")).await;
    terminal.meanwhile("its rest", owl.until_activity(&name, PeerActivity::Idle)).await;

    // It takes no command before.
    terminal.until("the end of the turn", |screen| screen.contains("Worked for")).await;
    terminal.enter("/clear").await;
    terminal.until("an empty conversation", |screen| !screen.contains("First words")).await;
    model.script([Turn::call("mcp__mesh__mesh_who", json!({})), Turn::say("Nobody.")]);
    terminal.enter("Second words").await;
    let who = model.request(|request| request.is_main() && request.last_result().contains("(you, "));
    let who = terminal.meanwhile("who is here", who).await;
    assert!(who.last_result().contains(&format!("{name} (you, ")), "{}", who.last_result());
    assert_eq!(who.count(&format!("[mesh] you are {name} (still)")), 1, "{:#?}", who.texts());
    terminal.meanwhile("its rest", owl.until_activity(&name, PeerActivity::Idle)).await;

    terminal.until("the end of the turn", |screen| screen.contains("Worked for")).await;
    terminal.enter("/compact").await;
    terminal.until("the summary", |screen| screen.contains("compacted")).await;
    let (last, _hold) = Turn::say("Done.").held();
    model.script([Turn::call("apply_patch", json!(PATCH)), last]);
    terminal.enter("Third words").await;
    let third = model.request(|request| request.is_main() && request.last_result().contains("M a.txt"));
    let third = terminal.meanwhile("the patch", third).await;
    assert_eq!(third.count(&format!("[mesh] you are {name} (still)")), 1, "{:#?}", third.texts());
    assert_eq!(owl.peers("codex").await.iter().map(|peer| &peer.name).collect::<Vec<_>>(), [&name]);
    assert_eq!(owl.locks().await.len(), 1);

    kill(terminal.pid());
    let (_, cause) = owl.events.until_left(&name).await;
    assert!(matches!(cause, LeaveCause::Disconnected | LeaveCause::Left), "{cause:?}");
    nobody_waits(&desk).await;
}
