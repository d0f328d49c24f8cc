//! Reading and replacing files.
//!
//! What must hold: a reader sees the old file or the new one, never half of it; a symbolic link stays one, and the
//! file that it means is replaced, since dotfile managers keep the files elsewhere; the mode stays.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Links in a row that no sane setup has.
const LINKS: usize = 40;

/// What is in a file; `None` if there is none.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Who may read a file that was not there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Its owner: a user's configuration may come to hold secrets.
    Owner,
    /// Whoever the user lets read: a project's files.
    Anybody,
}

/// Replaces a file, or makes it, and returns the directories that had to be made, outermost first.
pub(crate) fn write(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<Vec<PathBuf>> {
    let path = meant(path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = make(directory)?;
    let mode = fs::metadata(&path).map(|meta| meta.permissions().mode() & 0o7777);
    let mut builder = tempfile::Builder::new();
    // The user's mask applies as well.
    let new = if readers == Readers::Owner { 0o600 } else { 0o666 };
    builder.permissions(Permissions::from_mode(new));
    let mut file = builder.prefix(".mesh-").tempfile_in(directory)?;
    if let Ok(mode) = mode {
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
    }
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(made)
}

/// Removes a file, not a link to it.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(meant(path)?)
}

/// Makes a directory and those above it; returns those that were missing, outermost first.
fn make(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut missing: Vec<_> =
        directory.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    missing.reverse();
    let missing = missing.into_iter().map(Path::to_owned).collect();
    fs::create_dir_all(directory)?;
    Ok(missing)
}

/// The file that a path means, through links, there or not.
fn meant(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().map_or(target.clone(), |parent| parent.join(&target)),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many links"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_replaced_through_its_links_and_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("dotfiles")).unwrap();
        fs::write(at("dotfiles/real"), "old").unwrap();
        fs::set_permissions(at("dotfiles/real"), Permissions::from_mode(0o600)).unwrap();
        symlink("dotfiles/real", at("middle")).unwrap();
        symlink(at("middle"), at("link")).unwrap();
        assert!(write(&at("link"), b"new", Readers::Owner).unwrap().is_empty());
        assert_eq!(fs::read(at("dotfiles/real")).unwrap(), b"new");
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        assert!(fs::symlink_metadata(at("middle")).unwrap().is_symlink());
        assert_eq!(fs::metadata(at("dotfiles/real")).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(at("dotfiles")).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_link_to_nothing_gets_its_file() {
        let dir = tempfile::tempdir().unwrap();
        symlink("later/file", dir.path().join("link")).unwrap();
        let made = write(&dir.path().join("link"), b"new", Readers::Owner).unwrap();
        assert_eq!(made, [dir.path().join("later")]);
        assert_eq!(fs::read(dir.path().join("later/file")).unwrap(), b"new");
    }

    #[test]
    fn a_new_file_is_read_by_its_owner_alone_unless_it_is_a_projects() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |readers| {
            let path = dir.path().join(format!("{readers:?}"));
            write(&path, b"x", readers).unwrap();
            fs::metadata(path).unwrap().permissions().mode() & 0o777
        };
        assert_eq!(mode(Readers::Owner), 0o600);
        assert_eq!(mode(Readers::Anybody) & 0o600, 0o600);
        assert_eq!(mode(Readers::Anybody) & 0o111, 0);
    }

    #[test]
    fn directories_that_had_to_be_made_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c");
        let made = write(&path, b"x", Readers::Owner).unwrap();
        assert_eq!(made, [dir.path().join("a"), dir.path().join("a/b")]);
        assert!(write(&path, b"y", Readers::Owner).unwrap().is_empty());
        remove(&path).unwrap();
        assert_eq!(read(&path).unwrap(), None);
        assert_eq!(read(&dir.path().join("nothing/there")).unwrap(), None);
    }
}
