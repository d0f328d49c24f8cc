//! Other servers that do comparable work, from Debian's packages, each started here on loopback in its durable mode.

pub(crate) mod etcd;
mod link;
pub(crate) mod nats;
pub(crate) mod redis;

use std::path::PathBuf;

/// A program on the path, or where Debian puts servers.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    places.map(|place| place.join(program)).find(|program| program.is_file())
}
