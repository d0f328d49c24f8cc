//! What a look at the locks tells: whether one could be had, and whether a token is good.

use std::sync::Arc;

use super::outlook::{Outlook, Wish};
use crate::id::{PeerName, ScopeId};
use crate::record::{LockMode, LockRecord};
use crate::revision::FencingToken;
use crate::state::State;
use crate::target::Target;

impl State {
    /// Whether a peer could have a lock at once; any peer, if none is named.
    #[must_use]
    pub fn is_free(&self, scope: &ScopeId, peer: Option<&PeerName>, target: &Target, mode: LockMode) -> bool {
        let wish = Wish { peer, targets: std::slice::from_ref(target), mode, ticket: None };
        Outlook::new(self, scope.clone()).grants(&wish)
    }

    /// The live lock with this token that covers the target; or else the overlapping lock with the largest token.
    pub fn check_fence(
        &self,
        scope: &ScopeId,
        target: &Target,
        token: FencingToken,
    ) -> Result<Arc<LockRecord>, Option<Arc<LockRecord>>> {
        let good = |lock: &&Arc<LockRecord>| {
            lock.token == token && lock.target.covers(target) && !self.lingers(lock)
        };
        if let Some(lock) = self.locks.overlapping(scope, target).find(good) {
            return Ok(lock.clone());
        }
        Err(self.locks.overlapping(scope, target).max_by_key(|lock| lock.token).cloned())
    }
}
