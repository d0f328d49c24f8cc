//! The broker as JSON.

use mesh_client::proto;
use serde::Serialize;

use super::{seconds, time};

/// How the broker is.
#[derive(Debug, Serialize)]
pub(crate) struct Status<'a> {
    revision: u64,
    incarnation: &'a str,
    version: &'a str,
    pid: u32,
    start_time: Option<String>,
    store_path: &'a str,
    store_bytes: u64,
    endpoints: &'a [String],
    oldest_revision: u64,
    scopes: u32,
    peers_online: u32,
    peers_known: u32,
    locks: u32,
    entries: u64,
    messages: u64,
    watches: u32,
    auto_started: bool,
    idle_exit_seconds: Option<f64>,
}

impl<'a> From<&'a proto::GetStatusResponse> for Status<'a> {
    fn from(status: &'a proto::GetStatusResponse) -> Self {
        let header = status.header.as_ref();
        Self {
            revision: header.map_or(0, |header| header.revision),
            incarnation: header.map_or("", |header| &header.incarnation),
            version: &status.version,
            pid: status.pid,
            start_time: time(status.start_time.as_ref()),
            store_path: &status.store_path,
            store_bytes: status.store_bytes,
            endpoints: &status.endpoints,
            oldest_revision: status.oldest_revision,
            scopes: status.scopes,
            peers_online: status.peers_online,
            peers_known: status.peers_known,
            locks: status.locks,
            entries: status.entries,
            messages: status.messages,
            watches: status.watches,
            auto_started: status.auto_started,
            idle_exit_seconds: seconds(status.idle_exit.as_ref()),
        }
    }
}
