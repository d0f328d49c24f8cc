//! Many publishers at full speed: how much their subscribers are told, and how late under that load.
//!
//! An event is under way from just before its call until the last subscriber has it, and only so many are at a time. So
//! the slowest subscriber holds the publishers back, and no server wins by letting subscribers fall behind.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tonic::async_trait;

use crate::cell::Cell;
use crate::load::Load;
use crate::process::Usage;
use crate::stats::Latencies;
use crate::system::{Caller, Subscriber};

/// Events that may be under way.
const WINDOW: usize = 256;
/// How long the last events may take before they count as lost.
const LOST: Duration = Duration::from_secs(30);
/// Histograms that subscribers share, lest they wait for each other.
const HISTOGRAMS: usize = 16;

/// Publishers and subscribers of one server.
#[derive(Debug)]
pub(crate) struct Surge<P> {
    name: String,
    pid: u32,
    publishers: Vec<P>,
    board: Arc<Board>,
    /// None ends but by an error.
    listeners: JoinSet<Result<()>>,
}

/// What is under way.
#[derive(Debug)]
struct Board {
    slots: Vec<Slot>,
    subscribers: usize,
    /// Slots of which every subscriber has had the last event.
    free: Mutex<Vec<usize>>,
    /// As many as there are free ones.
    permits: Semaphore,
    since: Instant,
    latencies: Vec<Mutex<Latencies>>,
}

/// One event after the other.
#[derive(Debug)]
struct Slot {
    /// Of the event: the slot, and a multiple of the window.
    number: AtomicU64,
    /// Nanoseconds on the board's clock.
    at: AtomicU64,
    /// Subscribers that do not have it yet.
    left: AtomicUsize,
}

impl Board {
    fn new(subscribers: usize) -> Result<Self> {
        let slot = |number| Slot { number, at: AtomicU64::new(0), left: AtomicUsize::new(0) };
        let histograms = (0..HISTOGRAMS).map(|_| Ok(Mutex::new(Latencies::new()?)));
        Ok(Self {
            slots: (0..WINDOW as u64).map(|number| slot(AtomicU64::new(number))).collect(),
            subscribers,
            free: Mutex::new((0..WINDOW).collect()),
            permits: Semaphore::new(WINDOW),
            since: Instant::now(),
            latencies: histograms.collect::<Result<_>>()?,
        })
    }

    /// Waits for room, and begins an event there: its number.
    async fn begin(&self, end: Instant) -> Result<Option<u64>> {
        let permit = self.permits.acquire().await?;
        if Instant::now() >= end {
            return Ok(None);
        }
        permit.forget();
        let free = lock(&self.free).pop().context("a permit without a free slot")?;
        let slot = self.slots.get(free).context("a slot that is none")?;
        slot.left.store(self.subscribers, Ordering::Release);
        slot.at.store(self.now()?, Ordering::Release);
        Ok(Some(slot.number.fetch_add(WINDOW as u64, Ordering::AcqRel) + WINDOW as u64))
    }

    /// A subscriber has this event.
    fn received(&self, number: u64, subscriber: usize) -> Result<()> {
        let index = usize::try_from(number)? % WINDOW;
        let slot = self.slots.get(index).context("a slot that is none")?;
        ensure!(slot.number.load(Ordering::Acquire) == number, "event {number} is not under way");
        let took = self.now()?.saturating_sub(slot.at.load(Ordering::Acquire));
        let histogram = self.latencies.get(subscriber % HISTOGRAMS).context("no histogram")?;
        lock(histogram).record(Duration::from_nanos(took))?;
        match slot.left.fetch_sub(1, Ordering::AcqRel) {
            0 => bail!("event {number} came more often than there are subscribers"),
            1 => {
                lock(&self.free).push(index);
                self.permits.add_permits(1);
            }
            _ => {}
        }
        Ok(())
    }

