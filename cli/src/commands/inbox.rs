//! `meshctl inbox`: mail to this person.

pub(super) mod feed;

use std::time::Duration;

use mesh_client::Session;
use mesh_client::display::printable_line;
use mesh_client::proto::list_feed_request::Feed;
use mesh_client::proto::{ListMessagesRequest, ListMessagesResponse, ListReleaseRequestsRequest};
use serde::Serialize;
use tokio::time::Instant;

use super::follow::with_sign;
use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::exit::Exit;
use crate::identity;
use crate::json;
use crate::output::Paint;
use crate::render::letter::letters;
use crate::render::{quoted, some_paths};
use crate::time::Clock;

/// The longest the broker waits in one call.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Read the messages sent to you
///
/// Those sent to you, to everybody, and to the topics that you follow. Looking does not consume them: they are shown
/// again until --ack marks them as read. Requests to make way for others are shown as well. With --topic or --thread,
/// shows what was said there, read or not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl inbox --ack                    read, and mark as read
  meshctl inbox --wait 5m --ack --json   wait for the next; exit code 6 if none comes
  meshctl inbox --topic deploys          what was said there
  meshctl inbox --thread ID              all that belongs to this message")]
pub(crate) struct Args {
    /// Mark what is shown as read
    #[arg(long)]
    ack: bool,

    /// Wait so long for a message if there is none
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    wait: Option<Duration>,

    /// Show what was sent to this topic
    #[arg(long, conflicts_with_all = ["ack", "wait", "thread"])]
    topic: Option<String>,

    /// Show the thread that this message belongs to, as far as it was for you
    #[arg(long, value_name = "ID", value_parser = super::message_id, conflicts_with_all = ["ack", "wait"])]
    thread: Option<String>,

    /// Show messages after this revision instead of the unread ones
    #[arg(long, value_name = "REVISION")]
    after: Option<u64>,

    /// Show at most so many
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

#[derive(Serialize)]
struct Answer<'a> {
    revision: u64,
    messages: Vec<json::Message<'a>>,
    next_after_revision: u64,
    unread: u32,
    acknowledged_revision: u64,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let topic = args.topic.as_deref().map(|topic| Feed::Topic(with_sign(topic)));
    if let Some(feed) = topic.or_else(|| args.thread.clone().map(Feed::ThreadOf)) {
        return feed::run(ctx, feed, args.after.unwrap_or_default(), args.limit).await;
    }
    let mut session = identity::act(ctx).await?;
    let mut answer = read(ctx, &mut session, &args).await?;
    show(ctx, &answer)?;
    if args.ack && !answer.messages.is_empty() {
        let acknowledged = session.ack(answer.next_after_revision).await?;
        answer.unread = acknowledged.unread;
    }
    if !ctx.out.is_json() && !answer.messages.is_empty() {
        ctx.out.text(&summary(ctx.out.paint(), &args, &answer))?;
    }
    tell_who_asks(ctx, &session).await?;
    if answer.messages.is_empty() { nothing(ctx, &args) } else { Ok(()) }
}

/// Whoever looks what there is for them learns of what others wait for, too.
async fn tell_who_asks(ctx: &Context, session: &Session) -> Result<(), CliError> {
    if ctx.out.is_json() {
        return Ok(());
    }
    let me = session.peer();
    let request = ListReleaseRequestsRequest { scope: me.scope, holder: me.name, from: String::new() };
    for request in session.list_release_requests(request).await?.requests {
        let from = printable_line(&request.from);
        let paths = some_paths(request.lock_paths.iter().map(String::as_str));
        let reason =
            if request.reason.is_empty() { String::new() } else { format!(" {}", quoted(&request.reason)) };
        let how = format!("`meshctl answer {} release`, or keep, or narrow", request.id);
        ctx.out.text(&format!("{from} asks you to make way on {paths}{reason}: {how}\n"))?;
    }
    Ok(())
}

/// Asks until there is something or the time is over.
async fn read(ctx: &Context, session: &mut Session, args: &Args) -> Result<ListMessagesResponse, CliError> {
    let deadline = Instant::now() + args.wait.unwrap_or_default();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let wait = (!left.is_zero()).then_some(left.min(LONGEST_WAIT));
        let request = ListMessagesRequest {
            after_revision: args.after.unwrap_or_default(),
            limit: args.limit,
            wait: wait.and_then(duration::to_proto),
        };
        match session.inbox(request).await {
            Ok(answer) if !answer.messages.is_empty() || wait.is_none() => return Ok(answer),
            Ok(_) => {}
            // Another invocation needed a longer lease and began a new session of the same peer.
            Err(error) if identity::has_ended(&error) => *session = identity::act(ctx).await?,
            Err(error) => return Err(error.into()),
        }
    }
}

fn nothing(ctx: &Context, args: &Args) -> Result<(), CliError> {
    if let Some(wait) = args.wait {
        let message = format!("no message came within {}", duration::show(wait));
        return Err(CliError::new(Exit::Timeout, "TIMEOUT", message));
    }
    if ctx.out.is_json() { Ok(()) } else { ctx.out.text("no unread messages\n") }
}

fn show(ctx: &Context, answer: &ListMessagesResponse) -> Result<(), CliError> {
    if ctx.out.is_json() {
        return ctx.out.json(&Answer {
            revision: answer.header.as_ref().map_or(0, |header| header.revision),
            messages: answer.messages.iter().map(json::Message::from).collect(),
            next_after_revision: answer.next_after_revision,
            unread: answer.unread,
            acknowledged_revision: answer.acknowledged_revision,
        });
    }
    let clock = Clock::local();
    ctx.out.text(&letters(ctx.out.paint(), &clock, &answer.messages))
}

fn summary(paint: Paint, args: &Args, answer: &ListMessagesResponse) -> String {
    let text = match (args.ack, answer.unread) {
        (true, 0) => "all read".to_owned(),
        (true, left) => format!("marked as read; {left} unread"),
        (false, unread) => format!("{unread} unread; --ack marks these as read"),
    };
    format!("\n{}\n", paint.dim(&text))
}
