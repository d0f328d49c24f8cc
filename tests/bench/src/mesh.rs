//! The broker under measurement, through the Rust SDK: what a program that uses the mesh gets.

mod fill;
mod jobs;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mesh_client::proto::event::Event;
use mesh_client::proto::state_service_client::StateServiceClient;
use mesh_client::proto::watch_response::Payload;
use mesh_client::proto::{EventBatch, PutRequest, WatchRequest, WatchResponse};
use mesh_client::{
    Autostart, Client, Config, Endpoint, Home, JoinOptions, Liveness, Session, Token, Transport, request_id,
};
use prost::Message;
use tonic::Streaming;

use crate::echo::Texts;
use crate::process::{End, Server};
use crate::system::{Caller, Subscriber, Way, free_port};

/// Bytes of a value.
pub(crate) const VALUE_BYTES: usize = 150;
/// Keys that each caller writes in turn.
pub(crate) const KEYS: u64 = 64;
pub(crate) const SCOPE: &str = "example.com/acme/bench";

/// A broker with a home of its own.
#[derive(Debug)]
pub(crate) struct Mesh {
    server: Server,
    name: String,
    home: Home,
    pub(crate) way: Way,
    /// Of TCP.
    port: Option<u16>,
}

impl Mesh {
    pub(crate) fn start(name: &str, program: &Path, home: &Path) -> Result<Self> {
        Self::start_on(name, program, home, Way::Unix)
    }

    /// As [`Mesh::start`], with clients that come on this way.
    pub(crate) fn start_on(name: &str, program: &Path, home: &Path, way: Way) -> Result<Self> {
        let home = Home::at(home)?;
        home.create()?;
        let mut command = serve(program, &home)?;
        let port = (way == Way::Tcp).then(free_port).transpose()?;
        if let Some(port) = port {
            command.args(["--listen", &format!("127.0.0.1:{port}")]);
        }
        Ok(Self { server: Server::start(command)?, name: name.into(), home, way, port })
    }

    pub(crate) fn name(&self) -> String {
        format!("{} ({})", self.name, self.way.name())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Ends it, and waits for its end.
    pub(crate) fn end(self, how: End) -> Result<()> {
        self.server.end(how)
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> std::path::PathBuf {
        self.home.socket_path()
    }

    /// A connection of its own, without a session.
    pub(crate) fn client(&self) -> Result<Client> {
        let mut config = Config { autostart: Autostart::Never, ..Config::local(self.home.clone()) };
        if let Some(port) = self.port {
            config.endpoint = Endpoint::parse(&format!("http://127.0.0.1:{port}"))?;
            let token = std::fs::read_to_string(self.home.token_path()).context("no token of the broker")?;
            config.token = Some(Token::parse(token.trim())?);
        }
        Ok(Client::new(config)?)
    }

    /// As [`Mesh::join_over`], on a connection of its own.
    pub(crate) async fn join_in(&self, scope: &str, name: Option<&str>) -> Result<Session> {
        Self::join_over(&self.client()?, scope, name).await
    }

    /// A new peer. Nothing keeps it but its calls, so that no stream is measured along.
    pub(crate) async fn join_over(client: &Client, scope: &str, name: Option<&str>) -> Result<Session> {
        let options = JoinOptions {
            scope: scope.into(),
            name: name.map(str::to_owned),
            lease_ttl: Some(Duration::from_secs(24 * 3600)),
            liveness: Liveness::Unattended,
            ..JoinOptions::default()
        };
        Ok(Session::join(client, options).await?)
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

impl Mesh {
    /// Peers that share connections evenly.
    pub(crate) async fn peers(&self, peers: usize, connections: usize) -> Result<Vec<Session>> {
        let clients = (0..connections).map(|_| self.client()).collect::<Result<Vec<_>>>()?;
        let mut sessions = Vec::with_capacity(peers);
        for client in clients.iter().cycle().take(peers) {
            sessions.push(Self::join_over(client, SCOPE, None).await?);
        }
        Ok(sessions)
    }

    /// Callers that put, each a peer.
    pub(crate) async fn writers(&self, callers: usize, connections: usize) -> Result<Vec<PutCaller>> {
        let sessions = self.peers(callers, connections).await?;
        let named = sessions.iter().enumerate();
        Ok(named.map(|(index, session)| PutCaller::new(format!("caller-{index:02}"), session)).collect())
    }

    /// Callers whose puts the subscribers count.
    pub(crate) async fn publishers(&self, callers: usize, connections: usize) -> Result<Vec<PutCaller>> {
        let sessions = self.peers(callers, connections).await?;
        let named = sessions.iter().enumerate();
        Ok(named.map(|(index, session)| PutCaller::new(format!("publisher/{index:02}"), session)).collect())
    }

    /// A subscriber on a connection of its own, once its stream is open.
    pub(crate) async fn subscriber(&self) -> Result<Watcher> {
        Ok(self.watch_from(0).await?.0)
    }

    /// As [`Mesh::subscriber`], from a revision on, 0 being the next; and which that is.
    pub(crate) async fn watch_from(&self, start_revision: u64) -> Result<(Watcher, u64)> {
        let client = self.client()?;
        let request = WatchRequest { scopes: vec![SCOPE.into()], start_revision, ..Default::default() };
        let mut stream = client.events().watch(request).await?.into_inner();
        match stream.message().await?.context("no stream")?.payload {
            Some(Payload::Created(created)) => Ok((Watcher { stream }, created.start_revision)),
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

/// What a call writes, whoever stores it: its number, and what makes it as large as all others.
pub(crate) fn value(number: u64) -> String {
    format!("{number:0>20}{:x<1$}", "", VALUE_BYTES - 20)
}

fn put(caller: &str, number: u64) -> PutRequest {
    PutRequest {
        key: format!("bench/{caller}/{:02}", number % KEYS),
        // The event shows the beginning of the value, and so which call it comes from.
        value: value(number),
        request_id: request_id(),
        ..Default::default()
    }
}

/// Reads a raw event stream.
#[derive(Debug)]
pub(crate) struct Watcher {
    stream: Streaming<WatchResponse>,
}

impl Watcher {
    /// The next item that tells of a publisher's call, and of which.
    async fn item(&mut self) -> Result<(WatchResponse, u64)> {
        loop {
            let item = self.stream.message().await?.context("the stream ended")?;
            let Some(Payload::Events(batch)) = &item.payload else { continue };
            if let Some(number) = batch.events.iter().find_map(|event| number_of(event.event.as_ref())) {
                return Ok((item, number));
            }
        }
    }

    /// Takes any item.
    pub(crate) async fn any(&mut self) -> Result<()> {
        self.stream.message().await?.context("the stream ended")?;
        Ok(())
    }

    /// The bytes of the next item that tells of a publisher's call.
    pub(crate) async fn next_encoded(&mut self) -> Result<Vec<u8>> {
        Ok(self.item().await?.0.encode_to_vec())
    }
}

impl Subscriber for Watcher {
    async fn next(&mut self) -> Result<u64> {
        Ok(self.item().await?.1)
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
