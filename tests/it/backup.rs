//! What is backed up comes back, as it was at one revision, and nobody takes the one history for the other.

use std::path::Path;

use mesh_client::proto::{GetStatusRequest, ListEntriesRequest, WatchRequest};
use mesh_client::{Client, ErrorReason, Session};
use mesh_tests::{Mesh, get, history, lock, message, put, status_refused, within};
use serde_json::Value;

/// Runs a command with `--json` and returns its exit code and its object, from stdout or stderr.
fn run(mesh: &Mesh, arguments: &[&str]) -> (i32, Value) {
    let output = mesh.run(&[&["--json"], arguments].concat());
    let told = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    let told = String::from_utf8_lossy(told);
    let line = told.lines().last().unwrap_or_default();
    let object = serde_json::from_str(line).unwrap_or_else(|_| panic!("{arguments:?}: {told}"));
    (output.status.code().unwrap(), object)
}

fn done(mesh: &Mesh, arguments: &[&str]) -> Value {
    let (code, object) = run(mesh, arguments);
    assert_eq!(code, 0, "{arguments:?}: {object}");
    object
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn entries(client: &Client) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut request = ListEntriesRequest { scope: mesh_tests::SCOPE.into(), ..ListEntriesRequest::default() };
    loop {
        let page = client.call(|c| {
            let request = request.clone();
            async move { c.state().list_entries(request).await }
        });
        let page = page.await.unwrap();
        found.extend(page.entries.into_iter().map(|entry| (entry.key, entry.value)));
        if page.next_page_token.is_empty() {
            return found;
        }
        request.page_token = page.next_page_token;
    }
}

async fn incarnation(client: &Client) -> String {
    let status = client.call(|c| async move { c.admin().get_status(GetStatusRequest {}).await });
    status.await.unwrap().header.unwrap().incarnation
}

#[tokio::test]
async fn a_backup_under_load_is_of_one_revision() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&["--durability", "process"]);
    let session = mesh.join_unattended("fox").await;
    let value = "v".repeat(2_000);
    for number in 0..600 {
        session.put(put(&format!("k/{number:05}"), &value)).await.unwrap();
    }
    let writer = tokio::spawn(async move {
        for number in 600.. {
            if session.client().state().put(put(&format!("k/{number:05}"), "v")).await.is_err() {
                break;
            }
        }
    });
    let files: Vec<_> = (0..3).map(|number| mesh.path().join(format!("{number}.backup"))).collect();
    let taken: Vec<_> = files.iter().map(|file| done(&mesh, &["backup", text(file)])).collect();
    let client = mesh.client();
    let log = history(&client, 1).await;
    broker.kill();
    within("the writer", writer).await.unwrap();

    for (file, taken) in files.iter().zip(&taken) {
        let revision = taken["revision"].as_u64().unwrap();
        let checked = done(&mesh, &["fsck", text(file)]);
        assert_eq!((&checked["sound"], &checked["revision"]), (&true.into(), &revision.into()), "{checked}");
        let other = Mesh::new();
        done(&other, &["restore", text(file)]);
        let _broker = other.serve(&[]);
        let client = other.client();
        let restored = history(&client, 1).await;
        assert_eq!(restored.last().unwrap().revision, revision);
        assert!(restored[..] == log[..restored.len()], "the history is the same up to there");
        let found = entries(&client).await;
        // One transaction joined, each of the others wrote the next key.
        assert_eq!(found.len() as u64, revision - 1);
        assert!(found.iter().enumerate().all(|(number, (key, _))| *key == format!("k/{number:05}")));
    }
}

async fn something(session: &Session) {
    session.put(put("k", "before")).await.unwrap();
    session.acquire(lock(&["src/a.rs"])).await.unwrap();
    session.send(message("owl", "hello")).await.unwrap();
}

