//! One call that waits for a condition, as a client sees it.

use super::*;
use pb::entry_condition::State as Wanted;
use pb::wait_condition::Condition;
use pb::wait_response::By;

fn entry(key: &str, state: Wanted) -> Condition {
    Condition::Entry(pb::EntryCondition { key: key.into(), state: Some(state) })
}

fn free(path: &str) -> Condition {
    Condition::LockFree(pb::LockCondition { path: path.into(), mode: 0 })
}

fn peer(name: &str, gone: bool) -> Condition {
    Condition::Peer(pb::PeerCondition { name: name.into(), gone })
}

fn event(kind: pb::EventType, after_revision: u64) -> Condition {
    let filter = Some(pb::EventFilter { types: vec![kind.into()], ..Default::default() });
    Condition::Event(pb::EventCondition { filter, after_revision })
}

fn request(conditions: impl IntoIterator<Item = Condition>) -> pb::WaitRequest {
    let conditions = conditions.into_iter().map(|condition| pb::WaitCondition { condition: Some(condition) });
    pb::WaitRequest { conditions: conditions.collect(), timeout: seconds(3_600), ..Default::default() }
}

async fn wait(caller: &Caller, request: pb::WaitRequest) -> pb::WaitResponse {
    soon(caller.events().wait(request)).await.unwrap().into_inner()
}

/// Asks whether something holds now.
async fn holds(caller: &Caller, condition: Condition) -> bool {
    wait(caller, pb::WaitRequest { timeout: seconds(0), ..request([condition]) }).await.met
}

/// A call that has begun to wait.
async fn waiting(
    broker: &Broker,
    caller: &Caller,
    request: pb::WaitRequest,
) -> tokio::task::JoinHandle<Result<pb::WaitResponse, Status>> {
    let before = broker.mesh.waits.count();
    let mut client = caller.events();
    let task = tokio::spawn(async move { Ok(client.wait(request).await?.into_inner()) });
    soon(async {
        while broker.mesh.waits.count() == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    task
}

async fn met(task: tokio::task::JoinHandle<Result<pb::WaitResponse, Status>>) -> (u32, Option<By>) {
    let answer = soon(task).await.unwrap().unwrap();
    assert!(answer.met);
    (answer.index, answer.by)
}

#[tokio::test]
async fn an_entry_is_waited_for_as_it_is_to_be() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let states = [Wanted::Exists(true), Wanted::Value("2".into()), Wanted::VersionAtLeast(2)];
    for state in states {
        assert!(!holds(&lynx, entry("gate", state)).await);
    }
    assert!(holds(&lynx, entry("gate", Wanted::Exists(false))).await);
    let exists = waiting(&broker, &lynx, request([entry("gate", Wanted::Exists(true))])).await;
    let value = waiting(&broker, &lynx, request([entry("gate", Wanted::Value("2".into()))])).await;
    let version = waiting(&broker, &lynx, request([entry("gate", Wanted::VersionAtLeast(2))])).await;
    fox.put("other", "2").await;
    fox.put("gate", "1").await;
    let (_, Some(By::Entry(shown))) = met(exists).await else { panic!("an entry") };
    assert_eq!((shown.key.as_str(), shown.value.as_str(), shown.version), ("gate", "1", 1));
    fox.put("gate", "2").await;
    for task in [value, version] {
        let (_, Some(By::Entry(shown))) = met(task).await else { panic!("an entry") };
        assert_eq!((shown.value.as_str(), shown.version), ("2", 2));
    }
    let gone = waiting(&broker, &lynx, request([entry("gate", Wanted::Exists(false))])).await;
    fox.state().delete(pb::DeleteRequest { key: "gate".into(), ..Default::default() }).await.unwrap();
    assert_eq!(met(gone).await, (0, None));
}

#[tokio::test]
async fn the_entry_that_was_waited_for_counts_as_read() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    fox.put("gate", "open").await;
    let put = || pb::PutRequest { key: "gate".into(), value: "shut".into(), ..Default::default() };
    assert_eq!(reason(lynx.state().put(put()).await), "OVERWRITE_NEEDS_VERSION");
    fox.put("gate", "open again").await;
    assert!(wait(&lynx, request([entry("gate", Wanted::Exists(true))])).await.met);
    lynx.state().put(put()).await.unwrap();
}

