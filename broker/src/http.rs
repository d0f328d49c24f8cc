//! What a request must look like before any service sees it: one that a gRPC client makes and a web page cannot.
//!
//! A page in a browser reaches whatever listens on this machine, from any site and, with a name that is made to mean
//! 127.0.0.1, under a site of its own. It cannot choose its `Origin` and `Sec-Fetch-*` headers, nor send a content type
//! of gRPC without asking first with `OPTIONS`, and it calls this broker by a name that is not the broker's. What must
//! hold: each of these is refused by itself, before who calls is looked at; HTTP/1 and WebSockets are not spoken at all.

use std::net::IpAddr;
use std::task::{Context, Poll};

use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use tokio_util::either::Either;
use tonic::body::Body;
use tower::{Layer, Service};

/// The names by which a listener may be called.
#[derive(Clone, Debug)]
pub(crate) enum Hosts {
    /// Any: there is no way for a page to get here by a name (a Unix socket), or the certificate says whose it is.
    Any,
    /// The loopback addresses, `localhost`, and these.
    Loopback(Vec<String>),
    /// Any address, since only names can be made to mean another's, `localhost`, and these.
    Addresses(Vec<String>),
}

/// Puts the checks before a service.
#[derive(Clone, Debug)]
pub(crate) struct Checks {
    hosts: std::sync::Arc<Hosts>,
}

/// A service that is reached by what passes the checks.
#[derive(Clone, Debug)]
pub(crate) struct Checked<S> {
    inner: S,
    hosts: std::sync::Arc<Hosts>,
}

impl Checks {
    pub(crate) fn new(hosts: Hosts) -> Self {
        Self { hosts: std::sync::Arc::new(hosts) }
    }
}

impl<S> Layer<S> for Checks {
    type Service = Checked<S>;

    fn layer(&self, inner: S) -> Checked<S> {
        Checked { inner, hosts: self.hosts.clone() }
    }
}

impl<S, B> Service<Request<B>> for Checked<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<std::future::Ready<Result<Response<Body>, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match objection(&request, &self.hosts) {
            None => Either::Right(self.inner.call(request)),
            Some(why) => {
                tracing::debug!(why, "a request that is no gRPC client's was refused");
                Either::Left(std::future::ready(Ok(refusal(why))))
            }
        }
    }
}

/// What is wrong with a request, if anything.
fn objection<B>(request: &Request<B>, hosts: &Hosts) -> Option<&'static str> {
    let headers = request.headers();
    if request.method() != Method::POST {
        return Some("only POST is served: this is gRPC");
    }
    if !is_grpc(headers) {
        return Some("the content type is not application/grpc");
    }
    if is_from_a_page(headers) {
        return Some("calls from web pages are not served");
    }
    if !hosts.allow(request) {
        return Some("the broker does not go by this name; whoever runs it can allow it with --host");
    }
    None
}

/// `application/grpc`, alone, with `+` and a format, or with parameters; never gRPC-Web.
fn is_grpc(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(one), None) = (types.next(), types.next()) else { return false };
    let rest = one.as_bytes().strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Browsers add these by themselves, and a page cannot take them away.
fn is_from_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.keys().any(|name| name.as_str().starts_with("sec-"))
}

impl Hosts {
    fn allow<B>(&self, request: &Request<B>) -> bool {
        let (any_address, names) = match self {
            Self::Any => return true,
            Self::Loopback(names) => (false, names),
            Self::Addresses(names) => (true, names),
        };
        let named = request.uri().authority().map(Authority::as_str);
        let header = request.headers().get_all(HOST).iter().map(HeaderValue::to_str);
        let mut called = named.map(Ok).into_iter().chain(header).peekable();
        called.peek().is_some()
            && called.all(|host| host.is_ok_and(|host| is_one_of(host, any_address, names)))
    }
}

/// Whether `host`, with or without a port, is an address or name that this listener goes by.
fn is_one_of(host: &str, any_address: bool, names: &[String]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    // A user before the host is for people to be deceived by.
    if host.contains('@') {
        return false;
    }
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        let listed = || names.iter().any(|name| name.parse() == Ok(address));
        return any_address || address.is_loopback() || listed();
    }
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    bare.eq_ignore_ascii_case("localhost") || names.iter().any(|name| name.eq_ignore_ascii_case(bare))
}

