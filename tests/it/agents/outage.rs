//! A broker that is killed or cannot start: the agent goes on, its user is told once, and it recovers.

use mesh_mock::{Model, Turn};
use mesh_tests::agents::{Claude, Desk, Terminal};
use mesh_tests::{kill, within};
use serde_json::{Value, json};

use super::{edit, read};

/// Kills the broker of a desk, and waits until it is gone.
async fn kill_broker(desk: &Desk) -> u32 {
    let pid = desk.mesh().broker_pid().expect("the hook at the start has started it");
    kill(pid);
    within("the end of the broker", async {
        while desk.mesh().broker_pid().is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    pid
}

/// Locks as the mesh tells them: path, holder, token.
fn locks(desk: &Desk) -> Vec<(String, String, String)> {
    let told = desk.meshctl(&["locks", "--json"]).ok().stdout;
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{told}"));
    let locks = told["locks"].as_array().unwrap_or_else(|| panic!("{told:#}"));
    let text =
        |lock: &Value, field: &str| lock[field].as_str().map_or(lock[field].to_string(), str::to_owned);
    locks
        .iter()
        .map(|lock| ["path", "holder", "fencing_token"].map(|field| text(lock, field)).into())
        .collect()
}

#[tokio::test]
async fn a_killed_broker_is_started_by_the_next_hooks_and_nothing_is_lost() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let claude = Claude::new(&desk);
    desk.install(&["claude-code"]);
    let bash = || Turn::call("Bash", json!({"command": "true"}));
    let (before, killed) = bash().held();
    let (after, back) = bash().held();
    model.script([
        read(&desk, "a.txt"),
        edit(&desk, "a.txt", "one", "uno"),
        before,
        after,
        edit(&desk, "a.txt", "two", "dos"),
        Turn::say("Done."),
    ]);
    let session = claude.print(&model, "Change a.txt.", &[]);
    let edited = model.request(|request| request.last_result().contains("has been updated"));
    session.meanwhile("the edit", edited).await;
    let held = locks(&desk);
    assert_eq!(held.len(), 1, "{held:?}");
    let pid = kill_broker(&desk).await;

    killed.release();
    let went_on = model.request(|request| request.tool_results().len() == 3);
    session.meanwhile("the next tool", went_on).await;
    let restarted = within("the hook to start it", async {
        loop {
            match desk.mesh().broker_pid() {
                Some(pid) => return pid,
                None => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    assert_ne!(restarted, pid);
    assert_eq!(locks(&desk), held, "the same peer, the same token");
    back.release();
    session.finish().await.ok();
    assert_eq!(desk.read("a.txt"), "uno\ndos\n");
    assert_eq!(locks(&desk), []);
    let peers = desk.meshctl(&["who", "--all", "--json"]).ok().stdout;
    assert_eq!(peers.matches("\"claude-code\"").count(), 1, "{peers}");
}

async fn turn(terminal: &Terminal, model: &Model, prompt: &str, turns: impl IntoIterator<Item = Turn>) {
    model.script(turns);
    terminal.enter(prompt).await;
    let answer = format!("Done with {prompt}");
    terminal.until(&answer, |screen| screen.contains(&answer)).await;
}

#[tokio::test]
async fn without_a_broker_the_agent_goes_on_and_its_user_is_told_once() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let claude = Claude::new(&desk);
    desk.install(&["claude-code"]);
    let terminal = claude.terminal(&model, &[]).await;
    let done = |prompt: &str| Turn::say(format!("Done with {prompt}"));
    turn(&terminal, &model, "reading", [read(&desk, "a.txt"), done("reading")]).await;

    // A store that is none: no broker can start.
    let (store, aside) = (desk.mesh().home().store_path(), desk.home().join("store"));
    kill_broker(&desk).await;
    std::fs::rename(&store, &aside).unwrap();
    std::fs::write(&store, "").unwrap();
    let spanish = [edit(&desk, "a.txt", "one", "uno"), edit(&desk, "a.txt", "two", "dos"), done("spanish")];
    turn(&terminal, &model, "spanish", spanish).await;
    assert_eq!(desk.read("a.txt"), "uno\ndos\n");
    let screen = terminal.screen();
    assert_eq!(screen.matches("the broker is away").count(), 1, "{screen}");

    std::fs::remove_file(&store).unwrap();
    std::fs::rename(&aside, &store).unwrap();
    let (french, hold) = done("french").held();
    model.script([edit(&desk, "a.txt", "uno", "un"), french]);
    terminal.enter("french").await;
    let edited = model.request(|request| request.tool_results().len() == 4);
    terminal.meanwhile("the edit", edited).await;
    within("a broker", async {
        while desk.mesh().broker_pid().is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    hold.release();
    terminal.until("the end", |screen| screen.contains("Done with french")).await;
    turn(&terminal, &model, "nothing", [done("nothing")]).await;
    let screen = terminal.screen();
    let told = ["the broker is away", "the broker is back"].map(|text| screen.matches(text).count());
    assert_eq!(told, [1, 1], "{screen}");
    let peers = desk.meshctl(&["who", "--json"]).ok().stdout;
    assert_eq!(peers.matches("\"claude-code\"").count(), 1, "{peers}");
}
