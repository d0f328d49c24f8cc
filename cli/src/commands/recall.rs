//! `meshctl recall`: reads entries.

use std::path::PathBuf;

use mesh_client::display::{printable, printable_line};
use mesh_client::proto::{Entry, GetRequest, GetResponse, ListEntriesRequest, ListEntriesResponse};
use mesh_client::{Client, ClientError};
use serde::Serialize;

use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::json;
use crate::output::{self, Paint};
use crate::render::some_paths;
use crate::render::table::{Cell, table};
use crate::target;
use crate::time::Clock;

/// How much of a value the list shows.
const PREVIEW_CHARS: usize = 60;

/// Show what is remembered: one value, or a list
///
/// With a key, prints its value; on a terminal, a line about it first. Without, lists the entries for which all
/// conditions hold.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl recall build                 the value
  meshctl recall --path src/auth.rs    all that is known about this file
  meshctl recall --query 'token expiry'")]
pub(crate) struct Args {
    /// The key
    #[arg(conflicts_with_all = ["prefix", "path", "query", "tags"])]
    key: Option<String>,

    /// Only keys that begin so
    #[arg(long)]
    prefix: Option<String>,

    /// Only entries about this file or directory, what is around it, or what is in it
    #[arg(long)]
    path: Option<PathBuf>,

    /// Only entries that hold each of these words
    #[arg(long, value_name = "WORDS")]
    query: Option<String>,

    /// Only entries with this label; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,

    /// List at most so many
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,

    /// Of what is remembered for all projects
    #[arg(long)]
    global: bool,
}

#[derive(Serialize)]
struct OneAnswer<'a> {
    revision: u64,
    entry: json::Entry<'a>,
}

#[derive(Serialize)]
struct ListAnswer<'a> {
    revision: u64,
    entries: Vec<json::Entry<'a>>,
    more: bool,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let scope = if args.global { "global".to_owned() } else { ctx.scope()? };
    match args.key {
        Some(key) => one(ctx, scope, key).await,
        None => several(ctx, scope, args).await,
    }
}

async fn one(ctx: &Context, scope: String, key: String) -> Result<(), CliError> {
    let request = GetRequest { scope, key };
    let call = |client: Client| {
        let request = request.clone();
        async move { client.state().get(request).await }
    };
    let GetResponse { header, entry } = ctx.client()?.call(call).await?;
    let entry = entry.unwrap_or_default();
    if ctx.out.is_json() {
        let revision = header.map_or(0, |header| header.revision);
        return ctx.out.json(&OneAnswer { revision, entry: json::Entry::from(&entry) });
    }
    if ctx.out.is_terminal() {
        ctx.out.text(&about(ctx.out.paint(), &Clock::local(), &entry))?;
    }
    ctx.out.text(&format!("{}\n", printable(&entry.value)))
}

/// The line above a value.
fn about(paint: Paint, clock: &Clock, entry: &Entry) -> String {
    let ago = clock.since(entry.write_time.as_ref()).map(duration::show).unwrap_or_default();
    let tags: String = entry.tags.iter().map(|tag| format!("  #{}", printable_line(tag))).collect();
    let line = format!(
        "{}  v{} by {} {ago} ago  {}{tags}",
        printable_line(&entry.key),
        entry.version,
        printable_line(&entry.writer),
        some_paths(entry.paths.iter().map(String::as_str))
    );
    format!("{}\n", paint.dim(line.trim_end()))
}

async fn several(ctx: &Context, scope: String, args: Args) -> Result<(), CliError> {
    let request = ListEntriesRequest {
        scope,
        prefix: args.prefix.unwrap_or_default(),
        path: target::optional(ctx, args.path.as_ref())?,
        query: args.query.unwrap_or_default(),
        tags: args.tags,
        ..ListEntriesRequest::default()
    };
    let (revision, entries, more) = list(&ctx.client()?, request, args.limit).await?;
    if ctx.out.is_json() {
        let entries = entries.iter().map(json::Entry::from).collect();
        return ctx.out.json(&ListAnswer { revision, entries, more });
    }
    if entries.is_empty() {
        return ctx.out.text("nothing is remembered\n");
    }
    let clock = Clock::local();
    let rows: Vec<_> = entries.iter().map(|entry| row(&clock, entry)).collect();
    ctx.out.text(&table(ctx.out.paint(), &["KEY", "VERSION", "WRITER", "AGE", "VALUE"], &rows))?;
    if more {
        output::note(format_args!("there are more; --limit {} shows them", args.limit.saturating_mul(10)));
    }
    Ok(())
}

/// The first entries that match, the revision of the first page, and whether there are more.
async fn list(
    client: &Client,
    mut request: ListEntriesRequest,
    limit: usize,
) -> Result<(u64, Vec<Entry>, bool), ClientError> {
    let mut revision = None;
    let mut entries = Vec::new();
    loop {
        request.page_size = (limit - entries.len()).clamp(1, 1000).try_into().unwrap_or(1000);
        let page = page(client, &request).await?;
        revision = revision.or(page.header.map(|header| header.revision));
        entries.extend(page.entries);
        if page.next_page_token.is_empty() || entries.len() >= limit {
            let more = !page.next_page_token.is_empty() || entries.len() > limit;
            entries.truncate(limit);
            return Ok((revision.unwrap_or_default(), entries, more));
        }
        request.page_token = page.next_page_token;
    }
}

async fn page(client: &Client, request: &ListEntriesRequest) -> Result<ListEntriesResponse, ClientError> {
    let call = |client: Client| {
        let request = request.clone();
        async move { client.state().list_entries(request).await }
    };
    client.call(call).await
}

fn row(clock: &Clock, entry: &Entry) -> Vec<Cell> {
    let first_line = entry.value.lines().next().unwrap_or_default();
    let mut preview: String = first_line.chars().take(PREVIEW_CHARS).collect();
    if preview.len() < entry.value.trim_end().len() {
        preview.push('…');
    }
    vec![
        Cell::plain(printable_line(&entry.key)),
        Cell::plain(entry.version.to_string()),
        Cell::name(&entry.writer),
        Cell::dim(clock.since(entry.write_time.as_ref()).map(duration::show).unwrap_or_default()),
        Cell::plain(printable_line(&preview)),
    ]
}
