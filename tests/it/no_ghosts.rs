//! No immortal locks and no ghosts: a session whose process dies is gone within a second, its locks after the
//! lock-delay, and every end is an event with its cause.

use std::time::Duration;

use mesh_client::proto::event::Event;
use mesh_client::proto::watch_response::Payload;
use mesh_client::proto::{
    LeaveCause, ListLocksRequest, ListPeersRequest, LockState, PeerStatus, UnlockCause, WatchRequest,
};
use mesh_client::{Acquired, ErrorReason, JoinOptions, Liveness, Session};
use mesh_tests::{
    Followed, Mesh, Signal, commit_millis, follow, history, lock, options, overwrite, put, refused, seconds,
    signal, unattended, within,
};

/// How long a lock outlives a session that did not say goodbye.
const LOCK_DELAY: i64 = 10_000;
/// The promise is a second; a machine that is busy with other tests gets some more.
const NOTICED_WITHIN: i64 = 3_000;

/// Writes an event to measure from, and returns when it was committed.
async fn mark(watch: &mut Followed, witness: &Session) -> i64 {
    let revision = witness.put(put("mark", "now")).await.unwrap().entry.unwrap().revision;
    watch.reach(revision).await;
    commit_millis(watch.seen.last().unwrap())
}

/// The holder of a lock on a path, as soon as there is one.
async fn holder(watch: &mut Followed, path: &str) -> String {
    let what = format!("a lock on {path}");
    let found = watch.until(&what, |event| match event {
        Event::FileLocked(granted) => {
            granted.locks.iter().find(|lock| lock.path == path).map(|lock| lock.holder.clone())
        }
        _ => None,
    });
    found.await.1
}

async fn is_online(session: &Session, name: &str) -> bool {
    let request = ListPeersRequest { scope: session.scope(), include_offline: true, ..Default::default() };
    let peers = session.list_peers(request).await.unwrap().peers;
    peers.iter().any(|peer| peer.name == name && peer.status() == PeerStatus::Online)
}

#[tokio::test]
async fn a_killed_process_is_gone_within_a_second_and_its_locks_after_the_lock_delay() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let witness = mesh.join("witness").await;
    let mut watch = follow(&mesh.client(), 0).await;
    let mut process = mesh.spawn(&["lock", "src/a.rs", "--", "cat"]);
    let name = holder(&mut watch, "src/a.rs").await;
    let killed = mark(&mut watch, &witness).await;
    signal(process.id().unwrap(), Signal::KILL);
    let (left, cause) = watch.until_left(&name).await;
    let noticed = commit_millis(&left) - killed;
    eprintln!("a killed process was noticed after {noticed} ms");
    assert_eq!(cause, LeaveCause::Disconnected);
    assert!(noticed <= NOTICED_WITHIN, "{noticed} ms");
    assert_eq!(left.actor, "", "the broker did it");
    let lingering = witness.list_locks(ListLocksRequest::default()).await.unwrap().locks.remove(0);
    assert_eq!((lingering.holder, lingering.state), (name, LockState::Lingering.into()));
    let Acquired::Refused(conflicts) = witness.acquire(lock(&["src/a.rs"])).await.unwrap() else {
        panic!("the lock-delay keeps others out")
    };
    let remaining = Duration::try_from(conflicts[0].lock.clone().unwrap().remaining.unwrap()).unwrap();
    assert!(remaining <= Duration::from_secs(10), "{remaining:?}");
    let (freed, cause) = watch.until_unlocked("src/a.rs").await;
    let delay = commit_millis(&freed) - commit_millis(&left);
    eprintln!("its lock was free after another {delay} ms");
    assert_eq!(cause, UnlockCause::SessionEnded);
    assert!((LOCK_DELAY - 5..LOCK_DELAY + NOTICED_WITHIN).contains(&delay), "{delay} ms");
    assert!(matches!(witness.acquire(lock(&["src/a.rs"])).await.unwrap(), Acquired::Granted(_)));
    process.wait().await.unwrap();
}

