//! One agent session is one peer, whichever of its processes comes first and whatever happens in between; two are two.

use mesh_client::proto::PeerActivity;
use mesh_tests::{SCOPE, follow, kill, within};
use serde_json::{Value, json};

use super::seat::{Ground, Process, Seat, is_online};
use crate::mcp::agent::{Agent, Era};

/// The MCP adapter of a session of Claude Code, told the session by its environment. It is a child of its host, so this
/// process is that host: that of the seat's hooks too.
pub(super) async fn adapter(seat: &mut Seat) -> Agent {
    seat.process = None;
    let mut command = seat.command(&["mcp"]);
    command.env_remove("CLAUDE_PID").env("CLAUDE_PROJECT_DIR", &seat.cwd);
    Agent::spawn_as(command, Era::Modern, "claude-code").await
}

/// The name that the adapter's agent goes by.
async fn name_by(agent: &mut Agent) -> String {
    let text = agent.call("mesh_status", json!({})).await.done();
    let name = text.split("you are ").nth(1).unwrap_or_else(|| panic!("{text}"));
    name.split([' ', ',', '\n']).next().unwrap().to_owned()
}

#[tokio::test]
async fn hooks_adapter_and_shell_are_one_peer_in_any_order() {
    for order in [[0, 1, 2], [1, 0, 2], [1, 2, 0], [0, 2, 1]] {
        let ground = Ground::new();
        let _broker = ground.mesh.serve(&[]);
        let mut seat = Seat { process: None, ..ground.seat() };
        let mut adapters = Vec::new();
        let mut names = Vec::new();
        for part in order {
            names.push(match part {
                0 => {
                    seat.start().await;
                    ground.only("claude-code").await.name
                }
                1 => {
                    let mut agent = adapter(&mut seat).await;
                    let name = name_by(&mut agent).await;
                    adapters.push(agent);
                    name
                }
                _ => seat.name(),
            });
        }
        assert!(names.iter().all(|name| *name == names[0]), "{order:?}: {names:?}");
        assert!(is_online(&ground.only("claude-code").await), "{order:?}");
    }
}

#[tokio::test]
async fn codex_names_its_session_in_each_call() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let seat = ground.seat_of("codex", "app");
    seat.start().await;
    assert_eq!(seat.name(), ground.only("codex").await.name);
    // Another thread of the same process.
    let other = Seat { session: "01a2-other".into(), ..seat.resumed() };
    other.start().await;
    assert_ne!(other.name(), seat.name());
    assert_eq!(seat.name(), seat.name());
}

#[tokio::test]
async fn a_session_stays_the_same_over_resume_compaction_and_clear() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let mut seat = ground.seat();
    seat.start().await;
    let name = ground.only("claude-code").await.name;
    seat.starts("compact").await;
    seat.end("clear").await;
    assert!(is_online(&ground.only("claude-code").await), "it goes on");
    seat.session = "another-id-after-clear".into();
    let cleared = seat.starts("clear").await;
    assert!(cleared.context().contains(&name), "{cleared:?}");
    seat.end("prompt_input_exit").await;
    assert!(!is_online(&ground.only("claude-code").await));
    let seat = seat.resumed();
    let resumed = seat.starts("resume").await;
    assert!(resumed.context().contains(&format!("you are {name} (still)")), "{resumed:?}");
    assert_eq!((ground.only("claude-code").await.name, seat.name()), (name.clone(), name));
}

#[tokio::test]
async fn two_sessions_in_a_directory_are_two_peers_and_one_resumed_twice_is_too() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let (first, second) = (ground.seat(), ground.seat());
    first.start().await;
    second.start().await;
    assert_ne!(first.name(), second.name());
    let twice = first.resumed();
    twice.starts("resume").await;
    let peers = ground.peers().await;
    assert_eq!(peers.iter().filter(|peer| is_online(peer)).count(), 3, "{peers:#?}");
    // Each in its own shell, and each by its own hooks.
    assert_ne!(first.name(), twice.name());
    first.edits("src/a.rs").await.passed();
    let denied = twice.edits("src/a.rs").await;
    assert!(denied.denied().contains(&first.name()), "{denied:?}");
    twice.end("other").await;
    let peers = ground.peers().await;
    let online: Vec<_> = peers.iter().filter(|peer| is_online(peer)).map(|peer| peer.name.clone()).collect();
    assert!(online.contains(&first.name()) && online.len() == 2, "{online:?}");
}

#[tokio::test]
async fn the_end_of_a_session_that_never_began_makes_no_peer_and_ends_none() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let seat = ground.seat();
    seat.start().await;
    // `claude mcp list` in a shell of the same directory.
    let mut listing = ground.seat();
    let _adapter = adapter(&mut listing).await;
    listing.end("other").await.silent();
    assert!(is_online(&ground.only("claude-code").await));
    let records = std::fs::read_dir(ground.mesh.home().agents_path()).unwrap().flatten();
    let names: Vec<_> = records.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| !name.contains(&listing.session)), "{names:?}");
    // One that has ended already, and one of the same id in another process.
    seat.end("other").await;
    seat.end("other").await.silent();
    seat.resumed().end("other").await.silent();
    assert_eq!(ground.peers().await.len(), 1);
}

