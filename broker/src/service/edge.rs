//! Where calls enter: each has a span, and what is refused or slow is noted, whatever service it is for.
//!
//! What must hold: with nobody asking for figures, and without logs of level debug, a call costs one allocation here;
//! nothing that a caller sends is logged but the path of its method, which is cut short, and the reason of a refusal,
//! which names fields, keys and paths, and never what is in them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::metrics::code_name;
use crate::vitals::Vitals;

/// Longest path of a method that is logged.
const PATH: usize = 128;

/// Puts the edge around services.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    vitals: Arc<Vitals>,
}

/// A service behind the edge.
#[derive(Clone, Debug)]
pub(crate) struct Guarded<S> {
    inner: S,
    edge: Edge,
}

impl Edge {
    pub(crate) fn new(vitals: Arc<Vitals>) -> Self {
        Self { vitals }
    }

    /// Notes how a call went: its status, if it was refused before there was anything to answer.
    fn note(&self, span: &Span, path: &str, refused: Option<&Status>, took: Duration) {
        let code = refused.map_or(Code::Ok, Status::code);
        if let Some(calls) = &self.vitals.calls {
            calls.note(path, code, took);
        }
        span.record("code", code_name(code));
        let Some(status) = refused else {
            tracing::debug!(parent: span, took_us = micros(took), "answered");
            return;
        };
        let details = status.get_error_details();
        let reason = details.error_info().map(|info| info.reason.as_str());
        self.vitals.refused.note(reason, code);
        self.log(span, short(path), status, reason.unwrap_or_default(), took);
    }

    /// One line for each call that failed; that a call is refused is everyday business.
    fn log(&self, span: &Span, method: &str, status: &Status, reason: &str, took: Duration) {
        let (code, why, took_us) = (code_name(status.code()), status.message(), micros(took));
        match status.code() {
            Code::Internal | Code::DataLoss | Code::Unknown => {
                tracing::error!(parent: span, method, code, reason, why, took_us, "failed");
            }
            Code::Unavailable if reason == "OVERLOADED" => {
                tracing::warn!(parent: span, method, code, reason, why, took_us, "refused");
            }
            Code::Ok
            | Code::Cancelled
            | Code::InvalidArgument
            | Code::DeadlineExceeded
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            // The gate tells of those, and not of each.
            | Code::Unauthenticated
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Unavailable => {
                tracing::debug!(parent: span, method, code, reason, why, took_us, "refused");
            }
        }
    }
}

impl<S> Layer<S> for Edge {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded { inner, edge: self.clone() }
    }
}

impl<S, B, R> Service<http::Request<B>> for Guarded<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let begun = Instant::now();
        let path = request.uri().clone();
        let span = tracing::debug_span!(
            "call",
            method = short(path.path()),
            traceparent = request.headers().get("traceparent").and_then(|parent| parent.to_str().ok()),
            scope = Empty,
            peer = Empty,
            session = Empty,
            request_id = Empty,
            revision = Empty,
            code = Empty,
        );
        let edge = self.edge.clone();
        let answer = {
            let _entered = span.enter();
            self.inner.call(request)
        };
        Box::pin(async move {
            let answer = answer.instrument(span.clone()).await;
            if let Ok(response) = &answer {
                let refused = response.extensions().get::<Status>();
                edge.note(&span, path.path(), refused, begun.elapsed());
            }
            answer
        })
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn short(path: &str) -> &str {
    path.get(..path.floor_char_boundary(PATH)).unwrap_or_default()
}
