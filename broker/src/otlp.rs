//! Traces and figures for OpenTelemetry, sent to a collector over gRPC, if whoever starts the broker names one.
//!
//! Owns the layer that makes the broker's own spans those of OpenTelemetry, and the task that sends them. What must hold:
//! a collector that is slow or away costs its data and nothing else, so what waits is bounded and the rest is dropped;
//! only spans of this crate leave, and none of their fields is a secret; a caller that says that its trace is not sampled
//! is not traced.

mod figures;
mod layer;
mod send;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::mpsc;

pub(crate) use self::layer::Traces;
pub(crate) use self::send::{Exporter, endpoint};

/// Spans that wait to be sent.
const WAITING: usize = 4_096;

/// Spans on their way out.
#[derive(Debug)]
pub(crate) struct Outbox {
    spans: mpsc::Receiver<Span>,
    dropped: Arc<AtomicU64>,
}

/// A layer and what comes out of it.
pub(crate) fn traces() -> (Traces, Outbox) {
    let (sender, spans) = mpsc::channel(WAITING);
    let dropped = Arc::<AtomicU64>::default();
    (Traces::new(sender, dropped.clone()), Outbox { spans, dropped })
}
