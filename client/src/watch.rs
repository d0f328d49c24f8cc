//! Following events across broker restarts.
//!
//! Owns the cursor of one reader. What must hold: every batch that the filter lets through is delivered once
//! and in order, however often the connection breaks; if that cannot be kept, the watch ends with an error
//! instead of a silent gap. Without a filter this is proven batch by batch, by `prev_revision`.

mod position;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt};
use tonic::Streaming;

use self::position::Position;
use crate::backoff::Backoff;
use crate::proto::watch_response::Payload;
use crate::proto::{EventBatch, EventFilter, StateItem, WatchRequest, WatchResponse};
use crate::{Client, ClientError};

const FIRST_DELAY: Duration = Duration::from_millis(50);
/// Bounded so that a watch is back within two seconds of a broker's restart.
const LONGEST_DELAY: Duration = Duration::from_secs(1);
/// A broker that cannot be started is not started every second.
const DELAY_AFTER_FAILED_START: Duration = Duration::from_secs(5);
/// How long opening the stream may take, starting a broker included.
const OPEN_WITHIN: Duration = Duration::from_secs(45);
const DEFAULT_PROGRESS: Duration = Duration::from_secs(10);

/// What to watch, and from where.
#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    /// Scopes to see, at most 100; empty means every scope.
    pub scopes: Vec<String>,
    /// Which events to see; `None` means all.
    pub filter: Option<EventFilter>,
    /// First revision to deliver; 0 means from now on. Must be 0 with `initial_state`.
    pub start_revision: u64,
    /// Incarnation that `start_revision` comes from; empty skips the check.
    pub incarnation: String,
    /// Deliver the state of the scopes first.
    pub initial_state: bool,
    /// Silence after which the broker sends progress, 1 s to 300 s; `None` means 10 s. A broker silent for
    /// three times as long (but at least 5 s) counts as gone.
    pub progress_interval: Option<Duration>,
}

/// Up to where a reader has seen everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The history that the revision belongs to; empty before the first item.
    pub incarnation: String,
    /// The last revision seen: go on at the next. 0 when none is known.
    pub revision: u64,
}

/// One item of a [`Watch`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WatchItem {
    /// The stream is open, for the first time or again. While the initial state is not complete, a further
    /// one means that the state begins anew.
    Created,
    /// One record of the initial state.
    State(Box<StateItem>),
    /// The initial state is complete as of this revision.
    StateEnd(u64),
    /// All events of one transaction that the filter lets through.
    Batch(EventBatch),
    /// Everything up to this revision was delivered.
    Progress(u64),
    /// The connection is lost, with why. Comes once per outage; the watch goes on by itself, without loss.
    Interrupted(String),
}

type Items = Pin<Box<dyn Stream<Item = Result<(WatchItem, Cursor), ClientError>> + Send>>;

/// A resumable stream of events. It connects when first polled, reconnects by itself, and ends after an error:
/// the history asked for is gone (OUT_OF_RANGE), the broker refuses for good, or it could not be reached or
/// started to begin with.
pub struct Watch {
    items: Items,
    cursor: Cursor,
}

impl Watch {
    /// Prepares a watch with the client's credentials.
    pub fn new(client: &Client, options: WatchOptions) -> Self {
        let cursor = Cursor {
            incarnation: options.incarnation.clone(),
            revision: options.start_revision.saturating_sub(1),
        };
        let mut reader = Reader::new(client.clone(), options);
        let items = Box::pin(async_stream::stream! {
            loop {
                let item = reader.next().await;
                let ended = item.is_err();
                yield item;
                if ended {
                    break;
                }
            }
        });
        Self { items, cursor }
    }

    /// The next item; `None` after the error that ended the watch. Safe to cancel.
    pub async fn next(&mut self) -> Option<Result<WatchItem, ClientError>> {
        StreamExt::next(self).await
    }

    /// Up to where everything was delivered, the last item included. Store it to go on later:
    /// `start_revision: cursor.revision + 1`. Stays at the beginning until an initial state is complete.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }
}

impl Stream for Watch {
    type Item = Result<WatchItem, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.items.as_mut().poll_next(cx));
        Poll::Ready(next.map(|item| {
            item.map(|(item, cursor)| {
                self.cursor = cursor;
                item
            })
        }))
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

