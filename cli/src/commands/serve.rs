//! `meshctl serve`: the broker in the foreground.

use mesh_broker::config::{Config, Paths};

use crate::context::Context;
use crate::error::CliError;

/// Run a broker in the foreground
///
/// There is no need to: the first command that finds none starts one. Run it by hand to keep it, to watch its
/// log, or to let containers, programs and other machines reach it over TCP.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl serve
  meshctl serve --listen 127.0.0.1:7070
  meshctl serve --listen 0.0.0.0:7070 --tls-self-signed --host broker.example")]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    broker: mesh_broker::config::Args,
}

pub(crate) fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let home = ctx.mesh().home()?;
    home.create().map_err(CliError::failure)?;
    let paths = Paths {
        store: home.store_path(),
        socket: home.socket_path(),
        lock: home.broker_lock_path(),
        token: home.token_path(),
        tls: home.tls_path(),
        log: home.log_path(),
    };
    let filter = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let filter = filter.unwrap_or_else(|| log_filter(ctx.verbose()).to_owned());
    let mut config = Config::new(args.broker, paths, filter).map_err(CliError::usage)?;
    config.notify = std::env::var_os("NOTIFY_SOCKET");
    mesh_broker::run(config).map_err(|error| CliError::failure(format_args!("{error:#}")))
}

fn log_filter(verbose: u8) -> &'static str {
    match verbose {
        0 => "info",
        1 => "info,mesh_broker=debug,mesh_core=debug",
        2.. => "debug",
    }
}