/// 403 for browsers, and the same in gRPC's words for a client that is called wrongly.
fn refusal(why: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FORBIDDEN;
    let code = tonic::Code::PermissionDenied as i32;
    response.headers_mut().insert("grpc-status", HeaderValue::from(code));
    response.headers_mut().insert("grpc-message", HeaderValue::from_static(why));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    const GRPC: (&str, &str) = ("content-type", "application/grpc");
    const HERE: &str = "http://localhost:7070/mesh.v1.PeerService/Join";

    #[test]
    fn what_grpc_clients_send_passes() {
        for content in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"] {
            let fine = request("POST", HERE, &[("content-type", content), ("te", "trailers")]);
            assert_eq!(objection(&fine, &Hosts::Loopback(Vec::new())), None, "{content}");
        }
    }

    #[test]
    fn each_mark_of_a_page_is_refused_by_itself() {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "CONNECT", "TRACE", "post"] {
            let uri = if method == "CONNECT" { "localhost:7070" } else { HERE };
            assert!(objection(&request(method, uri, &[GRPC]), &Hosts::Any).is_some(), "{method}");
        }
        for content in [
            "text/plain",
            "application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "application/grpc-web",
            "application/grpc-web-text",
            "application/grpc-web+proto",
            "application/grpcx",
            "text/plain, application/grpc",
            "",
        ] {
            let request = request("POST", HERE, &[("content-type", content)]);
            assert!(objection(&request, &Hosts::Any).is_some(), "{content}");
        }
        assert!(objection(&request("POST", HERE, &[]), &Hosts::Any).is_some());
        let twice = request("POST", HERE, &[GRPC, ("content-type", "text/plain")]);
        assert!(objection(&twice, &Hosts::Any).is_some());
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "http://localhost:7070"),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-site", "same-origin"),
            ("sec-websocket-key", "x"),
        ] {
            assert!(
                objection(&request("POST", HERE, &[GRPC, (name, value)]), &Hosts::Any).is_some(),
                "{name}"
            );
        }
    }

    #[test]
    fn a_listener_goes_by_its_own_names_only() {
        let names = vec!["broker.example".to_owned(), "192.0.2.7".to_owned()];
        let called = |host: &str, hosts: &Hosts| {
            let asked = request("POST", "/mesh.v1.PeerService/Join", &[GRPC, ("host", host)]);
            let authority = Request::builder().method("POST").uri(format!("http://{host}/x"));
            let authority = authority.header("content-type", "application/grpc").body(());
            let both =
                [objection(&asked, hosts).is_none(), authority.is_ok_and(|r| objection(&r, hosts).is_none())];
            assert_eq!(both[0], both[1], "{host}: in either place");
            both[0]
        };
        let (loopback, beyond) = (Hosts::Loopback(names.clone()), Hosts::Addresses(names));
        for host in ["localhost", "LOCALHOST:1", "localhost.", "127.0.0.1:7070", "127.1.2.3", "[::1]:7070"] {
            assert!(called(host, &loopback) && called(host, &beyond), "{host}");
        }
        for host in ["broker.example", "Broker.Example:7070", "192.0.2.7:7070"] {
            assert!(called(host, &loopback) && called(host, &beyond), "{host}");
        }
        for host in ["198.51.100.1:7070", "[2001:db8::1]"] {
            assert!(!called(host, &loopback) && called(host, &beyond), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "localhost@evil.example"]
        {
            assert!(!called(host, &loopback) && !called(host, &beyond), "{host}");
            assert!(called(host, &Hosts::Any), "{host}");
        }
        let nameless = request("POST", "/x", &[GRPC]);
        assert!(objection(&nameless, &loopback).is_some());
        let two = request("POST", "http://localhost/x", &[GRPC, ("host", "evil.example")]);
        assert!(objection(&two, &loopback).is_some(), "the header counts too");
    }
}
