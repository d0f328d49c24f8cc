//! `meshctl watch`: the live tail.

use mesh_client::proto::{EventBatch, ListLocksRequest};
use mesh_client::{Client, WatchItem, WatchOptions};
use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::oneshot;

use super::events::{FilterArgs, start_after};
use super::{locks, who};
use crate::context::Context;
use crate::error::CliError;
use crate::json;
use crate::list;
use crate::output;
use crate::render::event::{self, EventLines};
use crate::signals::Signals;
use crate::time::Clock;

/// How much of the state the header shows of each kind.
const HEADER_ROWS: usize = 20;

/// Follow what happens, live
///
/// One line per event that tells something new; with --json one object per event. Survives the end of the broker: it goes on where it was, without
/// loss or repeats. --since takes it up again where an earlier one ended.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl watch
  meshctl watch --type file_locked --type file_unlocked --path src/
  meshctl watch --json --since 4711 | jq --unbuffered -c .type")]
pub(crate) struct Args {
    /// Begin with what came after this revision; 0 begins with the oldest event kept
    #[arg(long, value_name = "REVISION")]
    since: Option<u64>,

    #[command(flatten)]
    filter: FilterArgs,

    /// Every project (--scope, which may be given several times, names some)
    #[arg(long)]
    all_scopes: bool,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let mut signals = Signals::ending()?;
    tokio::select! {
        biased;
        _ = signals.next() => Ok(()),
        () = reader_gone() => Ok(()),
        ended = follow(ctx, &args) => ended,
    }
}

async fn follow(ctx: &Context, args: &Args) -> Result<(), CliError> {
    let client = ctx.client()?;
    let scopes = ctx.scopes(args.all_scopes)?;
    let mut options = WatchOptions { filter: args.filter.filter(ctx)?, ..WatchOptions::default() };
    let mut lines =
        EventLines::new(ctx.out.paint(), Clock::local(), scopes.len() != 1, ctx.out.is_terminal());
    if let Some(since) = args.since {
        options.start_revision = start_after(&client, since).await?;
    } else if ctx.out.is_terminal() {
        (options.start_revision, options.incarnation) = header(ctx, &client, &scopes).await?;
    }
    let mut watch = client.watch(WatchOptions { scopes, ..options });
    let mut interrupted = false;
    while let Some(item) = watch.next().await {
        match item? {
            WatchItem::Batch(batch) => show(ctx, &mut lines, &batch)?,
            WatchItem::Interrupted(why) => {
                interrupted = true;
                ctx.out.tell(event::interrupted(&why));
            }
            WatchItem::Created if interrupted => {
                interrupted = false;
                ctx.out.tell(event::resumed(watch.cursor().revision));
            }
            WatchItem::Created
            | WatchItem::State(_)
            | WatchItem::StateEnd(_)
            | WatchItem::Progress(_)
            | _ => {}
        }
    }
    Ok(())
}

/// Writes a batch at once, so that whoever resumes after a revision has seen all of it.
fn show(ctx: &Context, lines: &mut EventLines, batch: &EventBatch) -> Result<(), CliError> {
    if !ctx.out.is_json() {
        return ctx.out.text(&lines.batch(batch));
    }
    let mut text = String::new();
    for event in json::events(batch) {
        text.push_str(&output::json_line(&event)?);
    }
    ctx.out.text(&text)
}

/// Shows who is here and what is locked; answers where to go on so that nothing is missed.
async fn header(ctx: &Context, client: &Client, scopes: &[String]) -> Result<(u64, String), CliError> {
    let all = [String::new()];
    let asked = if scopes.is_empty() { &all } else { scopes };
    let (mut peers, mut held) = (Vec::new(), Vec::new());
    let mut seen: Option<(u64, String)> = None;
    for scope in asked {
        let found = list::peers(client, scope.clone(), false).await?;
        // The first look decides: what changed since is shown as an event, even if a later look shows it too.
        seen.get_or_insert((found.revision, found.incarnation));
        peers.extend(found.peers);
        let request = ListLocksRequest { scope: scope.clone(), ..ListLocksRequest::default() };
        held.extend(list::locks(client, request).await?.locks);
    }
    let (revision, incarnation) = seen.unwrap_or_default();
    let paint = ctx.out.paint();
    let place = if scopes.is_empty() { "every project".to_owned() } else { scopes.join(", ") };
    let mut text = format!("{}\n", paint.bold(&format!("{place} at revision {revision}")));
    let with_scope = scopes.len() != 1;
    let (here, locked) = (peers.len(), held.len());
    peers.truncate(HEADER_ROWS);
    held.truncate(HEADER_ROWS);
    text.push_str(&who::peers_table(paint, &Clock::local(), &peers, with_scope));
    text.push_str(&more(paint, here, "peer"));
    text.push_str(&locks::locks_table(paint, &held, with_scope));
    text.push_str(&more(paint, locked, "lock"));
    if here == 0 {
        text.push_str(&paint.dim("nobody is here yet\n"));
    }
    text.push('\n');
    ctx.out.text(&text)?;
    Ok((revision.saturating_add(1), incarnation))
}

fn more(paint: output::Paint, count: usize, what: &str) -> String {
    match count.saturating_sub(HEADER_ROWS) {
        0 => String::new(),
        1 => paint.dim(&format!("and one more {what}\n")),
        more => paint.dim(&format!("and {more} more {what}s\n")),
    }
}

/// Returns when nobody reads stdout any more: without it, a tail would only notice with the next event, which
/// may be hours away. A thread waits for the system to say so; it asks for no other news of stdout.
async fn reader_gone() {
    let (gone, told) = oneshot::channel();
    let wait = move || {
        let stdout = std::io::stdout();
        let mut stdout = [PollFd::new(&stdout, PollFlags::empty())];
        if poll(&mut stdout, None).is_ok() {
            // Whoever waits for it may have ended.
            let _ = gone.send(());
        }
    };
    let waiting = std::thread::Builder::new().name("mesh-stdout".into()).spawn(wait);
    if waiting.is_err() || told.await.is_err() {
        std::future::pending::<()>().await;
    }
}
