//! What came of a run, from the logs of its agents and the files they leave.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::agent::{Mode, name_of};
use super::log::{Line, Why};

/// Counts of one run.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) mode: Mode,
    pub(super) wall: Duration,
    /// Edits that their tool has called done.
    pub(super) edits: usize,
    /// Those of them that are not in their file at the end.
    pub(super) lost: Vec<String>,
    /// Edits that are in a file more than once.
    pub(super) doubled: usize,
    pub(super) crashes: usize,
    /// Edits of a file that another agent had edited in another worktree since this one last did, and those of which
    /// this one was not told.
    pub(super) collisions: usize,
    pub(super) untold: usize,
    pub(super) refused: BTreeMap<Why, usize>,
    /// Calls of tools of the host and of the mesh, and runs of hooks.
    pub(super) tools: usize,
    pub(super) mesh_tools: usize,
    pub(super) hooks: usize,
    /// Milliseconds of each hook.
    pub(super) hook_millis: Vec<f64>,
    /// Milliseconds spent in tools of the mesh: waiting for locks, nearly all.
    pub(super) mesh_millis: f64,
    /// All that hooks and tools of the mesh gave the model to read, and what it wrote to the latter.
    pub(super) texts: Vec<String>,
    pub(super) faults: Vec<String>,
}

struct Edit<'a> {
    agent: usize,
    mark: &'a str,
    file: usize,
    tree: usize,
    at: u64,
    told: bool,
}

/// Counts.
pub(super) fn of(mode: Mode, wall: Duration, logs: &[Vec<Line>], trees: &[PathBuf]) -> Result<Outcome> {
    let mut outcome = Outcome {
        mode,
        wall,
        edits: 0,
        lost: vec![],
        doubled: 0,
        crashes: 0,
        collisions: 0,
        untold: 0,
        refused: BTreeMap::new(),
        tools: 0,
        mesh_tools: 0,
        hooks: 0,
        hook_millis: vec![],
        mesh_millis: 0.0,
        texts: vec![],
        faults: vec![],
    };
    let mut edits: Vec<Edit<'_>> = Vec::new();
    for (agent, lines) in logs.iter().enumerate() {
        let mut told = BTreeSet::new();
        for line in lines {
            outcome.count(line);
            match line {
                // Another session does not know what the one before was told.
                Line::Begins { resumed: false, .. } => told.clear(),
                Line::Told { file } => _ = told.insert(*file),
                Line::Edit { mark, file, tree, at, .. } => {
                    let told = told.remove(file);
                    edits.push(Edit { agent, mark, file: *file, tree: *tree, at: *at, told });
                }
                Line::Begins { .. }
                | Line::Hook { .. }
                | Line::Mesh { .. }
                | Line::Tool { .. }
                | Line::Refused { .. }
                | Line::Crash { .. }
                | Line::Fault { .. } => {}
            }
        }
    }
    edits.sort_by_key(|edit| edit.at);
    outcome.edits = edits.len();
    outcome.find_lost(&edits, trees)?;
    outcome.find_collisions(&edits);
    Ok(outcome)
}

impl Outcome {
    fn count(&mut self, line: &Line) {
        match line {
            Line::Hook { millis, text, .. } => {
                self.hooks += 1;
                self.hook_millis.push(*millis);
                self.texts.push(text.clone());
            }
            Line::Mesh { millis, asked, text, .. } => {
                self.mesh_tools += 1;
                self.mesh_millis += millis;
                self.texts.extend([asked.clone(), text.clone()]);
            }
            Line::Tool { .. } => self.tools += 1,
            Line::Refused { why } => *self.refused.entry(*why).or_default() += 1,
            Line::Crash { .. } => self.crashes += 1,
            Line::Fault { text } => self.faults.push(text.clone()),
            Line::Begins { .. } | Line::Told { .. } | Line::Edit { .. } => {}
        }
    }

    fn find_lost(&mut self, edits: &[Edit<'_>], trees: &[PathBuf]) -> Result<()> {
        let mut texts: BTreeMap<(usize, usize), String> = BTreeMap::new();
        for edit in edits {
            let text = match texts.entry((edit.tree, edit.file)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    new.insert(std::fs::read_to_string(trees[edit.tree].join(name_of(edit.file)))?)
                }
            };
            match text.lines().filter(|line| *line == edit.mark).count() {
                0 => self.lost.push(format!("{} in {} of tree {}", edit.mark, name_of(edit.file), edit.tree)),
                1 => {}
                _ => self.doubled += 1,
            }
        }
        Ok(())
    }

    /// In the order in which edits were made, which with the mesh is that of their locks.
    fn find_collisions(&mut self, edits: &[Edit<'_>]) {
        for (at, edit) in edits.iter().enumerate() {
            let before = edits[..at].iter().rev().filter(|other| other.file == edit.file);
            let since = before.take_while(|other| other.agent != edit.agent);
            if since.into_iter().any(|other| other.tree != edit.tree) {
                self.collisions += 1;
                self.untold += usize::from(!edit.told);
            }
        }
    }

    /// A count for each edit.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub(super) fn per_edit(&self, count: usize) -> f64 {
        count as f64 / self.edits as f64
    }
}
