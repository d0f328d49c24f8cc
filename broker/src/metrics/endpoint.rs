//! Where Prometheus asks: HTTP/1.1 on a loopback address, `GET /metrics` and nothing else.
//!
//! There is no credential, so nobody beyond this machine is let in, nor a web page in somebody's browser: a request
//! names a loopback host, as a page that had its name point here could not, and no page sends one without saying so.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HOST, HeaderMap, ORIGIN};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::gather::gather;
use super::text;
use crate::service::Mesh;

/// Connections at a time; further ones wait.
const CONNECTIONS: usize = 8;
/// How long one may take from its opening to its end.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing is accepted after a failure.
const PAUSE: Duration = Duration::from_millis(100);
/// Set by browsers, and by nothing else.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Answers until the broker ends.
pub(crate) async fn serve(listener: TcpListener, mesh: Mesh, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut open = JoinSet::new();
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        while open.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let mesh = mesh.clone();
                open.spawn(async move {
                    answer(stream, mesh).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for metrics");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, mesh: Mesh) {
    let respond = |request: Request<hyper::body::Incoming>| {
        let response = respond(request.method(), request.uri().path(), request.headers(), &mesh);
        async move { Ok::<_, Infallible>(response) }
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service_fn(respond));
    // Whoever breaks off or dawdles gets no answer, and nothing else depends on it.
    let _ = tokio::time::timeout(PATIENCE, connection).await;
}

fn respond(method: &Method, path: &str, headers: &HeaderMap, mesh: &Mesh) -> Response<Full<Bytes>> {
    if let Err(why) = local(headers) {
        return plain(StatusCode::FORBIDDEN, why);
    }
    if path != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "there is only /metrics here\n");
    }
    if method != Method::GET {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return refused;
    }
    let mut response = Response::new(Full::new(text::encode(&gather(mesh)).into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(text::CONTENT_TYPE));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// Refuses what comes from a web page.
fn local(headers: &HeaderMap) -> Result<(), &'static str> {
    let cross_site = headers.get(SEC_FETCH_SITE).is_some_and(|site| site != "none" && site != "same-origin");
    if headers.contains_key(ORIGIN) || cross_site {
        return Err("not for web pages\n");
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    if host.is_some_and(|host| is_loopback(host.host())) {
        return Ok(());
    }
    Err("ask by a loopback address or as localhost\n")
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Where figures may be asked for: an address of this machine only.
pub(crate) fn is_allowed(address: SocketAddr) -> bool {
    address.ip().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_what_names_a_loopback_host_and_is_no_web_page_gets_in() {
        for host in ["localhost:9464", "LOCALHOST", "127.0.0.1", "127.0.0.1:1", "[::1]:9464"] {
            assert_eq!(local(&headers(&[(HOST, host)])), Ok(()), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:9464", "10.0.0.1", "", "127.0.0.1.evil.example"]
        {
            assert!(local(&headers(&[(HOST, host)])).is_err(), "{host}");
        }
        assert!(local(&HeaderMap::new()).is_err());
        let here = (HOST, "localhost");
        assert!(local(&headers(&[here.clone(), (ORIGIN, "http://localhost")])).is_err());
        assert!(local(&headers(&[here.clone(), (SEC_FETCH_SITE, "cross-site")])).is_err());
        assert!(local(&headers(&[here, (SEC_FETCH_SITE, "none")])).is_ok());
    }
}
