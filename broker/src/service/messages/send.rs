//! Sending, and waiting for a reply.

use std::sync::Arc;

use mesh_core::command::Command;
use mesh_core::event::Event;
use mesh_core::id::{MessageId, SessionId};
use mesh_core::outcome::Outcome;
use mesh_core::record::{Intent, LogRecord, MessageRecord};
use mesh_core::time::Millis;
use mesh_core::{Rejection, limits};
use mesh_proto::v1 as pb;

use super::wait::{Waiting, Woken};
use crate::queue::Reply;
use crate::service::auth::Caller;
use crate::service::convert::{messages as convert, request_key, span};
use crate::service::status::Refusal;
use crate::service::{Mesh, misfit};

pub(super) async fn send(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::SendRequest,
) -> Result<pb::SendResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("Send", &id, &request)?;
    let command = Command::Send(convert::send(request, &mesh.ids)?);
    let reply = mesh.submit(caller.by(session), key, command).await?;
    let (answer, _) = sent(mesh, reply, "Send")?;
    Ok(answer)
}

/// The answer to a message that was sent, and the message's id.
fn sent(mesh: &Mesh, reply: Reply, call: &'static str) -> Result<(pb::SendResponse, MessageId), Refusal> {
    let Outcome::Sent { id, deliveries, online, revision, duplicate } = reply.outcome else {
        return Err(misfit(call));
    };
    let answer = pb::SendResponse {
        header: mesh.header(reply.revision),
        message_id: id.to_string(),
        deliveries: deliveries.iter().map(convert::delivery).collect(),
        online_recipients: online,
        duplicate,
        revision: revision.0,
    };
    Ok((answer, id))
}

pub(super) async fn ask(
    mesh: &Mesh,
    caller: Caller,
    request: pb::AskRequest,
) -> Result<pb::AskResponse, Refusal> {
    let session = caller.require_session()?;
    let (longest, default) = limits::WAIT_CONDITION;
    let wait = span("wait", request.wait, (Millis::ZERO, longest))?.unwrap_or(default);
    let mut message = request.message.ok_or_else(|| Rejection::invalid("message", "is missing"))?;
    let id = std::mem::take(&mut message.request_id);
    // How long to wait is no part of what is asked: a repeat goes on waiting, for as long as it likes.
    let key = request_key("Ask", &id, &message)?;
    let asks = message.intent() == pb::MessageIntent::Unspecified;
    let mut question = convert::send(message, &mesh.ids)?;
    if asks {
        question.intent = Intent::Request;
    }
    // There is a place to wait before anything is sent, and nothing that comes after is missed.
    let waiting = Waiting::new(mesh, &caller, wait)?;
    let reply = mesh.submit(caller.by(session), key, Command::Send(question)).await?;
    let revision = reply.revision;
    let (answer, id) = sent(mesh, reply, "Ask")?;
    let reply = await_reply(mesh, session, id, waiting).await?;
    Ok(pb::AskResponse {
        header: mesh.header(reply.as_ref().map_or(revision, |reply| reply.revision)),
        sent: Some(answer),
        reply: reply.map(|reply| convert::message(&reply)),
    })
}

/// The reply to a message; none when it does not come in time, or the message is no longer stored.
async fn await_reply(
    mesh: &Mesh,
    session: SessionId,
    question: MessageId,
    mut waiting: Waiting<'_>,
) -> Result<Option<Arc<MessageRecord>>, Refusal> {
    let Some(question) = mesh.view.read().messages.by_id(question).cloned() else { return Ok(None) };
    let answers = |log: &LogRecord| log.events.iter().any(|event| is_reply(event, question.id));
    loop {
        let reply = read_reply(mesh, session, &question)?;
        if reply.is_some() {
            return Ok(reply);
        }
        if waiting.next(answers).await? == Woken::TimeOver {
            return read_reply(mesh, session, &question);
        }
    }
}

fn is_reply(event: &Event, question: MessageId) -> bool {
    matches!(event, Event::MessageSent { reply_to, .. } if *reply_to == Some(question))
}

fn read_reply(
    mesh: &Mesh,
    session: SessionId,
    question: &MessageRecord,
) -> Result<Option<Arc<MessageRecord>>, Refusal> {
    let state = mesh.view.read();
    let peer = state.peers.live(session)?;
    let reply = state.messages.reply_to(question).cloned();
    mesh.shown.note(&state, peer, reply.as_slice());
    Ok(reply)
}