#[tokio::test]
async fn what_was_under_way_at_the_end_does_not_bring_a_session_back() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let seat = ground.seat();
    seat.start().await;
    seat.edits("src/a.rs").await.passed();
    seat.end("prompt_input_exit").await;
    seat.edited("src/a.rs").await.silent();
    seat.hook("SubagentStop", json!({"agent_id": "a1", "agent_type": "explore"})).await.silent();
    seat.stop().await.silent();
    assert!(!is_online(&ground.only("claude-code").await));
    seat.prompt().await.silent();
    assert!(is_online(&ground.only("claude-code").await), "a prompt does");
}

#[tokio::test]
async fn a_session_left_for_another_in_its_process_is_the_same_when_it_is_resumed() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let seat = ground.seat();
    seat.start().await;
    let name = ground.only("claude-code").await.name;
    // `/resume` of another one in the first process, which lives on, and of this one in a second.
    seat.end("resume").await;
    seat.stop().await.silent();
    let resumed = seat.resumed();
    let told = resumed.starts("resume").await;
    assert!(told.context().contains(&format!("you are {name} ")), "{told:?}");
}

#[tokio::test]
async fn another_process_of_the_same_session_does_not_end_the_one_that_lives() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let seat = ground.seat();
    seat.start().await;
    seat.resumed().end("other").await.silent();
    assert!(is_online(&ground.only("claude-code").await));
}

#[tokio::test]
async fn sub_agents_are_shown_as_children_and_share_locks() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let (seat, other) = (ground.seat(), ground.seat());
    seat.start().await;
    other.start().await;
    seat.prompt().await;
    let child = |more: Value| {
        let mut child = json!({"agent_id": "aa86", "agent_type": "explore"});
        child.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        child
    };
    seat.hook("SubagentStart", child(json!({}))).await;
    let path = seat.cwd.join("src/a.rs");
    let edit =
        json!({"tool_name": "Edit", "tool_input": {"file_path": path, "old_string": "x", "new_string": "y"}});
    seat.hook("PreToolUse", child(edit)).await.passed();
    seat.edits("src/a.rs").await.passed();
    other.edits("src/a.rs").await.denied();
    let me = seat.name();
    let told = |peers: Vec<mesh_client::proto::Peer>| {
        let info = peers.into_iter().find(|peer| peer.name == me).unwrap().info.unwrap();
        info.children.into_iter().map(|child| (child.id, child.kind)).collect::<Vec<_>>()
    };
    assert_eq!(told(ground.peers().await), [("aa86".to_owned(), "explore".to_owned())]);
    // The main agent ends its turn first: the child works on in the background, under the lock.
    seat.stop().await;
    other.edits("src/a.rs").await.denied();
    seat.hook("SubagentStop", child(json!({}))).await;
    assert_eq!(told(ground.peers().await), []);
    other.edits("src/a.rs").await.passed();
}

#[tokio::test]
async fn a_compaction_ends_a_sub_agent_that_never_began() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let seat = ground.seat();
    seat.start().await;
    seat.hook("SubagentStop", json!({"agent_id": "a158", "agent_type": ""})).await.silent();
    assert!(is_online(&ground.only("claude-code").await));
}

#[tokio::test]
async fn the_adapter_ends_without_its_session_and_another_takes_it_up() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let mut seat = Seat { process: None, ..ground.seat() };
    seat.start().await;
    let mut watch = follow(&ground.mesh.client(), 0).await;
    let mut first = adapter(&mut seat).await;
    let name = name_by(&mut first).await;
    first.call("mesh_lock", json!({"paths": ["docs/"], "reason": "mine"})).await.done();
    first.close().await;
    let mut second = adapter(&mut seat).await;
    assert_eq!(name_by(&mut second).await, name);
    let locks = second.call("mesh_locks", json!({})).await.done();
    assert!(locks.contains("docs/ held by") && locks.contains("(you)"), "{locks}");
    seat.end("prompt_input_exit").await;
    // All that has ended the session is its end.
    let (_, cause) = watch.until_left(&name).await;
    assert_eq!(cause, mesh_client::proto::LeaveCause::Left);
    assert!(!is_online(&ground.only("claude-code").await));
    assert_eq!(ground.locked().await, []);
    // What the host still runs is told, and may begin again.
    assert_eq!(name_by(&mut second).await, name);
}

