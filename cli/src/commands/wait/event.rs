//! Until an event occurs.

use std::path::PathBuf;

use mesh_client::proto::wait_condition::Condition;
use mesh_client::proto::wait_response::By;
use mesh_client::proto::{EventCondition, EventFilter, EventType, GetStatusRequest};

use super::{TimeoutArgs, show, until_with};
use crate::commands::events::EventKind;
use crate::context::Context;
use crate::error::CliError;
use crate::identity::{self, read};
use crate::render::event::EventLines;
use crate::target;
use crate::time::Clock;

/// Until an event of a kind occurs
///
/// Prints it, with what happened in the same moment.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl wait event file_unlocked --path src/auth/
  meshctl wait event message_sent state_changed --peer amber-fox --after 4711")]
pub(super) struct Args {
    /// The kinds; one of them will do
    #[arg(required = true, value_name = "TYPE")]
    types: Vec<EventKind>,

    /// Only events about this file, directory, pattern, symbol or subject; may be given several times
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Only what this peer did, or what is for it; may be given several times
    #[arg(long = "peer", value_name = "NAME")]
    peers: Vec<String>,

    /// The first one after this revision, which may have occurred already [default: from now on]
    #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..))]
    after: Option<u64>,

    #[command(flatten)]
    timeout: TimeoutArgs,
}

pub(super) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let filter = EventFilter {
        types: args.types.iter().map(|kind| EventType::from(*kind).into()).collect(),
        peers: args.peers,
        paths: target::paths(ctx, &args.paths)?,
    };
    let scope = ctx.scope()?;
    let reader = identity::reader(ctx).await?;
    // Now is one moment, however many calls the wait is made of.
    let after_revision = match args.after {
        Some(after) => after,
        None => {
            read!(reader, admin.get_status(GetStatusRequest {}))?.header.map_or(0, |header| header.revision)
        }
    };
    let condition = Condition::Event(EventCondition { filter: Some(filter), after_revision });
    let answer =
        until_with(&reader, scope, condition, args.timeout.timeout, "no such event occurred").await?;
    show(ctx, &answer, || match &answer.by {
        Some(By::Batch(batch)) => {
            let mut lines = EventLines::new(ctx.out.paint(), Clock::local(), false, ctx.out.is_terminal());
            ctx.out.text(&lines.batch(batch))
        }
        Some(By::Entry(_) | By::Peer(_) | By::Reply(_)) | None => Ok(()),
    })
}
