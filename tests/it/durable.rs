//! What was acknowledged survives `kill -9` at any instant, and nobody has to repair anything.

mod load;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mesh_client::proto::watch_response::Payload;
use mesh_client::proto::{GetStatusRequest, WatchRequest};
use mesh_client::{Client, ErrorReason};
use mesh_tests::{Broker, Mesh, broadcast, follow, get, history, kill, lock, put, refused, within};
use tonic::Code;

use self::load::Crew;

/// Kills under load, unless `MESH_CRASHES` asks for more.
const CRASHES: usize = 20;

async fn broker_pid(client: &Client) -> u32 {
    let status = client.call(|c| async move { c.admin().get_status(GetStatusRequest {}).await });
    status.await.unwrap().pid
}

#[tokio::test]
async fn kill_minus_nine_under_load_loses_nothing_acknowledged() {
    let crashes = std::env::var("MESH_CRASHES").map_or(CRASHES, |count| count.parse().unwrap());
    let mesh = Mesh::new();
    let client = mesh.starting_client();
    let mut pid = broker_pid(&client).await;
    let crew = Crew::start(&mesh).await;
    let mut watch = follow(&client, 1).await;
    let mut away = Vec::new();
    for crash in 0..crashes {
        // Another number of batches each time, so that the kill meets the broker at another point of its work.
        for _ in 0..20 + crash * 17 % 60 {
            watch.batch().await;
        }
        let acknowledged = crew.ledger().clone();
        kill(pid);
        let killed = Instant::now();
        let next = broker_pid(&client).await;
        away.push(killed.elapsed());
        assert_ne!(next, pid);
        pid = next;
        acknowledged.check_state(&client).await;
    }
    let ledger = within("the crew", crew.finish()).await;
    ledger.check_state(&client).await;
    ledger.check_counters(&client).await;
    ledger.check_messages();
    let log = history(&client, 1).await;
    watch.reach(log.last().unwrap().revision).await;
    watch.assert_gapless();
    ledger.check_log(&watch.seen);
    assert!(watch.seen == log, "a watch through all kills saw what the log holds");
    away.sort();
    eprintln!(
        "{crashes} kills, {} changes acknowledged, {} batches; the next call answered after {:?} (median), {:?} (worst)",
        ledger.changes(),
        watch.seen.len(),
        away[away.len() / 2],
        away.last().unwrap()
    );
    assert!(ledger.changes() > crashes * 10, "no load: {ledger:?}");
}

/// Ends a broker without holding up the tasks beside it.
async fn terminate(broker: Broker) -> Option<i32> {
    within("the broker's end", tokio::task::spawn_blocking(move || broker.terminate())).await.unwrap()
}

#[tokio::test]
async fn sigterm_ends_streams_as_draining_flushes_and_exits_zero() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let client = mesh.client();
    let session = mesh.join_unattended("fox").await;
    let mut stream = client.events().watch(WatchRequest::default()).await.unwrap().into_inner();
    let created = stream.message().await.unwrap().unwrap().payload;
    assert!(matches!(created, Some(Payload::Created(_))));
    let version = session.put(put("k", "v")).await.unwrap().entry.unwrap().version;
    let batch = within("the batch", stream.message()).await.unwrap().unwrap();
    assert!(matches!(batch.payload, Some(Payload::Events(_))));
    let ended = tokio::spawn(async move { stream.message().await });
    assert_eq!(terminate(broker).await, Some(0));
    let refusal = mesh_tests::status_refused(&client, within("the stream's end", ended).await.unwrap());
    assert_eq!((refusal.code, refusal.reason), (Code::Unavailable, ErrorReason::Draining));
    assert!(refusal.retry_after.is_some(), "says when to come back");
    assert!(!mesh.home().socket_path().exists(), "an orderly end removes the socket");
    let _broker = mesh.serve(&[]);
    assert_eq!(session.get(get("k")).await.unwrap().entry.unwrap().version, version);
}

