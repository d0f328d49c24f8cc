//! OpenTelemetry: calls and commits as spans of their callers' traces, and the figures, at a collector.

use mesh_client::proto::PutRequest;
use mesh_tests::{Mesh, put, within};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
/// More than a test has of either.
const ROOM: usize = 4_096;
const SPAN: &str = "b7ad6b7169203331";

/// Passes on what it is sent.
#[derive(Clone)]
struct Collector {
    spans: mpsc::Sender<Span>,
    metrics: mpsc::Sender<Metric>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        let scopes = resources.into_iter().flat_map(|resource| resource.scope_spans);
        for span in scopes.flat_map(|scope| scope.spans) {
            self.spans.send(span).await.unwrap();
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let resources = request.into_inner().resource_metrics;
        let scopes = resources.into_iter().flat_map(|resource| resource.scope_metrics);
        for metric in scopes.flat_map(|scope| scope.metrics) {
            self.metrics.send(metric).await.unwrap();
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

async fn collect() -> (String, mpsc::Receiver<Span>, mpsc::Receiver<Metric>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    let ((spans, seen), (metrics, figures)) = (mpsc::channel(ROOM), mpsc::channel(ROOM));
    let collector = Collector { spans, metrics };
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(collector.clone()))
        .add_service(MetricsServiceServer::new(collector));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (at, seen, figures)
}

/// A write of the trace above, which its caller has sampled or not.
fn traced(request: PutRequest, flags: &str) -> Request<PutRequest> {
    let mut request = Request::new(request);
    let parent = format!("00-{TRACE}-{SPAN}-{flags}");
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    request
}

#[tokio::test]
async fn a_collector_gets_calls_in_their_callers_traces_commits_and_figures() {
    let (at, mut spans, mut metrics) = collect().await;
    let mesh = Mesh::new();
    let broker = mesh.serve(&["--otlp", &at]);
    assert!(super::status(&mesh, &[])["vitals"]["otlp_endpoint"].as_str().unwrap().starts_with(&at));
    let fox = mesh.join("fox").await;
    fox.client().state().put(traced(put("k", "v-not-for-collectors"), "01")).await.unwrap();
    fox.client().state().put(traced(put("l", "v"), "00")).await.unwrap();
    let ended = tokio::task::spawn_blocking(move || broker.terminate());
    assert_eq!(within("the end", ended).await.unwrap(), Some(0));

    spans.close();
    metrics.close();
    let mut seen = Vec::new();
    while let Some(span) = spans.recv().await {
        seen.push(span);
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let puts: Vec<_> = seen.iter().filter(|span| span.name == "mesh.v1.StateService/Put").collect();
    assert_eq!(puts.len(), 1, "what its caller does not sample is not sent");
    assert_eq!((hex(&puts[0].trace_id), hex(&puts[0].parent_span_id)), (TRACE.into(), SPAN.into()));
    let attributes: Vec<_> = puts[0].attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    for key in ["rpc.method", "rpc.response.status_code", "mesh.peer", "mesh.scope", "mesh.revision"] {
        assert!(attributes.contains(&key), "{attributes:?}");
    }
    assert!(puts[0].end_time_unix_nano > puts[0].start_time_unix_nano);
    assert!(seen.iter().any(|span| span.name == "commit"));
    assert!(!format!("{seen:?}").contains("not-for-collectors"));
    let mut names = Vec::new();
    while let Some(metric) = metrics.recv().await {
        names.push(metric.name);
    }
    for name in ["mesh_revision", "mesh_rpc_duration_seconds", "mesh_commit_duration_seconds"] {
        assert!(names.iter().any(|found| found == name), "{names:?}");
    }
}

#[tokio::test]
async fn a_collector_that_is_not_there_holds_nobody_up() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&["--otlp", "http://127.0.0.1:9"]);
    let fox = mesh.join("fox").await;
    fox.put(put("k", "v")).await.unwrap();
    assert_eq!(broker.terminate(), Some(0));
    let refused = mesh.run(&["serve", "--otlp", "https://127.0.0.1:4317"]);
    assert_eq!(refused.status.code(), Some(2));
}
