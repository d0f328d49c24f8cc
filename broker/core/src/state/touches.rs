//! Touches: who has read or edited which file lately, and on which branch.

use std::sync::Arc;

use super::{State, Step};
use crate::command::Touch;
use crate::id::ScopeId;
use crate::outcome::Outcome;
use crate::record::{PeerRecord, TouchKey, TouchRecord};
use crate::rejection::Rejection;
use crate::target::Target;
use crate::time::Now;

/// All touches.
#[derive(Clone, Debug, Default)]
pub struct Touches {}

impl Touches {
    /// Touches of files that overlap a target, in no order that matters.
    pub fn about<'a>(
        &'a self,
        _scope: &ScopeId,
        _target: &'a Target,
    ) -> impl Iterator<Item = &'a Arc<TouchRecord>> {
        std::iter::empty()
    }
}

impl State {
    pub(super) fn decide_touch(
        &self,
        _caller: &Arc<PeerRecord>,
        _touch: &Touch,
        _now: Now,
    ) -> Result<Step, Rejection> {
        Err(Rejection::invalid("touches", "STUB"))
    }

    pub(super) fn decide_touch_expiry(&self, _key: &TouchKey, _now: Now) -> Step {
        Step::Answer(Outcome::Done)
    }

    pub(super) fn apply_touch(&mut self, _record: &Arc<TouchRecord>) {}

    pub(super) fn remove_touch(&mut self, _key: &TouchKey) {}
}
