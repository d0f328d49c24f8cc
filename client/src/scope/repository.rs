//! What git knows of the repository around a directory: where it lies, its remotes, its root commit.
//!
//! Answers are the repository's, not the checkout's: every linked worktree gets the same ones.

use std::path::{Path, PathBuf};

use super::ScopeError;
use super::git::{Git, Output};

/// Everything that decides which remote names the project.
const CONFIGURATION: &str = r"^(remote\..*\.url|branch\..*\.remote|url\..*\.insteadof)$";

/// A repository.
#[derive(Debug)]
pub(super) struct Repository {
    /// Root of the checkout the directory is in; of the main one if it is in none; the repository if it is bare.
    pub(super) root: PathBuf,
    /// Main checkout, or the repository's own directory if it has none beside it.
    pub(super) home: PathBuf,
    /// Git's directory that all worktrees share.
    common: PathBuf,
    /// Remote names and their URLs as configured, in alphabetical order.
    remotes: Vec<(String, String)>,
    /// Branches and the remotes they follow.
    upstreams: Vec<(String, String)>,
    /// What URLs begin with, and what that stands for.
    rewrites: Vec<(String, String)>,
}

impl Repository {
    /// Finds the repository around a directory; `None` without one, or without git.
    pub(super) fn find(git: &Git, dir: &Path) -> Result<Option<Self>, ScopeError> {
        // Two questions that one command cannot answer; asked side by side, they take the time of one.
        let places =
            git.start(dir, &["rev-parse", "--git-common-dir", "--is-inside-work-tree", "--show-toplevel"])?;
        let configuration = git.start(dir, &["config", "-z", "--get-regexp", CONFIGURATION]);
        let Some(places) = places else { return Ok(None) };
        let places = places.output()?;
        let Some(configuration) = configuration? else { return Ok(None) };
        let configuration = configuration.output()?;
        if places.is_no_repository() {
            return Ok(None);
        }
        let Some((common, root)) = parse_places(&places) else { return Err(places.into_error(dir)) };
        if !configuration.success() && !configuration.is_empty_answer() {
            return Err(configuration.into_error(dir));
        }
        let common = dir.join(common);
        let common = common.canonicalize().unwrap_or(common);
        let home = match (common.file_name(), common.parent()) {
            (Some(name), Some(parent)) if name == ".git" => parent.to_path_buf(),
            _ => common.clone(),
        };
        let root = root.map_or_else(|| home.clone(), |root| root.canonicalize().unwrap_or(root));
        let mut found = Self { root, home, common, remotes: vec![], upstreams: vec![], rewrites: vec![] };
        found.configure(&configuration.stdout);
        Ok(Some(found))
    }

    /// Takes in `key LF value NUL` records. Git has lower-cased the fixed parts of the keys.
    fn configure(&mut self, records: &[u8]) {
        for record in records.split(|byte| *byte == 0) {
            let record = String::from_utf8_lossy(record);
            let (key, value) = record.split_once('\n').unwrap_or((&record, ""));
            let middle =
                |prefix: &str, suffix: &str| Some(key.strip_prefix(prefix)?.strip_suffix(suffix)?.to_owned());
            if let Some(remote) = middle("remote.", ".url") {
                match self.remotes.iter().position(|(name, _)| *name == remote) {
                    // An empty value takes back the ones before it; of several, git fetches from the first.
                    Some(at) if value.is_empty() => drop(self.remotes.remove(at)),
                    Some(_) => {}
                    None if value.is_empty() => {}
                    None => self.remotes.push((remote, value.to_owned())),
                }
            } else if let Some(branch) = middle("branch.", ".remote") {
                self.upstreams.push((branch, value.to_owned()));
            } else if let Some(base) = middle("url.", ".insteadof") {
                self.rewrites.push((value.to_owned(), base));
            }
        }
        self.remotes.sort();
    }

    /// The remotes with their URLs as git would use them, the one that names the project first: `origin`; else
    /// the one that the main checkout's branch follows; else the first of the alphabet.
    ///
    /// The main checkout's branch, as two worktrees on branches of two remotes still share their scope.
    pub(super) fn remotes(&self, git: &Git) -> Result<Vec<(String, String)>, ScopeError> {
        let mut remotes: Vec<_> =
            self.remotes.iter().map(|(name, url)| (name.clone(), self.rewritten(url))).collect();
        let first = match remotes.iter().position(|(name, _)| name == "origin") {
            None if remotes.len() > 1 => {
                let upstream = self.upstream(git)?;
                remotes.iter().position(|(name, _)| Some(name) == upstream.as_ref())
            }
            position => position,
        };
        if let Some(first) = first {
            remotes[..=first].rotate_right(1);
        }
        Ok(remotes)
    }

    fn upstream(&self, git: &Git) -> Result<Option<String>, ScopeError> {
        let Some(head) = self.run(git, &["symbolic-ref", "-q", "HEAD"])? else { return Ok(None) };
        let head = String::from_utf8_lossy(&head.stdout);
        let branch = head.trim_end().strip_prefix("refs/heads/");
        // The last of several values is the one that counts.
        let upstream = self.upstreams.iter().rev().find(|(name, _)| Some(name.as_str()) == branch);
        Ok(upstream.map(|(_, remote)| remote.clone()))
    }

    /// The URL after `url.<base>.insteadOf`: the longest match is replaced, once.
    fn rewritten(&self, url: &str) -> String {
        let matches = self.rewrites.iter().filter(|(prefix, _)| url.starts_with(prefix));
        match matches.max_by_key(|(prefix, _)| prefix.len()) {
            Some((prefix, base)) => format!("{base}{}", &url[prefix.len()..]),
            None => url.to_owned(),
        }
    }

    /// Asks the repository itself, the same for every worktree.
    fn run(&self, git: &Git, args: &[&str]) -> Result<Option<Output>, ScopeError> {
        git.run(&self.common, &[&["--git-dir=."], args].concat())
    }

    /// The oldest commit without a parent on any branch, tag or remote branch; `None` when there is no commit.
    ///
    /// Oldest by its own committer date, then smallest by hash: a later orphan branch (`gh-pages`) or the commits
    /// that `git stash` hides untracked files in change nothing. Merging in the history of an older project
    /// does, and a shallow clone has its boundary for a root.
    pub(super) fn root_commit(&self, git: &Git) -> Result<Option<String>, ScopeError> {
        let args = ["rev-list", "--max-parents=0", "--timestamp", "--exclude=refs/stash", "--all"];
        let Some(output) = self.run(git, &args)? else { return Ok(None) };
        if !output.success() {
            return Err(output.into_error(&self.common));
        }
        let listing = String::from_utf8_lossy(&output.stdout);
        let roots = listing.lines().filter_map(|line| {
            let (time, hash) = line.split_once(' ')?;
            Some((time.parse::<u64>().ok()?, hash))
        });
        Ok(roots.min().map(|(_, hash)| hash.to_owned()))
    }
}

/// Common directory, and root of the checkout if there is one. Read from the middle, as paths may hold a newline.
fn parse_places(output: &Output) -> Option<(PathBuf, Option<PathBuf>)> {
    let text = std::str::from_utf8(&output.stdout).ok()?.strip_suffix('\n')?;
    if output.success() {
        let (common, root) = text.split_once("\ntrue\n")?;
        return Some((common.into(), Some(root.into())));
    }
    let common = text.strip_suffix("\nfalse").filter(|_| output.is_no_worktree())?;
    Some((common.into(), None))
}