#[tokio::test]
async fn a_dropped_session_is_gone_within_a_second() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let witness = mesh.join("witness").await;
    let mut watch = follow(&mesh.client(), 0).await;
    let fox = mesh.join("fox").await;
    // Only a session with a stream is missed when its connection goes.
    let mut news = fox.events();
    witness.put(put("news", "for all")).await.unwrap();
    within("news", news.next()).await.unwrap().unwrap();
    let dropped = mark(&mut watch, &witness).await;
    drop((news, fox));
    let (left, cause) = watch.until_left("fox").await;
    let noticed = commit_millis(&left) - dropped;
    eprintln!("a dropped session was noticed after {noticed} ms");
    assert_eq!(cause, LeaveCause::Disconnected);
    assert!(noticed <= NOTICED_WITHIN, "{noticed} ms");
}

#[tokio::test]
async fn the_same_peer_takes_its_locks_up_again_during_the_lock_delay() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let witness = mesh.join("witness").await;
    let mut watch = follow(&mesh.client(), 0).await;
    let mut fox = mesh.join("fox").await;
    let first = fox.acquire(lock(&["src/"])).await.unwrap();
    let mut news = fox.events();
    witness.put(put("news", "for all")).await.unwrap();
    within("news", news.next()).await.unwrap().unwrap();
    drop((news, fox));
    assert_eq!(watch.until_left("fox").await.1, LeaveCause::Disconnected);
    assert!(matches!(witness.acquire(lock(&["src/x"])).await.unwrap(), Acquired::Refused(_)));
    fox = mesh.join("fox").await;
    let (Acquired::Granted(first), Acquired::Granted(second)) =
        (first, fox.acquire(lock(&["src/"])).await.unwrap())
    else {
        panic!("the same peer is let in")
    };
    assert!(second[0].fencing_token > first[0].fencing_token, "a new session, a new grant");
    assert_eq!(second[0].session_id, fox.peer().session_id);
    let listed = witness.list_locks(ListLocksRequest::default()).await.unwrap().locks;
    assert_eq!((listed.len(), listed[0].state()), (1, LockState::Held));
    fox.leave().await.unwrap();
    assert_eq!(watch.until_unlocked("src/").await.1, UnlockCause::Left);
}

#[tokio::test]
async fn an_unattended_session_expires_and_its_lock_with_it() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let short = JoinOptions { lease_ttl: Some(Duration::from_secs(1)), ..unattended("fox") };
    let fox = Session::join(&mesh.client(), short).await.unwrap();
    fox.acquire(lock(&["src/"])).await.unwrap();
    let (left, cause) = watch.until_left("fox").await;
    assert_eq!(cause, LeaveCause::Expired);
    let client = fox.client();
    let refusal = mesh_tests::status_refused(&client, client.state().put(put("k", "v")).await);
    assert_eq!(refusal.reason, ErrorReason::SessionExpired);
    let (freed, cause) = watch.until_unlocked("src/").await;
    assert_eq!(cause, UnlockCause::SessionEnded);
    assert!(commit_millis(&freed) - commit_millis(&left) >= LOCK_DELAY - 5);
}

#[tokio::test]
async fn a_lock_ends_with_its_ttl_while_its_holder_lives() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let fox = mesh.join("fox").await;
    let mut request = lock(&["src/"]);
    request.ttl = seconds(1);
    fox.acquire(request).await.unwrap();
    assert_eq!(watch.until_unlocked("src/").await.1, UnlockCause::Expired);
    assert!(is_online(&fox, "fox").await);
}

#[tokio::test]
async fn leaving_frees_everything_at_once() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join("fox").await, mesh.join("owl").await);
    fox.acquire(lock(&["a", "b/"])).await.unwrap();
    fox.leave().await.unwrap();
    assert!(matches!(owl.acquire(lock(&["a", "b/c"])).await.unwrap(), Acquired::Granted(_)));
    let mut watch = follow(&mesh.client(), 1).await;
    let (unlocked, cause) = watch.until_unlocked("a").await;
    assert_eq!(cause, UnlockCause::Left);
    assert_eq!(unlocked.actor, "fox");
}

