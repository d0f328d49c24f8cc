//! Logs on stderr. No secret is ever a field of a span or an event.

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging. A second start in one process keeps the first.
pub(crate) fn init(filter: &str, format: LogFormat) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => log.with_ansi(false).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    drop(started);
}
