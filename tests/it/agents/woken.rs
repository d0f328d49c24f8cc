//! Waking: a message reaches an idle session by itself, once, and its sender learns of it.

use mesh_client::proto::{DeliveryStatus, PeerActivity, WakeOutcome};
use mesh_mock::{Model, Request, Turn};
use mesh_tests::agents::{Claude, Codex, Desk, Opencode, Terminal};

use super::Colleague;

const FIRST: &str = "The plan is void.";
const SECOND: &str = "The second plan, too.";

/// The session in a terminal is idle, twice is something said to it, and the second time it is still busy with the first.
async fn wakes(owl: &mut Colleague, model: &Model, terminal: &Terminal, (kind, way): (&str, &str)) {
    model.script([Turn::say("Good morning.")]);
    terminal.enter("Hello there").await;
    terminal.until("the answer", |screen| screen.contains("Good morning.")).await;
    let name = terminal.meanwhile("it to join", owl.until_joined(kind)).await;
    terminal.meanwhile("its rest", owl.until_activity(&name, PeerActivity::Idle)).await;
    terminal.meanwhile("the way to wake it", owl.is_woken_by(kind, way)).await;

    let (busy, hold) = Turn::say("I see.").held();
    model.script([busy, Turn::say("That as well.")]);
    let first = owl.tell(&name, FIRST).await;
    let woken = model.request(|request| request.is_main() && request.holds(FIRST));
    let woken = terminal.meanwhile("the session to wake", woken).await;
    let receipt = owl.receipt(&first, "a receipt", |told| told.status() == DeliveryStatus::Read).await;
    assert_eq!((receipt.wake_outcome(), receipt.wake_via.as_str()), (WakeOutcome::Taken, way));

    let second = owl.tell(&name, SECOND).await;
    hold.release();
    let woken_again = model.request(|request| request.is_main() && request.holds(SECOND));
    let woken_again = terminal.meanwhile("the session to wake again", woken_again).await;
    owl.receipt(&second, "a second receipt", |told| told.status() == DeliveryStatus::Read).await;
    terminal.until("the end", |screen| screen.contains("That as well.")).await;

    model.script([Turn::say("Nothing else.")]);
    terminal.enter("Anything else?").await;
    terminal.until("the last answer", |screen| screen.contains("Nothing else.")).await;
    let requests: Vec<Request> = model.requests().into_iter().filter(Request::is_main).collect();
    // The greeting, one wake for each message, and the question: nothing woke it in between.
    assert_eq!(requests.len(), 4, "{:#?}", requests.iter().map(Request::news).collect::<Vec<_>>());
    assert_eq!((woken.number, woken_again.number), (requests[1].number, requests[2].number));
    let last = requests.last().unwrap();
    assert_eq!((last.count(FIRST), last.count(SECOND)), (1, 1), "{:#?}", last.texts());
    assert!(last.news().contains("Anything else?") && !last.news().contains(FIRST), "{}", last.news());
}

#[tokio::test]
async fn the_monitor_of_the_plugin_wakes_claude_code() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let mut owl = Colleague::join(&desk, "owl").await;
    let claude = Claude::new(&desk);
    desk.install(&["claude-code"]);
    let terminal = claude.terminal(&model, &[]).await;
    wakes(&mut owl, &model, &terminal, ("claude-code", "monitor")).await;
}

#[tokio::test]
async fn a_hook_in_the_settings_wakes_claude_code() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let mut owl = Colleague::join(&desk, "owl").await;
    let claude = Claude::new(&desk);
    desk.install(&["claude-code", "--settings"]);
    let terminal = claude.terminal(&model, &[]).await;
    wakes(&mut owl, &model, &terminal, ("claude-code", "async-rewake")).await;
}

#[tokio::test]
async fn a_hook_in_the_settings_holds_up_no_session_without_a_terminal() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let claude = Claude::new(&desk);
    desk.install(&["claude-code", "--settings"]);
    model.script([Turn::say("Good morning.")]);
    claude.print(&model, "Hello there", &[]).finish().await.ok();
    assert_eq!(model.requests()[0].count("[mesh] you are "), 1);
}

#[tokio::test]
async fn its_queue_wakes_codex() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let mut owl = Colleague::join(&desk, "owl").await;
    let codex = Codex::new(&desk);
    desk.install(&["codex"]);
    let terminal = codex.terminal(&model, &[]).await;
    wakes(&mut owl, &model, &terminal, ("codex", "codex-queue")).await;
}

#[tokio::test]
async fn its_plugin_wakes_opencode() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let mut owl = Colleague::join(&desk, "owl").await;
    let opencode = Opencode::new(&desk);
    desk.install(&["opencode"]);
    let terminal = opencode.terminal(&model, &[]).await;
    wakes(&mut owl, &model, &terminal, ("opencode", "opencode")).await;
}
