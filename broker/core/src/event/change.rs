//! What is new of a peer.

use serde::{Deserialize, Serialize};

use crate::record::{ChildAgent, PeerRecord};

/// What a peer says that it has not said before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerChange {
    /// What is another than before; nothing when that is not known.
    pub fields: Vec<PeerField>,
    /// Ids of the sub-agents that are new.
    pub started: Vec<String>,
    /// The sub-agents that are gone.
    pub ended: Vec<ChildAgent>,
}

/// Something that a peer may change of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerField {
    /// Kind of agent.
    AgentKind,
    /// Version of the agent program.
    AgentVersion,
    /// Machine.
    Host,
    /// Process id.
    Pid,
    /// Checkout.
    Worktree,
    /// Branch.
    Branch,
    /// Commit.
    Head,
    /// What it is doing.
    Focus,
    /// What it is working on.
    Files,
    /// Whether it is in a turn.
    Activity,
    /// How it is woken while idle.
    Wake,
    /// Sub-agents that act as it.
    Children,
    /// Lease of its session.
    LeaseTtl,
    /// Topics it follows.
    Topics,
}

impl PeerChange {
    /// What a peer says by now that it did not say before.
    #[must_use]
    pub fn between(before: &PeerRecord, after: &PeerRecord) -> Self {
        let (old, new) = (&before.info, &after.info);
        let lease = |peer: &PeerRecord| peer.session.as_ref().map(|session| session.ttl);
        let fields = [
            (PeerField::AgentKind, old.agent_kind != new.agent_kind),
            (PeerField::AgentVersion, old.agent_version != new.agent_version),
            (PeerField::Host, old.host != new.host),
            (PeerField::Pid, old.pid != new.pid),
            (PeerField::Worktree, old.worktree != new.worktree),
            (PeerField::Branch, old.branch != new.branch),
            (PeerField::Head, old.head != new.head),
            (PeerField::Focus, old.focus != new.focus),
            (PeerField::Files, old.files != new.files),
            (PeerField::Activity, old.activity != new.activity),
            (PeerField::Wake, old.wake != new.wake),
            (PeerField::Children, old.children != new.children),
            (PeerField::LeaseTtl, lease(before) != lease(after)),
            (PeerField::Topics, before.topics != after.topics),
        ];
        let is_in = |child: &ChildAgent, list: &[ChildAgent]| list.iter().any(|other| other.id == child.id);
        let started = new.children.iter().filter(|child| !is_in(child, &old.children));
        let ended = old.children.iter().filter(|child| !is_in(child, &new.children));
        Self {
            fields: fields.into_iter().filter_map(|(field, changed)| changed.then_some(field)).collect(),
            started: started.map(|child| child.id.clone()).collect(),
            ended: ended.cloned().collect(),
        }
    }

    /// About how many bytes it takes in memory.
    pub(super) fn weight(&self) -> usize {
        let started = self.started.iter().map(|id| size_of::<String>() + id.len()).sum::<usize>();
        self.fields.len() + started + self.ended.iter().map(ChildAgent::weight).sum::<usize>()
    }
}
