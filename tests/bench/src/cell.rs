//! One server's work in one round.

use std::time::Duration;

use crate::stats::Latencies;

/// What was seen of one server in one round.
#[derive(Debug)]
pub(crate) struct Cell {
    /// How long it worked.
    pub(crate) elapsed: Duration,
    /// Of each call, or each delivery of an event.
    pub(crate) latencies: Latencies,
    /// What the server's process used of the processors.
    pub(crate) server_cpu: Duration,
    /// What share of the machine processes other than load and server used.
    pub(crate) foreign: f64,
    /// Of events only.
    pub(crate) answers: Option<Answers>,
}

/// How events relate to the answers of the calls that caused them.
#[derive(Debug)]
pub(crate) struct Answers {
    /// Of the calls.
    pub(crate) latencies: Latencies,
    /// From the answer to the delivery, in microseconds: p50 and p99. Negative when the event comes first.
    pub(crate) to_delivery: (f64, f64),
}

impl Cell {
    /// Calls, or deliveries, a second.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.count() as f64 / self.elapsed.as_secs_f64()
    }

    /// Processor time of the server for each, in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub(crate) fn server_micros(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / self.latencies.count() as f64
    }
}
