//! Entries for which conditions hold.

use mesh_client::ClientError;
use mesh_client::display::printable_line;
use mesh_client::proto::{Entry, ListEntriesRequest, SearchEntriesRequest};
use serde::Serialize;

use super::Args;
use crate::context::Context;
use crate::error::CliError;
use crate::identity::{self, Reader, read};
use crate::json;
use crate::render::table::{Cell, table};
use crate::render::{ago, preview};
use crate::target;
use crate::time::Clock;

/// The most that the broker finds by words.
const MOST_FOUND: usize = 100;

#[derive(Serialize)]
struct Answer<'a> {
    revision: u64,
    entries: Vec<json::Entry<'a>>,
    more: bool,
}

/// What was found.
struct Found {
    revision: u64,
    entries: Vec<Entry>,
    more: bool,
}

pub(super) async fn run(ctx: &Context, scope: String, args: Args) -> Result<(), CliError> {
    let reader = identity::reader(ctx).await?;
    let path = target::optional(ctx, args.path.as_ref())?;
    let prefix = args.prefix.unwrap_or_default();
    // A table shows how values begin.
    let peek = !ctx.out.is_json();
    let all = args.query.is_none() && path.is_empty() && prefix.is_empty() && args.tags.is_empty();
    let found = match args.query {
        Some(query) => {
            let request =
                SearchEntriesRequest { scope, query, prefix, path, tags: args.tags, limit: 0, peek };
            search(&reader, request, args.limit).await?
        }
        None => {
            let request = ListEntriesRequest {
                scope,
                prefix,
                path,
                tags: args.tags,
                peek,
                ..ListEntriesRequest::default()
            };
            list(&reader, request, args.limit).await?
        }
    };
    let Found { revision, entries, more } = found;
    if ctx.out.is_json() {
        let entries = entries.iter().map(json::Entry::from).collect();
        return ctx.out.json(&Answer { revision, entries, more });
    }
    if entries.is_empty() {
        return ctx.out.text(if all {
            "nothing is remembered\n"
        } else {
            "nothing that is remembered fits\n"
        });
    }
    let clock = Clock::local();
    let rows: Vec<_> = entries.iter().map(|entry| row(&clock, entry)).collect();
    ctx.out.text(&table(ctx.out.paint(), &["KEY", "VERSION", "WRITER", "AGE", "VALUE"], &rows))?;
    if more {
        ctx.out.tell(format_args!("there are more; --limit {} shows them", args.limit.saturating_mul(10)));
    }
    Ok(())
}

/// The first entries that match, the revision of the first page, and whether there are more.
async fn list(reader: &Reader, mut request: ListEntriesRequest, limit: usize) -> Result<Found, ClientError> {
    let mut revision = None;
    let mut entries = Vec::new();
    loop {
        request.page_size = (limit - entries.len()).clamp(1, 1000).try_into().unwrap_or(1000);
        let page = read!(reader, state.list_entries(request.clone()))?;
        revision = revision.or(page.header.map(|header| header.revision));
        entries.extend(page.entries);
        if page.next_page_token.is_empty() || entries.len() >= limit {
            let more = !page.next_page_token.is_empty() || entries.len() > limit;
            entries.truncate(limit);
            return Ok(Found { revision: revision.unwrap_or_default(), entries, more });
        }
        request.page_token = page.next_page_token;
    }
}

/// The best matches; asks for one more than is shown, to know whether there are more.
async fn search(reader: &Reader, request: SearchEntriesRequest, limit: usize) -> Result<Found, ClientError> {
    let asked = limit.saturating_add(1).min(MOST_FOUND);
    let request = SearchEntriesRequest { limit: asked.try_into().unwrap_or(u32::MAX), ..request };
    let answer = read!(reader, state.search_entries(request))?;
    let mut entries: Vec<_> = answer.hits.into_iter().filter_map(|hit| hit.entry).collect();
    let more = entries.len() > limit;
    entries.truncate(limit);
    Ok(Found { revision: answer.header.map_or(0, |header| header.revision), entries, more })
}

fn row(clock: &Clock, entry: &Entry) -> Vec<Cell> {
    vec![
        Cell::plain(printable_line(&entry.key)),
        Cell::plain(entry.version.to_string()),
        Cell::name(&entry.writer),
        Cell::dim(ago(clock, entry.write_time.as_ref())),
        Cell::plain(preview(&entry.value)),
    ]
}
