//! What the registry keeps of one agent session.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Process;
use crate::SavedSession;

/// Ids of a session that are remembered: each `/clear` brings a new one.
const SESSIONS: usize = 64;

/// One agent session, as its processes share it. Holds secrets: mode 0600.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Kind of agent.
    pub kind: String,
    /// The key under which it joins: being this peer, a secret.
    pub key: String,
    /// The host's ids of it, the latest last.
    pub sessions: Vec<String>,
    /// The process that it ran in last.
    pub process: Option<Process>,
    /// The machine or container of that process.
    pub machine: String,
    /// Hooks report on it, so that its end is known by them and not by the end of its MCP server.
    pub hooked: bool,
    /// The process above the last hook.
    pub caller: Option<Process>,
    /// The process above two hooks in turn: the agent itself, and nothing that a host runs for one hook only. Its end is
    /// the agent's.
    pub steady: Option<Process>,
    /// It has ended, and nothing has begun it again.
    pub ended: bool,
    /// What it is on the mesh, by endpoint and scope.
    pub memberships: BTreeMap<String, Membership>,
}

/// What an agent session is in one scope of one mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The session that all its processes use.
    pub session: SavedSession,
    /// Mail up to this revision has been shown by a hook or a wake.
    #[serde(default)]
    pub shown: u64,
    /// While a wake hands mail over: up to where mail had been shown before. The rest may yet come back, and is not
    /// acknowledged.
    #[serde(default)]
    pub handing: Option<u64>,
    /// Mail up to this revision is acknowledged.
    #[serde(default)]
    pub acknowledged: u64,
    /// Events up to this revision have been looked at.
    #[serde(default)]
    pub looked: u64,
    /// The lease that the session has, in seconds: whoever joins again asks for no less.
    #[serde(default)]
    pub lease_seconds: u64,
    /// Locks that hooks took before an edit, with their fencing tokens; they end with the turn.
    #[serde(default)]
    pub locks: BTreeMap<String, u64>,
    /// Release requests and urgent mail for which a turn was not let end, so that it is done once for each.
    #[serde(default)]
    pub held_up: BTreeSet<u64>,
    /// Sub-agents at work: their ids and kinds.
    #[serde(default)]
    pub children: BTreeMap<String, String>,
    /// How the agent is woken, as was told last by who joined or by who wakes it.
    #[serde(default)]
    pub wake: String,
    /// The agent is in a turn: its hooks bring the news, and nothing need wake it.
    #[serde(default)]
    pub working: bool,
    /// The revision at which the turn began.
    #[serde(default)]
    pub turn: u64,
    /// What `git status` said before the first shell command of the turn: paths, and what tells their state.
    #[serde(default)]
    pub unclean: Option<BTreeMap<String, u64>>,
    /// The agent had crashed, and its session was ended for it.
    #[serde(default)]
    pub ended: bool,
    /// Files that hooks have reported as edited in this turn.
    #[serde(default)]
    pub edited: BTreeSet<String>,
    /// Files cleared for an edit under locks that the agent had taken itself, until a hook reports the edit.
    #[serde(default)]
    pub editing: BTreeSet<String>,
}

impl Membership {
    /// A session that has just begun, at this revision.
    pub fn new(session: SavedSession, revision: u64) -> Self {
        Self {
            session,
            shown: 0,
            handing: None,
            acknowledged: 0,
            looked: revision,
            lease_seconds: 0,
            locks: BTreeMap::new(),
            held_up: BTreeSet::new(),
            children: BTreeMap::new(),
            wake: String::new(),
            working: false,
            turn: revision,
            unclean: None,
            ended: false,
            edited: BTreeSet::new(),
            editing: BTreeSet::new(),
        }
    }
}

impl Record {
    /// Notes that a hook reports on it, from below a process; false when that is nothing new.
    pub fn hook_from(&mut self, caller: Option<Process>) -> bool {
        let steady = if self.caller == caller { caller } else { self.steady };
        let is_new = !self.hooked || self.caller != caller || self.steady != steady;
        (self.hooked, self.caller, self.steady) = (true, caller, steady);
        is_new
    }

    /// Remembers an id of the session, as the latest.
    pub(super) fn add_session(&mut self, session: &str) {
        self.sessions.retain(|known| known != session);
        self.sessions.push(session.to_owned());
        let surplus = self.sessions.len().saturating_sub(SESSIONS);
        self.sessions.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_the_agent_when_two_hooks_in_turn_have_it() {
        let process = |pid| Some(Process { pid, started: 1 });
        let mut record = Record::default();
        assert!(record.hook_from(process(1)));
        assert_eq!(record.steady, None);
        assert!(record.hook_from(process(2)));
        assert_eq!(record.steady, None);
        assert!(record.hook_from(process(2)));
        assert_eq!(record.steady, process(2));
        assert!(!record.hook_from(process(2)));
    }
}
