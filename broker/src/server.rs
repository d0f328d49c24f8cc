//! All the wiring: claim the home, recover, serve, drain.

use std::io::Write;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use mesh_core::time::Millis;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::Config;
use crate::instance::{self, Instance, Socket};
use crate::service::auth::{Authority, SessionTokens};
use crate::service::{self, BrokerInfo, Indices, Mesh, Reads, Shown, Waits, Wakes, WatchCount};
use crate::store::{self, Growth, Identity, Secret, SledOptions, SledStore, Store, StoreError};
use crate::writer::{self, Started};
use crate::{shutdown, transport};

/// How long calls in flight may take once the broker is ending.
const DRAIN: Duration = Duration::from_secs(5);

/// Where a broker listens.
#[derive(Debug)]
struct Listeners {
    unix: UnixListener,
    tcp: Option<TcpListener>,
    /// Removes the socket file when the broker no longer listens.
    socket: Socket,
}

/// Serves until told to stop. Returns once everything accepted is on disk.
pub(crate) async fn serve(config: Config) -> anyhow::Result<()> {
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
    tracing::info!(
        endpoints = ?mesh.info.endpoints, revision = mesh.view.revision().0, "serving"
    );
    shutdown::on_signal(stop.clone())?;
    if let Some(patience) = config.idle_exit {
        let (view, events, streams) = (mesh.view.clone(), mesh.events.clone(), mesh.watches.subscribe());
        tokio::spawn(shutdown::on_idle(patience, view, events, streams, stop.clone()));
    }
    if config.auto {
        announce()?;
    }
    let Started { handle, view, thread, .. } = started;
    let writer = tokio::task::spawn_blocking(move || join(thread));
    let authority = Authority::new(rustix::process::geteuid().as_raw(), Some(&token));
    let routes = service::router(&mesh, Arc::new(authority))?;
    let served = run(listeners, routes, stop.clone(), writer, handle).await;
    tracing::info!(revision = view.revision().0, "ended");
    served
}

/// Serves, and ends in order: no new calls, streams end, calls in flight are answered, the writer flushes.
async fn run(
    listeners: Listeners,
    routes: Routes,
    stop: CancellationToken,
    mut writer: tokio::task::JoinHandle<Result<(), StoreError>>,
    handle: crate::queue::Handle,
) -> anyhow::Result<()> {
    let Listeners { unix, tcp, socket } = listeners;
    let mut servers = JoinSet::new();
    servers.spawn(serve_on(Server::builder(), transport::unix(unix), routes.clone(), stop.clone()));
    if let Some(tcp) = tcp {
        servers.spawn(serve_on(probing(), transport::tcp(tcp), routes, stop.clone()));
    }
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
    stop.cancel();
    drop(socket);
    let drained = tokio::time::timeout(DRAIN, async { while servers.join_next().await.is_some() {} }).await;
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
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
}

async fn serve_on<Io>(
    mut server: Server,
    incoming: impl tokio_stream::Stream<Item = std::io::Result<transport::Connection<Io>>>,
    routes: Routes,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error>
where
    Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    transport::Connection<Io>: Connected,
{
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
    let tcp = match config.listen {
        None => None,
        Some(address) => {
            let bound = TcpListener::bind(address).await;
            Some(bound.with_context(|| format!("cannot listen on {address}; choose another --listen"))?)
        }
    };
    Ok(Listeners { unix: UnixListener::from_std(unix)?, tcp, socket })
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
        endpoints.push(format!("http://{}", tcp.local_addr()?));
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
        clock: started.clock,
        tokens: SessionTokens::new(&identity.secret),
        info: Arc::new(info),
        shutdown: stop,
        watches: WatchCount::default(),
        reads: Reads::new(started.leases.clone()),
        shown: Shown::default(),
        wakes: Wakes::default(),
        indices: Indices::default(),
        waits: Waits::default(),
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
