//! Tokens: which there are, how one is issued, and how it is taken back.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Change, State, Step};
use crate::event::Event;
use crate::id::{CredentialId, ScopeId};
use crate::limits;
use crate::outcome::Outcome;
use crate::record::{Record, RecordKey, TokenRecord, Write};
use crate::rejection::Rejection;
use crate::time::{Now, WallTime};

/// All tokens, by id.
#[derive(Clone, Debug, Default)]
pub struct Tokens(BTreeMap<CredentialId, Arc<TokenRecord>>);

impl Tokens {
    /// A token by its id.
    #[must_use]
    pub fn get(&self, id: &CredentialId) -> Option<&Arc<TokenRecord>> {
        self.0.get(id)
    }

    /// All of them, by id.
    pub fn list(&self) -> impl Iterator<Item = &Arc<TokenRecord>> {
        self.0.values()
    }

    /// Whether a token is there and has not ended.
    #[must_use]
    pub fn is_good(&self, id: &CredentialId, wall: WallTime) -> bool {
        self.get(id).is_some_and(|token| !token.is_over(wall))
    }

    pub(super) fn insert(&mut self, token: &Arc<TokenRecord>) {
        self.0.insert(token.id.clone(), token.clone());
    }

    pub(super) fn remove(&mut self, id: &CredentialId) {
        self.0.remove(id);
    }
}

impl State {
    pub(super) fn decide_create_token(
        &self,
        by: Option<&CredentialId>,
        token: &TokenRecord,
        now: Now,
    ) -> Result<Step, Rejection> {
        if self.tokens.0.len() >= limits::TOKENS {
            return Err(Rejection::LimitReached { what: "tokens", limit: limits::TOKENS });
        }
        if self.tokens.get(&token.id).is_some() || token.id.is_owner() {
            return Err(Rejection::invalid("id", "is that of another token; try again"));
        }
        if token.is_over(now.wall) {
            return Err(Rejection::invalid("expire_time", "lies in the past"));
        }
        let token = Arc::new(TokenRecord { created: now.wall, created_by: by.cloned(), ..token.clone() });
        let change = Change::new(ScopeId::admin(), None, Outcome::TokenCreated { token: token.clone() });
        Ok(Step::Change(Change {
            writes: vec![Write::Put(Record::Token(token.clone()))],
            events: vec![Event::TokenCreated { token }],
            ..change
        }))
    }

    pub(super) fn decide_revoke_token(&self, id: &CredentialId) -> Result<Step, Rejection> {
        let token = self.tokens.get(id).ok_or_else(|| Rejection::TokenNotFound { id: id.clone() })?;
        let change = Change::new(ScopeId::admin(), None, Outcome::Done);
        Ok(Step::Change(Change {
            writes: vec![Write::Delete(RecordKey::Token(id.clone()))],
            events: vec![Event::TokenRevoked { id: id.clone(), note: token.note.clone() }],
            ..change
        }))
    }
}