#[tokio::test]
async fn what_was_answered_before_sigterm_under_load_is_there_after() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let session = mesh.join_unattended("fox").await;
    let client = session.client();
    let writer = tokio::spawn(async move {
        let mut answered = BTreeMap::new();
        for number in 0.. {
            let key = format!("k/{number}");
            match client.state().put(put(&key, "v")).await {
                Ok(answer) => answered.insert(key, answer.into_inner().entry.unwrap().revision),
                Err(_) => break,
            };
        }
        answered
    });
    let mut watch = follow(&mesh.client(), 1).await;
    for _ in 0..40 {
        watch.batch().await;
    }
    assert_eq!(terminate(broker).await, Some(0));
    let answered = within("the writer", writer).await.unwrap();
    let _broker = mesh.serve(&[]);
    for (key, revision) in &answered {
        assert_eq!(session.get(get(key)).await.unwrap().entry.unwrap().revision, *revision, "{key}");
    }
}

#[tokio::test]
async fn a_stale_socket_file_is_replaced() {
    let mesh = Mesh::new();
    mesh.serve(&[]).kill();
    assert!(mesh.home().socket_path().exists(), "a killed broker leaves its socket behind");
    let _broker = mesh.serve(&[]);
    mesh.join_unattended("fox").await.put(put("k", "v")).await.unwrap();
}

#[tokio::test]
async fn a_second_broker_on_the_same_home_says_who_serves_it() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let second = mesh.run(&["serve"]);
    let told = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success());
    assert!(told.contains("another broker") && told.contains(&broker.pid().to_string()), "{told}");
    assert!(told.contains("meshctl stop"), "names the next step: {told}");
    mesh.join_unattended("fox").await;
}

#[tokio::test]
async fn a_second_broker_on_the_same_socket_is_refused_whoever_came_first() {
    let (mesh, other) = (Mesh::new(), Mesh::new());
    let aside = mesh.path().join("aside.sock");
    let aside = aside.to_str().unwrap();
    let _default = mesh.serve(&[]);
    let default = mesh.home().socket_path();
    let third = Mesh::new();
    let _aside = third.serve(&["--socket", aside]);
    for taken in [default.to_str().unwrap(), aside] {
        let second = other.run(&["serve", "--socket", taken]);
        let told = String::from_utf8_lossy(&second.stderr);
        assert!(!second.status.success());
        assert!(told.contains("another broker listens on") && told.contains(taken), "{told}");
    }
    mesh.join_unattended("fox").await;
}

#[tokio::test]
async fn a_snapshot_that_a_kill_left_half_written_is_no_obstacle() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let session = mesh.join_unattended("fox").await;
    session.put(put("k", "v")).await.unwrap();
    broker.kill();
    let leftover = mesh.home().store_path().join("snap.00000000FFFFFFFF.generating");
    std::fs::write(&leftover, b"half of a").unwrap();
    let _broker = mesh.serve(&[]);
    assert_eq!(session.get(get("k")).await.unwrap().entry.unwrap().value, "v");
    assert!(!leftover.exists());
}

#[tokio::test]
async fn a_refusal_is_as_durable_as_what_it_rests_on() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    fox.acquire(lock(&["src/"])).await.unwrap();
    let mut fresh = put("k", "v");
    fresh.precondition = Some(load::must_not_exist());
    fox.put(fresh.clone()).await.unwrap();
    let (locked, exists) =
        (owl.acquire(lock(&["src/a"])).await.unwrap(), refused(owl.put(fresh.clone()).await));
    broker.kill();
    let _broker = mesh.serve(&[]);
    let again = refused(owl.put(fresh).await);
    assert_eq!((exists.reason, &exists.metadata), (ErrorReason::KeyExists, &again.metadata));
    let held = |acquired| match acquired {
        mesh_client::Acquired::Refused(conflicts) => conflicts[0].lock.clone().unwrap().fencing_token,
        mesh_client::Acquired::Granted(_) => panic!("granted"),
    };
    assert_eq!(held(locked), held(owl.acquire(lock(&["src/a"])).await.unwrap()));
}

#[tokio::test]
async fn stop_answers_and_then_ends_in_order() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let session = mesh.join_unattended("fox").await;
    session.send(broadcast("last words")).await.unwrap();
    let client = mesh.client();
    client.admin().stop(mesh_client::proto::StopRequest {}).await.unwrap();
    let ended = tokio::task::spawn_blocking(move || broker.wait());
    assert_eq!(within("the end", ended).await.unwrap(), Some(0));
    let restarted = Instant::now();
    let _broker = mesh.serve(&[]);
    assert!(restarted.elapsed() < Duration::from_secs(30));
    assert_eq!(history(&client, 1).await.len(), 2);
}
