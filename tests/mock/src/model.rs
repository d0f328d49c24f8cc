//! The server, its script and its memory.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::dialect::{Answer, Dialect};
use crate::request::{Purpose, Request};
use crate::turn::Turn;

/// A model of a test; it ends when it is dropped.
#[derive(Debug)]
pub struct Model {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    memory: Mutex<Memory>,
    /// How many requests there were; those who wait look here.
    count: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Memory {
    requests: Vec<Request>,
    scripts: Vec<Script>,
}

/// Turns for the requests that fit.
struct Script {
    fits: Box<dyn Fn(&Request) -> bool + Send>,
    turns: VecDeque<Turn>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("turns", &self.turns).finish_non_exhaustive()
    }
}

impl Model {
    /// Starts a model without a script, on a free port of loopback.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start() -> Self {
        let listener =
            TcpListener::bind(("127.0.0.1", 0)).await.unwrap_or_else(|error| panic!("no port: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("no address: {error}"));
        let shared = Arc::new(Shared { memory: Mutex::default(), count: watch::Sender::new(0) });
        let router = Router::new().fallback(serve).layer(DefaultBodyLimit::disable());
        let router = router.with_state(Arc::clone(&shared)).into_make_service();
        let server = tokio::spawn(async move {
            // It only ends with an error of the listener; the requests that then fail say so.
            let _ = axum::serve(listener, router).await;
        });
        Self { address, shared, server }
    }

    /// Its address, as hosts are configured with: without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the session itself is to do, after what it was told before. A session without a script says `ok`.
    pub fn script(&self, turns: impl IntoIterator<Item = Turn>) {
        self.script_when(Request::is_main, turns);
    }

    /// What the session's sub-agents are to do.
    pub fn script_subagents(&self, turns: impl IntoIterator<Item = Turn>) {
        let fits = |request: &Request| request.purpose == Purpose::Turn && request.subagent.is_some();
        self.script_when(fits, turns);
    }

    /// What is to be answered to requests that fit. Of all scripts that fit and have turns left, the oldest is used.
    pub fn script_when(
        &self,
        fits: impl Fn(&Request) -> bool + Send + 'static,
        turns: impl IntoIterator<Item = Turn>,
    ) {
        let script = Script { fits: Box::new(fits), turns: turns.into_iter().collect() };
        self.shared.memory().scripts.push(script);
    }

    /// All requests so far, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.memory().requests.clone()
    }

    /// Waits for a request that fits, which may have come already. It waits for ever: give it a deadline.
    pub async fn request(&self, fits: impl Fn(&Request) -> bool) -> Request {
        let mut count = self.shared.count.subscribe();
        loop {
            count.mark_unchanged();
            if let Some(found) = self.shared.memory().requests.iter().find(|request| fits(request)) {
                return found.clone();
            }
            // The sender lives as long as this model.
            let _ = count.changed().await;
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a request and finds the turn for it.
    fn take(&self, mut request: Request) -> (usize, Turn) {
        let mut memory = self.memory();
        let script =
            memory.scripts.iter_mut().find(|script| !script.turns.is_empty() && (script.fits)(&request));
        let turn = script.and_then(|script| script.turns.pop_front());
        request.scripted = turn.is_some();
        request.number = memory.requests.len();
        let number = request.number;
        memory.requests.push(request);
        drop(memory);
        self.count.send_modify(|count| *count += 1);
        (number, turn.unwrap_or_else(|| Turn::say("ok")))
    }
}

async fn serve(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let path = uri.path();
    let Some(dialect) = Dialect::of(path) else {
        return not_an_answer(path);
    };
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return (StatusCode::BAD_REQUEST, "the body is not JSON").into_response();
    };
    let request = Request::read(dialect, path, &headers, body.clone());
    let (number, mut turn) = shared.take(request);
    turn.is_due().await;
    match dialect.answer(number, path, &body, &turn) {
        Answer::Json(value) => {
            ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
        }
        Answer::Events(events) => ([(header::CONTENT_TYPE, "text/event-stream")], events).into_response(),
    }
}

/// Hosts look whether the server is there, and which models it has.
fn not_an_answer(path: &str) -> Response {
    let (status, body) = if path.ends_with("/models") {
        (StatusCode::OK, json!({"object": "list", "data": [], "models": []}))
    } else if path == "/" {
        (StatusCode::OK, json!({}))
    } else {
        let error = json!({"type": "not_found_error", "message": format!("no {path} here")});
        (StatusCode::NOT_FOUND, json!({"type": "error", "error": error}))
    };
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
