//! What a quiet peer notices while others flood the broker: its latencies beside those of the same run without a flood.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mesh_client::proto::watch_response::Payload;
use mesh_client::proto::{
    AcquireLocksRequest, HeartbeatRequest, JoinRequest, ListEntriesRequest, PutRequest, ReleaseLocksRequest,
    SendRequest, WatchRequest, WatchResponse,
};
use mesh_client::{Client, Session, request_id};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tonic::Streaming;

use crate::args::Args;
use crate::mesh::Mesh;
use crate::process::Machine;
use crate::stats::{Latencies, Spread};

const SCOPE: &str = "example.com/acme/flood";
/// Calls that each noisy peer has under way at a time, on a connection of its own.
const AT_A_TIME: usize = 64;
/// Bytes of a large message.
const LARGE: usize = 60_000;
/// What the quiet peer does, one after the other, with a pause between: it is quiet.
const PAUSE: Duration = Duration::from_millis(5);
const OPERATIONS: [&str; 4] = ["put", "lock", "heartbeat", "watch"];

/// How a noisy peer floods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nothing,
    Puts,
    Joins,
    Messages,
    Reads,
    Watches,
    Garbage,
}

const KINDS: [(Kind, &str); 7] = [
    (Kind::Nothing, "no flood"),
    (Kind::Puts, "puts"),
    (Kind::Joins, "joins"),
    (Kind::Messages, "messages of 60 kB"),
    (Kind::Reads, "lists and heartbeats"),
    (Kind::Watches, "watches opened and dropped"),
    (Kind::Garbage, "connections with garbage"),
];

/// One kind of flood in one round: a latency for each of [`OPERATIONS`], and how many calls the flood made a second.
struct Round {
    latencies: Vec<Latencies>,
    calls: f64,
}

pub(crate) async fn run(args: &Args, noisy: u32) -> Result<()> {
    let program = args.meshctl()?;
    let scratch = args.scratch()?;
    let mut rounds: Vec<Vec<Round>> = KINDS.iter().map(|_| Vec::new()).collect();
    for round in 0..args.rounds {
        for (at, (kind, name)) in KINDS.iter().enumerate() {
            eprint!("\r\x1b[Kround {} of {}: {name}", round + 1, args.rounds);
            let home = scratch.path().join(format!("{round}-{at}"));
            let measured = measure(&program, &home, *kind, noisy, args.span()).await;
            rounds[at].push(measured.with_context(|| format!("flood of {name}"))?);
        }
    }
    eprint!("\r\x1b[K");
    report(args, noisy, &rounds);
    Ok(())
}

async fn measure(program: &Path, home: &Path, kind: Kind, noisy: u32, span: Duration) -> Result<Round> {
    let mesh = Mesh::start("mesh", program, home)?;
    let quiet = mesh.join_in(SCOPE, Some("quiet")).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicU64::new(0));
    let mut flood = JoinSet::new();
    for number in 0..noisy {
        start(&mesh, kind, number, &stop, &calls, &mut flood).await?;
    }
    let begun = Instant::now();
    let latencies = observe(&quiet, span).await;
    let seconds = begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let calls = calls.load(Ordering::Relaxed);
    flood.shutdown().await;
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    Ok(Round { latencies: latencies?, calls: calls as f64 / seconds })
}

/// Lets a noisy peer loose.
async fn start(
    mesh: &Mesh,
    kind: Kind,
    number: u32,
    stop: &Arc<AtomicBool>,
    calls: &Arc<AtomicU64>,
    flood: &mut JoinSet<()>,
) -> Result<()> {
    if kind == Kind::Nothing {
        return Ok(());
    }
    let session = mesh.join_in(SCOPE, Some(&format!("noisy-{number}"))).await?;
    mesh.join_in(SCOPE, Some(&format!("victim-{number}"))).await?;
    for worker in 0..AT_A_TIME {
        let (stop, calls) = (stop.clone(), calls.clone());
        let (client, socket) = (session.client(), mesh.socket());
        flood.spawn(async move {
            let mut at = 0;
            while !stop.load(Ordering::Relaxed) {
                // Refused or not, it goes on at once: no noisy peer heeds what it is told.
                match kind {
                    Kind::Garbage => garbage(&socket).await,
                    Kind::Watches => watch(&client).await,
                    Kind::Nothing | Kind::Puts | Kind::Joins | Kind::Messages | Kind::Reads => {
                        call(&client, kind, number, worker, at).await;
                    }
                }
                calls.fetch_add(1, Ordering::Relaxed);
                at += 1;
                tokio::task::yield_now().await;
            }
        });
    }
    Ok(())
}

async fn call(client: &Client, kind: Kind, number: u32, worker: usize, at: u64) {
    match kind {
        Kind::Puts => {
            let key = format!("noisy/{number}/{worker}/{}", at % 16);
            let put =
                PutRequest { key, value: "x".repeat(150), request_id: request_id(), ..Default::default() };
            let _ = client.state().put(put).await;
        }
        Kind::Joins => {
            let join = JoinRequest { scope: SCOPE.into(), request_id: request_id(), ..Default::default() };
            let _ = client.peers().join(join).await;
        }
        Kind::Messages => {
            let body = "x".repeat(LARGE);
            let send = SendRequest { broadcast: true, body, request_id: request_id(), ..Default::default() };
            let _ = client.messages().send(send).await;
        }
        Kind::Reads if at.is_multiple_of(2) => {
            let _ = client.peers().heartbeat(HeartbeatRequest::default()).await;
        }
        Kind::Reads => {
            let _ = client.state().list_entries(ListEntriesRequest::default()).await;
        }
        Kind::Nothing | Kind::Watches | Kind::Garbage => {}
    }
}

