//! One broker per store and per socket, whoever starts them and however often.
//!
//! A file lock that the kernel drops with the process decides; nothing is ever left to clean up by hand. A socket
//! file without a listener is a leftover and is replaced; one with a listener belongs to another broker.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// How long an auto-started broker waits for one that is just ending.
const TAKEOVER: Duration = Duration::from_secs(10);

/// What a broker writes into its lock file, for people and `meshctl status`.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    version: String,
}

/// The right to be the broker of a home; given up by dropping it, or by the process ending.
#[derive(Debug)]
pub(crate) struct Instance {
    _lock: File,
}

/// A bound Unix socket that only this user can open; its file goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    _lock: Option<File>,
}

impl Instance {
    /// Becomes the broker of a home, or says who is. With `wait`, gives one that is ending a few seconds.
    pub(crate) fn claim(path: &Path, wait: bool) -> anyhow::Result<Self> {
        let mut file = open_private(path)?;
        let free = try_lock(&file, path)? || (wait && lock_within(&file, TAKEOVER));
        if !free {
            let mut text = String::new();
            let holder = file.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str(&text).ok());
            let who = holder.map(|h: Holder| format!(" (pid {}, version {})", h.pid, h.version));
            bail!(
                "another broker{} already serves {}; use it, or end it with `meshctl stop`",
                who.unwrap_or_default(),
                path.parent().unwrap_or(path).display()
            );
        }
        let holder = Holder { pid: std::process::id(), version: env!("CARGO_PKG_VERSION").into() };
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(serde_json::to_string(&holder)?.as_bytes())?;
        Ok(Self { _lock: file })
    }
}

impl Socket {
    /// Binds the socket. `foreign` when it may be another home's too, which then needs a lock of its own.
    pub(crate) fn bind(path: &Path, foreign: bool) -> anyhow::Result<(Self, UnixListener)> {
        let lock = if foreign { Some(lock_beside(path)?) } else { None };
        if UnixStream::connect(path).is_ok() {
            bail!("another broker listens on {}; end it, or choose another --socket", path.display());
        }
        // Bound aside, closed to others, then moved into place: never reachable with looser rights, and a leftover
        // file is replaced in the same step.
        let aside = path.with_extension(format!("{}.tmp", std::process::id()));
        let cannot = || format!("cannot listen on {}", path.display());
        let _ = std::fs::remove_file(&aside);
        let listener = UnixListener::bind(&aside).with_context(cannot)?;
        std::fs::set_permissions(&aside, Permissions::from_mode(0o600)).with_context(cannot)?;
        std::fs::rename(&aside, path).with_context(cannot)?;
        Ok((Self { path: path.to_owned(), _lock: lock }, listener))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The bearer token for TCP: read, or drawn and stored for this user alone.
pub(crate) fn token(path: &Path) -> anyhow::Result<String> {
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
    let bytes: [u8; 32] = random()?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let aside = path.with_extension(format!("{}.tmp", std::process::id()));
    let write = || -> io::Result<()> {
        let _ = std::fs::remove_file(&aside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(token.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&aside, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(token)
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the operating system has no randomness")?;
    Ok(bytes)
}

fn open_private(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

fn try_lock(file: &File, path: &Path) -> anyhow::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// Waits for a lock, but not for ever. True when it is held.
fn lock_within(file: &File, patience: Duration) -> bool {
    let Ok(file) = file.try_clone() else { return false };
    let (sender, receiver) = mpsc::channel();
    // A lock belongs to the open file, which both handles share, so it matters not which of them took it.
    std::thread::spawn(move || sender.send(file.lock().is_ok()));
    receiver.recv_timeout(patience).unwrap_or(false)
}

fn lock_beside(socket: &Path) -> anyhow::Result<File> {
    // Added to the whole name: `broker.sock` in a home must not mean the `broker.lock` of that home.
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let file = open_private(&path)?;
    if !try_lock(&file, &path)? {
        bail!("another broker listens on {}; end it, or choose another --socket", socket.display());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("metadata").permissions().mode() & 0o777
    }

    #[test]
    fn a_home_has_one_broker_and_says_which() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("broker.lock");
        let first = Instance::claim(&path, false).expect("first");
        let refused = Instance::claim(&path, false).expect_err("second").to_string();
        assert!(refused.contains(&format!("pid {}", std::process::id())), "{refused}");
        assert!(refused.contains("meshctl stop"), "{refused}");
        drop(first);
        Instance::claim(&path, false).expect("after the first is gone");
    }

    #[test]
    fn a_waiting_broker_takes_over() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("broker.lock");
        let first = Instance::claim(&path, false).expect("first");
        let waiting = std::thread::spawn(move || Instance::claim(&path, true));
        drop(first);
        waiting.join().expect("thread").expect("second");
    }

    #[test]
    fn a_leftover_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("mesh.sock");
        drop(UnixListener::bind(&path).expect("leftover"));
        let (socket, listener) = Socket::bind(&path, false).expect("bind over a leftover");
        assert_eq!(mode(&path), 0o600);
        assert!(Socket::bind(&path, false).is_err());
        drop((socket, listener));
        assert!(!path.exists());
    }

    #[test]
    fn the_lock_of_a_socket_is_nobody_elses() {
        let dir = tempfile::tempdir().expect("tempdir");
        let _instance = Instance::claim(&dir.path().join("broker.lock"), false).expect("claim");
        let socket = dir.path().join("broker.sock");
        let _first = Socket::bind(&socket, true).expect("bind beside the home's own lock");
        assert!(Socket::bind(&socket, true).is_err());
    }

    #[test]
    fn a_token_is_drawn_once_and_private() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("token");
        let first = token(&path).expect("drawn");
        assert_eq!(first.len(), 64);
        assert_eq!(mode(&path), 0o600);
        assert_eq!(token(&path).expect("read"), first);
    }
}