#[tokio::test]
async fn a_lock_is_waited_for_until_it_could_be_had() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    fox.lock(&["src/"]).await;
    assert!(holds(&fox, free("src/a")).await, "one's own are not in the way");
    assert!(!holds(&lynx, free("src/a")).await);
    assert!(holds(&lynx, free("b")).await);
    let task = waiting(&broker, &lynx, request([free("src/a")])).await;
    fox.locks().release_locks(pb::ReleaseLocksRequest::default()).await.unwrap();
    assert_eq!(met(task).await, (0, None));
}

#[tokio::test]
async fn a_peer_is_waited_for_until_it_comes_or_goes() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    assert!(holds(&fox, peer("bold-lynx", true)).await, "never seen is gone, too");
    let comes = waiting(&broker, &fox, request([peer("bold-lynx", false)])).await;
    let lynx = broker.join("bold-lynx").await;
    let (_, Some(By::Peer(shown))) = met(comes).await else { panic!("a peer") };
    assert_eq!((shown.name.as_str(), shown.status()), ("bold-lynx", pb::PeerStatus::Online));
    let goes = waiting(&broker, &fox, request([peer("bold-lynx", true)])).await;
    lynx.leave().await;
    let (_, Some(By::Peer(shown))) = met(goes).await else { panic!("a peer") };
    assert_eq!(shown.status(), pb::PeerStatus::Offline);
}

#[tokio::test]
async fn a_reply_is_waited_for_by_the_sender_alone() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let id = fox.tell(&["bold-lynx"], "why?").await.message_id;
    let reply = || request([Condition::ReplyTo(id.clone())]);
    assert_eq!(reason(broker.nobody().events().wait(reply()).await), "SESSION_REQUIRED");
    assert_eq!(reason(lynx.events().wait(reply()).await), "MESSAGE_NOT_FOUND");
    assert!(!holds(&fox, Condition::ReplyTo(id.clone())).await);
    let elsewhere = pb::WaitRequest { scope: "global".into(), ..reply() };
    let task = waiting(&broker, &fox, elsewhere).await;
    lynx.tell(&["amber-fox"], "nothing to do with it").await;
    let answer = pb::SendRequest {
        to: texts(&["amber-fox"]),
        body: "because".into(),
        reply_to: id.clone(),
        ..Default::default()
    };
    lynx.messages().send(answer).await.unwrap();
    let (_, Some(By::Reply(shown))) = met(task).await else { panic!("a reply") };
    assert_eq!((shown.body.as_str(), shown.reply_to), ("because", id));
    let asked = pb::GetReceiptsRequest { message_id: shown.message_id };
    let known = lynx.messages().get_receipts(asked).await.unwrap().into_inner();
    assert_eq!(known.deliveries[0].status(), pb::DeliveryStatus::Delivered, "it was in the answer");
}

#[tokio::test]
async fn an_event_is_waited_for_from_now_or_from_a_revision_on() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    fox.put("a", "1").await;
    fox.put("b", "1").await;
    let put = pb::EventType::StateChanged;
    assert!(!holds(&fox, event(put, 0)).await, "what was before does not count");
    assert!(!holds(&fox, event(put, 3)).await);
    let past = wait(&fox, request([event(put, 2)])).await;
    let Some(By::Batch(batch)) = past.by else { panic!("{past:?}") };
    assert_eq!(batch.revision, 3);
    let past = wait(&fox, request([event(put, 1)])).await;
    let Some(By::Batch(batch)) = past.by else { panic!("{past:?}") };
    assert_eq!(batch.revision, 2, "the first after it");

    let far = broker.join_in("far", "owl").await;
    let task = waiting(&broker, &fox, request([event(pb::EventType::PeerLeft, 1), event(put, 0)])).await;
    far.put("a", "1").await;
    fox.lock(&["a"]).await;
    let written = fox.put("c", "1").await;
    let (1, Some(By::Batch(batch))) = met(task).await else { panic!("the second") };
    assert_eq!(batch.revision, revision(&written.header));
}

#[tokio::test]
async fn the_first_of_several_conditions_ends_the_wait() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    fox.put("k", "1").await;
    let both = wait(&fox, request([free("a"), entry("k", Wanted::Exists(true))])).await;
    assert_eq!((both.met, both.index, revision(&both.header)), (true, 0, 2));
    let second = wait(&fox, request([peer("bold-lynx", false), entry("k", Wanted::Exists(true))])).await;
    assert_eq!((second.met, second.index), (true, 1));
    let elsewhere = pb::WaitRequest { scope: "global".into(), ..request([entry("k", Wanted::Exists(true))]) };
    let elsewhere = pb::WaitRequest { timeout: seconds(0), ..elsewhere };
    assert!(!wait(&fox, elsewhere).await.met, "another scope's");
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_when_its_time_is_over() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    for (timeout, lasted) in [(seconds(300), 300), (None, 60)] {
        let request = pb::WaitRequest { timeout, ..request([peer("bold-lynx", false)]) };
        let before = tokio::time::Instant::now();
        let answer = broker.nobody().events().wait(pb::WaitRequest { scope: SCOPE.into(), ..request }).await;
        let answer = answer.unwrap().into_inner();
        assert_eq!((answer.met, answer.by, revision(&answer.header)), (false, None, broker.revision()));
        assert_eq!(before.elapsed().as_secs(), lasted);
    }
    assert_eq!(broker.mesh.waits.count(), 0);
    drop(fox);
}

