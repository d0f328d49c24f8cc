//! The broker under measurement, through the Rust SDK: what a program that uses the mesh gets.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mesh_client::proto::event::Event;
use mesh_client::proto::state_service_client::StateServiceClient;
use mesh_client::proto::watch_response::Payload;
use mesh_client::proto::{EventBatch, PutRequest, WatchRequest, WatchResponse};
use mesh_client::{Autostart, Client, Config, Home, JoinOptions, Liveness, Session, Transport, request_id};
use prost::Message;
use tonic::Streaming;

use crate::echo::Texts;
use crate::process::Server;
use crate::system::{Caller, Subscriber, System};

/// Bytes of a value.
const VALUE_BYTES: usize = 150;
/// Keys that each caller writes in turn.
const KEYS: u64 = 64;
const SCOPE: &str = "example.com/acme/bench";

/// A broker with a home of its own.
#[derive(Debug)]
pub(crate) struct Mesh {
    server: Server,
    name: String,
    home: Home,
}

impl Mesh {
    pub(crate) fn start(name: &str, program: &Path, home: &Path) -> Result<Self> {
        let home = Home::at(home)?;
        home.create()?;
        Ok(Self { server: Server::start(serve(program, &home)?)?, name: name.into(), home })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> std::path::PathBuf {
        self.home.socket_path()
    }

    /// A connection of its own, without a session.
    pub(crate) fn client(&self) -> Result<Client> {
        Ok(Client::new(Config { autostart: Autostart::Never, ..Config::local(self.home.clone()) })?)
    }

    /// A peer of its own on a connection of its own. Nothing keeps it but its calls, so that no stream is
    /// measured along.
    async fn join(&self) -> Result<Session> {
        self.join_in(SCOPE, None).await
    }

    /// As [`Mesh::join`], in any scope.
    pub(crate) async fn join_in(&self, scope: &str, name: Option<&str>) -> Result<Session> {
        let options = JoinOptions {
            scope: scope.into(),
            name: name.map(str::to_owned),
            lease_ttl: Some(Duration::from_secs(24 * 3600)),
            liveness: Liveness::Unattended,
            ..JoinOptions::default()
        };
        Ok(Session::join(&self.client()?, options).await?)
    }
}

/// `meshctl serve` as a client starts it, but staying.
fn serve(program: &Path, home: &Home) -> Result<Command> {
    let log = std::fs::File::create(home.log_path()).context("cannot write the broker's log")?;
    let mut command = Command::new(program);
    command.args(["serve", "--auto", "--idle-exit", "86400"]).env_clear();
    command.env("MESH_HOME", home.path()).env("HOME", home.path()).stderr(Stdio::from(log));
    Ok(command)
}

/// Texts with which a bare server's messages are as large as the broker's.
pub(crate) fn texts() -> Texts {
    let put = put("caller-00", 0);
    let changed = mesh_client::proto::StateChanged {
        key: put.key.clone(),
        version: 1,
        writer: "amber-fox".into(),
        size: 150,
        preview: put.value.clone(),
        ..Default::default()
    };
    let event = mesh_client::proto::Event { event: Some(Event::StateChanged(changed)) };
    let batch = EventBatch {
        revision: 1_000,
        scope: SCOPE.into(),
        sequence: 1_000,
        prev_revision: 999,
        actor: "amber-fox".into(),
        request_id: put.request_id.clone(),
        events: vec![event],
        ..Default::default()
    };
    let text = |bytes: usize| "x".repeat(bytes);
    Texts { call: text(put.encoded_len()), event: text(batch.encoded_len() + HEADER_BYTES) }
}

/// What the header of a stream's item takes: the name of the history and a revision.
const HEADER_BYTES: usize = 44;

impl System for Mesh {
    type Caller = PutCaller;
    type Publisher = PutCaller;
    type Subscriber = Watcher;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn pid(&self) -> u32 {
        self.server.pid()
    }

    async fn callers(&self, callers: usize, connections: usize) -> Result<Vec<PutCaller>> {
        let mut sessions = Vec::with_capacity(connections);
        for _ in 0..connections {
            sessions.push(self.join().await?);
        }
        let shared = sessions.iter().cycle().take(callers).enumerate();
        Ok(shared.map(|(index, session)| PutCaller::new(format!("caller-{index:02}"), session)).collect())
    }

    async fn publisher(&self) -> Result<PutCaller> {
        Ok(PutCaller::new("publisher".into(), &self.join().await?))
    }

    async fn subscriber(&self) -> Result<Watcher> {
        let client = self.client()?;
        let request = WatchRequest { scopes: vec![SCOPE.into()], ..Default::default() };
        let mut stream = client.events().watch(request).await?.into_inner();
        match stream.message().await?.context("no stream")?.payload {
            Some(Payload::Created(_)) => Ok(Watcher { stream }),
            other => bail!("the stream began with {other:?}"),
        }
    }
}

/// Puts one entry after the other, each call with an id for its repeat, as the SDK's own calls have it.
#[derive(Debug)]
pub(crate) struct PutCaller {
    name: String,
    service: StateServiceClient<Transport>,
}

impl PutCaller {
    fn new(name: String, session: &Session) -> Self {
        Self { name, service: session.client().state() }
    }
}

impl Caller for PutCaller {
    async fn call(&mut self, number: u64) -> Result<()> {
        self.service.put(put(&self.name, number)).await?;
        Ok(())
    }
}

fn put(caller: &str, number: u64) -> PutRequest {
    PutRequest {
        key: format!("bench/{caller}/{:02}", number % KEYS),
        // The event shows the beginning of the value, and so which call it comes from.
        value: format!("{number:0>20}{:x<1$}", "", VALUE_BYTES - 20),
        request_id: request_id(),
        ..Default::default()
    }
}

/// Reads a raw event stream.
#[derive(Debug)]
pub(crate) struct Watcher {
    stream: Streaming<WatchResponse>,
}

impl Subscriber for Watcher {
    async fn next(&mut self) -> Result<u64> {
        loop {
            let item = self.stream.message().await?.context("the stream ended")?;
            let Some(Payload::Events(batch)) = item.payload else { continue };
            if let Some(number) = batch.events.iter().find_map(|event| number_of(event.event.as_ref())) {
                return Ok(number);
            }
        }
    }
}

/// Which call an event comes from; none when it is another's.
fn number_of(event: Option<&Event>) -> Option<u64> {
    let Some(Event::StateChanged(changed)) = event else { return None };
    if !changed.key.starts_with("bench/publisher/") {
        return None;
    }
    changed.preview.get(..20)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_tells_the_number_of_its_call() {
        let put = put("publisher", 1234);
        assert_eq!(put.value.len(), VALUE_BYTES);
        let changed = |key: &str| {
            let preview = put.value.clone();
            Event::StateChanged(mesh_client::proto::StateChanged {
                key: key.into(),
                preview,
                ..Default::default()
            })
        };
        assert_eq!(number_of(Some(&changed(&put.key))), Some(1234));
        assert_eq!(number_of(Some(&changed("bench/caller-00/01"))), None);
        assert_eq!(number_of(None), None);
    }

    #[test]
    fn messages_of_both_servers_are_alike_in_size() {
        let texts = texts();
        assert!((200..300).contains(&texts.call.len()), "{}", texts.call.len());
        assert!((250..400).contains(&texts.event.len()), "{}", texts.event.len());
    }
}
