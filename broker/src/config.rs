//! What the broker is told: [`Args`] as a person types them, [`Config`] once they hold together.
//!
//! Nothing here reads the environment: whoever starts the broker names its paths.

mod tcp;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use mesh_core::limits::HISTORY_SLOTS;
use mesh_core::time::Millis;
use thiserror::Error;
use tonic::transport::Endpoint;

pub use self::tcp::{CertificateFiles, Tcp, TcpArgs, Tls};
use crate::metrics::endpoint;
use crate::otlp;
use crate::store::Durability;
use crate::writer::WriterConfig;

/// How long an auto-started broker stays without peers and streams.
const IDLE_EXIT_SECONDS: u64 = 60;

/// Options of a broker, as typed.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// TCP, if at all.
    #[command(flatten)]
    pub tcp: TcpArgs,

    /// Unix socket to listen on, in place of `mesh.sock` in the home.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// When an answered change is safe: `power` survives a power cut, `process` the end of the broker.
    #[arg(long, value_name = "LEVEL", default_value = "power")]
    pub durability: DurabilityLevel,

    /// How many transactions the event history keeps (at most 131,072).
    #[arg(long, value_name = "COUNT", default_value_t = HISTORY_SLOTS,
          value_parser = clap::value_parser!(u64).range(1..=HISTORY_SLOTS))]
    pub history_count: u64,

    /// How many hours of running time the event history keeps.
    #[arg(long, value_name = "HOURS", default_value_t = 168,
          value_parser = clap::value_parser!(u64).range(1..=87_600))]
    pub history_hours: u64,

    /// End after this many seconds without peers and streams. Stays when not given.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub idle_exit: Option<u64>,

    /// Answer Prometheus at http://ADDRESS/metrics, loopback only (127.0.0.1:9464).
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<SocketAddr>,

    /// Send traces and figures to an OpenTelemetry collector over gRPC (http://127.0.0.1:4317).
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,

    /// Format of the log on stderr.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// Started by a client: in a session of its own, says `ready` on stdout, and ends 60 s after its last peer.
    #[arg(long, hide = true)]
    pub auto: bool,
}

/// When an answered change is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DurabilityLevel {
    /// On the device: survives a power cut.
    Power,
    /// With the operating system: survives the end of the process.
    Process,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// The files of one broker.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Directory of the store, which nothing else may use.
    pub store: PathBuf,
    /// Unix socket, unless the arguments name another.
    pub socket: PathBuf,
    /// Held with an exclusive lock for as long as the broker lives; says who it is.
    pub lock: PathBuf,
    /// Bearer token for TCP, created when missing.
    pub token: PathBuf,
    /// Directory of the broker's own certificate and key, created when asked for.
    pub tls: PathBuf,
    /// Log of a broker that a client started; moved aside when it is long.
    pub log: PathBuf,
}

/// A broker's options, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its files, the socket in effect among them.
    pub paths: Paths,
    /// True when the socket is not the home's own, so that another home's broker may want it too.
    pub foreign_socket: bool,
    /// How it listens on TCP, if at all.
    pub tcp: Option<Tcp>,
    /// Where Prometheus is answered.
    pub metrics: Option<SocketAddr>,
    /// The collector that gets traces and figures.
    pub otlp: Option<Endpoint>,
    /// When a change is safe.
    pub durability: Durability,
    /// How long it stays without peers and streams.
    pub idle_exit: Option<Duration>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines, in the syntax of `tracing_subscriber::EnvFilter`.
    pub log_filter: String,
    /// Whether a client started it.
    pub auto: bool,
    /// Where a service manager wants to be told that the broker is ready, as in `NOTIFY_SOCKET`.
    pub notify: Option<OsString>,
    /// For the writer.
    pub writer: WriterConfig,
}

/// Options that do not hold together.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// TCP beyond this machine is not safe without TLS.
    #[error(
        "{0} is reached from other machines, which would see the token and all that is said; encrypt it with \
         --tls-self-signed (or --tls-cert and --tls-key), or listen on 127.0.0.1:PORT; in a network where \
         nobody else is, --plaintext-beyond-this-machine takes the risk"
    )]
    NotEncrypted(SocketAddr),
    /// Certificates of callers are a matter of TLS.
    #[error("--tls-client-ca needs TLS: add --tls-self-signed, or --tls-cert and --tls-key")]
    ClientCaWithoutTls,
    /// Not a name that a caller could reach this machine by.
    #[error("--host {0:?} is neither a host name nor an IP address; leave out scheme and port")]
    NotAHost(String),
    /// Figures are shown without asking who wants them.
    #[error("{0} is not a loopback address; figures are shown to this machine only (127.0.0.1:PORT)")]
    MetricsNotLoopback(SocketAddr),
    /// No collector can be meant.
    #[error("--otlp: {0}")]
    Otlp(String),
}

impl Config {
    /// Checks the arguments.
    pub fn new(args: Args, mut paths: Paths, log_filter: String) -> Result<Self, ConfigError> {
        let tcp = Tcp::new(args.tcp)?;
        if let Some(address) = args.metrics.filter(|address| !endpoint::is_allowed(*address)) {
            return Err(ConfigError::MetricsNotLoopback(address));
        }
        let otlp = args.otlp.as_deref().map(otlp::endpoint).transpose().map_err(ConfigError::Otlp)?;
        let foreign_socket = args.socket.as_ref().is_some_and(|socket| *socket != paths.socket);
        if let Some(socket) = args.socket {
            paths.socket = socket;
        }
        let idle = args.idle_exit.or_else(|| args.auto.then_some(IDLE_EXIT_SECONDS));
        Ok(Self {
            paths,
            foreign_socket,
            tcp,
            metrics: args.metrics,
            otlp,
            durability: match args.durability {
                DurabilityLevel::Power => Durability::Power,
                DurabilityLevel::Process => Durability::Process,
            },
            idle_exit: idle.map(Duration::from_secs),
            log_format: args.log_format,
            log_filter,
            auto: args.auto,
            notify: None,
            writer: WriterConfig {
                history_count: args.history_count,
                history_age: Millis::minutes(args.history_hours * 60),
                ..WriterConfig::default()
            },
        })
    }
}