#[tokio::test]
async fn a_wait_ends_with_the_broker_and_with_the_session() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let task = waiting(&broker, &fox, request([peer("bold-lynx", false)])).await;
    fox.leave().await;
    assert_eq!(reason(soon(task).await.unwrap()), "SESSION_EXPIRED");
    let ended = pb::WaitRequest { scope: SCOPE.into(), ..request([peer("bold-lynx", false)]) };
    assert_eq!(reason(fox.events().wait(ended.clone()).await), "SESSION_EXPIRED");
    let task = waiting(&broker, &broker.nobody(), ended).await;
    broker.mesh.shutdown.cancel();
    assert_eq!(reason(soon(task).await.unwrap()), "DRAINING");
}

#[tokio::test]
async fn events_that_are_gone_cannot_be_waited_for() {
    let config = WriterConfig { history_count: 10, ring: 4, ..WriterConfig::default() };
    let broker = Broker::with(config);
    let fox = broker.join("amber-fox").await;
    for n in 0..200 {
        fox.put("k", &n.to_string()).await;
    }
    soon(async {
        while broker.mesh.events.oldest().0 == 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let oldest = broker.mesh.events.oldest().0;
    let put = pb::EventType::StateChanged;
    assert_eq!(reason(fox.events().wait(request([event(put, oldest - 2)])).await), "REVISION_COMPACTED");
    let answer = wait(&fox, request([event(put, oldest - 1)])).await;
    let Some(By::Batch(batch)) = answer.by else { panic!("{answer:?}") };
    assert_eq!(batch.revision, oldest, "read from the store, beyond the ring");
}

#[tokio::test]
async fn a_malformed_condition_is_refused_by_its_place() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let good = || peer("bold-lynx", true);
    let on = |filter| Condition::Event(pb::EventCondition { filter: Some(filter), after_revision: 0 });
    let it = pb::EventFilter::default;
    let mode = Condition::LockFree(pb::LockCondition { path: "a".into(), mode: 9 });
    let nothing = Condition::Entry(pb::EntryCondition { key: "k".into(), state: None });
    let table = [
        ("conditions[1].entry.key", entry("", Wanted::Exists(true))),
        ("conditions[1].entry", nothing),
        ("conditions[1].lock_free.path", free("../a")),
        ("conditions[1].lock_free.mode", mode),
        ("conditions[1].peer.name", peer("Not a name", true)),
        ("conditions[1].reply_to", Condition::ReplyTo("x".into())),
        ("conditions[1].event.filter.types", on(pb::EventFilter { types: vec![0], ..it() })),
        ("conditions[1].event.filter.peers", on(pb::EventFilter { peers: texts(&["*"]), ..it() })),
        ("conditions[1].event.filter.paths", on(pb::EventFilter { paths: texts(&["../a"]), ..it() })),
        ("conditions[1].event.after_revision", event(pb::EventType::PeerLeft, 1_000)),
    ];
    for (named, condition) in table {
        assert_eq!(field(fox.events().wait(request([good(), condition])).await), named);
    }
    let empty = pb::WaitRequest { conditions: vec![pb::WaitCondition::default()], ..request([]) };
    assert_eq!(field(fox.events().wait(empty).await), "conditions[0]");
    assert_eq!(field(fox.events().wait(request([])).await), "conditions");
    assert_eq!(field(fox.events().wait(request((0..17).map(|_| good()))).await), "conditions");
    let long = pb::WaitRequest { timeout: seconds(3_601), ..request([good()]) };
    assert_eq!(field(fox.events().wait(long).await), "timeout");
    assert_eq!(field(broker.nobody().events().wait(request([good()])).await), "scope");
    let last = request((0..15).map(|_| peer("amber-fox", true)).chain([good()]));
    assert_eq!(wait(&fox, last).await.index, 15);
}
