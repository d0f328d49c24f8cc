//! The directory of one user's mesh: data, socket, locks and secrets in one place.
//!
//! Owns the names of the files in it. The place is `MESH_HOME`, else `$HOME/.mesh`: always derivable from HOME
//! alone, because agent hosts start their MCP servers with an almost empty environment, and a client that
//! looked elsewhere would start a second broker.
//!
//! What must hold: a [`Home`] is an absolute path, short enough for a socket address below it.

use std::ffi::OsStr;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ClientError;

/// Longest path of a Unix socket that every platform takes (macOS: 104 bytes with the final NUL).
pub(crate) const MAX_SOCKET_PATH: usize = 100;

/// The directory that holds everything of one user's mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

/// What a running broker writes into [`Home::broker_lock_path`] (as JSON), for display.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerRecord {
    /// Process id of the broker.
    pub pid: u32,
    /// Version of the broker program.
    pub version: String,
}

impl Home {
    /// Takes an absolute path, which need not exist.
    pub fn at(root: impl Into<PathBuf>) -> Result<Self, ClientError> {
        let home = Self { root: root.into() };
        if !home.root.is_absolute() {
            return Err(ClientError::config(format!(
                "MESH_HOME is not an absolute path: {}; write it out in full",
                home.root.display()
            )));
        }
        check_socket_path(&home.socket_path())?;
        Ok(home)
    }