#[tokio::test]
async fn an_agent_that_dies_is_gone_with_its_adapter() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    // An agent that is no shell, though it is one: it runs the adapter on its own input and output.
    let program = ground.path("claude");
    std::fs::copy("/bin/sh", &program).unwrap();
    let seat = Seat { process: None, ..ground.seat() };
    let template = seat.command(&[]);
    let mut command = std::process::Command::new(&program);
    command.env_clear().current_dir(&seat.cwd);
    command.envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.arg("-c").arg("\"$0\" mcp; :").arg(mesh_tests::meshctl());
    let mut agent = Agent::spawn_as(command, Era::Modern, "claude-code").await;
    let hooks = |seat: &mut Seat| seat.env.push(("CLAUDE_PID", agent.pid().to_string().into()));
    let mut seat = seat;
    hooks(&mut seat);
    seat.start().await;
    let name = name_by(&mut agent).await;
    assert_eq!(ground.only("claude-code").await.name, name);
    let mut watch = follow(&ground.mesh.client(), 0).await;
    agent.kill().await;
    let (_, cause) = watch.until_left(&name).await;
    assert_eq!(cause, mesh_client::proto::LeaveCause::Disconnected);
}

#[tokio::test]
async fn a_killed_broker_changes_nobody() {
    let ground = Ground::new();
    let broker = ground.mesh.serve(&[]);
    let seat = ground.seat();
    seat.start().await;
    seat.prompt().await;
    let name = ground.only("claude-code").await.name;
    seat.edits("src/a.rs").await.passed();
    broker.kill();
    let _broker = ground.mesh.serve(&[]);
    let other = ground.seat();
    other.start().await;
    assert!(other.edits("src/a.rs").await.denied().contains(&name));
    seat.edited("src/a.rs").await;
    let peer = ground.peers().await.into_iter().find(|peer| peer.name == name).unwrap();
    let info = peer.info.unwrap();
    assert_eq!((info.activity(), info.branch.as_str()), (PeerActivity::Working, "main"));
    seat.stop().await;
    other.edits("src/a.rs").await.passed();
}

/// The broker takes a session for dead, and its peer comes back as it was.
#[tokio::test]
async fn a_session_that_ended_comes_back_as_it_was_whoever_notices() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let mut seat = Seat { process: None, ..ground.seat() };
    seat.start().await;
    seat.prompt().await;
    let before = ground.only("claude-code").await;
    // Its stream ends with the adapter that is killed.
    let mut watch = follow(&ground.mesh.client(), 0).await;
    let mut agent = adapter(&mut seat).await;
    name_by(&mut agent).await;
    // As last told, by whoever told it.
    agent.call("mesh_checkin", json!({"focus": "the parser"})).await.done();
    let before = mesh_client::proto::Peer { info: ground.only("claude-code").await.info, ..before };
    kill(agent.pid());
    watch.until_left(&before.name).await;
    // A command of its shell, which knows little of the agent, is the first to notice.
    ground.mesh.join_unattended("owl").await;
    seat.shell(&["send", "owl", "hello"]);
    let after = ground.only("claude-code").await;
    assert!(is_online(&after));
    assert_eq!(after.lease_ttl, before.lease_ttl);
    assert_eq!(after.info, before.info);
    assert_eq!(after.scope, SCOPE);
}

#[tokio::test]
async fn a_damaged_record_leaves_the_peer_who_it_is() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let seat = ground.seat();
    seat.start().await;
    let name = ground.only("claude-code").await.name;
    let agents = ground.mesh.home().agents_path();
    let records = std::fs::read_dir(&agents).unwrap().flatten().map(|entry| entry.path());
    let is_record = |path: &std::path::PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("a-"))
            && path.extension().is_none()
    };
    for record in records.filter(is_record) {
        std::fs::write(record, b"{\"kind\": \"claude").unwrap();
    }
    seat.prompt().await;
    assert_eq!(ground.only("claude-code").await.name, name);
    assert!(is_online(&ground.only("claude-code").await));
    assert_eq!(seat.name(), name);
}

#[tokio::test]
async fn many_first_hooks_at_once_are_one_peer() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let seat = ground.seat();
    let payload = seat.payload("PostToolUse", json!({"tool_name": "LS", "tool_input": {}})).to_string();
    let commands: Vec<_> = (0..8).map(|_| seat.command(&["hook", "claude-code"])).collect();
    within("eight hooks", super::news::at_once(commands, payload.into_bytes())).await;
    assert!(is_online(&ground.only("claude-code").await));
    assert_eq!(ground.peers().await.len(), 1);
}

#[tokio::test]
async fn the_registry_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let seat = ground.seat();
    seat.start().await;
    seat.prompt().await;
    let home = ground.mesh.path();
    for (directory, mode) in [("agents", 0o700), ("projects", 0o700)] {
        let path = home.join(directory);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{directory}");
        for file in std::fs::read_dir(path).unwrap().flatten() {
            if !file.path().is_symlink() {
                let mode = file.metadata().unwrap().permissions().mode() & 0o777;
                assert_eq!(mode, 0o600, "{:?}", file.file_name());
            }
        }
    }
    drop(Process::start());
}
