//! `meshctl revert`: writes an earlier version of an entry again.

use mesh_client::display::printable_line;
use mesh_client::proto::RestoreRequest;
use serde::Serialize;

use super::remember::precondition;
use crate::context::Context;
use crate::error::CliError;
use crate::identity;
use crate::json;

/// Bring back an earlier version of something that is remembered
///
/// Value, paths and labels are written again, as a new version; also of what was forgotten.
/// `meshctl recall KEY --history` lists the versions that are kept.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  meshctl revert decisions/auth 3")]
pub(crate) struct Args {
    /// The key
    key: String,

    /// The version to bring back
    version: u64,

    /// Only if the entry is still at this version
    #[arg(long, value_name = "VERSION", conflicts_with = "overwrite")]
    if_version: Option<u64>,

    /// Whatever is there, read or not
    #[arg(long)]
    overwrite: bool,

    /// Of what is remembered for all projects
    #[arg(long)]
    global: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    revision: u64,
    entry: json::Entry<'a>,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let request = RestoreRequest {
        scope: if args.global { "global".to_owned() } else { String::new() },
        key: args.key,
        version: args.version,
        precondition: precondition(args.if_version, args.overwrite),
        request_id: String::new(),
    };
    let answer = identity::act(ctx).await?.restore(request).await?;
    let entry = answer.entry.unwrap_or_default();
    if ctx.out.is_json() {
        let revision = answer.header.map_or(0, |header| header.revision);
        return ctx.out.json(&Answer { revision, entry: json::Entry::from(&entry).without_value() });
    }
    let key = printable_line(&entry.key);
    ctx.out.text(&format!("brought back v{} of {key}, as v{}\n", args.version, entry.version))
}
