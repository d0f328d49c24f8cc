//! Waiting for locks, as clients see it: granted, given up, gone, and back after a restart.

use std::pin::Pin;

use super::*;
use crate::service::shares::Holder;
use mesh_core::time::Millis;
use pb::event::Event;

type Waiting = Pin<Box<dyn Future<Output = Result<pb::AcquireLocksResponse, Status>> + Send>>;

fn request(paths: &[&str], id: &str) -> pb::AcquireLocksRequest {
    let wait = seconds(3_600);
    pb::AcquireLocksRequest { paths: texts(paths), wait, request_id: id.into(), ..Default::default() }
}

/// A call that waits, and does nothing unless it is polled.
fn call(caller: &Caller, request: pb::AcquireLocksRequest) -> Waiting {
    let mut client = caller.locks();
    Box::pin(async move { Ok(client.acquire_locks(request).await?.into_inner()) })
}

/// The peers that wait, in the order of the queue.
async fn queue(broker: &Broker) -> Vec<String> {
    let request = pb::ListLockWaitersRequest { scope: SCOPE.into(), ..Default::default() };
    let answer = broker.nobody().locks().list_lock_waiters(request).await.unwrap().into_inner();
    answer.waiters.into_iter().map(|waiter| waiter.peer).collect()
}

/// Until these wait.
async fn until_queued(broker: &Broker, peers: &[&str]) {
    soon(async {
        while queue(broker).await != peers {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Polls a call until these wait, and no further.
async fn queued(broker: &Broker, call: &mut Waiting, peers: &[&str]) {
    tokio::select! {
        biased;
        answer = call => panic!("answered before it waited: {answer:?}"),
        () = until_queued(broker, peers) => {}
    }
}

/// What happened after a revision, up to such an event.
async fn events_up_to(broker: &Broker, after: u64, last: fn(&Event) -> bool) -> Vec<Event> {
    soon(async {
        loop {
            let request = pb::ListEventsRequest { start_revision: after + 1, ..Default::default() };
            let answer = broker.nobody().events().list_events(request).await.unwrap().into_inner();
            let events = answer.batches.into_iter().flat_map(|batch| batch.events);
            let events: Vec<Event> = events.filter_map(|event| event.event).collect();
            if events.iter().any(last) {
                return events;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

fn wait_ended(event: &Event) -> bool {
    matches!(event, Event::LockWaitEnded(_))
}

fn unlocked(event: &Event) -> bool {
    matches!(event, Event::FileUnlocked(_))
}

async fn release(caller: &Caller) {
    caller.locks().release_locks(pb::ReleaseLocksRequest::default()).await.unwrap();
}

fn paths(answer: &pb::AcquireLocksResponse) -> Vec<&str> {
    assert_eq!(answer.conflicts, []);
    answer.locks.iter().map(|lock| lock.path.as_str()).collect()
}

#[tokio::test]
async fn a_request_is_granted_when_its_way_is_free_all_of_it_in_the_order_asked() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    fox.lock(&["a"]).await;
    let mut waiting = call(&lynx, request(&["b", "a", "b"], ""));
    queued(&broker, &mut waiting, &["bold-lynx"]).await;
    release(&fox).await;
    let granted = soon(waiting).await.unwrap();
    assert_eq!(paths(&granted), ["b", "a"]);
    assert_ne!(granted.ticket, 0);
    assert!(granted.locks.iter().all(|lock| lock.ticket == granted.ticket && lock.holder == "bold-lynx"));
    assert!(granted.locks.iter().all(|lock| lock.fencing_token <= revision(&granted.header)));
    assert_eq!(queue(&broker).await, [""; 0]);
    assert_eq!(broker.mesh.waits.count(), 0);
}

#[tokio::test]
async fn nobody_waits_where_nothing_is_in_the_way() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let granted = soon(call(&fox, request(&["a"], ""))).await.unwrap();
    assert_eq!((paths(&granted), granted.ticket), (vec!["a"], 0));
}

#[tokio::test]
async fn a_request_is_granted_when_the_lock_in_the_way_expires() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let brief = pb::AcquireLocksRequest { paths: texts(&["a"]), ttl: seconds(10), ..Default::default() };
    fox.locks().acquire_locks(brief).await.unwrap();
    let mut waiting = call(&lynx, request(&["a"], ""));
    queued(&broker, &mut waiting, &["bold-lynx"]).await;
    broker.mesh.clock.advance(Millis::seconds(11));
    // The writer looks at its clock when it has something to do.
    lynx.put("k", "v").await;
    assert_eq!(paths(&soon(waiting).await.unwrap()), ["a"]);
}

#[tokio::test]
async fn those_who_wait_are_served_in_their_order() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let owl = broker.join("calm-owl").await;
    fox.lock(&["src/"]).await;
    let mut first = call(&lynx, request(&["src/a"], ""));
    queued(&broker, &mut first, &["bold-lynx"]).await;
    let mut second = call(&owl, request(&["src/"], ""));
    queued(&broker, &mut second, &["bold-lynx", "calm-owl"]).await;
    release(&fox).await;
    assert_eq!(paths(&soon(first).await.unwrap()), ["src/a"]);
    queued(&broker, &mut second, &["calm-owl"]).await;
    let refused = fox.lock(&["src/b"]).await;
    let earlier = refused.conflicts[0].waiter.as_ref().unwrap();
    assert_eq!((earlier.peer.as_str(), &earlier.paths), ("calm-owl", &texts(&["src/"])));
    release(&lynx).await;
    assert_eq!(paths(&soon(second).await.unwrap()), ["src/"]);
}

#[tokio::test]
async fn when_its_time_is_over_a_request_is_told_what_is_in_the_way() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    fox.lock(&["a"]).await;
    let brief = pb::AcquireLocksRequest { wait: seconds(20), ..request(&["a", "b"], "") };
    let mut waiting = call(&lynx, brief);
    queued(&broker, &mut waiting, &["bold-lynx"]).await;
    let ticket = broker.revision();
    broker.mesh.clock.advance(Millis::seconds(21));
    // The writer looks at its clock when it has something to do.
    fox.put("k", "v").await;
    let refused = soon(waiting).await.unwrap();
    let [conflict] = refused.conflicts.as_slice() else { panic!("{refused:?}") };
    assert_eq!(conflict.path, "a");
    assert_eq!(conflict.lock.as_ref().unwrap().holder, "amber-fox");
    assert_eq!((refused.ticket, refused.locks), (ticket, vec![]));
}

#[tokio::test]
async fn a_caller_that_goes_leaves_the_queue() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    fox.lock(&["a"]).await;
    let mut waiting = call(&lynx, request(&["a"], ""));
    queued(&broker, &mut waiting, &["bold-lynx"]).await;
    let queued_at = broker.revision();
    drop(waiting);
    let events = events_up_to(&broker, queued_at, wait_ended).await;
    let [Event::LockWaitEnded(ended)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((ended.ticket, ended.cause()), (queued_at, pb::WaitEndCause::Cancelled));
    assert_eq!(queue(&broker).await, [""; 0]);
}

#[tokio::test]
async fn a_caller_that_goes_before_it_is_queued_leaves_nothing_behind() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    fox.lock(&["a"]).await;
    let before = broker.revision();
    let once = |mut waiting: Waiting| async move {
        tokio::select! {
            biased;
            answer = &mut waiting => panic!("answered at once: {answer:?}"),
            () = std::future::ready(()) => {}
        }
    };
    once(call(&lynx, request(&["a"], "r1"))).await;
    let events = events_up_to(&broker, before, wait_ended).await;
    assert!(matches!(events.as_slice(), [Event::LockQueued(_), Event::LockWaitEnded(_)]), "{events:?}");

    let before = broker.revision();
    once(call(&lynx, request(&["free"], ""))).await;
    let events = events_up_to(&broker, before, unlocked).await;
    assert!(matches!(events.as_slice(), [Event::FileLocked(_), Event::FileUnlocked(_)]), "{events:?}");

    once(call(&lynx, request(&["kept"], "r2"))).await;
    let granted = soon(call(&lynx, request(&["kept"], "r2"))).await.unwrap();
    assert_eq!(paths(&granted), ["kept"], "a repeat is told of the first grant");
    assert_ne!(granted.locks[0].remaining, seconds(0), "and it is held");
}

#[tokio::test]
async fn what_is_granted_to_a_caller_that_is_gone_is_given_back() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    fox.lock(&["a"]).await;
    let mut waiting = call(&lynx, request(&["a"], ""));
    queued(&broker, &mut waiting, &["bold-lynx"]).await;
    release(&fox).await;
    let granted_at = broker.revision();
    drop(waiting);
    let events = events_up_to(&broker, granted_at, unlocked).await;
    let [Event::FileUnlocked(ended)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((ended.holder.as_str(), ended.cause()), ("bold-lynx", pb::UnlockCause::Released));
    assert_eq!(paths(&fox.lock(&["a"]).await), ["a"]);
}

#[tokio::test]
async fn a_repeat_goes_on_waiting_and_the_call_before_it_may_go() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    fox.lock(&["a"]).await;
    let mut first = call(&lynx, request(&["a"], "r"));
    queued(&broker, &mut first, &["bold-lynx"]).await;
    let mut again = call(&lynx, request(&["a"], "r"));
    soon(async {
        while broker.mesh.waits.count() < 2 {
            queued(&broker, &mut again, &["bold-lynx"]).await;
        }
    })
    .await;
    // The repeat has its answer from the writer, and waits under the same ticket.
    for _ in 0..100 {
        queued(&broker, &mut again, &["bold-lynx"]).await;
    }
    drop(first);
    for _ in 0..100 {
        queued(&broker, &mut again, &["bold-lynx"]).await;
    }
    release(&fox).await;
    let granted = soon(again).await.unwrap();
    assert_eq!(paths(&granted), ["a"]);
    let late = soon(call(&lynx, request(&["a"], "r"))).await.unwrap();
    assert_eq!((late.locks[0].fencing_token, late.ticket), (granted.locks[0].fencing_token, granted.ticket));
}

#[tokio::test]
async fn a_repeat_after_the_call_was_given_up_waits_anew() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    fox.lock(&["a"]).await;
    let mut first = call(&lynx, request(&["a"], "r"));
    queued(&broker, &mut first, &["bold-lynx"]).await;
    let ticket = broker.revision();
    drop(first);
    until_queued(&broker, &[]).await;
    let mut again = call(&lynx, request(&["a"], "r"));
    queued(&broker, &mut again, &["bold-lynx"]).await;
    release(&fox).await;
    let granted = soon(again).await.unwrap();
    assert_eq!(paths(&granted), ["a"]);
    assert!(granted.ticket > ticket);
}

#[tokio::test]
async fn a_broker_that_ends_keeps_the_places_and_the_next_one_goes_on() {
    let disk = MemoryDisk::new();
    let broker = Broker::on(&disk, WriterConfig::default());
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    fox.lock(&["a"]).await;
    let mut waiting = call(&lynx, request(&["a"], "r"));
    queued(&broker, &mut waiting, &["bold-lynx"]).await;
    let mut cut_off = call(&lynx, request(&["a"], "r"));
    queued(&broker, &mut cut_off, &["bold-lynx"]).await;
    let ticket = broker.revision();
    broker.mesh.shutdown.cancel();
    assert_eq!(reason(soon(waiting).await), "DRAINING");
    drop(cut_off);
    disk.crash();

    let next = Broker::on(&disk, WriterConfig::default());
    let (fox, lynx) = (next.with_token(&fox.token), next.with_token(&lynx.token));
    assert_eq!(queue(&next).await, ["bold-lynx"]);
    let mut again = call(&lynx, request(&["a"], "r"));
    for _ in 0..100 {
        queued(&next, &mut again, &["bold-lynx"]).await;
    }
    release(&fox).await;
    let granted = soon(again).await.unwrap();
    assert_eq!((paths(&granted), granted.ticket), (vec!["a"], ticket));
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_not_claimed_after_a_restart_is_given_up() {
    let disk = MemoryDisk::new();
    let broker = Broker::on(&disk, WriterConfig::default());
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let owl = broker.join("calm-owl").await;
    fox.lock(&["a"]).await;
    let mut comes_back = call(&lynx, request(&["a"], "r"));
    queued(&broker, &mut comes_back, &["bold-lynx"]).await;
    let mut does_not = call(&owl, request(&["a"], "r2"));
    queued(&broker, &mut does_not, &["bold-lynx", "calm-owl"]).await;
    disk.crash();

    let next = Broker::on(&disk, WriterConfig::default());
    let lynx = next.with_token(&lynx.token);
    let mut again = call(&lynx, request(&["a"], "r"));
    for _ in 0..100 {
        queued(&next, &mut again, &["bold-lynx", "calm-owl"]).await;
    }
    next.mesh.keep_places();
    tokio::task::yield_now().await;
    tokio::time::advance(Duration::from_secs(31)).await;
    queued(&next, &mut again, &["bold-lynx"]).await;
    release(&next.with_token(&fox.token)).await;
    assert_eq!(paths(&soon(again).await.unwrap()), ["a"]);
}

#[tokio::test]
async fn a_wait_ends_with_its_session() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    fox.lock(&["a"]).await;
    let mut waiting = call(&lynx, request(&["a"], ""));
    queued(&broker, &mut waiting, &["bold-lynx"]).await;
    lynx.leave().await;
    assert_eq!(reason(soon(waiting).await), "SESSION_EXPIRED");
    until_queued(&broker, &[]).await;
}

#[tokio::test]
async fn a_circle_of_those_who_wait_is_refused() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    fox.lock(&["a"]).await;
    lynx.lock(&["b"]).await;
    let mut waiting = call(&lynx, request(&["a"], ""));
    queued(&broker, &mut waiting, &["bold-lynx"]).await;
    let (code, reason, metadata) = refusal(soon(call(&fox, request(&["b"], ""))).await);
    assert_eq!((code, reason.as_str()), (Code::Aborted, "DEADLOCK"));
    assert_eq!(metadata, [("cycle".to_owned(), "amber-fox > bold-lynx > amber-fox".to_owned())]);
    assert_eq!(broker.mesh.waits.count(), 1, "the one that waits");
}

