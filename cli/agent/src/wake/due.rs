//! What an idle agent should be woken for.

use std::collections::BTreeSet;
use std::fmt::Write;

use mesh_client::Session;
use mesh_client::agent::{Kept, Membership};
use mesh_client::display::model::{quoted, word};
use mesh_client::proto::{
    ListMessagesRequest, ListMessagesResponse, ListReleaseRequestsRequest, Message, MessageIntent,
    ReleaseRequest, ReportWakeRequest, WakeOutcome,
};

use crate::news;
use crate::problem::Problem;

/// Text of one message in a wake of one line.
const BODY: usize = 1500;

/// What is handed over at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// For the agent.
    pub(super) text: String,
    /// Mail up to here is in it; 0 when there is none.
    pub(super) upto: u64,
    /// Requests that are in it.
    asked: BTreeSet<u64>,
}

/// What is due now, and counts as shown from now on; nothing while the agent is at work, since its hooks bring the news,
/// or while it has not shown that the last wake arrived.
pub(super) async fn take(
    kept: &Kept,
    session: &Session,
    scope: &str,
    one_line: bool,
) -> Result<Option<Due>, Problem> {
    let Some(member) = kept.read(scope).filter(is_free) else { return Ok(None) };
    let inbox = ListMessagesRequest { after_revision: member.shown, limit: 20, ..Default::default() };
    let asked = ListReleaseRequestsRequest { holder: member.session.name.clone(), ..Default::default() };
    let (inbox, asked) = tokio::join!(session.inbox(inbox), session.list_release_requests(asked));
    let (inbox, asked) = (inbox?, asked?.requests);
    let due = kept.change(scope, |member| {
        // Another process may have shown it, or a turn may have begun, meanwhile.
        if !is_free(member) { None } else { due(member, &inbox, &asked, one_line) }
    });
    Ok(due.await?.flatten())
}

fn is_free(member: &Membership) -> bool {
    !member.working && member.shown <= member.acknowledged && member.handing.is_none()
}

fn due(
    member: &mut Membership,
    inbox: &ListMessagesResponse,
    asked: &[ReleaseRequest],
    one_line: bool,
) -> Option<Due> {
    let asked: Vec<_> = asked.iter().filter(|request| !member.held_up.contains(&request.id)).collect();
    let after = member.shown.max(inbox.acknowledged_revision);
    let wakes = inbox.messages.iter().any(|message| message.revision > after && wakes(message));
    if asked.is_empty() && !wakes {
        return None;
    }
    let ids: BTreeSet<_> = asked.iter().map(|request| request.id).collect();
    member.held_up.extend(&ids);
    let mut text: Vec<String> =
        asked.iter().map(|request| format!("[mesh] {}", mesh_mcp::text::asks(request))).collect();
    let mut upto = 0;
    if one_line {
        for message in inbox.messages.iter().filter(|message| message.revision > after) {
            text.push(line(message));
            upto = message.revision;
        }
    } else if let Some((mail, last)) = news::letters(inbox, after) {
        text.push(mail);
        upto = last;
    }
    member.handing = Some(member.shown);
    member.shown = member.shown.max(upto);
    Some(Due { text: text.join("\n"), upto, asked: ids })
}

/// It is handed over; what nobody took is due again, and a hook may show it first.
pub(super) async fn settle(kept: &Kept, scope: &str, due: &Due, taken: bool) {
    let settled = |member: &mut Membership| {
        let before = member.handing.take();
        if let Some(before) = before.filter(|_| !taken) {
            member.shown = before.max(member.acknowledged);
            member.held_up.retain(|id| !due.asked.contains(id));
        }
    };
    if let Err(error) = kept.change(scope, settled).await {
        tracing::warn!(%error, "what was handed over is not noted");
    }
}

/// Nothing is being handed over: a process that was may have been killed at it.
pub(super) async fn take_back(kept: &Kept, scope: &str) {
    let back = |member: &mut Membership| {
        if let Some(before) = member.handing.take() {
            member.shown = before.max(member.acknowledged);
        }
    };
    if let Err(error) = kept.change(scope, back).await {
        tracing::warn!(%error, "the registry of agents cannot be written");
    }
}