    /// The place named by `MESH_HOME`, else `$HOME/.mesh`; empty values count as unset.
    pub(crate) fn resolve(mesh_home: Option<&OsStr>, home: Option<&OsStr>) -> Result<Self, ClientError> {
        let given = |value: Option<&OsStr>| value.filter(|v| !v.is_empty()).map(PathBuf::from);
        let root = given(mesh_home).or_else(|| given(home).map(|home| home.join(".mesh")));
        Self::at(
            root.ok_or_else(|| ClientError::config("neither MESH_HOME nor HOME is set; set one of them"))?,
        )
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Directory of the broker's store.
    pub fn store_path(&self) -> PathBuf {
        self.root.join("store")
    }

    /// The broker's Unix socket.
    pub fn socket_path(&self) -> PathBuf {
        self.root.join("mesh.sock")
    }

    /// File that the broker holds with an exclusive flock for as long as it lives; see [`BrokerRecord`].
    pub fn broker_lock_path(&self) -> PathBuf {
        self.root.join("broker.lock")
    }

    /// File that a client holds with an exclusive flock while it starts a broker.
    pub fn start_lock_path(&self) -> PathBuf {
        self.root.join("start.lock")
    }

    /// The bearer token for TCP, mode 0600.
    pub fn token_path(&self) -> PathBuf {
        self.root.join("token")
    }

    /// Directory of the broker's own certificate and its key, mode 0700.
    pub fn tls_path(&self) -> PathBuf {
        self.root.join("tls")
    }

    /// The certificate that a broker has made for itself: what to trust on this machine.
    pub fn certificate_path(&self) -> PathBuf {
        self.tls_path().join("cert.pem")
    }

    /// What an auto-started broker writes to stderr.
    pub fn log_path(&self) -> PathBuf {
        self.root.join("broker.log")
    }

    /// Directory of saved sessions, one file each, mode 0600.
    pub fn sessions_path(&self) -> PathBuf {
        self.root.join("sessions")
    }

    /// Directory of the registry of agent sessions; see [`crate::agent`].
    pub fn agents_path(&self) -> PathBuf {
        self.root.join("agents")
    }

    /// What the broker wrote of itself; `None` when none ever ran or the file is not readable as such. Says
    /// nothing about whether it still runs: connect to find out.
    pub fn broker_record(&self) -> Option<BrokerRecord> {
        serde_json::from_slice(&std::fs::read(self.broker_lock_path()).ok()?).ok()
    }

    /// Creates the directory and `sessions/` with mode 0700 where missing.
    ///
    /// Refuses a directory of another user (root excepted) or one that others may write to: whoever can put
    /// files there can pose as the broker.
    pub fn create(&self) -> io::Result<()> {
        let missing = create_private(&self.root)?;
        let metadata = std::fs::metadata(&self.root)?;
        let owner = metadata.uid();
        if owner != rustix::process::geteuid().as_raw() && owner != 0 {
            return Err(self.refused("belongs to another user"));
        }
        if !missing && metadata.mode() & 0o022 != 0 {
            return Err(self.refused("can be written to by others"));
        }
        create_private(&self.sessions_path())?;
        Ok(())
    }

    fn refused(&self, why: &str) -> io::Error {
        let text = format!("{} {why}; choose another MESH_HOME or fix it (chmod 700)", self.root.display());
        io::Error::new(io::ErrorKind::PermissionDenied, text)
    }
}

/// Refuses a path that does not fit into a socket address.
pub(crate) fn check_socket_path(path: &Path) -> Result<(), ClientError> {
    let length = path.as_os_str().as_bytes().len();
    if length <= MAX_SOCKET_PATH {
        return Ok(());
    }
    Err(ClientError::config(format!(
        "the socket path {} has {length} bytes, and a Unix socket takes {MAX_SOCKET_PATH}; \
         set MESH_HOME to a shorter directory",
        path.display()
    )))
}

/// Creates a directory for the owner alone where it is missing; true if it was.
pub(crate) fn create_private(path: &Path) -> io::Result<bool> {
    if path.exists() {
        return Ok(false);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // The umask may have taken bits from the owner.
    std::fs::set_permissions(path, Permissions::from_mode(0o700))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(mesh_home: Option<&str>, home: Option<&str>) -> Result<Home, ClientError> {
        Home::resolve(mesh_home.map(OsStr::new), home.map(OsStr::new))
    }

    #[test]
    fn mesh_home_wins_over_home_and_empty_is_unset() {
        assert_eq!(resolve(Some("/m"), Some("/h")).unwrap().path(), Path::new("/m"));
        assert_eq!(resolve(None, Some("/h")).unwrap().path(), Path::new("/h/.mesh"));
        assert_eq!(resolve(Some(""), Some("/h")).unwrap().socket_path(), Path::new("/h/.mesh/mesh.sock"));
        assert!(resolve(None, None).is_err());
        assert!(resolve(Some("relative"), None).is_err());
    }

    #[test]
    fn a_long_home_is_refused_with_the_remedy() {
        let error = Home::at(format!("/{}", "x".repeat(100))).unwrap_err().to_string();
        assert!(error.contains("set MESH_HOME to a shorter directory"), "{error}");
        assert!(Home::at(format!("/{}", "x".repeat(100 - "//mesh.sock".len()))).is_ok());
    }

    #[test]
    fn the_directory_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("a/b")).unwrap();
        home.create().unwrap();
        home.create().unwrap();
        for path in [home.path().to_owned(), home.sessions_path()] {
            assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o777, 0o700);
        }
        assert_eq!(home.broker_record(), None);
        std::fs::write(home.broker_lock_path(), r#"{"pid":7,"version":"1.2.3"}"#).unwrap();
        assert_eq!(home.broker_record().unwrap().pid, 7);
    }

    /// The umask is the process's, so the test runs itself again under a strict one.
    #[test]
    fn directories_can_be_used_under_any_umask() {
        const HERE: &str = "MESH_TEST_UMASK_HOME";
        if let Some(dir) = std::env::var_os(HERE) {
            let home = Home::at(Path::new(&dir).join("home")).unwrap();
            home.create().unwrap();
            create_private(&home.agents_path()).unwrap();
            for path in [home.path().to_owned(), home.sessions_path(), home.agents_path()] {
                assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o700, "{}", path.display());
            }
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let output = std::process::Command::new("sh")
            .args([
                "-c",
                "umask 0177; exec \"$0\" --exact home::tests::directories_can_be_used_under_any_umask",
            ])
            .arg(std::env::current_exe().unwrap())
            .env(HERE, dir.path())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        for mode in [0o777, 0o1777, 0o770, 0o720, 0o702] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
            let error = Home::at(dir.path()).unwrap().create().unwrap_err();
            assert!(error.to_string().contains("chmod 700"), "{mode:o}: {error}");
        }
    }
}