#[tokio::test]
async fn closing_a_stream_does_not_end_a_session_whose_connection_lives() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let fox = mesh.join_unattended("fox").await;
    let client = fox.client();
    let mut stream = client.events().watch(WatchRequest::default()).await.unwrap().into_inner();
    let created = stream.message().await.unwrap().unwrap();
    assert!(matches!(created.payload, Some(Payload::Created(_))));
    drop(stream);
    // A peer that goes with its connection and comes after the stream was closed: whoever is noticed is noticed
    // by then.
    let owl = mesh.join("owl").await;
    let mut news = owl.events();
    fox.put(put("news", "for all")).await.unwrap();
    within("news", news.next()).await.unwrap().unwrap();
    drop((news, owl));
    watch.until_left("owl").await;
    assert!(!history(&client, 1).await.iter().any(|batch| {
        mesh_tests::events(batch).any(|event| matches!(event, Event::PeerLeft(left) if left.name == "fox"))
    }));
    assert!(is_online(&fox, "fox").await);
}

#[tokio::test]
async fn a_replaced_session_is_told_so_and_does_not_come_back() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let first = mesh.join_unattended("fox").await;
    let second = mesh.join_unattended("fox").await;
    assert_eq!(watch.until_left("fox").await.1, LeaveCause::Replaced);
    let refusal = refused(first.put(put("k", "v")).await);
    assert_eq!(refusal.reason, ErrorReason::SessionExpired);
    assert_eq!(refusal.metadata["cause"], "REPLACED");
    second.put(put("k", "v")).await.unwrap();
}

/// A signal that stops a process is not its end, however long it lasts: longer than the lease, and longer than
/// any patience of the transport.
#[tokio::test]
async fn a_stopped_client_keeps_its_session() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let process = mesh.spawn(&["lock", "src/a.rs", "--", "cat"]);
    let name = holder(&mut watch, "src/a.rs").await;
    signal(process.id().unwrap(), Signal::STOP);
    let lease = JoinOptions { lease_ttl: Some(Duration::from_secs(35)), ..unattended("hourglass") };
    let _hourglass = Session::join(&mesh.client(), lease).await.unwrap();
    watch.until_left("hourglass").await;
    let witness = mesh.join_unattended("witness").await;
    assert!(is_online(&witness, &name).await);
    assert!(matches!(witness.acquire(lock(&["src/a.rs"])).await.unwrap(), Acquired::Refused(_)));
    signal(process.id().unwrap(), Signal::CONT);
}

#[tokio::test]
async fn a_stopped_broker_ends_nobody_who_is_alive() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let lease = Some(Duration::from_secs(1));
    let attached = JoinOptions { lease_ttl: lease, ..options("attached") };
    let attached = Session::join(&mesh.client(), attached).await.unwrap();
    let beating = JoinOptions { lease_ttl: lease, liveness: Liveness::Heartbeat, ..options("beating") };
    let beating = Session::join(&mesh.client(), beating).await.unwrap();
    broker.pause();
    // The pause itself: twice as long as the leases.
    tokio::time::sleep(Duration::from_secs(2)).await;
    broker.resume();
    let sessions = [attached.peer().session_id, beating.peer().session_id];
    for session in [&attached, &beating] {
        session.put(overwrite("k", "v")).await.unwrap();
    }
    assert_eq!([attached.peer().session_id, beating.peer().session_id], sessions);
    let revision = attached.put(overwrite("k", "v")).await.unwrap().entry.unwrap().revision;
    watch.reach(revision).await;
    let left = watch.seen.iter().flat_map(mesh_tests::events).find(|e| matches!(e, Event::PeerLeft(_)));
    assert_eq!(left, None);
}
