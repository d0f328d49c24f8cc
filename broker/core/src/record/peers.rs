//! Peers and their sessions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::LeaveCause;
use crate::id::{CredentialId, PeerName, ResumeKey, ScopeId, SessionId, TopicName};
use crate::revision::Revision;
use crate::target::Target;
use crate::time::{Millis, Timestamp, WallTime};

/// A peer of the mesh.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PeerKey {
    /// Its scope.
    pub scope: ScopeId,
    /// Its name there.
    pub name: PeerName,
}

/// What a peer says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// Kind of agent.
    pub agent_kind: String,
    /// Version of the agent program.
    pub agent_version: String,
    /// Machine.
    pub host: String,
    /// Process id; 0 when unknown.
    pub pid: u32,
    /// Absolute path of the checkout.
    pub worktree: String,
    /// Git branch; empty when unknown.
    pub branch: String,
    /// Abbreviated commit.
    pub head: String,
    /// What it is doing.
    pub focus: String,
    /// What it is working on.
    pub files: Vec<Target>,
    /// Whether it is in a turn. Unknown when offline.
    pub activity: Activity,
    /// How it is woken while idle; empty when it is not, or offline.
    pub wake: String,
    /// Sub-agents that act as the peer, no id twice; none when offline.
    pub children: Vec<ChildAgent>,
}

/// Whether an agent is at work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activity {
    /// Not known.
    #[default]
    Unknown,
    /// It is in a turn.
    Working,
    /// It waits for its user.
    Idle,
}

/// A sub-agent that acts as its peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildAgent {
    /// Id that its host gave it.
    pub id: String,
    /// Kind of sub-agent.
    pub kind: String,
    /// What it is doing.
    pub focus: String,
}

impl ChildAgent {
    /// About how many bytes it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.id.len() + self.kind.len() + self.focus.len()
    }
}

impl PeerInfo {
    /// What is true of a session only ends with it.
    pub(crate) fn end_session(&mut self) {
        self.activity = Activity::Unknown;
        self.wake.clear();
        self.children.clear();
    }
}

/// A live session of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Its id.
    pub id: SessionId,
    /// How long it lives without a sign of life.
    pub ttl: Millis,
    /// When it began, for display.
    pub joined: WallTime,
}

/// How a peer's last session ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEnd {
    /// The session.
    pub session: SessionId,
    /// Why it ended.
    pub cause: LeaveCause,
    /// When, for deadlines.
    pub at: Timestamp,
    /// When, for display.
    pub wall: WallTime,
}

/// A peer: durable, with or without a live session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRecord {
    /// Its scope.
    pub scope: ScopeId,
    /// Its name.
    pub name: PeerName,
    /// What it says of itself.
    pub info: PeerInfo,
    /// What makes a later session the same peer.
    pub resume_key: Option<ResumeKey>,
    /// Its live session.
    pub session: Option<SessionRecord>,
    /// When its last session began, for display.
    pub joined: WallTime,
    /// How its last session ended, if one has.
    pub ended: Option<SessionEnd>,
    /// Its inbox cursor: everything up to here is read. Starts at the revision of its first join.
    pub acknowledged: Revision,
    /// Topics it follows, with the revision since when. [`TopicName::notes`] is followed by all and not in here.
    pub topics: BTreeMap<TopicName, Revision>,
    /// What its last session was let in for. It belongs to whoever has that, and to the broker's own user.
    pub credential: CredentialId,
}

impl PeerRecord {
    /// About how many bytes it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        let info = &self.info;
        let files = info.files.iter().map(|file| 32 + file.as_str().len()).sum::<usize>();
        let children = info.children.iter().map(ChildAgent::weight).sum::<usize>();
        size_of::<Self>() + info.worktree.len() + info.branch.len() + info.focus.len() + files + children
    }

    /// Names the peer.
    #[must_use]
    pub fn key(&self) -> PeerKey {
        PeerKey { scope: self.scope.clone(), name: self.name.clone() }
    }
}
