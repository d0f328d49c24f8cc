//! `meshctl mcp`: the adapter that agents speak MCP to.

use crate::context::Context;
use crate::error::CliError;

/// Serve MCP on stdin and stdout, for an agent to start
///
/// The agent joins the project of the directory it runs in with its first tool call, and leaves when it ends.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  claude mcp add -s user mesh -- meshctl mcp
  codex mcp add mesh -- meshctl mcp")]
pub(crate) struct Args {
    /// Speak no protocol version later than 2025-11-25: some hosts' features need its handshake
    #[arg(long)]
    legacy: bool,
    /// How mail reaches an idle agent without hooks
    #[arg(long, value_enum, default_value = "auto", value_name = "WAY")]
    push: Push,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Push {
    /// Through the session's inbox, where the host has one
    Auto,
    /// As a Claude Code channel, for a session launched with this server among its channels; implies --legacy
    Channel,
    /// It waits for the agent's next call
    Off,
}

pub(crate) fn run(ctx: &Context, args: &Args) -> Result<(), CliError> {
    let options = mesh_mcp::Options {
        config: ctx.mesh().config()?,
        scope: ctx.given_scope()?,
        name: ctx.given_name().map(str::to_owned),
        legacy: args.legacy,
        push: match args.push {
            Push::Auto => mesh_mcp::Push::Auto,
            Push::Channel => mesh_mcp::Push::Channel,
            Push::Off => mesh_mcp::Push::Off,
        },
    };
    mesh_mcp::run(options).map_err(|error| CliError::failure(format_args!("{error:#}")))
}
