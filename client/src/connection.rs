//! One HTTP/2 connection to the broker, made when first needed and again whenever it is lost.
//!
//! Owns the transport's settings and the credentials on every request. What must hold: connecting is where a
//! missing broker is started, so any call after a crash restarts it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tonic::Status;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Channel, Endpoint as Settings};

use crate::tls::{Heard, Reason};
use crate::{Autostart, ClientError, Config, Endpoint, Token, locate};

/// How long a TCP connection may take to come about.
const TCP_CONNECT: Duration = Duration::from_secs(5);
/// What a watch that nobody reads may hold back, and what all streams may together. hyper's defaults (2 and
/// 5 MiB) would let three idle watches block every call on the connection; so it takes more than sixty.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// A connection over TCP, encrypted or not.
type Remote = Heard<Either<TcpStream, TlsStream<TcpStream>>>;

/// The way to the broker.
#[derive(Debug)]
pub(crate) struct Link {
    config: Config,
    established: AtomicBool,
    /// A connection that somebody has made already, for the first to need one.
    made: Mutex<Option<std::os::unix::net::UnixStream>>,
    /// Why the last connection broke off, if the other end has said so.
    reason: Reason,
}

impl Link {
    pub(crate) fn new(config: Config, made: Option<std::os::unix::net::UnixStream>) -> Arc<Self> {
        let (established, made) = (AtomicBool::new(false), Mutex::new(made));
        Arc::new(Self { config, established, made, reason: Reason::default() })
    }

    /// The error with the reason that the other end gave, where the transport knows none.
    pub(crate) fn explain(&self, error: ClientError) -> ClientError {
        match (error, self.reason.get()) {
            (ClientError::Unreachable { endpoint, .. }, Some(cause)) => {
                ClientError::Unreachable { endpoint, cause }
            }
            (error, _) => error,
        }
    }

    /// For a client that brings its own way to the broker.
    pub(crate) fn established(config: Config) -> Arc<Self> {
        let established = AtomicBool::new(true);
        Arc::new(Self { config, established, made: Mutex::new(None), reason: Reason::default() })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Whether to wait for a broker that does not answer: it was there once, or connecting starts it; and it has not
    /// said that it wants to be spoken to in another way.
    pub(crate) fn worth_waiting(&self) -> bool {
        let starts = self.config.endpoint == Endpoint::Local && self.config.autostart != Autostart::Never;
        starts || (self.established.load(Ordering::Relaxed) && self.reason.get().is_none())
    }

    /// A channel that connects with the first call. Needs a tokio runtime.
    pub(crate) fn channel(self: &Arc<Self>) -> Result<Channel, ClientError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(ClientError::config("a client needs a tokio runtime; make it inside one"));
        }
        let (uri, remote) = match &self.config.endpoint {
            Endpoint::Tcp(uri) => (uri.clone(), true),
            // The authority that other gRPC stacks send over a Unix socket.
            Endpoint::Local | Endpoint::Unix(_) => (Uri::from_static("http://localhost"), false),
        };
        let mut settings = Settings::from(uri)
            .user_agent(concat!("mesh-client/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| ClientError::config(error.to_string()))?
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        if remote {
            // Finds out about a peer that went away without a word; on one machine the kernel tells.
            settings = settings
                .http2_keep_alive_interval(Duration::from_secs(20))
                .keep_alive_timeout(Duration::from_secs(10))
                .keep_alive_while_idle(true);
        }
        let link = Arc::clone(self);
        Ok(settings.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let link = Arc::clone(&link);
            async move { link.connect().await.map(TokioIo::new) }
        })))
    }

    async fn connect(&self) -> Result<Either<UnixStream, Remote>, ClientError> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).take();
        // One that cannot be used is made anew below, where what is wrong with it is said.
        if let Some(stream) = made.and_then(|made| adopted(made).ok()) {
            self.established.store(true, Ordering::Relaxed);
            return Ok(Either::Left(stream));
        }
        let stream = match &self.config.endpoint {
            Endpoint::Local => Either::Left(locate::find_or_start(&self.config).await?),
            Endpoint::Unix(path) => {
                let connected = locate::connect_unix(path).await;
                Either::Left(connected.map_err(|e| ClientError::unreachable(self.config.endpoint_name(), e))?)
            }
            Endpoint::Tcp(uri) => Either::Right(self.connect_remote(uri).await?),
        };
        self.established.store(true, Ordering::Relaxed);
        Ok(stream)
    }

    async fn connect_remote(&self, uri: &Uri) -> Result<Remote, ClientError> {
        // What was said on an earlier connection no longer counts.
        self.reason.clear();
        let endpoint = self.config.endpoint_name();
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let late = |_| ClientError::unreachable(&endpoint, "no connection within 5 s");
        let connect = async {
            let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await;
            let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
            let stream = stream.map_err(|error| ClientError::unreachable(&endpoint, error))?;
            if !self.config.endpoint.is_encrypted() {
                return Ok(Either::Left(stream));
            }
            Ok(Either::Right(self.config.tls.connect(host, stream, &endpoint).await?))
        };
        let io = tokio::time::timeout(TCP_CONNECT, connect).await.map_err(late)??;
        Ok(Heard::new(io, self.reason.clone()))
    }
}

fn adopted(stream: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    locate::trusted(UnixStream::from_std(stream)?)
}

/// Adds who is calling to every request.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    bearer: Option<MetadataValue<Ascii>>,
    session: Option<MetadataValue<Ascii>>,
}

impl Credentials {
    pub(crate) fn new(token: Option<&Token>) -> Result<Self, ClientError> {
        let bearer = token.map(|token| secret(&format!("Bearer {}", token.expose()))).transpose()?;
        Ok(Self { bearer, session: None })
    }

    pub(crate) fn with_session(&self, token: &Token) -> Result<Self, ClientError> {
        Ok(Self { bearer: self.bearer.clone(), session: Some(secret(token.expose())?) })
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        let metadata = request.metadata_mut();
        if let Some(bearer) = &self.bearer {
            metadata.insert("authorization", bearer.clone());
        }
        if let Some(session) = &self.session {
            metadata.insert(mesh_proto::SESSION_METADATA, session.clone());
        }
        Ok(request)
    }
}

/// Marked sensitive: left out of `Debug` and of the header compression table.
fn secret(text: &str) -> Result<MetadataValue<Ascii>, ClientError> {
    let mut value = MetadataValue::try_from(text)
        .map_err(|_| ClientError::config("a token holds characters that metadata does not take"))?;
    value.set_sensitive(true);
    Ok(value)
}
