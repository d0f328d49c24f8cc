//! placeholder
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio_stream::Stream;
use crate::proto::{EventBatch, EventFilter, StateItem};
use crate::{Client, ClientError};

/// What to watch, and from where.
#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    /// Scopes to see; empty means every scope.
    pub scopes: Vec<String>,
    /// Which events to see; `None` means all.
    pub filter: Option<EventFilter>,
    /// First revision to deliver; 0 means from now on.
    pub start_revision: u64,
    /// Incarnation that `start_revision` comes from; empty skips the check.
    pub incarnation: String,
    /// Deliver the state of the scopes first; `start_revision` must be 0 then.
    pub initial_state: bool,
    /// Silence after which the broker sends progress; `None` means 10 s.
    pub progress_interval: Option<Duration>,
}

/// Up to where a reader has seen everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The history that the revision belongs to.
    pub incarnation: String,
    /// The last revision seen; go on at the next.
    pub revision: u64,
}

/// One item of a [`Watch`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WatchItem {
    /// The stream is open, for the first time or again; with `initial_state` not yet complete, the state
    /// begins anew.
    Created,
    /// One record of the initial state.
    State(StateItem),
    /// The initial state is complete as of this revision.
    StateEnd(u64),
    /// All events of one transaction that the filter lets through.
    Batch(EventBatch),
    /// Everything up to this revision was delivered.
    Progress(u64),
    /// The connection is lost; the watch is reconnecting and goes on without loss. Once per outage, with why.
    Interrupted(String),
}

/// A resumable stream of events.
pub struct Watch { _p: () }

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("Watch") }
}

impl Watch {
    /// Opens it lazily.
    pub fn new(_client: &Client, _options: WatchOptions) -> Self { todo!() }
    /// The next item; `None` after the end. Safe to cancel.
    pub async fn next(&mut self) -> Option<Result<WatchItem, ClientError>> { todo!() }
    /// Up to where everything was delivered.
    pub fn cursor(&self) -> &Cursor { todo!() }
}

impl Stream for Watch {
    type Item = Result<WatchItem, ClientError>;
    fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Self::Item>> { todo!() }
}
