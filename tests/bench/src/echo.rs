//! A bare tonic server: the same transport, runtime and message size as the broker, and no work at all.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Response, Status, Streaming};
use tower::Service;

use crate::process::Server;
use crate::system::{Caller, Subscriber, Way, free_port};

/// Generated from `proto/echo.proto`.
#[expect(unreachable_pub, clippy::pedantic, clippy::allow_attributes, reason = "generated code")]
mod proto {
    tonic::include_proto!("mesh.bench");
}

use proto::echo_client::EchoClient;
use proto::echo_server::{self, EchoServer};
use proto::{Payload, Published, Subscription};

/// Events that may wait for one subscriber.
const BACKLOG: usize = 1_024;

/// Serves on a socket, or on an address of TCP, until killed.
pub(crate) async fn serve(at: &str) -> Result<()> {
    let service = EchoServer::new(Bare::default());
    let server = tonic::transport::Server::builder().add_service(service);
    if let Ok(address) = at.parse::<SocketAddr>() {
        let listener = TcpListener::bind(address).await?;
        println!("ready");
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        return Ok(server.serve_with_incoming(incoming).await?);
    }
    let listener = UnixListener::bind(at)?;
    println!("ready");
    Ok(server.serve_with_incoming(UnixListenerStream::new(listener)).await?)
}

/// The way to one subscriber's stream.
type Feed = mpsc::Sender<Result<Payload, Status>>;

/// One channel for each subscriber, and nothing else.
#[derive(Debug, Default)]
struct Bare {
    subscribers: Arc<Mutex<Vec<Feed>>>,
}

impl Bare {
    fn subscribers(&self) -> Vec<Feed> {
        let mut all = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|subscriber| !subscriber.is_closed());
        all.clone()
    }
}

#[tonic::async_trait]
impl echo_server::Echo for Bare {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<Payload, Status>> + Send>>;

    async fn echo(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn publish(&self, request: Request<Payload>) -> Result<Response<Published>, Status> {
        let payload = request.into_inner();
        for subscriber in self.subscribers() {
            // One that is gone hears no more.
            let _ = subscriber.send(Ok(payload.clone())).await;
        }
        Ok(Response::new(Published {}))
    }

    async fn subscribe(
        &self,
        _request: Request<Subscription>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        let opened = tokio_stream::once(Ok(Payload::default()));
        Ok(Response::new(Box::pin(opened.chain(ReceiverStream::new(receiver)))))
    }
}

/// The server in a process of its own, which is this program again.
#[derive(Debug)]
pub(crate) struct Echo {
    server: Server,
    pub(crate) way: Way,
    at: At,
    /// What calls carry, and what events do.
    texts: Texts,
}

/// Where it listens.
#[derive(Clone, Debug)]
enum At {
    Socket(PathBuf),
    Port(u16),
}

/// Texts that make messages as large as those they are compared with.
#[derive(Clone, Debug)]
pub(crate) struct Texts {
    pub(crate) call: String,
    pub(crate) event: String,
}

impl Echo {
    pub(crate) fn start(dir: &Path, texts: Texts, way: Way) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("cannot find myself")?);
        command.arg("echo");
        let at = match way {
            Way::Unix => At::Socket(dir.join("echo.sock")),
            Way::Tcp => At::Port(free_port()?),
        };
        match &at {
            At::Socket(socket) => command.arg(socket),
            At::Port(port) => command.arg(format!("127.0.0.1:{port}")),
        };
        Ok(Self { server: Server::start(command)?, way, at, texts })
    }

    pub(crate) fn name(&self) -> String {
        format!("tonic echo ({})", self.way.name())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Where it listens, when that is a socket.
    pub(crate) fn socket(&self) -> Option<&Path> {
        match &self.at {
            At::Socket(socket) => Some(socket),
            At::Port(_) => None,
        }
    }

    async fn connect(&self) -> Result<EchoClient<Channel>> {
        let channel = match self.at.clone() {
            At::Socket(socket) => {
                Endpoint::from_static("http://localhost").connect_with_connector(dial(socket)).await?
            }
            At::Port(port) => Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?.connect().await?,
        };
        Ok(EchoClient::new(channel))
    }

    async fn clients(&self, callers: usize, connections: usize) -> Result<Vec<EchoClient<Channel>>> {
        let mut clients = Vec::with_capacity(connections);
        for _ in 0..connections {
            clients.push(self.connect().await?);
        }
        Ok(clients.iter().cycle().take(callers).cloned().collect())
    }

    /// Callers that share connections evenly, connected.
    pub(crate) async fn callers(&self, callers: usize, connections: usize) -> Result<Vec<EchoCaller>> {
        let clients = self.clients(callers, connections).await?;
        Ok(clients.into_iter().map(|client| EchoCaller { client, text: self.texts.call.clone() }).collect())
    }

    /// Callers whose calls reach the subscribers.
    pub(crate) async fn publishers(&self, callers: usize, connections: usize) -> Result<Vec<EchoPublisher>> {
        let clients = self.clients(callers, connections).await?;
        Ok(clients
            .into_iter()
            .map(|client| EchoPublisher { client, text: self.texts.event.clone() })
            .collect())
    }

    /// A subscriber on a connection of its own, once its stream is open.
    pub(crate) async fn subscriber(&self) -> Result<EchoSubscriber> {
        let mut client = self.connect().await?;
        let mut stream = client.subscribe(Subscription {}).await?.into_inner();
        stream.message().await?.context("no stream")?;
        Ok(EchoSubscriber { stream })
    }
}

/// Makes connections to a socket.
fn dial(
    socket: PathBuf,
) -> impl Service<Uri, Response = TokioIo<UnixStream>, Error = std::io::Error, Future: Send> + Send {
    tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    })
}

#[derive(Debug)]
pub(crate) struct EchoCaller {
    client: EchoClient<Channel>,
    text: String,
}

impl EchoCaller {
    /// One that connects with its first call.
    pub(crate) fn over(socket: &Path) -> Self {
        let connector = dial(socket.to_owned());
        let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector);
        Self { client: EchoClient::new(channel), text: crate::mesh::texts().call }
    }
}

impl Caller for EchoCaller {
    async fn call(&mut self, number: u64) -> Result<()> {
        self.client.echo(Payload { number, text: self.text.clone() }).await?;
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct EchoPublisher {
    client: EchoClient<Channel>,
    text: String,
}

impl Caller for EchoPublisher {
    async fn call(&mut self, number: u64) -> Result<()> {
        self.client.publish(Payload { number, text: self.text.clone() }).await?;
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct EchoSubscriber {
    stream: Streaming<Payload>,
}

impl Subscriber for EchoSubscriber {
    async fn next(&mut self) -> Result<u64> {
        Ok(self.stream.message().await?.context("the stream ended")?.number)
    }
}