async fn watch(client: &Client) {
    if let Ok(stream) = client.events().watch(WatchRequest::default()).await {
        let _ = stream.into_inner().message().await;
    }
}

/// A connection that speaks no HTTP/2, or frames that mean nothing after the greeting.
async fn garbage(socket: &Path) {
    let Ok(mut stream) = tokio::net::UnixStream::connect(socket).await else { return };
    let _ = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let _ = stream.write_all(&[0xff; 4_096]).await;
}

/// The quiet peer's latencies.
async fn observe(quiet: &Session, span: Duration) -> Result<Vec<Latencies>> {
    let client = quiet.client();
    let request = WatchRequest { scopes: vec![SCOPE.into()], filter: own_keys(), ..Default::default() };
    let mut stream = client.events().watch(request).await?.into_inner();
    stream.message().await?.context("no stream")?;
    let mut latencies = Vec::new();
    for _ in OPERATIONS {
        latencies.push(Latencies::new()?);
    }
    let end = Instant::now() + span;
    let mut number = 0;
    while Instant::now() < end {
        number += 1;
        let put = PutRequest {
            key: "quiet/key".into(),
            value: number.to_string(),
            request_id: request_id(),
            ..Default::default()
        };
        let sent = Instant::now();
        client
            .call(|client| {
                let put = put.clone();
                async move { client.state().put(put).await }
            })
            .await?;
        latencies[0].record(sent.elapsed())?;
        event(&mut stream).await?;
        latencies[3].record(sent.elapsed())?;
        let (before, paths) = (Instant::now(), vec!["src/quiet.rs".to_owned()]);
        let lock = AcquireLocksRequest { paths: paths.clone(), ..Default::default() };
        client
            .call(|client| {
                let lock = lock.clone();
                async move { client.locks().acquire_locks(lock).await }
            })
            .await?;
        latencies[1].record(before.elapsed())?;
        let release = ReleaseLocksRequest { paths, ..Default::default() };
        client
            .call(|client| {
                let release = release.clone();
                async move { client.locks().release_locks(release).await }
            })
            .await?;
        let before = Instant::now();
        client
            .call(|client| async move { client.peers().heartbeat(HeartbeatRequest::default()).await })
            .await?;
        latencies[2].record(before.elapsed())?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(latencies)
}

/// The events of the quiet peer's own entry.
fn own_keys() -> Option<mesh_client::proto::EventFilter> {
    let types = vec![mesh_client::proto::EventType::StateChanged.into()];
    let peers = vec!["quiet".to_owned()];
    Some(mesh_client::proto::EventFilter { types, peers, ..Default::default() })
}

async fn event(stream: &mut Streaming<WatchResponse>) -> Result<()> {
    loop {
        let item = stream.message().await?.context("the stream ended")?;
        if matches!(item.payload, Some(Payload::Events(_))) {
            return Ok(());
        }
    }
}

#[expect(clippy::print_stdout, reason = "the result")]
fn report(args: &Args, noisy: u32, rounds: &[Vec<Round>]) {
    let figure = |of: &[Round], operation: usize, quantile: f64| {
        Spread::of(of.iter().map(|round| round.latencies[operation].micros(quantile)))
    };
    let calls = |of: &[Round]| Spread::of(of.iter().map(|round| round.calls));
    if args.json {
        let kinds = KINDS.iter().zip(rounds).map(|((_, name), of)| {
            let latencies = OPERATIONS.iter().enumerate().map(|(at, operation)| {
                let (p50, p99) = (figure(of, at, 0.5).json(), figure(of, at, 0.99).json());
                ((*operation).to_owned(), json!({ "p50_us": p50, "p99_us": p99 }))
            });
            let latencies: serde_json::Map<_, _> = latencies.collect();
            ((*name).to_owned(), json!({ "calls_per_s": calls(of).json(), "quiet": latencies }))
        });
        println!("{}", json!({ "flood": kinds.collect::<serde_json::Map<_, _>>() }));
        return;
    }
    println!("{}; {} rounds of {} s; {noisy} noisy peers", Machine::here(), args.rounds, args.seconds);
    println!("\nlatencies of a quiet peer in ms, p50 / p99, medians over the rounds\n");
    println!("| flood | its calls/s | put | lock | heartbeat | event of the put |");
    println!("|---|---|---|---|---|---|");
    for ((_, name), of) in KINDS.iter().zip(rounds) {
        let cells = (0..OPERATIONS.len()).map(|at| {
            let (p50, p99) = (figure(of, at, 0.5).median / 1_000.0, figure(of, at, 0.99).median / 1_000.0);
            format!("{p50:.2} / {p99:.2}")
        });
        let cells: Vec<_> = cells.collect();
        println!("| {name} | {:.0} | {} |", calls(of).median, cells.join(" | "));
    }
}
