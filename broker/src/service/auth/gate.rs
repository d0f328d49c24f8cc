//! The gate before every service: who calls, whether its role allows it, and what ends it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use mesh_core::Rejection;
use mesh_core::id::SessionId;
use mesh_proto::SESSION_METADATA;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use super::authority::{Known, bearer, id_of};
use super::{Authority, Caller, ConnectionInfo, Principal, UNKNOWN_CONNECTION, rules};
use crate::service::Mesh;
use crate::service::rate::{Pace, Rates};
use crate::service::status::Refusal;

/// What somebody is told whose token is over.
const OVER: Refusal =
    Refusal::Unauthenticated("the token was revoked or has expired; ask who runs the mesh for another");

/// What every call passes first.
#[derive(Clone, Debug)]
pub struct Gate {
    authority: Arc<Authority>,
    mesh: Arc<Mesh>,
    /// Closes the gate.
    closing: CancellationToken,
    refused: Arc<RefusalLog>,
    rates: Rates,
}

/// A service behind the gate.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    service: S,
    gate: Gate,
}

impl Gate {
    /// A gate that closes when the mesh shuts down.
    #[must_use]
    pub fn new(authority: Arc<Authority>, mesh: &Mesh) -> Self {
        Self {
            authority,
            mesh: Arc::new(mesh.clone()),
            closing: mesh.shutdown.clone(),
            refused: Arc::default(),
            rates: Rates::new(),
        }
    }

    /// The same gate, but one that does not close: to ask after a broker that is going.
    #[must_use]
    pub fn always_open(&self) -> Self {
        Self { closing: CancellationToken::new(), ..self.clone() }
    }

    /// Puts a service behind the gate.
    pub fn guard<S>(&self, service: S) -> Guarded<S> {
        Guarded { service, gate: self.clone() }
    }

    fn admit<B>(&self, request: &Request<B>) -> Result<Caller, Refusal> {
        let connection = request.extensions().get::<ConnectionInfo>().cloned().ok_or(UNKNOWN_CONNECTION)?;
        let principal = self.authenticate(&connection, request.headers())?;
        let (path, role) = (request.uri().path(), principal.role());
        let least = rules::least_role(path);
        if role < least {
            let (has, needs) = (rules::name(role), rules::name(least));
            let what = format!("{path} needs the role {needs}, and this token has the role {has}");
            return Err(Rejection::PermissionDenied { what }.into());
        }
        let session = request.headers().get(SESSION_METADATA);
        let session = session.map(|token| self.mesh.tokens.verify(token.as_bytes())).transpose()?;
        if let Some(session) = session {
            self.check_session(&principal, session)?;
            // Whoever is only told to come back is alive as well: the last commits may take longer than its lease.
            self.mesh.leases.touch(session);
        }
        if self.closing.is_cancelled() {
            return Err(Refusal::Draining);
        }
        Ok(Caller { principal, session, connection })
    }

    fn authenticate(&self, connection: &ConnectionInfo, headers: &HeaderMap) -> Result<Principal, Refusal> {
        let Mesh { view, clock, passes, .. } = &*self.mesh;
        self.authority.admit(connection.transport, headers, &Known { view, clock, passes })
    }

    /// Who is not let in is kept to a rate as well.
    fn pace_of_stranger<B>(&self, request: &Request<B>) -> Pace {
        let connection = request.extensions().get::<ConnectionInfo>();
        connection.map_or(Pace::Now, |connection| self.rates.count_stranger(&connection.alive))
    }

    /// Tells whoever reads the log that a credential was refused.
    fn tell<B>(&self, request: &Request<B>, refusal: &Refusal) {
        if !matches!(refusal, Refusal::Unauthenticated(_) | Refusal::Rejected(Rejection::CredentialOver)) {
            return;
        }
        let Some(unheard) = self.refused.is_due(self.mesh.clock.at().0) else { return };
        let transport = request.extensions().get::<ConnectionInfo>().map(|connection| connection.transport);
        // An id is no secret, and what is none is not shown.
        let token = bearer(request.headers()).and_then(id_of);
        let token = token.as_ref().map_or("none that could be known", |id| id.as_str());
        tracing::warn!(?transport, token, %refusal, unheard, "somebody was not let in");
    }

    /// A session belongs to the credential that joined it, and to the broker's own user.
    fn check_session(&self, principal: &Principal, session: SessionId) -> Result<(), Refusal> {
        if principal.credential.is_owner() {
            return Ok(());
        }
        let state = self.mesh.view.read();
        let is_others =
            state.peers.by_session(session).is_some_and(|peer| peer.credential != principal.credential);
        if is_others {
            return Err(Refusal::Unauthenticated("the session is not of this token; join again"));
        }
        Ok(())
    }
}

/// Lets a line into the log once a second, so that whoever tries a lot does not fill the disk.
#[derive(Debug, Default)]
struct RefusalLog {
    /// When the next line may be, in milliseconds of mesh time.
    next: AtomicU64,
    /// How many there were since the last.
    quiet: AtomicU64,
}

impl RefusalLog {
    /// How many refusals were not told of before this one, if this one is to be.
    fn is_due(&self, now: u64) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        let mine = now >= next
            && self.next.compare_exchange(next, now + 1_000, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if mine {
            return Some(self.quiet.swap(0, Ordering::Relaxed));
        }
        self.quiet.fetch_add(1, Ordering::Relaxed);
        None
    }
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let caller = match self.gate.admit(&request) {
            Ok(caller) => caller,
            Err(refusal) => {
                self.gate.tell(&request, &refusal);
                let pace = self.gate.pace_of_stranger(&request);
                return Box::pin(async move {
                    let refusal = pace.keep().await.err().unwrap_or(refusal);
                    Ok(Status::from(refusal).into_http())
                });
            }
        };
        let over = caller.principal.over.clone();
        request.extensions_mut().insert(self.gate.rates.count(&caller));
        request.extensions_mut().insert(caller);
        let call = self.service.call(request);
        let Some(over) = over else { return Box::pin(call) };
        Box::pin(async move {
            let answer = tokio::select! {
                biased;
                () = over.cancelled() => return Ok(Status::from(OVER).into_http()),
                answer = call => answer?,
            };
            Ok(answer.map(|body| Body::new(Ending::new(body, over))))
        })
    }
}

/// The body of an answer, which ends when the token of its caller is over.
#[derive(Debug)]
struct Ending {
    body: Body,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
}

impl Ending {
    fn new(body: Body, over: CancellationToken) -> Self {
        Self { body, over: Box::pin(over.cancelled_owned()), ended: false }
    }
}

impl http_body::Body for Ending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.over.as_mut().poll(cx).is_ready() {
            self.ended = true;
            // Lets go of the stream behind it at once.
            self.body = Body::empty();
            let mut trailers = HeaderMap::new();
            Status::from(OVER).add_header(&mut trailers)?;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.ended = frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_tries_a_lot_does_not_fill_the_log() {
        let log = RefusalLog::default();
        assert_eq!(log.is_due(0), Some(0));
        for now in 0..999 {
            assert_eq!(log.is_due(now), None);
        }
        assert_eq!(log.is_due(1_000), Some(999));
        assert_eq!(log.is_due(3_000), Some(0));
    }
}
