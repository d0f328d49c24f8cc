//! The list of all figures. What each says to an operator is in `docs/operations.md`.

use super::process;
use super::{Family, Kind, Sample, Snapshot, Value};
use crate::service::Mesh;

/// All figures at this moment, in a fixed order.
pub(crate) fn gather(mesh: &Mesh) -> Vec<Family> {
    let mut families = state(mesh);
    families.extend(commits(mesh));
    families.extend(calls(mesh));
    families.extend(process(mesh));
    families
}

/// What the state holds, at one revision.
fn state(mesh: &Mesh) -> Vec<Family> {
    let store_bytes = mesh.info.store.size_bytes();
    let state = mesh.view.read();
    let gauges = [
        ("mesh_revision", "The newest revision.", state.revision().0),
        ("mesh_oldest_revision", "The oldest revision whose events are kept.", mesh.events.oldest().0),
        ("mesh_scopes", "Scopes in which something has happened.", state.scope_count() as u64),
        ("mesh_sessions", "Peers with a live session.", state.peers.online_count() as u64),
        ("mesh_peers", "Peers known, live or not.", state.peers.known_count() as u64),
        ("mesh_locks", "Locks held or lingering.", state.locks.count() as u64),
        ("mesh_waiters", "Requests that wait for locks.", state.locks.waiter_count() as u64),
        ("mesh_entries", "Entries of all scopes.", state.entries.count() as u64),
        ("mesh_messages", "Messages stored.", state.messages.count() as u64),
        ("mesh_store_bytes", "Size of the store on disk.", store_bytes),
        ("mesh_subscribers", "Open Watch streams.", mesh.watches.count() as u64),
        (
            "mesh_subscriber_lag_revisions",
            "How far the slowest Watch stream is behind the newest revision.",
            mesh.watches.lag(state.revision()),
        ),
        ("mesh_queue_depth", "Requests that wait for the writer.", mesh.writer.depth() as u64),
        ("mesh_connections", "Open connections.", mesh.vitals.connections() as u64),
    ];
    gauges.into_iter().map(|(name, help, value)| gauge(name, help, value)).collect()
}

fn commits(mesh: &Mesh) -> [Family; 4] {
    let commits = &mesh.vitals.commits;
    let expired = "Sessions that ended because nothing was heard of them in time.";
    [
        histogram("mesh_commit_duration_seconds", "Time to make a batch durable.", commits.duration()),
        histogram("mesh_commit_transactions", "Transactions in a batch.", commits.transactions()),
        histogram("mesh_commit_bytes", "Keys and values of a batch.", commits.bytes()),
        counter("mesh_leases_expired_total", expired, commits.leases_expired()),
    ]
}

fn calls(mesh: &Mesh) -> Vec<Family> {
    let refused = mesh.vitals.refused.all().into_iter();
    let refused = refused
        .map(|(reason, count)| Sample { labels: vec![("reason", reason.to_owned())], value: number(count) });
    let mut families = vec![Family {
        name: "mesh_rejections_total",
        help: "Calls refused, by the reason in the error's details.",
        kind: Kind::Counter,
        samples: refused.collect(),
    }];
    if let Some(calls) = &mesh.vitals.calls {
        let samples = calls.all().into_iter().map(|(method, code, took)| Sample {
            labels: vec![("method", method.to_owned()), ("code", code.to_owned())],
            value: Value::Spread(took),
        });
        families.push(Family {
            name: "mesh_rpc_duration_seconds",
            help: "Time from a call to its answer; of a stream, to its opening.",
            kind: Kind::Histogram,
            samples: samples.collect(),
        });
    }
    families
}

fn process(mesh: &Mesh) -> Vec<Family> {
    let process = process::look();
    let build = Sample { labels: vec![("version", mesh.info.version.to_owned())], value: number(1) };
    let known = [
        ("process_resident_memory_bytes", "Memory that is resident.", process.resident_bytes),
        ("process_open_fds", "Open file descriptors.", process.open_fds),
        ("process_max_fds", "Most file descriptors that may be open.", process.max_fds),
        (
            "process_start_time_seconds",
            "When the broker started, since the Unix epoch.",
            Some(mesh.info.started.0 / 1_000),
        ),
    ];
    let known = known.into_iter().filter_map(|(name, help, value)| Some(gauge(name, help, value?)));
    let build_info = Family {
        name: "mesh_build_info",
        help: "Always 1; the label tells the version of the broker.",
        kind: Kind::Gauge,
        samples: vec![build],
    };
    std::iter::once(build_info).chain(known).collect()
}

fn gauge(name: &'static str, help: &'static str, value: u64) -> Family {
    single(name, help, Kind::Gauge, number(value))
}

fn counter(name: &'static str, help: &'static str, value: u64) -> Family {
    single(name, help, Kind::Counter, number(value))
}

fn histogram(name: &'static str, help: &'static str, spread: Snapshot) -> Family {
    single(name, help, Kind::Histogram, Value::Spread(spread))
}

fn single(name: &'static str, help: &'static str, kind: Kind, value: Value) -> Family {
    Family { name, help, kind, samples: vec![Sample { labels: Vec::new(), value }] }
}

#[expect(clippy::cast_precision_loss, reason = "figures are shown, not computed with")]
fn number(value: u64) -> Value {
    Value::Number(value as f64)
}
