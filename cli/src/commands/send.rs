//! `meshctl send`: a message to peers.

use std::path::PathBuf;
use std::time::Duration;

use mesh_client::display::printable_line;
use mesh_client::proto::{
    AskRequest, Delivery, DeliveryStatus, Message, MessageIntent, PeerActivity, SendRequest, SendResponse,
};
use mesh_client::{ClientError, ErrorReason, Session};
use serde::Serialize;
use tokio::time::Instant;

use super::wait::{LONGEST, reply_to};
use super::{message_id, text_or_stdin};
use crate::context::Context;
use crate::duration;
use crate::error::{CliError, Detail};
use crate::exit::Exit;
use crate::identity;
use crate::json;
use crate::render::letter::letters;
use crate::target;
use crate::time::Clock;

/// Send a message to peers, to a topic, or to everybody
///
/// It is stored until its readers have acknowledged it, also for those who are away. With --wait-reply waits for the
/// first answer, and prints it; if none comes in time the exit code is 6, and the answer still lands in your inbox.
#[derive(Debug, clap::Args)]
#[command(override_usage = "meshctl send [OPTIONS] <TO>... <MESSAGE>")]
#[command(after_help = "Examples:
  meshctl send amber-fox 'please rebase before you push'
  meshctl send '*' --urgent 'main is broken, do not pull'
  meshctl send '#deploys' 'v42 is out' --path src/nav.rs
  meshctl send amber-fox 'may I rename login()?' --wait-reply 5m
  git diff | meshctl send amber-fox blue-owl -")]
pub(crate) struct Args {
    /// Names of peers, a '#topic' (quote it), or '*' for everybody in the project; then the text, `-` reads it from
    /// stdin
    // One argument, so that options may stand anywhere between its words.
    #[arg(required = true, value_name = "TO|MESSAGE")]
    words: Vec<String>,

    /// Asks the reader to look before going on
    #[arg(long)]
    urgent: bool,

    /// What is expected of the reader [default: inform; with --wait-reply request]
    #[arg(long)]
    intent: Option<Intent>,

    /// Id of the message that this one answers
    #[arg(long, value_name = "ID", value_parser = message_id)]
    reply_to: Option<String>,

    /// A file, directory, pattern, symbol or subject that it is about; may be given several times
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Wait so long for the first reply
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    wait_reply: Option<Duration>,

    /// Id for the message (a UUID): sending it again with the same id changes nothing
    #[arg(long, value_name = "ID", value_parser = message_id)]
    message_id: Option<String>,
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
    duplicate: bool,
    reply: Option<json::Message<'a>>,
}

/// Whom a message is for.
#[derive(Debug, PartialEq, Eq)]
enum To {
    Peers(Vec<String>),
    Topic(String),
    Everybody,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let (to, message) = parted(args.words)?;
    let (to, topic, broadcast) = match addressed(to)? {
        To::Peers(peers) => (peers, String::new(), false),
        To::Topic(topic) => (Vec::new(), topic, false),
        To::Everybody => (Vec::new(), String::new(), true),
    };
    let request = SendRequest {
        to,
        topic,
        broadcast,
        body: text_or_stdin(message)?,
        reply_to: args.reply_to.unwrap_or_default(),
        intent: args.intent.map(MessageIntent::from).unwrap_or_default().into(),
        urgent: args.urgent,
        paths: target::paths(ctx, &args.paths)?,
        message_id: args.message_id.unwrap_or_default(),
        request_id: String::new(),
    };
    let session = identity::act(ctx).await?;
    match args.wait_reply {
        None => send(ctx, &session, request).await,
        Some(wait) => ask(ctx, &session, request, wait).await,
    }
}

/// The last word is the message; names may also stand in one word, with commas.
fn parted(mut words: Vec<String>) -> Result<(Vec<String>, String), CliError> {
    let message = words.pop().unwrap_or_default();
    let to = |word: &String| word.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>();
    let to: Vec<_> = words.iter().flat_map(to).filter(|name| !name.is_empty()).collect();
    if to.is_empty() {
        let error = CliError::usage("a message needs both somebody to send it to, and a text");
        return Err(error.hint("meshctl send NAME 'TEXT'; `meshctl who` lists the names"));
    }
    Ok((to, message))
}

