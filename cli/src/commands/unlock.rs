//! `meshctl unlock`: gives up locks.

use std::path::PathBuf;

use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::identity;
use crate::render::some_paths;
use crate::target;

/// Release locks that you took with `meshctl lock`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl unlock src/auth.rs
  meshctl unlock --all")]
pub(crate) struct Args {
    /// Files or directories, as they were locked
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    paths: Vec<PathBuf>,

    /// All that you hold in the project
    #[arg(long)]
    all: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    holder: &'a str,
    paths: &'a [String],
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let paths = target::paths(ctx, &args.paths)?;
    let session = identity::act(ctx).await?;
    let released = session.release(paths).await?;
    identity::relax(ctx, &session).await?;
    if ctx.out.is_json() {
        return ctx.out.json(&Answer { holder: &session.peer().name, paths: &released });
    }
    if released.is_empty() {
        return ctx.out.text("you held no locks\n");
    }
    ctx.out.text(&format!("unlocked {}\n", some_paths(released.iter().map(String::as_str))))
}
