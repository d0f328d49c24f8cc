//! To an agent, a killed broker is a call that took a little longer.

use mesh_tests::{Mesh, history, kill};
use serde_json::json;

use super::agent::{Agent, ERAS, Era};

#[tokio::test]
async fn after_a_kill_of_the_broker_the_next_call_finds_everything_as_it_was() {
    for era in ERAS {
        let mesh = Mesh::new();
        let mut fox = Agent::named(&mesh, era, "fox").await;
        let mut owl = Agent::named(&mesh, era, "owl").await;
        fox.call("mesh_lock", json!({"paths": ["src/"], "reason": "mine"})).await.done();
        fox.call("mesh_remember", json!({"key": "k", "value": "v"})).await.done();
        let mut told = String::new();
        for round in 0..3 {
            owl.call("mesh_send", json!({"to": "fox", "body": format!("mail {round}")})).await.done();
            let broker = mesh.broker_pid().unwrap();
            kill(broker);
            let locks = fox.call("mesh_locks", json!({})).await.done();
            assert!(locks.starts_with("src/ held by fox (you), 30m left, reason \"mine\""), "{locks}");
            assert_ne!(mesh.broker_pid(), Some(broker), "the call has started another");
            let status = fox.call("mesh_status", json!({})).await.done();
            assert!(status.starts_with("you are fox in ") && status.contains("online here: 2"), "{status}");
            let mail = fox.call("mesh_inbox", json!({"ack": true})).await.done();
            assert!(mail.contains(&format!("> mail {round}\n")) && mail.contains("nothing unread"), "{mail}");
            let refused = owl.call("mesh_lock", json!({"paths": ["src/a.rs"]})).await.refused();
            assert!(refused.contains("src/ held by fox"), "{refused}");
            told.extend([locks, status, mail, refused]);
        }
        assert!(!told.contains("your session had ended") && !told.contains("lost the lock"), "{told}");
        let recalled = owl.call("mesh_recall", json!({"key": "k"})).await.done();
        assert!(recalled.contains("\n> v"), "{recalled}");
        let batches = history(&mesh.client(), 1).await;
        let gapless = batches.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1);
        assert!(gapless && batches.iter().filter(|batch| joined(batch)).count() == 2, "{batches:?}");
    }
}

fn joined(batch: &mesh_client::proto::EventBatch) -> bool {
    let joins = |event: &_| matches!(event, mesh_client::proto::event::Event::PeerJoined(_));
    mesh_tests::events(batch).any(joins)
}

#[tokio::test]
async fn a_call_that_waits_outlives_the_broker() {
    let mesh = Mesh::new();
    let mut fox = Agent::named(&mesh, Era::Modern, "fox").await;
    let mut owl = Agent::named(&mesh, Era::Legacy, "owl").await;
    owl.call("mesh_lock", json!({"paths": ["src/"]})).await.done();
    let call = |tool: &str, arguments| json!({"name": tool, "arguments": arguments});
    let mail = fox.send("tools/call", call("mesh_inbox", json!({"wait_seconds": 50, "ack": true}))).await;
    let mut elk = Agent::named(&mesh, Era::Modern, "elk").await;
    let lock = call("mesh_lock", json!({"paths": ["src/a.rs"], "wait_seconds": 50}));
    let lock = elk.send("tools/call", lock).await;
    let event = json!({"types": ["state_changed"], "after": 1, "wait_seconds": 50});
    let mut hen = Agent::named(&mesh, Era::Legacy, "hen").await;
    let event = hen.send("tools/call", call("mesh_events", event)).await;
    kill(mesh.broker_pid().unwrap());
    owl.call("mesh_send", json!({"to": "fox", "body": "hello"})).await.done();
    owl.call("mesh_unlock", json!({})).await.done();
    let text = |response: serde_json::Value| response["result"]["content"][0]["text"].to_string();
    let mail = text(fox.response(mail).await);
    assert!(mail.contains("> hello"), "{mail}");
    let lock = text(elk.response(lock).await);
    assert!(lock.contains("locked src/a.rs for 30m"), "{lock}");
    owl.call("mesh_remember", json!({"key": "k", "value": "v"})).await.done();
    let event = text(hen.response(event).await);
    assert!(event.contains("state_changed k version 1 by owl"), "{event}");
}
