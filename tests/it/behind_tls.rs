//! Over a network, the broker proves who it is and asks who calls, and nothing is said before that.

mod certificates;

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Output;

use mesh_client::proto::{GetStatusRequest, ListPeersRequest};
use mesh_client::{Autostart, Client, Config, Endpoint, ErrorReason, Session, Tls, Token, Trust};
use mesh_tests::{Mesh, Signal, follow, put, refused, signal, unattended};

use self::certificates::Authority;

/// The TCP endpoint of a broker.
async fn endpoint(mesh: &Mesh) -> String {
    let status = mesh.client().admin().get_status(GetStatusRequest {}).await.unwrap().into_inner();
    status.endpoints.into_iter().find(|endpoint| !endpoint.starts_with("unix:")).unwrap()
}

fn log(mesh: &Mesh) -> String {
    std::fs::read_to_string(mesh.home().log_path()).unwrap()
}

/// The last fingerprint in the log.
fn fingerprint(mesh: &Mesh) -> String {
    let log = log(mesh);
    let (_, after) = log.rsplit_once("sha256:").expect("a fingerprint in the log");
    format!("sha256:{}", &after[..64])
}

/// A member of the team, somewhere else.
struct Member {
    mesh: Mesh,
    token: String,
}

impl Member {
    fn of(mesh: &Mesh) -> Self {
        Self { mesh: Mesh::new(), token: std::fs::read_to_string(mesh.home().token_path()).unwrap() }
    }

    fn who(&self, endpoint: &str, vars: &[(&str, &str)]) -> Output {
        let mut command = self.mesh.meshctl(&["who"]);
        command.env("MESH_ENDPOINT", endpoint).env("MESH_TOKEN", &self.token).envs(vars.iter().copied());
        command.output().unwrap()
    }

    fn gets_in(&self, endpoint: &str, vars: &[(&str, &str)]) {
        let answer = self.who(endpoint, vars);
        assert!(answer.status.success(), "{endpoint} {vars:?}: {}", String::from_utf8_lossy(&answer.stderr));
    }

    fn is_told(&self, endpoint: &str, vars: &[(&str, &str)], what: &str) {
        let answer = self.who(endpoint, vars);
        let told = String::from_utf8_lossy(&answer.stderr);
        assert!(!answer.status.success() && told.contains(what), "{endpoint} {vars:?}: {told}");
        assert!(!told.contains(self.token.trim()));
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A client with its settings given.
fn client(mesh: &Mesh, endpoint: &str, tls: Tls) -> Client {
    let token = std::fs::read_to_string(mesh.home().token_path()).unwrap();
    let config = Config {
        endpoint: Endpoint::parse(endpoint).unwrap(),
        token: Some(Token::parse(&token).unwrap()),
        tls,
        autostart: Autostart::Never,
        ..Config::local(mesh.home())
    };
    Client::new(config).unwrap()
}

fn pinned(fingerprint: &str) -> Tls {
    Tls { trust: Trust::Fingerprint(fingerprint.parse().unwrap()), identity: None }
}

#[tokio::test]
async fn a_team_pins_the_certificate_that_the_broker_made() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&["--listen", "127.0.0.1:0", "--tls-self-signed"]);
    let address = endpoint(&mesh).await;
    assert!(address.starts_with("https://127.0.0.1:"), "{address}");
    let named = address.replace("127.0.0.1", "localhost");
    let (pin, certificate) = (fingerprint(&mesh), mesh.home().certificate_path());
    let member = Member::of(&mesh);
    for endpoint in [&address, &named] {
        member.gets_in(endpoint, &[("MESH_FINGERPRINT", &pin)]);
        member.gets_in(endpoint, &[("MESH_CA", text(&certificate))]);
        member.is_told(endpoint, &[], "set MESH_CA");
    }
    let other = pin.chars().rev().take(64).collect::<String>();
    let other = [("MESH_FINGERPRINT", format!("sha256:{other}"))];
    member.is_told(&address, &[(other[0].0, &other[0].1)], &pin);
    // On the broker's own machine nothing needs to be set.
    let mut here = mesh.meshctl(&["who"]);
    assert!(here.env("MESH_ENDPOINT", &address).status().unwrap().success());

