//! `meshctl follow`: which topics reach one's inbox.

use mesh_client::display::printable_line;
use mesh_client::proto::FollowTopicsRequest;
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::identity;

/// Follow topics: what is sent to them from now on reaches your inbox
///
/// Everybody follows #notes, always.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl follow '#deploys' '#releases'
  meshctl follow deploys               the `#` may be left out")]
pub(crate) struct Args {
    /// The topics (quote the `#`, or leave it out)
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
}

#[derive(Serialize)]
struct Answer<'a> {
    revision: u64,
    topics: &'a [String],
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let follow = args.topics.iter().map(|topic| with_sign(topic)).collect();
    change(ctx, FollowTopicsRequest { follow, ..FollowTopicsRequest::default() }).await
}

/// Changes what is followed, and tells what is followed now.
pub(super) async fn change(ctx: &Context, request: FollowTopicsRequest) -> Result<(), CliError> {
    let answer = identity::act(ctx).await?.follow_topics(request).await?;
    if ctx.out.is_json() {
        let revision = answer.header.map_or(0, |header| header.revision);
        return ctx.out.json(&Answer { revision, topics: &answer.topics });
    }
    ctx.out.text(&format!("you follow {}\n", printable_line(&answer.topics.join(" "))))
}

/// The name of a topic, with the `#` that a shell takes for a comment.
pub(super) fn with_sign(topic: &str) -> String {
    if topic.starts_with('#') { topic.to_owned() } else { format!("#{topic}") }
}
