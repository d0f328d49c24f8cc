//! A deadline for every call: none is held by a disk that does not answer, or by a caller that does not finish its
//! request. What must hold: a call that waits by its nature has the longest wait and a little more; a caller's own
//! deadline (`grpc-timeout`) ends a call sooner, which is the transport's doing.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use mesh_core::limits;
use mesh_core::time::Millis;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::status::Refusal;

/// The calls that wait.
const WAITING: [&str; 5] = [
    "/mesh.v1.EventService/Wait",
    "/mesh.v1.EventService/ListEvents",
    "/mesh.v1.LockService/AcquireLocks",
    "/mesh.v1.MessageService/Ask",
    "/mesh.v1.MessageService/ListMessages",
];

/// Gives every call a deadline.
#[derive(Clone, Copy, Debug)]
pub struct Deadline;

/// A service whose calls have one.
#[derive(Clone, Debug)]
pub struct Limited<S>(S);

impl<S> Layer<S> for Deadline {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited(inner)
    }
}

impl<S, Q> Service<http::Request<Q>> for Limited<S>
where
    S: Service<http::Request<Q>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        let longest = longest(request.uri().path());
        let call = self.0.call(request);
        Box::pin(async move {
            match tokio::time::timeout(longest, call).await {
                Ok(answer) => answer,
                Err(_) => Ok(Status::from(Refusal::Slow).into_http()),
            }
        })
    }
}

/// How long a call may take before its answer, or its stream, begins.
fn longest(path: &str) -> Duration {
    let (longest_condition, _) = limits::WAIT_CONDITION;
    let wait = if WAITING.contains(&path) { longest_condition.max(limits::LOCK_WAIT) } else { Millis::ZERO };
    Duration::from_millis(wait.0 + limits::CALL.0)
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tower::service_fn;

    use super::*;

    async fn ended_after(path: &str) -> Duration {
        let hanging = service_fn(|_: http::Request<()>| {
            std::future::pending::<Result<http::Response<Body>, std::convert::Infallible>>()
        });
        let begun = tokio::time::Instant::now();
        let request = http::Request::builder().uri(path).body(()).unwrap();
        let answer = Deadline.layer(hanging).call(request).await.unwrap();
        let status = Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), Code::Unavailable);
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_is_answered() {
        let (short, long) = (Duration::from_secs(30), Duration::from_secs(3_630));
        for path in ["/mesh.v1.StateService/Put", "/mesh.v1.EventService/Watch", "/unknown"] {
            assert_eq!(ended_after(path).await.as_secs(), short.as_secs(), "{path}");
        }
        for path in WAITING {
            assert_eq!(ended_after(path).await.as_secs(), long.as_secs(), "{path}");
        }
    }

    #[test]
    fn the_calls_that_wait_are_calls_of_the_contract() {
        let contract = mesh_proto::FILE_DESCRIPTOR_SET;
        for path in WAITING {
            let method = path.rsplit('/').next().unwrap().as_bytes();
            assert!(contract.windows(method.len()).any(|at| at == method), "{path}");
        }
    }
}
