//! The directory a store lives in.
//!
//! Owns its lock and its permissions, and knows which of sled's files must not be there or must be synced.
//! What must hold: from [`Directory::take`] until it is dropped nobody else opens the store, and nobody but
//! the owner reads it.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::process::geteuid;
use uuid::Uuid;

use super::StoreError;
use super::sled::next_step;

const LOCK_FILE: &str = "LOCK";
const DATA_FILE: &str = "db";
const RELEASE_TRIES: u32 = 2_500;
const RELEASE_PAUSE: Duration = Duration::from_millis(2);
const BLOB_DIR: &str = "blobs";

/// A directory that is ours alone.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// What errors call it: itself, or the directory that it is a copy of.
    shown: PathBuf,
    /// The kernel releases it with the descriptor, however the process ends. Holds the [`Note`].
    lock: File,
}

/// What is known of a store besides its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// That of the store's identity.
    pub(super) incarnation: Uuid,
    /// How far the writer has come, at least.
    pub(super) position: u64,
}

const NOTE_BYTES: usize = 16 + 8 + 4;

impl Note {
    fn to_bytes(&self) -> [u8; NOTE_BYTES] {
        let mut bytes = [0; NOTE_BYTES];
        bytes[..16].copy_from_slice(self.incarnation.as_bytes());
        bytes[16..24].copy_from_slice(&self.position.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..24]);
        bytes[24..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// None of what is not a note, or a damaged one: it says nothing then.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (incarnation, rest) = bytes.split_first_chunk()?;
        let position = u64::from_le_bytes(*rest.first_chunk()?);
        let note = Self { incarnation: Uuid::from_bytes(*incarnation), position };
        (note.to_bytes() == *bytes).then_some(note)
    }
}

