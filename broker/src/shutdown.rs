//! Why and how a broker ends: a signal, a Stop call, or nobody left.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::events::EventLog;
use crate::tls::Certificates;
use crate::view::View;

/// Cancels the token on SIGTERM or SIGINT. SIGHUP ends nothing, since a broker outlives the terminal it was started from:
/// it has the TLS files read again.
pub(crate) fn on_signal(
    shutdown: CancellationToken,
    certificates: Option<Arc<Certificates>>,
) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => if let Some(certificates) = &certificates { certificates.reload() },
                () = shutdown.cancelled() => return,
            }
        }
        tracing::info!("ending on a signal");
        shutdown.cancel();
    });
    Ok(())
}

/// Cancels the token once there was no live session and no open stream for `patience`.
///
/// Looks when something changes, not at intervals.
pub(crate) async fn on_idle(
    patience: Duration,
    view: View,
    events: EventLog,
    mut streams: watch::Receiver<usize>,
    shutdown: CancellationToken,
) {
    loop {
        // Read before the view, so that what changes it afterwards is waited for; and a revision, not what is
        // under it, since a history may be too short to follow.
        let next = events.head().next();
        let idle = view.read().peers.online_count() == 0 && *streams.borrow_and_update() == 0;
        tokio::select! {
            () = tokio::time::sleep(patience), if idle => break,
            reached = events.reached(next) => if reached.is_err() { break },
            changed = streams.changed() => if changed.is_err() { break },
            () = shutdown.cancelled() => return,
        }
    }
    tracing::info!(seconds = patience.as_secs(), "ending: no peers and no streams");
    shutdown.cancel();
}
