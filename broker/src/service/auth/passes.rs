//! What is going on under each token, so that it ends when the token does.
//!
//! Owned by the services alone; on disk is only that a token was taken back. What must hold: whoever was let in with a
//! token has a pass that is ended at the latest when the token is found to be over, and a token that is over is found out
//! at once when it is revoked, and within a second when it expires.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mesh_core::command::{Command, Request};
use mesh_core::event::LeaveCause;
use mesh_core::id::{CredentialId, SessionId};
use mesh_core::time::WallTime;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::service::Mesh;

/// Longest time between two looks at the wall clock while a token is going to expire: it may be set.
const LOOK: Duration = Duration::from_secs(1);

/// The passes of all tokens in use.
#[derive(Clone, Debug, Default)]
pub struct Passes {
    passes: Arc<Mutex<HashMap<CredentialId, Pass>>>,
    /// Tells that tokens are other than they were.
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Pass {
    over: CancellationToken,
    used: Option<WallTime>,
}

impl Passes {
    /// The pass of a token: cancelled when that is over.
    pub(super) fn take(&self, id: &CredentialId) -> CancellationToken {
        self.lock().entry(id.clone()).or_default().over.clone()
    }

    /// Somebody was let in with a token.
    pub(super) fn note_use(&self, id: &CredentialId, wall: WallTime) {
        if let Some(pass) = self.lock().get_mut(id) {
            pass.used = Some(wall);
        }
    }

    /// When somebody was last let in with a token, as far as is known.
    #[must_use]
    pub fn last_used(&self, id: &CredentialId) -> Option<WallTime> {
        self.lock().get(id)?.used
    }

    /// A token is taken back: all that is going on under it ends, and it is forgotten.
    pub fn end(&self, id: &CredentialId) {
        if let Some(pass) = self.lock().remove(id) {
            pass.over.cancel();
        }
    }

    /// A token has ended, though it may be asked about: all that is going on under it ends, its last use stays known.
    pub(super) fn expire(&self, id: &CredentialId) {
        let mut passes = self.lock();
        let Some(pass) = passes.get_mut(id) else { return };
        std::mem::take(&mut pass.over).cancel();
        if pass.used.is_none() {
            passes.remove(id);
        }
    }

    /// Tokens are other than they were.
    pub fn note_change(&self) {
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CredentialId, Pass>> {
        self.passes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mesh {
    /// Ends what goes on under tokens that are over, for as long as the broker runs: calls, streams, and sessions.
    pub(crate) fn keep_passes(&self) {
        let mesh = self.clone();
        tokio::spawn(async move {
            let mut looked = None;
            loop {
                let now = mesh.clock.now().wall;
                // A clock that was set back makes good again what had expired.
                looked = looked.filter(|at| *at <= now);
                let next = mesh.next_expiry(looked.unwrap_or_default());
                // At the start, and after a change, there may be sessions that an earlier token has left.
                if looked.is_none() || next.is_some_and(|at| at <= now) {
                    mesh.end_passes(now).await;
                    looked = Some(now);
                    continue;
                }
                tokio::select! {
                    () = mesh.shutdown.cancelled() => break,
                    () = mesh.passes.changed.notified() => looked = None,
                    () = until(next, now), if next.is_some() => {}
                }
            }
        });
    }

    /// When the next token expires of those that had not by a moment.
    fn next_expiry(&self, after: WallTime) -> Option<WallTime> {
        self.view.read().tokens.list().filter_map(|token| token.expires).filter(|at| *at > after).min()
    }

    /// Ends what goes on under tokens that are over.
    async fn end_passes(&self, now: WallTime) {
        let (over, sessions) = {
            let state = self.view.read();
            let is_over = |id: &CredentialId| !id.is_owner() && !state.tokens.is_good(id, now);
            let over = self.passes.lock().keys().filter(|id| is_over(id)).cloned().collect::<Vec<_>>();
            let (over, gone): (Vec<_>, Vec<_>) =
                over.into_iter().partition(|id| state.tokens.get(id).is_some());
            gone.iter().for_each(|id| self.passes.end(id));
            let live = state.peers.list(None, None).filter(|peer| is_over(&peer.credential));
            let sessions: Vec<SessionId> = live.filter_map(|peer| Some(peer.session.as_ref()?.id)).collect();
            (over, sessions)
        };
        over.iter().for_each(|id| self.passes.expire(id));
        for session in sessions {
            let end = Command::End { session, cause: LeaveCause::Revoked };
            if let Err(error) = self.writer.submit(Request::internal(end)).await {
                // Its lease still ends it, and nobody can use it.
                tracing::warn!(?session, %error, "cannot end a session whose token is over");
            }
        }
    }
}

/// Waits until a moment of the wall clock, but not long: the clock may be set.
async fn until(next: Option<WallTime>, now: WallTime) {
    let left = next.map_or(0, |at| at.0.saturating_sub(now.0));
    tokio::time::sleep(Duration::from_millis(left).min(LOOK)).await;
}
