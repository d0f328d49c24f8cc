//! Sessions: staying alive, joining again, waiting for locks.

use std::sync::Mutex;
use std::time::Duration;

use mesh_client::agent::{Continues, Identity, Kept, Registry};
use mesh_client::proto::{AcquireLocksRequest, AskRequest, PeerActivity, PeerInfo, PutRequest, WaitRequest};
use mesh_client::{Acquired, ClientError, ErrorReason, JoinOptions, Liveness, Session, SessionNews};
use tonic::Code;

use crate::fake::{Fake, SCOPE, refusal};

fn options(liveness: Liveness) -> JoinOptions {
    JoinOptions {
        scope: SCOPE.into(),
        resume_key: Some("conversation-7".into()),
        lease_ttl: Some(Duration::from_secs(1)),
        liveness,
        ..JoinOptions::default()
    }
}

async fn joined(fake: &Fake, liveness: Liveness) -> Session {
    Session::join(&fake.client(), options(liveness)).await.unwrap()
}

/// Ends the session behind the client's back, after a time in which it may not join again.
async fn expire(fake: &Fake) {
    tokio::time::sleep(Duration::from_millis(1050)).await;
    fake.state.sessions.lock().unwrap().clear();
}

fn locks(path: &str) -> AcquireLocksRequest {
    AcquireLocksRequest { paths: vec![path.into()], ..AcquireLocksRequest::default() }
}

#[tokio::test]
async fn an_expired_session_joins_again_as_the_same_peer_and_tells() {
    let fake = Fake::running();
    let session = joined(&fake, Liveness::Unattended).await;
    let mut news = session.events();
    expire(&fake).await;
    let (a, b) = tokio::join!(session.put(PutRequest::default()), session.put(PutRequest::default()));
    assert!(a.is_ok() && b.is_ok());
    let joins = fake.state.joins.lock().unwrap().clone();
    assert_eq!(joins.len(), 2, "one task joins for all");
    assert_eq!((joins[1].name.as_str(), joins[1].resume_key.as_str()), ("amber-fox", "conversation-7"));
    assert_ne!(joins[0].request_id, joins[1].request_id);
    assert_eq!(session.saved().token.expose(), "token-2");
    let Some(Ok(SessionNews::Rejoined(peer))) = news.next().await else { panic!("no news of it") };
    assert_eq!(peer.session_id, "session-2");
    let mut ids: Vec<_> = fake.state.puts.lock().unwrap().iter().map(|put| put.0.clone()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2, "each call keeps its request_id");
}

