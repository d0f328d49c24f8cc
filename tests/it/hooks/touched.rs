//! What was read and edited is reported, by tools and by shell commands, and nobody is told to have done what another
//! did.

use mesh_client::proto::{DescribePathRequest, FileActivity};
use mesh_tests::SCOPE;
use serde_json::json;

use super::seat::{Ground, Seat, git};

async fn at_work(ground: &Ground, directory: &str) -> Seat {
    let seat = ground.seat_of("claude-code", directory);
    seat.start().await;
    seat.prompt().await;
    seat
}

/// Who did what to a path.
async fn activity(ground: &Ground, path: &str) -> Vec<FileActivity> {
    let request =
        DescribePathRequest { scope: SCOPE.into(), path: path.into(), peek: true, ..Default::default() };
    ground.mesh.client().paths().describe_path(request).await.unwrap().into_inner().activity
}

/// Names of who edited a path.
async fn editors(ground: &Ground, path: &str) -> Vec<String> {
    let edits = activity(ground, path).await.into_iter().filter(|did| did.edit_revision > 0);
    edits.map(|did| did.peer).collect()
}

#[tokio::test]
async fn tools_tell_what_they_touch() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    ground.worktree("wt", "side");
    let seat = at_work(&ground, "app").await;
    let name = seat.name();
    seat.read("src/a.rs").await;
    let did = activity(&ground, "src/a.rs").await;
    assert_eq!((did.len(), did[0].peer.as_str(), did[0].edit_revision), (1, name.as_str(), 0));
    seat.edited("src/a.rs").await;
    seat.edited(ground.path("wt/src/b.rs")).await;
    let did = activity(&ground, "src/a.rs").await;
    assert!(did[0].edit_revision > 0 && did[0].branch == "main", "{did:?}");
    let did = activity(&ground, "src/b.rs").await;
    assert_eq!((did.len(), did[0].branch.as_str()), (1, "side"));
    assert_eq!(did[0].worktree, ground.path("wt").to_string_lossy());
    // A directory is no file.
    seat.read("src").await;
    assert_eq!(activity(&ground, "src/").await.len(), 2);
}

#[tokio::test]
async fn shell_commands_are_found_out_at_the_end_of_the_turn() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    ground.write("app/src/before.rs", "unclean before\n");
    let seat = at_work(&ground, "app").await;
    let name = seat.name();
    seat.runs("sed -i s/one/two/ src/a.rs; touch new.rs .env").await.silent();
    ground.write("app/src/a.rs", "two\n");
    ground.write("app/new.rs", "");
    ground.write("app/.env", "SECRET=1\n");
    seat.ran("sed -i s/one/two/ src/a.rs; touch new.rs .env").await.silent();
    // Done by a tool meanwhile.
    ground.write("app/src/b.rs", "two\n");
    seat.edited("src/b.rs").await;
    assert_eq!(editors(&ground, "src/a.rs").await, Vec::<String>::new());
    seat.stop().await.silent();
    for (path, by) in [("src/a.rs", 1), ("new.rs", 1), ("src/b.rs", 1), ("src/before.rs", 0), (".env", 0)] {
        assert_eq!(editors(&ground, path).await, vec![name.clone(); by], "{path}");
    }
    // The next turn begins anew.
    seat.prompt().await;
    seat.runs("git checkout src/a.rs").await.silent();
    git(&seat.cwd, &["checkout", "-q", "src/a.rs"]);
    let before = activity(&ground, "src/a.rs").await[0].edit_revision;
    seat.stop().await.silent();
    assert!(activity(&ground, "src/a.rs").await[0].edit_revision > before, "clean again is a change too");
    let before = activity(&ground, "new.rs").await[0].edit_revision;
    seat.prompt().await;
    seat.runs("ls").await.silent();
    seat.stop().await.silent();
    assert_eq!(activity(&ground, "new.rs").await[0].edit_revision, before);
}

#[tokio::test]
async fn what_another_peer_did_is_not_claimed() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let (seat, other) = (at_work(&ground, "app").await, at_work(&ground, "app").await);
    seat.runs("make").await.silent();
    // One reports its edit, one has the file and has not reported yet.
    ground.write("app/src/a.rs", "two\n");
    other.edited("src/a.rs").await;
    other.edits("src/b.rs").await.passed();
    ground.write("app/src/b.rs", "two\n");
    ground.write("app/made.rs", "");
    seat.stop().await.silent();
    assert_eq!(editors(&ground, "src/a.rs").await, [other.name()]);
    assert_eq!(editors(&ground, "src/b.rs").await, Vec::<String>::new());
    assert_eq!(editors(&ground, "made.rs").await, [seat.name()]);
}

#[tokio::test]
async fn a_patch_in_a_shell_command_is_guarded_and_found() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let seat = ground.seat_of("codex", "app");
    seat.start().await;
    seat.prompt().await;
    let patch = "*** Begin Patch\n*** Update File: src/a.rs\n@@\n-one\n+two\n*** End Patch";
    let input = json!({"command": format!("apply_patch <<'EOF'\n{patch}\nEOF")});
    seat.tool("PreToolUse", "Bash", input).await.passed();
    assert_eq!(ground.locked().await.len(), 1);
    ground.write("app/src/a.rs", "two\n");
    seat.stop().await.silent();
    assert_eq!(editors(&ground, "src/a.rs").await, [seat.name()]);
}

#[tokio::test]
async fn many_changed_files_do_not_keep_a_turn_from_ending() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&["--durability", "process"]);
    let seat = at_work(&ground, "app").await;
    seat.edits("src/a.rs").await.passed();
    seat.runs("make").await.silent();
    for number in 0..500 {
        ground.write(&format!("app/made-{number}.rs"), "");
        ground.write(&format!("app/made-{number}.pem"), "");
    }
    seat.stop().await.silent();
    assert_eq!(ground.locked().await, []);
    assert_eq!(editors(&ground, "/").await.len().min(20), 20);
}
