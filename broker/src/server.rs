//! All the wiring: claim the home, recover, serve, drain.

use std::io::Write;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use mesh_core::limits;
use mesh_core::time::Millis;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::{Config, Tcp};
use crate::http::{Checks, Hosts};
use crate::ids::Ids;
use crate::instance::{self, Instance, Socket};
use crate::metrics::{Calls, endpoint};
use crate::notify::Manager;
use crate::otlp::{Exporter, Outbox};
use crate::service::auth::{Authority, Passes, SessionTokens};
use crate::service::deadline::Deadline;
use crate::service::edge::Edge;
use crate::service::{self, BrokerInfo, Indices, Mesh, Reads, Shown, Waits, Wakes, WatchCount};
use crate::store::{self, Growth, Identity, Secret, SledOptions, SledStore, Store, StoreError};
use crate::tls::{self, Certificates};
use crate::vitals::Vitals;
use crate::writer::{self, Started};
use crate::{shutdown, transport};

/// How long calls in flight may take once the broker is ending.
const DRAIN: Duration = Duration::from_secs(5);

/// Where a broker listens.
#[derive(Debug)]
struct Listeners {
    unix: UnixListener,
    tcp: Option<TcpSocket>,
    /// For Prometheus.
    metrics: Option<TcpListener>,
    /// Removes the socket file when the broker no longer listens.
    socket: Socket,
}

/// Where and how a broker listens on TCP.
#[derive(Debug)]
struct TcpSocket {
    listener: TcpListener,
    certificates: Option<Arc<Certificates>>,
    hosts: Hosts,
}

/// Serves until told to stop. Returns once everything accepted is on disk.
pub(crate) async fn serve(config: Config, traces: Option<Outbox>) -> anyhow::Result<()> {
    let _instance = Instance::claim(&config.paths.lock, config.auto)?;
    let token = instance::token(&config.paths.token)?;
    let store = open_store(&config)?;
    let started = writer::start(config.writer.clone(), store.clone()).with_context(|| {
        let dir = config.paths.store.display();
        format!("cannot recover the store in {dir}; `meshctl fsck` says what else is wrong with it")
    })?;
    let listeners = listen(&config).await?;
    let stop = CancellationToken::new();
    let mesh = mesh(&config, &started, &store, &listeners, stop.clone())?;
    mesh.keep_places();
    mesh.keep_passes();
    tracing::info!(
        endpoints = ?mesh.info.endpoints, revision = mesh.view.revision().0, "serving"
    );
    let certificates = listeners.tcp.as_ref().and_then(|tcp| tcp.certificates.clone());
    shutdown::on_signal(stop.clone(), certificates)?;
    if let Some(patience) = config.idle_exit {
        let (view, events, streams) = (mesh.view.clone(), mesh.events.clone(), mesh.watches.subscribe());
        tokio::spawn(shutdown::on_idle(patience, view, events, streams, stop.clone()));
    }
    if config.auto {
        announce()?;
    }
    let manager = Manager::at(config.notify.as_deref());
    manager.ready();
    let Started { handle, view, thread, .. } = started;
    let writer = tokio::task::spawn_blocking(move || join(thread));
    let authority = Authority::new(rustix::process::geteuid().as_raw(), Some(&token));
    let routes = service::router(&mesh, Arc::new(authority))?;
    let routes = Routes::from(routes.into_axum_router().layer(Edge::new(mesh.vitals.clone())));
    let collector = config.otlp.as_ref().zip(traces);
    let exporter = collector.map(|(endpoint, traces)| Exporter::start(endpoint, traces, mesh.clone()));
    let served = run(listeners, routes, &mesh, &manager, writer, handle).await;
    if let Some(exporter) = exporter {
        exporter.finish().await;
    }
    tracing::info!(revision = view.revision().0, "ended");
    served
}

