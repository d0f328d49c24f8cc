//! Who waits for a lock gets it in turn, in the transaction that frees it, or is told why not.

use std::time::Duration;

use mesh_client::proto::event::Event;
use mesh_client::proto::{ListLockWaitersRequest, LockWaiter, UnlockCause, WaitEndCause};
use mesh_client::{Acquired, ClientError, ErrorReason, Session};
use mesh_tests::{Followed, Mesh, events, follow, lock, refused, seconds, share, within};
use tokio::task::JoinHandle;
use tonic::Code;

use super::{conflicts, granted};

const PATIENCE: Duration = Duration::from_secs(60);

type Waiting = JoinHandle<Result<Acquired, ClientError>>;

/// Starts waiting, and returns once it stands in the queue.
async fn wait_for(
    watch: &mut Followed,
    session: &Session,
    request: mesh_client::proto::AcquireLocksRequest,
) -> (Waiting, LockWaiter) {
    let (session, name) = (session.clone(), session.peer().name);
    let waiting = tokio::spawn(async move { session.acquire_wait(request, PATIENCE).await });
    let queued = |event: &Event| match event {
        Event::LockQueued(queued) => queued.waiter.clone().filter(|waiter| waiter.peer == name),
        _ => None,
    };
    let (_, waiter) = watch.until("a place in the queue", queued).await;
    (waiting, waiter)
}

async fn is_granted(waiting: Waiting) -> u64 {
    match within("a grant", waiting).await.unwrap().unwrap() {
        Acquired::Granted(locks) => locks[0].fencing_token,
        Acquired::Refused(conflicts) => panic!("refused: {conflicts:?}"),
    }
}

async fn queue(session: &Session) -> Vec<String> {
    let answer = session.list_lock_waiters(ListLockWaitersRequest::default()).await.unwrap();
    answer.waiters.into_iter().map(|waiter| waiter.peer).collect()
}

#[tokio::test]
async fn a_lock_is_handed_over_in_the_transaction_that_frees_it() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let (one, two) = (mesh.join_unattended("one").await, mesh.join_unattended("two").await);
    let first = granted(&one, lock(&["src/"])).await[0].fencing_token;
    let (waiting, waiter) = wait_for(&mut watch, &two, lock(&["src/a.rs", "docs/"])).await;
    assert_eq!(waiter.paths, ["src/a.rs", "docs/"]);
    one.release(vec![]).await.unwrap();
    let token = is_granted(waiting).await;
    assert!(token > first);
    let (batch, cause) = watch.until_unlocked("src/").await;
    assert_eq!((batch.revision, cause, batch.actor.as_str()), (token, UnlockCause::Released, "one"));
    let handed_over = events(&batch).any(|event| {
        matches!(event, Event::FileLocked(it) if it.ticket == waiter.ticket && it.locks[0].holder == "two")
    });
    assert!(handed_over, "{batch:?}");
}

#[tokio::test]
async fn the_queue_is_fair_and_compatible_requests_pass() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let mut sessions = Vec::new();
    for name in ["reader", "writer", "late", "elsewhere", "holder"] {
        sessions.push(mesh.join_unattended(name).await);
    }
    let [reader, writer, late, elsewhere, holder] = sessions.try_into().unwrap();
    granted(&holder, share(&["doc"])).await;
    granted(&reader, share(&["doc"])).await;
    let (writing, _) = wait_for(&mut watch, &writer, lock(&["doc"])).await;
    // A stream of readers would starve the writer: they stand behind it, and nobody barges in.
    let behind = conflicts(&late, share(&["doc"])).await;
    assert_eq!(behind[0].waiter.as_ref().unwrap().peer, "writer");
    let (reading, _) = wait_for(&mut watch, &late, share(&["doc"])).await;
    assert_eq!(queue(&holder).await, ["writer", "late"]);
    // What has nothing to do with it is granted at once.
    granted(&elsewhere, lock(&["other"])).await;
    // Its own lock is renewed whoever waits.
    granted(&holder, share(&["doc"])).await;
    holder.release(vec![]).await.unwrap();
    reader.release(vec![]).await.unwrap();
    let written = is_granted(writing).await;
    assert_eq!(queue(&holder).await, ["late"]);
    writer.release(vec![]).await.unwrap();
    assert!(is_granted(reading).await > written);
}

#[tokio::test]
async fn the_lock_of_a_dead_peer_goes_to_who_waits_when_the_delay_is_over() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let (holder, two) = (mesh.join("holder").await, mesh.join_unattended("two").await);
    granted(&holder, lock(&["a"])).await;
    let (waiting, waiter) = wait_for(&mut watch, &two, lock(&["a"])).await;
    drop(holder);
    let (batch, cause) = watch.until_unlocked("a").await;
    assert_eq!(cause, UnlockCause::SessionEnded);
    assert!(events(&batch).any(|event| matches!(event, Event::FileLocked(it) if it.ticket == waiter.ticket)));
    is_granted(waiting).await;
}

