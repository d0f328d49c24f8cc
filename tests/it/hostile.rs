//! Nothing that peers or a broker say steers a terminal, forges a line, or stands in an agent's context as anything but
//! data.

mod agents;
mod peers;

use std::process::Output;
use std::time::Duration;

use mesh_client::{ErrorReason, Session};
use mesh_tests::hostile::{Lie, LyingBroker, escapes};
use mesh_tests::{Mesh, unattended};
use tokio::task::JoinSet;

const ID: &str = "0191b2c3-0000-7000-8000-000000000001";

/// Every command that asks a broker, with what it needs to get far.
const COMMANDS: [&[&str]; 45] = [
    &["who", "--all"],
    &["who", "--all-scopes"],
    &["status"],
    &["events"],
    &["events", "--all-scopes", "--since", "1"],
    &["watch", "--since", "1"],
    &["watch", "--all-scopes", "--since", "1"],
    &["about", "src/a.rs"],
    &["touch", "src/a.rs"],
    &["topics"],
    &["notes"],
    &["inbox"],
    &["inbox", "--ack"],
    &["inbox", "--topic", "#deploys"],
    &["inbox", "--thread", ID],
    &["receipts", ID],
    &["note", "hello"],
    &["send", "all", "hello"],
    &["send", "owl", "hello", "--urgent"],
    &["send", "owl", "hello", "--wait-reply", "1s"],
    &["follow", "#deploys"],
    &["unfollow", "#deploys"],
    &["remember", "k", "v"],
    &["recall"],
    &["recall", "k"],
    &["recall", "k", "--history"],
    &["recall", "--query", "words"],
    &["recall", "--path", "src/"],
    &["forget", "k"],
    &["restore", "k", "1"],
    &["policy"],
    &["policy", "log/", "append"],
    &["lock", "src/a.rs"],
    &["lock", "src/a.rs", "--wait", "1s"],
    &["lock", "src/a.rs", "--wait", "1s", "--ask", "please", "--urgent"],
    &["lock", "api:billing", "--contract", "charge()"],
    &["unlock", "--all"],
    &["unlock", "src/a.rs", "--force", "--reason", "gone"],
    &["locks"],
    &["locks", "--all-scopes"],
    &["answer", "7", "release"],
    &["fence", "src/a.rs", "7"],
    &["wait", "key", "k", "--timeout", "1s"],
    &["wait", "event", "file_unlocked", "--timeout", "1s"],
    &["wait", "reply", ID, "--timeout", "1s"],
];
/// How results are asked for.
const WAYS: [&[&str]; 3] = [&["--color", "never"], &["--color", "always", "-vv"], &["--json"]];
/// A command that tells of its own failure exits with one of these; 101 is a panic, none is a signal.
const CODES: std::ops::RangeInclusive<i32> = 0..=9;

/// Runs a command against a broker that lies.
async fn told(mesh: &Mesh, endpoint: &str, way: &[&str], command: &[&str]) -> Option<Output> {
    let all = [way, command].concat();
    let mut run = tokio::process::Command::from(mesh.meshctl(&all));
    run.env("MESH_ENDPOINT", endpoint).env("MESH_TOKEN", "a".repeat(64)).env("TZ", "UTC").kill_on_drop(true);
    let output = run.output();
    tokio::time::timeout(Duration::from_secs(20), output).await.ok().map(|output| output.unwrap())
}

/// What is wrong with what a command has written.
fn faults(way: &[&str], command: &[&str], output: Option<&Output>) -> Vec<String> {
    let mut faults = Vec::new();
    let Some(output) = output else { return vec!["it does not end".to_owned()] };
    let code = output.status.code();
    if code.is_none_or(|code| !CODES.contains(&code)) {
        faults.push(format!("exit code {code:?}"));
    }
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        let Ok(text) = str::from_utf8(bytes) else {
            faults.push(format!("{name} is not UTF-8"));
            continue;
        };
        let coloured = way.contains(&"always") && name == "stdout";
        if !coloured && text.contains('\u{1b}') {
            faults.push(format!("{name} has an escape sequence"));
        }
        // A value that was asked for alone is the output; whoever reads it knows whose text it is.
        let whole = matches!(command, ["recall", "k"] | ["wait", "key", ..]) && name == "stdout";
        let found = escapes(text).into_iter().filter(|fault| !(whole && fault.starts_with("the line")));
        faults.extend(found.map(|fault| format!("{name}: {fault}")));
        if way.contains(&"--json") {
            let broken = text.lines().find(|line| serde_json::from_str::<serde_json::Value>(line).is_err());
            faults.extend(broken.map(|line| format!("{name} is not JSON: {line}")));
        }
        if text.contains("panicked") {
            faults.push(text.to_owned());
        }
    }
    faults
}

