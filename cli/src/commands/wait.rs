//! `meshctl wait`: until something holds, without polling.
//!
//! Modules: one per condition. What must hold: a condition that holds when the call is made is met at once; of events,
//! none that occurs while the command runs is missed, however often the way to the broker breaks.

mod event;
mod key;
mod lock;
mod peer;
mod reply;

use std::time::Duration;

use mesh_client::proto::wait_condition::Condition;
use mesh_client::proto::wait_response::By;
use mesh_client::proto::{Message, WaitCondition, WaitRequest, WaitResponse};
use mesh_client::{ClientError, Session};
use serde::Serialize;
use tokio::time::Instant;

pub(super) use self::reply::reply_to;

use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::exit::Exit;
use crate::identity::{self, Reader, read};
use crate::json;

/// The longest the broker waits in one call.
pub(super) const LONGEST: Duration = Duration::from_secs(3600);
/// Least time between two calls that end without having waited.
const PAUSE: Duration = Duration::from_millis(100);

/// Wait until something is so: a gate for scripts and agents
///
/// What is so already ends the wait at once. Prints what met it, and ends with 0; with 6 when the time is over before.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl wait key build/status --value green --timeout 30m && ./deploy
  meshctl wait lock src/auth/ --timeout 5m
  meshctl wait peer amber-fox --gone
  meshctl wait reply 0191f0c2-7a55-7e0e-b5bb-9d3c2d8b5a10
  meshctl wait event state_changed --path src/billing/")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Key(key::Args),
    Lock(lock::Args),
    Peer(peer::Args),
    Reply(reply::Args),
    Event(event::Args),
}

/// How long to wait.
#[derive(Debug, clap::Args)]
struct TimeoutArgs {
    /// Give up after this time
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration::parse)]
    timeout: Duration,
}

/// What met the condition; the field that tells is set.
#[derive(Default, Serialize)]
struct Answer<'a> {
    revision: u64,
    entry: Option<json::Entry<'a>>,
    peer: Option<json::Peer<'a>>,
    reply: Option<json::Message<'a>>,
    events: Vec<json::Event<'a>>,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    match args.what {
        What::Key(args) => key::run(ctx, args).await,
        What::Lock(args) => lock::run(ctx, args).await,
        What::Peer(args) => peer::run(ctx, args).await,
        What::Reply(args) => reply::run(ctx, args).await,
        What::Event(args) => event::run(ctx, args).await,
    }
}

/// Waits on behalf of whoever reads; `what` is not so when the time is over.
async fn until(
    ctx: &Context,
    scope: String,
    condition: Condition,
    timeout: Duration,
    what: &str,
) -> Result<WaitResponse, CliError> {
    let reader = identity::reader(ctx).await?;
    until_with(&reader, scope, condition, timeout, what).await
}

async fn until_with(
    reader: &Reader,
    scope: String,
    condition: Condition,
    timeout: Duration,
    what: &str,
) -> Result<WaitResponse, CliError> {
    let call = async |request: WaitRequest, wait| read!(reader, events.wait(request.clone()), waiting wait);
    let answer = repeat(call, scope, condition, Instant::now() + timeout).await?;
    answer.ok_or_else(|| timed_out(what, timeout))
}

fn timed_out(what: &str, timeout: Duration) -> CliError {
    CliError::new(Exit::Timeout, "TIMEOUT", format_args!("{what} within {}", duration::show(timeout)))
        .hint("--timeout waits longer")
}

/// Calls until the condition is met; nothing if it is not by the deadline.
async fn repeat(
    call: impl AsyncFn(WaitRequest, Duration) -> Result<WaitResponse, ClientError>,
    scope: String,
    condition: Condition,
    deadline: Instant,
) -> Result<Option<WaitResponse>, ClientError> {
    let conditions = vec![WaitCondition { condition: Some(condition) }];
    loop {
        let begun = Instant::now();
        let wait = deadline.saturating_duration_since(begun).min(LONGEST);
        let request = WaitRequest {
            scope: scope.clone(),
            conditions: conditions.clone(),
            timeout: duration::to_proto(wait),
        };
        let answer = call(request, wait).await?;
        if answer.met {
            return Ok(Some(answer));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        // It ended early, or its hour is over.
        if begun.elapsed() < PAUSE {
            tokio::time::sleep_until(deadline.min(Instant::now() + PAUSE)).await;
        }
    }
}

/// Prints what met the condition, for programs; for people, the text that tells it.
fn show(
    ctx: &Context,
    answer: &WaitResponse,
    text: impl FnOnce() -> Result<(), CliError>,
) -> Result<(), CliError> {
    if !ctx.out.is_json() {
        return text();
    }
    let revision = answer.header.as_ref().map_or(0, |header| header.revision);
    let met = Answer { revision, ..Answer::default() };
    ctx.out.json(&match &answer.by {
        Some(By::Entry(entry)) => Answer { entry: Some(json::Entry::from(entry)), ..met },
        Some(By::Peer(peer)) => Answer { peer: Some(json::Peer::from(peer)), ..met },
        Some(By::Reply(reply)) => Answer { reply: Some(json::Message::from(reply)), ..met },
        Some(By::Batch(batch)) => Answer { events: json::events(batch).collect(), ..met },
        None => met,
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn condition() -> Condition {
        Condition::ReplyTo("id".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_is_made_of_several_calls() {
        let asked = RefCell::new(Vec::new());
        let call = async |request: WaitRequest, wait: Duration| {
            assert_eq!(duration::from_proto(request.timeout.as_ref()), wait);
            asked.borrow_mut().push(wait.as_secs());
            tokio::time::sleep(wait).await;
            Ok(WaitResponse::default())
        };
        let deadline = Instant::now() + Duration::from_secs(9000);
        let answer = repeat(call, String::new(), condition(), deadline).await.unwrap();
        assert!(answer.is_none());
        assert_eq!(asked.into_inner(), [3600, 3600, 1800]);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_do_not_wait_are_not_repeated_in_haste() {
        let calls = RefCell::new(0);
        let call = async |_: WaitRequest, _: Duration| {
            *calls.borrow_mut() += 1;
            Ok(WaitResponse { met: *calls.borrow() == 3, ..WaitResponse::default() })
        };
        let begun = Instant::now();
        let deadline = begun + Duration::from_secs(10);
        assert!(repeat(call, String::new(), condition(), deadline).await.unwrap().is_some());
        assert_eq!(begun.elapsed(), 2 * PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn no_time_asks_once() {
        let call = async |_: WaitRequest, wait: Duration| {
            assert!(wait.is_zero());
            Ok(WaitResponse::default())
        };
        assert!(repeat(call, String::new(), condition(), Instant::now()).await.unwrap().is_none());
    }
}