fn addressed(mut to: Vec<String>) -> Result<To, CliError> {
    if to.iter().any(|to| to == "*") {
        return match to.len() {
            1 => Ok(To::Everybody),
            _ => Err(CliError::usage("`*` is everybody; name no further peers")),
        };
    }
    if to.iter().any(|to| to.starts_with('#')) {
        return match to.len() {
            1 => Ok(To::Topic(to.remove(0))),
            _ => Err(CliError::usage("a message goes to one topic, or to peers; send it twice")),
        };
    }
    Ok(To::Peers(to))
}

/// Sends, and tells what is known of its way.
pub(super) async fn send(ctx: &Context, session: &Session, request: SendRequest) -> Result<(), CliError> {
    let sent = session.send(request.clone()).await.map_err(refused)?;
    if ctx.out.is_json() {
        return ctx.out.json(&answer(&sent, None));
    }
    ctx.out.text(&told(&request, &sent))
}

async fn ask(
    ctx: &Context,
    session: &Session,
    mut message: SendRequest,
    wait: Duration,
) -> Result<(), CliError> {
    let deadline = Instant::now() + wait;
    if message.message_id.is_empty() {
        // Whatever happens on the way, it is sent once.
        message.message_id = uuid::Uuid::new_v4().to_string();
    }
    ctx.out.tell("waiting for a reply…");
    let request = AskRequest { message: Some(message), wait: duration::to_proto(wait.min(LONGEST)) };
    let asked = session.ask(request.clone()).await.map_err(refused)?;
    let sent = asked.sent.unwrap_or_default();
    let reply = match asked.reply {
        Some(reply) => Some(reply),
        None => reply_to(session, &sent.message_id, deadline).await?,
    };
    match reply {
        Some(reply) if ctx.out.is_json() => ctx.out.json(&answer(&sent, Some(&reply))),
        Some(reply) => ctx.out.text(&letters(ctx.out.paint(), &Clock::local(), [&reply])),
        None => Err(unanswered(&request.message.unwrap_or_default(), &sent, wait)),
    }
}

/// An unknown name may be meant as a topic.
fn refused(error: ClientError) -> CliError {
    let unknown = error.reason() == Some(ErrorReason::PeerNotFound);
    let error = CliError::from(error);
    if unknown { error.hint("`meshctl who --all` lists the peers; a topic begins with '#'") } else { error }
}

fn unanswered(request: &SendRequest, sent: &SendResponse, wait: Duration) -> CliError {
    let message = format!("{}, and nobody answered within {}", whom(request, sent), duration::show(wait));
    CliError::new(Exit::Timeout, "TIMEOUT", message)
        .hint(format_args!(
            "a reply still lands in `meshctl inbox`; `meshctl wait reply {}` waits on",
            sent.message_id
        ))
        .detail(Detail::Sent(sent.message_id.clone()))
}

fn answer<'a>(sent: &'a SendResponse, reply: Option<&'a Message>) -> Answer<'a> {
    Answer {
        revision: sent.revision,
        message_id: &sent.message_id,
        deliveries: sent.deliveries.iter().map(json::Delivery::from).collect(),
        online_recipients: sent.online_recipients,
        duplicate: sent.duplicate,
        reply: reply.map(json::Message::from),
    }
}

/// What is known of a message's way, in lines: one for each peer that was named.
fn told(request: &SendRequest, sent: &SendResponse) -> String {
    let to_names = !request.broadcast && request.topic.is_empty();
    if !to_names || sent.duplicate {
        return format!("{}\n", whom(request, sent));
    }
    sent.deliveries.iter().map(|to| format!("{}: {}\n", printable_line(&to.peer), way(to))).collect()
}

/// To whom it was sent, in a line.
fn whom(request: &SendRequest, sent: &SendResponse) -> String {
    let whom = match (request.broadcast, request.topic.as_str()) {
        (true, _) => format!("everybody, {} online now", sent.online_recipients),
        (false, "") => {
            sent.deliveries.iter().map(|to| printable_line(&to.peer)).collect::<Vec<_>>().join(", ")
        }
        (false, topic) => format!("{}, for {} online now", printable_line(topic), sent.online_recipients),
    };
    if sent.duplicate { format!("sent before to {whom}") } else { format!("sent to {whom}") }
}

