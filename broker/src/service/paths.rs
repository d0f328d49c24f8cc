//! What is known about a path, and who has touched it.

use mesh_proto::v1 as pb;
use pb::path_service_server::PathService;
use tonic::{Request, Response, Status};

use super::Mesh;

#[tonic::async_trait]
impl PathService for Mesh {
    async fn describe_path(
        &self,
        request: Request<pb::DescribePathRequest>,
    ) -> Result<Response<pb::DescribePathResponse>, Status> {
        drop(request);
        Err(Status::unimplemented("STUB"))
    }

    async fn touch_files(
        &self,
        request: Request<pb::TouchFilesRequest>,
    ) -> Result<Response<pb::TouchFilesResponse>, Status> {
        drop(request);
        Err(Status::unimplemented("STUB"))
    }
}
