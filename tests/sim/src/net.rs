//! The network: what carries a client's calls to the broker that happens to run, and loses, doubles and delays them.
//!
//! A client's connection is one socket: when it breaks, every call and stream on it breaks, and the broker sees its end.
//! What must hold: whatever leaves the broker passes the watch at its door ([`crate::door`]) at the moment it leaves.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, Collected, Full, StreamBody};
use mesh_broker::service::auth::{ConnectionInfo, Transport};
use mesh_proto::SESSION_METADATA;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::{BoxError, Service, ServiceExt};

use crate::books::Shared;
use crate::dice::Dice;
use crate::door;
use crate::process::{Process, Town, UID};
use crate::weather::Weather;

/// Frames of a stream that are on their way.
const WINDOW: usize = 2;

/// One client's way to the broker.
#[derive(Clone, Debug)]
pub struct Wire(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    town: Town,
    books: Shared,
    weather: Weather,
    dice: Mutex<Dice>,
    connection: Mutex<Option<Connection>>,
    /// Held while nothing gets through in either direction.
    frozen: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Connection {
    alive: Arc<()>,
    cut: CancellationToken,
    process: Process,
}

/// What becomes of a call on its way.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Arrives,
    LostOnTheWay,
    AnswerLost,
    Twice,
}

impl Wire {
    /// A way for a client.
    #[must_use]
    pub fn new(name: &str, seed: u64, town: &Town, books: &Shared, weather: &Weather) -> Self {
        Self(Arc::new(Inner {
            name: name.to_owned(),
            town: town.clone(),
            books: books.clone(),
            weather: weather.clone(),
            dice: Mutex::new(Dice::of(seed, &format!("wire {name}"))),
            connection: Mutex::new(None),
            frozen: tokio::sync::Mutex::new(()),
        }))
    }

    /// Breaks the connection: both ends notice.
    pub fn cut(&self) {
        let connection = self.connection().take();
        if let Some(connection) = connection {
            connection.cut.cancel();
        }
    }

    /// Lets nothing through for a while.
    pub async fn freeze(&self, span: Duration) {
        let _held = self.0.frozen.lock().await;
        sleep(span).await;
    }

    async fn thaw(&self) {
        drop(self.0.frozen.lock().await);
    }

