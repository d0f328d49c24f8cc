//! Callers that each make one call after the other.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tonic::async_trait;

use crate::cell::Cell;
use crate::load::Load;
use crate::process::Usage;
use crate::stats::Latencies;
use crate::system::Caller;

/// Some callers of one server.
#[derive(Debug)]
pub(crate) struct ClosedLoop<C> {
    name: String,
    pid: u32,
    callers: Vec<C>,
    /// Number of the next call of each caller.
    next: u64,
}

impl<C: Caller> ClosedLoop<C> {
    pub(crate) fn new(name: String, pid: u32, callers: Vec<C>) -> Self {
        Self { name, pid, callers, next: 0 }
    }
}

#[async_trait]
impl<C: Caller> Load for ClosedLoop<C> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn run(&mut self, span: Duration) -> Result<Cell> {
        let before = Usage::of(self.pid)?;
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for caller in self.callers.drain(..) {
            tasks.spawn(work(caller, self.next, start + span));
        }
        let mut latencies = Latencies::new()?;
        while let Some(done) = tasks.join_next().await {
            let (caller, its, next) =
                done.context("a caller panicked")?.with_context(|| format!("calls to {}", self.name))?;
            latencies.merge(&its)?;
            self.callers.push(caller);
            self.next = self.next.max(next);
        }
        let elapsed = start.elapsed();
        let (server_cpu, foreign) = Usage::of(self.pid)?.since(&before);
        Ok(Cell { elapsed, latencies, server_cpu, foreign, answers: None })
    }
}

async fn work<C: Caller>(mut caller: C, mut number: u64, end: Instant) -> Result<(C, Latencies, u64)> {
    let mut latencies = Latencies::new()?;
    let mut before = Instant::now();
    while before < end {
        caller.call(number).await?;
        let after = Instant::now();
        latencies.record(after - before)?;
        before = after;
        number += 1;
    }
    Ok((caller, latencies, number))
}
