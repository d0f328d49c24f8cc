//! What a shell command does to a checkout: the git commands in it that others who work in the same checkout would
//! notice, and the files that its patches name.
//!
//! Best effort, for the commands that agents write: sequences, pipes, subshells, `cd`, prefixes such as `sudo` and
//! `env`, `sh -c`, here-documents and substitutions are followed; variables, aliases, functions and loops are not. A
//! directory that cannot be known, such as `cd "$X"`, stays as it is written.

mod git;
mod lexer;
mod run;

use std::path::PathBuf;

use crate::{Edited, patch};

/// A git command that changes what others see in the same checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitMove {
    /// What is done, for a reader: `checkout`, `stash pop`, `worktree remove`.
    pub verb: String,
    /// Directory it is done in, relative to that of the whole command; `None` for that one itself.
    pub dir: Option<PathBuf>,
    /// What it changes.
    pub kind: Change,
}

/// What a git command changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// What is checked out: another branch or commit, or a rewritten one.
    Head,
    /// What is staged.
    Index,
    /// The stash, and with it changes that are not committed.
    Stash,
    /// Changes in files, which are thrown away.
    Files,
    /// Takes in all that has changed, whoever changed it: `commit -a`, `add -A`.
    Sweep,
    /// Untracked files are deleted.
    Clean,
    /// This worktree is deleted or moved; the path is relative like [`GitMove::dir`].
    WorktreeRemove(PathBuf),
}

/// The git commands within `command` that others in the same checkout would notice, in order.
///
/// Left out as harmless: what only looks (`stash list`, `clean -n`, `reset --help`), what adds to the history from what
/// is staged on purpose (`commit`, `commit -- PATH`, `add PATH`), and what git itself refuses for a branch that is
/// checked out anywhere (`branch -D`, `branch -f`).
pub fn git_moves(command: &str) -> Vec<GitMove> {
    run::runs(command).into_iter().filter_map(|run| git::moved(&run)).collect()
}

/// The files that patches within `command` name: `apply_patch` with a here-document, or with the patch as an argument.
/// Paths are relative to the directory of the whole command.
pub fn patched(command: &str) -> Vec<Edited> {
    if !patch::is_patch(command) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for run in run::runs(command) {
        if !matches!(run.program(), Some("apply_patch" | "applypatch")) {
            continue;
        }
        let texts = run.heredocs.iter().chain(&run.words).filter(|text| patch::is_patch(text));
        let dir = run.dir.as_deref().unwrap_or("".as_ref());
        found.extend(texts.flat_map(|text| patch::files(text)).map(|edited| edited.beneath(dir)));
    }
    found
}

#[cfg(test)]
mod tests;