#[tokio::test]
async fn a_replaced_session_stays_ended() {
    let fake = Fake::running();
    let session = joined(&fake, Liveness::Unattended).await;
    tokio::time::sleep(Duration::from_millis(1050)).await;
    let replaced = refusal(Code::FailedPrecondition, "SESSION_EXPIRED", &[("cause", "REPLACED")]);
    fake.state.script.lock().unwrap().push_back(Some(replaced));
    let error = session.put(PutRequest::default()).await.unwrap_err();
    assert_eq!(error.reason(), Some(ErrorReason::SessionExpired));
    assert_eq!(fake.state.joins.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_attached_session_gets_events_and_dropping_it_ends_its_stream() {
    let fake = Fake::running();
    let session = joined(&fake, Liveness::Attached).await;
    let mut news = session.events();
    fake.state.open_watches(1).await;
    session.put(PutRequest::default()).await.unwrap();
    assert!(matches!(news.next().await, Some(Ok(SessionNews::Batch(batch))) if batch.revision == 2));
    drop(session);
    fake.state.open_watches(0).await;
    assert!(news.next().await.is_none());
}

#[tokio::test]
async fn an_attached_session_survives_a_restart_of_the_broker() {
    let fake = Fake::running();
    let session = joined(&fake, Liveness::Attached).await;
    let mut news = session.events();
    fake.state.open_watches(1).await;
    fake.kill();
    fake.state.append_many(2);
    fake.start();
    assert!(matches!(news.next().await, Some(Ok(SessionNews::Interrupted(_)))));
    for revision in 2..=3 {
        assert!(matches!(news.next().await, Some(Ok(SessionNews::Batch(b))) if b.revision == revision));
    }
    assert_eq!(fake.state.joins.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_stream_refused_for_its_session_joins_again_and_misses_nothing() {
    let fake = Fake::running();
    let session = joined(&fake, Liveness::Attached).await;
    let mut news = session.events();
    fake.state.open_watches(1).await;
    expire(&fake).await;
    fake.kill();
    fake.state.append_many(3);
    fake.start();
    let mut seen = Vec::new();
    let mut rejoined = false;
    while seen.len() < 4 || !rejoined {
        match news.next().await.unwrap().unwrap() {
            SessionNews::Batch(batch) => seen.push(batch.revision),
            SessionNews::Rejoined(_) => rejoined = true,
            _ => {}
        }
    }
    assert_eq!(seen, [2, 3, 4, 5], "the last one is of joining again");
}

#[tokio::test]
async fn heartbeats_notice_the_end_of_a_session() {
    let fake = Fake::running();
    let session = joined(&fake, Liveness::Heartbeat).await;
    let mut news = session.events();
    expire(&fake).await;
    assert!(matches!(news.next().await, Some(Ok(SessionNews::Rejoined(_)))));
}

#[tokio::test]
async fn a_new_reader_takes_over_from_one_that_stopped_reading() {
    let fake = Fake::running();
    let session = joined(&fake, Liveness::Attached).await;
    let stuck = session.events();
    fake.state.open_watches(1).await;
    fake.state.append_many(2_000);
    let mut news = session.events();
    session.put(PutRequest::default()).await.unwrap();
    let last = loop {
        let Some(Ok(SessionNews::Batch(batch))) = news.next().await else { panic!("the stream ended") };
        if batch.revision > 2_001 {
            break batch.revision;
        }
    };
    assert_eq!(last, 2_002);
    drop(stuck);
}

#[tokio::test]
async fn an_adopted_session_goes_on_without_joining() {
    let fake = Fake::running();
    let saved = joined(&fake, Liveness::Unattended).await.saved();
    let text = serde_json::to_string(&saved).unwrap();
    let saved = serde_json::from_str(&text).unwrap();
    let session = Session::adopt(&fake.client(), saved, options(Liveness::Unattended)).unwrap();
    session.put(PutRequest::default()).await.unwrap();
    assert_eq!(session.peer().name, "amber-fox");
    fake.state.sessions.lock().unwrap().clear();
    session.put(PutRequest::default()).await.unwrap();
    assert_eq!(fake.state.joins.lock().unwrap()[1].name, "amber-fox");
}

/// An agent session that two processes share: one that hooks run in, and one that serves its tools.
async fn shared(fake: &Fake, hooked: bool) -> (Kept, Session, Session) {
    let who = Identity { kind: "codex".into(), session: Some("s1".into()), process: None };
    fake.home.create().unwrap();
    let agent = Registry::of(&fake.home).bind(&who, Continues::Nothing).unwrap();
    let mut guard = agent.lock().unwrap();
    guard.record.hooked = hooked;
    guard.save().unwrap();
    drop(guard);
    let client = fake.client();
    let kept = Kept::new(agent, client.config());
    let as_told = |info| JoinOptions { info, ..options(Liveness::Unattended) };
    let hook = PeerInfo { wake: "async-rewake".into(), branch: "main".into(), ..PeerInfo::default() };
    let hook = Session::enter(&client, kept.clone(), as_told(hook)).await.unwrap();
    let adapter = PeerInfo {
        branch: "stale".into(),
        focus: "mine".into(),
        wake: "inbox-socket".into(),
        ..PeerInfo::default()
    };
    let adapter = Session::enter(&client, kept.clone(), as_told(adapter)).await.unwrap();
    (kept, hook, adapter)
}

#[tokio::test]
async fn joining_again_for_all_processes_tells_what_the_others_have_said() {
    let fake = Fake::running();
    let (kept, _hook, adapter) = shared(&fake, true).await;
    let turn = |member: &mut mesh_client::agent::Membership| {
        member.working = true;
        member.children.insert("a1".into(), "explore".into());
    };
    kept.change(SCOPE, turn).await.unwrap();
    fake.state.sessions.lock().unwrap().clear();
    adapter.put(PutRequest::default()).await.unwrap();
    let told = fake.state.joins.lock().unwrap()[1].info.clone().unwrap();
    assert_eq!((told.branch.as_str(), told.focus.as_str()), ("main", ""), "as the broker knew it");
    assert_eq!((told.activity(), told.wake.as_str()), (PeerActivity::Working, "async-rewake"));
    assert_eq!(told.children.iter().map(|child| child.kind.as_str()).collect::<Vec<_>>(), ["explore"]);
    let member = kept.read(SCOPE).unwrap();
    assert_eq!((member.wake.as_str(), member.session.session_id.as_str()), ("async-rewake", "session-2"));
}

#[tokio::test]
async fn without_hooks_what_ends_with_a_session_is_told_by_who_joins_again() {
    let fake = Fake::running();
    let (_kept, _hook, adapter) = shared(&fake, false).await;
    fake.state.sessions.lock().unwrap().clear();
    adapter.put(PutRequest::default()).await.unwrap();
    let told = fake.state.joins.lock().unwrap()[1].info.clone().unwrap();
    assert_eq!((told.activity(), told.wake.as_str()), (PeerActivity::Unspecified, "inbox-socket"));
}

#[tokio::test]
async fn a_left_session_takes_no_more_calls() {
    let fake = Fake::running();
    let session = joined(&fake, Liveness::Attached).await;
    let mut news = session.events();
    session.leave().await.unwrap();
    session.leave().await.unwrap();
    assert!(matches!(session.put(PutRequest::default()).await, Err(ClientError::SessionLeft)));
    assert!(news.next().await.is_none());
    assert_eq!(fake.state.joins.lock().unwrap().len(), 1);
}

/// Waits for locks on `src/a.rs`, which another peer holds, in the background.
fn wait_for_lock(fake: &Fake, session: &Session) -> tokio::task::JoinHandle<Result<Acquired, ClientError>> {
    fake.state.locks.lock().unwrap().insert("src/a.rs".into(), "blue-owl".into());
    let waiter = session.clone();
    tokio::spawn(async move { waiter.acquire_wait(locks("src/a.rs"), Duration::from_secs(30)).await })
}

/// Waits until that many requests for locks have come, and returns them.
async fn acquires(fake: &Fake, count: usize) -> Vec<AcquireLocksRequest> {
    let arrived = async {
        while fake.state.acquires.lock().unwrap().len() < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), arrived).await.unwrap();
    fake.state.acquires.lock().unwrap().clone()
}

fn waits(request: &AcquireLocksRequest) -> Duration {
    request.wait.unwrap().try_into().unwrap()
}

async fn is_granted(wait: tokio::task::JoinHandle<Result<Acquired, ClientError>>) {
    let granted = tokio::time::timeout(Duration::from_secs(5), wait).await.unwrap().unwrap().unwrap();
    assert!(matches!(granted, Acquired::Granted(locks) if locks[0].holder == "amber-fox"));
}

#[tokio::test]
async fn waiting_for_locks_is_the_brokers_work() {
    let fake = Fake::running();
    let session = joined(&fake, Liveness::Unattended).await;
    let wait = wait_for_lock(&fake, &session);
    let asked = acquires(&fake, 1).await;
    assert!(waits(&asked[0]) > Duration::from_secs(29) && !asked[0].request_id.is_empty(), "{asked:?}");
    fake.state.unlock("src/a.rs");
    is_granted(wait).await;
    assert_eq!(acquires(&fake, 1).await.len(), 1);
}

#[tokio::test]
async fn a_lost_place_in_the_queue_is_taken_anew_for_what_is_left_of_the_time() {
    let fake = Fake::running();
    let session = joined(&fake, Liveness::Unattended).await;
    *fake.state.loses_place.lock().unwrap() = true;
    let wait = wait_for_lock(&fake, &session);
    let asked = acquires(&fake, 2).await;
    assert_ne!(asked[0].request_id, asked[1].request_id, "another request");
    assert!(waits(&asked[1]) < waits(&asked[0]) && waits(&asked[1]) > Duration::from_secs(20), "{asked:?}");
    fake.state.unlock("src/a.rs");
    is_granted(wait).await;
}

#[tokio::test]
async fn a_request_that_waits_outlives_the_broker_with_its_id() {
    let fake = Fake::running();
    let session = joined(&fake, Liveness::Unattended).await;
    let wait = wait_for_lock(&fake, &session);
    acquires(&fake, 1).await;
    fake.kill();
    fake.start();
    let asked = acquires(&fake, 2).await;
    assert_eq!(asked[0].request_id, asked[1].request_id, "it goes on waiting in its place");
    fake.state.unlock("src/a.rs");
    is_granted(wait).await;
}

#[tokio::test]
async fn asking_and_waiting_are_one_call_each() {
    let fake = Fake::running();
    let session = joined(&fake, Liveness::Unattended).await;
    let wait = Duration::from_secs(7).try_into().ok();
    let reply = session.ask(AskRequest { wait, ..AskRequest::default() }).await.unwrap().reply;
    assert_eq!(reply.unwrap().body, "yes");
    let asked = fake.state.asks.lock().unwrap().remove(0);
    assert_eq!(asked.wait, wait);
    assert!(!asked.message.unwrap().request_id.is_empty(), "a repeat is known as one");
    assert!(session.wait(WaitRequest { timeout: wait, ..WaitRequest::default() }).await.unwrap().met);
    assert_eq!(fake.state.waits.lock().unwrap()[0].timeout, wait);
}

/// Waits until that many requests have come, and returns them.
async fn arrived<T: Clone>(requests: &Mutex<Vec<T>>, count: usize) -> Vec<T> {
    let all = async {
        while requests.lock().unwrap().len() < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all).await.unwrap();
    requests.lock().unwrap().clone()
}

#[tokio::test]
async fn a_wait_that_breaks_off_goes_on_for_what_is_left_of_its_time() {
    let fake = Fake::running();
    let session = joined(&fake, Liveness::Unattended).await;
    *fake.state.hangs.lock().unwrap() = true;
    let time = Duration::from_secs(60).try_into().ok();
    let asking = tokio::spawn({
        let session = session.clone();
        async move { session.ask(AskRequest { wait: time, ..AskRequest::default() }).await }
    });
    let waiting = tokio::spawn({
        let session = session.clone();
        async move { session.wait(WaitRequest { timeout: time, ..WaitRequest::default() }).await }
    });
    arrived(&fake.state.asks, 1).await;
    arrived(&fake.state.waits, 1).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    fake.kill();
    *fake.state.hangs.lock().unwrap() = false;
    fake.start();
    assert!(asking.await.unwrap().is_ok() && waiting.await.unwrap().unwrap().met);
    let spans = |asked: Option<prost_types::Duration>| Duration::try_from(asked.unwrap()).unwrap();
    let (asks, waits) = (arrived(&fake.state.asks, 2).await, arrived(&fake.state.waits, 2).await);
    let left = [spans(asks[1].wait), spans(waits[1].timeout)];
    assert!(left.iter().all(|left| *left <= Duration::from_secs(59)), "{left:?}");
    let id = |ask: &AskRequest| ask.message.clone().unwrap().request_id;
    assert_eq!(id(&asks[0]), id(&asks[1]), "the message is sent once");
}

#[tokio::test]
async fn a_waiting_acquire_that_breaks_off_does_not_begin_its_time_again() {
    let fake = Fake::running();
    let session = joined(&fake, Liveness::Unattended).await;
    fake.state.locks.lock().unwrap().insert("src/a.rs".into(), "blue-owl".into());
    let begun = std::time::Instant::now();
    let waiting = tokio::spawn({
        let session = session.clone();
        async move { session.acquire_wait(locks("src/a.rs"), Duration::from_secs(3)).await }
    });
    acquires(&fake, 1).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    fake.kill();
    fake.start();
    let refused = waiting.await.unwrap().unwrap();
    assert!(matches!(refused, Acquired::Refused(conflicts) if conflicts[0].path == "src/a.rs"));
    assert!(begun.elapsed() < Duration::from_millis(5_200), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_waiting_acquire_ends_at_its_deadline_with_what_is_in_the_way() {
    let fake = Fake::running();
    let session = joined(&fake, Liveness::Unattended).await;
    fake.state.locks.lock().unwrap().insert("src/a.rs".into(), "blue-owl".into());
    let refused = session.acquire_wait(locks("src/a.rs"), Duration::from_millis(300)).await.unwrap();
    assert!(matches!(refused, Acquired::Refused(conflicts) if conflicts[0].path == "src/a.rs"));
}

#[tokio::test]
async fn releasing_all_takes_as_many_calls_as_it_needs() {
    let fake = Fake::running();
    let session = joined(&fake, Liveness::Unattended).await;
    for path in ["a", "b", "c", "d", "e"] {
        session.acquire(locks(path)).await.unwrap();
    }
    let mut released = session.release(Vec::new()).await.unwrap();
    released.sort();
    assert_eq!(released, ["a", "b", "c", "d", "e"]);
}
