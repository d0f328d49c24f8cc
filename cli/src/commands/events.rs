//! `meshctl events`: what has happened.

use std::path::PathBuf;

use mesh_client::proto::{EventFilter, EventType, GetStatusRequest, ListEventsRequest, ListEventsResponse};
use mesh_client::{Client, ClientError};

use crate::context::Context;
use crate::error::CliError;
use crate::json;
use crate::render::event::EventLines;
use crate::target;
use crate::time::Clock;

/// Show what has happened
///
/// Without --since the newest events, with it those that came after. One line per event; with --json one object.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl events --limit 20
  meshctl events --since 0 --type file_locked --type file_unlocked --path src/
  meshctl events --since 4711 --json")]
pub(crate) struct Args {
    /// Only what came after this revision; 0 begins with the oldest event kept
    #[arg(long, value_name = "REVISION")]
    since: Option<u64>,

    #[command(flatten)]
    filter: FilterArgs,

    /// Show at most so many transactions, each of one or more events
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: u32,

    /// Of every project
    #[arg(long)]
    all_scopes: bool,
}

/// Which events to see. Values of one option are alternatives; all options must hold.
#[derive(Debug, clap::Args)]
pub(crate) struct FilterArgs {
    /// Only events of this type; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<EventKind>,

    /// Only events about this file, directory, pattern, symbol or subject; may be given several times
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Only what this peer did, or what is for it; may be given several times
    #[arg(long = "peer", value_name = "NAME")]
    peers: Vec<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum EventKind {
    PeerJoined,
    PeerUpdated,
    PeerLeft,
    StateChanged,
    StateDeleted,
    PolicyChanged,
    ContractChanged,
    FileLocked,
    FileUnlocked,
    LockQueued,
    LockWaitEnded,
    LockReleaseRequested,
    LockReleaseAnswered,
    FileTouched,
    MessageSent,
    TokenCreated,
    TokenRevoked,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let scopes = ctx.scopes(args.all_scopes)?;
    let filter = args.filter.filter(ctx)?;
    let client = ctx.client()?;
    let mut start_revision = match args.since {
        Some(since) => start_after(&client, since).await?,
        None => 0,
    };
    let mut lines =
        EventLines::new(ctx.out.paint(), Clock::local(), scopes.len() != 1, ctx.out.is_terminal());
    let mut left = args.limit;
    while left > 0 {
        let request = ListEventsRequest {
            scopes: scopes.clone(),
            start_revision,
            filter: filter.clone(),
            limit: left.min(1000),
            ..ListEventsRequest::default()
        };
        let page = page(&client, &request).await?;
        for batch in &page.batches {
            if ctx.out.is_json() {
                json::events(batch).try_for_each(|event| ctx.out.json(&event))?;
            } else {
                ctx.out.text(&lines.batch(batch))?;
            }
        }
        left = left.saturating_sub(u32::try_from(page.batches.len()).unwrap_or(u32::MAX));
        // Without a revision to begin with, the first page is the newest events, and nothing follows.
        if !page.more || args.since.is_none() {
            break;
        }
        start_revision = page.next_start_revision;
    }
    Ok(())
}

impl FilterArgs {
    /// As the contract has it; nothing when everything is asked for.
    pub(crate) fn filter(&self, ctx: &Context) -> Result<Option<EventFilter>, CliError> {
        let filter = EventFilter {
            types: self.types.iter().map(|kind| EventType::from(*kind).into()).collect(),
            peers: self.peers.clone(),
            paths: target::paths(ctx, &self.paths)?,
        };
        Ok((filter != EventFilter::default()).then_some(filter))
    }
}

/// The revision to start at, to see what came after one; after 0 comes the oldest that is kept.
pub(crate) async fn start_after(client: &Client, since: u64) -> Result<u64, ClientError> {
    if since > 0 {
        return Ok(since.saturating_add(1));
    }
    let status = client.call(|c| async move { c.admin().get_status(GetStatusRequest {}).await }).await?;
    Ok(status.oldest_revision.max(1))
}

async fn page(client: &Client, request: &ListEventsRequest) -> Result<ListEventsResponse, ClientError> {
    let call = |client: Client| {
        let request = request.clone();
        async move { client.events().list_events(request).await }
    };
    client.call(call).await
}

impl From<EventKind> for EventType {
    fn from(kind: EventKind) -> Self {
        match kind {
            EventKind::PeerJoined => Self::PeerJoined,
            EventKind::PeerUpdated => Self::PeerUpdated,
            EventKind::PeerLeft => Self::PeerLeft,
            EventKind::StateChanged => Self::StateChanged,
            EventKind::StateDeleted => Self::StateDeleted,
            EventKind::PolicyChanged => Self::PolicyChanged,
            EventKind::TokenCreated => Self::TokenCreated,
            EventKind::TokenRevoked => Self::TokenRevoked,
            EventKind::ContractChanged => Self::ContractChanged,
            EventKind::LockQueued => Self::LockQueued,
            EventKind::LockWaitEnded => Self::LockWaitEnded,
            EventKind::LockReleaseRequested => Self::LockReleaseRequested,
            EventKind::LockReleaseAnswered => Self::LockReleaseAnswered,
            EventKind::FileTouched => Self::FileTouched,
            EventKind::FileLocked => Self::FileLocked,
            EventKind::FileUnlocked => Self::FileUnlocked,
            EventKind::MessageSent => Self::MessageSent,
        }
    }
}
