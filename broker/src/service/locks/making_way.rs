//! Getting at locks that others hold: they are asked, they answer, or a person forces them.

use mesh_core::command::Command;
use mesh_core::outcome::Outcome;
use mesh_proto::v1 as pb;

use super::stand_to_wire;
use crate::service::auth::Caller;
use crate::service::convert::{locks as convert, paths, request_key};
use crate::service::status::Refusal;
use crate::service::{Mesh, misfit};

pub(super) async fn request(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::RequestReleaseRequest,
) -> Result<pb::RequestReleaseResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("RequestRelease", &id, &request)?;
    let command = Command::RequestRelease(convert::request_release(request)?);
    let reply = mesh.submit(caller.by(session), key, command).await?;
    let Outcome::ReleaseRequested { requests } = reply.outcome else { return Err(misfit("RequestRelease")) };
    Ok(pb::RequestReleaseResponse {
        header: mesh.header(reply.revision),
        requests: requests.iter().map(|request| convert::release_request(request)).collect(),
    })
}

pub(super) async fn answer(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::AnswerReleaseRequest,
) -> Result<pb::AnswerReleaseResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("AnswerRelease", &id, &request)?;
    let command = Command::AnswerRelease(convert::answer_release(request)?);
    let reply = mesh.submit(caller.by(session), key, command).await?;
    let Outcome::Released { targets, kept, .. } = reply.outcome else { return Err(misfit("AnswerRelease")) };
    Ok(pb::AnswerReleaseResponse {
        header: mesh.header(reply.revision),
        paths: paths(&targets),
        kept: stand_to_wire(mesh, kept),
    })
}

/// For people: it needs a role that agents are not given, and agents ask.
pub(super) async fn force(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::ForceReleaseRequest,
) -> Result<pb::ForceReleaseResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("ForceRelease", &id, &request)?;
    let reply = mesh.submit(caller.by(session), key, convert::force_release(request)?).await?;
    let Outcome::Forced { locks, remaining } = reply.outcome else { return Err(misfit("ForceRelease")) };
    Ok(pb::ForceReleaseResponse {
        header: mesh.header(reply.revision),
        locks: stand_to_wire(mesh, locks),
        remaining,
    })
}
