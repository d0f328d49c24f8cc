//! However an adapter ends, the mesh learns of it at once, and what it held goes by the rules.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use mesh_client::Acquired;
use mesh_client::proto::{LeaveCause, ListLocksRequest, LockState, UnlockCause};
use mesh_tests::{Mesh, Signal, commit_millis, follow, lock, signal};
use serde_json::json;

use super::agent::{Agent, ERAS, Era};

/// How long a lock outlives a session that did not say goodbye.
const LOCK_DELAY: i64 = 10_000;
/// The promise is a second; a machine that is busy with other tests gets some more.
const NOTICED_WITHIN: i64 = 3_000;

/// The broker stamps its events with the clock of this machine.
fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[tokio::test]
async fn a_killed_adapter_is_gone_within_a_second_and_its_lock_after_the_lock_delay() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let witness = mesh.join("witness").await;
    let mut watch = follow(&mesh.client(), 0).await;
    let mut fox = Agent::named(&mesh, Era::Modern, "fox").await;
    fox.call("mesh_lock", json!({"paths": ["src/"]})).await.done();
    let killed = now();
    fox.kill().await;
    let (left, cause) = watch.until_left("fox").await;
    let noticed = commit_millis(&left) - killed;
    eprintln!("a killed adapter was noticed after {noticed} ms");
    assert_eq!(cause, LeaveCause::Disconnected);
    assert!(noticed <= NOTICED_WITHIN, "{noticed} ms");
    assert!(matches!(witness.acquire(lock(&["src/a.rs"])).await.unwrap(), Acquired::Refused(_)));
    let (freed, cause) = watch.until_unlocked("src/").await;
    let delay = commit_millis(&freed) - commit_millis(&left);
    eprintln!("its lock was free after another {delay} ms");
    assert_eq!(cause, UnlockCause::SessionEnded);
    assert!((LOCK_DELAY - 5..LOCK_DELAY + NOTICED_WITHIN).contains(&delay), "{delay} ms");
    assert!(matches!(witness.acquire(lock(&["src/a.rs"])).await.unwrap(), Acquired::Granted(_)));
}

/// An adapter as Claude Code starts it, in a conversation.
fn conversation(mesh: &Mesh, id: &str) -> Command {
    let mut command = mesh.meshctl(&["mcp"]);
    command.env("CLAUDECODE", "1").env("CLAUDE_CODE_SESSION_ID", id);
    command
}

#[tokio::test]
async fn a_conversation_that_starts_its_adapter_anew_has_its_name_locks_and_mail_again() {
    for era in ERAS {
        let mesh = Mesh::new();
        let _broker = mesh.serve(&[]);
        let witness = mesh.join("witness").await;
        let mut watch = follow(&mesh.client(), 0).await;
        let mut first = Agent::spawn(conversation(&mesh, "0f9c"), era).await;
        first.call("mesh_lock", json!({"paths": ["src/"], "reason": "mine"})).await.done();
        let held = witness.list_locks(ListLocksRequest::default()).await.unwrap().locks.remove(0);
        first.kill().await;
        assert_eq!(watch.until_left(&held.holder).await.1, LeaveCause::Disconnected);
        witness.send(mesh_tests::message(&held.holder, "still there?")).await.unwrap();

        let mut again = Agent::spawn(conversation(&mesh, "0f9c"), era).await;
        let status = again.call("mesh_status", json!({})).await.done();
        assert!(status.starts_with(&format!("you are {} in ", held.holder)), "{status}");
        assert!(status.contains("locks: src/ (") && status.contains("unread: 1"), "{status}");
        let locks = witness.list_locks(ListLocksRequest::default()).await.unwrap().locks;
        assert_eq!((locks.len(), locks[0].state()), (1, LockState::Held));
        assert_eq!((&locks[0].holder, &locks[0].reason), (&held.holder, &held.reason));
        assert!(locks[0].fencing_token > held.fencing_token, "a new session, a new grant");
        assert!(matches!(witness.acquire(lock(&["src/a.rs"])).await.unwrap(), Acquired::Refused(_)));

        let mut other = Agent::spawn(conversation(&mesh, "another"), era).await;
        let status = other.call("mesh_status", json!({})).await.done();
        assert!(!status.contains(&held.holder) && status.contains("locks: none"), "{status}");
    }
}

