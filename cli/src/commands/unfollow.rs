//! `meshctl unfollow`: which topics no longer reach one's inbox.

use mesh_client::proto::FollowTopicsRequest;

use super::follow::{change, with_sign};
use crate::context::Context;
use crate::error::CliError;

/// Follow topics no longer
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  meshctl unfollow '#deploys'")]
pub(crate) struct Args {
    /// The topics (quote the `#`, or leave it out)
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let unfollow = args.topics.iter().map(|topic| with_sign(topic)).collect();
    change(ctx, FollowTopicsRequest { unfollow, ..FollowTopicsRequest::default() }).await
}
