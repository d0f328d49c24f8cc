//! What hooks do for the session of an agent: they join, inform, guard, report and wake, so that the agent need not
//! remember anything.
//!
//! Modules in reading order: `run` (one call of a hook, from standard input to the exit code), `desk` (what belongs to
//! the call: project, agent session, session on the mesh), `project` (checkout, scope, settings), `files` (the names of
//! paths in their checkouts), then one module per
//! thing that is done: `start` (orientation), `news` (mail and events since the last look), `guard` (before an edit),
//! `git` (before a git command), `touched` (after an edit), `turn` (beginning, end, sub-agents), `wake` (an idle agent).
//!
//! What must hold:
//! * A hook never stops the agent's work by failing: whatever goes wrong, the host is answered as if there were no hook,
//!   within the time that the host hardly notices, and the user is told once.
//! * Only what names a thing leaves the session: paths, branch, worktree, names and times. Never a prompt, a command, the
//!   contents of a file or a transcript.
//! * What other peers wrote is shown as quoted data.

mod desk;
mod files;
mod git;
mod guard;
mod news;
mod problem;
mod project;
mod run;
mod start;
mod touched;
mod turn;
mod wake;

pub use self::run::run;
