//! Prometheus figures: all are there, none is named by callers, and only this machine's programs get them.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use mesh_client::Acquired;
use mesh_client::proto::{GetRequest, ListPeersRequest, SendRequest};
use mesh_tests::{Mesh, follow, get, lock, overwrite, unattended};

use super::status;

fn endpoint(mesh: &Mesh) -> SocketAddr {
    let told = status(mesh, &[]);
    let url = told["vitals"]["metrics_endpoint"].as_str().unwrap().to_owned();
    let at = url.strip_prefix("http://").and_then(|url| url.strip_suffix("/metrics"));
    at.unwrap().parse().unwrap()
}

/// One request, as it stands, and what comes back.
fn ask(at: SocketAddr, head: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.write_all(format!("{head}\r\n\r\n").replace("{at}", &at.to_string()).as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn figures(at: SocketAddr) -> String {
    let (code, body) = ask(at, "GET /metrics HTTP/1.1\r\nHost: {at}");
    assert_eq!(code, 200, "{body}");
    body
}

/// The value of a series.
fn value(figures: &str, series: &str) -> f64 {
    let line = figures.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{figures}")).parse().unwrap()
}

#[tokio::test]
async fn figures_tell_what_happened_and_name_nobody() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&["--metrics", "127.0.0.1:0"]);
    let at = endpoint(&mesh);
    let fox = mesh.join("fox-of-the-figures").await;
    let owl = mesh_client::Session::join(&mesh.client(), unattended("owl")).await.unwrap();
    fox.put(overwrite("key-of-the-figures", "v")).await.unwrap();
    let Acquired::Granted(_) = fox.acquire(lock(&["src/figures.rs"])).await.unwrap() else {
        panic!("refused")
    };
    assert!(owl.get(get("no-such-key")).await.is_err());
    let _watch = follow(&mesh.client(), 1).await;

    let seen = figures(at);
    for (series, expected) in [
        ("mesh_sessions", 2.0),
        ("mesh_locks", 1.0),
        ("mesh_entries", 1.0),
        ("mesh_messages", 0.0),
        ("mesh_waiters", 0.0),
        ("mesh_queue_depth", 0.0),
        ("mesh_leases_expired_total", 0.0),
        ("mesh_rejections_total{reason=\"KEY_NOT_FOUND\"}", 1.0),
        ("mesh_rpc_duration_seconds_count{method=\"mesh.v1.StateService/Put\",code=\"OK\"}", 1.0),
        ("mesh_rpc_duration_seconds_count{method=\"mesh.v1.StateService/Get\",code=\"NOT_FOUND\"}", 1.0),
    ] {
        assert_eq!(value(&seen, series), expected, "{series}");
    }
    let revision = value(&seen, "mesh_revision");
    assert_eq!(revision, status(&mesh, &[])["revision"].as_f64().unwrap());
    assert!(value(&seen, "mesh_commit_duration_seconds_count") >= 1.0);
    assert_eq!(value(&seen, "mesh_commit_transactions_sum"), revision);
    for series in ["mesh_commit_bytes_sum", "mesh_store_bytes", "mesh_connections", "mesh_subscribers"] {
        assert!(value(&seen, series) > 0.0, "{series}");
    }
    for series in ["process_open_fds", "process_resident_memory_bytes", "process_start_time_seconds"] {
        assert!(value(&seen, series) > 0.0, "{series}");
    }
    assert!(seen.contains(&format!("mesh_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))));
    for name in ["fox", "owl", "figures.rs", "key-of", "acme"] {
        assert!(!seen.contains(name), "{name} in\n{seen}");
    }
}

#[tokio::test]
async fn what_callers_make_up_makes_no_new_figures() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&["--metrics", "127.0.0.1:0"]);
    let at = endpoint(&mesh);
    let fox = mesh.join("amber-fox").await;
    let make_up = async |name: &str| {
        let (mut state, mut peers) = (fox.client().state(), mesh.client().peers());
        let _ = state
            .get(GetRequest { scope: format!("{name}.com/a/b"), key: name.into(), ..Default::default() })
            .await;
        let listed = ListPeersRequest { scope: format!("{name}.com/a/b"), ..Default::default() };
        peers.list_peers(listed).await.unwrap();
        let sent = SendRequest { to: vec![name.into()], body: name.into(), ..Default::default() };
        assert!(fox.client().messages().send(sent).await.is_err(), "there is no {name}");
        let joined = mesh_client::Session::join(&mesh.client(), unattended(name)).await.unwrap();
        joined.leave().await.unwrap();
    };
    let series = || -> BTreeSet<String> {
        let figures = figures(at);
        let lines = figures.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
    };
    make_up("first").await;
    let before = series();
    for n in 0..50 {
        make_up(&format!("made-up-{n}")).await;
    }
    assert_eq!(series(), before);
}

#[tokio::test]
async fn every_figure_is_documented_and_every_documented_one_is_there() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&["--metrics", "127.0.0.1:0"]);
    let fox = mesh.join("fox").await;
    fox.put(overwrite("k", "v")).await.unwrap();
    let seen = figures(endpoint(&mesh));
    let told =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md")).unwrap();
    let families = seen.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let mut families: Vec<_> = families.collect();
    let rows = told.lines().filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next());
    let mut documented: Vec<_> =
        rows.filter(|name| name.starts_with("mesh_") || name.starts_with("process_")).collect();
    families.sort_unstable();
    documented.sort_unstable();
    assert_eq!(families, documented);
}

#[tokio::test]
async fn web_pages_and_strangers_get_no_figures() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&["--metrics", "127.0.0.1:0"]);
    let at = endpoint(&mesh);
    for (head, expected) in [
        ("GET /metrics HTTP/1.1\r\nHost: localhost", 200),
        ("GET /metrics HTTP/1.1\r\nHost: rebound.example", 403),
        ("GET /metrics HTTP/1.1\r\nHost: {at}\r\nOrigin: http://evil.example", 403),
        ("GET /metrics HTTP/1.1\r\nHost: {at}\r\nSec-Fetch-Site: cross-site", 403),
        ("POST /metrics HTTP/1.1\r\nHost: {at}\r\nContent-Length: 0", 405),
        ("GET / HTTP/1.1\r\nHost: {at}", 404),
        ("GET /metrics HTTP/1.0", 403),
        ("nonsense", 400),
    ] {
        assert_eq!(ask(at, head).0, expected, "{head}");
    }
    let refused = mesh.run(&["serve", "--metrics", "0.0.0.0:9464"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("this machine only"));
}
