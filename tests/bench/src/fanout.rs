//! One publisher at a steady rate, and what its subscribers hear of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use tonic::async_trait;

use crate::cell::{Answers, Cell};
use crate::load::Load;
use crate::process::Usage;
use crate::stats::{Latencies, quantile};
use crate::system::{Caller, Subscriber};

/// How long an event may take before it counts as lost.
const LOST: Duration = Duration::from_secs(10);

/// A publisher and the subscribers of one server.
#[derive(Debug)]
pub(crate) struct Fanout<P, S> {
    name: String,
    pid: u32,
    publisher: P,
    subscribers: Vec<S>,
    /// Events a second.
    rate: u32,
    /// Number of the next event.
    next: u64,
}

/// Of one event: when the call was made and when it was answered.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    answered: Instant,
}

impl<P: Caller, S: Subscriber> Fanout<P, S> {
    pub(crate) fn new(name: String, pid: u32, publisher: P, subscribers: Vec<S>, rate: u32) -> Self {
        Self { name, pid, publisher, subscribers, rate, next: 0 }
    }

    /// Publishes at the rate, one after the other, the clock going on when one takes longer.
    async fn publish(&mut self, count: u64) -> Result<Vec<Sent>> {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / self.rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sent = Vec::new();
        for number in self.next..self.next + count {
            ticks.tick().await;
            let at = Instant::now();
            self.publisher.call(number).await?;
            sent.push(Sent { at, answered: Instant::now() });
        }
        Ok(sent)
    }
}

#[async_trait]
impl<P: Caller + Sync, S: Subscriber> Load for Fanout<P, S> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn run(&mut self, span: Duration) -> Result<Cell> {
        let before = Usage::of(self.pid)?;
        let start = Instant::now();
        let count = u64::try_from(span.as_millis())? * u64::from(self.rate) / 1_000;
        let first = self.next;
        let mut tasks = JoinSet::new();
        for subscriber in self.subscribers.drain(..) {
            let listening: JoinHandle<_> = tokio::spawn(listen(subscriber, first, count));
            tasks.spawn(async move { tokio::time::timeout(span + LOST, listening).await });
        }
        let sent = self.publish(count).await.with_context(|| format!("calls to {}", self.name))?;
        self.next += count;
        let mut latencies = Latencies::new()?;
        let mut after_answer = Vec::new();
        while let Some(done) = tasks.join_next().await {
            let done = done?.with_context(|| format!("an event of {} did not come", self.name))?;
            let (subscriber, received) = done.context("a subscriber panicked")??;
            self.subscribers.push(subscriber);
            for (sent, at) in sent.iter().zip(received) {
                latencies.record(at - sent.at)?;
                after_answer.push(signed_micros(sent.answered, at));
            }
        }
        let elapsed = start.elapsed();
        let (server_cpu, foreign) = Usage::of(self.pid)?.since(&before);
        let answers = Some(answers(&sent, &mut after_answer)?);
        Ok(Cell { elapsed, latencies, server_cpu, foreign, answers })
    }
}

fn answers(sent: &[Sent], after_answer: &mut [f64]) -> Result<Answers> {
    let mut latencies = Latencies::new()?;
    for sent in sent {
        latencies.record(sent.answered - sent.at)?;
    }
    let to_delivery = (quantile(after_answer, 0.5), quantile(after_answer, 0.99));
    Ok(Answers { latencies, to_delivery })
}

/// When each of these events came. They come in order and none is missing, or it is an error.
async fn listen<S: Subscriber>(mut subscriber: S, first: u64, count: u64) -> Result<(S, Vec<Instant>)> {
    let mut received = Vec::new();
    for wanted in first..first + count {
        let number = subscriber.next().await?;
        received.push(Instant::now());
        ensure!(number == wanted, "event {number} came where {wanted} was due");
    }
    Ok((subscriber, received))
}

fn signed_micros(from: Instant, to: Instant) -> f64 {
    let micros = |span: Duration| span.as_secs_f64() * 1e6;
    if to >= from { micros(to - from) } else { -micros(from - to) }
}
