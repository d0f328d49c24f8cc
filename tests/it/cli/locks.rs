//! Locks of people: the queue, making way, narrowing, force, fences.

use mesh_client::Acquired;
use mesh_client::proto::event::Event;
use mesh_tests::{Followed, Mesh, follow, lock, within};
use serde_json::{Value, json};
use tokio::process::Child;

use super::{failure, object};

async fn until_queued(watch: &mut Followed) {
    watch.until("somebody in line", |event| matches!(event, Event::LockQueued(_)).then_some(())).await;
}

/// The end of a command with `--json`: its exit code, its result, and what it said meanwhile.
async fn ended(child: Child) -> (Option<i32>, Value, String) {
    let output = within("its end", child.wait_with_output()).await.unwrap();
    let result = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), result, String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn who_waits_gets_the_lock_when_it_is_free() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let owl = mesh.join_unattended("owl").await;
    owl.acquire(lock(&["src/"])).await.unwrap();
    let waiting = mesh.spawn(&["lock", "src/a.rs", "src/b.rs", "--wait", "1m", "--reason", "mine", "--json"]);
    until_queued(&mut watch).await;
    let listed = object(&mesh, &["locks"]);
    let waiter = &listed["waiters"][0];
    assert_eq!(
        (&waiter["peer"], &waiter["paths"], &waiter["reason"]),
        (&json!("tester"), &json!(["src/a.rs", "src/b.rs"]), &json!("mine"))
    );
    // Whoever comes later stands behind.
    let (code, error) = failure(&mesh, &["lock", "src/b.rs", "--as", "later"]);
    assert_eq!(code, 4);
    let in_the_way = error["conflicts"].as_array().unwrap();
    assert!(in_the_way.iter().any(|conflict| conflict["waiter"]["peer"] == "tester"), "{error}");
    owl.release(vec!["src/".into()]).await.unwrap();
    let (code, result, said) = ended(waiting).await;
    assert_eq!((code, &result["holder"]), (Some(0), &json!("tester")));
    assert_eq!(result["locks"][0]["ticket"], waiter["ticket"]);
    let note: Value = serde_json::from_str(&said).unwrap();
    let note = note["note"].as_str().unwrap();
    assert!(note.starts_with("waiting: src/a.rs is locked by owl, who holds src/"), "{said}");
}

#[tokio::test]
async fn whoever_stops_waiting_leaves_the_queue() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let owl = mesh.join_unattended("owl").await;
    owl.acquire(lock(&["src/"])).await.unwrap();
    let mut waiting = mesh.spawn(&["lock", "src/a.rs", "--wait", "10m"]);
    until_queued(&mut watch).await;
    waiting.kill().await.unwrap();
    watch.until("its leaving", |event| matches!(event, Event::LockWaitEnded(_)).then_some(())).await;
    assert_eq!(object(&mesh, &["locks"])["waiters"], json!([]));
}

#[tokio::test]
async fn waiting_in_a_circle_is_refused_with_the_circle() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let owl = mesh.join_unattended("owl").await;
    owl.acquire(lock(&["y"])).await.unwrap();
    object(&mesh, &["lock", "x"]);
    let theirs = tokio::spawn({
        let owl = owl.clone();
        async move { owl.acquire_wait(lock(&["x"]), std::time::Duration::from_secs(60)).await }
    });
    until_queued(&mut watch).await;
    let (code, error) = failure(&mesh, &["lock", "y", "--wait", "1m"]);
    assert_eq!((code, error["reason"].as_str()), (4, Some("DEADLOCK")));
    assert_eq!(error["cycle"], json!(["tester", "owl", "tester"]));
    object(&mesh, &["unlock", "x"]);
    assert!(matches!(within("their lock", theirs).await.unwrap(), Ok(Acquired::Granted(_))));
}

#[tokio::test]
async fn holders_are_asked_and_their_answers_reach_whoever_waits() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    object(&mesh, &["lock", "src/", "--as", "holder"]);
    let (code, error) = failure(&mesh, &["lock", "src/a.rs", "--ask=please", "--urgent"]);
    let asked = &error["release_requests"][0];
    assert_eq!((code, error["reason"].as_str()), (4, Some("LOCKED")));
    assert_eq!(
        (&asked["holder"], &asked["from"], &asked["reason"], &asked["urgent"]),
        (&json!("holder"), &json!("tester"), &json!("please"), &json!(true))
    );
    let told = mesh.run(&["inbox", "--as", "holder"]).stdout;
    let told = String::from_utf8(told).unwrap();
    assert!(told.starts_with("tester asks you to make way on src/ \"please\": `meshctl answer "), "{told}");
    let waiting = mesh.spawn(&["lock", "src/a.rs", "--ask", "--wait", "1m", "--json"]);
    until_queued(&mut watch).await;
    let id = object(&mesh, &["locks", "src/a.rs"])["release_requests"][0]["id"].to_string();
    assert_eq!(id, asked["id"].to_string(), "asking again finds the open request");
    assert_eq!(failure(&mesh, &["answer", &id, "keep"]).0, 5, "it is for another peer");
    let answer = object(
        &mesh,
        &["answer", &id, "narrow", "--keep", "src/b.rs", "--note", "take it", "--as", "holder"],
    );
    assert_eq!((&answer["answer"], &answer["paths"]), (&json!("narrow"), &json!(["src/"])));
    assert_eq!(answer["kept"][0]["path"], "src/b.rs");
    let (code, result, _) = ended(waiting).await;
    assert_eq!((code, &result["locks"][0]["path"]), (Some(0), &json!("src/a.rs")));
    assert_eq!(failure(&mesh, &["answer", &id, "keep", "--as", "holder"]).0, 5, "it is settled");
}

