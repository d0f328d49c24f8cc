//! The broker: gRPC services over one writer, one store and one event log.
//!
//! The way of a change: `service` authenticates and parses it into a [`mesh_core::command::Request`]; [`queue`]
//! takes it to the [`writer`], the only owner of the state; [`mesh_core::State::decide`] says what happens; the
//! [`store`] makes it durable; then, in this order, [`view`] shows it, [`events`] publishes it and the caller is
//! answered. Reads go to the view and never wait for the disk. Heartbeats go to [`leases`] and never reach it.

pub mod backup;
pub mod check;
pub mod clock;
pub mod config;
pub mod events;
mod http;
pub mod ids;
mod instance;
pub mod leases;
pub mod maintenance;
pub mod metrics;
mod notify;
mod otlp;
mod pace;
mod probe;
pub mod queue;
pub mod records;
mod server;
pub mod service;
mod shutdown;
pub mod store;
mod telemetry;
mod tls;
mod transport;
pub mod view;
pub mod vitals;
pub mod writer;

use config::Config;

/// Runs a broker until it is told to stop: one thread for calls beside the writer's own.
pub fn run(config: Config) -> anyhow::Result<()> {
    let traces = telemetry::init(&config);
    if config.auto {
        // Fails only for the leader of a process group, which has a session of its own already.
        let _ = rustix::process::setsid();
    }
    // Whatever file it makes, the store's included, is this user's alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let ended = runtime.block_on(server::serve(config, traces));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    ended
}

/// A connection takes a descriptor, and the usual limit of 1,024 is for programs that still call `select`.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, limit = limit.current, "cannot raise the limit of open files");
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Resource, getrlimit};

    #[test]
    fn as_many_files_may_be_open_as_the_system_allows() {
        super::raise_descriptor_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
