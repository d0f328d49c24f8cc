//! Waiting for conditions, and what is known about a path.

use std::time::Duration;

use mesh_client::Liveness;
use mesh_client::proto::ListEventsRequest;
use mesh_tests::{Mesh, lock, put, within};
use serde_json::{Value, json};
use tokio::process::Child;

use super::{failure, keys, object};

/// Gives a command time to wait in the broker, where its call leaves no trace; it is right either way.
fn settled(mesh: &Mesh, child: &mut Child) {
    // Another command makes its way through the broker meanwhile.
    object(mesh, &["who"]);
    assert_eq!(child.try_wait().unwrap(), None, "it waits");
}

async fn met(child: Child) -> Value {
    let output = within("the condition", child.wait_with_output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_key_is_waited_for() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut waiting = mesh.spawn(&["wait", "key", "build", "--value", "green", "--json"]);
    settled(&mesh, &mut waiting);
    let owl = mesh.join_unattended("owl").await;
    owl.put(put("build", "red")).await.unwrap();
    settled(&mesh, &mut waiting);
    owl.put(put("build", "green")).await.unwrap();
    let answer = met(waiting).await;
    assert_eq!(keys(&answer), ["entry", "events", "peer", "reply", "revision"]);
    assert_eq!((&answer["entry"]["value"], &answer["entry"]["version"]), (&json!("green"), &json!(2)));
    assert_eq!(mesh.run(&["wait", "key", "build"]).stdout, b"green\n", "what is so already is met at once");
    object(&mesh, &["wait", "key", "build", "--version", "2"]);
    object(&mesh, &["wait", "key", "nothing", "--absent"]);
    for not_so in [
        &["wait", "key", "build", "--version", "3", "--timeout", "0"][..],
        &["wait", "key", "build", "--absent", "--timeout", "0"],
        &["wait", "key", "build", "--value", "red", "--timeout", "0"],
        &["wait", "key", "build", "--global", "--timeout", "0"],
    ] {
        assert_eq!(failure(&mesh, not_so).0, 6, "{not_so:?}");
    }
}

#[tokio::test]
async fn time_that_is_over_ends_the_wait_with_code_6_and_not_before() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let begun = std::time::Instant::now();
    let (code, error) = failure(&mesh, &["wait", "event", "peer_joined", "--timeout", "1s"]);
    assert_eq!((code, error["reason"].as_str()), (6, Some("TIMEOUT")));
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_lock_is_waited_for_and_not_taken() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join_unattended("owl").await;
    owl.acquire(lock(&["src/"])).await.unwrap();
    let mut waiting = mesh.spawn(&["wait", "lock", "src/a.rs", "--json"]);
    settled(&mesh, &mut waiting);
    owl.release(Vec::new()).await.unwrap();
    met(waiting).await;
    assert_eq!(object(&mesh, &["locks"])["locks"], json!([]));
    object(&mesh, &["lock", "src/a.rs"]);
    object(&mesh, &["wait", "lock", "src/a.rs", "--timeout", "0"]);
    assert_eq!(failure(&mesh, &["wait", "lock", "src/a.rs", "--timeout", "0", "--as", "other"]).0, 6);
}

#[tokio::test]
async fn peers_are_waited_for_to_come_and_to_go() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut coming = mesh.spawn(&["wait", "peer", "owl", "--json"]);
    settled(&mesh, &mut coming);
    let owl = mesh.join("owl").await;
    assert_eq!(met(coming).await["peer"]["name"], "owl");
    let mut going = mesh.spawn(&["wait", "peer", "owl", "--gone", "--json"]);
    settled(&mesh, &mut going);
    owl.leave().await.unwrap();
    met(going).await;
}

#[tokio::test]
async fn an_event_is_waited_for_over_a_kill_of_the_broker() {
    let mesh = Mesh::new();
    let owl = {
        let options =
            mesh_client::JoinOptions { liveness: Liveness::Unattended, ..mesh_tests::options("owl") };
        mesh_client::Session::join(&mesh.starting_client(), options).await.unwrap()
    };
    let mut waiting = mesh.spawn(&["wait", "event", "state_changed", "--path", "src/", "--json"]);
    settled(&mesh, &mut waiting);
    mesh_tests::kill(mesh.broker_pid().unwrap());
    owl.put(put("elsewhere", "v")).await.unwrap();
    let mut here = put("here", "v");
    here.paths = vec!["src/a.rs".into()];
    let revision = owl.put(here).await.unwrap().entry.unwrap().revision;
    let answer = met(waiting).await;
    assert_eq!(
        (&answer["events"][0]["revision"], &answer["events"][0]["key"]),
        (&json!(revision), &json!("here"))
    );
}

#[tokio::test]
async fn an_event_that_has_occurred_is_found_after_a_revision() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join_unattended("owl").await;
    owl.put(put("one", "v")).await.unwrap();
    owl.put(put("two", "v")).await.unwrap();
    let listed = owl
        .call(|c| async move {
            c.events().list_events(ListEventsRequest { limit: 2, ..Default::default() }).await
        })
        .await
        .unwrap();
    let first = listed.batches[0].revision.to_string();
    let answer = object(&mesh, &["wait", "event", "state_changed", "--after", &first, "--timeout", "0"]);
    assert_eq!(answer["events"][0]["key"], "two");
}

#[tokio::test]
async fn all_that_is_known_about_a_path_is_one_view() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let about = object(&mesh, &["about", "src/api.rs"]);
    let fields = [
        "activity",
        "entries",
        "intents",
        "locks",
        "messages",
        "more",
        "path",
        "peers",
        "release_requests",
        "revision",
        "waiters",
    ];
    assert_eq!(keys(&about), fields);
    let nothing = mesh.run(&["about", "src/api.rs"]);
    assert_eq!(nothing.stdout, b"nothing is known about src/api.rs\n");
    object(&mesh, &["lock", "src/api.rs", "api:billing", "--contract", "charge(amount)", "--as", "fox"]);
    object(&mesh, &["touch", "src/api.rs", "--as", "fox"]);
    object(&mesh, &["touch", "src/api.rs", "--read"]);
    object(&mesh, &["remember", "decisions/api", "amounts in cents", "--path", "src/"]);
    object(&mesh, &["note", "the api moves", "--path", "src/api.rs"]);
    failure(&mesh, &["lock", "src/api.rs", "--ask=please"]);
    let about = object(&mesh, &["about", "src/api.rs"]);
    assert_eq!(about["locks"][0]["holder"], "fox");
    assert_eq!(about["release_requests"][0]["from"], "tester");
    assert_eq!(about["intents"][0]["lock"]["path"], "api:billing");
    assert_eq!(about["intents"][0]["contract"]["value"], "charge(amount)");
    assert_eq!(about["entries"][0]["key"], "decisions/api");
    assert_eq!(about["messages"][0]["body"], "the api moves");
    let activity = about["activity"].as_array().unwrap();
    let edited: Vec<_> = activity.iter().filter(|item| item["edit_revision"] != 0).collect();
    assert_eq!((activity.len(), edited.len(), &edited[0]["peer"]), (2, 1, &json!("fox")));
    let text = String::from_utf8(mesh.run(&["about", "src/api.rs"]).stdout).unwrap();
    for title in ["Locked", "Asked to make way", "Intents", "Remembered", "Read and edited", "Said about it"]
    {
        assert!(text.lines().any(|line| line == title), "{title}:\n{text}");
    }
    assert!(!text.contains("Waiting"), "{text}");
}
