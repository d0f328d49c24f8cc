//! How the broker is, beyond what the state tells: what is counted, and whether its disk still answers.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::metrics::{Calls, Commits, Refused};
use crate::probe::Probe;
use crate::queue::Handle;
use crate::transport::OpenConnections;

/// Counters and probes of one broker.
#[derive(Debug)]
pub struct Vitals {
    /// What the writer counts.
    pub(crate) commits: Arc<Commits>,
    /// How long calls take; none unless somebody asked for figures.
    pub(crate) calls: Option<Calls>,
    /// What was refused.
    pub(crate) refused: Refused,
    /// Accepted and not yet closed.
    pub(crate) open: OpenConnections,
    /// Whether a write and a read still work.
    pub(crate) probe: Probe,
    /// Where figures can be asked for.
    pub(crate) metrics: Option<SocketAddr>,
    /// Where traces and figures are sent.
    pub(crate) otlp: Option<String>,
}

impl Vitals {
    /// Of a broker whose figures nobody asks for.
    #[must_use]
    pub fn new(commits: Arc<Commits>, writer: Handle) -> Self {
        Self {
            commits,
            calls: None,
            refused: Refused::default(),
            open: OpenConnections::default(),
            probe: Probe::new(writer),
            metrics: None,
            otlp: None,
        }
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> usize {
        self.open.count()
    }
}
