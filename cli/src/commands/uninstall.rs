//! `meshctl uninstall`: takes the mesh out of the agents of this machine again.

use mesh_install::{Host, Installer, Outcome};
use serde::Serialize;

use super::install::{ScopeArgs, code, places, program, told};
use crate::context::Context;
use crate::error::CliError;

/// Take the mesh out of the coding agents on this machine
///
/// Files are given back as they were before `meshctl install`, to the byte; from those that somebody changed since,
/// only the mesh's entries are taken out. Without HOST: all agents. Data of the mesh stays in its home.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl uninstall
  meshctl uninstall codex --dry-run")]
pub(crate) struct Args {
    /// Agents to take it out of [default: all]
    #[arg(value_name = "HOST")]
    hosts: Vec<Host>,

    #[command(flatten)]
    scope: ScopeArgs,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    dry_run: bool,
    hosts: &'a [Outcome],
}

pub(crate) fn run(ctx: &Context, args: Args) -> Result<u8, CliError> {
    let scope = args.scope.scope();
    let places = places(ctx, scope)?;
    let program = program(None, scope, &places)?;
    let installer = Installer::new(places.clone(), ctx.mesh().home()?.path(), program, args.dry_run);
    let asked = !args.hosts.is_empty();
    let hosts = if asked { args.hosts } else { Host::ALL.into() };
    let outcomes = hosts.into_iter().map(|host| installer.uninstall(host, scope));
    let outcomes: Vec<_> = outcomes.filter(|outcome| asked || !outcome.files.is_empty()).collect();
    if ctx.out.is_json() {
        ctx.out.json(&Answer { dry_run: args.dry_run, hosts: &outcomes })?;
    } else if outcomes.is_empty() {
        ctx.out.text("nothing of the mesh is there\n")?;
    } else {
        ctx.out.text(&told(ctx.out.paint(), &places, &outcomes, args.dry_run))?;
    }
    Ok(code(&outcomes))
}