    fn dice<T>(&self, roll: impl FnOnce(&mut Dice) -> T) -> T {
        roll(&mut self.0.dice.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn connection(&self) -> std::sync::MutexGuard<'_, Option<Connection>> {
        self.0.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to the broker that runs, made anew if need be.
    fn connect(&self) -> Result<Connection, BoxError> {
        let process = self.0.town.process().ok_or("connection refused")?;
        let mut connection = self.connection();
        if let Some(open) = &*connection
            && open.process.epoch == process.epoch
        {
            return Ok(open.clone());
        }
        let fresh = Connection { alive: Arc::new(()), cut: CancellationToken::new(), process };
        *connection = Some(fresh.clone());
        Ok(fresh)
    }

    fn fate(&self) -> (Fate, Duration, Duration) {
        let weather = &self.0.weather;
        let calm = self.0.books.with(|books| books.calm);
        let (fate, late, there, back) = self.dice(|dice| {
            let fate = match dice.roll() % 10_000 {
                roll if roll < weather.lost => Fate::LostOnTheWay,
                roll if roll < 2 * weather.lost => Fate::AnswerLost,
                roll if roll < 2 * weather.lost + weather.twice => Fate::Twice,
                _ => Fate::Arrives,
            };
            let late = dice.happens(weather.late);
            (fate, late, dice.within(0, 9), dice.within(0, 9))
        });
        if calm {
            return (Fate::Arrives, Duration::from_millis(there), Duration::from_millis(back));
        }
        let late = if late { self.dice(|dice| dice.within(200, 4_000)) } else { 0 };
        if late > 0 {
            self.0.books.fault("late request");
        }
        match fate {
            Fate::Arrives => {}
            Fate::LostOnTheWay => self.0.books.fault("lost request"),
            Fate::AnswerLost => self.0.books.fault("lost reply"),
            Fate::Twice => self.0.books.fault("request twice"),
        }
        (fate, Duration::from_millis(there + late), Duration::from_millis(back))
    }

    async fn carry(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let (fate, there, back) = self.fate();
        sleep(there).await;
        self.thaw().await;
        if fate == Fate::LostOnTheWay {
            self.cut();
            return Err("connection reset".into());
        }
        if fate == Fate::Twice {
            let (again, parts, body) = (self.clone(), parts.clone(), body.clone());
            let later = self.dice(|dice| dice.millis(1, 400));
            tokio::spawn(async move {
                sleep(later).await;
                // Whoever asked has an answer, or none: this one is nobody's.
                let _ = again.deliver(parts, body).await;
            });
        }
        let answer = self.deliver(parts, body).await?;
        if fate == Fate::AnswerLost {
            self.cut();
            return Err("connection reset".into());
        }
        sleep(back).await;
        self.thaw().await;
        Ok(answer)
    }

    /// Hands a call to the broker and brings its answer to the door.
    async fn deliver(&self, parts: Parts, body: Bytes) -> Result<Response<Body>, BoxError> {
        let connection = self.connect()?;
        let Connection { cut, process, .. } = &connection;
        let session =
            parts.headers.get(SESSION_METADATA).and_then(|token| door::session_of(token.as_bytes()));
        let path = parts.uri.path().to_owned();
        let visit =
            door::Visit::new(&self.0.name, &path, body.clone(), session, &process.clock, &self.0.books);
        let mut request = Request::from_parts(parts, Body::new(Full::new(body)));
        request.extensions_mut().insert(caller(&connection));
        let routes = process.routes.clone();
        let arrived = visit.clone();
        let work = async move {
            // The gate takes note of a caller in the moment it is polled.
            arrived.arrive();
            routes.oneshot(request).await
        };
        let answer = process.inside(cut, work).await?.unwrap_or_else(|never| match never {});
        let (head, body) = answer.into_parts();
        if path == "/mesh.v1.EventService/Watch" && head.headers.get("grpc-status").is_none() {
            return Ok(Response::from_parts(head, self.stream(visit, &connection, body)));
        }
        let body: Collected<Bytes> = process.inside(cut, body.collect()).await??;
        let trailers = body.trailers().cloned();
        let body = body.to_bytes();
        visit.leave(&head.headers, trailers.as_ref(), &body);
        let body = Full::new(body).with_trailers(std::future::ready(trailers.map(Ok)));
        Ok(Response::from_parts(head, Body::new(body)))
    }

    /// Passes a stream on, as fast as its reader takes it.
    fn stream(&self, mut visit: door::Visit, connection: &Connection, mut body: Body) -> Body {
        let (sender, receiver) = mpsc::channel::<Result<http_body::Frame<Bytes>, BoxError>>(WINDOW);
        let (wire, connection) = (self.clone(), connection.clone());
        visit.stream_begins();
        tokio::spawn(async move {
            let Connection { cut, process, .. } = &connection;
            loop {
                let frame = tokio::select! {
                    biased;
                    () = sender.closed() => break,
                    frame = process.inside(cut, body.frame()) => frame,
                };
                let item = match frame {
                    Ok(None) => break,
                    Ok(Some(Ok(frame))) => {
                        visit.pass(&frame);
                        sleep(wire.dice(|dice| dice.millis(0, 5))).await;
                        wire.thaw().await;
                        Ok(frame)
                    }
                    Ok(Some(Err(status))) => Err(status.into()),
                    Err(gone) => Err(gone.into()),
                };
                let over = item.is_err();
                if sender.send(item).await.is_err() || over {
                    break;
                }
            }
            // The broker lets go of the stream before anybody can say that it is over.
            drop(body);
            visit.stream_ends();
        });
        Body::new(StreamBody::new(ReceiverStream::new(receiver)))
    }
}

/// What the broker's transport would know of a connection.
fn caller(connection: &Connection) -> ConnectionInfo {
    ConnectionInfo { transport: Transport::Unix { uid: UID }, alive: Arc::downgrade(&connection.alive) }
}

impl Service<Request<Body>> for Wire {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().carry(request))
    }
}
