//! Where agents meet: clones and worktrees of one repository share a scope, and people are peers like agents.

use std::path::{Path, PathBuf};
use std::process::Command;

use mesh_tests::Mesh;
use serde_json::{Value, json};

use super::agent::{Agent, Era};

fn git(directory: &Path, arguments: &[&str]) {
    let mut git = Command::new("git");
    git.current_dir(directory).args(["-c", "user.name=t", "-c", "user.email=t@t"]).args(arguments);
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = git.output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Two clones of one repository that name its origin in different ways, and a worktree of the first.
fn checkouts(base: &Path) -> [PathBuf; 3] {
    let [one, two, worktree] = ["one", "two", "worktree"].map(|name| base.join(name));
    for (clone, origin) in [(&one, "https://github.com/acme/app.git"), (&two, "git@github.com:acme/app.git")]
    {
        std::fs::create_dir_all(clone.join("src")).unwrap();
        git(clone, &["init", "-q", "-b", "main"]);
        git(clone, &["commit", "-q", "--allow-empty", "-m", "one"]);
        git(clone, &["remote", "add", "origin", origin]);
    }
    git(&one, &["worktree", "add", "-q", "-b", "side", "../worktree"]);
    [one, two, worktree]
}

/// An adapter in a checkout, where the scope is that of the checkout.
async fn agent_in(mesh: &Mesh, checkout: &Path, name: &str) -> (Agent, String) {
    let mut command = mesh.meshctl(&["mcp"]);
    command.env_remove("MESH_SCOPE").current_dir(checkout);
    let mut agent = Agent::spawn(command, Era::Modern).await;
    let checkin = agent.call("mesh_checkin", json!({"name": name, "files": ["src/a.rs"]})).await.done();
    (agent, checkin)
}

#[tokio::test]
async fn clones_and_worktrees_of_a_repository_share_its_scope() {
    let mesh = Mesh::new();
    let [one, two, worktree] = checkouts(mesh.path());
    let (mut fox, checkin) = agent_in(&mesh, &one, "fox").await;
    assert_eq!(checkin, "you are fox in github.com/acme/app on main\nnobody else is here");
    let (mut owl, checkin) = agent_in(&mesh, &two, "owl").await;
    assert!(
        checkin.starts_with("you are owl in github.com/acme/app on main\n1 other here:\nfox ("),
        "{checkin}"
    );
    let (mut elk, checkin) = agent_in(&mesh, &worktree, "elk").await;
    assert!(checkin.starts_with("you are elk in github.com/acme/app on side\n2 others here:\n"), "{checkin}");
    assert!(!checkin.contains("in your checkout"), "{checkin}");
    // A second agent in the same checkout is worth a word.
    let (mut hen, checkin) = agent_in(&mesh, &worktree, "hen").await;
    let beside = |line: &&str| line.contains("in your checkout");
    let beside: Vec<_> = checkin.lines().filter(beside).collect();
    assert!(beside.len() == 1 && beside[0].starts_with("elk ("), "{checkin}");
    // One file has one name, however it is written and wherever it is checked out.
    fox.call("mesh_lock", json!({"paths": [one.join("src/a.rs")]})).await.done();
    for (agent, paths) in [
        (&mut owl, json!(["src/a.rs"])),
        (&mut elk, json!([worktree.join("src/a.rs")])),
        (&mut hen, json!([one.join("src/a.rs")])),
    ] {
        let refusal = agent.call("mesh_lock", json!({"paths": paths})).await.refused();
        assert!(refusal.contains("src/a.rs held by fox"), "{paths}: {refusal}");
    }
    let note = json!({"key": "k", "value": "v", "paths": [two.join("src/a.rs")]});
    owl.call("mesh_remember", note).await.done();
    let known = elk.call("mesh_recall", json!({"path": "src/a.rs"})).await.done();
    for part in ["lock: src/a.rs held by fox", "working on it: owl on main", "k version 1 by owl"] {
        assert!(known.contains(part), "{part}: {known}");
    }
}

/// The JSON that a person's command prints.
fn person(mesh: &Mesh, arguments: &[&str]) -> Value {
    let output = mesh.run(&[&["--json"], arguments].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {told}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_person_and_an_agent_talk_and_keep_out_of_each_others_way() {
    let mesh = Mesh::new();
    let mut fox = Agent::named(&mesh, Era::Legacy, "fox").await;
    let who = person(&mesh, &["who"]);
    let names: Vec<_> = who["peers"].as_array().unwrap().iter().map(|peer| &peer["name"]).collect();
    assert!(names.contains(&&json!("fox")), "{who}");
    person(&mesh, &["send", "fox", "Stop, please."]);
    let read = fox.call("mesh_inbox", json!({"ack": true})).await.done();
    let number = read.split(' ').next().unwrap();
    assert!(read.contains(" from tester, ") && read.contains("\n> Stop, please.\n"), "{read}");
    let answer = json!({"to": "tester", "body": "Stopped.", "reply_to": number, "intent": "ack"});
    fox.call("mesh_send", answer).await.done();
    let inbox = person(&mesh, &["inbox", "--ack"]);
    let message = &inbox["messages"][0];
    assert_eq!((&message["from"], &message["body"]), (&json!("fox"), &json!("Stopped.")), "{inbox}");
    fox.call("mesh_lock", json!({"paths": ["src/"], "reason": "mine"})).await.done();
    let refused = mesh.run(&["lock", "src/a.rs"]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("fox"));
    person(&mesh, &["lock", "docs/", "--reason", "editing"]);
    let refusal = fox.call("mesh_lock", json!({"paths": ["docs/a.md"]})).await.refused();
    assert!(refusal.contains("docs/ held by tester") && refusal.contains("\"editing\""), "{refusal}");
    person(&mesh, &["remember", "decision", "tabs"]);
    let known = fox.call("mesh_recall", json!({"key": "decision"})).await.done();
    assert!(known.contains("by tester") && known.ends_with("> tabs"), "{known}");
}