#[tokio::test]
async fn a_circle_of_waiting_peers_is_refused_and_named() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let [ann, bob, cat] = [
        mesh.join_unattended("ann").await,
        mesh.join_unattended("bob").await,
        mesh.join_unattended("cat").await,
    ];
    for (session, path) in [(&ann, "a"), (&bob, "b"), (&cat, "c")] {
        granted(session, lock(&[path])).await;
    }
    let (ann_waits, _) = wait_for(&mut watch, &ann, lock(&["b"])).await;
    let (bob_waits, _) = wait_for(&mut watch, &bob, lock(&["c"])).await;
    let refusal = refused(cat.acquire_wait(lock(&["a"]), PATIENCE).await);
    assert_eq!((refusal.code, refusal.reason), (Code::Aborted, ErrorReason::Deadlock));
    assert_eq!(refusal.metadata["cycle"], "cat > ann > bob > cat");
    // It helps to release what the others wait for.
    cat.release(vec![]).await.unwrap();
    is_granted(bob_waits).await;
    bob.release(vec![]).await.unwrap();
    is_granted(ann_waits).await;
}

#[tokio::test]
async fn of_two_who_would_upgrade_the_second_is_refused() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let (ann, bob) = (mesh.join_unattended("ann").await, mesh.join_unattended("bob").await);
    granted(&ann, share(&["doc"])).await;
    granted(&bob, share(&["doc"])).await;
    let (upgrading, _) = wait_for(&mut watch, &ann, lock(&["doc"])).await;
    assert_eq!(refused(bob.acquire_wait(lock(&["doc"]), PATIENCE).await).reason, ErrorReason::Deadlock);
    bob.release(vec![]).await.unwrap();
    is_granted(upgrading).await;
}

#[tokio::test]
async fn who_stops_waiting_leaves_the_queue_however_it_stops() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let [holder, cancelled, gone, timed_out] = [
        mesh.join_unattended("holder").await,
        mesh.join_unattended("cancelled").await,
        mesh.join("gone").await,
        mesh.join_unattended("timed-out").await,
    ];
    granted(&holder, lock(&["a"])).await;
    let ended = |ticket: u64| {
        move |event: &Event| match event {
            Event::LockWaitEnded(ended) if ended.ticket == ticket => Some(ended.cause()),
            _ => None,
        }
    };

    let (waiting, waiter) = wait_for(&mut watch, &cancelled, lock(&["a"])).await;
    waiting.abort();
    let (_, cause) = watch.until("the end of a wait", ended(waiter.ticket)).await;
    assert_eq!(cause, WaitEndCause::Cancelled);

    let (waiting, waiter) = wait_for(&mut watch, &gone, lock(&["a"])).await;
    gone.leave().await.unwrap();
    let (_, cause) = watch.until("the end of a wait", ended(waiter.ticket)).await;
    assert_eq!(cause, WaitEndCause::SessionEnded);
    assert!(within("an answer", waiting).await.unwrap().is_err());

    let impatient = timed_out.acquire_wait(lock(&["a"]), Duration::from_secs(1)).await.unwrap();
    assert!(matches!(impatient, Acquired::Refused(conflicts) if conflicts[0].path == "a"));
    let any = |event: &Event| match event {
        Event::LockWaitEnded(ended) if ended.peer == "timed-out" => Some(ended.cause()),
        _ => None,
    };
    let (_, cause) = watch.until("the end of a wait", any).await;
    assert_eq!(cause, WaitEndCause::TimedOut);
    assert_eq!(queue(&holder).await, [""; 0]);
}

#[tokio::test]
async fn waiting_goes_on_in_its_place_when_the_broker_is_killed() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let [holder, first, second] = [
        mesh.join_unattended("holder").await,
        mesh.join_unattended("first").await,
        mesh.join_unattended("second").await,
    ];
    granted(&holder, lock(&["a"])).await;
    let (first_waits, before) = wait_for(&mut watch, &first, lock(&["a"])).await;
    let (second_waits, _) = wait_for(&mut watch, &second, lock(&["a"])).await;
    broker.kill();
    let _broker = mesh.serve(&[]);
    assert_eq!(queue(&holder).await, ["first", "second"]);
    // Both calls have found their places again once they hold the connection to the new broker.
    first.heartbeat().await.unwrap();
    second.heartbeat().await.unwrap();
    holder.release(vec![]).await.unwrap();
    let token = is_granted(first_waits).await;
    let (batch, _) = watch.until_unlocked("a").await;
    assert_eq!(batch.revision, token);
    assert!(events(&batch).any(|event| matches!(event, Event::FileLocked(it) if it.ticket == before.ticket)));
    first.release(vec![]).await.unwrap();
    assert!(is_granted(second_waits).await > token);
}

#[tokio::test]
async fn a_wait_that_is_too_long_or_too_wide_is_refused() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (holder, other) = (mesh.join_unattended("holder").await, mesh.join_unattended("other").await);
    granted(&holder, lock(&["f0"])).await;
    let mut long = lock(&["f0"]);
    long.wait = seconds(3_601);
    assert_eq!(refused(other.acquire(long).await).field_violations[0].field, "wait");
    let paths: Vec<String> = (0..33).map(|n| format!("f{n}")).collect();
    let mut wide = lock(&[]);
    wide.paths = paths;
    wide.wait = seconds(1);
    assert_eq!(refused(other.acquire(wide).await).field_violations[0].field, "paths");
}
