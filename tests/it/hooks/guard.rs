//! Before an edit: what another peer holds is refused, what is free is locked until the turn ends.

use std::os::unix::fs::symlink;

use mesh_client::Session;
use mesh_client::proto::{Touch, TouchFilesRequest, TouchKind};
use mesh_tests::{SCOPE, Signal, lock, share, signal, within};
use serde_json::json;

use super::seat::{Answer, Ground, Seat};

/// A session at work in `app`.
async fn at_work(ground: &Ground, directory: &str) -> Seat {
    let seat = ground.seat_of("claude-code", directory);
    seat.start().await;
    seat.prompt().await;
    seat
}

async fn touch(session: &Session, path: &str, branch: &str) {
    let touches = vec![Touch { path: path.into(), kind: TouchKind::Edit.into() }];
    let request = TouchFilesRequest { touches, branch: branch.into(), ..TouchFilesRequest::default() };
    session.touch_files(request).await.unwrap();
}

fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[tokio::test]
async fn a_file_that_another_holds_is_refused_with_all_there_is_to_know() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let owl = ground.other("owl", "app").await;
    let focus = mesh_client::proto::PeerInfo { focus: "the login".into(), ..Default::default() };
    owl.update(focus, &["focus"]).await.unwrap();
    let mut claim = lock(&["src/"]);
    claim.reason = "moving things".into();
    owl.acquire(claim).await.unwrap();
    let seat = at_work(&ground, "app").await;
    for answer in [seat.edits("src/a.rs").await, seat.writes("src/new.rs").await] {
        assert_holds(
            answer.denied(),
            &[
                "is locked by owl, who is doing \"the login\" (as src/), reason \"moving things\", 30m left. Next: ",
                "mesh_lock {paths: [\"src/",
            ],
        );
    }
    assert_eq!(ground.locked().await, [("src/".to_owned(), "owl".to_owned())]);
    owl.release(vec![]).await.unwrap();
    seat.edits("src/a.rs").await.passed();
}

#[tokio::test]
async fn a_project_decides_how_hard_the_guard_is() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    ground.other("owl", "app").await.acquire(lock(&["src/a.rs"])).await.unwrap();
    let seat = at_work(&ground, "app").await;
    for (policy, decision) in [("deny", "deny"), ("ask", "ask"), ("warn", "pass"), ("off", "pass")] {
        ground.write("app/.mesh.toml", &format!("[guard]\nlocked = \"{policy}\"\n"));
        let answer = seat.edits("src/a.rs").await;
        assert_eq!(answer.decision(), decision, "{policy}: {answer:?}");
        let said = [answer.reason(), answer.context()].concat();
        assert_eq!(said.contains("is locked by owl"), policy != "off", "{policy}: {said}");
    }
}

#[tokio::test]
async fn a_lock_taken_by_itself_ends_with_the_turn_and_one_taken_on_purpose_does_not() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let seat = at_work(&ground, "app").await;
    // Before the edit, after it, over it, and with the reason that anybody may give.
    seat.shell(&["lock", "lib/", "--reason", "all of it"]);
    seat.shell(&["lock", "src/b.rs", "--reason", "editing"]);
    seat.shell(&["lock", "src/d.rs"]);
    for path in ["src/a.rs", "src/b.rs", "src/c.rs", "src/d.rs", "lib/x.rs"] {
        seat.edits(path).await.passed();
        seat.edited(path).await;
    }
    seat.shell(&["lock", "src/c.rs", "--reason", "not yet done"]);
    let mut held: Vec<_> = ground.locked().await.into_iter().map(|(path, _)| path).collect();
    held.sort();
    assert_eq!(held, ["lib/", "lib/x.rs", "src/a.rs", "src/b.rs", "src/c.rs", "src/d.rs"]);
    seat.stop().await.silent();
    let mut kept: Vec<_> = ground.locks_in(SCOPE).await.into_iter().map(|l| (l.path, l.reason)).collect();
    kept.sort();
    let kept: Vec<_> = kept.iter().map(|(path, reason)| (path.as_str(), reason.as_str())).collect();
    assert_eq!(
        kept,
        [("lib/", "all of it"), ("src/b.rs", "editing"), ("src/c.rs", "not yet done"), ("src/d.rs", "")]
    );
    seat.prompt().await;
    seat.edits("src/b.rs").await.passed();
    seat.stop().await.silent();
    assert_eq!(ground.locked().await.len(), 4);
    seat.end("other").await;
    assert_eq!(ground.locked().await, []);
}

