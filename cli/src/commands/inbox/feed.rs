//! The stored messages of a topic or a thread.

use mesh_client::proto::ListFeedRequest;
use mesh_client::proto::list_feed_request::Feed;
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::identity;
use crate::json;
use crate::render::letter::letters;
use crate::time::Clock;

#[derive(Serialize)]
struct Answer<'a> {
    revision: u64,
    messages: Vec<json::Message<'a>>,
    next_after_revision: u64,
}

pub(crate) async fn run(ctx: &Context, feed: Feed, after_revision: u64, limit: u32) -> Result<(), CliError> {
    let request = ListFeedRequest { feed: Some(feed), after_revision, limit };
    let answer = identity::act(ctx).await?.list_feed(request).await?;
    if ctx.out.is_json() {
        return ctx.out.json(&Answer {
            revision: answer.header.as_ref().map_or(0, |header| header.revision),
            messages: answer.messages.iter().map(json::Message::from).collect(),
            next_after_revision: answer.next_after_revision,
        });
    }
    if answer.messages.is_empty() {
        return ctx.out.text("nothing was said\n");
    }
    let clock = Clock::local();
    ctx.out.text(&letters(ctx.out.paint(), &clock, &answer.messages))
}
