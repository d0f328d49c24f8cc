//! Messages: `mesh_send`; reading them is in `inbox`.
//!
//! An agent names a message by its revision, which is short; the contract's ids are found out when needed.

mod inbox;
mod letters;

use std::time::Duration;

use mesh_client::proto::{
    AskRequest, Delivery, DeliveryStatus, ListMessagesRequest, Message, MessageIntent, PeerActivity,
    SendRequest, SendResponse,
};
use mesh_client::{ClientError, ErrorReason};

pub(crate) use self::inbox::{inbox, rendered};
pub(crate) use self::letters::Letters;
use crate::args::{Answer, Args, Failure};
use crate::call::Call;
use crate::member::Joined;
use crate::presence::{peer_name, peers};
use crate::render::{age, count, span, word, words};

/// Sends a message; waits for a reply if told to.
pub(crate) async fn send(joined: &Joined, call: &Call) -> Answer {
    let args = &call.args;
    let body = args.text("body")?.ok_or_else(|| Failure::new("body: say what to send"))?;
    let wait = call.span("wait_reply_seconds")?;
    let answered = answered(joined, args).await?;
    let read = answered.as_ref().map(|message| message.revision).unwrap_or_default();
    let mut to = To::read(&args.list("to")?)?;
    if let (None, Some(message)) = (&to, &answered) {
        to = To::back(message);
    }
    let to =
        to.ok_or_else(|| Failure::new("to: name an agent (mesh_who lists them), #topic, or * for all"))?;
    if matches!(&to, To::Names(names) if names.contains(&joined.name())) {
        return Err(Failure::new(format!("{} is you. Next: mesh_who for the others", word(&joined.name()))));
    }
    let request = SendRequest {
        body,
        reply_to: answered.map(|message| message.message_id).unwrap_or_default(),
        intent: intent(args)?.into(),
        urgent: args.flag("urgent")?,
        ..to.clone().request()
    };
    if wait.is_zero() {
        let answer = joined.session.send(request).await;
        return match answer {
            Ok(answer) => {
                joined.answered(read).await;
                Ok(told(joined, &answer, &to))
            }
            Err(error) => Err(failed(joined, error).await),
        };
    }
    joined.answered(read).await;
    let ask = AskRequest { message: Some(request), wait: wait.try_into().ok() };
    match call.unless_stopped(joined.session.ask(ask)).await {
        None => Err(Failure::new("stopped waiting; a reply will come to mesh_inbox")),
        Some(Err(error)) => Err(failed(joined, error).await),
        Some(Ok(answer)) => {
            let sent = told(joined, &answer.sent.unwrap_or_default(), &to);
            Ok(format!("{sent}\n{}", replied(joined, answer.reply.as_ref(), wait)))
        }
    }
}

/// What was sent, which may be answered from now on.
fn told(joined: &Joined, answer: &SendResponse, to: &To) -> String {
    let revision = revision(answer);
    let message_id = answer.message_id.clone();
    let mine = Message { revision, message_id, from: joined.name(), ..Message::default() };
    joined.news.lock().letters.keep(&mine);
    sent(answer, to)
}

/// The reply, or that there is none yet.
fn replied(joined: &Joined, reply: Option<&Message>, wait: Duration) -> String {
    match reply {
        Some(reply) => shown(joined, reply),
        None => format!("no reply within {}; it will come to mesh_inbox", span(wait)),
    }
}

/// A message that came as an answer; it is in the inbox too, but no news any longer.
pub(crate) fn shown(joined: &Joined, message: &Message) -> String {
    let mut news = joined.news.lock();
    news.letters.keep(message);
    news.one_shown(message.revision);
    rendered(message, &news.letters, inbox::BODY, "")
}

/// The id of a message that was sent or shown, by its number.
pub(crate) fn id_of(joined: &Joined, number: &str) -> Option<String> {
    let Ok(revision) = number.parse() else { return is_id(number).then(|| number.to_owned()) };
    joined.news.lock().letters.by_revision(revision).map(|message| message.message_id.clone())
}

fn is_id(text: &str) -> bool {
    text.len() == 36 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

async fn failed(joined: &Joined, error: ClientError) -> Failure {
    if error.reason() != Some(ErrorReason::PeerNotFound) {
        return error.into();
    }
    let here = match peers(joined, &joined.session.scope()).await {
        Ok(here) => here,
        Err(failure) => return failure,
    };
    let unknown = error.refusal().and_then(|refusal| refusal.metadata.get("name")).cloned();
    let me = joined.name();
    let names: Vec<_> = here.into_iter().map(|peer| peer.name).filter(|name| *name != me).collect();
    let names = if names.is_empty() { "nobody else".into() } else { words(&names, 20) };
    let unknown = unknown.map_or_else(|| "one of them".into(), |name| word(&name));
    Failure::new(format!(
        "not sent: no agent named {unknown} is known here. Online: {names}. For all of them: *"
    ))
}

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq)]
enum To {
    Names(Vec<String>),
    All,
    Topic(String),
}

