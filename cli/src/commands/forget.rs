//! `meshctl forget`: deletes an entry.

use mesh_client::display::printable_line;
use mesh_client::proto::DeleteRequest;
use serde::Serialize;

use super::remember::{FenceArgs, precondition};
use crate::context::Context;
use crate::error::{CliError, Detail};
use crate::identity;

/// Delete something that is remembered
///
/// What another peer wrote last is deleted only if you have recalled it as it is; else it is shown, and the exit code
/// is 4. `meshctl revert` brings it back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl forget decisions/auth
  meshctl forget decisions/auth --if-version 3")]
pub(crate) struct Args {
    /// The key
    key: String,

    /// Only if the entry is still at this version
    #[arg(long, value_name = "VERSION", conflicts_with = "overwrite")]
    if_version: Option<u64>,

    /// Whatever is there, read or not
    #[arg(long)]
    overwrite: bool,

    #[command(flatten)]
    fence: FenceArgs,

    /// From what is remembered for all projects
    #[arg(long)]
    global: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    revision: u64,
    key: &'a str,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let request = DeleteRequest {
        scope: if args.global { "global".to_owned() } else { String::new() },
        key: args.key.clone(),
        precondition: precondition(args.if_version, args.overwrite),
        request_id: String::new(),
        fence: args.fence.fence(ctx)?,
    };
    let deleted = identity::act(ctx).await?.delete(request).await;
    let answer = deleted.map_err(|error| not_yours(error.into()))?;
    if ctx.out.is_json() {
        let revision = answer.header.map_or(0, |header| header.revision);
        return ctx.out.json(&Answer { revision, key: &args.key });
    }
    ctx.out.text(&format!("forgot {}\n", printable_line(&args.key)))
}

/// There is nothing to merge with a deletion: who has seen what is there may delete it.
fn not_yours(error: CliError) -> CliError {
    match &error.detail {
        Detail::Write { conflict, .. } => {
            let version = conflict.theirs.as_ref().map_or(0, |theirs| theirs.version);
            error.hint(format_args!("if it may go all the same, run it again with --if-version {version}"))
        }
        Detail::None | Detail::Locks { .. } | Detail::Cycle(_) | Detail::Fenced(_) | Detail::Sent(_) => error,
    }
}
