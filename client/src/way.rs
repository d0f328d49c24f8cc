//! The way to a broker, as the generated clients see it: a connection, or whatever a caller brings in its place.
//!
//! What must hold: a failure of the way is never mistaken for an answer of the broker.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tonic::transport::Channel;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service};

/// A way to a broker that is not a connection: a simulated network, say. Its errors are failures of the transport.
pub type Lane = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// A way to the broker.
#[derive(Clone, Debug)]
pub struct Way(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Connection(Channel),
    Lane(Lane),
}

/// The way failed; the source says how.
#[derive(Debug)]
pub struct WayError(BoxError);

impl fmt::Display for WayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the way to the broker failed")
    }
}

impl Error for WayError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.as_ref())
    }
}

impl Way {
    pub(crate) fn connection(channel: Channel) -> Self {
        Self(Kind::Connection(channel))
    }

    pub(crate) fn lane(lane: Lane) -> Self {
        Self(Kind::Lane(lane))
    }
}

impl Service<Request<Body>> for Way {
    type Response = Response<Body>;
    type Error = WayError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, WayError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), WayError>> {
        match &mut self.0 {
            Kind::Connection(channel) => channel.poll_ready(context).map_err(|error| WayError(error.into())),
            Kind::Lane(lane) => lane.poll_ready(context).map_err(WayError),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match &mut self.0 {
            Kind::Connection(channel) => {
                let answer = channel.call(request);
                Box::pin(async move { answer.await.map_err(|error| WayError(error.into())) })
            }
            Kind::Lane(lane) => {
                let answer = lane.call(request);
                Box::pin(async move { answer.await.map_err(WayError) })
            }
        }
    }
}