/// The loop behind a watch: opens the stream, reads it, and opens it again where it broke off.
struct Reader {
    client: Client,
    request: WatchRequest,
    position: Position,
    stream: Option<Streaming<WatchResponse>>,
    silence: Duration,
    backoff: Backoff,
    /// What to wait before opening the stream again.
    delay: Option<Duration>,
    /// Whether the stream was ever open: from then on an outage is waited for.
    opened: bool,
    /// Whether the present outage was reported.
    reported: bool,
}

impl Reader {
    fn new(client: Client, options: WatchOptions) -> Self {
        let progress = options.progress_interval;
        Self {
            position: Position::new(&options),
            request: WatchRequest {
                scopes: options.scopes,
                start_revision: options.start_revision,
                incarnation: options.incarnation,
                send_initial_state: options.initial_state,
                filter: options.filter,
                progress_interval: progress.and_then(|interval| interval.try_into().ok()),
            },
            stream: None,
            silence: (progress.unwrap_or(DEFAULT_PROGRESS) * 3).max(Duration::from_secs(5)),
            backoff: Backoff::new(FIRST_DELAY, LONGEST_DELAY, client.chance()),
            client,
            delay: None,
            opened: false,
            reported: false,
        }
    }

    /// The next item and the cursor after it, or the error that ends the watch.
    async fn next(&mut self) -> Result<(WatchItem, Cursor), ClientError> {
        loop {
            let item = match self.receive().await {
                Ok(response) => self.accept(response)?,
                Err(error) => self.break_off(error)?,
            };
            if let Some(item) = item {
                return Ok((item, self.position.cursor()));
            }
        }
    }

    async fn receive(&mut self) -> Result<WatchResponse, ClientError> {
        if let Some(delay) = self.delay.take() {
            tokio::time::sleep(delay).await;
        }
        let lost = |cause: &str| ClientError::unreachable(self.client.config().endpoint_name(), cause);
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let request = self.position.resume(&self.request);
                let mut events = self.client.events();
                let opened = timeout(OPEN_WITHIN, events.watch(request)).await;
                let opened = opened.map_err(|_| lost("the stream did not open in time"))?;
                self.stream.insert(opened.map_err(|status| self.client.decode(&status))?.into_inner())
            }
        };
        match timeout(self.silence, stream.message()).await {
            Ok(Ok(Some(response))) => Ok(response),
            Ok(Ok(None)) => Err(lost("the stream ended")),
            Ok(Err(status)) => Err(self.client.decode(&status)),
            Err(_) => Err(lost("the broker fell silent")),
        }
    }

    fn accept(&mut self, response: WatchResponse) -> Result<Option<WatchItem>, ClientError> {
        if let Some(Payload::Created(_)) = &response.payload {
            self.opened = true;
            self.reported = false;
            self.backoff.reset();
        }
        self.position.accept(response)
    }

    /// Goes on after a transient error, ends the watch with any other.
    fn break_off(&mut self, error: ClientError) -> Result<Option<WatchItem>, ClientError> {
        self.stream = None;
        let wait_for_broker = self.opened || (self.client.worth_waiting() && !is_start(&error));
        let delay = match &error {
            ClientError::Unreachable { .. } if wait_for_broker => self.backoff.next(),
            ClientError::Start { .. } if wait_for_broker => DELAY_AFTER_FAILED_START,
            ClientError::Refused(refusal) if error.is_transient() => {
                self.backoff.next().max(refusal.retry_after.unwrap_or_default().min(LONGEST_DELAY))
            }
            ClientError::Unreachable { .. }
            | ClientError::Untrusted { .. }
            | ClientError::Start { .. }
            | ClientError::Refused(_)
            | ClientError::Config(_)
            | ClientError::Protocol(_)
            | ClientError::SessionLeft => return Err(error),
        };
        tracing::debug!(%error, ?delay, "watch interrupted");
        self.delay = Some(delay);
        let first = !std::mem::replace(&mut self.reported, true);
        Ok(first.then(|| WatchItem::Interrupted(error.to_string())))
    }
}

fn is_start(error: &ClientError) -> bool {
    matches!(error, ClientError::Start { .. })
}
