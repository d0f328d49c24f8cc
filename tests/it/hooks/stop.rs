//! A turn does not end over what cannot wait, and is never held up twice for the same.

use mesh_client::Session;
use mesh_client::proto::{MessageIntent, RequestReleaseRequest, SendRequest};
use mesh_tests::{broadcast, message};
use serde_json::json;

use super::seat::{Ground, Seat};

async fn at_work(ground: &Ground, host: &'static str) -> (Seat, Session, String) {
    let seat = ground.seat_of(host, "app");
    seat.start().await;
    seat.prompt().await;
    let name = ground.only(host).await.name;
    (seat, ground.mesh.join_unattended("owl").await, name)
}

fn urgent(to: &str, body: &str) -> SendRequest {
    SendRequest { urgent: true, ..message(to, body) }
}

#[tokio::test]
async fn urgent_mail_holds_a_turn_up_once() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let (seat, owl, name) = at_work(&ground, "claude-code").await;
    owl.send(message(&name, "some time")).await.unwrap();
    owl.send(broadcast("all")).await.unwrap();
    seat.stop().await.silent();
    seat.prompt().await;
    owl.send(urgent(&name, "the build is red")).await.unwrap();
    let held = seat.stop().await;
    assert!(held.go_on().contains("URGENT") && held.go_on().contains("> the build is red"), "{held:?}");
    let again = seat.hook("Stop", json!({"stop_hook_active": true})).await;
    again.silent();
    seat.prompt().await.silent();
    seat.stop().await.silent();
    // One that was shown during the turn is no reason either.
    seat.prompt().await;
    owl.send(urgent(&name, "seen")).await.unwrap();
    assert!(seat.read("src/a.rs").await.context().contains("> seen"));
    seat.stop().await.silent();
    assert_eq!(seat.shell(&["inbox"])["unread"], 0);
}

#[tokio::test]
async fn a_request_for_a_lock_that_stays_holds_a_turn_up_once() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let (seat, owl, _) = at_work(&ground, "claude-code").await;
    let ask = |path: &str| RequestReleaseRequest {
        paths: vec![path.into()],
        reason: "mine now".into(),
        ..Default::default()
    };
    // What the turn took goes with it, and the request with that.
    seat.edits("src/a.rs").await.passed();
    owl.request_release(ask("src/a.rs")).await.unwrap();
    seat.stop().await.silent();
    assert_eq!(ground.locked().await, []);
    seat.prompt().await;
    seat.shell(&["lock", "docs/"]);
    owl.request_release(ask("docs/")).await.unwrap();
    let held = seat.stop().await;
    assert!(held.go_on().contains("owl asks you to release docs/ (reason \"mine now\""), "{held:?}");
    seat.stop().await.silent();
    seat.prompt().await;
    seat.stop().await.silent();
    assert_eq!(ground.locked().await.len(), 1, "the agent's own");
}

#[tokio::test]
async fn where_nothing_wakes_an_idle_agent_its_mail_holds_the_turn_up() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let (seat, owl, name) = at_work(&ground, "vscode").await;
    owl.send(broadcast("all of you")).await.unwrap();
    owl.send(SendRequest { intent: MessageIntent::Ack.into(), ..message(&name, "thanks") }).await.unwrap();
    seat.stop().await.silent();
    seat.prompt().await;
    owl.send(message(&name, "a question")).await.unwrap();
    let held = seat.stop().await;
    assert!(held.go_on().contains("> a question"), "{held:?}");
    seat.stop().await.silent();
}

#[tokio::test]
async fn a_turn_whose_sub_agents_work_on_is_not_held_up() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let (seat, owl, name) = at_work(&ground, "claude-code").await;
    seat.hook("SubagentStart", json!({"agent_id": "a1", "agent_type": "explore"})).await;
    owl.send(urgent(&name, "later")).await.unwrap();
    seat.stop().await.silent();
    seat.hook("SubagentStop", json!({"agent_id": "a1", "agent_type": "explore"})).await;
    let told = seat.prompt().await;
    assert!(told.context().contains("> later"), "{told:?}");
}

#[tokio::test]
async fn a_turn_that_was_broken_off_gives_its_locks_back() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let (seat, owl, name) = at_work(&ground, "claude-code").await;
    seat.edits("src/a.rs").await.passed();
    owl.send(urgent(&name, "unread")).await.unwrap();
    seat.hook("StopFailure", json!({"error": "rate_limit"})).await.silent();
    assert_eq!(ground.locked().await, []);
    assert!(seat.prompt().await.context().contains("> unread"));
}

#[tokio::test]
async fn mail_of_another_project_in_which_the_session_worked_is_not_missed() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    ground.repository("other", "git@example.com:acme/other.git");
    let (seat, _, _) = at_work(&ground, "claude-code").await;
    seat.edits(ground.path("other/src/a.rs")).await.passed();
    let there = "example.com/acme/other";
    let name = ground.peers_in(there).await.remove(0).name;
    let mut options = mesh_tests::unattended("elk");
    options.scope = there.into();
    let elk = Session::join(&ground.mesh.client(), options).await.unwrap();
    elk.send(message(&name, "mind the tests")).await.unwrap();
    let told = seat.read("src/a.rs").await;
    assert!(told.context().contains(&format!("in {there}, where you are {name}:")), "{told:?}");
    assert!(told.context().contains("> mind the tests"), "{told:?}");
    seat.read("src/a.rs").await.silent();
    elk.send(urgent(&name, "now")).await.unwrap();
    let held = seat.stop().await;
    assert!(held.go_on().contains("> now"), "{held:?}");
    seat.stop().await.silent();
    let info = ground.peers_in(there).await.into_iter().find(|peer| peer.name == name).unwrap().info.unwrap();
    assert_eq!(info.activity(), mesh_client::proto::PeerActivity::Idle);
}