impl Directory {
    /// Creates `path` if need be, closes it to other users and takes its lock.
    ///
    /// A directory that holds anything but a store is refused: closing it could lock others out of it.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let lock_path = path.join(LOCK_FILE);
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create", path))?;
        // In this order: a broker starting beside us makes the lock file before any other.
        if !entries(path)?.is_empty() && !lock_path.exists() {
            let why = "it holds other files; the store needs a directory of its own";
            return Err(failed("use", path)(io::Error::other(why)));
        }
        restrict(path, 0o700)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed("open", &lock_path))?;
        Self::locked(path, lock)
    }

    /// As [`Self::take`], where there is a store.
    pub(super) fn take_existing(path: &Path) -> Result<Self, StoreError> {
        if !path.join(LOCK_FILE).exists() {
            return Err(failed("find a store in", path)(io::Error::from(io::ErrorKind::NotFound)));
        }
        Self::take(path)
    }

    fn locked(path: &Path, lock: File) -> Result<Self, StoreError> {
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), shown: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { dir: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed("lock", &path.join(LOCK_FILE))(source)),
        }
    }

    /// Copies a store's files to another directory, from one in which nothing is written or created. Nobody has it
    /// open meanwhile.
    pub(super) fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
        let lock_path = from.join(LOCK_FILE);
        let lock = File::open(&lock_path).map_err(failed("find a store in", from))?;
        let _held = Self::locked(from, lock)?;
        copy_files(from, to)?;
        let blobs = from.join(BLOB_DIR);
        if blobs.is_dir() {
            let to = to.join(BLOB_DIR);
            DirBuilder::new().mode(0o700).create(&to).map_err(failed("create", &to))?;
            copy_files(&blobs, &to)?;
        }
        Ok(())
    }

    /// What was noted last, if it can be read.
    pub(super) fn noted(&self) -> Result<Option<Note>, StoreError> {
        let mut bytes = [0; NOTE_BYTES];
        match self.lock.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(Note::read(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(failed("read", &self.path.join(LOCK_FILE))(error)),
        }
    }

    /// Notes, without a sync: it reaches the disk after what it tells of.
    pub(super) fn note(&self, note: &Note) -> Result<(), StoreError> {
        let written = self.lock.write_all_at(&note.to_bytes(), 0);
        written.map_err(|error| failed("write to", &self.path.join(LOCK_FILE))(error))
    }

    /// A store that was made has its data file.
    pub(super) fn require_data_file(&self) -> Result<(), StoreError> {
        if self.path.join(DATA_FILE).exists() {
            return Ok(());
        }
        let path = self.shown.join(DATA_FILE);
        let what = format!("{} is missing; {}", path.display(), next_step(&self.shown));
        Err(StoreError::Corrupt { what })
    }

    /// Errors are to name the directory that this one is a copy of.
    pub(super) fn standing_for(self, shown: &Path) -> Self {
        Self { shown: shown.to_owned(), ..self }
    }

    pub(super) fn shown(&self) -> &Path {
        &self.shown
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes snapshots that a kill left half-written. sled would take such a file for the newest
    /// snapshot and call the store corrupt; without it, the earlier snapshot and the log recover all.
    pub(super) fn remove_leftovers(&self) -> Result<(), StoreError> {
        for path in entries(&self.path)? {
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            if name.starts_with("snap.") && name.ends_with(".generating") {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Waits until sled has let go of its file. Its worker threads may do so a moment after the store was
    /// dropped, and it would call its file locked until then.
    pub(super) fn await_release(&self) -> Result<(), StoreError> {
        let path = self.path.join(DATA_FILE);
        if !path.exists() {
            return Ok(());
        }
        let data = File::open(&path).map_err(failed("open", &path))?;
        for _ in 0..RELEASE_TRIES {
            match data.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => thread::sleep(RELEASE_PAUSE),
                Err(TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
            }
        }
        Err(StoreError::Locked { dir: self.path.clone() })
    }

    /// A descriptor of our own on sled's file, to sync it by.
    pub(super) fn data_file(&self) -> Result<File, StoreError> {
        let path = self.path.join(DATA_FILE);
        File::open(&path).map_err(failed("open", &path))
    }

    /// Closes sled's files to other users: sled creates them by the process's umask. Files it creates
    /// later lie in a closed directory.
    pub(super) fn restrict_files(&self) -> Result<(), StoreError> {
        for path in entries(&self.path)? {
            restrict(&path, if path.is_dir() { 0o700 } else { 0o600 })?;
        }
        Ok(())
    }

    /// Makes the store's files and their names durable: sled and whoever made the home leave both to chance. At every
    /// open, since an earlier start may have ended before this.
    pub(super) fn sync_names(&self) -> Result<(), StoreError> {
        let mut paths = entries(&self.path)?;
        paths.push(self.path.clone());
        for path in paths {
            sync(&path).map_err(failed("sync", &path))?;
        }
        // A name is in the directory above. What belongs to another user was not made for the store, but may hold it.
        for above in self.path.ancestors().skip(1).filter(|path| path.is_dir()) {
            let ours = fs::metadata(above).map_err(failed("look at", above))?.uid() == geteuid().as_raw();
            match sync(above) {
                Err(error) if ours => return Err(failed("sync", above)(error)),
                Ok(()) if ours => {}
                Ok(()) | Err(_) => break,
            }
        }
        Ok(())
    }

    /// Bytes of all files.
    pub(super) fn size_bytes(&self) -> u64 {
        let files = [self.path.clone(), self.path.join(BLOB_DIR)];
        let files = files.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
        // A file may go while we look; it takes no space then.
        files
            .filter_map(|file| file.metadata().ok())
            .filter(fs::Metadata::is_file)
            .map(|file| file.len())
            .sum()
    }
}

fn copy_files(from: &Path, to: &Path) -> Result<(), StoreError> {
    for path in entries(from)?.into_iter().filter(|path| path.is_file()) {
        let Some(name) = path.file_name() else { continue };
        fs::copy(&path, to.join(name)).map_err(failed("copy", &path))?;
    }
    Ok(())
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn restrict(path: &Path, mode: u32) -> Result<(), StoreError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed("restrict", path))
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())
        .map_err(failed("list", dir))
}

/// Turns the operating system's answer to `action` on `path` into ours.
fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Io { action, path: path.to_owned(), source }
}
