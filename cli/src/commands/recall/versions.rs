//! The versions of one key.

use mesh_client::display::printable_line;
use mesh_client::proto::{Entry, ListVersionsRequest};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::identity::{self, read};
use crate::json;
use crate::output;
use crate::render::table::{Cell, table};
use crate::render::{ago, preview};
use crate::time::Clock;

#[derive(Serialize)]
struct Answer<'a> {
    revision: u64,
    versions: Vec<json::Entry<'a>>,
    deleted: bool,
}

pub(super) async fn run(ctx: &Context, scope: String, key: String) -> Result<(), CliError> {
    let reader = identity::reader(ctx).await?;
    let request = ListVersionsRequest { scope, key: key.clone() };
    let answer = read!(reader, state.list_versions(request))?;
    if ctx.out.is_json() {
        return ctx.out.json(&Answer {
            revision: answer.header.as_ref().map_or(0, |header| header.revision),
            versions: answer.versions.iter().map(json::Entry::from).collect(),
            deleted: answer.deleted,
        });
    }
    let clock = Clock::local();
    let rows: Vec<_> = answer.versions.iter().map(|version| row(&clock, version)).collect();
    ctx.out.text(&table(ctx.out.paint(), &["VERSION", "WRITER", "AGE", "VALUE"], &rows))?;
    if let (true, Some(last)) = (answer.deleted, answer.versions.first()) {
        let key = printable_line(&key);
        output::note(format_args!("it is forgotten; `meshctl revert {key} {}` brings it back", last.version));
    }
    Ok(())
}

fn row(clock: &Clock, version: &Entry) -> Vec<Cell> {
    vec![
        Cell::plain(version.version.to_string()),
        Cell::name(&version.writer),
        Cell::dim(ago(clock, version.write_time.as_ref())),
        Cell::plain(preview(&version.value)),
    ]
}
