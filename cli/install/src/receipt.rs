//! What was in a file before us, kept so that uninstalling can give it back to the byte.
//!
//! One receipt per file below `MESH_HOME/install/`: `ID.json`, and `ID.original` with the bytes if there was a file.
//! ID is the hash of the file's path. `directories.json` lists the directories that had to be made, which go when the
//! last file in them has gone. What must hold: a receipt is on disk before the file that it is about changes.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::file::{self, Readers};
use crate::host::Host;

/// The list of directories that were made.
const DIRECTORIES: &str = "directories.json";

/// What is known of a file that we changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Receipt {
    /// The file.
    pub(crate) path: PathBuf,
    /// The hosts that it was changed for.
    pub(crate) hosts: BTreeSet<Host>,
    /// Whether there was a file before.
    pub(crate) existed: bool,
    /// What was registered.
    pub(crate) command: String,
    /// Hash of what we left in it.
    pub(crate) written: String,
}

/// The receipts of one mesh's home.
#[derive(Clone, Debug)]
pub(crate) struct Receipts {
    directory: PathBuf,
}

impl Receipts {
    /// Those below the home of a mesh.
    pub(crate) fn of(home: &Path) -> Self {
        Self { directory: home.join("install") }
    }

    /// The receipt of a file, and what was in it. One that cannot be read is none.
    pub(crate) fn get(&self, path: &Path) -> io::Result<Option<(Receipt, Option<Vec<u8>>)>> {
        let (receipt, original) = self.files(path);
        let Some(bytes) = file::read(&receipt)? else { return Ok(None) };
        let Ok(receipt) = serde_json::from_slice::<Receipt>(&bytes) else { return Ok(None) };
        let original = if receipt.existed { file::read(&original)? } else { None };
        // Without the bytes the receipt would pass for one of a file that was not there.
        Ok((receipt.existed == original.is_some()).then_some((receipt, original)))
    }

    /// Keeps a receipt.
    pub(crate) fn put(&self, receipt: &Receipt, original: Option<&[u8]>) -> io::Result<()> {
        let (path, bytes) = self.files(&receipt.path);
        if let Some(original) = original {
            file::write(&bytes, original, Readers::Owner)?;
        }
        file::write(&path, &serde_json::to_vec(receipt)?, Readers::Owner)?;
        Ok(())
    }

    /// Forgets a file.
    pub(crate) fn forget(&self, path: &Path) -> io::Result<()> {
        let (receipt, original) = self.files(path);
        for path in [receipt, original] {
            if path.exists() {
                file::remove(&path)?;
            }
        }
        self.end()
    }

    /// With the last receipt all goes: directories that are still there have become somebody's.
    fn end(&self) -> io::Result<()> {
        let list = self.directory.join(DIRECTORIES);
        let others = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        if others.into_iter().all(|entry| entry.path() == list) {
            if list.exists() {
                file::remove(&list)?;
            }
            // It may never have been made.
            let _ = std::fs::remove_dir(&self.directory);
        }
        Ok(())
    }

    /// Keeps in mind that directories were made.
    pub(crate) fn made(&self, directories: &[PathBuf]) -> io::Result<()> {
        if directories.is_empty() {
            return Ok(());
        }
        let mut all = self.directories()?;
        all.extend_from_slice(directories);
        self.keep_directories(&all)
    }

    /// Removes the directories above a path that were made for it or its like, as far as they are empty.
    pub(crate) fn unmake(&self, path: &Path) -> io::Result<()> {
        let mut all = self.directories()?;
        for directory in path.ancestors().skip(1) {
            if all.iter().any(|made| made == directory) && std::fs::remove_dir(directory).is_ok() {
                all.retain(|made| made != directory);
            }
        }
        self.keep_directories(&all)
    }

    fn directories(&self) -> io::Result<Vec<PathBuf>> {
        let bytes = file::read(&self.directory.join(DIRECTORIES))?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    fn keep_directories(&self, all: &[PathBuf]) -> io::Result<()> {
        let path = self.directory.join(DIRECTORIES);
        let there: Vec<_> = all.iter().filter(|directory| directory.exists()).collect();
        if !there.is_empty() {
            file::write(&path, &serde_json::to_vec(&there)?, Readers::Owner)?;
        } else if path.exists() {
            file::remove(&path)?;
        }
        Ok(())
    }

    fn files(&self, path: &Path) -> (PathBuf, PathBuf) {
        let id = hash(path.as_os_str().as_encoded_bytes());
        (
            self.directory.join(format!("{}.json", &id[..16])),
            self.directory.join(format!("{}.original", &id[..16])),
        )
    }
}

/// What tells two contents apart.
pub(crate) fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}
