//! Until a lock could be had.

use std::path::PathBuf;

use mesh_client::display::printable_line;
use mesh_client::proto::wait_condition::Condition;
use mesh_client::proto::{LockCondition, LockMode};

use super::{TimeoutArgs, show, until};
use crate::context::Context;
use crate::error::CliError;
use crate::target;

/// Until nobody else holds a lock on something, or waits for one
///
/// Takes nothing: somebody else may lock it the next moment. `meshctl lock --wait` waits for it and takes it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  meshctl wait lock src/auth/ --timeout 5m")]
pub(super) struct Args {
    /// A file, directory, pattern, symbol or subject
    path: PathBuf,

    /// Until a shared lock could be had
    #[arg(long)]
    shared: bool,

    #[command(flatten)]
    timeout: TimeoutArgs,
}

pub(super) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let path = target::one(ctx, &args.path)?;
    let shown = printable_line(&path).into_owned();
    let mode = if args.shared { LockMode::Shared } else { LockMode::Exclusive }.into();
    let condition = Condition::LockFree(LockCondition { path, mode });
    let not_so = format!("{shown} did not become free");
    let answer = until(ctx, ctx.scope()?, condition, args.timeout.timeout, &not_so).await?;
    show(ctx, &answer, || ctx.out.text(&format!("{shown} is free for you\n")))
}
