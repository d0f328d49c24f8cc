//! `meshctl topics`: what is talked about.

use mesh_client::display::printable_line;
use mesh_client::proto::{ListTopicsRequest, Topic};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::identity::{self, read};
use crate::json;
use crate::render::table::{Cell, table};

/// Show the topics of the project
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  meshctl topics --json | jq -r '.topics[].name'")]
pub(crate) struct Args {}

#[derive(Serialize)]
struct Answer<'a> {
    revision: u64,
    topics: Vec<json::Topic<'a>>,
}

pub(crate) async fn run(ctx: &Context, _: Args) -> Result<(), CliError> {
    let request = ListTopicsRequest { scope: ctx.scope()? };
    let reader = identity::reader(ctx).await?;
    let answer = read!(reader, messages.list_topics(request))?;
    if ctx.out.is_json() {
        let revision = answer.header.as_ref().map_or(0, |header| header.revision);
        return ctx
            .out
            .json(&Answer { revision, topics: answer.topics.iter().map(json::Topic::from).collect() });
    }
    if answer.topics.is_empty() {
        return ctx.out.text("there are no topics\n");
    }
    let row = |topic: &Topic| {
        vec![
            Cell::plain(printable_line(&topic.name)),
            Cell::plain(topic.followers.to_string()),
            Cell::plain(topic.messages.to_string()),
        ]
    };
    let rows: Vec<_> = answer.topics.iter().map(row).collect();
    ctx.out.text(&table(ctx.out.paint(), &["TOPIC", "FOLLOWERS", "MESSAGES"], &rows))
}
