//! `meshctl unfollow`: which topics no longer reach one's inbox.

use mesh_client::proto::FollowTopicsRequest;

use super::follow::{change, with_sign};
use super::note::NOTES;
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
    let unfollow: Vec<_> = args.topics.iter().map(|topic| with_sign(topic)).collect();
    if unfollow.iter().any(|topic| topic == NOTES) {
        return Err(CliError::usage("everybody follows #notes, always"));
    }
    change(ctx, FollowTopicsRequest { unfollow, ..FollowTopicsRequest::default() }).await
}
