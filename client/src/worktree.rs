//! Where a checkout stands, for a peer to show to others.
//!
//! Owns the reading of root, branch and head. A snapshot: whoever shows it reads it again.

use std::path::{Path, PathBuf};

use crate::scope::ScopeError;
use crate::scope::existing_directory;
use crate::scope::git::{Git, Output};

/// How much of a commit's hash is shown: unique in any repository of human size, and the same length always.
const SHORT_HASH: usize = 12;

/// State of one checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorktreeInfo {
    /// Root of the checkout, canonical.
    pub root: PathBuf,
    /// Branch checked out, without `refs/heads/`; `None` when detached.
    pub branch: Option<String>,
    /// First 12 digits of the commit checked out; `None` when the branch has no commit yet.
    pub head: Option<String>,
}

impl WorktreeInfo {
    /// Reads the checkout that a directory is in; `None` when it is in none: no repository, a bare one, the
    /// inside of `.git`, or no git on `PATH`.
    ///
    /// Blocks for the milliseconds of one git process (two on a branch without commits).
    pub fn read(dir: &Path) -> Result<Option<Self>, ScopeError> {
        Self::read_with(&Git::on_path(), dir)
    }

    fn read_with(git: &Git, dir: &Path) -> Result<Option<Self>, ScopeError> {
        let dir = existing_directory(dir)?;
        let args = ["rev-parse", "--show-toplevel", "HEAD", "--symbolic-full-name", "HEAD"];
        let Some(output) = git.run(&dir, &args)? else { return Ok(None) };
        if output.is_no_repository() || output.is_no_worktree() {
            return Ok(None);
        }
        let Some((root, head, reference)) = parse(git, &dir, &output)? else {
            return Err(output.into_error(&dir));
        };
        let root = root.canonicalize().unwrap_or(root);
        Ok(Some(Self { root, branch: reference.strip_prefix("refs/heads/").map(str::to_owned), head }))
    }
}

/// Root, short hash and full reference name. Read from the end, as the root may hold a newline.
fn parse(
    git: &Git,
    dir: &Path,
    output: &Output,
) -> Result<Option<(PathBuf, Option<String>, String)>, ScopeError> {
    let Ok(text) = std::str::from_utf8(&output.stdout) else { return Ok(None) };
    let text = text.trim_end_matches('\n');
    if !output.success() {
        // A branch without commits has no hash: git names the root, then echoes `HEAD` and gives up.
        let Some(root) = text.strip_suffix("\nHEAD") else { return Ok(None) };
        let reference = git.run(dir, &["symbolic-ref", "-q", "HEAD"])?;
        let reference = reference.map(|output| String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
        return Ok(Some((root.into(), None, reference.unwrap_or_default())));
    }
    let mut lines = text.rsplitn(3, '\n');
    let (Some(reference), Some(hash), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
        return Ok(None);
    };
    let head = hash.get(..SHORT_HASH).unwrap_or(hash);
    Ok(Some((root.into(), Some(head.to_owned()), reference.to_owned())))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn branch_and_head_follow_the_checkout() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        let git = Git::isolated(&base);
        let read = |dir: &Path| WorktreeInfo::read_with(&git, dir).unwrap();
        git.ok(&base, "init -q -b feature/x app");
        let app = base.join("app");
        let unborn = WorktreeInfo { root: app.clone(), branch: Some("feature/x".into()), head: None };
        assert_eq!(read(&app), Some(unborn));

        git.ok(&app, "commit -q --allow-empty -m one");
        let hash = git.ok(&app, "rev-parse HEAD");
        let head = Some(hash[..12].to_owned());
        fs::create_dir(app.join("src")).unwrap();
        let born = WorktreeInfo { root: app.clone(), branch: Some("feature/x".into()), head: head.clone() };
        assert_eq!(read(&app.join("src")), Some(born));

        git.ok(&app, "worktree add -q --detach ../linked");
        let linked = WorktreeInfo { root: base.join("linked"), branch: None, head };
        assert_eq!(read(&base.join("linked")), Some(linked));
    }

    #[test]
    fn without_a_checkout_there_is_nothing_to_show() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        let git = Git::isolated(&base);
        git.ok(&base, "init -q --bare bare.git");
        git.ok(&base, "init -q app");
        fs::create_dir(base.join("plain")).unwrap();
        for dir in ["bare.git", "app/.git", "plain"] {
            assert_eq!(WorktreeInfo::read_with(&git, &base.join(dir)).unwrap(), None, "{dir}");
        }
        assert_eq!(WorktreeInfo::read_with(&Git::missing(), &base.join("app")).unwrap(), None);
    }

    #[test]
    fn a_root_with_a_newline_is_read() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap().join("two\nlines");
        fs::create_dir(&root).unwrap();
        let git = Git::isolated(temp.path());
        git.ok(&root, "init -q");
        git.ok(&root, "commit -q --allow-empty -m one");
        assert_eq!(WorktreeInfo::read_with(&git, &root).unwrap().map(|info| info.root), Some(root));
    }

    #[test]
    fn another_users_checkout_is_an_error_that_names_the_fix() {
        let temp = tempfile::tempdir().unwrap();
        let git = Git::isolated(temp.path());
        git.ok(temp.path(), "init -q app");
        let git = git.with("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1");
        let error = WorktreeInfo::read_with(&git, &temp.path().join("app")).unwrap_err();
        assert!(error.to_string().contains("--add safe.directory"), "{error}");
    }
}
