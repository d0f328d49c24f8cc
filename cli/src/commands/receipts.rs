//! `meshctl receipts`: what became of a message.

use mesh_client::display::printable_line;
use mesh_client::proto::{Delivery, DeliveryStatus, GetReceiptsRequest, WakeOutcome};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::identity;
use crate::json;
use crate::render::table::{Cell, table};
use crate::render::{activity, ago, quoted};
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

const HEADING: [&str; 3] = ["PEER", "IS", "STATUS"];

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
    let text = table(paint, &HEADING, &rows);
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
    let woken = woken(clock, delivery);
    vec![Cell::name(&delivery.peer), Cell::plain(activity(delivery.activity())), Cell::plain(status + &woken)]
}

/// What came of waking the recipient for the message; nothing if nobody tried.
fn woken(clock: &Clock, delivery: &Delivery) -> String {
    let via = printable_line(&delivery.wake_via);
    let ago = ago(clock, delivery.wake_time.as_ref());
    let note = quoted(&delivery.wake_note);
    let outcome = match delivery.wake_outcome() {
        WakeOutcome::Unspecified => return String::new(),
        WakeOutcome::Taken => format!("; woken via {via} {ago} ago, taken {note}"),
        WakeOutcome::Failed => format!("; waking via {via} {ago} ago failed {note}"),
    };
    outcome.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use mesh_client::proto::PeerActivity;
    use prost_types::Timestamp;

    use super::*;
    use crate::output::Paint;

    #[test]
    fn receipts_tell_who_was_woken_and_how() {
        let clock = Clock::at(jiff::Timestamp::new(1_000, 0).unwrap());
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let woken = |peer: &str, status: DeliveryStatus, outcome: WakeOutcome, note: &str| Delivery {
            peer: peer.into(),
            status: status.into(),
            activity: PeerActivity::Idle.into(),
            wake_outcome: outcome.into(),
            wake_time: at(997),
            wake_via: "monitor".into(),
            wake_note: note.into(),
            ..Delivery::default()
        };
        let told = [
            woken("birch-owl", DeliveryStatus::Queued, WakeOutcome::Taken, ""),
            woken("calm-elk", DeliveryStatus::Queued, WakeOutcome::Failed, "gone\n\u{1b}[2J\""),
            Delivery {
                activity: PeerActivity::Working.into(),
                ..woken("dusty-hen", DeliveryStatus::Read, WakeOutcome::Unspecified, "")
            },
            Delivery {
                peer: "blue-owl".into(),
                status: DeliveryStatus::Offline.into(),
                offline_since: at(400),
                ..Delivery::default()
            },
        ];
        let rows: Vec<_> = told.iter().map(|delivery| row(&clock, delivery)).collect();
        insta::assert_snapshot!(table(Paint::plain(), &HEADING, &rows), @r#"
        PEER       IS       STATUS
        birch-owl  idle     here, has not looked; woken via monitor 3s ago, taken
        calm-elk   idle     here, has not looked; waking via monitor 3s ago failed "gone␊␛[2J\""
        dusty-hen  working  has read it
        blue-owl            away for 10m, will find it
        "#);
    }
}
