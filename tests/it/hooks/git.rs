//! Before a git command that moves what others of the same checkout stand on.

use mesh_client::proto::{Touch, TouchFilesRequest, TouchKind};

use super::seat::{Ground, Seat};

async fn at_work(ground: &Ground, directory: &str) -> Seat {
    let seat = ground.seat_of("claude-code", directory);
    seat.start().await;
    seat.prompt().await;
    seat
}

#[tokio::test]
async fn a_checkout_that_is_shared_is_not_moved_unasked() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let seat = at_work(&ground, "app").await;
    // Alone, everything goes.
    seat.runs("git checkout -b x && git stash").await.silent();
    let other = at_work(&ground, "app").await;
    let name = other.name();
    let asked = seat.runs("git stash").await;
    assert_eq!(asked.decision(), "ask");
    assert!(asked.reason().contains(&format!("{name} works in this checkout")), "{asked:?}");
    other.edits("src/b.rs").await.passed();
    ground.write("app/src/b.rs", "two\n");
    other.edited("src/b.rs").await;
    for command in [
        "git reset --hard",
        "cd src && git checkout main",
        "make; git -C . rebase main",
        "git commit -am x",
        "git clean -fd",
    ] {
        let asked = seat.runs(command).await;
        assert_eq!(asked.decision(), "ask", "{command}");
        let named = format!("{name} has uncommitted changes in src/b.rs");
        assert!(asked.reason().contains(&named) && asked.reason().contains("git worktree add"), "{asked:?}");
    }
    for command in ["git status", "git commit -m x", "git stash list", "ls", "git add src/a.rs"] {
        seat.runs(command).await.silent();
    }
    other.end("other").await;
    seat.runs("git reset --hard").await.silent();
}

#[tokio::test]
async fn the_checkout_that_the_command_is_about_counts() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    ground.worktree("wt", "side");
    let seat = at_work(&ground, "app").await;
    let other = at_work(&ground, "wt").await;
    seat.runs("git stash").await.silent();
    let there = ground.path("wt");
    for command in [
        format!("git -C {} stash", there.display()),
        format!("cd {} && git switch main", there.display()),
        "git worktree remove ../wt".to_owned(),
    ] {
        let asked = seat.runs(&command).await;
        assert_eq!(asked.decision(), "ask", "{command}: {asked:?}");
        assert!(asked.reason().contains(&other.name()), "{asked:?}");
    }
}

#[tokio::test]
async fn a_project_decides_about_git() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let seat = at_work(&ground, "app").await;
    let owl = ground.other("owl", "app").await;
    let touches = vec![Touch { path: "src/a.rs".into(), kind: TouchKind::Edit.into() }];
    owl.touch_files(TouchFilesRequest { touches, ..Default::default() }).await.unwrap();
    for (policy, decision) in [("deny", "deny"), ("ask", "ask"), ("warn", "pass"), ("off", "pass")] {
        ground.write("app/.mesh.toml", &format!("[guard]\ngit = \"{policy}\"\n"));
        let answer = seat.runs("git stash").await;
        assert_eq!(answer.decision(), decision, "{policy}: {answer:?}");
        assert_eq!([answer.reason(), answer.context()].concat().contains("owl"), policy != "off", "{policy}");
    }
}
