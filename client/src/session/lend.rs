//! Locks that hooks take before an edit, and give back when the turn ends.
//!
//! They are the peer's like any other; only the registry knows which they are. What must hold: a lock that the agent
//! took itself, before or after, is never among them, so that nothing gives it back but the agent.

use super::{Acquired, Session};
use crate::ClientError;
use crate::agent::Membership;
use crate::proto::{AcquireLocksRequest, ErrorReason, Lock};

/// Most targets of one request.
const TARGETS: usize = 100;

impl Session {
    /// As [`Session::acquire`], for the edit that follows: what is newly granted is noted as lent for the turn, and told.
    /// The request should give no reason, which would take the place of that of a lock that the agent has.
    pub async fn acquire_for_turn(
        &self,
        request: AcquireLocksRequest,
    ) -> Result<(Acquired, Vec<String>), ClientError> {
        let (verdict, revision) = self.acquire_at(request).await?;
        let Acquired::Granted(locks) = &verdict else { return Ok((verdict, Vec::new())) };
        // A lock that the peer already had keeps its token.
        let new: Vec<_> = locks.iter().filter(|lock| lock.fencing_token == revision).collect();
        let paths = new.iter().map(|lock| lock.path.clone()).collect();
        if !new.is_empty() {
            let lent = new.iter().map(|lock| (lock.path.clone(), lock.fencing_token));
            self.note(|membership| membership.locks.extend(lent)).await;
        }
        Ok((verdict, paths))
    }

    /// Gives locks back that were lent for the turn. That some have ended is no matter.
    pub async fn give_back(&self, paths: &[String]) -> Result<(), ClientError> {
        for some in paths.chunks(TARGETS) {
            match self.release(some.to_vec()).await {
                Ok(_) => {}
                // None is released when one has ended: one by one, then.
                Err(error) if error.reason() == Some(ErrorReason::LockNotHeld) => {
                    for path in some {
                        match self.release(vec![path.clone()]).await {
                            Err(error) if error.reason() != Some(ErrorReason::LockNotHeld) => {
                                return Err(error);
                            }
                            Ok(_) | Err(_) => {}
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if !paths.is_empty() {
            self.note(|membership| paths.iter().for_each(|path| _ = membership.locks.remove(path))).await;
        }
        Ok(())
    }

    /// As [`Session::acquire`], for locks that the peer had before its session ended: those lent for a turn stay so.
    pub async fn acquire_again(&self, request: AcquireLocksRequest) -> Result<Acquired, ClientError> {
        Ok(self.acquire_at(request).await?.0)
    }

    /// What the agent takes itself is not lent.
    pub(super) async fn keep_for_good(&self, locks: &[Lock]) {
        let Some(kept) = &self.shared.options.kept else { return };
        let scope = self.scope();
        let lent = kept.read(&scope).map(|membership| membership.locks).unwrap_or_default();
        if !locks.iter().any(|lock| lent.contains_key(&lock.path)) {
            return;
        }
        self.note(|membership| locks.iter().for_each(|lock| _ = membership.locks.remove(&lock.path))).await;
    }

    async fn note(&self, change: impl FnOnce(&mut Membership)) {
        let Some(kept) = &self.shared.options.kept else { return };
        if let Err(error) = kept.change(&self.scope(), change).await {
            tracing::warn!(%error, "the registry of agents cannot be written; locks of this turn end by themselves");
        }
    }
}
