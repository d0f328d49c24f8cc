//! A session starts with what there is to know, however much there is.

use mesh_client::proto::{PeerInfo, SendRequest};
use mesh_client::{JoinOptions, Session};
use mesh_tests::{SCOPE, broadcast, lock, message, put, unattended};
use serde_json::json;

use super::seat::Ground;

#[tokio::test]
async fn a_session_starts_with_who_is_here_on_what_and_what_there_is_to_know() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let seat = ground.seat();
    let alone = seat.start().await;
    let name = seat.name();
    assert!(
        alone.context().starts_with(&format!("[mesh] you are {name} on the mesh of {SCOPE}; "))
            && alone.context().contains("Nobody else is here."),
        "{alone:?}"
    );
    let owl = ground.other("owl", "app").await;
    let info = PeerInfo {
        focus: "the \"login\"\nform".replace('\n', " "),
        branch: "side".into(),
        ..Default::default()
    };
    owl.update(info, &["focus", "branch"]).await.unwrap();
    let mut claim = lock(&["src/login/"]);
    claim.reason = "moving it".into();
    owl.acquire(claim).await.unwrap();
    owl.put(put("build", "run make twice")).await.unwrap();
    let note = SendRequest { topic: "#notes".into(), broadcast: false, ..broadcast("CI is red") };
    owl.send(note).await.unwrap();
    owl.send(message(&name, "welcome")).await.unwrap();
    // Somebody who has left is not here.
    ground.other("elk", "app").await.leave().await.unwrap();
    let told = seat.starts("compact").await;
    for part in [
        "\n- owl (zed, branch side): \"the \\\"login\\\" form\"",
        "\n- src/login/ by owl: \"moving it\"",
        "\n- build by owl, just now: \"run make twice\"",
        "\n- owl, just now: \"CI is red\"",
        "\n> welcome",
    ] {
        assert!(told.context().contains(part), "{part:?} is not in {}", told.context());
    }
    assert!(!told.context().contains("elk"), "{told:?}");
    // Who looks at what others remember reads nothing of its own accord.
    let seen = ground.meshctl(&["recall", "build", "--json"]).output().unwrap();
    assert!(seen.status.success());
}

#[tokio::test]
async fn however_full_the_mesh_is_the_start_is_short_and_the_mail_is_in_it() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&["--durability", "process"]);
    let client = ground.mesh.client();
    let mut others: Vec<Session> = Vec::new();
    for number in 0..100 {
        let mut options: JoinOptions = unattended(&format!("peer-{number}"));
        options.info.focus = format!("{number}: {}", "wide \"scope\" ".repeat(30));
        options.info.branch = format!("{}-{number}", "branch ".repeat(25));
        options.info.agent_kind = "k".repeat(60);
        others.push(Session::join(&client, options).await.unwrap());
    }
    for (number, other) in others.iter().enumerate().take(40) {
        let mut claim = lock(&[&format!("dir-{number}/{}", "deep name/".repeat(40))]);
        claim.reason = "because ".repeat(50);
        other.acquire(claim).await.unwrap();
    }
    for number in 0..1000 {
        let owl = &others[number % 100];
        owl.put(put(&format!("{}-{number}", "key ".repeat(50)), &"value ".repeat(100))).await.unwrap();
    }
    for other in others.iter().take(20) {
        let note =
            SendRequest { topic: "#notes".into(), broadcast: false, ..broadcast(&"note ".repeat(100)) };
        other.send(note).await.unwrap();
    }
    let seat = ground.seat();
    let name = seat.name_at_start().await;
    for number in 0..20 {
        others[0].send(message(&name, &format!("letter {number}. {}", "x\n".repeat(700)))).await.unwrap();
    }
    let told = seat.starts("compact").await;
    let units = told.context().encode_utf16().count();
    eprintln!("the start in a full mesh takes {units} units");
    assert!(units <= 10_000, "{units}");
    assert!(!told.context().contains("[cut here"), "{}", told.context());
    for part in ["peer-0", "> letter 0.", "more messages not shown: mesh_inbox", "more: mesh_who"] {
        assert!(told.context().contains(part), "{part:?} is not in {}", told.context());
    }
    let next = seat.prompt().await;
    assert!(next.context().contains("> letter 1."), "what did not fit comes next: {next:?}");
}

#[tokio::test]
async fn a_scope_that_is_only_a_number_is_not_told() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    std::fs::create_dir(ground.path("plain")).unwrap();
    super::seat::git(&ground.path("app"), &["remote", "remove", "origin"]);
    for directory in ["plain", "app"] {
        let told = ground.seat_of("claude-code", directory).start().await;
        assert!(told.context().contains(" on the mesh; other agents see"), "{directory}: {told:?}");
    }
}

#[tokio::test]
async fn a_start_is_told_in_the_checkout_of_the_session() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    ground.worktree("wt", "side");
    let (seat, other) = (ground.seat(), ground.seat_of("claude-code", "wt"));
    seat.start().await;
    let told = other.start().await;
    let here = format!("\n- {} (claude-code, branch main, idle)", seat.name());
    assert!(told.context().contains(&here), "{told:?}");
    seat.prompt().await;
    let told = other.hook("SessionStart", json!({"source": "resume"})).await;
    assert!(told.context().contains(&here.replace("idle", "working")), "{told:?}");
    let info = ground.peers().await.into_iter().find(|peer| peer.name == other.name()).unwrap().info.unwrap();
    assert_eq!((info.branch.as_str(), info.pid), ("side", other.process.as_ref().unwrap().pid()));
    assert_eq!(info.worktree, ground.path("wt").to_string_lossy());
    assert!(!info.head.is_empty() && info.agent_version == "2.1.329", "{info:?}");
}
