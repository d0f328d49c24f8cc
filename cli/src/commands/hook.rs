//! `meshctl hook`: what hosts of agents run at points of a session.

use std::ffi::OsString;

use mesh_hook::Host;

use crate::context::Context;
use crate::error::CliError;

/// Answer a hook of an agent's host; `meshctl install` registers it
///
/// Reads the host's JSON on stdin and answers in the host's own form on stdout. Keeps the agent's presence, shows it its
/// mail, locks what it edits, reports what it touched, and refuses an edit of a file that another agent has locked. It
/// never breaks the agent: when something is wrong, or the broker is away, it says so on stderr and lets everything
/// pass. A project is left alone with `hooks = false` in its .mesh.toml, and a shell with MESH_HOOKS=off.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl install                     registers the hooks of the agents that are installed
  meshctl doctor                      runs one of each, and says what to fix
  echo '{\"hook_event_name\": \"SessionStart\", \"session_id\": \"1\"}' | meshctl hook claude-code")]
pub(crate) struct Args {
    /// The host: claude-code, codex, cursor, gemini, opencode, vscode, copilot, windsurf or goose
    #[arg(value_name = "HOST", value_parser = host)]
    host: Host,
    /// The event, for hosts that do not name it in their JSON; or `wait`, `monitor`, `queue`: wait for mail beside an
    /// idle agent and hand it over
    #[arg(value_name = "EVENT")]
    event: Option<String>,
}

fn host(name: &str) -> Result<Host, String> {
    name.parse().map_err(|_| {
        let names: Vec<String> = Host::ALL.iter().map(ToString::to_string).collect();
        format!("there is no host of this name; there are {}", names.join(", "))
    })
}

pub(crate) fn run(ctx: &Context, args: &Args) -> Result<u8, CliError> {
    let mut config = ctx.mesh().config()?;
    config.scope = ctx.given_scope()?.or(config.scope);
    Ok(mesh_agent::run(args.host, args.event.as_deref(), || Ok(config)))
}

/// The exit code, if the arguments are those with which hosts run it. It runs before each of an agent's tools, and
/// making the table of all commands takes longer than answering.
pub(crate) fn at_once(args: impl Iterator<Item = OsString>) -> Option<u8> {
    let args: Vec<String> = args.skip(1).map(|arg| arg.into_string().ok()).take(4).collect::<Option<_>>()?;
    let (host, event) = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["hook", host] => (host, None),
        ["hook", host, event] if !event.starts_with('-') => (host, Some(event)),
        _ => return None,
    };
    let config = || mesh_client::Config::from_env().map_err(|error| error.to_string());
    Some(mesh_agent::run(host.parse().ok()?, event, config))
}
