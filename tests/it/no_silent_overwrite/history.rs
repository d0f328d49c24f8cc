//! Former versions are kept, and are found again.

use mesh_client::ErrorReason;
use mesh_client::proto::{
    DeleteRequest, DescribePathRequest, GetRequest, ListVersionsRequest, PutRequest, RestoreRequest,
    SearchEntriesRequest, Touch, TouchFilesRequest, TouchKind,
};
use mesh_tests::{Mesh, get, lock, put, refused, share};

#[tokio::test]
async fn the_last_versions_are_kept_with_author_and_time_and_can_be_restored() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let fox = mesh.join_unattended("fox").await;
    for n in 1..=13 {
        fox.put(PutRequest { tags: vec![format!("t{n}")], ..put("k", &format!("value {n}")) }).await.unwrap();
    }
    broker.kill();
    let _broker = mesh.serve(&[]);
    let versions = ListVersionsRequest { key: "k".into(), ..ListVersionsRequest::default() };
    let kept = fox.list_versions(versions.clone()).await.unwrap();
    let numbers: Vec<u64> = kept.versions.iter().map(|entry| entry.version).collect();
    assert_eq!(numbers, (3..=13).rev().collect::<Vec<_>>(), "the present one and ten former ones");
    assert!(
        !kept.deleted
            && kept.versions.iter().all(|entry| entry.writer == "fox" && entry.write_time.is_some())
    );
    let old = GetRequest { version: 5, ..get("k") };
    assert_eq!(fox.get(old).await.unwrap().entry.unwrap().value, "value 5");
    let lost = GetRequest { version: 2, ..get("k") };
    assert_eq!(refused(fox.get(lost).await).reason, ErrorReason::VersionNotFound);

    let restore = |version| RestoreRequest { key: "k".into(), version, ..RestoreRequest::default() };
    let restored = fox.restore(restore(5)).await.unwrap().entry.unwrap();
    assert_eq!((restored.version, restored.tags), (14, vec!["t5".to_owned()]));
    fox.delete(DeleteRequest { key: "k".into(), ..DeleteRequest::default() }).await.unwrap();
    assert_eq!(refused(fox.get(get("k")).await).reason, ErrorReason::KeyNotFound);
    let kept = fox.list_versions(versions).await.unwrap();
    assert!(kept.deleted && kept.versions[0].version == 14);
    let back = fox.restore(restore(14)).await.unwrap().entry.unwrap();
    assert_eq!(back.version, 15, "numbers go on");
    assert_eq!(refused(fox.restore(restore(1)).await).reason, ErrorReason::VersionNotFound);
}

#[tokio::test]
async fn words_find_entries_the_best_first_and_at_once() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let fox = mesh.join_unattended("fox").await;
    for (key, text) in [
        ("build", "run the checks before each commit"),
        ("auth/tokens", "refreshTokens() expires sessions after ten minutes"),
        ("auth/login", "the login form posts to /session"),
        ("http", "one shared client; sessions are pooled"),
    ] {
        fox.put(put(key, text)).await.unwrap();
    }
    let search =
        |query: &str| SearchEntriesRequest { query: query.into(), ..SearchEntriesRequest::default() };
    let keys = |answer: mesh_client::proto::SearchEntriesResponse| {
        answer.hits.into_iter().map(|hit| hit.entry.unwrap().key).collect::<Vec<_>>()
    };
    let found = keys(fox.search_entries(search("expiring session tokens")).await.unwrap());
    assert_eq!(found[0], "auth/tokens");
    assert!(found.contains(&"http".to_owned()) && !found.contains(&"build".to_owned()), "{found:?}");
    fox.put(put("build", "tokens of the expiring session")).await.unwrap();
    let found = keys(fox.search_entries(search("expiring session tokens")).await.unwrap());
    assert!(found[..2].contains(&"build".to_owned()), "what was just written is found: {found:?}");
    fox.delete(DeleteRequest { key: "build".into(), ..DeleteRequest::default() }).await.unwrap();
    assert!(!keys(fox.search_entries(search("tokens")).await.unwrap()).contains(&"build".to_owned()));
    let within = SearchEntriesRequest { prefix: "auth/".into(), ..search("session") };
    assert!(keys(fox.search_entries(within).await.unwrap()).iter().all(|key| key.starts_with("auth/")));
}

#[tokio::test]
async fn one_view_tells_all_that_is_known_about_a_path() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    let path = "src/auth.rs";
    let mut changing = lock(&[path, "api:auth"]);
    changing.contract = Some(mesh_client::proto::Contract { text: "login(name)".into(), paths: vec![] });
    fox.acquire(changing).await.unwrap();
    owl.acquire(share(&["docs/"])).await.unwrap();
    fox.put(PutRequest { paths: vec!["src/".into()], ..put("style", "no unwrap") }).await.unwrap();
    fox.put(PutRequest { paths: vec!["docs/".into()], ..put("other", "elsewhere") }).await.unwrap();
    let touch = |kind: TouchKind| TouchFilesRequest {
        touches: vec![Touch { path: path.into(), kind: kind.into() }],
        branch: "feature".into(),
        ..TouchFilesRequest::default()
    };
    owl.touch_files(touch(TouchKind::Read)).await.unwrap();
    fox.touch_files(touch(TouchKind::Edit)).await.unwrap();
    fox.send(mesh_tests::broadcast("src/auth.rs:42 is subtle, see `src/auth.rs`.")).await.unwrap();
    let ask = DescribePathRequest { path: path.into(), ..DescribePathRequest::default() };
    let known = owl.describe_path(ask).await.unwrap();
    assert_eq!(known.locks.iter().map(|lock| lock.path.as_str()).collect::<Vec<_>>(), [path]);
    assert_eq!(known.entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["style"]);
    let intent = &known.intents[0];
    assert_eq!(intent.lock.as_ref().unwrap().path, "api:auth");
    assert_eq!(intent.contract.as_ref().unwrap().value, "login(name)");
    let [edit, read] = known.activity.as_slice() else { panic!("{:?}", known.activity) };
    assert!(edit.peer == "fox" && edit.edit_revision > 0 && edit.branch == "feature");
    assert!(read.peer == "owl" && read.read_revision > 0 && read.read_revision < edit.edit_revision);
    assert_eq!(known.messages.len(), 1);
    assert_eq!(known.more, [""; 0]);
    let nothing = DescribePathRequest { path: "README.md".into(), ..DescribePathRequest::default() };
    let nothing = owl.describe_path(nothing).await.unwrap();
    assert!(nothing.locks.is_empty() && nothing.entries.is_empty() && nothing.messages.is_empty());
    // What was shown counts as read.
    owl.put(put("style", "no unwrap, no expect")).await.unwrap();
}
