//! Whoever watches: a real client with a real watch, now quick, now so slow that the history goes on without it.

use mesh_client::{Client, ClientError, Watch, WatchItem, WatchOptions};
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

use crate::actor;
use crate::books::Shared;
use crate::dice::Dice;
use crate::follow::Follower;
use crate::net::Wire;

/// A reader.
#[derive(Debug)]
pub struct Reader {
    name: String,
    client: Client,
    scopes: Vec<String>,
    books: Shared,
    dice: Dice,
}

impl Reader {
    /// A reader of some scopes, or of all.
    pub fn new(
        name: &str,
        scopes: Vec<String>,
        seed: u64,
        wire: &Wire,
        books: &Shared,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            name: name.to_owned(),
            client: actor::client(wire, seed, name)?,
            scopes,
            books: books.clone(),
            dice: Dice::of(seed, &format!("reader {name}")),
        })
    }

    /// Reads until a moment; must have everything by then.
    pub async fn run(mut self, until: Instant) {
        while Instant::now() < until {
            let mut follower = Follower::new(self.scopes.clone());
            if !self.follow(&mut follower, until).await {
                continue;
            }
            let complete = self.books.with(|books| follower.complete(books));
            if let Err(what) = complete {
                self.books.demand("no lost event", false, || format!("{}: {what}", self.name));
            }
        }
    }

    /// Follows one watch to its end. True if that came with the end of the run.
    async fn follow(&mut self, follower: &mut Follower, until: Instant) -> bool {
        let options = WatchOptions {
            scopes: self.scopes.clone(),
            initial_state: self.dice.happens(3_000),
            progress_interval: Some(std::time::Duration::from_secs(self.dice.within(1, 4))),
            ..WatchOptions::default()
        };
        let mut watch = self.client.watch(options);
        loop {
            let calm = self.books.with(|books| books.calm);
            if !calm && self.dice.happens(250) {
                self.books.fault("reader stalls");
                sleep(self.dice.millis(1_000, 30_000)).await;
            }
            let Ok(item) = timeout(until.saturating_duration_since(Instant::now()), watch.next()).await
            else {
                return follower.next().is_some();
            };
            match item {
                Some(Ok(item)) => self.take(&watch, follower, &item),
                Some(Err(error)) => {
                    self.ended(&error);
                    return false;
                }
                None => return false,
            }
        }
    }

    fn take(&self, watch: &Watch, follower: &mut Follower, item: &WatchItem) {
        let kept = self.books.with(|books| match item {
            WatchItem::Batch(batch) => {
                books.note(&self.name, &format!("sees {}", batch.revision));
                books.told = books.told.max(batch.revision);
                follower.batch(books, batch)
            }
            WatchItem::StateEnd(revision) => {
                follower.begin(revision + 1);
                Ok(())
            }
            WatchItem::Progress(revision) => follower.progress(books, *revision),
            WatchItem::Created => {
                if follower.next().is_none() && watch.cursor().revision > 0 {
                    follower.begin(watch.cursor().revision + 1);
                }
                Ok(())
            }
            WatchItem::State(_) | WatchItem::Interrupted(_) => Ok(()),
            _ => Ok(()),
        });
        if let Err(what) = kept {
            self.books.demand("no lost event", false, || format!("{}: {what}", self.name));
        }
    }

    /// A watch may end because its reader was too slow, and for no other reason.
    fn ended(&self, error: &ClientError) {
        let late = error.refusal().is_some_and(|refusal| refusal.code == Code::OutOfRange);
        let away = matches!(error, ClientError::Unreachable { .. });
        self.books.note(&self.name, &format!("watch ends: {error}"));
        if late {
            self.books.fault("history gone");
        }
        self.books.demand("no lost event", late || away, || format!("{}: {error}", self.name));
    }
}
