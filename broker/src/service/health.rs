//! The standard health service: serving while a write and a read work, until the broker begins to end.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::probe::Health as Probed;
use crate::vitals::Vitals;

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

/// How often whoever watches has the broker prove that it works.
const EVERY: Duration = Duration::from_secs(15);

/// Knows whether the broker works, and whether it is ending.
#[derive(Clone, Debug)]
pub(super) struct Health {
    vitals: Arc<Vitals>,
    shutdown: CancellationToken,
}

impl Health {
    pub(super) fn new(vitals: Arc<Vitals>, shutdown: CancellationToken) -> Self {
        Self { vitals, shutdown }
    }

    async fn status(&self) -> HealthCheckResponse {
        let works =
            !self.shutdown.is_cancelled() && matches!(self.vitals.probe.look().await, Probed::Works(_));
        let status = if works && !self.shutdown.is_cancelled() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        HealthCheckResponse { status: status.into() }
    }
}

fn known(request: &Request<HealthCheckRequest>) -> Result<(), Status> {
    if SERVICES.contains(&request.get_ref().service.as_str()) {
        return Ok(());
    }
    Err(Status::not_found("this broker has no such service"))
}

#[tonic::async_trait]
impl tonic_health::pb::health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        known(&request)?;
        Ok(Response::new(self.status().await))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        known(&request)?;
        let health = self.clone();
        Ok(Response::new(Box::pin(async_stream::stream! {
            let mut told = None;
            loop {
                let ending = health.shutdown.is_cancelled();
                let status = health.status().await;
                if told != Some(status.status) {
                    told = Some(status.status);
                    yield Ok(status);
                }
                if ending {
                    return;
                }
                tokio::select! {
                    () = health.shutdown.cancelled() => {}
                    () = tokio::time::sleep(EVERY) => {}
                }
            }
        })))
    }
}
