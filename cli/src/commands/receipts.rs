//! `meshctl receipts`: what became of a message.

use mesh_client::proto::{Delivery, DeliveryStatus, GetReceiptsRequest};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::identity;
use crate::json;
use crate::render::ago;
use crate::render::table::{Cell, table};
use crate::time::Clock;

/// Show who has read a message that you sent
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  id=$(meshctl send amber-fox 'main is broken' --json | jq -r .message_id)
  meshctl receipts \"$id\"")]
pub(crate) struct Args {
    /// Id of the message
    #[arg(value_parser = super::message_id)]
    message_id: String,
}

#[derive(Serialize)]
struct Answer<'a> {
    revision: u64,
    deliveries: Vec<json::Delivery<'a>>,
    read: u32,
    recipients: u32,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let request = GetReceiptsRequest { message_id: args.message_id };
    let answer = identity::act(ctx).await?.receipts(request).await?;
    if ctx.out.is_json() {
        return ctx.out.json(&Answer {
            revision: answer.header.as_ref().map_or(0, |header| header.revision),
            deliveries: answer.deliveries.iter().map(json::Delivery::from).collect(),
            read: answer.read,
            recipients: answer.recipients,
        });
    }
    let (paint, clock) = (ctx.out.paint(), Clock::local());
    let rows: Vec<_> = answer.deliveries.iter().map(|delivery| row(&clock, delivery)).collect();
    let text = table(paint, &["PEER", "STATUS"], &rows);
    let summary = paint.dim(&format!("read by {} of {}", answer.read, answer.recipients));
    ctx.out.text(&format!("{text}{summary}\n"))
}

fn row(clock: &Clock, delivery: &Delivery) -> Vec<Cell> {
    let status = match delivery.status() {
        DeliveryStatus::Read => "has read it".to_owned(),
        DeliveryStatus::Delivered => "has seen it, not yet acknowledged".to_owned(),
        DeliveryStatus::Queued | DeliveryStatus::Unspecified => "here, has not looked".to_owned(),
        DeliveryStatus::Offline => {
            format!("away for {}, will find it", ago(clock, delivery.offline_since.as_ref()))
        }
    };
    vec![Cell::name(&delivery.peer), Cell::plain(status)]
}
