//! Tokens: issued, listed and taken back by admins.

use mesh_core::command::Command;
use mesh_core::id::CredentialId;
use mesh_core::outcome::Outcome;
use mesh_core::record::TokenRecord;
use mesh_proto::v1 as pb;
use pb::token_service_server::TokenService;
use tonic::{Request, Response, Status};

use super::auth::{Caller, Secret};
use super::convert::{request_key, timestamp, tokens as convert};
use super::status::Refusal;
use super::{Mesh, answer, misfit};

#[tonic::async_trait]
impl TokenService for Mesh {
    async fn create_token(
        &self,
        request: Request<pb::CreateTokenRequest>,
    ) -> Result<Response<pb::CreateTokenResponse>, Status> {
        answer(request, |caller, request| create(self, caller, request)).await
    }

    async fn list_tokens(
        &self,
        request: Request<pb::ListTokensRequest>,
    ) -> Result<Response<pb::ListTokensResponse>, Status> {
        answer(request, |_, _| async move { Ok(list(self)) }).await
    }

    async fn revoke_token(
        &self,
        request: Request<pb::RevokeTokenRequest>,
    ) -> Result<Response<pb::RevokeTokenResponse>, Status> {
        answer(request, |caller, request| revoke(self, caller, request)).await
    }
}

async fn create(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::CreateTokenRequest,
) -> Result<pb::CreateTokenResponse, Refusal> {
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("CreateToken", &id, &request)?;
    let secret = Secret::draw()?;
    let token = convert::create(request, secret.id.clone(), secret.digest())?;
    let command = Command::CreateToken(Box::new(token));
    let reply = mesh.submit(caller.without_session(), key, command).await?;
    let Outcome::TokenCreated { token } = reply.outcome else { return Err(misfit("CreateToken")) };
    mesh.passes.note_change();
    // A repeat is told of the token that there is, whose secret nobody knows but who was told it first.
    let secret = if token.id == secret.id { secret.text } else { String::new() };
    let header = mesh.header(reply.revision);
    Ok(pb::CreateTokenResponse { header, token: Some(shown(mesh, &token)), secret })
}

fn list(mesh: &Mesh) -> pb::ListTokensResponse {
    let (revision, tokens) = {
        let state = mesh.view.read();
        (state.revision(), state.tokens.list().cloned().collect::<Vec<_>>())
    };
    let tokens = tokens.iter().map(|token| shown(mesh, token)).collect();
    pb::ListTokensResponse { header: mesh.header(revision), tokens }
}

/// Runs to its end even when its caller is gone: a token that is taken back ends what goes on under it.
async fn revoke(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::RevokeTokenRequest,
) -> Result<pb::RevokeTokenResponse, Refusal> {
    let key_id = std::mem::take(&mut request.request_id);
    let key = request_key("RevokeToken", &key_id, &request)?;
    let id = CredentialId::parse(&request.id)?;
    let mesh = mesh.clone();
    let revoking = tokio::spawn(async move {
        let command = Command::RevokeToken { id: id.clone() };
        let reply = mesh.submit(caller.without_session(), key, command).await?;
        mesh.passes.end(&id);
        mesh.passes.note_change();
        let Outcome::Done = reply.outcome else { return Err(misfit("RevokeToken")) };
        Ok(pb::RevokeTokenResponse { header: mesh.header(reply.revision) })
    });
    // The task ends early only with the runtime.
    revoking.await.map_err(|_| Refusal::Draining)?
}

/// A token as it is now.
fn shown(mesh: &Mesh, token: &TokenRecord) -> pb::AccessToken {
    pb::AccessToken {
        last_used_time: mesh.passes.last_used(&token.id).map(timestamp),
        expired: token.is_over(mesh.clock.now().wall),
        ..convert::token(token)
    }
}