/// Whether a message is worth a turn.
fn wakes(message: &Message) -> bool {
    let personal = !message.broadcast && message.topic.is_empty();
    message.intent() != MessageIntent::Ack && (personal || message.urgent)
}

fn line(message: &Message) -> String {
    let mut out = format!("[mesh] {} from {}", message.revision, word(&message.from));
    if message.intent() == MessageIntent::Request {
        out.push_str(", request");
    }
    if message.urgent {
        out.push_str(", URGENT");
    }
    _ = write!(out, ", another agent's words: {}", quoted(&message.body, BODY));
    if message.intent() == MessageIntent::Request {
        _ = write!(out, "; answer: mesh_send {{reply_to: {}}}", message.revision);
    }
    out
}

/// Tells the senders what came of it.
pub(super) async fn report(session: &Session, via: &str, due: &Due, problem: Option<String>) {
    if due.upto == 0 {
        return;
    }
    let outcome = if problem.is_none() { WakeOutcome::Taken } else { WakeOutcome::Failed };
    let mut note = problem.unwrap_or_default();
    note.truncate(note.floor_char_boundary(256));
    let request =
        ReportWakeRequest { via: via.to_owned(), outcome: outcome.into(), note, up_to_revision: due.upto };
    let reported = session.call(|client| {
        let request = request.clone();
        async move { client.messages().report_wake(request).await }
    });
    if let Err(error) = reported.await {
        tracing::debug!(%error, "the senders are not told of the wake");
    }
}

#[cfg(test)]
mod tests {
    use mesh_client::{SavedSession, Token};

    use super::*;

    fn member() -> Membership {
        let token = Token::parse("t").unwrap();
        let session = SavedSession { scope: "s".into(), name: "me".into(), session_id: "1".into(), token };
        Membership::new(session, 0)
    }

    fn message(revision: u64) -> Message {
        Message {
            revision,
            from: "owl".into(),
            to: vec!["me".into()],
            body: "two\nlines".into(),
            ..Message::default()
        }
    }

    fn inbox(messages: Vec<Message>) -> ListMessagesResponse {
        ListMessagesResponse { messages, ..ListMessagesResponse::default() }
    }

    #[test]
    fn acknowledgements_and_broadcasts_wake_nobody_but_come_along() {
        let ack = Message { intent: MessageIntent::Ack.into(), ..message(5) };
        let all = Message { broadcast: true, to: vec![], ..message(6) };
        let quiet = inbox(vec![ack.clone(), all.clone()]);
        assert_eq!(due(&mut member(), &quiet, &[], false), None);
        let urgent = Message { urgent: true, ..all.clone() };
        assert_eq!(due(&mut member(), &inbox(vec![urgent]), &[], false).unwrap().upto, 6);
        let with_mail = inbox(vec![ack, all, message(7)]);
        let mut member = member();
        let due = due(&mut member, &with_mail, &[], false).unwrap();
        assert_eq!((due.upto, member.shown, due.text.matches(" from owl").count()), (7, 7, 3));
    }

    #[test]
    fn one_wake_at_a_time() {
        let mut member = member();
        assert!(is_free(&member));
        due(&mut member, &inbox(vec![message(7)]), &[], false).unwrap();
        assert_eq!((is_free(&member), member.handing.take()), (false, Some(0)));
        assert!(!is_free(&member));
        member.acknowledged = 7;
        assert!(is_free(&member));
        member.working = true;
        assert!(!is_free(&member));
    }

    #[test]
    fn a_monitor_gets_one_line_for_each_message() {
        let mail = inbox(vec![message(7), Message { intent: MessageIntent::Request.into(), ..message(8) }]);
        let due = due(&mut member(), &mail, &[], true).unwrap();
        assert_eq!(due.text.lines().count(), 2, "{}", due.text);
        assert!(due.text.contains("reply_to: 8"), "{}", due.text);
    }

    #[test]
    fn a_request_to_make_way_wakes_once() {
        let request =
            ReleaseRequest { id: 3, from: "owl".into(), holder: "me".into(), ..ReleaseRequest::default() };
        let mut member = member();
        let first = due(&mut member, &inbox(vec![]), std::slice::from_ref(&request), false).unwrap();
        assert!(first.text.contains("owl asks you"), "{}", first.text);
        assert_eq!(due(&mut member, &inbox(vec![]), &[request], false), None);
    }
}
