//! Logs tell what happened, and no secret.

use mesh_client::Session;
use mesh_tests::{Mesh, get, lock, message, options, overwrite, unattended};
use serde_json::Value;

const BODY: &str = "body-that-nobody-else-may-see";
const VALUE: &str = "value-that-nobody-else-may-see";

fn log(mesh: &Mesh) -> String {
    std::fs::read_to_string(mesh.home().log_path()).unwrap()
}

#[tokio::test]
async fn the_finest_log_holds_no_secret_and_names_every_change() {
    let mesh = Mesh::new();
    let broker = mesh.serve_logging("trace", &["--log-format", "json", "--listen", "127.0.0.1:0"]);
    let at = super::status(&mesh, &[])["endpoints"][1].as_str().unwrap().to_owned();
    let bearer = std::fs::read_to_string(mesh.home().token_path()).unwrap();
    let local = Session::join(&mesh.client(), options("fox")).await.unwrap();
    let remote = Session::join(&mesh.tcp_client(&at), unattended("owl")).await.unwrap();
    for (session, key, other) in [(&local, "k", "owl"), (&remote, "l", "fox")] {
        session.put(overwrite(key, VALUE)).await.unwrap();
        session.send(message(other, BODY)).await.unwrap();
        session.acquire(lock(&["src/"])).await.unwrap();
        assert!(session.get(get("no-such-key")).await.is_err());
    }
    let wrong = "f".repeat(64);
    assert!(Session::join(&mesh.tcp_client_with(&at, &wrong), unattended("eve")).await.is_err());
    let saved = [local.saved(), remote.saved()];
    assert_eq!(broker.terminate(), Some(0));

    let log = log(&mesh);
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    let mut secrets = vec![bearer.trim().to_owned(), wrong, BODY.into(), VALUE.into()];
    secrets.extend(saved.iter().map(|saved| saved.token.expose().to_owned()));
    secrets.extend(["test:fox".into(), "test:owl".into()]);
    for secret in &secrets {
        assert!(secret.len() >= 8 && !log.contains(secret.as_str()), "{secret} is in the log");
    }
    let change = lines.iter().find(|line| {
        line["fields"]["message"] == "answered" && line["span"]["method"] == "/mesh.v1.StateService/Put"
    });
    let span = &change.expect("a line for the change")["span"];
    assert_eq!((span["peer"].as_str(), span["scope"].as_str()), (Some("fox"), Some(mesh_tests::SCOPE)));
    assert!(span["revision"].as_u64() > Some(0) && span["code"] == "OK" && span["request_id"].is_string());
    let refused = lines.iter().find(|line| line["fields"]["reason"] == "KEY_NOT_FOUND");
    assert_eq!(refused.expect("a line for the refusal")["level"], "DEBUG");
    let stranger = lines.iter().find(|line| line["fields"]["unheard"] == 0).expect("a line for the stranger");
    assert_eq!(stranger["level"], "WARN");
}

#[tokio::test]
async fn the_log_of_a_broker_that_a_client_started_does_not_grow_without_end() {
    let mesh = Mesh::new();
    mesh.home().create().unwrap();
    let path = mesh.home().log_path();
    // As long as a log gets, and a line more.
    std::fs::write(&path, "x".repeat(4 << 20)).unwrap();
    let broker = mesh.serve(&[]);
    let fresh = log(&mesh);
    assert!(fresh.len() < 4096 && fresh.contains("serving"), "{} bytes", fresh.len());
    let aside = path.with_extension("log.1");
    assert_eq!(std::fs::metadata(&aside).unwrap().len(), 4 << 20);
    assert_eq!(broker.terminate(), Some(0));
    assert!(log(&mesh).contains("ended"));
    assert_eq!(std::fs::metadata(&aside).unwrap().len(), 4 << 20);
}
