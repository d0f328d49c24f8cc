//! Logs on stderr, and spans on their way to a collector. No secret is ever a field of a span or an event.
//!
//! What must hold: what libraries log of the wire, where credentials and bodies are, is left out whatever the filter
//! says; the log file of a broker that a client started, which nobody looks after, does not grow without end.

mod bounded;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{Directive, EnvFilter, Targets};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::prelude::*;

use self::bounded::Bounded;
use crate::config::{Config, LogFormat};
use crate::otlp::{self, Outbox};

/// Libraries that would log frames and headers at finer levels.
const WIRE: [&str; 6] =
    ["h2=info", "hyper=info", "hyper_util=info", "rustls=info", "tonic=info", "tower=info"];

/// Starts logging, and tracing if a collector is named. A second start in one process keeps the first.
pub(crate) fn init(config: &Config) -> Option<Outbox> {
    let writer = match Bounded::stderr(&config.paths.log).filter(|_| config.auto) {
        Some(bounded) => BoxMakeWriter::new(bounded),
        None => BoxMakeWriter::new(std::io::stderr),
    };
    let (traces, outbox) = config.otlp.is_some().then(otlp::traces).unzip();
    let own = Targets::new().with_target(env!("CARGO_CRATE_NAME"), LevelFilter::DEBUG);
    let log = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    let log = match config.log_format {
        LogFormat::Text => log.boxed(),
        LogFormat::Json => log.json().boxed(),
    };
    let layers = tracing_subscriber::registry()
        .with(log.with_filter(filter(&config.log_filter)))
        .with(traces.map(|traces| traces.with_filter(own)));
    drop(layers.try_init());
    outbox
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
