//! Claude Code.

use mesh_mock::{Model, Purpose, Turn};
use mesh_tests::agents::{Claude, Desk};
use serde_json::json;

use super::{Parents, context, is_alone, refusal};

#[tokio::test]
async fn the_model_sees_what_its_tools_did() {
    let (desk, model) = (Desk::new(), Model::start().await);
    model.script([
        Turn::call("Read", json!({"file_path": desk.path("a.txt")})),
        Turn::call(
            "Edit",
            json!({"file_path": desk.path("a.txt"), "old_string": "one", "new_string": "uno"}),
        ),
        Turn::say("Changed it."),
    ]);
    let session = Claude::new(&desk).print(&model, "Change a.txt.", &[]);
    let finished = session.finish().await.ok();

    assert_eq!(desk.read("a.txt"), "uno\ntwo\n");
    assert_eq!(finished.json_lines().last().unwrap()["result"], "Changed it.");
    let requests = model.requests();
    assert_eq!(requests.len(), 3, "{requests:#?}");
    assert!(requests[0].holds("Change a.txt."));
    assert!(requests[1].last_result().contains("one"));
    assert!(requests[2].last_result().contains("has been updated"));
    assert!(requests.iter().all(|request| request.scripted && request.purpose == Purpose::Turn));
}

#[tokio::test]
async fn the_mcp_server_is_healthy_and_answers_the_model() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let claude = Claude::new(&desk);
    claude.add_mcp();
    let list = claude.run(&["mcp", "list"]).ok().stdout;
    assert!(list.contains("mesh: ") && list.contains("Connected"), "{list}");

    model.script([Turn::call("mcp__mesh__mesh_who", json!({})), Turn::say("Alone.")]);
    claude.print(&model, "Who is here?", &[]).finish().await.ok();
    let who = model.requests()[1].last_result();
    assert!(is_alone(&who), "{who}");
}

#[tokio::test]
async fn a_session_without_a_terminal_takes_one_prompt_after_another() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let mut session = Claude::new(&desk).stream(&model, &[]);
    for (prompt, answer) in [("First question", "First answer"), ("Second question", "Second answer")] {
        model.script([Turn::say(answer)]);
        Claude::say(&mut session, prompt).await;
        session.line(answer, |line| line["type"] == "result" && line["result"] == answer).await;
    }
    let last = model.requests().pop().unwrap();
    assert_eq!((last.count("First question"), last.count("First answer")), (1, 1));
    assert!(last.news().contains("Second question") && !last.news().contains("First question"));
    session.finish().await.ok();
}

#[tokio::test]
async fn a_session_in_a_terminal_answers_and_ends() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let terminal = Claude::new(&desk).terminal(&model, &[]).await;
    model.script([Turn::say("Good morning.")]);
    terminal.enter("Hello there").await;
    terminal.until("the answer", |screen| screen.contains("Good morning.")).await;
    let request =
        terminal.meanwhile("the prompt", model.request(|request| request.holds("Hello there"))).await;
    assert!(request.is_main() && request.scripted);

    terminal.enter("/exit").await;
    assert_eq!(terminal.ended().await, Some(0));
    assert_eq!(desk.processes(), []);
}

#[tokio::test]
async fn what_a_hook_waits_for_wakes_an_idle_session() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let claude = Claude::new(&desk);
    let mail = desk.tmp().join("mail");
    // A fifo: the hook waits for what is written to it, without polling.
    let wait = format!("test -p {0} || mkfifo {0}; cat {0} >&2; exit 2", mail.display());
    claude.hook("SessionStart", "", &json!({"type": "command", "command": wait, "asyncRewake": true}));
    let terminal = claude.terminal(&model, &[]).await;

    let write = tokio::task::spawn_blocking(move || {
        loop {
            // Opening it waits until the hook reads.
            if mail.exists() {
                return std::fs::write(mail, "Fox needs the lock.");
            }
        }
    });
    terminal.meanwhile("the hook", write).await.unwrap().unwrap();
    let woken = model.request(|request| request.holds("Fox needs the lock."));
    let woken = terminal.meanwhile("the session to wake", woken).await;
    assert!(woken.is_main());
    assert_eq!(woken.count("Fox needs the lock."), 1);
}