/// Runs all commands in all ways against one lie, a few at a time.
async fn all_faults(lie: Lie) -> Vec<String> {
    let broker = LyingBroker::start(lie).await;
    let endpoint = broker.endpoint().to_owned();
    let mut running = JoinSet::new();
    let mut faults = Vec::new();
    let mut done = |found: Result<Vec<String>, tokio::task::JoinError>| faults.extend(found.unwrap());
    for way in WAYS {
        for command in COMMANDS {
            if running.len() == 6 {
                done(running.join_next().await.unwrap());
            }
            let endpoint = endpoint.clone();
            running.spawn(async move {
                let mesh = Mesh::new();
                let output = told(&mesh, &endpoint, way, command).await;
                let named = |fault| format!("{way:?} {command:?} of {lie:?}: {fault}");
                faults_of_home(&mesh)
                    .into_iter()
                    .chain(self::faults(way, command, output.as_ref()))
                    .map(named)
                    .collect()
            });
        }
    }
    while let Some(found) = running.join_next().await {
        done(found);
    }
    assert!(broker.calls() > COMMANDS.len(), "the commands do not reach the broker");
    faults
}

/// Files that a lie has led astray: nothing of it may name one.
fn faults_of_home(mesh: &Mesh) -> Vec<String> {
    fn look(at: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
                found.push(format!("a file is called {name:?}"));
            }
            look(&entry.path(), found);
        }
    }
    let mut found = Vec::new();
    look(mesh.path(), &mut found);
    found
}

fn none(faults: &[String]) {
    assert!(
        faults.is_empty(),
        "{} faults, such as\n{}",
        faults.len(),
        faults[..faults.len().min(200)].join("\n")
    );
}

#[tokio::test]
async fn no_answer_of_a_broker_reaches_the_terminal_raw() {
    let mut faults = Vec::new();
    for variant in [0, 3] {
        faults.extend(all_faults(Lie::Answer(variant)).await);
    }
    none(&faults);
}

#[tokio::test]
async fn no_refusal_of_a_broker_reaches_the_terminal_raw() {
    let broker = |reason| LyingBroker::start(Lie::Refuse(reason));
    let mut faults = Vec::new();
    // Every reason, each with the commands whose hints it changes.
    for reason in 0..64 {
        if ErrorReason::try_from(reason).is_err() {
            break;
        }
        let broker = broker(reason).await;
        for (way, command) in
            WAYS.into_iter().zip([&["recall", "k"], &["remember", "k"], &["lock", "src/a.rs"]])
        {
            let command: Vec<_> =
                command.iter().copied().chain((command[0] == "remember").then_some("v")).collect();
            let mesh = Mesh::new();
            let output = told(&mesh, broker.endpoint(), way, &command).await;
            let named = |fault| format!("{way:?} {command:?} refused for {reason}: {fault}");
            faults.extend(self::faults(way, &command, output.as_ref()).into_iter().map(named));
        }
    }
    none(&faults);
}

#[tokio::test]
async fn no_peer_has_a_name_that_claims_authority_or_passes_for_another() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let _fox = mesh.join_unattended("amber-fox").await;
    for name in [
        "admin",
        "user",
        "system",
        "root",
        "mesh",
        "amber-fox.",
        "amber-fox-",
        "Amber-fox",
        "\u{430}mber-fox",
    ] {
        let refused = Session::join(&mesh.client(), unattended(name)).await.unwrap_err();
        assert_eq!(refused.reason(), Some(ErrorReason::InvalidField), "{name}");
    }
    // Whoever is called so by the machine is a person all the same.
    for (account, name) in [("admin", "admin-user"), ("root", "root-user")] {
        let noted = mesh.meshctl(&["note", "hello"]).env("USER", account).output().unwrap();
        assert!(noted.status.success(), "{account}: {}", String::from_utf8_lossy(&noted.stderr));
        let who = mesh.run(&["who", "--json"]);
        let shown = String::from_utf8_lossy(&who.stdout).into_owned();
        assert!(shown.contains(&format!("\"{name}\"")), "{shown}");
    }
}
