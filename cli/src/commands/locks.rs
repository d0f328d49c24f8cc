//! `meshctl locks`: what is locked, who waits for it, and who is asked to make way.

use std::collections::BTreeSet;
use std::path::PathBuf;

use mesh_client::display::printable_line;
use mesh_client::proto::{
    ListLockWaitersRequest, ListLocksRequest, ListReleaseRequestsRequest, Lock, LockMode, LockWaiter,
    ReleaseRequest,
};
use mesh_client::{Client, ClientError};
use serde::Serialize;

use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::json;
use crate::list;
use crate::output::Paint;
use crate::render::table::{Cell, table};
use crate::render::{ago, lock_left, lock_mode, quoted, some_paths, waiter_left};
use crate::target;
use crate::time::Clock;

/// Show what is locked, who waits for it, and who is asked to make way
///
/// Who waits is shown in the order of the queue. `meshctl answer ID …` answers a request.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl locks src/         what is locked in there, or around it
  meshctl locks --json | jq '.waiters[].peer'")]
pub(crate) struct Args {
    /// Only what overlaps this file, directory, pattern, symbol or subject
    path: Option<PathBuf>,

    /// Only locks of this peer, what it waits for, and what it is asked for
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
    waiters: Vec<json::Waiter<'a>>,
    release_requests: Vec<json::ReleaseRequest<'a>>,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let request = ListLocksRequest {
        scope: ctx.scope_or_all(args.all_scopes)?,
        path: target::optional(ctx, args.path.as_ref())?,
        holder: args.holder.unwrap_or_default(),
        ..ListLocksRequest::default()
    };
    let client = ctx.client()?;
    let list::Locks { revision, locks } = list::locks(&client, request.clone()).await?;
    let scopes = match args.all_scopes {
        true => locked_scopes(&client).await?,
        false => BTreeSet::from([request.scope.clone()]),
    };
    let (waiters, requests) = queue(&client, scopes, &request, &locks).await?;
    if ctx.out.is_json() {
        return ctx.out.json(&Answer {
            revision,
            locks: locks.iter().map(json::Lock::from).collect(),
            waiters: waiters.iter().map(json::Waiter::from).collect(),
            release_requests: requests.iter().map(json::ReleaseRequest::from).collect(),
        });
    }
    if locks.is_empty() && waiters.is_empty() {
        return ctx.out.text("nothing is locked\n");
    }
    let (paint, clock) = (ctx.out.paint(), Clock::local());
    let mut text = locks_table(paint, &locks, args.all_scopes);
    for (title, part) in [
        ("Waiting", waiters_table(paint, &clock, &waiters, args.all_scopes)),
        ("Asked to make way", requests_table(paint, &clock, &requests, args.all_scopes)),
    ] {
        if !part.is_empty() {
            text.push_str(&format!("\n{}\n{part}", paint.bold(title)));
        }
    }
    ctx.out.text(&text)
}

/// The scopes where there is something to wait for.
async fn locked_scopes(client: &Client) -> Result<BTreeSet<String>, ClientError> {
    let all = list::locks(client, ListLocksRequest::default()).await?;
    Ok(all.locks.into_iter().map(|lock| lock.scope).collect())
}

/// Who waits for the locks, and who asks for them.
async fn queue(
    client: &Client,
    scopes: BTreeSet<String>,
    asked: &ListLocksRequest,
    locks: &[Lock],
) -> Result<(Vec<LockWaiter>, Vec<ReleaseRequest>), ClientError> {
    let (mut waiters, mut requests) = (Vec::new(), Vec::new());
    for scope in scopes {
        let request = ListLockWaitersRequest { scope: scope.clone(), path: asked.path.clone() };
        waiters.extend(list::waiters(client, request).await?);
        let request = ListReleaseRequestsRequest { scope, holder: asked.holder.clone(), from: String::new() };
        requests.extend(list::release_requests(client, request).await?);
    }
    if !asked.holder.is_empty() {
        waiters.retain(|waiter| waiter.peer == asked.holder);
    }
    if !asked.path.is_empty() {
        let about = |request: &ReleaseRequest, lock: &Lock| {
            (&lock.scope, &lock.holder) == (&request.scope, &request.holder)
                && request.lock_paths.contains(&lock.path)
        };
        requests.retain(|request| locks.iter().any(|lock| about(request, lock)));
    }
    Ok((waiters, requests))
}

