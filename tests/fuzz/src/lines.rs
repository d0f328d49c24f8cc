//! What comes over an MCP connection: every request with an id is answered, whatever else comes, until the input ends.

use std::collections::BTreeSet;
use std::time::Duration;

use mesh_client::{Autostart, Config, Home};
use mesh_mcp::{Options, Push};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) const TARGET: crate::Target = crate::Target {
    name: "lines",
    run,
    seeds,
    words: &[
        "\"jsonrpc\":\"2.0\"",
        "\"id\":",
        "\"method\":",
        "\"params\":",
        "\"tools/call\"",
        "\"tools/list\"",
        "\"mesh_who\"",
        "\"mesh_lock\"",
        "\"arguments\":",
        "\"notifications/cancelled\"",
        "null",
        "{",
        "}",
        "[",
        "]",
        "\n",
        "\r\n",
        "1e400",
        "-0",
        "\"\\ud800\"",
        "\u{feff}",
        "18446744073709551616",
    ],
    cases: 400,
};

const HELLO: &str = r#"{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
"#;
const BYE: &str = "\n{\"jsonrpc\":\"2.0\",\"id\":\"bye\",\"method\":\"tools/list\"}\n";

fn seeds() -> Vec<Vec<u8>> {
    let lines = [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"mesh_who","arguments":{}}}"#,
        r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"mesh_lock","arguments":{"paths":["a"],"wait_seconds":-1}}}"#,
        r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"mesh_nothing"}}"#,
        r#"{"jsonrpc":"2.0","id":4,"method":"resources/read","params":{"uri":"mesh://inbox"}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}"#,
        r#"{"jsonrpc":"2.0","id":5,"method":"no/such"}"#,
        r#"[{"jsonrpc":"2.0","id":6,"method":"ping"}]"#,
        "not json",
        "{}",
    ];
    let mut seeds: Vec<_> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
    seeds.push(lines.join("\n").into_bytes());
    seeds
}

fn run(bytes: &[u8]) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let out = runtime.block_on(talk(bytes));
    let out = String::from_utf8(out).expect("answers are text");
    let mut answered = BTreeSet::new();
    for line in out.lines() {
        let answer: Value = serde_json::from_str(line).expect("answers are JSON");
        let of_ours = answer.get("result").is_some() || answer.get("error").is_some();
        if of_ours && let Some(id) = answer.get("id").filter(|id| !id.is_null()) {
            assert!(answered.insert(id.to_string()), "two answers to {id}");
        }
    }
    assert!(answered.contains("\"hello\""), "no answer to the first request");
    assert!(answered.contains("\"bye\""), "the server did not live to the last request");
}

/// Says hello, then the bytes, then asks once more; all that is answered.
async fn talk(bytes: &[u8]) -> Vec<u8> {
    let home = tempfile::tempdir().unwrap();
    let config = Config { autostart: Autostart::Never, ..Config::local(Home::at(home.path()).unwrap()) };
    let options =
        Options { config, scope: Some("acme/app".into()), name: None, legacy: false, push: Push::Off };
    let (mut ours, theirs) = tokio::io::duplex(1 << 20);
    let (input, output) = tokio::io::split(theirs);
    let server = tokio::spawn(async move { mesh_mcp::serve(options, input, output).await });
    ours.write_all(HELLO.as_bytes()).await.unwrap();
    let mut out = Vec::new();
    until(&mut ours, &mut out, "\"hello\"").await;
    // A request of the input may have the id of the last one, and be answered for it.
    let bytes = String::from_utf8_lossy(bytes).replace("\"bye\"", "\"by\"").replace("\"hello\"", "\"hell\"");
    ours.write_all(bytes.as_bytes()).await.unwrap();
    ours.write_all(BYE.as_bytes()).await.unwrap();
    until(&mut ours, &mut out, "\"bye\"").await;
    ours.shutdown().await.unwrap();
    let rest = async {
        // A server that has ended closes its end.
        let _ = ours.read_to_end(&mut out).await;
    };
    let _ = tokio::time::timeout(Duration::from_secs(30), rest).await;
    server.abort();
    out
}

/// Reads until a text has come, or the other end is closed, or nothing comes for long.
async fn until(from: &mut tokio::io::DuplexStream, out: &mut Vec<u8>, text: &str) {
    let reading = async {
        let mut part = [0; 4096];
        while !String::from_utf8_lossy(out).contains(text) {
            match from.read(&mut part).await {
                Ok(0) | Err(_) => return,
                Ok(read) => out.extend_from_slice(&part[..read]),
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(60), reading).await;
}
