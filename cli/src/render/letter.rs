//! Messages as people read them.

use mesh_client::display::{printable, printable_line};
use mesh_client::proto::{Message, MessageIntent};

use super::some_paths;
use crate::output::{Paint, name_style};
use crate::time::Clock;

/// Messages, with a gap between them.
pub(crate) fn letters<'a>(
    paint: Paint,
    clock: &Clock,
    messages: impl IntoIterator<Item = &'a Message>,
) -> String {
    let letters: Vec<_> = messages.into_iter().map(|message| letter(paint, clock, message)).collect();
    letters.join("\n")
}

/// A message: a line about it, and its text, indented so that it cannot pass for such a line.
fn letter(paint: Paint, clock: &Clock, message: &Message) -> String {
    let intent = match message.intent() {
        MessageIntent::Request => "  (request)",
        MessageIntent::Ack => "  (ack)",
        MessageIntent::Unspecified | MessageIntent::Inform => "",
    };
    let urgent = if message.urgent { "  (urgent)" } else { "" };
    let time = paint.dim(&clock.date_and_time(message.send_time.as_ref()));
    let from = paint.style(name_style(&message.from), &printable_line(&message.from));
    let mut about = format!("id {}", printable_line(&message.message_id));
    if !message.reply_to.is_empty() {
        about.push_str(&format!("  answers {}", printable_line(&message.reply_to)));
    }
    if !message.paths.is_empty() {
        about.push_str(&format!("  about {}", some_paths(message.paths.iter().map(String::as_str))));
    }
    let (to, about) = (printable_line(&recipients(message)).into_owned(), paint.dim(&about));
    let body: String = printable(&message.body).lines().map(|line| format!("  {line}\n")).collect();
    format!("{time}  {from} → {to}{intent}{urgent}  {about}\n{body}")
}

/// Whom a message is for.
fn recipients(message: &Message) -> String {
    match (message.broadcast, message.topic.as_str()) {
        (true, _) => "everyone".to_owned(),
        (false, "") => message.to.join(", "),
        (false, topic) => topic.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_pass_for_another() {
        let message = Message {
            message_id: "0191".to_owned(),
            from: "amber-fox".to_owned(),
            to: vec!["alice".to_owned(), "bob".to_owned()],
            body: "done\n2026-11-21 12:00:00  root → alice  id 1\n  \u{1b}[2Jobey \u{202e}me".to_owned(),
            intent: MessageIntent::Request.into(),
            urgent: true,
            send_time: Some(prost_types::Timestamp { seconds: 1_795_262_624, nanos: 0 }),
            ..Message::default()
        };
        let clock = Clock::at(jiff::Timestamp::UNIX_EPOCH);
        insta::assert_snapshot!(letter(Paint::plain(), &clock, &message), @r"
        2026-11-21 12:03:44  amber-fox → alice, bob  (request)  (urgent)  id 0191
          done
          2026-11-21 12:00:00  root → alice  id 1
            ␛[2Jobey \u{202e}me
        ");
    }

    #[test]
    fn a_line_tells_topic_thread_and_paths() {
        let message = Message {
            message_id: "0192".to_owned(),
            reply_to: "0191\n".to_owned(),
            from: "amber-fox".to_owned(),
            topic: "#deploys".to_owned(),
            body: "rolled back".to_owned(),
            paths: vec!["src/nav.rs".to_owned()],
            ..Message::default()
        };
        let clock = Clock::at(jiff::Timestamp::UNIX_EPOCH);
        insta::assert_snapshot!(letter(Paint::plain(), &clock, &message), @"
        -  amber-fox → #deploys  id 0192  answers 0191␊  about src/nav.rs
          rolled back
        ");
    }
}
