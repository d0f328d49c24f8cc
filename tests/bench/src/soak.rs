//! Churn for a while: what the broker takes must not grow with what has come and gone.
//!
//! Peers join, lock, write, talk, touch files, watch and go, some by a word and some without; subscribers stop reading.
//! Meanwhile the process is looked at from outside. How much must be flat is for whoever reads the result to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mesh_client::proto::{
    AcknowledgeMessagesRequest, AcquireLocksRequest, GetStatusRequest, GetStatusResponse, JoinRequest,
    LeaveRequest, ListMessagesRequest, PutRequest, SendRequest, Touch, TouchFilesRequest, TouchKind,
    WatchRequest, WatchResponse,
};
use mesh_client::{Client, Session, Token, request_id};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::Streaming;

use crate::args::Args;
use crate::mesh::Mesh;
use crate::process::{Machine, kib_of};

/// Names that peers take again and again, so that what is known of them is bounded.
const NAMES: u64 = 25;
/// Keys of each worker in each scope.
const KEYS: u64 = 20;
/// Subscribers that read nothing, at a time.
const STALLED: usize = 8;

/// The process at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    rss_kib: u64,
    files: usize,
    threads: usize,
    store_bytes: u64,
}

/// Soaks a broker with so many workers at a time.
pub(crate) async fn run(args: &Args, workers: u64) -> Result<()> {
    let scratch = args.scratch()?;
    let mesh = Mesh::start("mesh", &args.meshctl()?, &scratch.path().join("soak"))?;
    let observer = mesh.join_in("example.com/observer", Some("observer")).await?;
    let before = sample(&mesh, &observer).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let rounds = Arc::new(AtomicU64::new(0));
    let mut churn = JoinSet::new();
    for worker in 0..workers {
        let (client, stop, rounds) = (mesh.client()?, stop.clone(), rounds.clone());
        churn.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let number = rounds.fetch_add(1, Ordering::Relaxed);
                life(&client, worker, number).await.with_context(|| format!("life {number}"))?;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    let stalled = stall(&mesh).await?;
    let samples = watch_over(&mesh, &observer, args.span()).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = churn.join_next().await {
        ended.context("a worker panicked")??;
    }
    drop(stalled);
    let (after, status) = settle(&mesh, &observer, &before).await?;
    let lives = rounds.load(Ordering::Relaxed);
    report(args, lives, &before, &samples?, &after, &status);
    Ok(())
}

/// One peer, from its join to its end.
async fn life(client: &Client, worker: u64, number: u64) -> Result<()> {
    let name = format!("w{worker}-{}", number % NAMES);
    let join = JoinRequest {
        scope: format!("example.com/soak/{}", number % 4),
        resume_key: name,
        request_id: request_id(),
        lease_ttl: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
        ..Default::default()
    };
    let joined = client
        .call(|c| {
            let join = join.clone();
            async move { c.peers().join(join).await }
        })
        .await?;
    let own = client.with_session(&Token::parse(&joined.session_token)?)?;
    let put = |key: u64, value: String| PutRequest {
        key: format!("soak/{worker}/{key}"),
        value,
        request_id: request_id(),
        ..Default::default()
    };
    for at in 0..4 {
        // Another peer may have written last: that refusal is part of the churn.
        let _ =
            own.state().put(put((number * 7 + at) % KEYS, "x".repeat(300 + (number % 700) as usize))).await;
    }
    let lock = AcquireLocksRequest {
        paths: vec![format!("src/{number}.rs"), "shared/".into()],
        ..Default::default()
    };
    let _ = own.locks().acquire_locks(lock).await;
    let kind = TouchKind::Edit.into();
    let touch = Touch { path: format!("src/{}.rs", number % 100), kind };
    let _ = own.paths().touch_files(TouchFilesRequest { touches: vec![touch], ..Default::default() }).await;
    let send = SendRequest {
        broadcast: true,
        body: "y".repeat(200),
        request_id: request_id(),
        ..Default::default()
    };
    let _ = own.messages().send(send).await;
    let read = own.messages().list_messages(ListMessagesRequest::default()).await;
    if let Some(last) = read.ok().and_then(|page| page.into_inner().messages.last().map(|it| it.revision)) {
        let _ = own
            .messages()
            .acknowledge_messages(AcknowledgeMessagesRequest { up_to_revision: last, ..Default::default() })
            .await;
    }
    if number.is_multiple_of(3) {
        let _ = own.events().watch(WatchRequest::default()).await;
    }
    // Every fourth goes without a word: its lease ends it.
    if !number.is_multiple_of(4) {
        let _ = own.peers().leave(LeaveRequest::default()).await;
    }
    Ok(())
}

/// Streams that nobody reads, on connections of their own.
async fn stall(mesh: &Mesh) -> Result<Vec<(Client, Streaming<WatchResponse>)>> {
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let client = mesh.client()?;
        let stream = client.events().watch(WatchRequest::default()).await?.into_inner();
        stalled.push((client, stream));
    }
    Ok(stalled)
}

