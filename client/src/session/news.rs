//! What reaches a session by itself.
//!
//! What must hold: the queue between the session's stream and its reader is bounded, and when it is full the
//! stream waits; joining again is told through the session's state, so that it cannot be crowded out.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{mpsc, watch};
use tokio_stream::{Stream, StreamExt};

use super::{Current, Shared};
use crate::ClientError;
use crate::proto::{EventBatch, Peer};

/// News on their way to the reader, before the stream waits for it.
const QUEUE: usize = 256;

type News = Result<SessionNews, ClientError>;

/// News that reach a session.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SessionNews {
    /// Something happened in the scope, the peer's own doings included.
    Batch(EventBatch),
    /// The session had ended and a new one of the same peer began: its locks may be gone, and its token is new.
    Rejoined(Box<Peer>),
    /// The connection is lost, with why; it is being restored, and nothing is missed.
    Interrupted(String),
}

/// The news of a session, from [`Session::events`](crate::Session::events). An error says that some news are
/// lost (OUT_OF_RANGE) or that the session cannot go on.
pub struct SessionEvents {
    news: Pin<Box<dyn Stream<Item = News> + Send>>,
}

impl SessionEvents {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let queue = shared.feed.open();
        let current = shared.current.subscribe();
        Self { news: Box::pin(merge(queue, current)) }
    }

    /// The next news; `None` after the session was left or dropped. Safe to cancel.
    pub async fn next(&mut self) -> Option<Result<SessionNews, ClientError>> {
        self.news.next().await
    }
}

impl Stream for SessionEvents {
    type Item = Result<SessionNews, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.news.as_mut().poll_next(cx)
    }
}

impl std::fmt::Debug for SessionEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionEvents").finish_non_exhaustive()
    }
}

fn merge(
    mut queue: mpsc::Receiver<News>,
    mut current: watch::Receiver<Arc<Current>>,
) -> impl Stream<Item = News> + Send {
    // Taken here, not when first polled: what happens in between is news.
    let mut generation = current.borrow().generation;
    current.mark_changed();
    async_stream::stream! {
        loop {
            let changed = tokio::select! {
                biased;
                changed = current.changed() => changed,
                news = queue.recv() => match news {
                    Some(news) => {
                        yield news;
                        continue;
                    }
                    None => break,
                },
            };
            let now = Arc::clone(&current.borrow_and_update());
            if changed.is_err() || now.left {
                break;
            }
            if now.generation != generation {
                generation = now.generation;
                yield Ok(SessionNews::Rejoined(Box::new(now.peer.clone())));
            }
        }
    }
}

/// The way from the session's background task to its reader, if there is one.
#[derive(Default)]
pub(super) struct Feed {
    reader: watch::Sender<Option<mpsc::Sender<News>>>,
}

impl Feed {
    /// Makes a new reader the reader.
    fn open(&self) -> mpsc::Receiver<News> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.reader.send_replace(Some(sender));
        receiver
    }

    /// Hands news to the reader, waiting for room in its queue. Without a reader they are not wanted.
    pub(super) async fn tell(&self, news: News) {
        let mut reader = self.reader.subscribe();
        let sender = reader.borrow_and_update().clone();
        let Some(sender) = sender else { return };
        tokio::select! {
            biased;
            sent = sender.send(news) => {
                if sent.is_err() {
                    self.reader.send_if_modified(|reader| {
                        let gone = reader.as_ref().is_some_and(mpsc::Sender::is_closed);
                        if gone {
                            *reader = None;
                        }
                        gone
                    });
                }
            }
            // Another reader took over; the old one may never read again.
            _ = reader.changed() => {}
        }
    }
}
