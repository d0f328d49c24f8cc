//! Contracts: what a lock on a subject is about, kept as the entry `contract/SUBJECT`.

use super::{Change, State};
use crate::id::PeerName;
use crate::record::Contract;
use crate::target::Target;
use crate::time::Now;

impl State {
    /// Adds the writes and events that make a text the contract of a subject, whoever wrote the one before.
    pub(super) fn write_contract(
        &self,
        _change: &mut Change,
        _subject: &Target,
        _contract: &Contract,
        _writer: &PeerName,
        _now: Now,
    ) {
    }
}
