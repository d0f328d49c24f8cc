//! A glob, read once: its alternatives, and the directory all of it lies in.

use super::braces::Braced;
use super::gaps::Gapped;
use super::parse::{NO_SEGMENT, NOT_RELATIVE, check_segment, composed, subject_name};
use super::segment::Segment;
use crate::limits;

/// A path of a glob without braces: segments with `**` as gaps.
type Alternative = Gapped<Segment>;

/// The files that a pattern means. There is always one that it could mean.
#[derive(Debug)]
pub(super) struct Glob {
    alternatives: Vec<Alternative>,
    directory: String,
}

impl Glob {
    /// Reads a pattern.
    pub(super) fn parse(braced: &Braced<'_>) -> Result<Self, &'static str> {
        let Some(mut texts) = braced.multiplied_out() else {
            return Err("has braces for more than 64 alternatives; name fewer, or several targets");
        };
        if texts.iter().map(String::len).sum::<usize>() > limits::GLOB_BYTES {
            return Err("is longer than 8,192 bytes with its braces multiplied out; name several targets");
        }
        if !braced.is_plain() {
            texts.iter_mut().for_each(|text| *text = composed(text));
            texts.sort_unstable();
            texts.dedup();
            if texts.iter().any(|text| subject_name(text).is_some()) {
                return Err("has a subject inside braces; they are for paths alone");
            }
        }
        let alternatives = texts.iter().map(|text| alternative(text)).collect::<Result<Vec<_>, _>>()?;
        let directory = directory(&alternatives);
        Ok(Self { alternatives, directory })
    }

    /// How many alternatives it has.
    pub(super) fn alternatives(&self) -> usize {
        self.alternatives.len()
    }

    /// True when it is cheap to compare with a path of any length.
    pub(super) fn is_modest(&self) -> bool {
        self.alternatives.iter().all(|one| {
            one.longest_run() <= limits::GLOB_RUN_SEGMENTS
                && one.parts().into_iter().flatten().all(Segment::is_modest)
        })
    }

    /// The one alternative, if there is but one.
    pub(super) fn single(&self) -> Option<&Alternative> {
        match self.alternatives.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// The innermost directory that all its files are below, as a prefix of them; empty for the whole scope.
    pub(super) fn directory(&self) -> &str {
        &self.directory
    }

    /// True when a file belongs to it.
    pub(super) fn holds(&self, file: &str) -> bool {
        let file: Vec<&str> = file.split('/').collect();
        self.alternatives.iter().any(|one| one.holds(&file))
    }

    /// True when a file below this directory belongs to it.
    pub(super) fn reaches_into(&self, prefix: &str) -> bool {
        let names = names(prefix);
        self.alternatives.iter().any(|one| one.goes_on_after(&names))
    }

    /// True when a file belongs to both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.alternatives.iter().any(|our| other.alternatives.iter().any(|their| our.meets(their)))
    }

    /// True when all its files are below this directory.
    pub(super) fn is_within(&self, prefix: &str) -> bool {
        self.directory.starts_with(prefix)
    }

    /// True when it means this file and no other.
    pub(super) fn is_just(&self, file: &str) -> bool {
        self.single().and_then(Gapped::whole).is_some_and(|row| {
            let names = row.iter().map(|segment| match segment {
                Segment::Exact(name) => Some(name.as_str()),
                Segment::Any | Segment::Fits(_) => None,
            });
            names.eq(file.split('/').map(Some))
        })
    }

    /// True when everything of the other plainly belongs to it.
    pub(super) fn covers(&self, other: &Self) -> bool {
        other.alternatives.iter().all(|one| self.covers_one(one))
    }

    /// True when everything below this directory plainly belongs to it.
    pub(super) fn covers_subtree(&self, prefix: &str) -> bool {
        let directory = names(prefix).into_iter().map(|name| Some(Segment::Exact(name.to_owned())));
        self.covers_one(&Gapped::new(directory.chain([None, Some(Segment::Any)])))
    }

    fn covers_one(&self, one: &Alternative) -> bool {
        self.alternatives.iter().any(|our| covers(&our.parts(), &one.parts()))
    }
}

/// The names of a directory's path; none for the whole scope.
fn names(prefix: &str) -> Vec<&str> {
    prefix.split_terminator('/').collect()
}

/// Reads a path without braces.
fn alternative(text: &str) -> Result<Alternative, &'static str> {
    if text.is_empty() {
        return Err(NO_SEGMENT);
    }
    if text.starts_with('/') {
        return Err(NOT_RELATIVE);
    }
    let (text, all_below) = match text.strip_suffix('/') {
        Some(directory) => (directory, true),
        None => (text, text == "**" || text.ends_with("/**")),
    };
    let mut parts = Vec::new();
    for segment in text.split('/') {
        check_segment(segment)?;
        parts.push((segment != "**").then(|| Segment::parse(segment)));
    }
    // Everything below a directory is a gap, and something after it.
    if all_below {
        parts.extend([None, Some(Segment::Any)]);
    }
    Ok(Gapped::new(parts))
}

/// The common directory of the alternatives. The last segment of a path is no directory.
fn directory(alternatives: &[Alternative]) -> String {
    let exact = |segment: &Segment| match segment {
        Segment::Exact(name) => Some(name.clone()),
        Segment::Any | Segment::Fits(_) => None,
    };
    let directories = alternatives.iter().map(|one| {
        let inner = match one.whole() {
            Some(row) => &row[..row.len().saturating_sub(1)],
            None => one.head(),
        };
        inner.iter().map_while(exact).collect::<Vec<String>>()
    });
    let common = directories.reduce(|mut common, other| {
        let length = common.iter().zip(&other).take_while(|(a, b)| a == b).count();
        common.truncate(length);
        common
    });
    common.unwrap_or_default().iter().map(|name| format!("{name}/")).collect()
}

/// True when everything that fits `theirs` fits `ours`, as far as part by part comparison shows.
fn covers(ours: &[Option<&Segment>], theirs: &[Option<&Segment>]) -> bool {
    // From the end on: whether the rest of ours covers each rest of theirs.
    let mut after = vec![false; theirs.len() + 1];
    after[theirs.len()] = true;
    for our in ours.iter().rev() {
        let mut row = vec![false; theirs.len() + 1];
        for at in (0..row.len()).rev() {
            row[at] = match (our, theirs.get(at)) {
                (None, None) => after[at],
                (None, Some(_)) => after[at] || row[at + 1],
                (Some(our), Some(Some(their))) => after[at + 1] && our.covers(their),
                (Some(_), None | Some(None)) => false,
            };
        }
        after = row;
    }
    after[0]
}
