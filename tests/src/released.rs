//! Clients of the contract as it was last released: what programs out there use.

use std::path::PathBuf;

use hyper_util::rt::TokioIo;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Generated from `proto/baseline.binpb`.
#[expect(clippy::all, clippy::pedantic, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("mesh.v1");
}

/// What carries the calls of such a client.
pub type Wire = InterceptedService<Channel, SessionToken>;

/// Adds the token of a session to every call, once there is one.
#[derive(Clone, Debug, Default)]
pub struct SessionToken(Option<String>);

impl Interceptor for SessionToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("mesh-session", token.parse().expect("a token is ASCII"));
        }
        Ok(request)
    }
}

/// A connection through a Unix socket, made with the first call, and on behalf of a session if its token is given.
#[must_use]
pub fn wire(socket: PathBuf, session: Option<&str>) -> Wire {
    let connect = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://mesh").connect_with_connector_lazy(connect);
    InterceptedService::new(channel, SessionToken(session.map(str::to_owned)))
}
