//! What a working set takes that is written over and over: bytes on disk and in memory, as the writes go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail};
use mesh_client::Session;
use mesh_client::proto::{
    AcquireLocksRequest, GetStatusRequest, LockMode, Precondition, PutRequest, ReleaseLocksRequest,
    SendRequest, precondition,
};

use crate::args::Args;
use crate::mesh::Mesh;
use crate::process::kib_of;

/// Keys, lock targets and bytes of a value of each writer.
const SET: (u64, u64, usize) = (100, 20, 400);
/// How many write at once.
const WRITERS: u64 = 32;
/// Lines of the report.
const STEPS: u64 = 10;

/// Overwrites so many times and prints what it takes.
pub(crate) async fn run(args: &Args, writes: u64) -> Result<()> {
    let scratch = args.scratch()?;
    let mesh = Mesh::start("mesh", &args.meshctl()?, scratch.path())?;
    let mut sessions = Vec::new();
    for _ in 0..WRITERS {
        sessions.push(Arc::new(mesh.join_in("example.com/acme/growth", None).await?));
    }
    let done = Arc::new(AtomicU64::new(0));
    println!("{:>12}  {:>10}  {:>10}", "writes", "disk MiB", "RSS MiB");
    for step in 1..=STEPS {
        let goal = writes * step / STEPS;
        let mut tasks = tokio::task::JoinSet::new();
        for (writer, session) in (0..).zip(&sessions) {
            let (session, done) = (session.clone(), done.clone());
            tasks.spawn(async move {
                loop {
                    let number = done.fetch_add(1, Ordering::Relaxed);
                    if number >= goal {
                        done.fetch_sub(1, Ordering::Relaxed);
                        return anyhow::Ok(());
                    }
                    write(&session, writer, number).await?;
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        let Some(first) = sessions.first() else { bail!("no writers") };
        let status = first.client().admin().get_status(GetStatusRequest {}).await?.into_inner();
        let disk = status.store_bytes as f64 / f64::from(1 << 20);
        let rss = kib_of(mesh.pid(), "status", "VmRSS")? as f64 / 1024.0;
        println!("{goal:>12}  {disk:>10.1}  {rss:>10.1}");
    }
    Ok(())
}

/// Of ten writes seven are entries, one is a lock, one its release, one a message.
async fn write(session: &Session, writer: u64, number: u64) -> Result<()> {
    let (keys, targets, bytes) = SET;
    let place = number / WRITERS;
    let path = format!("src/{writer}/{}.rs", place % targets);
    match number % 10 {
        7 => {
            let mode = LockMode::Exclusive.into();
            session.acquire(AcquireLocksRequest { paths: vec![path], mode, ..Default::default() }).await?;
        }
        8 => {
            session.release_locks(ReleaseLocksRequest::default()).await?;
        }
        9 => {
            let body = "m".repeat(bytes);
            session.send(SendRequest { topic: "#growth".into(), body, ..Default::default() }).await?;
        }
        _ => {
            let condition = Some(precondition::Condition::Overwrite(true));
            session
                .put(PutRequest {
                    key: format!("w{writer}/k{}", place % keys),
                    value: "v".repeat(bytes),
                    precondition: Some(Precondition { condition }),
                    ..Default::default()
                })
                .await?;
        }
    }
    Ok(())
}
