//! Until an entry is as described.

use mesh_client::display::printable_line;
use mesh_client::proto::EntryCondition;
use mesh_client::proto::entry_condition::State;
use mesh_client::proto::wait_condition::Condition;
use mesh_client::proto::wait_response::By;

use super::{TimeoutArgs, show, until};
use crate::commands::recall;
use crate::context::Context;
use crate::error::CliError;

/// Until a key exists, or is as described
///
/// Prints its value.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl wait key build/status --value green
  meshctl wait key decisions/auth --version 4
  meshctl wait key release/freeze --absent --timeout 8h")]
pub(super) struct Args {
    /// The key
    key: String,

    /// Until its value is this
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["version", "absent"])]
    value: Option<String>,

    /// Until it is at this version, or a later one
    #[arg(long, conflicts_with = "absent")]
    version: Option<u64>,

    /// Until it is not there
    #[arg(long)]
    absent: bool,

    #[command(flatten)]
    timeout: TimeoutArgs,

    /// Of what is remembered for all projects
    #[arg(long)]
    global: bool,
}

pub(super) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let key = printable_line(&args.key).into_owned();
    let (state, not_so) = match (args.value, args.version) {
        (Some(value), _) => (State::Value(value), format!("{key} did not get that value")),
        (None, Some(version)) => (State::VersionAtLeast(version), format!("{key} did not get to v{version}")),
        (None, None) if args.absent => (State::Exists(false), format!("{key} was not forgotten")),
        (None, None) => (State::Exists(true), format!("{key} was not written")),
    };
    let scope = if args.global { "global".to_owned() } else { ctx.scope()? };
    let condition = Condition::Entry(EntryCondition { key: args.key, state: Some(state) });
    let answer = until(ctx, scope, condition, args.timeout.timeout, &not_so).await?;
    show(ctx, &answer, || match &answer.by {
        Some(By::Entry(entry)) => recall::value(ctx, entry),
        Some(By::Peer(_) | By::Reply(_) | By::Batch(_)) | None => {
            ctx.out.text(&format!("{key} is not there\n"))
        }
    })
}