/// Looks every second, until the time is over.
async fn watch_over(mesh: &Mesh, observer: &Session, span: Duration) -> Result<Vec<Sample>> {
    let (mut samples, end) = (Vec::new(), Instant::now() + span);
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let sample = sample(mesh, observer).await?;
        eprint!(
            "\r\x1b[K{} s: RSS {} KiB, store {} bytes",
            samples.len() + 1,
            sample.rss_kib,
            sample.store_bytes
        );
        samples.push(sample);
    }
    eprint!("\r\x1b[K");
    Ok(samples)
}

async fn sample(mesh: &Mesh, observer: &Session) -> Result<Sample> {
    let process = format!("/proc/{}", mesh.pid());
    let count = |directory: &str| -> Result<usize> {
        Ok(std::fs::read_dir(format!("{process}/{directory}"))?.count())
    };
    let store_bytes = status(observer).await?.store_bytes;
    let rss_kib = kib_of(mesh.pid(), "status", "VmRSS")?;
    Ok(Sample { rss_kib, files: count("fd")?, threads: count("task")?, store_bytes })
}

async fn status(observer: &Session) -> Result<GetStatusResponse> {
    let client = observer.client();
    Ok(client.call(|client| async move { client.admin().get_status(GetStatusRequest {}).await }).await?)
}

/// Waits until nobody is left but the observer, and what was opened is closed; for a minute at most.
async fn settle(mesh: &Mesh, observer: &Session, before: &Sample) -> Result<(Sample, GetStatusResponse)> {
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let (sample, status) = (sample(mesh, observer).await?, status(observer).await?);
        let gone = status.peers_online <= 1 && status.locks == 0 && status.watches == 0;
        if (gone && sample.files <= before.files && sample.threads <= before.threads)
            || Instant::now() > patience
        {
            return Ok((sample, status));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

impl Sample {
    fn json(&self) -> Value {
        json!({
            "rss_kib": self.rss_kib, "files": self.files, "threads": self.threads, "store_bytes": self.store_bytes
        })
    }
}

/// The most that was taken in a part of the run.
fn most(samples: &[Sample]) -> Option<Sample> {
    let most = |of: fn(&Sample) -> u64| samples.iter().map(of).max();
    Some(Sample {
        rss_kib: most(|sample| sample.rss_kib)?,
        files: samples.iter().map(|sample| sample.files).max()?,
        threads: samples.iter().map(|sample| sample.threads).max()?,
        store_bytes: most(|sample| sample.store_bytes)?,
    })
}

#[expect(clippy::print_stdout, reason = "the result")]
fn report(
    args: &Args,
    lives: u64,
    before: &Sample,
    samples: &[Sample],
    after: &Sample,
    status: &GetStatusResponse,
) {
    let quarters: Vec<_> = samples.chunks(samples.len().div_ceil(4).max(1)).filter_map(most).collect();
    let revision = status.header.as_ref().map_or(0, |header| header.revision);
    if args.json {
        let result = json!({
            "lives": lives,
            "revision": revision,
            "oldest_revision": status.oldest_revision,
            "before": before.json(),
            "quarters": quarters.iter().map(Sample::json).collect::<Vec<_>>(),
            "after": after.json(),
            "peers_online": status.peers_online,
            "peers_known": status.peers_known,
            "locks": status.locks,
            "watches": status.watches,
            "entries": status.entries,
            "messages": status.messages,
        });
        println!("{result}");
        return;
    }
    println!(
        "{}; {} s: {lives} peers came and went, {revision} transactions\n",
        Machine::here(),
        args.seconds
    );
    println!("| | RSS MiB | open files | threads | store MiB |");
    println!("|---|---|---|---|---|");
    let row = |name: &str, sample: &Sample| {
        let mib = |kib: u64| format!("{}.{}", kib / 1024, kib % 1024 * 10 / 1024);
        let (rss, store) = (mib(sample.rss_kib), mib(sample.store_bytes / 1024));
        println!("| {name} | {rss} | {} | {} | {store} |", sample.files, sample.threads);
    };
    row("before", before);
    for (name, quarter) in ["first quarter, at most", "second", "third", "last"].iter().zip(&quarters) {
        row(name, quarter);
    }
    row("after", after);
    println!(
        "\nleft: {} peers online, {} known, {} locks, {} watches, {} entries, {} messages; history from {}",
        status.peers_online,
        status.peers_known,
        status.locks,
        status.watches,
        status.entries,
        status.messages,
        status.oldest_revision
    );
}
