//! The broker as a process: started on what is on the disk, crashed, stopped, paused, started again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesh_broker::clock::{Clock, Time};
use mesh_broker::ids::Ids;
use mesh_broker::queue::{Handle, Inputs, queue_with_bell};
use mesh_broker::service::auth::{Authority, Passes, SessionTokens};
use mesh_broker::service::{self, BrokerInfo, Indices, Mesh, Reads, Shown, Waits, Wakes, WatchCount};
use mesh_broker::store::{MemoryDisk, Store, StoreError};
use mesh_broker::view::View;
use mesh_broker::vitals::Vitals;
use mesh_broker::writer::{Seen, Writer};
use mesh_core::time::WallTime;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::books::Shared;
use crate::clocks::Machine;
use crate::dice::Dice;
use crate::disk::Disk;
use crate::weather::Weather;

/// The user that everybody is.
pub const UID: u32 = 1000;

/// Where the broker is to be found while one runs.
#[derive(Clone, Debug, Default)]
pub struct Town(Arc<Mutex<Option<Process>>>);

impl Town {
    /// The broker that runs.
    #[must_use]
    pub fn process(&self) -> Option<Process> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running broker.
#[derive(Clone, Debug)]
pub struct Process {
    /// Which of them it is.
    pub epoch: u64,
    /// Its services.
    pub routes: Routes,
    /// Its clock.
    pub clock: Clock,
    /// What its readers see.
    pub view: View,
    /// Cancelled when it is dead.
    dead: CancellationToken,
    /// Cancelled when it is to end in order.
    stop: CancellationToken,
    handle: Handle,
    pause: Arc<Pause>,
}

#[derive(Debug, Default)]
struct Pause {
    on: AtomicBool,
    begins: Notify,
    ends: Notify,
}

/// The broker died, or the connection to it broke.
#[derive(Debug, thiserror::Error)]
#[error("connection reset")]
pub struct Gone;

/// What brokers are made of.
#[derive(Clone, Debug)]
pub struct Machinery {
    /// What outlives them.
    pub disk: MemoryDisk,
    /// Its clocks.
    pub machine: Arc<Machine>,
    /// The books.
    pub books: Shared,
    /// The weather.
    pub weather: Weather,
    /// Where they are found.
    pub town: Town,
    /// Fresh ids.
    pub ids: Ids,
}

impl Process {
    /// Does the broker's work, unless it is dead, paused, or the connection for which it is done is cut.
    pub async fn inside<F: Future>(&self, cut: &CancellationToken, work: F) -> Result<F::Output, Gone> {
        let mut work = std::pin::pin!(work);
        loop {
            if self.dead.is_cancelled() || cut.is_cancelled() {
                return Err(Gone);
            }
            if self.pause.on.load(Ordering::Relaxed) {
                tokio::select! {
                    biased;
                    () = self.dead.cancelled() => return Err(Gone),
                    () = self.pause.ends.notified() => continue,
                }
            }
            tokio::select! {
                biased;
                () = self.dead.cancelled() => return Err(Gone),
                () = cut.cancelled() => return Err(Gone),
                () = self.pause.begins.notified() => {}
                done = &mut work => return Ok(done),
            }
        }
    }

    /// Kills it.
    pub fn crash(&self) {
        self.dead.cancel();
    }

    /// Stops it for a while, as SIGSTOP and SIGCONT do.
    pub async fn pause(&self, span: Duration) {
        self.pause.on.store(true, Ordering::Relaxed);
        self.pause.begins.notify_waiters();
        sleep(span).await;
        self.pause.on.store(false, Ordering::Relaxed);
        self.pause.ends.notify_waiters();
    }

    /// Makes it end in order, as SIGTERM does.
    pub fn terminate(&self) {
        self.stop.cancel();
        self.handle.stop();
    }

    /// Waits until it is dead.
    pub async fn died(&self) {
        self.dead.cancelled().await;
    }
}

impl Machinery {
    /// Keeps a broker running: starts one, and another when it has died.
    pub async fn keep_running(self, seed: u64) {
        let mut dice = Dice::of(seed, "restarts");
        for epoch in 1.. {
            let process = match self.start(epoch) {
                Ok(process) => process,
                Err(error) => {
                    return self.books.demand("restart is a non-event", false, || error.to_string());
                }
            };
            process.died().await;
            self.books.note("broker", "is gone");
            self.books.with(|books| books.model.signs.broker_ended());
            *self.town.lock() = None;
            sleep(dice.millis(5, 1_500)).await;
        }
    }

