//! What is known about a path, and who has touched it.

use mesh_core::command::Command;
use mesh_core::limits;
use mesh_core::outcome::Outcome;
use mesh_core::state::deadlines::Due;
use mesh_core::target::Target;
use mesh_proto::v1 as pb;
use pb::path_service_server::PathService;
use tonic::{Request, Response, Status};

use super::auth::Caller;
use super::convert::locks::{self, LockStatus};
use super::convert::{paths as convert, request_key, size, touches};
use super::status::Refusal;
use super::{Mesh, answer, misfit};

#[tonic::async_trait]
impl PathService for Mesh {
    async fn describe_path(
        &self,
        request: Request<pb::DescribePathRequest>,
    ) -> Result<Response<pb::DescribePathResponse>, Status> {
        answer(request, |caller, request| async move { describe(self, &caller, &request) }).await
    }

    async fn touch_files(
        &self,
        request: Request<pb::TouchFilesRequest>,
    ) -> Result<Response<pb::TouchFilesResponse>, Status> {
        answer(request, |caller, request| touch(self, caller, request)).await
    }
}

fn describe(
    mesh: &Mesh,
    caller: &Caller,
    request: &pb::DescribePathRequest,
) -> Result<pb::DescribePathResponse, Refusal> {
    let path = Target::parse("path", &request.path)?;
    let (usual, most) = limits::ABOUT;
    let limit = if request.limit == 0 { usual } else { size(request.limit).min(most) };
    let now = mesh.clock.at();
    let (revision, about, locks, intents, waiters) = {
        let state = mesh.view.read();
        let scope = mesh.one_scope(&state, caller, &request.scope)?;
        let reader = caller.session.and_then(|session| state.peers.by_session(session));
        let about =
            state.about(&scope, &path, reader.filter(|reader| reader.scope == scope).map(|r| &**r), limit);
        let status = |lock| LockStatus::from(state.lock_status(lock, now));
        let locks: Vec<_> = about.locks.iter().map(|lock| status(lock)).collect();
        let intents: Vec<_> = about.intents.iter().map(|(lock, _)| status(lock)).collect();
        let left = |ticket| state.remaining(&Due::Waiter(ticket), now).unwrap_or_default();
        let waiters: Vec<_> = about.waiters.iter().map(|waiter| left(waiter.ticket)).collect();
        (state.revision(), about, locks, intents, waiters)
    };
    let intents = about.intents.iter().zip(intents);
    let waiters = about.waiters.iter().zip(waiters);
    let mut answer = pb::DescribePathResponse {
        header: mesh.header(revision),
        path: path.to_string(),
        locks: about.locks.iter().zip(locks).map(|(lock, status)| locks::lock(lock, status)).collect(),
        waiters: waiters.map(|(waiter, left)| locks::waiter(waiter, left)).collect(),
        release_requests: about.release_requests.iter().map(|ask| locks::release_request(ask)).collect(),
        intents: intents.map(|((lock, text), status)| convert::intent(lock, status, text.as_ref())).collect(),
        entries: about.entries.iter().map(|entry| convert::entry(entry)).collect(),
        activity: about.activity.iter().map(|touch| convert::activity(touch)).collect(),
        peers: about.peers.iter().map(|peer| mesh.peer(peer)).collect(),
        messages: about.messages.iter().map(|message| convert::message(message)).collect(),
        more: about.more.iter().map(|name| (*name).to_owned()).collect(),
    };
    convert::cut(&mut answer);
    // What is left out was not read, nor a value whose end is.
    let contracts =
        about.intents.iter().take(answer.intents.len()).filter_map(|(_, contract)| contract.as_ref());
    let entries = about.entries.iter().take(answer.entries.len());
    let whole = entries.chain(contracts).filter(|entry| convert::is_shown_whole(entry));
    mesh.reads.note_entries(caller.session.filter(|_| !request.peek), whole);
    Ok(answer)
}

async fn touch(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::TouchFilesRequest,
) -> Result<pb::TouchFilesResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("TouchFiles", &id, &request)?;
    let command = Command::Touch(touches::touch_files(request)?);
    let reply = mesh.submit(caller.by(session), key, command).await?;
    let Outcome::Done = reply.outcome else { return Err(misfit("TouchFiles")) };
    Ok(pb::TouchFilesResponse { header: mesh.header(reply.revision) })
}
