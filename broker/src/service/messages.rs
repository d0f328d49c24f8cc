//! Messages between peers, and their inboxes.

mod feed;
mod inbox;
mod send;
mod wait;
mod way;

use mesh_proto::v1 as pb;
use pb::message_service_server::MessageService;
use tonic::{Request, Response, Status};

use super::{Mesh, answer};

#[tonic::async_trait]
impl MessageService for Mesh {
    async fn send(&self, request: Request<pb::SendRequest>) -> Result<Response<pb::SendResponse>, Status> {
        answer(request, |caller, request| send::send(self, caller, request)).await
    }

    async fn ask(&self, request: Request<pb::AskRequest>) -> Result<Response<pb::AskResponse>, Status> {
        answer(request, |caller, request| send::ask(self, caller, request)).await
    }

    async fn list_messages(
        &self,
        request: Request<pb::ListMessagesRequest>,
    ) -> Result<Response<pb::ListMessagesResponse>, Status> {
        answer(request, |caller, request| inbox::list(self, caller, request)).await
    }

    async fn acknowledge_messages(
        &self,
        request: Request<pb::AcknowledgeMessagesRequest>,
    ) -> Result<Response<pb::AcknowledgeMessagesResponse>, Status> {
        answer(request, |caller, request| inbox::acknowledge(self, caller, request)).await
    }

    async fn get_receipts(
        &self,
        request: Request<pb::GetReceiptsRequest>,
    ) -> Result<Response<pb::GetReceiptsResponse>, Status> {
        answer(request, |caller, request| async move { way::receipts(self, &caller, &request) }).await
    }

    async fn report_wake(
        &self,
        request: Request<pb::ReportWakeRequest>,
    ) -> Result<Response<pb::ReportWakeResponse>, Status> {
        answer(request, |caller, request| async move { way::report_wake(self, &caller, request) }).await
    }

    async fn list_feed(
        &self,
        request: Request<pb::ListFeedRequest>,
    ) -> Result<Response<pb::ListFeedResponse>, Status> {
        answer(request, |caller, request| async move { feed::list(self, &caller, request) }).await
    }

    async fn follow_topics(
        &self,
        request: Request<pb::FollowTopicsRequest>,
    ) -> Result<Response<pb::FollowTopicsResponse>, Status> {
        answer(request, |caller, request| feed::follow(self, caller, request)).await
    }

    async fn list_topics(
        &self,
        request: Request<pb::ListTopicsRequest>,
    ) -> Result<Response<pb::ListTopicsResponse>, Status> {
        answer(request, |caller, request| async move { feed::topics(self, &caller, &request) }).await
    }
}
