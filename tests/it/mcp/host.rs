//! A host on a client library, which takes what the adapter says by itself.

use std::process::Command;

use mesh_client::Session;
use mesh_client::proto::{Delivery, GetReceiptsRequest, ListPeersRequest, PeerInfo, WakeOutcome};
use mesh_tests::within;
use rmcp::ClientHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ClientConfig,
    CustomNotification, Implementation, ProgressNotificationParam, ProtocolVersion,
    ResourceUpdatedNotificationParam,
};
use rmcp::service::{
    ClientLifecycleMode, NotificationContext, RoleClient, RunningService, serve_client_with_lifecycle,
};
use rmcp::transport::TokioChildProcess;
use serde_json::Value;
use tokio::sync::mpsc;

use super::agent::Era;

/// More than a test lets an adapter say before it looks.
const NOTES: usize = 1000;

/// What an adapter says by itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Note {
    /// A resource has changed.
    Updated(String),
    /// Something that the protocol does not know.
    Custom(String, Value),
    /// A call still waits.
    Progress(f64),
}

/// The client's side of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    config: ClientConfig,
    notes: mpsc::Sender<Note>,
}

impl Client {
    async fn note(&self, note: Note) {
        // A test that looks no longer has ended.
        _ = self.notes.send(note).await;
    }
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        self.config.clone()
    }

    async fn on_resource_updated(
        &self,
        params: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.note(Note::Updated(params.uri)).await;
    }

    async fn on_custom_notification(
        &self,
        notification: CustomNotification,
        _: NotificationContext<RoleClient>,
    ) {
        self.note(Note::Custom(notification.method, notification.params.unwrap_or_default())).await;
    }

    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.note(Note::Progress(params.progress)).await;
    }
}

/// A host with its adapter.
pub(crate) struct Host {
    /// The connection.
    pub(crate) client: RunningService<RoleClient, Client>,
    /// The process of the adapter.
    pub(crate) pid: u32,
    notes: mpsc::Receiver<Note>,
}

impl Host {
    /// Starts an adapter and connects to it.
    pub(crate) async fn start(command: Command, era: Era, name: &str, can: ClientCapabilities) -> Self {
        let (sender, notes) = mpsc::channel(NOTES);
        let config = ClientConfig::new(can, Implementation::new(name, "1.0"));
        let lifecycle = match era {
            Era::Legacy => ClientLifecycleMode::Initialize,
            Era::Modern => {
                ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
            }
        };
        let adapter = TokioChildProcess::new(tokio::process::Command::from(command)).unwrap();
        let pid = adapter.id().unwrap();
        let client = Client { config, notes: sender };
        let client = within("a connection", serve_client_with_lifecycle(client, adapter, lifecycle)).await;
        Self { client: client.unwrap(), pid, notes }
    }

    /// The next thing that the adapter says by itself.
    pub(crate) async fn note(&mut self) -> Note {
        within("a notification", self.notes.recv()).await.unwrap()
    }

    /// What it has said that was not looked at.
    pub(crate) fn unseen(&mut self) -> Option<Note> {
        self.notes.try_recv().ok()
    }

    /// Calls a tool, which may become a task.
    pub(crate) async fn ask(&self, tool: &'static str, arguments: &Value) -> CallToolResponse {
        let arguments = arguments.as_object().unwrap().clone();
        let call = self.client.call_tool_once(CallToolRequestParams::new(tool).with_arguments(arguments));
        within("an answer", call).await.unwrap()
    }

    /// Calls a tool that must not fail, nor become a task.
    pub(crate) async fn does(&self, tool: &'static str, arguments: Value) -> String {
        match self.ask(tool, &arguments).await {
            CallToolResponse::Complete(result) => done(&result),
            other => panic!("{tool} did not answer: {other:?}"),
        }
    }

    /// Ends the connection and with it the adapter.
    pub(crate) async fn end(self) {
        within("the end of the adapter", self.client.cancel()).await.unwrap();
    }
}

/// The text of a result that is no failure.
pub(crate) fn done(result: &CallToolResult) -> String {
    let text = result.content[0].as_text().unwrap().text.clone();
    assert_ne!(result.is_error, Some(true), "{text}");
    text
}

/// What a peer says of itself.
pub(crate) async fn info(witness: &Session, name: &str) -> PeerInfo {
    let request = ListPeersRequest { scope: witness.scope(), ..ListPeersRequest::default() };
    let peers = witness.list_peers(request).await.unwrap().peers;
    peers.into_iter().find(|peer| peer.name == name).unwrap().info.unwrap_or_default()
}

/// Waits until a peer says that it is woken in a way.
pub(crate) async fn is_woken_by(witness: &Session, name: &str, way: &str) {
    within("the way", async { while info(witness, name).await.wake != way {} }).await;
}

/// What is known of a message's way to its one recipient, once something was reported of waking it.
pub(crate) async fn woken(sender: &Session, message_id: &str) -> Delivery {
    let request = GetReceiptsRequest { message_id: message_id.into() };
    within("a report of the wake", async {
        loop {
            let delivery = sender.receipts(request.clone()).await.unwrap().deliveries.remove(0);
            if delivery.wake_outcome() != WakeOutcome::Unspecified {
                return delivery;
            }
        }
    })
    .await
}
