//! The protocol as clients see it, in both eras, without a broker.

use std::path::Path;
use std::time::{Duration, Instant};

use mesh_client::{Autostart, Config, Home};
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ErrorCode, Implementation,
    ProtocolVersion,
};
use rmcp::service::{
    ClientLifecycleMode, RoleClient, RunningService, ServiceError, serve_client_with_lifecycle,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::task::JoinHandle;

use crate::host::Host;
use crate::server::{Adapter, serve};
use crate::{Options, Push, schema};

type Client = RunningService<RoleClient, ClientConfig>;

/// A home without a broker, in which none is started.
fn adapter(home: &Path, legacy: bool) -> Adapter {
    let home = Home::at(home).unwrap();
    let config = Config { autostart: Autostart::Never, ..Config::local(home) };
    let options = Options { config, scope: Some("app".into()), name: None, legacy, push: Push::Auto };
    Adapter::new(options, Host::from_env()).unwrap()
}

/// The client's end of a running adapter.
fn start(adapter: Adapter) -> (DuplexStream, JoinHandle<anyhow::Result<()>>) {
    let (host, ours) = tokio::io::duplex(1 << 20);
    let (input, output) = tokio::io::split(ours);
    (host, tokio::spawn(serve(adapter, input, output, std::future::pending())))
}

fn modern() -> ClientLifecycleMode {
    ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
}

async fn connect(
    lifecycle: ClientLifecycleMode,
) -> (tempfile::TempDir, Client, JoinHandle<anyhow::Result<()>>) {
    let home = tempfile::tempdir().unwrap();
    let (stream, served) = start(adapter(home.path(), false));
    let client = ClientConfig::new(ClientCapabilities::default(), Implementation::new("test-client", "1.0"));
    (home, serve_client_with_lifecycle(client, stream, lifecycle).await.unwrap(), served)
}

async fn call(client: &Client, name: &'static str, arguments: Value) -> Result<CallToolResult, ServiceError> {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    client.call_tool(CallToolRequestParams::new(name).with_arguments(arguments)).await
}

fn text(result: &CallToolResult) -> &str {
    assert_eq!(result.content.len(), 1);
    assert_eq!(result.structured_content, None);
    &result.content[0].as_text().unwrap().text
}

#[tokio::test]
async fn both_eras_list_the_same_tools() {
    for lifecycle in [ClientLifecycleMode::Initialize, modern()] {
        let (_home, client, served) = connect(lifecycle).await;
        assert_eq!(client.list_all_tools().await.unwrap(), schema::tools());
        client.cancel().await.unwrap();
        served.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn without_a_broker_every_tool_answers_with_the_next_step() {
    for lifecycle in [ClientLifecycleMode::Initialize, modern()] {
        let (_home, client, _served) = connect(lifecycle).await;
        for tool in schema::tools() {
            let result = client.call_tool(CallToolRequestParams::new(tool.name.clone())).await.unwrap();
            let text = text(&result);
            if tool.name == "mesh_checkout" {
                assert_eq!((result.is_error, text), (Some(false), "you were not on the mesh"));
            } else {
                assert_eq!(result.is_error, Some(true), "{}", tool.name);
                assert!(text.contains("meshctl"), "{}: {text}", tool.name);
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_tool_is_a_protocol_error() {
    for lifecycle in [ClientLifecycleMode::Initialize, modern()] {
        let (_home, client, _served) = connect(lifecycle).await;
        let error = call(&client, "mesh_explode", json!({})).await.unwrap_err();
        let ServiceError::McpError(error) = error else { panic!("{error}") };
        assert_eq!(error.code, ErrorCode::INVALID_PARAMS);
    }
}

#[tokio::test]
async fn bad_arguments_are_told_before_anything_is_done() {
    let (_home, client, _served) = connect(modern()).await;
    let result = call(&client, "mesh_checkin", json!({"files": 7, "unknown": true})).await.unwrap();
    assert_eq!(result.is_error, Some(true));
    assert_eq!(text(&result), "files: expected a list of texts. Nothing was done; call again with that");
}

/// Lines sent raw, and the answers until the adapter ends.
async fn raw(adapter: Adapter, lines: &[Value]) -> Vec<Value> {
    let (mut host, served) = start(adapter);
    for line in lines {
        host.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }
    let (output, mut input) = tokio::io::split(host);
    let mut answers = BufReader::new(output).lines();
    let mut read = Vec::new();
    while read.len() < lines.iter().filter(|line| line.get("id").is_some()).count() {
        read.push(serde_json::from_str(&answers.next_line().await.unwrap().unwrap()).unwrap());
    }
    input.shutdown().await.unwrap();
    served.await.unwrap().unwrap();
    read
}

fn discover() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}}}})
}

fn initialize(version: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 2, "method": "initialize", "params": {
        "protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}})
}

#[tokio::test]
async fn a_probe_is_answered_with_versions_and_instructions() {
    let home = tempfile::tempdir().unwrap();
    let answers = raw(adapter(home.path(), false), &[discover()]).await;
    let result = &answers[0]["result"];
    assert!(result["supportedVersions"].as_array().unwrap().contains(&json!("2026-07-28")), "{result}");
    assert_eq!(result["instructions"], schema::INSTRUCTIONS);
    assert!(result["capabilities"].get("tools").is_some(), "{result}");
}

#[tokio::test]
async fn a_capped_adapter_sends_clients_to_the_handshake() {
    let home = tempfile::tempdir().unwrap();
    let answers = raw(adapter(home.path(), true), &[discover(), initialize("2025-11-25")]).await;
    assert_eq!(answers[0]["error"]["code"], -32022);
    assert_eq!(answers[1]["result"]["protocolVersion"], "2025-11-25");
    assert_eq!(answers[1]["result"]["serverInfo"]["name"], "mesh");
}

#[tokio::test]
async fn a_host_that_goes_away_ends_the_process_whatever_it_has_asked() {
    let home = tempfile::tempdir().unwrap();
    let (host, served) = start(adapter(home.path(), false));
    drop(host);
    served.await.unwrap().unwrap();

    let (_home, client, served) = connect(modern()).await;
    let begun = Instant::now();
    let waiting = tokio::spawn(async move { call(&client, "mesh_inbox", json!({"wait_seconds": 50})).await });
    tokio::task::yield_now().await;
    waiting.abort();
    served.await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
}