impl To {
    /// From lists and texts like `@a, b`, `*` or `#topic`; `None` if nobody is named.
    fn read(given: &[String]) -> Result<Option<Self>, Failure> {
        let mut names = Vec::new();
        let mut topics = Vec::new();
        for name in given.iter().flat_map(|text| text.split([',', ';'])).map(str::trim) {
            let (list, name) = if name.starts_with('#') {
                (&mut topics, topic_name(name))
            } else {
                (&mut names, peer_name(name))
            };
            if !name.is_empty() && !list.contains(&name) {
                list.push(name);
            }
        }
        match (topics.pop(), topics.is_empty() && names.is_empty()) {
            (Some(topic), true) => Ok(Some(Self::Topic(topic))),
            (Some(_), false) => Err(Failure::new(
                "to: a message goes to one topic, or to names. Nothing was sent. Next: mesh_send once for each",
            )),
            (None, true) => Ok(None),
            (None, false) if names.iter().any(|name| name == "*") => Ok(Some(Self::All)),
            (None, false) => Ok(Some(Self::Names(names))),
        }
    }

    /// To where a message came from.
    fn back(message: &Message) -> Option<Self> {
        match (message.topic.as_str(), message.from.as_str()) {
            ("", "") => None,
            ("", from) => Some(Self::Names(vec![from.to_owned()])),
            (topic, _) => Some(Self::Topic(topic.to_owned())),
        }
    }

    fn request(self) -> SendRequest {
        match self {
            Self::Names(to) => SendRequest { to, ..SendRequest::default() },
            Self::All => SendRequest { broadcast: true, ..SendRequest::default() },
            Self::Topic(topic) => SendRequest { topic, ..SendRequest::default() },
        }
    }
}

/// The name of a topic as a model may write it: with or without `#`, with capitals.
fn topic_name(text: &str) -> String {
    format!("#{}", text.trim().trim_start_matches('#').to_lowercase())
}

fn sent(answer: &SendResponse, to: &To) -> String {
    let revision = revision(answer);
    let online = count(answer.online_recipients as usize, "agent");
    match to {
        To::All => return format!("{revision} queued for all ({online} online)"),
        To::Topic(topic) => return format!("{revision} queued for {} ({online} online)", word(topic)),
        To::Names(_) => {}
    }
    let each = answer.deliveries.iter().map(|delivery| match delivery.status() {
        DeliveryStatus::Offline => {
            format!(
                "{} (offline since {}; waits in its inbox)",
                word(&delivery.peer),
                age(delivery.offline_since)
            )
        }
        DeliveryStatus::Delivered => format!("{} (delivered)", word(&delivery.peer)),
        DeliveryStatus::Read => format!("{} (read)", word(&delivery.peer)),
        DeliveryStatus::Queued | DeliveryStatus::Unspecified => {
            format!("{} ({})", word(&delivery.peer), when_seen(delivery))
        }
    });
    format!("{revision} queued for {}", each.collect::<Vec<_>>().join(", "))
}

/// When a peer that is online sees what it was sent.
fn when_seen(delivery: &Delivery) -> String {
    match (delivery.activity(), delivery.wake.as_str()) {
        (PeerActivity::Working, _) => "working; sees it at its next step".into(),
        (PeerActivity::Idle, "") => "idle; sees it at its next turn".into(),
        (PeerActivity::Idle, wake) => format!("idle; will be woken by {}", word(wake)),
        (PeerActivity::Unspecified, "") => "online".into(),
        (PeerActivity::Unspecified, wake) => format!("online; woken by {} if idle", word(wake)),
    }
}

/// The message's own revision, where the answer tells it.
fn revision(answer: &SendResponse) -> u64 {
    match answer.revision {
        0 => answer.header.as_ref().map(|header| header.revision).unwrap_or_default(),
        revision => revision,
    }
}

/// What is expected of the reader; unset leaves it to the broker, which takes a question for a request.
fn intent(args: &Args) -> Result<MessageIntent, Failure> {
    match args.text("intent")?.map(|intent| intent.to_lowercase()).as_deref() {
        None => Ok(MessageIntent::Unspecified),
        Some("inform") => Ok(MessageIntent::Inform),
        Some("request") => Ok(MessageIntent::Request),
        Some("ack") => Ok(MessageIntent::Ack),
        Some(_) => Err(Failure::new("intent: inform, request or ack. Nothing was sent")),
    }
}

