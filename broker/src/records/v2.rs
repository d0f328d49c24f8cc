//! Values of format 2, in which a peer tells less of itself.
//!
//! A peer is in records of its own, in events and in outcomes; all else has the bytes it has in format 3, so what does
//! not name a peer is read as that. The history goes on: of a change of a peer it does not tell what was changed.

use std::sync::Arc;

use mesh_core::event::{Event, PeerChange};
use mesh_core::id::{MessageId, PeerName};
use mesh_core::outcome::{Delivery, Outcome};
use mesh_core::record::{Activity, LogRecord, PeerInfo, PeerRecord};
use mesh_core::revision::Revision;
use mesh_core::target::Target;
use mesh_core::time::WallTime;
use serde::Deserialize;

use super::reader::Reader;
use super::v3::{self, JOINED, PEER_JOINED, PEER_UPDATED, UPDATED};
use crate::store::StoreError;

/// What a value of this format begins with.
pub(super) const FORMAT: [u8; 2] = [0x00, 0x02];

/// Place among the outcomes of one that was other than it is.
const SENT: u32 = 3;

/// A peer as it was stored.
pub(super) type Peer = v3::Peer<Info>;

#[derive(Deserialize)]
pub(super) struct Info {
    agent_kind: String,
    agent_version: String,
    host: String,
    pid: u32,
    worktree: String,
    branch: String,
    head: String,
    focus: String,
    files: Vec<Target>,
}

impl From<Info> for PeerInfo {
    fn from(info: Info) -> Self {
        Self {
            agent_kind: info.agent_kind,
            agent_version: info.agent_version,
            host: info.host,
            pid: info.pid,
            worktree: info.worktree,
            branch: info.branch,
            head: info.head,
            focus: info.focus,
            files: info.files,
            ..Self::default()
        }
    }
}

/// What was told of a message that was sent.
#[derive(Deserialize)]
struct Sent {
    id: MessageId,
    deliveries: Vec<(PeerName, Option<WallTime>)>,
    online: u32,
    revision: Revision,
    duplicate: bool,
}

impl From<Sent> for Outcome {
    fn from(sent: Sent) -> Self {
        let delivery = |(peer, offline_since)| Delivery {
            peer,
            offline_since,
            activity: Activity::Unknown,
            wake: String::new(),
        };
        Self::Sent {
            id: sent.id,
            deliveries: sent.deliveries.into_iter().map(delivery).collect(),
            online: sent.online,
            revision: sent.revision,
            duplicate: sent.duplicate,
        }
    }
}

/// Reads a peer: the value without the bytes of its format.
pub(super) fn peer(bytes: &[u8]) -> Result<Arc<PeerRecord>, StoreError> {
    let mut reader = Reader::new(2, "peer", bytes);
    let peer: Peer = reader.take()?;
    reader.finish(peer.into())
}

/// Reads an item of the history: the value without the bytes of its format.
pub(super) fn log(bytes: &[u8]) -> Result<LogRecord, StoreError> {
    v3::read_log(Reader::new(2, "history", bytes), event, outcome)
}

fn event(reader: &mut Reader<'_>) -> Result<Event, StoreError> {
    match reader.peek()? {
        PEER_JOINED => {
            let (_, peer, resumed): (u32, Peer, bool) = reader.take()?;
            Ok(Event::PeerJoined { peer: peer.into(), resumed })
        }
        PEER_UPDATED => {
            let (_, peer): (u32, Peer) = reader.take()?;
            Ok(Event::PeerUpdated { peer: peer.into(), changed: PeerChange::default() })
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
        SENT => {
            let (_, sent): (u32, Sent) = reader.take()?;
            Ok(sent.into())
        }
        _ => reader.take(),
    }
}
