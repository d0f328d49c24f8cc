//! One broker per store and per socket, whoever starts them and however often.
//!
//! A file lock that the kernel drops with the process decides; nothing is ever left to clean up by hand. A socket
//! file without a listener is a leftover and is replaced; one with a listener belongs to another broker.
//!
//! What must hold, wherever the files are: no other user opens them at any moment, and a link that somebody has put in
//! their place is never followed.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::fs::OFlags;
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
        // Bound in a directory that is closed to others, then moved into place: never reachable with looser rights,
        // and a leftover file, or a link, is replaced in the same step.
        let cannot = || format!("cannot listen on {}", path.display());
        match std::fs::symlink_metadata(path) {
            Ok(file) if file.file_type().is_socket() || file.is_symlink() => {}
            Ok(_) => bail!("{} is no socket; choose another --socket", path.display()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(cannot),
        }
        let aside = Aside::beside(path).with_context(cannot)?;
        let socket = aside.0.join("s");
        let listener = UnixListener::bind(&socket).with_context(cannot)?;
        std::fs::set_permissions(&socket, Permissions::from_mode(0o600)).with_context(cannot)?;
        std::fs::rename(&socket, path).with_context(cannot)?;
        Ok((Self { path: path.to_owned(), _lock: lock }, listener))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A new, empty directory that only this user can enter; it goes when it is dropped.
struct Aside(PathBuf);

impl Aside {
    /// Makes one in the directory of a file. Its name and `/s` are as long as `mesh.sock`: the path of a socket is short.
    fn beside(path: &Path) -> io::Result<Self> {
        let random: [u8; 3] = random().map_err(io::Error::other)?;
        let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let directory = path.parent().unwrap_or(Path::new(".")).join(format!(".{name}"));
        DirBuilder::new().mode(0o700).create(&directory)?;
        let aside = Self(directory);
        // The umask may have taken bits from the owner.
        std::fs::set_permissions(&aside.0, Permissions::from_mode(0o700))?;
        Ok(aside)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Empty after a success; after a failure, what is in it is of no use.
        let _ = std::fs::remove_file(self.0.join("s"));
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// The bearer token for TCP: read, or drawn and stored for this user alone.
pub(crate) fn token(path: &Path) -> anyhow::Result<String> {
    match read_private(path) {
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

/// Reads a secret, and closes it to others if they could have read it.
fn read_private(path: &Path) -> io::Result<String> {
    let mut file = OpenOptions::new().read(true).custom_flags(no_follow()).open(path)?;
    if file.metadata()?.mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others could read this secret; it is closed to them now");
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// A link at the end of a path is an error.
fn no_follow() -> i32 {
    OFlags::NOFOLLOW.bits().cast_signed()
}

fn open_private(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(no_follow())
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
    let directory = socket.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let rights =
        std::fs::metadata(directory).with_context(|| format!("cannot use {}", directory.display()))?;
    // Where everybody may write, only the sticky bit keeps others from replacing what is ours.
    if rights.mode() & 0o1002 == 0o002 {
        bail!("every user can replace what is in {}; choose another --socket", directory.display());
    }
    let file = open_private(&path)?;
    if file.metadata()?.uid() != rustix::process::geteuid().as_raw() {
        bail!("{} belongs to another user; choose another --socket", path.display());
    }
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
    fn a_link_in_the_place_of_a_file_is_not_followed() {
        let dir = tempfile::tempdir().expect("tempdir");
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("treasure"), "mine").expect("write");
        for name in ["mesh.sock", "broker.lock", "token", "x.lock"] {
            std::os::unix::fs::symlink(at("treasure"), at(name)).expect("symlink");
        }
        assert!(Instance::claim(&at("broker.lock"), false).is_err());
        assert!(token(&at("token")).is_err());
        assert!(Socket::bind(&at("x"), true).is_err());
        let (_socket, _listener) = Socket::bind(&at("mesh.sock"), false).expect("the link is replaced");
        assert!(std::fs::symlink_metadata(at("mesh.sock")).expect("metadata").file_type().is_socket());
        assert_eq!(std::fs::read_to_string(at("treasure")).expect("read"), "mine");
        assert_eq!(std::fs::read_dir(dir.path()).expect("list").count(), 5, "nothing is left aside");
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("notes.txt");
        std::fs::write(&path, "mine").expect("write");
        assert!(Socket::bind(&path, true).is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "mine");
    }

    #[test]
    fn a_socket_is_not_put_where_everybody_can_replace_it() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("s");
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).expect("chmod");
        assert!(Socket::bind(&path, true).is_err());
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o1777)).expect("chmod");
        Socket::bind(&path, true).expect("with the sticky bit, as in /tmp");
    }

    #[test]
    fn a_token_that_others_could_read_is_closed_to_them() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("token");
        std::fs::write(&path, "secret").expect("write");
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("chmod");
        assert_eq!(token(&path).expect("read"), "secret");
        assert_eq!(mode(&path), 0o600);
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
