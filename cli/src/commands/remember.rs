//! `meshctl remember`: writes an entry.

use std::path::PathBuf;
use std::time::Duration;

use mesh_client::display::printable_line;
use mesh_client::proto::precondition::Condition;
use mesh_client::proto::{Precondition, PutRequest};
use serde::Serialize;

use super::text_or_stdin;
use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::identity;
use crate::json;
use crate::target;

/// Write down something for everybody in the project to recall
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl remember build 'cargo xtask test' --tag howto
  meshctl remember decisions/auth --path src/auth/ - < auth.md
  meshctl remember release 'frozen' --if-absent --ttl 2h")]
pub(crate) struct Args {
    /// The key; `/` is the usual separator
    key: String,

    /// The value; `-` reads it from stdin
    value: String,

    /// A file or directory that it is about; may be given several times
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// A label; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,

    /// Forget it after this time
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    ttl: Option<Duration>,

    /// Only if the entry is still at this version
    #[arg(long, value_name = "VERSION", conflicts_with = "if_absent")]
    if_version: Option<u64>,

    /// Only if there is no such entry
    #[arg(long)]
    if_absent: bool,

    /// For all projects of the mesh
    #[arg(long)]
    global: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    revision: u64,
    entry: json::Entry<'a>,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let condition = match (args.if_version, args.if_absent) {
        (Some(version), _) => Some(Condition::Version(version)),
        (None, true) => Some(Condition::MustNotExist(true)),
        (None, false) => None,
    };
    let request = PutRequest {
        scope: if args.global { "global".to_owned() } else { String::new() },
        key: args.key,
        value: text_or_stdin(args.value)?,
        precondition: condition.map(|condition| Precondition { condition: Some(condition) }),
        ttl: args.ttl.and_then(duration::to_proto),
        paths: target::paths(ctx, &args.paths)?,
        tags: args.tags,
        request_id: String::new(),
    };
    let answer = identity::act(ctx).await?.put(request).await?;
    let entry = answer.entry.unwrap_or_default();
    if ctx.out.is_json() {
        let revision = answer.header.map_or(0, |header| header.revision);
        return ctx.out.json(&Answer { revision, entry: json::Entry::from(&entry).without_value() });
    }
    ctx.out.text(&format!("remembered {} v{}\n", printable_line(&entry.key), entry.version))
}