    let session = Session::join(&client(&mesh, &address, pinned(&pin)), unattended("fox")).await.unwrap();
    let mut events = follow(&session.client(), 0).await;
    session.put(put("k", "v")).await.unwrap();
    assert_eq!(events.batch().await.events.len(), 1, "streams pass too");

    // Another start shows the same certificate.
    broker.kill();
    let _broker = mesh.serve(&["--listen", "127.0.0.1:0", "--tls-self-signed"]);
    assert_eq!(fingerprint(&mesh), pin);
    member.gets_in(&endpoint(&mesh).await, &[("MESH_FINGERPRINT", &pin)]);
}

#[tokio::test]
async fn the_token_is_needed_all_the_same() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&["--listen", "127.0.0.1:0", "--tls-self-signed"]);
    let (address, pin) = (endpoint(&mesh).await, fingerprint(&mesh));
    let config = client(&mesh, &address, pinned(&pin)).config().clone();
    let wrong = Client::new(Config { token: Some(Token::parse("wrong").unwrap()), ..config }).unwrap();
    let called = wrong.call(|c| async move { c.peers().list_peers(ListPeersRequest::default()).await }).await;
    assert_eq!(refused(called).reason, ErrorReason::Unauthenticated);
}

#[tokio::test]
async fn who_speaks_another_protocol_is_told() {
    let (open, closed) = (Mesh::new(), Mesh::new());
    let _open = open.serve(&["--listen", "127.0.0.1:0"]);
    let _closed = closed.serve(&["--listen", "127.0.0.1:0", "--tls-self-signed"]);
    let (plain, encrypted) = (endpoint(&open).await, endpoint(&closed).await);
    let pin = fingerprint(&closed);
    let member = Member::of(&closed);
    member.is_told(&encrypted.replace("https", "http"), &[], "write https://");
    member.is_told(&plain.replace("http", "https"), &[("MESH_FINGERPRINT", &pin)], "write http://");
    member.is_told(&plain, &[("MESH_FINGERPRINT", &pin)], "not encrypted");
}

#[tokio::test]
async fn certificates_that_are_no_good_are_called_what_they_are() {
    let mesh = Mesh::new();
    let authority = Authority::new();
    let ca = authority.write(&mesh.path().join("ca.pem"));
    let member = |mesh: &Mesh| Member::of(mesh);
    for (name, expired, what) in
        [("other.example", false, "not for 127.0.0.1"), ("127.0.0.1", true, "has expired")]
    {
        let files = authority.server(mesh.path(), name, expired);
        let _broker = mesh.serve(&["--listen", "127.0.0.1:0", "--tls-cert", &files.0, "--tls-key", &files.1]);
        let address = endpoint(&mesh).await;
        member(&mesh).is_told(&address, &[("MESH_CA", text(&ca))], what);
        // Who pins it has decided.
        member(&mesh).gets_in(&address, &[("MESH_FINGERPRINT", &fingerprint(&mesh))]);
    }
}

#[tokio::test]
async fn callers_need_a_certificate_where_the_broker_says_so() {
    let mesh = Mesh::new();
    let (ours, foreign) = (Authority::new(), Authority::new());
    let ca = ours.write(&mesh.path().join("callers.pem"));
    let _broker = mesh.serve(&["--listen", "127.0.0.1:0", "--tls-self-signed", "--tls-client-ca", text(&ca)]);
    let (address, pin) = (endpoint(&mesh).await, fingerprint(&mesh));
    let mut member = Member::of(&mesh);
    let (good, bad) = (ours.caller(mesh.path(), "fox"), foreign.caller(mesh.path(), "thief"));
    let with = |files: &(String, String)| {
        [
            ("MESH_FINGERPRINT", pin.clone()),
            ("MESH_CLIENT_CERT", files.0.clone()),
            ("MESH_CLIENT_KEY", files.1.clone()),
        ]
    };
    let (good, bad) = (with(&good), with(&bad));
    let good: Vec<(&str, &str)> = good.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let bad: Vec<(&str, &str)> = bad.iter().map(|(name, value)| (*name, value.as_str())).collect();
    member.gets_in(&address, &good);
    member.is_told(&address, &good[..1], "asks callers for a certificate");
    member.is_told(&address, &bad, "does not take the certificate");
    member.token = "wrong".into();
    member.is_told(&address, &good, "token");
}

