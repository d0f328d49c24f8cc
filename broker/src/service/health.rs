//! The standard health service: serving until the broker begins to end.

use std::pin::Pin;

use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// The packages and services whose health can be asked; all are as well as the broker.
const SERVICES: [&str; 9] = [
    "",
    "mesh.v1.PeerService",
    "mesh.v1.MessageService",
    "mesh.v1.StateService",
    "mesh.v1.LockService",
    "mesh.v1.PathService",
    "mesh.v1.EventService",
    "mesh.v1.TokenService",
    "mesh.v1.AdminService",
];

/// Knows whether the broker is ending.
#[derive(Debug)]
pub(super) struct Health {
    shutdown: CancellationToken,
}

impl Health {
    pub(super) fn new(shutdown: CancellationToken) -> Self {
        Self { shutdown }
    }
}

fn known(request: &Request<HealthCheckRequest>) -> Result<(), Status> {
    if SERVICES.contains(&request.get_ref().service.as_str()) {
        return Ok(());
    }
    Err(Status::not_found("this broker has no such service"))
}

fn status(shutdown: &CancellationToken) -> HealthCheckResponse {
    let status = if shutdown.is_cancelled() { ServingStatus::NotServing } else { ServingStatus::Serving };
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl tonic_health::pb::health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        known(&request)?;
        Ok(Response::new(status(&self.shutdown)))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        known(&request)?;
        let shutdown = self.shutdown.clone();
        Ok(Response::new(Box::pin(async_stream::stream! {
            let first = status(&shutdown);
            yield Ok(first);
            if first.status == i32::from(ServingStatus::Serving) {
                shutdown.cancelled().await;
                yield Ok(status(&shutdown));
            }
        })))
    }
}
