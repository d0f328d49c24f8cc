//! From the spans of `tracing` to those of OpenTelemetry.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use tokio::sync::mpsc;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use uuid::Uuid;

/// Hands closed spans out, and drops what nobody takes in time.
#[derive(Debug)]
pub(crate) struct Traces {
    out: mpsc::Sender<Span>,
    dropped: Arc<AtomicU64>,
}

/// What a span belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    trace: [u8; 16],
    span: [u8; 8],
    sampled: bool,
}

/// A span that is open.
#[derive(Debug)]
struct Open {
    place: Place,
    parent: Option<[u8; 8]>,
    started: u64,
    fields: Fields,
}

#[derive(Debug, Default)]
struct Fields {
    method: Option<String>,
    code: Option<String>,
    traceparent: Option<String>,
    others: Vec<KeyValue>,
}

impl Traces {
    pub(super) fn new(out: mpsc::Sender<Span>, dropped: Arc<AtomicU64>) -> Self {
        Self { out, dropped }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Traces {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let above = span.parent().and_then(|above| above.extensions().get::<Open>().map(|open| open.place));
        let above = above.or_else(|| fields.traceparent.as_deref().and_then(Place::parse));
        let mut place = Place::new();
        if let Some(above) = above {
            place = Place { trace: above.trace, sampled: above.sampled, ..place };
        }
        let parent = above.map(|above| above.span);
        span.extensions_mut().insert(Open { place, parent, started: now(), fields });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            values.record(&mut open.fields);
        }
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(&id) else { return };
        let Some(open) = span.extensions_mut().remove::<Open>() else { return };
        if open.place.sampled && self.out.try_send(open.close(span.name())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Place {
    /// The beginning of a trace.
    fn new() -> Self {
        let mut span = [0; 8];
        span.copy_from_slice(&Uuid::new_v4().as_bytes()[..8]);
        Self { trace: *Uuid::new_v4().as_bytes(), span, sampled: true }
    }

    /// What a caller says of its own span: `00-TRACE-SPAN-FLAGS`, in hexadecimal digits.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let all_digits = text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
        if version == "ff"
            || (version.len(), trace.len(), span.len(), flags.len()) != (2, 32, 16, 2)
            || !all_digits
        {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok().filter(|trace| *trace != 0)?;
        let span = u64::from_str_radix(span, 16).ok().filter(|span| *span != 0)?;
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        Some(Self { trace: trace.to_be_bytes(), span: span.to_be_bytes(), sampled })
    }
}

impl Open {
    fn close(self, name: &str) -> Span {
        let Fields { method, code, others, .. } = self.fields;
        let is_call = method.is_some();
        let name = method.as_deref().map_or(name, |method| method.trim_start_matches('/')).to_owned();
        let mut attributes = others;
        if let Some(method) = method {
            attributes.push(text("rpc.system", "grpc".to_owned()));
            attributes.push(text("rpc.method", method));
        }
        // Only what is the broker's fault is an error of its span.
        let failed = matches!(code.as_deref(), Some("INTERNAL" | "DATA_LOSS" | "UNKNOWN" | "UNAVAILABLE"));
        let status = failed.then(|| Status { code: StatusCode::Error.into(), ..Status::default() });
        attributes.extend(code.map(|code| text("rpc.response.status_code", code)));
        Span {
            trace_id: self.place.trace.into(),
            span_id: self.place.span.into(),
            parent_span_id: self.parent.map(Vec::from).unwrap_or_default(),
            name,
            kind: if is_call { SpanKind::Server } else { SpanKind::Internal }.into(),
            start_time_unix_nano: self.started,
            end_time_unix_nano: now(),
            attributes,
            status,
            ..Span::default()
        }
    }
}

impl Fields {
    fn add(&mut self, field: &Field, value: any_value::Value) {
        let key = format!("mesh.{}", field.name());
        self.others.push(KeyValue {
            key,
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        });
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "method" => self.method = Some(value.to_owned()),
            "code" => self.code = Some(value.to_owned()),
            "traceparent" => self.traceparent = Some(value.to_owned()),
            _ => self.add(field, any_value::Value::StringValue(value.to_owned())),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, any_value::Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, any_value::Value::StringValue(format!("{value:?}")));
    }
}

pub(super) fn text(key: &str, value: String) -> KeyValue {
    let value = Some(any_value::Value::StringValue(value));
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() }
}

/// Nanoseconds since the Unix epoch.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_says_what_its_call_belongs_to() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let place = Place::parse(text).unwrap();
        assert_eq!((place.trace[0], place.span[7], place.sampled), (0x0a, 0x31, true));
        assert!(!Place::parse(&text.replace("-01", "-00")).unwrap().sampled);
        for wrong in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-+7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-01",
        ] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_nobody_takes_in_time_is_dropped_and_counted() {
        use tracing_subscriber::prelude::*;
        let (sender, mut spans) = mpsc::channel(1);
        let dropped = Arc::<AtomicU64>::default();
        let layer = Traces::new(sender, dropped.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            for _ in 0..3 {
                let outer = tracing::info_span!("call", method = "/a/B", code = tracing::field::Empty);
                let _entered = outer.enter();
                outer.record("code", "DATA_LOSS");
            }
        });
        let span = spans.try_recv().unwrap();
        assert_eq!((span.name.as_str(), span.trace_id.len(), span.span_id.len()), ("a/B", 16, 8));
        assert_eq!(span.status.unwrap().code, i32::from(StatusCode::Error));
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    }
}
