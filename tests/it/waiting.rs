//! One way to wait, without polling: for a key, a lock, a peer, a reply, an event.

use std::time::Duration;

use mesh_client::proto::wait_condition::Condition;
use mesh_client::proto::{
    AskRequest, EntryCondition, EventCondition, EventFilter, EventType, LockCondition, PeerCondition,
    SendRequest, WaitCondition, WaitRequest, WaitResponse, entry_condition, wait_response,
};
use mesh_client::{ErrorReason, Session};
use mesh_tests::{Mesh, lock, message, put, refused, seconds, share, within};
use tokio::task::JoinHandle;

fn until(conditions: Vec<Condition>) -> WaitRequest {
    let conditions =
        conditions.into_iter().map(|condition| WaitCondition { condition: Some(condition) }).collect();
    WaitRequest { conditions, timeout: seconds(60), ..WaitRequest::default() }
}

fn key(key: &str, state: entry_condition::State) -> Condition {
    Condition::Entry(EntryCondition { key: key.into(), state: Some(state) })
}

fn free(path: &str) -> Condition {
    Condition::LockFree(LockCondition { path: path.into(), ..LockCondition::default() })
}

fn peer(name: &str, gone: bool) -> Condition {
    Condition::Peer(PeerCondition { name: name.into(), gone })
}

async fn now(session: &Session, condition: Condition) -> WaitResponse {
    session.wait(WaitRequest { timeout: seconds(0), ..until(vec![condition]) }).await.unwrap()
}

fn start(session: &Session, request: WaitRequest) -> JoinHandle<WaitResponse> {
    let session = session.clone();
    tokio::spawn(async move { session.wait(request).await.unwrap() })
}

async fn met(waiting: JoinHandle<WaitResponse>) -> WaitResponse {
    let answer = within("a condition", waiting).await.unwrap();
    assert!(answer.met);
    answer
}

#[tokio::test]
async fn a_gate_of_a_key_opens_when_its_value_comes() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (agent, boss) = (mesh.join_unattended("agent").await, mesh.join_unattended("boss").await);
    let open = key("gate", entry_condition::State::Value("open".into()));
    assert!(!now(&agent, open.clone()).await.met);
    let waiting = start(&agent, until(vec![open.clone()]));
    boss.put(put("gate", "soon")).await.unwrap();
    boss.put(put("gate", "open")).await.unwrap();
    let answer = met(waiting).await;
    assert!(
        matches!(answer.by, Some(wait_response::By::Entry(entry)) if entry.value == "open" && entry.version == 2)
    );
    assert!(now(&agent, open).await.met, "what holds already is answered at once");
    for (state, holds) in [
        (entry_condition::State::Exists(true), true),
        (entry_condition::State::Exists(false), false),
        (entry_condition::State::VersionAtLeast(2), true),
        (entry_condition::State::VersionAtLeast(3), false),
    ] {
        assert_eq!(now(&agent, key("gate", state.clone())).await.met, holds, "{state:?}");
    }
}

#[tokio::test]
async fn a_lock_becomes_free_and_nothing_is_taken() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (holder, other) = (mesh.join_unattended("holder").await, mesh.join_unattended("other").await);
    holder.acquire(share(&["src/"])).await.unwrap();
    assert!(now(&holder, free("src/a")).await.met, "one's own lock is in nobody's way");
    let shared = Condition::LockFree(LockCondition { path: "src/a".into(), mode: 2 });
    assert!(now(&other, shared).await.met);
    assert!(!now(&other, free("src/a")).await.met);
    let waiting = start(&other, until(vec![free("src/a")]));
    holder.release(vec![]).await.unwrap();
    met(waiting).await;
    holder.acquire(lock(&["src/"])).await.unwrap();
}

#[tokio::test]
async fn a_peer_comes_and_goes() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let waiter = mesh.join_unattended("waiter").await;
    assert!(now(&waiter, peer("fox", true)).await.met, "who was never there is gone");
    let waiting = start(&waiter, until(vec![peer("fox", false)]));
    let fox = mesh.join("fox").await;
    let answer = met(waiting).await;
    assert!(matches!(answer.by, Some(wait_response::By::Peer(peer)) if peer.name == "fox"));
    let waiting = start(&waiter, until(vec![peer("fox", true)]));
    // Its stream is open, so that the end of it is seen at once.
    let mut news = fox.events();
    waiter.put(put("news", "of the stream")).await.unwrap();
    within("the stream", news.next()).await.unwrap().unwrap();
    // Its process dies.
    drop((news, fox));
    met(waiting).await;
}

#[tokio::test]
async fn a_reply_and_an_event_are_waited_for_and_the_first_of_several_ends_the_wait() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    let sent = fox.send(message("owl", "well?")).await.unwrap();
    let reply = Condition::ReplyTo(sent.message_id.clone());
    let released = Condition::Event(EventCondition {
        filter: Some(EventFilter { types: vec![EventType::FileUnlocked.into()], ..EventFilter::default() }),
        ..EventCondition::default()
    });
    let waiting = start(&fox, until(vec![released.clone(), reply.clone()]));
    owl.send(SendRequest { reply_to: sent.message_id, ..message("fox", "well.") }).await.unwrap();
    let answer = met(waiting).await;
    assert_eq!(answer.index, 1);
    assert!(matches!(answer.by, Some(wait_response::By::Reply(reply)) if reply.body == "well."));
    assert_eq!(refused(owl.wait(until(vec![reply])).await).reason, ErrorReason::MessageNotFound);

    // Events are those after the call, or after a revision.
    owl.acquire(lock(&["a"])).await.unwrap();
    owl.release(vec![]).await.unwrap();
    let Condition::Event(later) = released else { unreachable!() };
    let since = Condition::Event(EventCondition { after_revision: answer.header.unwrap().revision, ..later });
    assert!(
        matches!(now(&fox, since).await.by, Some(wait_response::By::Batch(batch)) if batch.actor == "owl")
    );
}

#[tokio::test]
async fn a_wait_ends_with_its_time_and_survives_the_broker() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let (agent, boss) = (mesh.join_unattended("agent").await, mesh.join_unattended("boss").await);
    let gate = key("gate", entry_condition::State::Exists(true));
    let short =
        WaitRequest { timeout: Duration::from_millis(50).try_into().ok(), ..until(vec![gate.clone()]) };
    assert!(!agent.wait(short).await.unwrap().met);
    let waiting = start(&agent, until(vec![gate]));
    let asking = tokio::spawn({
        let agent = agent.clone();
        async move { agent.ask(AskRequest { message: Some(message("boss", "now?")), wait: seconds(60) }).await }
    });
    let mail = mesh_client::proto::ListMessagesRequest { wait: seconds(60), ..Default::default() };
    let question = within("the question", boss.inbox(mail)).await.unwrap().messages.remove(0);
    broker.kill();
    let _broker = mesh.serve(&[]);
    boss.send(SendRequest { reply_to: question.message_id, ..message("agent", "now.") }).await.unwrap();
    boss.put(put("gate", "open")).await.unwrap();
    met(waiting).await;
    assert_eq!(within("the reply", asking).await.unwrap().unwrap().reply.unwrap().body, "now.");
    let none = WaitRequest { conditions: vec![], ..WaitRequest::default() };
    assert_eq!(refused(agent.wait(none).await).field_violations[0].field, "conditions");
}
