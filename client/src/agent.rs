//! Which peer an agent session is, for all its processes: hooks, MCP adapter, commands in its shell.
//!
//! A session of an agent is many processes, most of them short-lived, and none of them is the agent. What they share
//! is what the host tells of itself: an id of the session, the process of the agent, or both. The registry, files in
//! the home's `agents/`, keeps which of these belong together, with the session on the mesh that they all use.
//!
//! What must hold: two sessions of an agent never share a record, and one session never has two, whichever of its
//! processes comes first and whichever of the two names it knows. A record is changed only under its lock.

mod dead;
mod membership;
mod process;
mod record;
mod registry;
mod seen;

pub use self::dead::unreported;
pub use self::membership::Kept;
pub use self::process::Process;
pub use self::record::{Membership, Record};
pub use self::registry::{Agent, Continues, Guard, Registry};
pub use self::seen::{Look, Seen, state_of};

/// What a process knows of the agent session that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Kind of agent: `claude-code`, `codex`, …
    pub kind: String,
    /// The host's id of the session.
    pub session: Option<String>,
    /// The process of the agent.
    pub process: Option<Process>,
}

/// Variables in which hosts name their session to the commands that the agent runs, with the kind of agent; where
/// one agent runs inside another, the first that is set counts.
const SESSION_VARIABLES: [(&str, &str); 3] = [
    ("CODEX_SESSION_ID", "codex"),
    ("GEMINI_SESSION_ID", "gemini"),
    ("CLAUDE_CODE_SESSION_ID", "claude-code"),
];

impl Identity {
    /// The agent that runs this process as a command of its shell, by what the host put into the environment.
    pub fn of_shell(var: impl Fn(&str) -> Option<String>) -> Option<Self> {
        SESSION_VARIABLES.iter().find_map(|(name, kind)| {
            let session = var(name).filter(|value| !value.is_empty())?;
            let pid = var("CLAUDE_PID").filter(|_| *kind == "claude-code");
            let process = pid.and_then(|pid| Process::of(pid.parse().ok()?));
            Some(Self { kind: (*kind).to_owned(), session: Some(session), process })
        })
    }
}
