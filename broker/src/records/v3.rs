//! Values of format 3, in which nobody is told apart by what it was let in for.
//!
//! A peer, which is in records of its own, in events and in outcomes, and the items of the history do not tell their
//! credential; all else has the bytes it has in format 4, so what does not name a peer is read as that. Whoever was let in
//! then was the broker's own user, and so its peers are.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_core::event::{Event, PeerChange};
use mesh_core::id::{CredentialId, PeerName, RequestId, ResumeKey, ScopeId, SessionId, TopicName};
use mesh_core::outcome::Outcome;
use mesh_core::record::{Fingerprint, LogRecord, PeerInfo, PeerRecord, SessionEnd, SessionRecord};
use mesh_core::revision::{Revision, Sequence};
use mesh_core::time::{Timestamp, WallTime};
use serde::Deserialize;

use super::reader::Reader;
use crate::store::StoreError;

/// What a value of this format begins with.
pub(super) const FORMAT: [u8; 2] = [0x00, 0x03];

/// Places among the events, and among the outcomes, of those that name a peer.
pub(super) const PEER_JOINED: u32 = 0;
pub(super) const PEER_UPDATED: u32 = 1;
pub(super) const JOINED: u32 = 0;
pub(super) const UPDATED: u32 = 1;

/// A peer as it was stored, with what it told of itself; `PeerRecord` says what the fields are.
#[derive(Deserialize)]
pub(super) struct Peer<Info = PeerInfo> {
    scope: ScopeId,
    name: PeerName,
    info: Info,
    resume_key: Option<ResumeKey>,
    session: Option<SessionRecord>,
    joined: WallTime,
    ended: Option<SessionEnd>,
    acknowledged: Revision,
    topics: BTreeMap<TopicName, Revision>,
}

impl<Info: Into<PeerInfo>> From<Peer<Info>> for Arc<PeerRecord> {
    fn from(peer: Peer<Info>) -> Self {
        Self::new(PeerRecord {
            scope: peer.scope,
            name: peer.name,
            info: peer.info.into(),
            resume_key: peer.resume_key,
            session: peer.session,
            joined: peer.joined,
            ended: peer.ended,
            acknowledged: peer.acknowledged,
            topics: peer.topics,
            credential: CredentialId::unix(),
        })
    }
}

/// How an item of the history begins.
#[derive(Deserialize)]
struct Head {
    revision: Revision,
    scope: ScopeId,
    sequence: Sequence,
    prev_revision: Revision,
    actor: Option<PeerName>,
    session: Option<SessionId>,
    request_id: Option<RequestId>,
    fingerprint: Fingerprint,
    at: Timestamp,
    committed: WallTime,
    /// How many events follow.
    events: usize,
}

/// Reads a peer: the value without the bytes of its format.
pub(super) fn peer(bytes: &[u8]) -> Result<Arc<PeerRecord>, StoreError> {
    let mut reader = Reader::new(3, "peer", bytes);
    let peer: Peer = reader.take()?;
    reader.finish(peer.into())
}

/// Reads an item of the history: the value without the bytes of its format.
pub(super) fn log(bytes: &[u8]) -> Result<LogRecord, StoreError> {
    read_log(Reader::new(3, "history", bytes), event, outcome)
}

/// Reads an item of the history of this format or the one before, which differ in their events and outcomes only.
pub(super) fn read_log(
    mut reader: Reader<'_>,
    event: impl Fn(&mut Reader<'_>) -> Result<Event, StoreError>,
    outcome: impl Fn(&mut Reader<'_>) -> Result<Outcome, StoreError>,
) -> Result<LogRecord, StoreError> {
    let head: Head = reader.take()?;
    let events = (0..head.events).map(|_| event(&mut reader)).collect::<Result<_, _>>()?;
    let outcome = if reader.take()? { Some(outcome(&mut reader)?) } else { None };
    reader.finish(LogRecord {
        revision: head.revision,
        scope: head.scope,
        sequence: head.sequence,
        prev_revision: head.prev_revision,
        actor: head.actor,
        session: head.session,
        credential: None,
        request_id: head.request_id,
        fingerprint: head.fingerprint,
        at: head.at,
        committed: head.committed,
        events,
        outcome,
    })
}

fn event(reader: &mut Reader<'_>) -> Result<Event, StoreError> {
    match reader.peek()? {
        PEER_JOINED => {
            let (_, peer, resumed): (u32, Peer, bool) = reader.take()?;
            Ok(Event::PeerJoined { peer: peer.into(), resumed })
        }
        PEER_UPDATED => {
            let (_, peer, changed): (u32, Peer, PeerChange) = reader.take()?;
            Ok(Event::PeerUpdated { peer: peer.into(), changed })
        }
        _ => reader.take(),
    }
}

fn outcome(reader: &mut Reader<'_>) -> Result<Outcome, StoreError> {
    match reader.peek()? {
        JOINED => {
            let (_, peer, resumed, unread): (u32, Peer, bool, u32) = reader.take()?;
            Ok(Outcome::Joined { peer: peer.into(), resumed, unread })
        }
        UPDATED => {
            let (_, peer): (u32, Peer) = reader.take()?;
            Ok(Outcome::Updated { peer: peer.into() })
        }
        _ => reader.take(),
    }
}