#[tokio::test]
async fn a_word_of_the_holder_is_told_while_one_waits() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    object(&mesh, &["lock", "src/", "--as", "holder"]);
    let mut waiting = mesh.spawn(&["lock", "src/a.rs", "--ask", "--wait", "1m"]);
    let mut said = {
        use tokio::io::AsyncBufReadExt;
        tokio::io::BufReader::new(waiting.stderr.take().unwrap()).lines()
    };
    until_queued(&mut watch).await;
    let id = object(&mesh, &["locks"])["release_requests"][0]["id"].to_string();
    object(&mesh, &["answer", &id, "keep", "--note", "two minutes", "--as", "holder"]);
    let mut lines = Vec::new();
    while !lines.last().is_some_and(|line: &String| line.contains("keeps")) {
        lines.push(within("a line", said.next_line()).await.unwrap().unwrap());
    }
    assert_eq!(lines[0], format!("asked holder to make way on src/ (request {id})"));
    assert!(lines[1].starts_with("waiting: src/a.rs is locked by holder"), "{lines:?}");
    assert_eq!(lines[2], "holder keeps src/: \"two minutes\"");
    object(&mesh, &["unlock", "src/", "--as", "holder"]);
    assert!(within("its lock", waiting.wait()).await.unwrap().success());
}

#[tokio::test]
async fn a_lock_is_narrowed_without_a_gap() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    object(&mesh, &["lock", "src/", "--reason", "all of it"]);
    let narrowed = object(&mesh, &["unlock", "src/", "--keep", "src/a.rs", "src/b.rs"]);
    assert_eq!(narrowed["paths"], json!(["src/"]));
    let kept: Vec<_> = narrowed["kept"].as_array().unwrap().iter().map(|lock| &lock["path"]).collect();
    assert_eq!(kept, ["src/a.rs", "src/b.rs"]);
    assert_eq!(narrowed["kept"][0]["reason"], "all of it");
    object(&mesh, &["lock", "src/c.rs", "--as", "somebody"]);
    assert_eq!(failure(&mesh, &["lock", "src/b.rs", "--as", "somebody"]).0, 4);
}

#[tokio::test]
async fn force_takes_the_locks_of_others_and_fences_them() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let owl = mesh.join_unattended("owl").await;
    let Acquired::Granted(held) = owl.acquire(lock(&["src/a.rs"])).await.unwrap() else { panic!("refused") };
    let token = held[0].fencing_token.to_string();
    let good = object(&mesh, &["fence", "src/a.rs", &token]);
    assert_eq!((&good["valid"], &good["lock"]["holder"]), (&json!(true), &json!("owl")));
    assert_eq!(failure(&mesh, &["fence", "src/", &token]).1["reason"], "FENCED", "it covers one file only");
    let taken = object(&mesh, &["unlock", "--force", "src/", "--reason", "it hangs"]);
    assert_eq!(
        (&taken["locks"][0]["path"], &taken["locks"][0]["holder"]),
        (&json!("src/a.rs"), &json!("owl"))
    );
    let (batch, reason) = watch
        .until("the end of the lock", |event| {
            if let Event::FileUnlocked(ended) = event { Some(ended.reason.clone()) } else { None }
        })
        .await;
    assert_eq!((batch.actor.as_str(), reason.as_str()), ("tester", "it hangs"));
    object(&mesh, &["lock", "src/"]);
    let (code, error) = failure(&mesh, &["fence", "src/a.rs", &token]);
    assert_eq!((code, &error["lock"]["holder"]), (4, &json!("tester")));
    assert_eq!(object(&mesh, &["unlock", "--force", "src/", "--reason", "x"])["locks"], json!([]));
}

#[tokio::test]
async fn globs_symbols_and_subjects_are_targets() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let targets = ["src/**/*_test.rs", "src/auth.ts#Session::refresh", "task:ABC-12"];
    let locked = object(&mesh, &[&["lock"][..], &targets].concat());
    let paths: Vec<_> = locked["locks"].as_array().unwrap().iter().map(|lock| &lock["path"]).collect();
    assert_eq!(paths, targets);
    for (target, code) in [
        ("src/deep/a_test.rs", 4),
        ("src/a.rs", 0),
        ("src/auth.ts#Session", 4),
        ("src/auth.ts#Session::close", 0),
        ("task:ABC-12/part", 4),
        ("task:ABC-13", 0),
    ] {
        let output = mesh.run(&["lock", target, "--as", "somebody"]);
        assert_eq!(output.status.code(), Some(code), "{target}");
    }
}