#[tokio::test]
async fn there_are_only_so_many_calls_that_wait() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let open: Vec<_> = (0..mesh_core::limits::WAITING_CALLS)
        .map(|n| broker.mesh.waits.open(&Holder::nth(n, None)).unwrap())
        .collect();
    let refused = soon(call(&fox, request(&["a"], ""))).await;
    assert_eq!(reason(refused), "LIMIT_REACHED");
    let condition = pb::PeerCondition { name: "nobody".into(), gone: false };
    let condition = Some(pb::wait_condition::Condition::Peer(condition));
    let conditions = vec![pb::WaitCondition { condition }];
    let wait = pb::WaitRequest { conditions, ..Default::default() };
    assert_eq!(reason(fox.events().wait(wait.clone()).await), "LIMIT_REACHED");
    let events = pb::ListEventsRequest { start_revision: 1, wait: seconds(60), ..Default::default() };
    assert_eq!(reason(fox.events().list_events(events.clone()).await), "LIMIT_REACHED");
    let at_once = pb::ListEventsRequest { wait: None, ..events };
    fox.events().list_events(at_once).await.unwrap();
    fox.lock(&["a"]).await;
    let now = pb::WaitRequest { timeout: seconds(0), ..wait };
    assert!(!fox.events().wait(now).await.unwrap().into_inner().met, "who does not wait is not counted");
    drop(open);
    soon(call(&fox, request(&["a"], ""))).await.unwrap();
}