#[tokio::test]
async fn the_adapters_locks_are_the_agents_own() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let mut seat = Seat { process: None, ..ground.seat() };
    seat.start().await;
    seat.prompt().await;
    let mut agent = super::identity::adapter(&mut seat).await;
    seat.edits("src/a.rs").await.passed();
    agent.call("mesh_lock", json!({"paths": ["src/a.rs"]})).await.done();
    seat.stop().await.silent();
    assert_eq!(ground.locked().await.len(), 1);
    agent.call("mesh_unlock", json!({})).await.done();
    seat.prompt().await;
    seat.edits("src/a.rs").await.passed();
    seat.stop().await.silent();
    assert_eq!(ground.locked().await, []);
}

#[tokio::test]
async fn a_path_leads_to_the_checkout_that_holds_it() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    ground.worktree("wt", "side");
    ground.repository("app/vendor/lib", "git@example.com:acme/lib.git");
    ground.repository("other", "git@example.com:acme/other.git");
    symlink(ground.path("wt/src"), ground.path("app/linked")).unwrap();
    symlink(ground.path("app"), ground.path("alias")).unwrap();
    let (seat, second) = (at_work(&ground, "app").await, at_work(&ground, "wt").await);
    let path = |name: &str| ground.path(name);
    // The same file by any way, from any checkout of the repository.
    seat.edits("src/a.rs").await.passed();
    for way in
        [path("wt/src/a.rs"), path("app/linked/a.rs"), path("alias/src/a.rs"), path("wt/../app/src/a.rs")]
    {
        assert_holds(second.edits(&way).await.denied(), &["src/a.rs is locked by"]);
    }
    // Other repositories are other projects, wherever they lie and whoever edits.
    second.edits(path("app/vendor/lib/src/a.rs")).await.passed();
    second.edits(path("other/src/a.rs")).await.passed();
    for scope in ["example.com/acme/lib", "example.com/acme/other"] {
        let locks: Vec<_> = ground.locks_in(scope).await.into_iter().map(|lock| lock.path).collect();
        assert_eq!(locks, ["src/a.rs"], "{scope}");
    }
    assert_holds(seat.edits("vendor/lib/src/a.rs").await.denied(), &["src/a.rs is locked by"]);
    // A directory of it, seen from below.
    let below = Seat { cwd: path("app/src"), ..seat.resumed() };
    below.starts("resume").await;
    second.stop().await;
    for scope in ["example.com/acme/lib", "example.com/acme/other"] {
        assert_eq!(ground.locks_in(scope).await, [], "the turn is over: {scope}");
    }
    second.edits("src/b.rs").await.passed();
    assert_holds(below.edits("b.rs").await.denied(), &["src/b.rs is locked by"]);
    // The end of the session is its end everywhere.
    second.end("other").await;
    for scope in [SCOPE, "example.com/acme/lib", "example.com/acme/other"] {
        let name = format!(
            "{:?}",
            ground.peers_in(scope).await.iter().filter(|p| super::seat::is_online(p)).count()
        );
        let expected = if scope == "example.com/acme/other" { "0" } else { "1" };
        assert!(name == expected || scope == SCOPE, "{scope}: {name}");
    }
}

#[tokio::test]
async fn outside_of_any_repository_the_directory_is_the_project() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    std::fs::create_dir(ground.path("plain")).unwrap();
    let (seat, second) = (at_work(&ground, "plain").await, at_work(&ground, "app").await);
    seat.edits("notes.md").await.passed();
    assert_holds(second.edits(ground.path("plain/notes.md")).await.denied(), &["notes.md is locked by"]);
}

#[tokio::test]
async fn secrets_and_ignored_files_are_not_guarded_and_not_told() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    ground.write("app/.meshignore", "private/\n");
    let seat = at_work(&ground, "app").await;
    for path in [".env", "private/x.rs", "certs/server.pem", ".git/config"] {
        seat.edits(path).await.silent();
        seat.edited(path).await.silent();
        seat.read(path).await.silent();
    }
    assert_eq!(ground.locked().await, []);
    assert_eq!(ground.meshctl(&["about", ".env"]).output().unwrap().status.code(), Some(0));
}

#[tokio::test]
async fn shared_and_lingering_locks_only_warn() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let seat = at_work(&ground, "app").await;
    ground.other("owl", "app").await.acquire(share(&["src/a.rs"])).await.unwrap();
    assert_holds(seat.edits("src/a.rs").await.passed(), &["src/a.rs is locked by owl, shared"]);
    let mut watch = mesh_tests::follow(&ground.mesh.client(), 0).await;
    let process = ground.mesh.spawn(&["lock", "src/b.rs", "--", "cat"]);
    let holder = watch.until("the lock", |event| match event {
        mesh_client::proto::event::Event::FileLocked(granted) => Some(granted.locks[0].holder.clone()),
        _ => None,
    });
    let holder = holder.await.1;
    signal(process.id().unwrap(), Signal::KILL);
    watch.until_left(&holder).await;
    let told = seat.edits("src/b.rs").await;
    assert_holds(told.passed(), &["src/b.rs was locked by", "whose process has ended; it is free in"]);
}