/// Locks as a table.
pub(crate) fn locks_table(paint: Paint, locks: &[Lock], with_scope: bool) -> String {
    let row = |lock: &Lock| {
        let row = vec![
            Cell::plain(printable_line(&lock.path)),
            Cell::name(&lock.holder),
            Cell::plain(lock_mode(lock)),
            Cell::dim(duration::show(lock_left(lock))),
            Cell::plain(quoted(&lock.reason)),
        ];
        in_scope(&lock.scope, row, with_scope)
    };
    let rows: Vec<_> = locks.iter().map(row).collect();
    table(paint, &heading(&["PATH", "HOLDER", "MODE", "LEFT", "REASON"], with_scope), &rows)
}

/// Requests that wait, as a table.
pub(crate) fn waiters_table(paint: Paint, clock: &Clock, waiters: &[LockWaiter], with_scope: bool) -> String {
    let row = |waiter: &LockWaiter| {
        let row = vec![
            Cell::plain(some_paths(waiter.paths.iter().map(String::as_str))),
            Cell::name(&waiter.peer),
            Cell::plain(if waiter.mode() == LockMode::Shared { "shared" } else { "exclusive" }),
            Cell::dim(ago(clock, waiter.queue_time.as_ref())),
            Cell::dim(duration::show(waiter_left(waiter))),
            Cell::plain(quoted(&waiter.reason)),
        ];
        in_scope(&waiter.scope, row, with_scope)
    };
    let rows: Vec<_> = waiters.iter().map(row).collect();
    table(paint, &heading(&["PATH", "WHO", "MODE", "SINCE", "LEFT", "REASON"], with_scope), &rows)
}

/// Requests to make way, as a table.
pub(crate) fn requests_table(
    paint: Paint,
    clock: &Clock,
    requests: &[ReleaseRequest],
    with_scope: bool,
) -> String {
    let row = |request: &ReleaseRequest| {
        let urgent = if request.urgent { "urgent " } else { "" };
        let row = vec![
            Cell::plain(request.id.to_string()),
            Cell::plain(some_paths(request.lock_paths.iter().map(String::as_str))),
            Cell::name(&request.holder),
            Cell::name(&request.from),
            Cell::dim(ago(clock, request.ask_time.as_ref())),
            Cell::plain(format!("{urgent}{}", quoted(&request.reason))),
        ];
        in_scope(&request.scope, row, with_scope)
    };
    let rows: Vec<_> = requests.iter().map(row).collect();
    table(paint, &heading(&["ID", "PATH", "HOLDER", "ASKED BY", "SINCE", "REASON"], with_scope), &rows)
}

fn heading<'a>(columns: &[&'a str], with_scope: bool) -> Vec<&'a str> {
    let scope = with_scope.then_some("SCOPE");
    scope.into_iter().chain(columns.iter().copied()).collect()
}

fn in_scope(scope: &str, row: Vec<Cell>, with_scope: bool) -> Vec<Cell> {
    let scope = with_scope.then(|| Cell::dim(printable_line(scope)));
    scope.into_iter().chain(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_and_the_asking_have_their_tables() {
        let clock = Clock::at(jiff::Timestamp::new(1_000, 0).unwrap());
        let ago = |seconds: i64| Some(prost_types::Timestamp { seconds: 1_000 - seconds, nanos: 0 });
        let waiter = LockWaiter {
            scope: "app".to_owned(),
            peer: "blue-owl".to_owned(),
            paths: vec!["src/".to_owned(), "docs/".to_owned()],
            mode: LockMode::Shared.into(),
            reason: "docs".to_owned(),
            queue_time: ago(61),
            remaining: Some(prost_types::Duration { seconds: 9, nanos: 1 }),
            ..LockWaiter::default()
        };
        let request = ReleaseRequest {
            id: 4711,
            scope: "app".to_owned(),
            from: "blue-owl".to_owned(),
            holder: "amber-fox".to_owned(),
            lock_paths: vec!["src/\u{1b}".to_owned()],
            reason: "release\ntoday".to_owned(),
            urgent: true,
            ask_time: ago(5),
            ..ReleaseRequest::default()
        };
        let paint = Paint::plain();
        let text =
            waiters_table(paint, &clock, &[waiter], true) + &requests_table(paint, &clock, &[request], false);
        insta::assert_snapshot!(text, @r#"
        SCOPE  PATH        WHO       MODE    SINCE  LEFT  REASON
        app    src/ docs/  blue-owl  shared  1m 1s  10s   "docs"
        ID    PATH   HOLDER     ASKED BY  SINCE  REASON
        4711  src/␛  amber-fox  blue-owl  5s     urgent "release␊today"
        "#);
    }
}