#[tokio::test]
async fn requests_that_wait_are_listed_by_what_they_want() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    fox.lock(&["src/"]).await;
    let mode = pb::LockMode::Shared.into();
    let why = pb::AcquireLocksRequest { mode, reason: "to read".into(), ..request(&["src/a", "b"], "") };
    let mut waiting = call(&lynx, why);
    queued(&broker, &mut waiting, &["bold-lynx"]).await;
    let list = |path: &str| pb::ListLockWaitersRequest { path: path.into(), ..Default::default() };
    let found = lynx.locks().list_lock_waiters(list("src/")).await.unwrap().into_inner();
    let [waiter] = found.waiters.as_slice() else { panic!("{found:?}") };
    assert_eq!((waiter.scope.as_str(), waiter.ticket), (SCOPE, broker.revision()));
    assert_eq!((&waiter.paths, waiter.mode()), (&texts(&["src/a", "b"]), pb::LockMode::Shared));
    assert_eq!(waiter.reason, "to read");
    assert!((3_590..=3_600).contains(&waiter.remaining.unwrap().seconds));
    assert_eq!(lynx.locks().list_lock_waiters(list("c")).await.unwrap().into_inner().waiters, []);
    assert_eq!(field(lynx.locks().list_lock_waiters(list("../c")).await), "path");
    assert_eq!(field(broker.nobody().locks().list_lock_waiters(list("")).await), "scope");
}

