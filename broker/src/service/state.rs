//! Versioned entries: what agents remember together.

mod read;
mod write;

use mesh_proto::v1 as pb;
use pb::state_service_server::StateService;
use tonic::{Request, Response, Status};

use super::{Mesh, answer};

#[tonic::async_trait]
impl StateService for Mesh {
    async fn put(&self, request: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        answer(request, |caller, request| write::put(self, caller, request)).await
    }

    async fn get(&self, request: Request<pb::GetRequest>) -> Result<Response<pb::GetResponse>, Status> {
        answer(request, |caller, request| async move { read::get(self, &caller, &request) }).await
    }

    async fn list_entries(
        &self,
        request: Request<pb::ListEntriesRequest>,
    ) -> Result<Response<pb::ListEntriesResponse>, Status> {
        answer(request, |caller, request| read::list(self, caller, request)).await
    }

    async fn search_entries(
        &self,
        request: Request<pb::SearchEntriesRequest>,
    ) -> Result<Response<pb::SearchEntriesResponse>, Status> {
        answer(request, |caller, request| read::search(self, caller, request)).await
    }

    async fn list_versions(
        &self,
        request: Request<pb::ListVersionsRequest>,
    ) -> Result<Response<pb::ListVersionsResponse>, Status> {
        answer(request, |caller, request| async move { read::versions(self, &caller, &request) }).await
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteRequest>,
    ) -> Result<Response<pb::DeleteResponse>, Status> {
        answer(request, |caller, request| write::delete(self, caller, request)).await
    }

    async fn restore(
        &self,
        request: Request<pb::RestoreRequest>,
    ) -> Result<Response<pb::RestoreResponse>, Status> {
        answer(request, |caller, request| write::restore(self, caller, request)).await
    }

    async fn transact(
        &self,
        request: Request<pb::TransactRequest>,
    ) -> Result<Response<pb::TransactResponse>, Status> {
        answer(request, |caller, request| write::transact(self, caller, request)).await
    }

    async fn set_policy(
        &self,
        request: Request<pb::SetPolicyRequest>,
    ) -> Result<Response<pb::SetPolicyResponse>, Status> {
        answer(request, |caller, request| write::set_policy(self, caller, request)).await
    }

    async fn list_policies(
        &self,
        request: Request<pb::ListPoliciesRequest>,
    ) -> Result<Response<pb::ListPoliciesResponse>, Status> {
        answer(request, |caller, request| async move { read::policies(self, &caller, &request) }).await
    }
}
