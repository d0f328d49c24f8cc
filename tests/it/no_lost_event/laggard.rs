//! A slow subscriber harms only itself.

use std::time::Instant;

use mesh_client::proto::WatchRequest;
use mesh_client::proto::watch_response::Payload;
use mesh_tests::{Mesh, follow, put, within};
use tokio::task::JoinSet;

/// Changes that pass while the subscriber reads nothing.
const MISSED: usize = 10_000;
const WRITERS: usize = 50;

/// The resident memory of a process, in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Writes so many entries as fast as it goes, and returns the newest revision.
async fn write(mesh: &Mesh, count: usize) -> u64 {
    let client = mesh.join_unattended("writer").await.client();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let client = client.clone();
        writers.spawn(async move {
            let mut newest = 0;
            for _ in 0..count / WRITERS {
                let answer = client.state().put(put(&format!("k/{writer}"), &"x".repeat(100))).await.unwrap();
                newest = answer.into_inner().header.unwrap().revision;
            }
            newest
        });
    }
    writers.join_all().await.into_iter().max().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_stopped_for_ten_thousand_events_catches_up_gapless_and_costs_the_others_nothing() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&["--durability", "process"]);
    // The same load without a laggard tells what the broker's memory is worth.
    let mut reader = follow(&mesh.client(), 0).await;
    let warm = write(&mesh, MISSED).await;
    reader.reach(warm).await;
    let before = resident(broker.pid());

    let slow = mesh.client();
    let request = WatchRequest { start_revision: 1, ..WatchRequest::default() };
    let mut stopped = slow.events().watch(request).await.unwrap().into_inner();
    assert!(matches!(stopped.message().await.unwrap().unwrap().payload, Some(Payload::Created(_))));
    let newest = within("the writers, who wait for no reader", write(&mesh, MISSED)).await;
    within("the other reader", reader.reach(newest)).await;
    reader.assert_gapless();
    let after = resident(broker.pid());

    let begun = Instant::now();
    let (mut revision, mut sequence) = (0, 0);
    within("the laggard", async {
        while revision < newest {
            let item = stopped.message().await.unwrap().unwrap();
            let Some(Payload::Events(batch)) = item.payload else { continue };
            assert_eq!(batch.sequence, sequence + 1);
            assert_eq!(batch.prev_revision, revision);
            (revision, sequence) = (batch.revision, batch.sequence);
        }
    })
    .await;
    eprintln!(
        "{sequence} batches caught up in {:?}; the broker's memory: {before} KiB before the lag, {after} KiB after",
        begun.elapsed()
    );
    assert!(sequence >= 2 * MISSED as u64);
    assert!(after < before + 32 * 1024, "{before} KiB, then {after} KiB");
}
