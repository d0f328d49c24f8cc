//! `meshctl completions`: completion scripts for shells.

use clap::CommandFactory;

use crate::cli::Cli;
use crate::context::Context;
use crate::error::CliError;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  meshctl completions bash > ~/.local/share/bash-completion/completions/meshctl")]
pub(crate) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

pub(crate) fn run(ctx: &Context, args: &Args) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "meshctl", &mut script);
    ctx.out.text(&String::from_utf8_lossy(&script))
}
