//! Until a message is answered.

use super::{By, ClientError, Condition, Instant, Message, Session, TimeoutArgs, WaitRequest, WaitResponse};
use super::{repeat, show, timed_out};
use crate::context::Context;
use crate::error::CliError;
use crate::identity;
use crate::render::letter::letters;
use crate::time::Clock;

/// Until a message that you sent is answered
///
/// Prints the first reply. It is also in your inbox.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  meshctl wait reply \"$id\" --timeout 1h")]
pub(super) struct Args {
    /// Id of the message
    #[arg(value_parser = crate::commands::message_id)]
    message_id: String,

    #[command(flatten)]
    timeout: TimeoutArgs,
}

pub(super) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let timeout = args.timeout.timeout;
    let session = identity::act(ctx).await?;
    let answer = until_reply(&session, &args.message_id, Instant::now() + timeout).await?;
    let answer = answer.ok_or_else(|| timed_out("nobody answered", timeout))?;
    show(ctx, &answer, || match &answer.by {
        Some(By::Reply(reply)) => ctx.out.text(&letters(ctx.out.paint(), &Clock::local(), [reply])),
        Some(By::Entry(_) | By::Peer(_) | By::Batch(_)) | None => Ok(()),
    })
}

/// The first reply to a message of the session's peer; nothing if there is none by the deadline.
pub(in crate::commands) async fn reply_to(
    session: &Session,
    message_id: &str,
    deadline: Instant,
) -> Result<Option<Message>, ClientError> {
    let answer = until_reply(session, message_id, deadline).await?;
    Ok(answer.and_then(|answer| match answer.by {
        Some(By::Reply(reply)) => Some(reply),
        Some(By::Entry(_) | By::Peer(_) | By::Batch(_)) | None => None,
    }))
}

async fn until_reply(
    session: &Session,
    message_id: &str,
    deadline: Instant,
) -> Result<Option<WaitResponse>, ClientError> {
    let call = async |request: WaitRequest, _| session.wait(request).await;
    repeat(call, String::new(), Condition::ReplyTo(message_id.to_owned()), deadline).await
}
