//! Values of format 1, as brokers of version 0.1 have written them.
//!
//! Up to format 2 the records of the state have grown at their ends only, by what is zero in postcard when there is none
//! of it, so an old one is read with zeros after it. What the history tells cannot be read that way: of its items only the
//! place and the time are taken, and readers of the history begin after them.

use mesh_core::id::{PeerName, RequestId, ScopeId, SessionId};
use mesh_core::record::{Fingerprint, Record};
use mesh_core::revision::{Revision, Sequence};
use mesh_core::time::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{ENTRY, LOCK, MESSAGE, OldLog, PEER, SCOPE, unknown, v2};
use crate::store::StoreError;

/// The bytes of no topics, no ticket, no thread and no paths, no hand-over: more than the longest of them.
const NOTHING: [u8; 4] = [0; 4];

/// Reads a record of the state.
pub(super) fn decode(kind: u8, value: &[u8]) -> Result<Record, StoreError> {
    Ok(match kind {
        SCOPE => Record::Scope(parse("scope", value, 1)?),
        PEER => Record::Peer(parse::<v2::Peer>("peer", value, 1)?.into()),
        LOCK => Record::Lock(parse("lock", value, 1)?),
        ENTRY => Record::Entry(parse("entry", value, 0)?),
        MESSAGE => Record::Message(parse("message", value, 2)?),
        kind => return Err(unknown(Some(&kind))),
    })
}

/// How an item of the history begins.
#[derive(Deserialize)]
struct Head {
    revision: Revision,
    _scope: ScopeId,
    _sequence: Sequence,
    _prev_revision: Revision,
    _actor: Option<PeerName>,
    _session: Option<SessionId>,
    _request_id: Option<RequestId>,
    _fingerprint: Fingerprint,
    at: Timestamp,
}

/// Reads the beginning of an item of the history.
pub(super) fn log(value: &[u8]) -> Result<OldLog, StoreError> {
    let (head, _events) =
        postcard::take_from_bytes::<Head>(value).map_err(|error| unreadable("history", error))?;
    Ok(OldLog { revision: head.revision, at: head.at })
}

/// Reads a record that has since grown by so many bytes when there is nothing in them.
fn parse<T: DeserializeOwned>(what: &str, value: &[u8], grown: usize) -> Result<T, StoreError> {
    let mut bytes = value.to_vec();
    bytes.extend_from_slice(&NOTHING[..grown]);
    match postcard::take_from_bytes(&bytes) {
        Ok((record, [])) => Ok(record),
        Ok((_, rest)) => Err(unreadable(what, format_args!("{} bytes too many", rest.len()))),
        Err(error) => Err(unreadable(what, error)),
    }
}

fn unreadable(what: &str, error: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt { what: format!("a {what} record of format 1 cannot be read: {error}") }
}