/// The message that `reply_to` means: a revision from this peer's inbox, or the id itself.
async fn answered(joined: &Joined, args: &Args) -> Result<Option<Message>, Failure> {
    let Some(text) = args.text("reply_to")? else { return Ok(None) };
    let unknown = || {
        let asked = word(&text);
        Failure::new(format!(
            "reply_to: there is no message {asked} for you. Next: mesh_inbox for the numbers"
        ))
    };
    let Ok(revision) = text.trim().parse::<u64>() else {
        let message = Message { message_id: text.clone(), ..Message::default() };
        return is_id(&text).then_some(Some(message)).ok_or_else(unknown);
    };
    if let Some(known) = joined.news.lock().letters.by_revision(revision) {
        return Ok(Some(known.clone()));
    }
    let after_revision = revision.saturating_sub(1);
    // After 0 would mean after the cursor.
    let request =
        ListMessagesRequest { after_revision: after_revision.max(1), limit: 1, ..Default::default() };
    let found = match joined.session.inbox(request).await {
        Ok(answer) => answer.messages,
        // Later than anything that has happened.
        Err(error) if error.reason() == Some(ErrorReason::InvalidField) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let found = found.into_iter().find(|message| message.revision == revision);
    found.map(Some).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_send_tells_each_fate() {
        let delivery = |peer: &str, status: DeliveryStatus| Delivery {
            peer: peer.into(),
            status: status.into(),
            ..Delivery::default()
        };
        let answer = SendResponse {
            deliveries: vec![
                delivery("birch", DeliveryStatus::Queued),
                delivery("elm", DeliveryStatus::Offline),
            ],
            online_recipients: 1,
            ..SendResponse::default()
        };
        assert_eq!(
            sent(&answer, &To::Names(Vec::new())),
            "0 queued for birch (online), elm (offline since some time ago; waits in its inbox)"
        );
        let at = |activity: PeerActivity, wake: &str| Delivery {
            activity: activity.into(),
            wake: wake.into(),
            ..delivery("birch", DeliveryStatus::Queued)
        };
        for (delivery, told) in [
            (at(PeerActivity::Unspecified, ""), "online"),
            (at(PeerActivity::Unspecified, "monitor"), "online; woken by monitor if idle"),
            (at(PeerActivity::Working, "monitor"), "working; sees it at its next step"),
            (at(PeerActivity::Idle, ""), "idle; sees it at its next turn"),
            (at(PeerActivity::Idle, "monitor"), "idle; will be woken by monitor"),
            (at(PeerActivity::Idle, "x) and\nothers"), "idle; will be woken by \"x) and␊others\""),
        ] {
            let answer = SendResponse { deliveries: vec![delivery], ..SendResponse::default() };
            assert_eq!(sent(&answer, &To::Names(Vec::new())), format!("0 queued for birch ({told})"));
        }
        assert_eq!(sent(&answer, &To::All), "0 queued for all (1 agent online)");
        let answer = SendResponse { revision: 41, ..answer };
        assert_eq!(sent(&answer, &To::Topic("#a".into())), "41 queued for #a (1 agent online)");
    }

    #[test]
    fn recipients_are_taken_as_models_write_them() {
        let names = |names: &[&str]| To::Names(names.iter().map(|&name| name.to_owned()).collect());
        for (given, to) in [
            (vec!["@Birch-Owl, elm;elm"], Some(names(&["birch-owl", "elm"]))),
            (vec!["birch", " elm "], Some(names(&["birch", "elm"]))),
            (vec!["*"], Some(To::All)),
            (vec!["#Deploys", " #deploys"], Some(To::Topic("#deploys".into()))),
            (vec![" , "], None),
        ] {
            let given: Vec<_> = given.into_iter().map(str::to_owned).collect();
            assert_eq!(To::read(&given).unwrap(), to);
        }
        for mixed in ["#a, elm", "#a, #b", "*, #a"] {
            let failure = To::read(&[mixed.to_owned()]).unwrap_err();
            assert!(failure.text().starts_with("to: a message goes to one topic, or to names"), "{mixed}");
        }
    }

    #[test]
    fn a_reply_goes_back_to_where_the_message_came_from() {
        let from = Message { from: "elm".into(), ..Message::default() };
        let in_topic = Message { topic: "#a".into(), ..from.clone() };
        assert_eq!(To::back(&from), Some(To::Names(vec!["elm".into()])));
        assert_eq!(To::back(&in_topic), Some(To::Topic("#a".into())));
        assert_eq!(To::back(&Message::default()), None);
    }
}
