//! The broker itself: how it is, and its end.

use mesh_proto::v1 as pb;
use pb::admin_service_server::AdminService;
use tonic::{Request, Response, Status};

use super::auth::Caller;
use super::convert::{count, duration, timestamp};
use super::status::Refusal;
use super::{Mesh, answer};

#[tonic::async_trait]
impl AdminService for Mesh {
    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        answer(request, |_, _| async move { Ok(status(self)) }).await
    }

    async fn stop(&self, request: Request<pb::StopRequest>) -> Result<Response<pb::StopResponse>, Status> {
        answer(request, |caller, _| async move { stop(self, &caller) }).await
    }
}

fn status(mesh: &Mesh) -> pb::GetStatusResponse {
    let info = &mesh.info;
    let store_bytes = info.store.size_bytes();
    let state = mesh.view.read();
    pb::GetStatusResponse {
        header: mesh.header(state.revision()),
        version: info.version.to_owned(),
        pid: info.pid,
        start_time: Some(timestamp(info.started)),
        store_path: info.store_path.display().to_string(),
        store_bytes,
        endpoints: info.endpoints.clone(),
        oldest_revision: mesh.events.oldest().0,
        scopes: count(state.scope_count()),
        peers_online: count(state.peers.online_count()),
        peers_known: count(state.peers.known_count()),
        locks: count(state.locks.count()),
        entries: state.entries.count() as u64,
        messages: state.messages.count() as u64,
        watches: count(mesh.watches.count()),
        auto_started: info.auto_started,
        idle_exit: info.idle_exit.map(duration),
    }
}

fn stop(mesh: &Mesh, caller: &Caller) -> Result<pb::StopResponse, Refusal> {
    caller.require_unix_socket("the broker is stopped")?;
    mesh.shutdown.cancel();
    Ok(pb::StopResponse { header: mesh.header(mesh.view.revision()) })
}
