//! A page in a browser on this machine gets nothing from the broker, whatever it sends.

use std::io::{Read, Write};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use mesh_client::proto::GetStatusRequest;
use mesh_tests::{Broker, Mesh, within};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// A call of Join with nothing in it, framed as gRPC does.
const MESSAGE: &[u8] = &[0, 0, 0, 0, 0];
const GRPC: (&str, &str) = ("content-type", "application/grpc");

/// A broker on TCP, and the port.
struct Listening {
    mesh: Mesh,
    _broker: Broker,
    port: u16,
    token: String,
}

impl Listening {
    async fn with(arguments: &[&str]) -> Self {
        let mesh = Mesh::new();
        let broker = mesh.serve(&[&["--listen", "127.0.0.1:0"], arguments].concat());
        let status = mesh.client().admin().get_status(GetStatusRequest {}).await.unwrap().into_inner();
        let endpoint = status.endpoints.iter().find_map(|e| e.strip_prefix("http://127.0.0.1:")).unwrap();
        let port = endpoint.parse().unwrap();
        let token = std::fs::read_to_string(mesh.home().token_path()).unwrap();
        Self { mesh, _broker: broker, port, token: format!("Bearer {}", token.trim()) }
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    /// The answer to a request with the token, over TCP.
    async fn ask(&self, method: Method, authority: &str, headers: &[(&str, &str)]) -> (StatusCode, bool) {
        let headers = [headers, &[("authorization", self.token.as_str())]].concat();
        ask(self.tcp().await, method, authority, &headers).await
    }
}

/// The answer to a request in HTTP/2: its status, and whether a gRPC service spoke.
async fn ask<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    io: Io,
    method: Method,
    authority: &str,
    headers: &[(&str, &str)],
) -> (StatusCode, bool) {
    within("an answer", async {
        let (mut sender, connection) = h2::client::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let uri = if method == Method::CONNECT {
            authority.to_owned()
        } else {
            format!("http://{authority}/mesh.v1.AdminService/GetStatus")
        };
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (answer, mut body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(Bytes::from_static(MESSAGE), true).unwrap();
        let answer = answer.await.unwrap();
        let spoke = answer.headers().get("content-type").is_some_and(|t| t.as_bytes() == b"application/grpc");
        (answer.status(), spoke)
    })
    .await
}

const SERVED: (StatusCode, bool) = (StatusCode::OK, true);
const REFUSED: (StatusCode, bool) = (StatusCode::FORBIDDEN, false);

#[tokio::test]
async fn each_mark_of_a_page_is_refused_even_with_the_token() {
    let broker = Listening::with(&[]).await;
    let here = format!("127.0.0.1:{}", broker.port);
    assert_eq!(broker.ask(Method::POST, &here, &[GRPC]).await, SERVED);
    for mark in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost"),
        ("sec-fetch-mode", "no-cors"),
        ("sec-fetch-site", "same-origin"),
    ] {
        assert_eq!(broker.ask(Method::POST, &here, &[GRPC, mark]).await, REFUSED, "{mark:?}");
    }
    for content in
        ["text/plain", "application/json", "application/grpc-web", "application/grpc-web-text+proto"]
    {
        assert_eq!(broker.ask(Method::POST, &here, &[("content-type", content)]).await, REFUSED, "{content}");
    }
    assert_eq!(broker.ask(Method::POST, &here, &[]).await, REFUSED);
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT] {
        assert_eq!(broker.ask(method.clone(), &here, &[GRPC]).await, REFUSED, "{method}");
    }
    // What a browser asks first when a page wants more than a form can send.
    let preflight = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
    assert_eq!(broker.ask(Method::OPTIONS, &here, &preflight).await, REFUSED);
}

#[tokio::test]
async fn a_name_that_was_made_to_mean_this_machine_is_refused() {
    let broker = Listening::with(&["--host", "broker.example"]).await;
    let port = broker.port;
    for host in ["localhost", "127.0.0.1", "[::1]", "broker.example", "LOCALHOST"] {
        assert_eq!(broker.ask(Method::POST, &format!("{host}:{port}"), &[GRPC]).await, SERVED, "{host}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.1"] {
        assert_eq!(broker.ask(Method::POST, &format!("{host}:{port}"), &[GRPC]).await, REFUSED, "{host}");
    }
    let two = [GRPC, ("host", "evil.example")];
    assert_eq!(broker.ask(Method::POST, &format!("localhost:{port}"), &two).await, REFUSED);
}

#[tokio::test]
async fn a_client_that_is_called_by_another_name_learns_the_remedy() {
    let broker = Listening::with(&[]).await;
    let origin = "http://evil.example".parse().unwrap();
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://127.0.0.1:{}", broker.port));
    let channel = endpoint.unwrap().origin(origin).connect().await.unwrap();
    let mut admin = mesh_client::proto::admin_service_client::AdminServiceClient::new(channel);
    let refused = admin.get_status(GetStatusRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    assert!(refused.message().contains("--host"), "{refused}");
}

#[tokio::test]
async fn the_unix_socket_serves_no_page_either() {
    let broker = Listening::with(&[]).await;
    let socket = async || UnixStream::connect(broker.mesh.home().socket_path()).await.unwrap();
    // Other stacks put the path, or anything, in the authority.
    for authority in ["localhost", "anything.example"] {
        assert_eq!(ask(socket().await, Method::POST, authority, &[GRPC]).await, SERVED);
    }
    let origin = ("origin", "https://evil.example");
    assert_eq!(ask(socket().await, Method::POST, "localhost", &[GRPC, origin]).await, REFUSED);
    assert_eq!(ask(socket().await, Method::GET, "localhost", &[GRPC]).await, REFUSED);
}

#[tokio::test]
async fn http_1_is_not_spoken() {
    let broker = Listening::with(&[]).await;
    let token = &broker.token;
    let host = format!("host: 127.0.0.1:{}\r\n", broker.port);
    let body = String::from_utf8_lossy(MESSAGE);
    for request in [
        format!("GET / HTTP/1.1\r\n{host}\r\n"),
        format!(
            "OPTIONS /mesh.v1.AdminService/GetStatus HTTP/1.1\r\n{host}origin: https://evil.example\r\n\r\n"
        ),
        format!(
            "POST /mesh.v1.AdminService/GetStatus HTTP/1.1\r\n{host}authorization: {token}\r\n\
             content-type: application/grpc\r\ncontent-length: 5\r\n\r\n{body}"
        ),
        format!(
            "GET / HTTP/1.1\r\n{host}connection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        ),
        format!(
            "GET / HTTP/1.1\r\n{host}connection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
             http2-settings: AAMAAABkAAQAAP__\r\n\r\n"
        ),
        "POST / HTTP/1.0\r\n\r\n".to_owned(),
    ] {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", broker.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // It may close hard, since it has not read everything.
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(!text.contains("HTTP/1") && !text.contains("grpc"), "{request}\n{text}");
        assert!(answer.len() < 100, "the greeting of HTTP/2 and its end: {answer:?}");
    }
}
