//! Figures about a running broker: what is counted as it happens, and what is looked up when somebody asks.
//!
//! Owns the counters, the one list of all figures with their names (`gather`), and the ways out of it: Prometheus
//! asks, and `otlp` sends. What must hold: no label names a scope, a peer or anything else that callers choose, so the number of series is
//! bounded; what is only for the figures is not measured unless somebody asked for them; counting takes atomics and,
//! per call, one short lock.

mod calls;
mod commits;
pub(crate) mod endpoint;
pub(crate) mod gather;
mod histogram;
pub(crate) mod process;
mod text;

pub(crate) use self::calls::{Calls, Refused, code_name};
pub use self::commits::Commits;
pub(crate) use self::histogram::Snapshot;

/// A figure, with all its series.
#[derive(Debug)]
pub(crate) struct Family {
    /// By the conventions of Prometheus: the unit at the end, and `_total` after it for what only rises.
    pub(crate) name: &'static str,
    /// What it says, in one line.
    pub(crate) help: &'static str,
    /// How it behaves.
    pub(crate) kind: Kind,
    /// Its series.
    pub(crate) samples: Vec<Sample>,
}

/// How a figure behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only rises while the broker lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often values fell into which range.
    Histogram,
}

/// One series of a figure.
#[derive(Debug)]
pub(crate) struct Sample {
    /// What tells it from the figure's other series.
    pub(crate) labels: Vec<(&'static str, String)>,
    /// What it is.
    pub(crate) value: Value,
}

/// The value of a series.
#[derive(Debug)]
pub(crate) enum Value {
    /// Of a counter or gauge.
    Number(f64),
    /// Of a histogram.
    Spread(Snapshot),
}