#[tokio::test]
async fn two_adapters_of_a_conversation_are_one_peer_which_the_second_does_not_end() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let mut first = Agent::spawn(conversation(&mesh, "0f9c"), Era::Modern).await;
    first.call("mesh_checkin", json!({"name": "fox"})).await.done();
    first.call("mesh_lock", json!({"paths": ["src/"]})).await.done();
    let mut second = Agent::spawn(conversation(&mesh, "0f9c"), Era::Legacy).await;
    let status = second.call("mesh_status", json!({})).await.done();
    assert!(status.starts_with("you are fox in ") && status.contains("locks: src/ ("), "{status}");
    assert_eq!(second.close().await.code(), Some(0));
    let status = first.call("mesh_status", json!({})).await.done();
    assert!(status.starts_with("you are fox in ") && status.contains("locks: src/ ("), "{status}");
    assert!(!status.contains("[mesh]") && status.contains("online here: 1"), "{status}");
    assert_eq!(first.close().await.code(), Some(0));
    assert_eq!(watch.until_left("fox").await.1, LeaveCause::Left);
    assert_eq!(watch.seen.iter().flat_map(mesh_tests::events).filter(|event| joins(event)).count(), 1);
}

fn joins(event: &mesh_client::proto::event::Event) -> bool {
    matches!(event, mesh_client::proto::event::Event::PeerJoined(_))
}

#[tokio::test]
async fn what_was_asked_before_the_end_of_the_input_is_answered() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    for (key, era) in ["last", "very-last"].into_iter().zip(ERAS) {
        let mut fox = Agent::start(&mesh, era).await;
        let note = json!({"name": "mesh_remember", "arguments": {"key": key, "value": "words"}});
        let asked = fox.send("tools/call", note).await;
        fox.hang_up();
        let answer = fox.response(asked).await;
        assert!(answer.to_string().contains(&format!("remembered {key} version ")), "{answer}");
        assert_eq!(fox.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn the_end_of_the_input_and_a_signal_leave_at_once() {
    for era in ERAS {
        for by_signal in [false, true] {
            let mesh = Mesh::new();
            let _broker = mesh.serve(&[]);
            let mut watch = follow(&mesh.client(), 0).await;
            let mut fox = Agent::named(&mesh, era, "fox").await;
            fox.call("mesh_lock", json!({"paths": ["src/"]})).await.done();
            // A call that is still waiting does not hold up the end.
            let wait = json!({"name": "mesh_inbox", "arguments": {"wait_seconds": 50}});
            fox.send("tools/call", wait).await;
            let asked = now();
            let status = if by_signal {
                signal(fox.pid(), Signal::TERM);
                fox.ended().await
            } else {
                fox.close().await
            };
            let ended = now() - asked;
            eprintln!("{era:?}: ended after {ended} ms");
            assert_eq!(status.code(), Some(0), "{era:?}, by signal: {by_signal}");
            assert!(ended <= NOTICED_WITHIN, "{ended} ms");
            let (left, cause) = watch.until_left("fox").await;
            assert_eq!((cause, left.actor.as_str()), (LeaveCause::Left, "fox"));
            let freed = watch.seen.iter().flat_map(mesh_tests::events).any(|event| {
                matches!(event, mesh_client::proto::event::Event::FileUnlocked(ended)
                    if ended.paths == ["src/"] && ended.cause() == UnlockCause::Left)
            });
            assert!(freed || watch.until_unlocked("src/").await.1 == UnlockCause::Left);
        }
    }
}

#[tokio::test]
async fn an_adapter_that_was_never_used_ends_without_a_trace() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    for era in ERAS {
        assert_eq!(Agent::start(&mesh, era).await.close().await.code(), Some(0));
        let unused = Agent::start(&mesh, era).await;
        signal(unused.pid(), Signal::TERM);
        assert_eq!(unused.ended().await.code(), Some(0));
    }
    assert!(mesh_tests::history(&mesh.client(), 1).await.is_empty());
}