#[tokio::test]
async fn a_change_since_the_read_warns_and_keeps_it_from_being_written_over() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let (seat, owl) = (at_work(&ground, "app").await, ground.other("owl", "app").await);
    // What it has not read, it does not know: only a whole write would lose something.
    touch(&owl, "src/b.rs", "main").await;
    seat.edits("src/b.rs").await.silent();
    assert_holds(
        seat.writes("src/b.rs").await.denied(),
        &["src/b.rs was changed and you have not read it since"],
    );
    seat.read("src/a.rs").await.silent();
    touch(&owl, "src/a.rs", "main").await;
    let warned = seat.edits("src/a.rs").await;
    assert_holds(
        warned.passed(),
        &["src/a.rs was changed since you read it: owl edited it", "Read it again first"],
    );
    assert_holds(seat.writes("src/a.rs").await.denied(), &["src/a.rs was changed since you read it"]);
    seat.read("src/a.rs").await.silent();
    seat.writes("src/a.rs").await.silent();
    seat.edited("src/a.rs").await.silent();
    seat.writes("src/a.rs").await.silent();
    // A file that is not there loses nothing.
    touch(&owl, "src/gone.rs", "main").await;
    seat.writes("src/gone.rs").await.silent();
    ground.write("app/.mesh.toml", "[guard]\nstale = \"deny\"\noverwrite = \"off\"\n");
    touch(&owl, "src/a.rs", "main").await;
    seat.edits("src/a.rs").await.denied();
    seat.writes("src/a.rs").await.silent();
}

#[tokio::test]
async fn an_edit_on_another_branch_is_told_once() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    ground.worktree("wt", "side");
    let seat = at_work(&ground, "app").await;
    let owl = ground.other("owl", "wt").await;
    touch(&owl, "src/a.rs", "side").await;
    let warned = seat.edits("src/a.rs").await;
    assert_holds(warned.passed(), &["owl edited src/a.rs on branch side", "expect to merge"]);
    seat.edited("src/a.rs").await.silent();
    seat.edits("src/a.rs").await.silent();
    touch(&owl, "src/a.rs", "side").await;
    assert_holds(seat.edits("src/a.rs").await.passed(), &["on branch side"]);
}

async fn patches(seat: &Seat, files: &[String]) -> Answer {
    let updates = files.iter().map(|file| format!("*** Update File: {file}\n@@\n-one\n+two\n"));
    let patch = format!("*** Begin Patch\n{}*** End Patch\n", updates.collect::<String>());
    seat.tool("PreToolUse", "apply_patch", json!({"command": patch})).await
}

#[tokio::test]
async fn a_patch_locks_all_of_its_files_or_none() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    ground.repository("other", "git@example.com:acme/other.git");
    let seat = ground.seat_of("codex", "app");
    seat.start().await;
    let owl = ground.other("owl", "app").await;
    owl.acquire(lock(&["src/f59.rs"])).await.unwrap();
    let files: Vec<_> = (0..60).map(|number| format!("src/f{number}.rs")).collect();
    assert_holds(patches(&seat, &files).await.denied(), &["src/f59.rs is locked by owl"]);
    assert_eq!(ground.locked().await.len(), 1);
    // Also where only the second of two repositories is in the way.
    let both = [ground.path("other/src/a.rs").to_string_lossy().into_owned(), "src/f59.rs".to_owned()];
    patches(&seat, &both).await.denied();
    assert_eq!(ground.locks_in("example.com/acme/other").await, []);
    owl.release(vec![]).await.unwrap();
    patches(&seat, &files).await.passed();
    assert_eq!(ground.locked().await.len(), 60);
    seat.stop().await.silent();
    assert_eq!(ground.locked().await, []);
}

#[tokio::test]
async fn a_lock_that_ran_out_is_no_matter_at_the_end() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let seat = at_work(&ground, "app").await;
    seat.edits("src/a.rs").await.passed();
    seat.edits("src/b.rs").await.passed();
    let forced = ground.meshctl(&["unlock", "src/a.rs", "--force", "--reason", "x"]).output().unwrap();
    assert!(forced.status.success(), "{forced:?}");
    within("the end of the turn", seat.stop()).await.silent();
    assert_eq!(ground.locked().await, []);
}
