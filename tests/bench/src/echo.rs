//! A bare tonic server: the same transport, runtime and message size as the broker, and no work at all.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Response, Status, Streaming};

use crate::process::Server;
use crate::system::{Caller, Subscriber, System};

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

/// Serves on a socket until killed.
pub(crate) async fn serve(socket: &Path) -> Result<()> {
    let listener = UnixListener::bind(socket)?;
    println!("ready");
    let service = EchoServer::new(Bare::default());
    let server = tonic::transport::Server::builder().add_service(service);
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
    socket: PathBuf,
    /// What calls carry, and what events do.
    texts: Texts,
}

/// Texts that make messages as large as those they are compared with.
#[derive(Clone, Debug)]
pub(crate) struct Texts {
    pub(crate) call: String,
    pub(crate) event: String,
}

impl Echo {
    pub(crate) fn start(dir: &Path, texts: Texts) -> Result<Self> {
        let socket = dir.join("echo.sock");
        let mut command = Command::new(std::env::current_exe().context("cannot find myself")?);
        command.arg("echo").arg(&socket);
        Ok(Self { server: Server::start(command)?, socket, texts })
    }

    async fn connect(&self) -> Result<EchoClient<Channel>> {
        let socket = self.socket.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await?;
        Ok(EchoClient::new(channel))
    }
}

impl System for Echo {
    type Caller = EchoCaller;
    type Publisher = EchoPublisher;
    type Subscriber = EchoSubscriber;

    fn name(&self) -> String {
        "tonic echo".into()
    }

    fn pid(&self) -> u32 {
        self.server.pid()
    }

    async fn callers(&self, callers: usize, connections: usize) -> Result<Vec<EchoCaller>> {
        let mut clients = Vec::with_capacity(connections);
        for _ in 0..connections {
            clients.push(self.connect().await?);
        }
        let shared = clients.iter().cycle().take(callers);
        Ok(shared
            .map(|client| EchoCaller { client: client.clone(), text: self.texts.call.clone() })
            .collect())
    }

    async fn publisher(&self) -> Result<EchoPublisher> {
        Ok(EchoPublisher { client: self.connect().await?, text: self.texts.event.clone() })
    }

    async fn subscriber(&self) -> Result<EchoSubscriber> {
        let mut client = self.connect().await?;
        let mut stream = client.subscribe(Subscription {}).await?.into_inner();
        stream.message().await?.context("no stream")?;
        Ok(EchoSubscriber { stream })
    }
}

#[derive(Debug)]
pub(crate) struct EchoCaller {
    client: EchoClient<Channel>,
    text: String,
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
