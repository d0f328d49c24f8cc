//! `meshctl forget`: deletes an entry.

use mesh_client::display::printable_line;
use mesh_client::proto::precondition::Condition;
use mesh_client::proto::{DeleteRequest, Precondition};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::identity;

/// Delete something that is remembered
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  meshctl forget decisions/auth --if-version 3")]
pub(crate) struct Args {
    /// The key
    key: String,

    /// Only if the entry is still at this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,

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
    let condition = args.if_version.map(Condition::Version);
    let request = DeleteRequest {
        scope: if args.global { "global".to_owned() } else { String::new() },
        key: args.key.clone(),
        precondition: condition.map(|condition| Precondition { condition: Some(condition) }),
        request_id: String::new(),
    };
    let answer = identity::act(ctx).await?.delete(request).await?;
    if ctx.out.is_json() {
        let revision = answer.header.map_or(0, |header| header.revision);
        return ctx.out.json(&Answer { revision, key: &args.key });
    }
    ctx.out.text(&format!("forgot {}\n", printable_line(&args.key)))
}