    fn start(&self, epoch: u64) -> Result<Process, StoreError> {
        let store: Arc<dyn Store> = Arc::new(Disk::open(&self.disk, &self.books)?);
        let bell = Arc::new(Notify::new());
        let (handle, inputs) = queue_with_bell(bell.clone());
        let time = Time::Given(self.machine.clone());
        let (writer, seen) = Writer::recover(self.weather.writer.clone(), store.clone(), time, &handle)?;
        self.books.note("broker", &format!("is up at revision {}", seen.view.revision().0));
        self.books.with(|books| {
            books.confirm();
            books.compare("the recovered state", &seen.view.read());
            books.model.broker_began(seen.clock.at());
        });
        let stop = CancellationToken::new();
        let mesh = self.mesh(&store, &handle, &seen, stop.clone());
        mesh.keep_places();
        let authority = Arc::new(Authority::new(UID, None));
        let process = Process {
            epoch,
            routes: service::services(&mesh, authority),
            clock: seen.clock,
            view: seen.view,
            dead: CancellationToken::new(),
            stop,
            handle,
            pause: Arc::default(),
        };
        *self.town.lock() = Some(process.clone());
        let work = Work { process: process.clone(), writer, inputs, bell, books: self.books.clone() };
        tokio::spawn(work.run());
        Ok(process)
    }

    fn mesh(&self, store: &Arc<dyn Store>, handle: &Handle, seen: &Seen, stop: CancellationToken) -> Mesh {
        let identity = store.identity();
        let info = BrokerInfo {
            version: "0.0.0",
            pid: 1,
            started: WallTime(0),
            store_path: "memory".into(),
            endpoints: Vec::new(),
            auto_started: false,
            idle_exit: None,
            incarnation: identity.incarnation,
            store: store.clone(),
        };
        Mesh {
            writer: handle.clone(),
            view: seen.view.clone(),
            events: seen.events.clone(),
            leases: seen.leases.clone(),
            clock: seen.clock.clone(),
            ids: self.ids.clone(),
            tokens: SessionTokens::new(&identity.secret),
            info: Arc::new(info),
            shutdown: stop,
            watches: WatchCount::default(),
            reads: Reads::new(seen.leases.clone()),
            shown: Shown::default(),
            wakes: Wakes::default(),
            indices: Indices::default(),
            waits: Waits::default(),
            vitals: Arc::new(Vitals::new(seen.commits.clone(), handle.clone())),
            passes: Passes::default(),
        }
    }
}

/// The writer at work, in place of its thread.
struct Work {
    process: Process,
    writer: Writer,
    inputs: Inputs,
    bell: Arc<Notify>,
    books: Shared,
}

impl Work {
    async fn run(mut self) {
        let (process, books) = (self.process.clone(), self.books.clone());
        let never = CancellationToken::new();
        let ended = process.inside(&never, self.work()).await;
        drop(self);
        match ended {
            Err(Gone) => {}
            // Its callers are told that it ends, and the process does.
            Ok(Err(error)) => {
                books.note("writer", &format!("ends: {error}"));
                sleep(Duration::from_millis(1)).await;
            }
            Ok(Ok(())) => {
                books.note("writer", "has stopped");
                sleep(Duration::from_millis(20)).await;
            }
        }
        process.crash();
    }

    /// Waits, decides, commits; the disk takes its time in between, while the rest of the broker goes on.
    async fn work(&mut self) -> Result<(), StoreError> {
        loop {
            let first = self.inputs.waiting().next();
            if first.is_none() {
                self.wait().await;
            }
            let first = first.or_else(|| self.inputs.waiting().next());
            let stop = self.writer.gather(first, &self.inputs)?;
            let delay = self.books.with(|books| books.next_disk_delay());
            if delay > 0 {
                sleep(Duration::from_millis(delay)).await;
            }
            self.writer.commit()?;
            if stop {
                return Ok(());
            }
            self.writer.trim()?;
        }
    }

    async fn wait(&mut self) {
        let due = self.writer.next_deadline();
        let due = async {
            match due {
                Some(at) => sleep(Duration::from_millis(at.since(self.process.clock.at()).0)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.bell.notified() => {}
            () = due => {}
        }
    }
}
