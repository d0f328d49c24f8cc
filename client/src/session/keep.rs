//! What keeps a session alive in the background: an open stream, or heartbeats.
//!
//! What must hold: each task ends with its session, and no failure of the broker ends it before.

use std::sync::Arc;
use std::time::Duration;

use super::{SessionNews, Shared, has_ended, was_replaced};
use crate::backoff::Backoff;
use crate::proto::HeartbeatRequest;
use crate::watch::Cursor;
use crate::{ClientError, WatchItem, WatchOptions};

const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// Holds the event stream of the session's scope open and passes on what comes.
pub(super) async fn attend(shared: Arc<Shared>) {
    let mut cursor = shared.current().cursor.clone();
    let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY, shared.client.chance());
    loop {
        let current = shared.current();
        let options = WatchOptions {
            scopes: vec![current.peer.scope.clone()],
            start_revision: if cursor.revision == 0 { 0 } else { cursor.revision.saturating_add(1) },
            incarnation: cursor.incarnation.clone(),
            ..WatchOptions::default()
        };
        let mut watch = current.client.watch(options);
        let error = loop {
            match watch.next().await {
                Some(Ok(item)) => {
                    backoff.reset();
                    pass_on(&shared, item).await;
                }
                Some(Err(error)) => break error,
                None => return,
            }
        };
        cursor = watch.cursor().clone();
        if has_ended(&error) {
            if shared.was_left_elsewhere() {
                return shared.feed.tell(Err(ClientError::SessionLeft)).await;
            }
            match shared.rejoin(&current, error).await {
                Ok(_) => continue,
                Err(error) if is_final(&error) => return shared.feed.tell(Err(error)).await,
                Err(error) => shared.feed.tell(Err(error)).await,
            }
        } else {
            // Whatever was missed is told by the error; what comes from here on is still worth having.
            if error.refusal().is_some() || matches!(error, ClientError::Protocol(_)) {
                cursor = Cursor::default();
            }
            tracing::warn!(%error, "the session's stream failed");
            shared.feed.tell(Err(error)).await;
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

async fn pass_on(shared: &Shared, item: WatchItem) {
    match item {
        WatchItem::Batch(batch) => shared.feed.tell(Ok(SessionNews::Batch(batch))).await,
        WatchItem::Interrupted(why) => shared.feed.tell(Ok(SessionNews::Interrupted(why))).await,
        WatchItem::Created | WatchItem::State(_) | WatchItem::StateEnd(_) | WatchItem::Progress(_) => {}
    }
}

/// Sends a heartbeat at each third of the lease.
pub(super) async fn beat(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(shared.current().lease() / 3).await;
        let beat = shared.call_waiting(Duration::ZERO, |client| async move {
            client.peers().heartbeat(HeartbeatRequest {}).await
        });
        match beat.await {
            Ok(_) => {}
            Err(error) if is_final(&error) => return shared.feed.tell(Err(error)).await,
            Err(error) => tracing::warn!(%error, "a heartbeat failed"),
        }
    }
}

/// Whether the session is over for good.
fn is_final(error: &ClientError) -> bool {
    matches!(error, ClientError::SessionLeft) || was_replaced(error)
}
