//! How much of something each caller has, so that nobody takes what there is for all.
//!
//! In memory only. A caller is a session, or a connection without one; all who came with one token share as well. The
//! broker's own user is trusted, and is counted by session and by connection only. What must hold: who has nothing is
//! not remembered.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_core::Rejection;
use mesh_core::id::CredentialId;

use super::auth::{By, Caller};
use crate::queue::Lane;

/// The shares of all.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    of_caller: Bound,
    of_token: Bound,
    taken: Arc<Mutex<Taken>>,
}

/// How much one may have, and of what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) what: &'static str,
    pub(super) limit: usize,
}

#[derive(Debug, Default)]
struct Taken {
    callers: HashMap<Lane, usize>,
    tokens: HashMap<CredentialId, usize>,
}

/// Whose share it is.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    lane: Lane,
    token: Option<CredentialId>,
}

/// One share, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    holder: Holder,
    shares: Shares,
}

impl Holder {
    /// Who calls.
    pub(super) fn of(caller: &Caller) -> Self {
        let lane = Lane::of(caller.session, &caller.connection.alive);
        Self { lane, token: caller.token().cloned() }
    }

    /// On whose behalf something is asked.
    pub(super) fn behind(by: &By) -> Self {
        let token = by.credential.clone().filter(|credential| !credential.is_owner());
        Self { lane: by.lane, token }
    }

    /// One of many.
    #[cfg(test)]
    pub(super) fn nth(n: usize, token: Option<&str>) -> Self {
        let token = token.map(|token| CredentialId::parse(token).unwrap());
        Self { lane: Lane::Session(mesh_core::id::SessionId(uuid::Uuid::from_u128(n as u128))), token }
    }
}

impl Shares {
    pub(super) fn new(of_caller: Bound, of_token: Bound) -> Self {
        Self { of_caller, of_token, taken: Arc::default() }
    }

    /// A share, unless the caller or its token has as many as it may.
    pub(super) fn take(&self, holder: &Holder) -> Result<Share, Rejection> {
        let mut taken = self.taken();
        self.of_caller.check(taken.callers.get(&holder.lane))?;
        if let Some(token) = &holder.token {
            self.of_token.check(taken.tokens.get(token))?;
            *taken.tokens.entry(token.clone()).or_default() += 1;
        }
        *taken.callers.entry(holder.lane).or_default() += 1;
        Ok(Share { holder: holder.clone(), shares: self.clone() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bound {
    fn check(self, taken: Option<&usize>) -> Result<(), Rejection> {
        let Self { what, limit } = self;
        if taken.is_some_and(|taken| *taken >= limit) {
            return Err(Rejection::LimitReached { what, limit });
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        give_back(&mut taken.callers, &self.holder.lane);
        if let Some(token) = &self.holder.token {
            give_back(&mut taken.tokens, token);
        }
    }
}

fn give_back<K: Eq + Hash>(taken: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = taken.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            taken.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Option<&str> = Some("t-00000001");

    #[test]
    fn a_caller_and_a_token_have_their_share_and_give_it_back() {
        let bound = |what, limit| Bound { what, limit };
        let shares = Shares::new(bound("of a caller", 3), bound("of a token", 5));
        let take = |n: usize, token| shares.take(&Holder::nth(n, token));
        let refused = |what, limit| Rejection::LimitReached { what, limit };
        let first: Vec<_> = (0..3).map(|_| take(1, TOKEN).unwrap()).collect();
        assert_eq!(take(1, TOKEN).unwrap_err(), refused("of a caller", 3));
        let second: Vec<_> = (0..2).map(|_| take(2, TOKEN).unwrap()).collect();
        assert_eq!(take(2, TOKEN).unwrap_err(), refused("of a token", 5), "below its own bound");
        assert_eq!(take(3, TOKEN).unwrap_err(), refused("of a token", 5), "a new session of the token");
        let others = [take(4, Some("t-00000002")).unwrap(), take(5, None).unwrap()];
        drop(first);
        let again = take(1, TOKEN).unwrap();
        drop((second, others, again));
        let taken = shares.taken();
        assert!(taken.callers.is_empty() && taken.tokens.is_empty(), "{taken:?}");
    }
}