/// Serves, and ends in order: no new calls, streams end, calls in flight are answered, the writer flushes.
async fn run(
    listeners: Listeners,
    routes: Routes,
    mesh: &Mesh,
    manager: &Manager,
    mut writer: tokio::task::JoinHandle<Result<(), StoreError>>,
    handle: crate::queue::Handle,
) -> anyhow::Result<()> {
    let Listeners { unix, tcp, metrics, socket } = listeners;
    let (stop, open) = (&mesh.shutdown, &mesh.vitals.open);
    let mut servers = JoinSet::new();
    let incoming = transport::unix(unix, open.clone());
    servers.spawn(serve_on(bounded(), Hosts::Any, incoming, routes.clone(), stop.clone()));
    match tcp {
        None => {}
        Some(TcpSocket { listener, certificates: None, hosts }) => {
            servers.spawn(serve_on(
                probing(),
                hosts,
                transport::tcp(listener, open.clone()),
                routes,
                stop.clone(),
            ));
        }
        Some(TcpSocket { listener, certificates: Some(certificates), hosts }) => {
            let incoming = transport::tls(listener, certificates, open.clone());
            servers.spawn(serve_on(probing(), hosts, incoming, routes, stop.clone()));
        }
    }
    let figures = metrics.map(|metrics| tokio::spawn(endpoint::serve(metrics, mesh.clone(), stop.clone())));
    tokio::select! {
        () = stop.cancelled() => {}
        ended = &mut writer => {
            // What is on disk is unknown: answer nobody, end, and let the next start find out.
            ended.context("the writer panicked")?.context("the store failed; the next start recovers it")?;
            bail!("the writer ended by itself");
        }
        Some(ended) = servers.join_next() => {
            ended.context("a listener panicked")?.context("a listener failed")?;
        }
    }
    manager.stopping();
    stop.cancel();
    drop(socket);
    let drained = tokio::time::timeout(DRAIN, async { while servers.join_next().await.is_some() {} }).await;
    if let Some(figures) = figures {
        figures.await.context("the listener for metrics panicked")?;
    }
    if drained.is_err() {
        tracing::warn!("some calls did not end in time and are cut off");
        servers.shutdown().await;
    }
    tokio::task::spawn_blocking(move || handle.stop());
    let flushed = tokio::time::timeout(DRAIN, writer).await.context("the disk did not answer in time")?;
    flushed.context("the writer panicked")?.context("the last commit failed")
}

/// A server that asks silent clients whether they are there: a network may lose them without a word. The kernel
/// never does, and a process that is only stopped does not answer, so a Unix socket is not probed.
fn probing() -> Server {
    bounded()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
}

/// A server that takes only so much of each connection.
pub(crate) fn bounded() -> Server {
    Server::builder()
        .max_concurrent_streams(limits::STREAMS_PER_CONNECTION)
        .http2_max_header_list_size(limits::HEADER_BYTES)
        .http2_max_pending_accept_reset_streams(Some(limits::RESET_STREAMS))
        .initial_stream_window_size(limits::STREAM_WINDOW)
        .initial_connection_window_size(limits::CONNECTION_WINDOW)
}

async fn serve_on<Io>(
    server: Server,
    hosts: Hosts,
    incoming: impl tokio_stream::Stream<Item = std::io::Result<transport::Connection<Io>>>,
    routes: Routes,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error>
where
    Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    transport::Connection<Io>: Connected,
{
    let mut server = server.layer(Checks::new(hosts)).layer(Deadline);
    server.add_routes(routes).serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await
}

fn open_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    let identity = Identity {
        incarnation: Uuid::new_v4(),
        secret: Secret::new(instance::random()?),
        created_ms: Clock::starting_at(mesh_core::time::Timestamp::default()).now().wall.0,
    };
    let options = SledOptions { durability: config.durability, identity };
    let dir = &config.paths.store;
    store::finish(dir)?;
    let opened = SledStore::open(dir, options.clone())?;
    let (store, growth) = store::compact(opened, dir, options)?;
    if let Some(Growth { before, after, live }) = growth {
        tracing::info!(before, after, live, "wrote the store anew, since its files had grown");
    }
    Ok(Arc::new(store))
}

