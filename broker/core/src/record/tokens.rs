//! Who may call: roles, and the tokens that give them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{CredentialId, ScopeId};
use crate::pattern::Pattern;
use crate::time::WallTime;

/// What a caller may do; each role may what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Read and watch.
    Observer,
    /// Join, and change what peers change.
    Member,
    /// Take locks away from others, and set policies.
    Maintainer,
    /// Everything: issue and revoke tokens, see every scope, stop the broker.
    Admin,
}

/// Digest of a token's secret, which is not stored.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenDigest(pub [u8; 32]);

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

/// A token: what its holder may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Its id, which is no secret.
    pub id: CredentialId,
    /// Tells the secret.
    pub digest: TokenDigest,
    /// What it is for, in the words of whoever created it.
    pub note: String,
    /// What its holder may do.
    pub role: Role,
    /// Which scopes its holder sees: those that one of these means.
    pub scopes: Vec<Pattern>,
    /// What its holder may be called.
    pub peers: Pattern,
    /// When it ends, on the wall clock; never, when there is none.
    pub expires: Option<WallTime>,
    /// When it was created, for display.
    pub created: WallTime,
    /// The credential of whoever created it.
    pub created_by: Option<CredentialId>,
}

impl TokenRecord {
    /// Whether its holder sees a scope.
    #[must_use]
    pub fn sees(&self, scope: &ScopeId) -> bool {
        self.role == Role::Admin
            || (!scope.is_reserved() && self.scopes.iter().any(|pattern| pattern.matches(scope.as_str())))
    }

    /// Whether it has ended by this moment of the wall clock.
    #[must_use]
    pub fn is_over(&self, wall: WallTime) -> bool {
        self.expires.is_some_and(|expires| expires <= wall)
    }

    /// About how many bytes it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        let scopes = self.scopes.iter().map(|scope| 32 + scope.as_str().len()).sum::<usize>();
        size_of::<Self>() + self.note.len() + scopes
    }
}
