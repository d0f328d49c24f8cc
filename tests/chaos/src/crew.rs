//! Clients at work: they join and leave, lock, write, send and read, as agents do, and write down every answer.
//!
//! What must hold: nobody looks whether the broker is there. What a client meets is in the history, or among its
//! failures.

mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mesh_client::proto::{ListEntriesRequest, ListLocksRequest, ListPeersRequest, ResponseHeader};
use mesh_client::{Client, ClientError, Watch, WatchItem, WatchOptions};
use mesh_tests::SCOPE;
use tokio::task::JoinSet;

use self::work::Worker;
use crate::dice::Dice;
use crate::history::{List, Watched};
use crate::record::{Record, pause};

/// How long a reader of the history may be without any news before the run is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// All the clients of a run.
#[derive(Debug)]
pub struct Crew {
    record: Record,
    done: Arc<AtomicBool>,
    workers: JoinSet<Option<Worker>>,
    readers: JoinSet<Watched>,
    newest: tokio::sync::watch::Sender<Option<u64>>,
}

impl Crew {
    /// Starts so many workers, each with a client of its own, and two readers of the event history.
    pub async fn start(count: usize, dice: &Dice, record: &Record, connect: impl Fn() -> Client) -> Self {
        let (done, newest) = (Arc::new(AtomicBool::new(false)), tokio::sync::watch::Sender::new(None));
        let mut readers = JoinSet::new();
        for patient in [true, false] {
            let reader = Reader { record: record.clone(), until: newest.subscribe(), patient };
            let connect = (connect(), connect());
            readers.spawn(reader.read(connect.0, dice.part(200)));
        }
        let mut joining = JoinSet::new();
        for number in 0..count {
            let worker = Worker::join(number, count, connect(), record.clone(), dice.part(number as u64));
            joining.spawn(worker);
        }
        let mut workers = JoinSet::new();
        for worker in joining.join_all().await.into_iter().flatten() {
            workers.spawn(worker.run(Arc::clone(&done)));
        }
        let looker = look(connect(), record.clone(), Arc::clone(&done));
        workers.spawn(async move {
            looker.await;
            None
        });
        Self { record: record.clone(), done, workers, readers, newest }
    }

    /// Lets everybody finish what they are at and read their mail; then the readers catch up.
    pub async fn finish(self, client: &Client) {
        self.done.store(true, Ordering::Relaxed);
        for worker in self.workers.join_all().await.into_iter().flatten() {
            worker.end().await;
        }
        let newest = match self.record.patiently(|| snapshots(client, &self.record)).await {
            Ok(revision) => revision,
            Err(error) => return self.record.failed(format!("the last look: {error}")),
        };
        let _ = self.newest.send(Some(newest));
        let mut watches = self.readers.join_all().await;
        watches.sort_by_key(|watched| watched.seen.len());
        let mut history = self.record.history();
        history.log = watches.pop().map(|longest| longest.seen).unwrap_or_default();
        let last = history.log.last().map_or(0, |batch| batch.revision);
        for watched in &watches {
            if watched.seen.len() != history.log.len() {
                let (seen, of) = (watched.seen.len(), history.log.len());
                history.failures.push(format!("a reader saw {seen} batches of {of}, up to {last}"));
            }
        }
        history.watches.extend(watches);
    }
}

/// Looks at the lists now and then.
async fn look(client: Client, record: Record, done: Arc<AtomicBool>) {
    while !done.load(Ordering::Relaxed) {
        if let Err(error) = record.patiently(|| snapshots(&client, &record)).await {
            record.failed(format!("a look at the lists: {error}"));
        }
        pause(Duration::from_millis(100)).await;
    }
}

/// Reads all lists, each as of one revision.
async fn snapshots(client: &Client, record: &Record) -> Result<u64, ClientError> {
    let revision = |header: Option<ResponseHeader>| header.map_or(0, |header| header.revision);
    let started = record.now();
    let locks = ListLocksRequest { scope: SCOPE.into(), page_size: 1_000, ..Default::default() };
    let locks = client
        .call(|client| {
            let request = locks.clone();
            async move { client.locks().list_locks(request).await }
        })
        .await?;
    record.looked(started, revision(locks.header), List::Locks(locks.locks));
    let started = record.now();
    let entries = ListEntriesRequest { scope: SCOPE.into(), page_size: 1_000, ..Default::default() };
    let entries = client
        .call(|client| {
            let request = entries.clone();
            async move { client.state().list_entries(request).await }
        })
        .await?;
    record.looked(started, revision(entries.header), List::Entries(entries.entries));
    let started = record.now();
    let peers = ListPeersRequest { scope: SCOPE.into(), page_size: 1_000, ..Default::default() };
    let peers = client
        .call(|client| {
            let request = peers.clone();
            async move { client.peers().list_peers(request).await }
        })
        .await?;
    let newest = revision(peers.header);
    record.looked(started, newest, List::Peers(peers.peers));
    Ok(newest)
}

/// Somebody who reads the event history from its beginning.
struct Reader {
    record: Record,
    /// Up to where to read, once that is known.
    until: tokio::sync::watch::Receiver<Option<u64>>,
    /// One watch for the whole run; an impatient reader drops it now and then, and goes on with another.
    patient: bool,
}

impl Reader {
    async fn read(mut self, client: Client, mut dice: Dice) -> Watched {
        let mut watched = Watched { from: 1, seen: Vec::new() };
        let mut reached = 0;
        loop {
            let options = WatchOptions { start_revision: reached + 1, ..WatchOptions::default() };
            let mut watch = client.watch(options);
            let last = if self.patient { u64::MAX } else { dice.among(1..200) };
            for _ in 0..last {
                match self.next(&mut watch, &mut watched).await {
                    Next::Item => reached = watch.cursor().revision.max(reached),
                    Next::End => return watched,
                }
            }
        }
    }

    async fn next(&mut self, watch: &mut Watch, watched: &mut Watched) -> Next {
        let is_over =
            |until: Option<u64>, watch: &Watch| until.is_some_and(|until| watch.cursor().revision >= until);
        if is_over(*self.until.borrow_and_update(), watch) {
            return Next::End;
        }
        let item = tokio::select! {
            item = tokio::time::timeout(STUCK, watch.next()) => item,
            changed = self.until.changed() => return if changed.is_ok() { Next::Item } else { Next::End },
        };
        match item {
            Ok(Some(Ok(WatchItem::Batch(batch)))) => {
                watched.seen.push(batch);
                if self.patient {
                    self.record.saw_a_batch();
                }
                Next::Item
            }
            Ok(Some(Ok(_))) => Next::Item,
            Ok(Some(Err(error))) => self.gives_up(format!("a watch ended: {error}")),
            Ok(None) => self.gives_up("a watch ended without saying why".into()),
            Err(_) => self.gives_up(format!("a watch had no news for {STUCK:?}")),
        }
    }

    fn gives_up(&self, why: String) -> Next {
        self.record.failed(why);
        Next::End
    }
}

/// Whether a reader goes on.
enum Next {
    Item,
    End,
}
