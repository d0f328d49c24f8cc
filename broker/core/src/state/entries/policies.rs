//! Policies: how writes to keys that begin with a prefix treat each other.

use std::sync::Arc;

use crate::command::SetPolicy;
use crate::event::Event;
use crate::id::ScopeId;
use crate::limits;
use crate::outcome::Outcome;
use crate::record::{PeerRecord, PolicyRecord, Record, RecordKey, Write};
use crate::rejection::Rejection;
use crate::state::{Change, State, Step};

use super::rules::writable;

impl State {
    pub(in crate::state) fn decide_set_policy(
        &self,
        caller: &Arc<PeerRecord>,
        policy: &SetPolicy,
    ) -> Result<Step, Rejection> {
        let scope = writable(caller, policy.scope.as_ref())?;
        let prefix = policy.prefix.clone();
        let former = self.entries.policies(&scope).find(|former| former.prefix == prefix);
        if former.map(|former| former.kind) == policy.kind {
            return Ok(Step::Answer(Outcome::Done));
        }
        if former.is_none() && self.entries.policies(&scope).count() >= limits::POLICIES_PER_SCOPE {
            let what = "policies in one scope";
            return Err(Rejection::LimitReached { what, limit: limits::POLICIES_PER_SCOPE });
        }
        let write = match policy.kind {
            Some(kind) => {
                let (scope, prefix) = (scope.clone(), prefix.clone());
                Write::Put(Record::Policy(PolicyRecord { scope, prefix, kind }))
            }
            None => Write::Delete(RecordKey::Policy(scope.clone(), prefix.clone())),
        };
        Ok(Step::Change(Change {
            writes: vec![write],
            events: vec![Event::PolicyChanged { prefix, kind: policy.kind }],
            ..Change::new(scope, Some(caller.name.clone()), Outcome::Done)
        }))
    }

    pub(in crate::state) fn apply_policy(&mut self, record: &PolicyRecord) {
        self.entries.with_shelf(&record.scope, |shelf| {
            shelf.policies.insert(record.prefix.clone(), record.clone());
        });
    }

    pub(in crate::state) fn remove_policy(&mut self, scope: &ScopeId, prefix: &str) {
        self.entries.with_shelf(scope, |shelf| {
            shelf.policies.remove(prefix);
        });
    }
}
