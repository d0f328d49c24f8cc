//! Writing entries: where no precondition is given, what the session last read takes its place.

use std::sync::Arc;

use mesh_core::Rejection;
use mesh_core::command::{Command, Operation, Precondition};
use mesh_core::id::{EntryKey, ScopeId, SessionId};
use mesh_core::outcome::{EntryMeta, Outcome};
use mesh_core::record::{EntryRecord, PolicyKind};
use mesh_core::revision::Version;
use mesh_proto::v1 as pb;

use crate::queue::Reply;
use crate::service::auth::Caller;
use crate::service::convert::{RequestKey, entries as convert, request_key};
use crate::service::status::{Refusal, shows_values};
use crate::service::{Mesh, misfit};

pub(super) async fn put(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::PutRequest,
) -> Result<pb::PutResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("Put", &id, &request)?;
    let mut put = convert::put(request)?;
    check_scope(&caller, put.scope.as_ref())?;
    Knowledge::of(mesh, session, put.scope.as_ref()).fill_in(&put.key, &mut put.precondition);
    let reply = submit(mesh, &caller, session, key, Command::Put(put)).await?;
    let Outcome::Written(meta) = reply.outcome else { return Err(misfit("Put")) };
    Ok(pb::PutResponse { header: mesh.header(reply.revision), entry: Some(written(mesh, session, meta)) })
}

pub(super) async fn delete(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::DeleteRequest,
) -> Result<pb::DeleteResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("Delete", &id, &request)?;
    let mut delete = convert::delete(&request)?;
    check_scope(&caller, delete.scope.as_ref())?;
    Knowledge::of(mesh, session, delete.scope.as_ref()).fill_in(&delete.key, &mut delete.precondition);
    let reply = submit(mesh, &caller, session, key, Command::Delete(delete)).await?;
    let Outcome::Deleted = reply.outcome else { return Err(misfit("Delete")) };
    Ok(pb::DeleteResponse { header: mesh.header(reply.revision) })
}

pub(super) async fn restore(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::RestoreRequest,
) -> Result<pb::RestoreResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("Restore", &id, &request)?;
    let mut restore = convert::restore(&request)?;
    check_scope(&caller, restore.scope.as_ref())?;
    Knowledge::of(mesh, session, restore.scope.as_ref()).fill_in(&restore.key, &mut restore.precondition);
    let reply = submit(mesh, &caller, session, key, Command::Restore(restore)).await?;
    let Outcome::Written(meta) = reply.outcome else { return Err(misfit("Restore")) };
    Ok(pb::RestoreResponse { header: mesh.header(reply.revision), entry: Some(written(mesh, session, meta)) })
}

pub(super) async fn transact(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::TransactRequest,
) -> Result<pb::TransactResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("Transact", &id, &request)?;
    let mut transact = convert::transact(request)?;
    check_scope(&caller, transact.scope.as_ref())?;
    let knowledge = Knowledge::of(mesh, session, transact.scope.as_ref());
    for operation in &mut transact.operations {
        match operation {
            Operation::Put(put) => knowledge.fill_in(&put.key, &mut put.precondition),
            Operation::Delete(delete) => knowledge.fill_in(&delete.key, &mut delete.precondition),
            Operation::Check { .. } => {}
        }
    }
    let reply = submit(mesh, &caller, session, key, Command::Transact(transact)).await?;
    let Outcome::Transacted(metas) = reply.outcome else { return Err(misfit("Transact")) };
    Ok(pb::TransactResponse {
        header: mesh.header(reply.revision),
        entries: metas.into_iter().map(|meta| written(mesh, session, meta)).collect(),
    })
}

pub(super) async fn set_policy(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::SetPolicyRequest,
) -> Result<pb::SetPolicyResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("SetPolicy", &id, &request)?;
    let policy = convert::set_policy(request)?;
    check_scope(&caller, policy.scope.as_ref())?;
    let reply = mesh.submit(caller.by(session), key, Command::SetPolicy(policy)).await?;
    let Outcome::Done = reply.outcome else { return Err(misfit("SetPolicy")) };
    Ok(pb::SetPolicyResponse { header: mesh.header(reply.revision) })
}

/// Refuses a scope that the caller may not see; the session's own it sees.
fn check_scope(caller: &Caller, named: Option<&ScopeId>) -> Result<(), Rejection> {
    named.map_or(Ok(()), |scope| caller.principal.check_scope(scope))
}

/// What a session has read of the scope that it writes to.
struct Knowledge<'a> {
    mesh: &'a Mesh,
    session: SessionId,
    /// None when the session has ended: then the writer refuses, or knows the request.
    scope: Option<ScopeId>,
}

impl<'a> Knowledge<'a> {
    /// In the scope named, or else the session's own.
    fn of(mesh: &'a Mesh, session: SessionId, named: Option<&ScopeId>) -> Self {
        let own = || mesh.view.read().peers.by_session(session).map(|peer| peer.scope.clone());
        Self { mesh, session, scope: named.cloned().or_else(own) }
    }

    /// Puts what was last read of the key where no precondition was given.
    fn fill_in(&self, key: &EntryKey, precondition: &mut Precondition) {
        if *precondition == Precondition::LastRead(None) {
            let read = self.scope.as_ref().and_then(|scope| self.mesh.reads.last(self.session, scope, key));
            *precondition = Precondition::LastRead(read);
        }
    }
}

/// Asks the writer. The value that a refusal shows was read by that.
async fn submit(
    mesh: &Mesh,
    caller: &Caller,
    session: SessionId,
    key: RequestKey,
    command: Command,
) -> Result<Reply, Refusal> {
    let answer = mesh.submit(caller.by(session), key, command).await;
    if let Err(Refusal::Rejected(
        Rejection::VersionMismatch(conflict) | Rejection::OverwriteNeedsVersion(conflict),
    )) = &answer
        && shows_values(conflict)
    {
        mesh.reads.note_entries(Some(session), [&conflict.theirs]);
    }
    answer
}

/// An entry as the session wrote it, and so has read it.
fn written(mesh: &Mesh, session: SessionId, meta: EntryMeta) -> pb::Entry {
    if knows(mesh, session, &meta) {
        mesh.reads.note(Some(session), &meta.scope, &meta.key, meta.revision);
    }
    convert::meta(meta)
}

/// Whether a session knows all of a value that it wrote. What was put together with the value before it knows only if
/// it had read that.
fn knows(mesh: &Mesh, session: SessionId, meta: &EntryMeta) -> bool {
    let state = mesh.view.read();
    match state.entries.policy(&meta.scope, &meta.key) {
        PolicyKind::RequireVersion | PolicyKind::LastWriteWins => return true,
        PolicyKind::MergePatch | PolicyKind::Append => {}
    }
    let had_read = |former: Arc<EntryRecord>| {
        mesh.reads.last(session, &meta.scope, &meta.key).is_some_and(|read| read >= former.revision)
    };
    let former = || state.entries.version(&meta.scope, &meta.key, Version(meta.version.0 - 1));
    meta.create_revision == meta.revision || former().is_some_and(had_read)
}