#[tokio::test]
async fn renewed_certificates_are_shown_without_a_restart() {
    let mesh = Mesh::new();
    let authority = Authority::new();
    let (certificate, key) = authority.server(mesh.path(), "127.0.0.1", false);
    let broker = mesh.serve(&["--listen", "127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key]);
    let (address, old) = (endpoint(&mesh).await, fingerprint(&mesh));
    let member = Member::of(&mesh);
    let before = client(&mesh, &address, pinned(&old));
    let session = Session::join(&before, unattended("fox")).await.unwrap();
    member.gets_in(&address, &[("MESH_FINGERPRINT", &old)]);

    // What cannot be used changes nothing, looked at by itself or on a signal.
    std::fs::write(&certificate, "in the middle of a renewal").unwrap();
    member.gets_in(&address, &[("MESH_FINGERPRINT", &old)]);
    signal(broker.pid(), Signal::HUP);
    member.gets_in(&address, &[("MESH_FINGERPRINT", &old)]);
    assert!(log(&mesh).contains("the certificate from before stays"), "{}", log(&mesh));

    authority.server(mesh.path(), "127.0.0.1", false);
    let told = member.who(&address, &[("MESH_FINGERPRINT", &old)]);
    assert!(!told.status.success(), "the old one is gone");
    let new = fingerprint(&mesh);
    assert_ne!(new, old);
    member.gets_in(&address, &[("MESH_FINGERPRINT", &new)]);
    session.put(put("k", "v")).await.unwrap();
    assert!(mesh_tests::is_running(broker.pid()));
}

#[tokio::test]
async fn silent_and_garbled_connections_keep_nobody_out() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&["--listen", "127.0.0.1:0", "--tls-self-signed"]);
    let (address, pin) = (endpoint(&mesh).await, fingerprint(&mesh));
    let socket = address.strip_prefix("https://").unwrap();
    let mut strangers = Vec::new();
    for number in 0..400 {
        let mut stranger = TcpStream::connect(socket).unwrap();
        if number % 4 == 0 {
            // It may have been shown the door by then.
            let _ = stranger.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
        }
        strangers.push(stranger);
    }
    Member::of(&mesh).gets_in(&address, &[("MESH_FINGERPRINT", &pin)]);
}

#[tokio::test]
async fn beyond_this_machine_is_tls_or_a_danger_spelled_out() {
    let mesh = Mesh::new();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7070"] {
        let refused = mesh.run(&["serve", "--listen", address]);
        let told = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success());
        for remedy in ["--tls-self-signed", "--plaintext-beyond-this-machine"] {
            assert!(told.contains(remedy), "{told}");
        }
        assert!(!mesh.home().socket_path().exists());
    }
    let broker = mesh.serve(&["--listen", "0.0.0.0:0", "--plaintext-beyond-this-machine"]);
    assert!(log(&mesh).contains("not encrypted"), "{}", log(&mesh));
    let port = endpoint(&mesh).await.rsplit_once(':').unwrap().1.to_owned();
    Member::of(&mesh).gets_in(&format!("http://127.0.0.1:{port}"), &[]);
    broker.kill();
    let _broker = mesh.serve(&["--listen", "0.0.0.0:0", "--tls-self-signed", "--host", "broker.example"]);
    let port = endpoint(&mesh).await.rsplit_once(':').unwrap().1.to_owned();
    let certificate = mesh.home().certificate_path();
    Member::of(&mesh).gets_in(&format!("https://127.0.0.1:{port}"), &[("MESH_CA", text(&certificate))]);
}
