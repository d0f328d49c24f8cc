//! Which project a directory belongs to, and what its files are called there.
//!
//! Owns the derivation of a scope from a directory. What holds: all worktrees of one repository get the same
//! scope, and so do all its clones with the same remote; the slug satisfies the scope grammar of `mesh.v1`; and
//! a repository that git finds but will not read is an error, never a guess, as peers in a guessed scope do not
//! see each other.
//!
//! In this order:
//!
//! 1. A remote (`origin`; else what the main checkout's branch follows; else the alphabetically first; the
//!    next of them where one names nothing): the slug of its URL, `github.com/acme/app`. A remote that is a
//!    repository on this machine stands for the scope of that repository, so a sandbox cloned from a checkout
//!    joins the checkout's scope.
//! 2. The oldest root commit: `git/<hash>`.
//! 3. The directory: `host/<host name>/<path>`, of the main checkout if there is a repository.
//!
//! A submodule is a project of its own. The slug changes when a repository gets its first remote or its first
//! commit; nothing earlier could name it for other machines. `MESH_SCOPE` and flags are the callers' business.

pub(crate) mod git;
mod path;
mod repository;
mod slug;
#[cfg(test)]
mod tests;
mod url;

use std::io;
use std::path::{Path, PathBuf};

pub use self::path::{PathError, is_directory, relative_path};
pub use self::url::slug_from_remote_url;

use self::git::Git;
use self::repository::Repository;
use self::url::Address;

/// How many remotes on this machine are followed from one repository to the next: enough for clones of
/// clones, and an end for two that name each other.
const LOCAL_REMOTES: usize = 4;

/// A project, as derived from a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Name of the scope: 1 to 256 bytes in the grammar of `JoinRequest.scope`.
    pub slug: String,
    /// What the name was taken from.
    pub source: ScopeSource,
    /// Root that scope-relative paths start from, canonical: of the worktree the directory is in, linked or
    /// main; the repository itself if it is bare; the directory itself if there is no repository.
    pub root: PathBuf,
}

/// What the name of a scope was taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScopeSource {
    /// The remote of this name.
    Remote(String),
    /// The oldest root commit: the repository has no usable remote.
    RootCommit,
    /// Host and directory: there is no repository, or nothing in it yet.
    Directory,
}

/// Why a directory has no scope.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// The directory cannot be entered: it was deleted, perhaps, or is a file.
    #[error("cannot use {} as the project directory: {source}; change to a directory that exists", path.display())]
    Directory {
        /// As it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Git does not read a repository of another user unless told to.
    #[error(
        "git refuses to read the repository at {repository}, which belongs to another user; if you trust it, run \
         `git config --global --add safe.directory '{repository}'`"
    )]
    DubiousOwnership {
        /// The repository, as git named it.
        repository: String,
    },
    /// Git found a repository and cannot read it.
    #[error("git cannot read the repository around {}: {message}; repair it or set MESH_SCOPE", directory.display())]
    Git {
        /// Where git ran.
        directory: PathBuf,
        /// What git said.
        message: String,
    },
    /// There is a git, but it does not run.
    #[error("cannot run git: {source}; make it executable or set MESH_SCOPE")]
    Start {
        /// What the system said.
        source: io::Error,
    },
}

/// The scope of a directory. Without a git on `PATH` there are no repositories.
///
/// Blocks for the few milliseconds of two git processes run side by side; asynchronous callers want
/// `spawn_blocking`. `GIT_DIR` and its like are ignored: the directory decides.
pub fn detect(dir: &Path) -> Result<Scope, ScopeError> {
    detect_with(&Git::on_path(), dir)
}

pub(crate) fn detect_with(git: &Git, dir: &Path) -> Result<Scope, ScopeError> {
    scope_of(git, &existing_directory(dir)?, LOCAL_REMOTES)
}

/// The directory's canonical path.
pub(crate) fn existing_directory(dir: &Path) -> Result<PathBuf, ScopeError> {
    let error = |source| ScopeError::Directory { path: dir.to_path_buf(), source };
    let real = dir.canonicalize().map_err(error)?;
    if real.is_dir() { Ok(real) } else { Err(error(io::ErrorKind::NotADirectory.into())) }
}

fn scope_of(git: &Git, dir: &Path, local_remotes: usize) -> Result<Scope, ScopeError> {
    let Some(repository) = Repository::find(git, dir)? else {
        return Ok(Scope {
            slug: directory_slug(dir),
            source: ScopeSource::Directory,
            root: dir.to_path_buf(),
        });
    };
    let (slug, source) = if let Some((slug, remote)) = remote_slug(git, &repository, local_remotes)? {
        (slug, ScopeSource::Remote(remote))
    } else if let Some(hash) = repository.root_commit(git)? {
        (format!("git/{hash}"), ScopeSource::RootCommit)
    } else {
        (directory_slug(&repository.home), ScopeSource::Directory)
    };
    Ok(Scope { slug, source, root: repository.root })
}

/// Slug and name of the first remote that has a slug.
fn remote_slug(
    git: &Git,
    repository: &Repository,
    local_remotes: usize,
) -> Result<Option<(String, String)>, ScopeError> {
    for (name, url) in repository.remotes(git)? {
        let slug = match url::parse(&url) {
            Some(Address::Network(slug)) => Some(slug),
            Some(Address::Local(path)) => local_slug(git, &repository.home.join(path), local_remotes),
            None => None,
        };
        if let Some(slug) = slug {
            return Ok(Some((slug, name)));
        }
    }
    Ok(None)
}

/// The scope of a remote on this machine. One that is gone or cannot be read names nothing: the clone still
/// has the same root commit.
fn local_slug(git: &Git, path: &Path, local_remotes: usize) -> Option<String> {
    let left = local_remotes.checked_sub(1)?;
    let mut with_suffix = path.as_os_str().to_owned();
    with_suffix.push(".git");
    // Git would search the parents too, and find a repository that is not the remote.
    let is_repository = |dir: &PathBuf| dir.join(".git").exists() || dir.join("HEAD").is_file();
    let remote = [path.to_path_buf(), with_suffix.into()].into_iter().find(is_repository)?;
    let remote = remote.canonicalize().ok()?;
    scope_of(git, &remote, left).ok().map(|scope| scope.slug)
}

/// `host/<host name>/<path>` of a canonical directory.
fn directory_slug(dir: &Path) -> String {
    let uname = rustix::system::uname();
    let host = uname.nodename().to_bytes().to_ascii_lowercase();
    let host = if host.is_empty() { b"localhost".to_vec() } else { host };
    let mut segments = vec![b"host".as_slice(), &host];
    segments.extend(dir.as_os_str().as_encoded_bytes().split(|byte| *byte == b'/'));
    slug::exact(&segments)
}
