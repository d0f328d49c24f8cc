//! `meshctl notes`: the feed of the project.

use mesh_client::proto::list_feed_request::Feed;

use super::inbox::feed;
use super::note::NOTES;
use crate::context::Context;
use crate::error::CliError;

/// Read what was noted, read or not
///
/// The newest notes, the latest last. Looking does not mark them as read.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  meshctl notes --limit 5")]
pub(crate) struct Args {
    /// Only notes after this revision
    #[arg(long, value_name = "REVISION")]
    after: Option<u64>,

    /// Show at most so many
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    feed::run(ctx, Feed::Topic(NOTES.to_owned()), args.after.unwrap_or_default(), args.limit).await
}
