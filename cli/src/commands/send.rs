//! `meshctl send`: a message to peers.

use mesh_client::display::printable_line;
use mesh_client::proto::{Delivery, DeliveryStatus, MessageIntent, SendRequest};
use serde::Serialize;

use super::text_or_stdin;
use crate::context::Context;
use crate::error::CliError;
use crate::identity;
use crate::json;

/// Send a message to peers, or to everybody
///
/// It is stored until its readers have acknowledged it, also for those who are away.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl send amber-fox 'please rebase before you push'
  meshctl send '*' --urgent 'main is broken, do not pull'
  git diff | meshctl send amber-fox blue-owl -")]
pub(crate) struct Args {
    /// Names of peers, or `*` for everybody in the project
    #[arg(required = true, value_name = "TO")]
    to: Vec<String>,

    /// The text; `-` reads it from stdin
    message: String,

    /// Asks the reader to look before going on
    #[arg(long)]
    urgent: bool,

    /// What is expected of the reader
    #[arg(long, default_value = "inform")]
    intent: Intent,

    /// Id of the message that this one answers
    #[arg(long, value_name = "ID")]
    reply_to: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Intent {
    /// To know; needs no answer
    Inform,
    /// Asks for an answer or an action
    Request,
    /// Answers or confirms; must not be answered
    Ack,
}

#[derive(Serialize)]
struct Answer<'a> {
    revision: u64,
    message_id: &'a str,
    deliveries: Vec<json::Delivery<'a>>,
    online_recipients: u32,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let broadcast = args.to.iter().any(|to| to == "*");
    if broadcast && args.to.len() > 1 {
        return Err(CliError::usage("`*` is everybody; name no further peers"));
    }
    let request = SendRequest {
        to: if broadcast { Vec::new() } else { args.to },
        broadcast,
        body: text_or_stdin(args.message)?,
        reply_to: args.reply_to.unwrap_or_default(),
        intent: args.intent.into(),
        urgent: args.urgent,
        request_id: String::new(),
    };
    let answer = identity::act(ctx).await?.send(request).await?;
    if ctx.out.is_json() {
        return ctx.out.json(&Answer {
            revision: answer.header.map_or(0, |header| header.revision),
            message_id: &answer.message_id,
            deliveries: answer.deliveries.iter().map(json::Delivery::from).collect(),
            online_recipients: answer.online_recipients,
        });
    }
    if broadcast {
        return ctx.out.text(&format!("sent to everybody, {} online now\n", answer.online_recipients));
    }
    let told: Vec<_> = answer.deliveries.iter().map(told).collect();
    ctx.out.text(&format!("sent to {}\n", told.join(", ")))
}

fn told(delivery: &Delivery) -> String {
    let name = printable_line(&delivery.peer);
    match delivery.status() {
        DeliveryStatus::Offline => format!("{name} (away, will find it)"),
        DeliveryStatus::Queued | DeliveryStatus::Unspecified => name.into_owned(),
    }
}

impl From<Intent> for i32 {
    fn from(intent: Intent) -> Self {
        match intent {
            Intent::Inform => MessageIntent::Inform,
            Intent::Request => MessageIntent::Request,
            Intent::Ack => MessageIntent::Ack,
        }
        .into()
    }
}
