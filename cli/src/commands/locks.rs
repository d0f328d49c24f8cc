//! `meshctl locks`: what is locked, and by whom.

use std::path::PathBuf;

use mesh_client::display::printable_line;
use mesh_client::proto::{ListLocksRequest, Lock};
use serde::Serialize;

use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::json;
use crate::list;
use crate::output::Paint;
use crate::render::table::{Cell, table};
use crate::render::{lock_left, lock_mode, quoted};
use crate::target;

/// Show what is locked, and by whom
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  meshctl locks src/         what is locked in there, or around it")]
pub(crate) struct Args {
    /// Only locks that overlap this file or directory
    path: Option<PathBuf>,

    /// Only locks of this peer
    #[arg(long, value_name = "NAME")]
    holder: Option<String>,

    /// Of every project
    #[arg(long)]
    all_scopes: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    revision: u64,
    locks: Vec<json::Lock<'a>>,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let request = ListLocksRequest {
        scope: ctx.scope_or_all(args.all_scopes)?,
        path: target::optional(ctx, args.path.as_ref())?,
        holder: args.holder.unwrap_or_default(),
        ..ListLocksRequest::default()
    };
    let list::Locks { revision, locks } = list::locks(&ctx.client()?, request).await?;
    if ctx.out.is_json() {
        return ctx.out.json(&Answer { revision, locks: locks.iter().map(json::Lock::from).collect() });
    }
    if locks.is_empty() {
        return ctx.out.text("nothing is locked\n");
    }
    ctx.out.text(&locks_table(ctx.out.paint(), &locks, args.all_scopes))
}

/// Locks as a table.
pub(crate) fn locks_table(paint: Paint, locks: &[Lock], with_scope: bool) -> String {
    let mut heading = vec!["PATH", "HOLDER", "MODE", "LEFT", "REASON"];
    if with_scope {
        heading.insert(0, "SCOPE");
    }
    let rows: Vec<_> = locks.iter().map(|lock| row(lock, with_scope)).collect();
    table(paint, &heading, &rows)
}

fn row(lock: &Lock, with_scope: bool) -> Vec<Cell> {
    let mut row = vec![
        Cell::plain(printable_line(&lock.path)),
        Cell::name(&lock.holder),
        Cell::plain(lock_mode(lock)),
        Cell::dim(duration::show(lock_left(lock))),
        Cell::plain(quoted(&lock.reason)),
    ];
    if with_scope {
        row.insert(0, Cell::dim(printable_line(&lock.scope)));
    }
    row
}
