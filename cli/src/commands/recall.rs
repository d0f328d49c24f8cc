//! `meshctl recall`: reads entries.

mod several;
mod versions;

use std::path::PathBuf;

use mesh_client::display::printable;
use mesh_client::proto::{Entry, GetRequest};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::identity::{self, read};
use crate::json;
use crate::render::entry_line;
use crate::time::Clock;

/// Show what is remembered: one value, or a list
///
/// With a key, prints its value; on a terminal, a line about it first. Without, lists the entries for which all
/// conditions hold, with --query the best match first. What you recall while `meshctl who` shows you, you may overwrite
/// or forget.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl recall build                 the value
  meshctl recall build --version 2     as it was
  meshctl recall build --history       who wrote what, and when
  meshctl recall --path src/auth.rs    what is remembered about this file; see also `meshctl about`
  meshctl recall --query 'token expiry'")]
pub(crate) struct Args {
    /// The key
    #[arg(conflicts_with_all = ["prefix", "path", "query", "tags"])]
    key: Option<String>,

    /// With a key: this version of it
    #[arg(long, requires = "key", conflicts_with = "history", value_parser = clap::value_parser!(u64).range(1..))]
    version: Option<u64>,

    /// With a key: the versions that are kept, the newest first
    #[arg(long, requires = "key")]
    history: bool,

    /// Only keys that begin so
    #[arg(long)]
    prefix: Option<String>,

    /// Only entries about this file, directory, pattern, symbol or subject, what is around it, or what is in it
    #[arg(long)]
    path: Option<PathBuf>,

    /// Find entries by words; those that hold more of them come first
    #[arg(long, value_name = "WORDS")]
    query: Option<String>,

    /// Only entries with this label; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,

    /// List at most so many (with --query at most 100)
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,

    /// Of what is remembered for all projects
    #[arg(long)]
    global: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    revision: u64,
    entry: json::Entry<'a>,
}

pub(crate) async fn run(ctx: &Context, mut args: Args) -> Result<(), CliError> {
    let scope = if args.global { "global".to_owned() } else { ctx.scope()? };
    match args.key.take() {
        Some(key) if args.history => versions::run(ctx, scope, key).await,
        Some(key) => one(ctx, scope, key, args.version.unwrap_or_default()).await,
        None => several::run(ctx, scope, args).await,
    }
}

async fn one(ctx: &Context, scope: String, key: String, version: u64) -> Result<(), CliError> {
    let reader = identity::reader(ctx).await?;
    let answer = read!(reader, state.get(GetRequest { scope, key, version }))?;
    let entry = answer.entry.unwrap_or_default();
    if ctx.out.is_json() {
        let revision = answer.header.map_or(0, |header| header.revision);
        return ctx.out.json(&Answer { revision, entry: json::Entry::from(&entry) });
    }
    value(ctx, &entry)
}

/// Prints a value; on a terminal, a line about it first.
pub(super) fn value(ctx: &Context, entry: &Entry) -> Result<(), CliError> {
    if ctx.out.is_terminal() {
        ctx.out.text(&format!("{}\n", ctx.out.paint().dim(&entry_line(&Clock::local(), entry))))?;
    }
    ctx.out.text(&format!("{}\n", printable(&entry.value)))
}
