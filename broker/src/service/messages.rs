//! Messages between peers, and their inboxes.

use std::time::Duration;

use mesh_core::command::Command;
use mesh_core::event::Event;
use mesh_core::id::SessionId;
use mesh_core::outcome::Outcome;
use mesh_core::record::{LogRecord, PeerKey, Recipients};
use mesh_core::revision::Revision;
use mesh_core::state::PageSize;
use mesh_core::time::Millis;
use mesh_core::{Rejection, limits};
use mesh_proto::v1 as pb;
use pb::message_service_server::MessageService;
use tokio::time::{Instant, interval, sleep_until};
use tonic::{Request, Response, Status};

use super::auth::Caller;
use super::convert::{messages as convert, request_key, size, span};
use super::status::Refusal;
use super::{Mesh, answer, misfit};
use crate::events::ReadError;

#[tonic::async_trait]
impl MessageService for Mesh {
    async fn send(&self, request: Request<pb::SendRequest>) -> Result<Response<pb::SendResponse>, Status> {
        answer(request, |caller, request| send(self, caller, request)).await
    }

    async fn list_messages(
        &self,
        request: Request<pb::ListMessagesRequest>,
    ) -> Result<Response<pb::ListMessagesResponse>, Status> {
        answer(request, |caller, request| list(self, caller, request)).await
    }

    async fn acknowledge_messages(
        &self,
        request: Request<pb::AcknowledgeMessagesRequest>,
    ) -> Result<Response<pb::AcknowledgeMessagesResponse>, Status> {
        answer(request, |caller, request| acknowledge(self, caller, request)).await
    }

    async fn ask(&self, request: Request<pb::AskRequest>) -> Result<Response<pb::AskResponse>, Status> {
        drop(request);
        Err(Status::unimplemented("STUB"))
    }

    async fn get_receipts(
        &self,
        request: Request<pb::GetReceiptsRequest>,
    ) -> Result<Response<pb::GetReceiptsResponse>, Status> {
        drop(request);
        Err(Status::unimplemented("STUB"))
    }

    async fn list_feed(
        &self,
        request: Request<pb::ListFeedRequest>,
    ) -> Result<Response<pb::ListFeedResponse>, Status> {
        drop(request);
        Err(Status::unimplemented("STUB"))
    }

    async fn follow_topics(
        &self,
        request: Request<pb::FollowTopicsRequest>,
    ) -> Result<Response<pb::FollowTopicsResponse>, Status> {
        drop(request);
        Err(Status::unimplemented("STUB"))
    }

    async fn list_topics(
        &self,
        request: Request<pb::ListTopicsRequest>,
    ) -> Result<Response<pb::ListTopicsResponse>, Status> {
        drop(request);
        Err(Status::unimplemented("STUB"))
    }
}

async fn send(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::SendRequest,
) -> Result<pb::SendResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("Send", &id, &request)?;
    let command = Command::Send(convert::send(request)?);
    let reply = mesh.submit(Some(session), key, command).await?;
    let Outcome::Sent { id, deliveries, online, revision, duplicate } = reply.outcome else {
        return Err(misfit("Send"));
    };
    Ok(pb::SendResponse {
        header: mesh.header(reply.revision),
        message_id: id.to_string(),
        deliveries: deliveries.iter().map(|(peer, offline)| convert::delivery(peer, *offline)).collect(),
        online_recipients: online,
        duplicate,
        revision: revision.0,
    })
}

async fn acknowledge(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::AcknowledgeMessagesRequest,
) -> Result<pb::AcknowledgeMessagesResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("AcknowledgeMessages", &id, &request)?;
    let command = Command::Acknowledge { up_to: Revision(request.up_to_revision) };
    let reply = mesh.submit(Some(session), key, command).await?;
    let Outcome::Acknowledged { acknowledged, unread } = reply.outcome else {
        return Err(misfit("AcknowledgeMessages"));
    };
    Ok(pb::AcknowledgeMessagesResponse {
        header: mesh.header(reply.revision),
        acknowledged_revision: acknowledged.0,
        unread,
    })
}

async fn list(
    mesh: &Mesh,
    caller: Caller,
    request: pb::ListMessagesRequest,
) -> Result<pb::ListMessagesResponse, Refusal> {
    let session = caller.require_session()?;
    let wait = span("wait", request.wait, (Millis::ZERO, limits::WAIT))?.unwrap_or_default();
    let deadline = Instant::now() + Duration::from_millis(wait.0);
    let page = PageSize::of(size(request.limit));
    // Attached before the inbox is read, so that nothing comes between.
    let mut news = mesh.events.subscribe(mesh.view.revision().next());
    let mut inbox = read(mesh, session, Revision(request.after_revision), page)?;
    // Whoever waits is alive.
    let mut signs_of_life = interval(Duration::from_millis((inbox.lease.0 / 3).max(1)));
    while inbox.answer.messages.is_empty() {
        tokio::select! {
            biased;
            () = mesh.shutdown.cancelled() => return Err(Refusal::Draining),
            () = sleep_until(deadline) => break,
            logs = news.next() => match logs {
                Ok(logs) if !logs.iter().any(|log| inbox.has_mail_in(log)) => continue,
                Ok(_) => {}
                // A history too short to follow: there may be mail, and it may go on from here.
                Err(ReadError::Compacted { .. }) => {
                    news = mesh.events.subscribe(mesh.view.revision().next());
                }
                Err(error) => return Err(error.into()),
            },
            _ = signs_of_life.tick() => {
                mesh.leases.touch(session);
            }
        }
        inbox = read(mesh, session, Revision(request.after_revision), page)?;
    }
    Ok(inbox.answer)
}

/// An inbox at one revision.
struct Inbox {
    answer: pb::ListMessagesResponse,
    /// Whose it is.
    owner: PeerKey,
    /// The lease of the session that reads it.
    lease: Millis,
}

impl Inbox {
    /// Whether a transaction brings mail for it.
    fn has_mail_in(&self, log: &LogRecord) -> bool {
        let mail = |event: &Event| match event {
            Event::MessageSent { to: Recipients::Direct(names), .. } => names.contains(&self.owner.name),
            Event::MessageSent { to: Recipients::Broadcast, from, .. } => *from != self.owner.name,
            // Whom a topic is for may have changed since; the inbox tells.
            Event::MessageSent { to: Recipients::Topic(_), from, .. } => *from != self.owner.name,
            Event::PeerJoined { .. }
            | Event::PeerUpdated { .. }
            | Event::PeerLeft { .. }
            | Event::StateChanged { .. }
            | Event::StateDeleted { .. }
            | Event::FileLocked { .. }
            | Event::FileUnlocked { .. }
            | Event::LockQueued { .. }
            | Event::LockWaitEnded { .. }
            | Event::LockReleaseRequested { .. }
            | Event::LockReleaseAnswered { .. }
            | Event::FileTouched { .. }
            | Event::ContractChanged { .. }
            | Event::PolicyChanged { .. } => false,
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
        (revision, peer.clone(), messages, cursor, state.messages.unread(peer))
    };
    let answer = pb::ListMessagesResponse {
        header: mesh.header(revision),
        next_after_revision: messages.last().map_or(cursor, |message| message.revision).0,
        messages: messages.iter().map(|message| convert::message(message)).collect(),
        unread,
        acknowledged_revision: peer.acknowledged.0,
    };
    let lease = peer.session.as_ref().map(|session| session.ttl).unwrap_or_default();
    Ok(Inbox { answer, owner: peer.key(), lease })
}
