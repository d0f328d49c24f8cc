//! What a host tells a hook.

use std::path::{Path, PathBuf};

use crate::Host;

/// One call of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The host that calls. It may differ from the one whose parser ran: VS Code runs the hooks of Claude Code.
    pub host: Host,
    /// The host's id of the session, the same for its sub-agents. Empty where the payload has none.
    pub session: String,
    /// The sub-agent that acts, starts or stops. `None` for the session's main agent.
    pub subagent: Option<Subagent>,
    /// Directory in which the agent works. Empty if neither payload nor environment tells: that of the process, then.
    pub cwd: PathBuf,
    /// Version of the host, where it tells.
    pub version: Option<String>,
    /// The host's own name of the event: hosts have several names for one [`Event`], with different answers.
    pub called: String,
    /// What happens.
    pub event: Event,
}

/// An agent that works for another within its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subagent {
    /// Unique within the session. Where a host tells only the kind, that: one of this kind is meant.
    pub id: String,
    /// The host's name of its kind. May be empty.
    pub kind: String,
}

/// A point in a session at which a hook runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session starts, or goes on with a new context.
    SessionStart(Source),
    /// The user has sent a prompt; a turn starts.
    Prompt,
    /// The agent is about to use a tool.
    BeforeTool(Tool),
    /// A tool has been used, with success as far as the host tells.
    AfterTool(Tool),
    /// A sub-agent starts.
    SubagentStart,
    /// A sub-agent has ended its work.
    SubagentStop,
    /// The agent is about to end its turn.
    Stop {
        /// Whether the turn already went on once because a hook wanted it.
        again: bool,
    },
    /// The turn ended by the user's hand or by an error: nothing can keep it going.
    Interrupted,
    /// The session ends.
    SessionEnd(End),
    /// Anything else: nothing is done about it, nothing is answered.
    Other,
}

/// Why a session starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is new.
    Startup,
    /// An earlier one is taken up again.
    Resume,
    /// The user emptied the context.
    Clear,
    /// The host summarized the context.
    Compact,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The user emptied the context; another session starts in this process.
    Clear,
    /// Another session is taken up in this process.
    Resume,
    /// The process ends.
    Quit,
}

/// What a tool is used for. Relative paths are joined with the directory they are relative to; they are not
/// normalized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Writes files; at least one.
    Edit(Vec<Edited>),
    /// Reads files, at least one. A path may turn out to be a directory.
    Read(Vec<PathBuf>),
    /// Runs a shell command.
    Shell {
        /// The command, as the shell gets it.
        command: String,
        /// Directory that the host runs it in, if it names another than [`Call::cwd`].
        cwd: Option<PathBuf>,
        /// Files that patches within the command write (`apply_patch <<'EOF'`).
        edits: Vec<Edited>,
    },
    /// Something else.
    Other,
}

impl Tool {
    /// The files that the tool writes, as far as can be told beforehand.
    pub fn edits(&self) -> &[Edited] {
        match self {
            Self::Edit(edits) | Self::Shell { edits, .. } => edits,
            Self::Read(_) | Self::Other => &[],
        }
    }
}

/// A file that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// The file.
    pub path: PathBuf,
    /// How it is written.
    pub how: How,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A part is replaced; the rest stays.
    Partial,
    /// The whole content is replaced, or made if there was none.
    Whole,
    /// A new file is made. Some tools overwrite a file that is there.
    Create,
    /// The file is deleted, or moved away.
    Delete,
}

impl Edited {
    /// `path` as seen from `base`.
    pub(crate) fn beneath(self, base: &Path) -> Self {
        Self { path: base.join(self.path), how: self.how }
    }
}