#[tokio::test]
async fn a_restored_mesh_is_as_it_was_and_a_history_of_its_own() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let (fox, _owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    something(&fox).await;
    let file = mesh.path().join("mesh.backup");
    let online = done(&mesh, &["backup", text(&file)]);
    fox.put(put("k", "after")).await.unwrap();
    let former = incarnation(&mesh.client()).await;

    let (code, refused) = run(&mesh, &["restore", "--force", text(&file)]);
    assert_eq!(code, 1);
    assert!(refused["error"]["message"].as_str().unwrap().contains("meshctl stop"), "{refused}");
    assert_eq!(broker.terminate(), Some(0));
    let (code, refused) = run(&mesh, &["restore", text(&file)]);
    assert_eq!(code, 1);
    assert!(refused["error"]["message"].as_str().unwrap().contains("--force"), "{refused}");
    let restored = done(&mesh, &["restore", "--force", text(&file)]);
    assert_eq!(restored["revision"], online["revision"]);
    let aside = restored["former"].as_str().unwrap().to_owned();
    assert!(Path::new(&aside).join("db").exists(), "the former store is kept");
    assert_eq!(done(&mesh, &["fsck", &aside])["sound"], true);

    let _broker = mesh.serve(&[]);
    let client = mesh.client();
    assert_ne!(incarnation(&client).await, former);
    let stale = WatchRequest { start_revision: 2, incarnation: former, ..WatchRequest::default() };
    let refusal = status_refused(&client, client.events().watch(stale).await);
    assert_eq!(refusal.reason, ErrorReason::IncarnationChanged);
    // Its token is of the former store: it joins again by itself, as the same peer.
    let entry = fox.get(get("k")).await.unwrap().entry.unwrap();
    assert_eq!((entry.value.as_str(), entry.writer.as_str()), ("before", "fox"));
    fox.acquire(lock(&["src/a.rs"])).await.unwrap();
    let now = done(&mesh, &["status"])["revision"].as_u64();
    assert!(now > online["revision"].as_u64(), "{now:?}");
}

#[tokio::test]
async fn without_a_broker_the_store_is_backed_up_where_it_is() {
    let mesh = Mesh::new();
    let (code, refused) = run(&mesh, &["backup", "early.backup"]);
    assert_eq!(code, 1);
    assert!(refused["error"]["message"].as_str().unwrap().contains("there is no store"), "{refused}");
    let broker = mesh.serve(&[]);
    mesh.join_unattended("fox").await.put(put("k", "v")).await.unwrap();
    done(&mesh, &["backup", "online.backup"]);
    broker.kill();
    let taken = done(&mesh, &["backup", "offline.backup"]);
    let checked = done(&mesh, &["fsck"]);
    assert_eq!((&checked["sound"], &checked["revision"]), (&true.into(), &taken["revision"]));
    let records = |file: &str| done(&mesh, &["fsck", file])["records"].clone();
    assert_eq!(records("online.backup"), records("offline.backup"));
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(mesh.path().join("online.backup")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_damaged_backup_is_refused_and_touches_nothing() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let session = mesh.join_unattended("fox").await;
    session.put(put("k", "v")).await.unwrap();
    done(&mesh, &["backup", "mesh.backup"]);
    assert_eq!(broker.terminate(), Some(0));
    let whole = std::fs::read(mesh.path().join("mesh.backup")).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for (bytes, why) in [(&whole[..whole.len() - 1], "ends too early"), (&flipped[..], "does not match")] {
        std::fs::write(mesh.path().join("bad.backup"), bytes).unwrap();
        for command in [&["fsck", "bad.backup"][..], &["restore", "--force", "bad.backup"]] {
            let (code, refused) = run(&mesh, command);
            assert_eq!(code, 1);
            assert!(refused["error"]["message"].as_str().unwrap().contains(why), "{refused}");
        }
    }
    let _broker = mesh.serve(&[]);
    assert_eq!(session.get(get("k")).await.unwrap().entry.unwrap().value, "v");
}