/// How a message comes to one of its recipients.
fn way(to: &Delivery) -> String {
    match to.status() {
        DeliveryStatus::Offline => return "away, will find it".to_owned(),
        DeliveryStatus::Read => return "has read it".to_owned(),
        DeliveryStatus::Delivered | DeliveryStatus::Queued | DeliveryStatus::Unspecified => {}
    }
    match (to.activity(), to.wake.as_str()) {
        (PeerActivity::Working, _) => "queued, working; sees it at its next step".to_owned(),
        (PeerActivity::Idle, "") => "queued, idle; sees it at its next turn".to_owned(),
        (PeerActivity::Idle, wake) => format!("queued, idle; will be woken ({})", printable_line(wake)),
        (PeerActivity::Unspecified, _) => "queued".to_owned(),
    }
}

impl From<Intent> for MessageIntent {
    fn from(intent: Intent) -> Self {
        match intent {
            Intent::Inform => Self::Inform,
            Intent::Request => Self::Request,
            Intent::Ack => Self::Ack,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_for_peers_a_topic_or_everybody() {
        let to = |names: &[&str]| addressed(names.iter().map(ToString::to_string).collect());
        assert_eq!(to(&["*"]).unwrap(), To::Everybody);
        assert_eq!(to(&["#deploys"]).unwrap(), To::Topic("#deploys".to_owned()));
        assert_eq!(to(&["a", "b"]).unwrap(), To::Peers(vec!["a".to_owned(), "b".to_owned()]));
        for mixed in [&["*", "a"][..], &["#a", "#b"], &["a", "#b"]] {
            assert_eq!(to(mixed).unwrap_err().exit, Exit::Usage, "{mixed:?}");
        }
    }

    #[test]
    fn the_last_word_is_the_message() {
        let parted = |words: &[&str]| parted(words.iter().map(ToString::to_string).collect());
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(parted(&["a", "b", "hi, all"]).unwrap(), (texts(&["a", "b"]), "hi, all".to_owned()));
        assert_eq!(parted(&["a, b,", "hi"]).unwrap().0, ["a", "b"]);
        for words in [&["a"][..], &[",", "hi"]] {
            assert_eq!(parted(words).unwrap_err().exit, Exit::Usage, "{words:?}");
        }
    }

    #[test]
    fn what_is_known_of_its_way_is_told() {
        let to = |peer: &str, status: DeliveryStatus, activity: PeerActivity, wake: &str| Delivery {
            peer: peer.to_owned(),
            status: status.into(),
            activity: activity.into(),
            wake: wake.to_owned(),
            ..Delivery::default()
        };
        use PeerActivity::{Idle, Unspecified, Working};
        let sent = SendResponse {
            deliveries: vec![
                to("amber-fox", DeliveryStatus::Queued, Unspecified, ""),
                to("birch-owl", DeliveryStatus::Queued, Idle, "monitor"),
                to("calm-elk", DeliveryStatus::Queued, Idle, ""),
                to("dusty-hen", DeliveryStatus::Queued, Working, "monitor"),
                to("blue-owl", DeliveryStatus::Offline, Unspecified, ""),
                to("evil", DeliveryStatus::Queued, Idle, "\u{1b}[2J\nowl: read"),
            ],
            online_recipients: 4,
            ..SendResponse::default()
        };
        insta::assert_snapshot!(told(&SendRequest::default(), &sent), @r"
        amber-fox: queued
        birch-owl: queued, idle; will be woken (monitor)
        calm-elk: queued, idle; sees it at its next turn
        dusty-hen: queued, working; sees it at its next step
        blue-owl: away, will find it
        evil: queued, idle; will be woken (␛[2J␊owl: read)
        ");
        let again = SendResponse { duplicate: true, ..sent.clone() };
        assert!(told(&SendRequest::default(), &again).starts_with("sent before to amber-fox, birch-owl, "));
        let request = SendRequest { topic: "#deploys".to_owned(), ..SendRequest::default() };
        assert_eq!(told(&request, &sent), "sent to #deploys, for 4 online now\n");
        let request = SendRequest { broadcast: true, ..SendRequest::default() };
        assert_eq!(told(&request, &sent), "sent to everybody, 4 online now\n");
    }
}
