//! Remembering together: conflicts, histories, policies, finding.

use mesh_tests::{Mesh, put};
use serde_json::{Value, json};

use super::{failure, keys, object};

#[tokio::test]
async fn what_another_wrote_is_shown_beside_ones_own_before_it_is_overwritten() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join_unattended("owl").await;
    object(&mesh, &["remember", "k", "first"]);
    let mut theirs = put("k", "theirs");
    theirs.precondition = Some(overwrite());
    owl.put(theirs).await.unwrap();
    let (code, error) = failure(&mesh, &["remember", "k", "mine"]);
    assert_eq!((code, error["reason"].as_str()), (4, Some("OVERWRITE_NEEDS_VERSION")));
    let conflict = &error["conflict"];
    assert_eq!(keys(conflict), ["base", "fields", "theirs", "values_omitted", "yours"]);
    assert_eq!(
        (&conflict["base"]["value"], &conflict["base"]["writer"]),
        (&json!("first"), &json!("tester"))
    );
    assert_eq!(
        (&conflict["theirs"]["value"], &conflict["theirs"]["writer"], &conflict["theirs"]["version"]),
        (&json!("theirs"), &json!("owl"), &json!(2))
    );
    assert_eq!(conflict["yours"], "mine");
    // What was shown has been read.
    assert_eq!(object(&mesh, &["remember", "k", "theirs and mine"])["entry"]["version"], 3);
}

fn overwrite() -> mesh_client::proto::Precondition {
    use mesh_client::proto::precondition::Condition;
    mesh_client::proto::Precondition { condition: Some(Condition::Overwrite(true)) }
}

#[tokio::test]
async fn what_one_has_recalled_one_may_overwrite_and_forget() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join_unattended("owl").await;
    // Reading begins no session, so there is one already.
    object(&mesh, &["remember", "mine", "x"]);
    for (key, read) in [
        ("one", &["recall", "one"][..]),
        ("two", &["recall", "--prefix", "tw"]),
        ("three", &["recall", "--query", "theirs"]),
        ("four", &["about", "src/four.rs"]),
    ] {
        let mut theirs = put(key, "theirs");
        theirs.paths = vec![format!("src/{key}.rs")];
        owl.put(theirs).await.unwrap();
        assert_eq!(failure(&mesh, &["forget", key, "--as", "stranger"]).0, 4, "{key}");
        object(&mesh, read);
        object(&mesh, &["remember", key, "mine"]);
    }
    owl.put(put("five", "theirs")).await.unwrap();
    let (code, error) = failure(&mesh, &["forget", "five"]);
    assert_eq!((code, &error["conflict"]["theirs"]["value"]), (4, &json!("theirs")));
    assert_eq!(error["conflict"]["yours"], Value::Null);
    object(&mesh, &["recall", "five"]);
    object(&mesh, &["forget", "five"]);
    owl.put(put("six", "theirs")).await.unwrap();
    object(&mesh, &["remember", "six", "mine", "--overwrite"]);
}

#[tokio::test]
async fn reading_begins_no_session() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join_unattended("owl").await;
    owl.put(put("k", "v")).await.unwrap();
    for read in [
        &["recall", "k"][..],
        &["recall", "k", "--history"],
        &["recall"],
        &["about", "src/a.rs"],
        &["locks"],
        &["topics"],
        &["policy"],
        &["wait", "key", "k"],
        &["wait", "peer", "owl"],
    ] {
        object(&mesh, read);
        assert_eq!(object(&mesh, &["who", "--all"])["peers"].as_array().unwrap().len(), 1, "{read:?}");
    }
}

#[tokio::test]
async fn earlier_versions_are_listed_and_brought_back() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    for value in ["one", "two", "three"] {
        object(&mesh, &["remember", "k", value, "--tag", value]);
    }
    assert_eq!(object(&mesh, &["recall", "k", "--version", "1"])["entry"]["value"], "one");
    object(&mesh, &["forget", "k"]);
    let history = object(&mesh, &["recall", "k", "--history"]);
    let values: Vec<_> =
        history["versions"].as_array().unwrap().iter().map(|version| &version["value"]).collect();
    assert_eq!(values, ["three", "two", "one"]);
    assert_eq!(history["deleted"], true);
    object(&mesh, &["revert", "k", "2"]);
    let entry = &object(&mesh, &["recall", "k"])["entry"];
    assert_eq!((&entry["value"], &entry["tags"]), (&json!("two"), &json!(["two"])));
    object(&mesh, &["remember", "k", "four"]);
    assert_eq!(object(&mesh, &["recall", "k"])["entry"]["tags"], json!(["two"]));
    object(&mesh, &["remember", "k", "five", "--drop-labels"]);
    assert_eq!(object(&mesh, &["recall", "k"])["entry"]["tags"], json!([]));
}

#[tokio::test]
async fn a_policy_says_how_writers_treat_each_other() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    assert_eq!(object(&mesh, &["policy"])["policies"], json!([]));
    let append = json!([{"prefix": "log/", "kind": "append"}]);
    assert_eq!(object(&mesh, &["policy", "log/", "append"])["policies"], append);
    object(&mesh, &["policy", "status/", "last-write-wins"]);
    assert_eq!(object(&mesh, &["policy", "log/x"])["policies"], append);
    object(&mesh, &["remember", "log/x", "one"]);
    object(&mesh, &["remember", "log/x", "two", "--as", "somebody"]);
    let entry = &object(&mesh, &["recall", "log/x"])["entry"];
    assert_eq!((&entry["value"], &entry["writer"]), (&json!("one\ntwo"), &json!("somebody")));
    object(&mesh, &["policy", "log/", "none"]);
    assert_eq!(object(&mesh, &["policy", "log/"])["policies"], json!([]));
    assert_eq!(failure(&mesh, &["remember", "log/x", "three", "--as", "third"]).0, 4);
}

#[tokio::test]
async fn words_find_what_fits_best_first() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    object(&mesh, &["remember", "a", "the database is migrated by hand"]);
    object(&mesh, &["remember", "b", "tokens expire; token expiry is 15 minutes"]);
    let found = object(&mesh, &["recall", "--query", "token expiry database"]);
    let found: Vec<_> = found["entries"].as_array().unwrap().iter().map(|entry| &entry["key"]).collect();
    assert_eq!(found, ["b", "a"]);
    let found = object(&mesh, &["recall", "--query", "token expiry database", "--limit", "1"]);
    assert_eq!((found["entries"].as_array().unwrap().len(), &found["more"]), (1, &json!(true)));
}
