//! Puts one store in the place of another, wholly or not at all, wherever the process ends meanwhile.
//!
//! The new one is made as `NAME.new`, becomes `NAME.ready` when it is whole and on disk, and takes the place once the old
//! one is out of it. Until then nothing has happened; from then on there is one store that can be meant, and whoever
//! comes next ([`finish`]) puts it there. What must hold: whoever calls anything here is alone with the home, and calls
//! [`finish`] before it looks at the store.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::StoreError;

/// Where a new store is made.
pub fn scratch(store: &Path) -> PathBuf {
    beside(store, "new")
}

fn beside(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// Where an old store is until it is removed.
fn old(store: &Path) -> PathBuf {
    beside(store, "old")
}

/// Whether [`finish`] would put a store in its place.
pub fn is_unfinished(store: &Path) -> bool {
    beside(store, "ready").exists()
}

/// Ends what was begun: afterwards there is one store or none, and nothing half-made. Says in the log what it did.
pub fn finish(store: &Path) -> Result<(), StoreError> {
    let ready = beside(store, "ready");
    if ready.exists() && !store.exists() {
        rename(&ready, store)?;
        tracing::warn!(store = %store.display(), "a new store was whole and not in its place when its making was cut short; it is in place");
    } else if ready.exists() || scratch(store).exists() {
        tracing::warn!(store = %store.display(), "the making of a new store was cut short; nothing has changed, what was made is removed");
    }
    if ready.exists() {
        // Not to be met half-removed where a whole one is looked for.
        remove(&scratch(store))?;
        rename(&ready, &scratch(store))?;
    }
    remove(&scratch(store))?;
    if store.exists() {
        remove(&old(store))?;
    }
    Ok(())
}

/// Puts the store that was made in [`scratch`] in its place, and removes the old one.
pub(super) fn replace(store: &Path) -> Result<(), StoreError> {
    put_in_place(store, Some(&old(store)))?;
    remove(&old(store))
}

/// Puts the store that was made in [`scratch`] in its place. One that is there is moved to `aside`.
pub fn put_in_place(store: &Path, aside: Option<&Path>) -> Result<(), StoreError> {
    let ready = beside(store, "ready");
    rename(&scratch(store), &ready)?;
    if let Some(aside) = aside.filter(|_| store.exists()) {
        rename(store, aside)?;
    }
    rename(&ready, store)
}

/// Renames, durably.
fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    let failed = |action, path: &Path, source| StoreError::Io { action, path: path.to_owned(), source };
    fs::rename(from, to).map_err(|source| failed("move", from, source))?;
    let Some(parent) = to.parent().filter(|parent| parent.is_dir()) else { return Ok(()) };
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(|source| failed("sync", parent, source))
}

/// Removes a directory with all that is in it, if it is there.
pub(super) fn remove(dir: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::Io { action: "remove", path: dir.to_owned(), source: error })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a home can look like: which directories there are, each with its own content.
    fn home(dirs: &[&str]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for dir in dirs {
            fs::create_dir(home.path().join(dir)).unwrap();
            fs::write(home.path().join(dir).join("db"), dir).unwrap();
        }
        home
    }

    fn left(home: &tempfile::TempDir) -> Vec<(String, String)> {
        let mut found: Vec<_> = fs::read_dir(home.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read_to_string(path.join("db")).unwrap_or_default())
            })
            .collect();
        found.sort();
        found
    }

    #[test]
    fn whatever_is_found_after_a_kill_becomes_one_whole_store_or_none() {
        for (found, stays) in [
            (&[][..], None),
            (&["store"], Some("store")),
            // While it is made: for a home with a store and for one without.
            (&["store", "store.new"], Some("store")),
            (&["store.new"], None),
            // It is whole, the old one still in its place.
            (&["store", "store.ready"], Some("store")),
            // The old one is out of the way.
            (&["store.old", "store.ready"], Some("store.ready")),
            (&["store.ready"], Some("store.ready")),
            // It is in its place.
            (&["store", "store.old"], Some("store")),
            // Another one was begun since.
            (&["store", "store.ready", "store.new"], Some("store")),
        ] {
            let home = home(found);
            for _ in 0..2 {
                finish(&home.path().join("store")).unwrap();
                let expected = stays.map(|content| ("store".to_owned(), content.to_owned()));
                assert_eq!(left(&home), Vec::from_iter(expected), "{found:?}");
            }
        }
    }

    #[test]
    fn a_store_takes_the_place_of_another() {
        let place = home(&["store", "store.new"]);
        replace(&place.path().join("store")).unwrap();
        assert_eq!(left(&place), [("store".to_owned(), "store.new".to_owned())]);

        let place = home(&["store", "store.new"]);
        put_in_place(&place.path().join("store"), Some(&place.path().join("kept"))).unwrap();
        let both = [("kept", "store"), ("store", "store.new")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(left(&place), both);
    }
}
