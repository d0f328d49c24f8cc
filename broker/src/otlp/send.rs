//! Sends what has gathered, every second, and figures four times a minute.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::layer::{now, text};
use super::{Outbox, figures};
use crate::metrics::gather::gather;
use crate::service::Mesh;

const EVERY: Duration = Duration::from_secs(1);
/// Figures are sent with every so many batches of spans.
const FIGURES_EVERY: u32 = 15;
/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the end of the broker waits for a collector.
const LAST: Duration = Duration::from_secs(2);
/// How long a collector in trouble is not mentioned again.
const QUIET: Duration = Duration::from_secs(60);

/// The task that sends.
#[derive(Debug)]
pub(crate) struct Exporter {
    task: JoinHandle<()>,
    end: CancellationToken,
}

/// A collector: `http://HOST:PORT`.
pub(crate) fn endpoint(url: &str) -> Result<Endpoint, String> {
    if !url.starts_with("http://") {
        return Err(
            "write http://HOST:PORT; a collector elsewhere is reached through one beside the broker".into()
        );
    }
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| error.to_string())?;
    Ok(endpoint.connect_timeout(PATIENCE).timeout(PATIENCE))
}

impl Exporter {
    /// Starts sending. Connects with the first thing to send.
    pub(crate) fn start(endpoint: &Endpoint, outbox: Outbox, mesh: Mesh) -> Self {
        let end = CancellationToken::new();
        let sender = Sender { channel: endpoint.connect_lazy(), outbox, mesh, complained: None };
        let task = tokio::spawn(sender.run(end.clone()));
        Self { task, end }
    }

    /// Sends what there still is, and ends.
    pub(crate) async fn finish(mut self) {
        self.end.cancel();
        if timeout(LAST, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

#[derive(Debug)]
struct Sender {
    channel: Channel,
    outbox: Outbox,
    mesh: Mesh,
    complained: Option<Instant>,
}

impl Sender {
    async fn run(mut self, end: CancellationToken) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for round in 1_u32.. {
            let last = tokio::select! {
                () = end.cancelled() => true,
                _ = ticks.tick() => false,
            };
            let mut sent = self.spans().await;
            if last || round.is_multiple_of(FIGURES_EVERY) {
                sent = sent.and(self.figures().await);
            }
            self.complain(sent);
            if last {
                return;
            }
        }
    }

    async fn spans(&mut self) -> Result<(), Status> {
        let mut spans: Vec<Span> = Vec::new();
        while let Ok(span) = self.outbox.spans.try_recv() {
            spans.push(span);
        }
        if spans.is_empty() {
            return Ok(());
        }
        let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans, ..ScopeSpans::default() }];
        let resource = Some(self.resource());
        let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
        let request = ExportTraceServiceRequest { resource_spans };
        TraceServiceClient::new(self.channel.clone()).export(request).await.map(|_| ())
    }

    async fn figures(&self) -> Result<(), Status> {
        let started = self.mesh.info.started.0.saturating_mul(1_000_000);
        let metrics = figures::metrics(gather(&self.mesh), started, now());
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() }];
        let resource = Some(self.resource());
        let resource_metrics =
            vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
        let request = ExportMetricsServiceRequest { resource_metrics };
        MetricsServiceClient::new(self.channel.clone()).export(request).await.map(|_| ())
    }

    fn resource(&self) -> Resource {
        let info = &self.mesh.info;
        let attributes = vec![
            text("service.name", "mesh".to_owned()),
            text("service.version", info.version.to_owned()),
            text("service.instance.id", info.incarnation.to_string()),
        ];
        Resource { attributes, ..Resource::default() }
    }

    /// Mentions a collector in trouble, but not each time.
    fn complain(&mut self, sent: Result<(), Status>) {
        let dropped = self.outbox.dropped.load(Ordering::Relaxed);
        let trouble = sent.err().map(|status| status.message().to_owned());
        let quiet = self.complained.is_some_and(|at| at.elapsed() < QUIET);
        if (trouble.is_some() || dropped > 0) && !quiet {
            self.complained = Some(Instant::now());
            self.outbox.dropped.fetch_sub(dropped, Ordering::Relaxed);
            tracing::warn!(trouble, dropped, "the collector did not take everything");
        }
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope { name: "mesh".to_owned(), ..InstrumentationScope::default() }
}