    /// Until nothing is under way.
    async fn drained(&self) -> Result<()> {
        drop(self.permits.acquire_many(u32::try_from(WINDOW)?).await?);
        Ok(())
    }

    /// What was recorded since this was last asked.
    fn take(&self) -> Result<Latencies> {
        let mut all = Latencies::new()?;
        for histogram in &self.latencies {
            all.merge(&std::mem::replace(&mut *lock(histogram), Latencies::new()?))?;
        }
        Ok(all)
    }

    fn now(&self) -> Result<u64> {
        Ok(u64::try_from(self.since.elapsed().as_nanos())?)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<P: Caller> Surge<P> {
    pub(crate) fn new<S: Subscriber>(
        name: String,
        pid: u32,
        publishers: Vec<P>,
        subscribers: Vec<S>,
    ) -> Result<Self> {
        let board = Arc::new(Board::new(subscribers.len())?);
        let mut listeners = JoinSet::new();
        for (index, subscriber) in subscribers.into_iter().enumerate() {
            listeners.spawn(listen(subscriber, index, board.clone()));
        }
        Ok(Self { name, pid, publishers, board, listeners })
    }
}

#[async_trait]
impl<P: Caller> Load for Surge<P> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn run(&mut self, span: Duration) -> Result<Cell> {
        let Self { name, pid, publishers, board, listeners } = self;
        let before = Usage::of(*pid)?;
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for publisher in publishers.drain(..) {
            tasks.spawn(publish(publisher, board.clone(), start + span));
        }
        let work = async {
            while let Some(done) = tasks.join_next().await {
                publishers.push(done.context("a publisher panicked")??);
            }
            board.drained().await
        };
        let done = tokio::select! {
            done = tokio::time::timeout(span + LOST, work) => done.context("events did not come").flatten(),
            ended = listeners.join_next() => match ended {
                Some(ended) => ended.context("a subscriber panicked").flatten(),
                None => Err(anyhow::anyhow!("there are no subscribers")),
            },
        };
        done.with_context(|| format!("events of {name}"))?;
        let elapsed = start.elapsed();
        let (server_cpu, foreign) = Usage::of(*pid)?.since(&before);
        Ok(Cell { elapsed, latencies: board.take()?, server_cpu, foreign, answers: None })
    }
}

async fn publish<P: Caller>(mut publisher: P, board: Arc<Board>, end: Instant) -> Result<P> {
    while let Some(number) = board.begin(end).await? {
        publisher.call(number).await?;
    }
    Ok(publisher)
}

async fn listen<S: Subscriber>(mut subscriber: S, index: usize, board: Arc<Board>) -> Result<()> {
    loop {
        board.received(subscriber.next().await?, index)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slot_is_free_once_every_subscriber_has_its_event() {
        let board = Board::new(2).unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        let number = board.begin(end).await.unwrap().unwrap();
        assert_eq!(board.permits.available_permits(), WINDOW - 1);
        board.received(number, 0).unwrap();
        assert_eq!(board.permits.available_permits(), WINDOW - 1);
        board.received(number, 1).unwrap();
        assert_eq!(board.permits.available_permits(), WINDOW);
        board.drained().await.unwrap();
        assert_eq!(board.take().unwrap().count(), 2);
        let next = board.begin(end).await.unwrap().unwrap();
        assert_eq!(next, number + WINDOW as u64, "the same slot, another event");
        assert!(board.received(number, 0).is_err(), "the one before is over");
        assert_eq!(board.begin(Instant::now()).await.unwrap(), None, "its time is over");
    }

    #[tokio::test]
    async fn an_event_that_comes_too_often_is_an_error() {
        let board = Board::new(1).unwrap();
        let number = board.begin(Instant::now() + Duration::from_secs(60)).await.unwrap().unwrap();
        board.received(number, 0).unwrap();
        assert!(board.received(number, 0).is_err());
        assert!(board.received(number + 1, 0).is_err(), "never begun");
    }
}
