//! What a newcomer sees first: it works, and leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mesh_tests::{Signal, meshctl, signal};

/// How long what was started may take to be gone after the demo has ended.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// The demo, with nothing but a directory for what it makes.
fn demo(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(meshctl());
    command.arg("demo").args(arguments).env_clear().env("TMPDIR", dir).stdin(Stdio::null());
    // It must not look at these, nor at the user's own mesh.
    command.env("HOME", "/nonexistent").env("MESH_HOME", "/nonexistent/mesh").env("MESH_SCOPE", "elsewhere");
    command.env("CLAUDE_PROJECT_DIR", "/").env("GIT_DIR", "/nonexistent/git");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Processes that work in a directory, or were started for a mesh in it.
fn processes_in(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().unwrap();
    let is_there = |process: &Path| {
        let home = std::fs::read(process.join("environ")).unwrap_or_default();
        let place = std::fs::read_link(process.join("cwd")).unwrap_or_default();
        place.starts_with(dir) || String::from_utf8_lossy(&home).contains(&format!("MESH_HOME={dir}"))
    };
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).map(|entry| entry.path());
    let there = all.filter(|process| is_there(process));
    there.map(|process| std::fs::read_to_string(process.join("cmdline")).unwrap_or_default()).collect()
}

fn assert_nothing_is_left(dir: &Path) {
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 0, "a directory is left");
    let began = Instant::now();
    loop {
        let left = processes_in(dir);
        if left.is_empty() {
            return;
        }
        assert!(began.elapsed() < GONE_WITHIN, "left running: {left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_demo_shows_the_whole_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let output = demo(dir.path(), &["--fast"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}\n{said}");
    assert_eq!(said, "", "{text}");
    for line in [
        "claude ▸ mesh_checkin name: claude",
        "◂ you are codex in github.com/acme/app on tests",
        "joined      codex demo  on tests  \"tests of expiry\"",
        "yours:",
        "> one at a time, tested",
        "auth/refresh v3  \"one at a time, on 401,",
        "asked       claude for src/auth.rs  \"a test of it\"",
        "codex asks you to release src/auth.rs",
        "src/auth.rs  (after waiting)  \"a test\"",
        "src/auth.rs held by claude, 30m left, reason \"rewriting refresh()\"",
        "$ kill -9",
        "reconnecting…",
        "resumed at revision",
        "left        (its process is gone)",
        "who is gone: free in",
        "unlocked    src/auth.rs  (the holder left)",
        "nothing left behind",
    ] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{widest:?} columns:\n{text}");
    assert!(!text.contains('\u{1b}'), "a pipe has no colours:\n{text}");
    assert_nothing_is_left(dir.path());
}

#[test]
fn the_demo_interrupted_leaves_nothing_behind() {
    for last in ["  A broker", "│ ", "4. ", "  $ kill -9"] {
        let dir = tempfile::tempdir().unwrap();
        let mut demo = demo(dir.path(), &["--fast"]);
        let mut child = demo.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.starts_with(last)), "{last:?} did not come");
        signal(child.id(), Signal::INT);
        // What comes still must find a reader.
        let rest: Vec<_> = lines.collect();
        assert_eq!(child.wait().unwrap().code(), Some(1), "after {last:?} came {rest:#?}");
        assert_nothing_is_left(dir.path());
    }
}

#[test]
fn the_demo_without_git_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let output = demo(dir.path(), &[]).env("PATH", "/nonexistent").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the demo needs git") && said.contains("hint: install git"), "{said}");
    assert_nothing_is_left(dir.path());
}
