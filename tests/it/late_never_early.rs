//! Nothing expires before its time, also over a restart.

use std::time::{Duration, Instant};

use mesh_client::proto::event::Event;
use mesh_client::proto::{DeleteCause, EventBatch, LeaveCause, ListLocksRequest, UnlockCause};
use mesh_client::{ErrorReason, JoinOptions, Session};
use mesh_tests::{
    Followed, Mesh, commit_millis, follow, get, lock, put, refused, seconds, unattended, within,
};

/// The wall clock of an event and that of the answer are read at different moments, and the broker counts whole
/// milliseconds.
const ROUNDING: i64 = 5;

async fn until_deleted(watch: &mut Followed, key: &str) -> (EventBatch, DeleteCause) {
    let what = format!("the end of {key}");
    let deleted = watch.until(&what, |event| match event {
        Event::StateDeleted(deleted) if deleted.key == key => Some(deleted.cause()),
        _ => None,
    });
    deleted.await
}

fn started(watch: &Followed, revision: u64) -> i64 {
    commit_millis(watch.seen.iter().find(|batch| batch.revision == revision).unwrap())
}

#[tokio::test]
async fn entries_locks_and_sessions_end_at_their_ttl_and_not_before() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let fox = mesh.join("fox").await;
    let mut entry = put("k", "v");
    entry.ttl = seconds(2);
    let mut claim = lock(&["src/"]);
    claim.ttl = seconds(2);
    let lease = JoinOptions { lease_ttl: Some(Duration::from_secs(2)), ..unattended("guest") };
    let before = Instant::now();
    let written = fox.put(entry).await.unwrap().entry.unwrap();
    let mesh_client::Acquired::Granted(locks) = fox.acquire(claim).await.unwrap() else { panic!("refused") };
    let guest = Session::join(&mesh.client(), lease).await.unwrap();
    let joined = guest.joined_at().unwrap().revision;
    let (deleted, cause) = until_deleted(&mut watch, "k").await;
    assert_eq!(cause, DeleteCause::Expired);
    assert!(before.elapsed() >= Duration::from_secs(2), "{:?}", before.elapsed());
    let mut ends = follow(&mesh.client(), 1).await;
    let (unlocked, unlock_cause) = ends.until_unlocked("src/").await;
    let mut ends = follow(&mesh.client(), 1).await;
    let (left, leave_cause) = ends.until_left("guest").await;
    assert_eq!((unlock_cause, leave_cause), (UnlockCause::Expired, LeaveCause::Expired));
    for (ended, start) in [(deleted, written.revision), (unlocked, locks[0].fencing_token), (left, joined)] {
        let lived = commit_millis(&ended) - started(&ends, start);
        assert!(lived >= 2_000 - ROUNDING, "{lived} ms");
    }
    assert_eq!(refused(fox.get(get("k")).await).reason, ErrorReason::KeyNotFound);
}

#[tokio::test]
async fn a_sign_of_life_starts_the_lease_again() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let lease = |name: &str| JoinOptions { lease_ttl: Some(Duration::from_secs(2)), ..unattended(name) };
    let guest = Session::join(&mesh.client(), lease("guest")).await.unwrap();
    let _clock = Session::join(
        &mesh.client(),
        JoinOptions { lease_ttl: Some(Duration::from_secs(1)), ..lease("clock") },
    )
    .await
    .unwrap();
    watch.until_left("clock").await;
    let heard = Instant::now();
    guest.heartbeat().await.unwrap();
    watch.until_left("guest").await;
    assert!(heard.elapsed() >= Duration::from_secs(2) - Duration::from_millis(5), "{:?}", heard.elapsed());
}

#[tokio::test]
async fn the_newest_write_and_the_newest_renewal_count() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let fox = mesh.join("fox").await;
    let mut entry = put("k", "v");
    entry.ttl = seconds(1);
    fox.put(entry.clone()).await.unwrap();
    entry.ttl = seconds(3);
    let rewritten = fox.put(entry).await.unwrap().entry.unwrap().revision;
    let (deleted, _) = until_deleted(&mut watch, "k").await;
    let lived = commit_millis(&deleted) - started(&watch, rewritten);
    assert!(lived >= 3_000 - ROUNDING, "{lived} ms");
}

#[tokio::test]
async fn a_restart_ends_nothing_early_and_gives_leases_their_full_time_again() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let lease = JoinOptions { lease_ttl: Some(Duration::from_secs(2)), ..unattended("guest") };
    let guest = Session::join(&mesh.client(), lease).await.unwrap();
    let mut claim = lock(&["src/"]);
    claim.ttl = seconds(20);
    guest.acquire(claim).await.unwrap();
    let mut entry = put("k", "v");
    entry.ttl = seconds(2);
    guest.put(entry).await.unwrap();
    broker.kill();
    let restarted = Instant::now();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 1).await;
    let listed = mesh.client().locks().list_locks(ListLocksRequest::default()).await.unwrap().into_inner();
    let remaining = Duration::try_from(listed.locks[0].remaining.unwrap()).unwrap();
    assert!(remaining > Duration::from_secs(10), "the lock starts anew: {remaining:?}");
    until_deleted(&mut watch, "k").await;
    let entry_lived = restarted.elapsed();
    let (_, cause) = within("the guest's end", watch_from_start(&mesh, "guest")).await;
    assert_eq!(cause, LeaveCause::Expired);
    assert!(restarted.elapsed() >= Duration::from_secs(2), "{:?}", restarted.elapsed());
    assert!(entry_lived >= Duration::from_secs(2), "the entry starts anew: {entry_lived:?}");
}

async fn watch_from_start(mesh: &Mesh, peer: &str) -> (EventBatch, LeaveCause) {
    follow(&mesh.client(), 1).await.until_left(peer).await
}
