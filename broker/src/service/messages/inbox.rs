//! Reading one's mail.

use mesh_core::event::Event;
use mesh_core::id::SessionId;
use mesh_core::outcome::Outcome;
use mesh_core::record::{LogRecord, PeerKey, Recipients};
use mesh_core::revision::Revision;
use mesh_core::state::PageSize;
use mesh_core::time::Millis;
use mesh_core::{Rejection, command::Command, limits};
use mesh_proto::v1 as pb;

use super::wait::{Waiting, Woken};
use crate::service::auth::Caller;
use crate::service::convert::{messages as convert, request_key, size, span};
use crate::service::status::Refusal;
use crate::service::{Mesh, misfit};

pub(super) async fn acknowledge(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::AcknowledgeMessagesRequest,
) -> Result<pb::AcknowledgeMessagesResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("AcknowledgeMessages", &id, &request)?;
    let command = Command::Acknowledge { up_to: Revision(request.up_to_revision) };
    let reply = mesh.submit(caller.by(session), key, command).await?;
    let Outcome::Acknowledged { acknowledged, unread } = reply.outcome else {
        return Err(misfit("AcknowledgeMessages"));
    };
    Ok(pb::AcknowledgeMessagesResponse {
        header: mesh.header(reply.revision),
        acknowledged_revision: acknowledged.0,
        unread,
    })
}

pub(super) async fn list(
    mesh: &Mesh,
    caller: Caller,
    request: pb::ListMessagesRequest,
) -> Result<pb::ListMessagesResponse, Refusal> {
    let session = caller.require_session()?;
    let wait = span("wait", request.wait, (Millis::ZERO, limits::WAIT))?.unwrap_or_default();
    let page = PageSize::of(size(request.limit));
    let after = Revision(request.after_revision);
    // Attached before the inbox is read, so that nothing comes between.
    let mut waiting = Waiting::new(mesh, &caller, wait)?;
    let mut inbox = read(mesh, session, after, page)?;
    while inbox.answer.messages.is_empty() {
        match waiting.next(|log| inbox.has_mail_in(log)).await? {
            Woken::News => inbox = read(mesh, session, after, page)?,
            Woken::TimeOver => return Ok(read(mesh, session, after, page)?.answer),
        }
    }
    Ok(inbox.answer)
}

/// An inbox at one revision.
struct Inbox {
    answer: pb::ListMessagesResponse,
    /// Whose it is.
    owner: PeerKey,
}

impl Inbox {
    /// Whether a transaction brings mail for it.
    fn has_mail_in(&self, log: &LogRecord) -> bool {
        let mail = |event: &Event| {
            let Event::MessageSent { to, from, .. } = event else { return false };
            match to {
                Recipients::Direct(names) => names.contains(&self.owner.name),
                // Whom a topic is for may have changed since; the inbox tells.
                Recipients::Broadcast | Recipients::Topic(_) => *from != self.owner.name,
            }
        };
        log.scope == self.owner.scope && log.events.iter().any(mail)
    }
}

fn read(mesh: &Mesh, session: SessionId, after: Revision, page: PageSize) -> Result<Inbox, Refusal> {
    let (revision, peer, messages, cursor, unread) = {
        let state = mesh.view.read();
        let revision = state.revision();
        let peer = state.peers.live(session)?;
        if after > revision {
            let problem = format!("is {}, but the newest revision is {}", after.0, revision.0);
            return Err(Rejection::invalid("after_revision", problem).into());
        }
        let cursor = if after == Revision::ZERO { peer.acknowledged } else { after };
        let (messages, _) = state.messages.inbox(peer, cursor, page);
        mesh.shown.note_inbox(&state, peer, cursor, &messages);
        (revision, peer.clone(), messages, cursor, state.messages.unread(peer))
    };
    let answer = pb::ListMessagesResponse {
        header: mesh.header(revision),
        next_after_revision: messages.last().map_or(cursor, |message| message.revision).0,
        messages: messages.iter().map(|message| convert::message(message)).collect(),
        unread,
        acknowledged_revision: peer.acknowledged.0,
    };
    Ok(Inbox { answer, owner: peer.key() })
}
