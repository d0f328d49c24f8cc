//! The broker as JSON.

use mesh_client::proto;
use serde::Serialize;

use super::{seconds, time};
use crate::commands::Finding;

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
    log: Option<String>,
    vitals: Option<Vitals<'a>>,
    works: Option<bool>,
    findings: &'a [Finding],
}

/// How it does its work; `null` from a broker that is too old to tell.
#[derive(Debug, Serialize)]
struct Vitals<'a> {
    queue_depth: u32,
    queue_capacity: u32,
    watch_lag: u64,
    waiters: u32,
    connections: u32,
    commits: u64,
    last_commit_seconds: Option<f64>,
    longest_commit_seconds: Option<f64>,
    leases_expired: u64,
    refused_credentials: u64,
    free_bytes: Option<u64>,
    resident_bytes: Option<u64>,
    open_files: Option<u64>,
    max_open_files: Option<u64>,
    metrics_endpoint: &'a str,
    otlp_endpoint: &'a str,
    limits: Vec<LimitUse<'a>>,
}

/// How much there is of something.
#[derive(Debug, Serialize)]
struct LimitUse<'a> {
    name: &'a str,
    used: u64,
    limit: u64,
}

impl<'a> Status<'a> {
    /// What the broker says, where it logs, whether it proved that it works if it was asked to, and what is wrong.
    pub(crate) fn new(
        status: &'a proto::GetStatusResponse,
        log: Option<String>,
        works: Option<bool>,
        findings: &'a [Finding],
    ) -> Self {
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
            log,
            vitals: status.vitals.as_ref().map(Vitals::from),
            works,
            findings,
        }
    }
}

impl<'a> From<&'a proto::Vitals> for Vitals<'a> {
    fn from(vitals: &'a proto::Vitals) -> Self {
        let limits = vitals.limits.iter();
        Self {
            queue_depth: vitals.queue_depth,
            queue_capacity: vitals.queue_capacity,
            watch_lag: vitals.watch_lag,
            waiters: vitals.waiters,
            connections: vitals.connections,
            commits: vitals.commits,
            last_commit_seconds: seconds(vitals.last_commit.as_ref()),
            longest_commit_seconds: seconds(vitals.longest_commit.as_ref()),
            leases_expired: vitals.leases_expired,
            refused_credentials: vitals.refused_credentials,
            free_bytes: vitals.free_bytes,
            resident_bytes: vitals.resident_bytes,
            open_files: vitals.open_files,
            max_open_files: vitals.max_open_files,
            metrics_endpoint: &vitals.metrics_endpoint,
            otlp_endpoint: &vitals.otlp_endpoint,
            limits: limits
                .map(|limit| LimitUse { name: &limit.name, used: limit.used, limit: limit.limit })
                .collect(),
        }
    }
}