#[tokio::test]
async fn a_line_of_a_plugins_monitor_wakes_an_idle_session() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let news = desk.tmp().join("news");
    assert!(desk.command("mkfifo").arg(&news).status().unwrap().success());
    let plugin = desk.home().join("plugin");
    let manifest =
        json!({"name": "news", "version": "0.0.0", "experimental": {"monitors": "./monitors.json"}});
    let command = format!("cat {}", news.display());
    let monitors = json!([{"name": "news", "command": command, "description": "news from other agents"}]);
    std::fs::create_dir_all(plugin.join(".claude-plugin")).unwrap();
    std::fs::write(plugin.join(".claude-plugin/plugin.json"), manifest.to_string()).unwrap();
    std::fs::write(plugin.join("monitors.json"), monitors.to_string()).unwrap();
    let terminal = Claude::new(&desk).terminal(&model, &["--plugin-dir", plugin.to_str().unwrap()]).await;

    // Opening it waits until the monitor reads.
    let write = tokio::task::spawn_blocking(move || std::fs::write(news, "Fox needs the lock.\n"));
    terminal.meanwhile("the monitor", write).await.unwrap().unwrap();
    let woken = model.request(|request| request.holds("Fox needs the lock."));
    let woken = terminal.meanwhile("the session to wake", woken).await;
    assert!(woken.is_main());
    assert_eq!(woken.count("<event>Fox needs the lock.</event>"), 1);
}

#[tokio::test]
async fn sub_agents_and_their_session_are_told_apart() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let task = json!({"description": "look", "prompt": "Look at a.txt.", "subagent_type": "general-purpose"});
    model.script([Turn::call("Task", task), Turn::say("Waiting."), Turn::say("Seen.")]);
    model
        .script_subagents([Turn::call("Read", json!({"file_path": desk.path("a.txt")})), Turn::say("Read.")]);
    Claude::new(&desk).print(&model, "Have it looked at.", &[]).finish().await.ok();

    let requests = model.requests();
    let children: Vec<_> = requests.iter().filter(|request| request.subagent.is_some()).collect();
    assert_eq!(children.len(), 2);
    assert!(children[1].last_result().contains("two"));
    assert!(requests.iter().all(|request| request.session == requests[0].session));
}

#[tokio::test]
async fn what_hooks_say_reaches_the_model_once() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let claude = Claude::new(&desk);
    let said = ["At the start.", "With the prompt.", "Before the tool.", "After the tool."];
    for (event, text) in
        ["SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse"].into_iter().zip(said)
    {
        let answer = desk.answering(&context(event, text));
        claude.hook(event, "", &json!({"type": "command", "command": answer}));
    }
    model.script([Turn::call("Read", json!({"file_path": desk.path("a.txt")})), Turn::say("Read.")]);
    claude.print(&model, "Read a.txt.", &[]).finish().await.ok();
    let requests = model.requests();
    let counts = |request: usize| said.map(|text| requests[request].count(text));
    assert_eq!((counts(0), counts(1)), ([1, 1, 0, 0], [1, 1, 1, 1]));
}

#[tokio::test]
async fn a_hook_can_refuse_an_edit() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let claude = Claude::new(&desk);
    let answer = desk.answering(&refusal("Fox has it."));
    claude.hook("PreToolUse", "Edit|Write", &json!({"type": "command", "command": answer}));
    model.script([
        Turn::call("Read", json!({"file_path": desk.path("a.txt")})),
        Turn::call(
            "Edit",
            json!({"file_path": desk.path("a.txt"), "old_string": "one", "new_string": "uno"}),
        ),
        Turn::say("Refused."),
    ]);
    claude.print(&model, "Change a.txt.", &[]).finish().await.ok();
    assert_eq!(desk.read("a.txt"), "one\ntwo\n");
    assert_eq!(model.requests()[2].last_result(), "PreToolUse:Edit hook error: Fox has it.");
}

#[tokio::test]
async fn hooks_and_the_mcp_server_have_one_parent() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let claude = Claude::new(&desk);
    let parents = Parents::new(&desk);
    claude.add_mcp_as(&parents.server());
    claude.hook("PreToolUse", "mcp__.*", &json!({"type": "command", "command": parents.hook()}));
    model.script([Turn::call("mcp__mesh__mesh_who", json!({})), Turn::say("Alone.")]);
    let session = claude.print(&model, "Who is here?", &[]);
    let pid = session.pid();
    session.finish().await.ok();
    assert_eq!(parents.read(), (pid, pid));
}