async fn listen(config: &Config) -> anyhow::Result<Listeners> {
    let (socket, unix) = Socket::bind(&config.paths.socket, config.foreign_socket)?;
    unix.set_nonblocking(true)?;
    let tcp = match &config.tcp {
        None => None,
        Some(tcp) => Some(listen_on_tcp(tcp, &config.paths.tls).await?),
    };
    let metrics = match config.metrics {
        None => None,
        Some(address) => {
            let bound = TcpListener::bind(address).await;
            Some(bound.with_context(|| format!("cannot listen on {address}; choose another --metrics"))?)
        }
    };
    Ok(Listeners { unix: UnixListener::from_std(unix)?, tcp, metrics, socket })
}

async fn listen_on_tcp(tcp: &Tcp, directory: &std::path::Path) -> anyhow::Result<TcpSocket> {
    let address = tcp.address;
    let certificates = match &tcp.tls {
        None => None,
        Some(with) => {
            let files = match &with.files {
                Some(files) => files.clone(),
                None => tls::prepare(directory, &tcp.hosts, address.ip())?,
            };
            Some(Arc::new(Certificates::load(files, with.client_ca.clone())?))
        }
    };
    let listener = TcpListener::bind(address).await;
    let listener =
        listener.with_context(|| format!("cannot listen on {address}; choose another --listen"))?;
    let mut names = tcp.hosts.clone();
    let hosts = match &certificates {
        Some(certificates) => {
            tracing::info!(fingerprint = certificates.fingerprint(), "TLS; clients may pin this certificate");
            Hosts::Any
        }
        None if tcp.is_exposed() => {
            tracing::warn!(%address, "not encrypted: whoever is on the way reads everything, the token first");
            names.push(tls::own_name());
            Hosts::Addresses(names)
        }
        None => Hosts::Loopback(names),
    };
    Ok(TcpSocket { listener, certificates, hosts })
}

fn mesh(
    config: &Config,
    started: &Started,
    store: &Arc<dyn Store>,
    listeners: &Listeners,
    stop: CancellationToken,
) -> anyhow::Result<Mesh> {
    let mut endpoints = vec![format!("unix://{}", config.paths.socket.display())];
    if let Some(tcp) = &listeners.tcp {
        let scheme = if tcp.certificates.is_some() { "https" } else { "http" };
        endpoints.push(format!("{scheme}://{}", tcp.listener.local_addr()?));
    }
    let identity = store.identity();
    let info = BrokerInfo {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        started: started.clock.now().wall,
        store_path: config.paths.store.clone(),
        endpoints,
        auto_started: config.auto,
        idle_exit: config.idle_exit.map(|idle| Millis(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX))),
        incarnation: identity.incarnation,
        store: store.clone(),
    };
    Ok(Mesh {
        writer: started.handle.clone(),
        view: started.view.clone(),
        events: started.events.clone(),
        leases: started.leases.clone(),
        clock: started.clock.clone(),
        ids: Ids::default(),
        tokens: SessionTokens::new(&identity.secret),
        info: Arc::new(info),
        shutdown: stop,
        watches: WatchCount::default(),
        reads: Reads::new(started.leases.clone()),
        shown: Shown::default(),
        wakes: Wakes::default(),
        indices: Indices::default(),
        waits: Waits::default(),
        vitals: Arc::new(vitals(config, started, listeners)?),
        passes: Passes::default(),
    })
}

/// Measures calls only when somebody asked for figures.
fn vitals(config: &Config, started: &Started, listeners: &Listeners) -> anyhow::Result<Vitals> {
    let metrics = listeners.metrics.as_ref().map(TcpListener::local_addr).transpose()?;
    let wanted = metrics.is_some() || config.otlp.is_some();
    Ok(Vitals {
        calls: wanted.then(Calls::new),
        metrics,
        otlp: config.otlp.as_ref().map(|otlp| otlp.uri().to_string()),
        ..Vitals::new(started.commits.clone(), started.handle.clone())
    })
}

/// Tells the client that started this broker that it can connect, and lets go of its pipe.
fn announce() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    // A client that is gone by now does not mind.
    let _ = out.write_all(b"ready\n").and_then(|()| out.flush());
    drop(out);
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null").context("cannot open /dev/null")?;
    rustix::stdio::dup2_stdout(&null).context("cannot let go of stdout")
}

fn join(thread: JoinHandle<Result<(), StoreError>>) -> Result<(), StoreError> {
    match thread.join() {
        Ok(ended) => ended,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
