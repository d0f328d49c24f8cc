//! Logs on stderr. No secret is ever a field of a span or an event.
//!
//! What must hold: what libraries log of the wire, where credentials and bodies are, is left out whatever the filter
//! says; the log file of a broker that a client started, which nobody looks after, does not grow without end.

mod bounded;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use self::bounded::Bounded;
use crate::config::{Config, LogFormat};

/// Libraries that would log frames and headers at finer levels.
const WIRE: [&str; 6] =
    ["h2=info", "hyper=info", "hyper_util=info", "rustls=info", "tonic=info", "tower=info"];

/// Starts logging. A second start in one process keeps the first.
pub(crate) fn init(config: &Config) {
    let writer = match Bounded::stderr(&config.paths.log).filter(|_| config.auto) {
        Some(bounded) => BoxMakeWriter::new(bounded),
        None => BoxMakeWriter::new(std::io::stderr),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter(&config.log_filter)).with_writer(writer);
    let started = match config.log_format {
        LogFormat::Text => log.with_ansi(false).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    drop(started);
}

fn filter(wanted: &str) -> EnvFilter {
    let filter = EnvFilter::try_new(wanted).unwrap_or_else(|_| EnvFilter::new("info"));
    let wire = WIRE.iter().filter_map(|directive| directive.parse::<Directive>().ok());
    wire.fold(filter, EnvFilter::add_directive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_filter_lets_the_wire_into_the_log() {
        for wanted in ["trace", "h2=trace", "nonsense=[", "hyper=trace,h2=debug,info"] {
            let filter = filter(wanted).to_string();
            assert!(WIRE.iter().all(|directive| filter.contains(directive)), "{wanted}: {filter}");
            assert!(!filter.contains("h2=trace") && !filter.contains("hyper=trace"), "{wanted}: {filter}");
        }
    }
}
