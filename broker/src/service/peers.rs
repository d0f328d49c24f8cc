//! Presence: who is here, doing what, where.

use std::sync::Arc;

use mesh_core::command::Command;
use mesh_core::id::ScopeId;
use mesh_core::outcome::Outcome;
use mesh_core::record::{PeerKey, PeerRecord};
use mesh_core::state::PageSize;
use mesh_proto::v1 as pb;
use pb::peer_service_server::PeerService;
use tonic::{Request, Response, Status};

use super::auth::Caller;
use super::convert::{peers as convert, request_key, size, unless_empty};
use super::status::Refusal;
use super::{Mesh, answer, misfit, page};

#[tonic::async_trait]
impl PeerService for Mesh {
    async fn join(&self, request: Request<pb::JoinRequest>) -> Result<Response<pb::JoinResponse>, Status> {
        answer(request, |caller, request| join(self, caller, request)).await
    }

    async fn heartbeat(
        &self,
        request: Request<pb::HeartbeatRequest>,
    ) -> Result<Response<pb::HeartbeatResponse>, Status> {
        answer(request, |caller, _| async move { heartbeat(self, &caller) }).await
    }

    async fn update_peer(
        &self,
        request: Request<pb::UpdatePeerRequest>,
    ) -> Result<Response<pb::UpdatePeerResponse>, Status> {
        answer(request, |caller, request| update(self, caller, request)).await
    }

    async fn leave(&self, request: Request<pb::LeaveRequest>) -> Result<Response<pb::LeaveResponse>, Status> {
        answer(request, |caller, request| leave(self, caller, request)).await
    }

    async fn list_peers(
        &self,
        request: Request<pb::ListPeersRequest>,
    ) -> Result<Response<pb::ListPeersResponse>, Status> {
        answer(request, |caller, request| async move { list(self, &caller, &request) }).await
    }
}

async fn join(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::JoinRequest,
) -> Result<pb::JoinResponse, Refusal> {
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("Join", &id, &request)?;
    let join = convert::join(request, caller.principal.names(), &mesh.ids)?;
    caller.principal.check_scope(&join.scope)?;
    let reply = mesh.submit(caller.without_session(), key, Command::Join(join)).await?;
    let Outcome::Joined { peer, resumed, unread } = reply.outcome else { return Err(misfit("Join")) };
    // A repeat gets the first answer, and with it the token of the first answer's session.
    let session = peer.session.as_ref().ok_or_else(|| misfit("Join"))?;
    Ok(pb::JoinResponse {
        header: mesh.header(reply.revision),
        session_token: mesh.tokens.issue(session.id),
        peer: Some(mesh.peer(&peer)),
        resumed,
        unread,
    })
}

fn heartbeat(mesh: &Mesh, caller: &Caller) -> Result<pb::HeartbeatResponse, Refusal> {
    let session = caller.require_session()?;
    let state = mesh.view.read();
    let peer = state.peers.live(session)?;
    let ttl = peer.session.as_ref().map(|session| session.ttl);
    Ok(pb::HeartbeatResponse {
        header: mesh.header(state.revision()),
        lease_ttl: ttl.map(super::convert::duration),
        peer: Some(mesh.peer(peer)),
    })
}

async fn update(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::UpdatePeerRequest,
) -> Result<pb::UpdatePeerResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("UpdatePeer", &id, &request)?;
    let command = Command::Update(convert::update(request)?);
    let reply = mesh.submit(caller.by(session), key, command).await?;
    let Outcome::Updated { peer } = reply.outcome else { return Err(misfit("UpdatePeer")) };
    Ok(pb::UpdatePeerResponse { header: mesh.header(reply.revision), peer: Some(mesh.peer(&peer)) })
}

async fn leave(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::LeaveRequest,
) -> Result<pb::LeaveResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("Leave", &id, &request)?;
    let reply = mesh.submit(caller.by(session), key, Command::Leave).await?;
    let Outcome::Done = reply.outcome else { return Err(misfit("Leave")) };
    Ok(pb::LeaveResponse { header: mesh.header(reply.revision) })
}

fn list(
    mesh: &Mesh,
    caller: &Caller,
    request: &pb::ListPeersRequest,
) -> Result<pb::ListPeersResponse, Refusal> {
    let scope = unless_empty(&request.scope, ScopeId::parse)?;
    let scope = scope.map(|scope| caller.principal.readable(scope));
    let after: Option<PeerKey> = page::after(&request.page_token)?;
    let (revision, peers, more) = {
        let state = mesh.view.read();
        let here = |peer: &&Arc<PeerRecord>| {
            (request.include_offline || peer.session.is_some()) && caller.principal.sees(&peer.scope)
        };
        let peers = state.peers.list(scope.as_ref(), after.as_ref()).filter(here).cloned();
        let (peers, more) =
            PageSize::of(size(request.page_size)).fill(peers, |peer| convert::peer_size(peer));
        (state.revision(), peers, more)
    };
    let last = peers.last().filter(|_| more);
    Ok(pb::ListPeersResponse {
        header: mesh.header(revision),
        next_page_token: last.map(|peer| page::token(&peer.key())).unwrap_or_default(),
        peers: peers.iter().map(|peer| mesh.peer(peer)).collect(),
    })
}
