//! Scopes of checkouts that were seen before, so that a hook need not run git.
//!
//! One file per root below the home's `projects/`. It holds what the scope was derived from, and counts as long as that
//! is the same.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mesh_client::Home;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    root: PathBuf,
    stamp: String,
    scope: String,
}

/// What tells one state of a file from the next: when it was written, its size, its inode.
pub(super) fn stamp(file: &Path) -> String {
    fs::metadata(file).map_or_else(
        |_| String::new(),
        |m| format!("{}.{:09} {} {}", m.mtime(), m.mtime_nsec(), m.size(), m.ino()),
    )
}

/// The scope of a root: the one that is kept, if it was derived from the same, else what `detect` finds. That is kept
/// if `detect` says that it lasts.
pub(super) fn scope(
    home: &Home,
    root: &Path,
    stamp: &str,
    detect: impl FnOnce() -> Result<(String, bool), String>,
) -> Result<String, String> {
    let mut hasher = DefaultHasher::new();
    root.hash(&mut hasher);
    let file = home.path().join("projects").join(format!("{:016x}", hasher.finish()));
    let kept = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
    if let Some(kept) = kept.filter(|kept| kept.root == root && kept.stamp == stamp) {
        return Ok(kept.scope);
    }
    let (scope, lasts) = detect()?;
    let fresh = Kept { root: root.to_owned(), stamp: stamp.to_owned(), scope };
    if lasts {
        // What cannot be kept is derived again.
        _ = keep(home, &file, &fresh);
    }
    Ok(fresh.scope)
}

fn keep(home: &Home, file: &Path, kept: &Kept) -> std::io::Result<()> {
    home.create()?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(home.path().join("projects"))?;
    let aside = file.with_extension(std::process::id().to_string());
    let mut options = fs::OpenOptions::new();
    let mut written = options.create(true).truncate(true).write(true).mode(0o600).open(&aside)?;
    std::io::Write::write_all(&mut written, &serde_json::to_vec(kept)?)?;
    fs::rename(aside, file)
}
