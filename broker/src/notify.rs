//! Tells the service manager that started this broker how it is, in the words of `sd_notify(3)`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where a service manager listens; it is told nothing when there is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manager(Option<SocketAddr>);

impl Manager {
    /// Of the socket that it named: a path, or on Linux an abstract name behind an `@`.
    pub(crate) fn at(socket: Option<&OsStr>) -> Self {
        Self(socket.and_then(|socket| address(socket.as_bytes()).ok()))
    }

    /// Calls are answered from here on.
    pub(crate) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The end has begun.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, state: &str) {
        let Some(address) = &self.0 else { return };
        let told = UnixDatagram::unbound().and_then(|socket| socket.send_to_addr(state.as_bytes(), address));
        if let Err(error) = told {
            tracing::warn!(%error, state, "cannot tell the service manager");
        }
    }
}

fn address(socket: &[u8]) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = socket.strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt;
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname(OsStr::from_bytes(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_hears_how_the_broker_is_and_none_is_no_trouble() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let told = Manager::at(Some(path.as_os_str()));
        let mut heard = [0; 32];
        told.ready();
        assert_eq!(manager.recv(&mut heard).map(|n| heard[..n].to_vec()).unwrap(), b"READY=1");
        told.stopping();
        assert_eq!(manager.recv(&mut heard).map(|n| heard[..n].to_vec()).unwrap(), b"STOPPING=1");
        drop(manager);
        told.ready();
        Manager::at(None).ready();
    }
}