#[tokio::test]
async fn a_list_of_requests_that_want_much_is_cut_to_what_an_answer_holds() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    fox.lock(&["a"]).await;
    let long = |n: usize| format!("{}/{n}", "x".repeat(250)).repeat(4);
    let wanted: Vec<String> = std::iter::once("a".to_owned()).chain((0..31).map(long)).collect();
    let mut waiting = Vec::new();
    for name in ["bold-lynx", "calm-owl", "dark-elk"] {
        let peer = broker.join(name).await;
        for _ in 0..mesh_core::limits::WAITERS_PER_PEER {
            let request = pb::AcquireLocksRequest { paths: wanted.clone(), ..request(&[], "") };
            waiting.push(tokio::spawn(call(&peer, request)));
        }
    }
    let all = waiting.len();
    soon(async {
        while broker.mesh.view.read().locks.waiters(&mesh_core::id::ScopeId::parse(SCOPE).unwrap()).count()
            < all
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let list = pb::ListLockWaitersRequest { scope: SCOPE.into(), ..Default::default() };
    let answer = broker.nobody().locks().list_lock_waiters(list).await.unwrap().into_inner();
    assert!((20..all).contains(&answer.waiters.len()), "{} of {all}", answer.waiters.len());
    assert!(answer.encoded_len() <= mesh_core::limits::PAGE_BYTES + 50_000, "{}", answer.encoded_len());
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_peer_that_waits_twice_for_the_same_gets_it_in_both_calls() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    fox.lock(&["a"]).await;
    lynx.lock(&["own"]).await;
    let mut first = call(&lynx, request(&["a", "own"], ""));
    queued(&broker, &mut first, &["bold-lynx"]).await;
    let mut second = call(&lynx, request(&["own", "a"], ""));
    queued(&broker, &mut second, &["bold-lynx", "bold-lynx"]).await;
    release(&fox).await;
    let (first, second) = soon(async { tokio::join!(first, second) }).await;
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((paths(&first), paths(&second)), (vec!["a", "own"], vec!["own", "a"]));
    assert_eq!(first.locks[0].fencing_token, second.locks[1].fencing_token, "one lock");
    assert_eq!(broker.mesh.waits.count(), 0);
    assert_eq!(queue(&broker).await, [""; 0]);
}
