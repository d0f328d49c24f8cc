//! Only what names a thing leaves a session: nothing that was said, written or run in it, and no name of a file that is
//! nobody's business.

use std::path::Path;

use mesh_tests::history;
use serde_json::json;

use super::seat::Ground;

/// All bytes of all files below a directory, and their names.
fn everything_in(directory: &Path, found: &mut Vec<u8>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        found.extend(path.to_string_lossy().as_bytes());
        if path.is_symlink() {
            found.extend(std::fs::read_link(&path).unwrap().to_string_lossy().as_bytes());
        } else if path.is_dir() {
            everything_in(&path, found);
        } else if path.is_file() {
            found.extend(std::fs::read(&path).unwrap());
        }
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn nothing_that_was_said_written_or_run_is_anywhere() {
    let ground = Ground::new();
    let broker = ground.mesh.serve(&[]);
    ground.write("app/.meshignore", "private/\n");
    std::fs::create_dir(ground.path("app/private")).unwrap();
    let (seat, other) = (ground.seat(), ground.seat());
    other.start().await;
    seat.start().await;
    seat.hook("UserPromptSubmit", json!({"prompt": "SECRETPROMPT"})).await.silent();
    let told = |event: &'static str, tool: &'static str, input: serde_json::Value| {
        let more =
            json!({"tool_name": tool, "tool_input": input, "tool_response": {"content": "SECRETRESPONSE"}});
        seat.hook(event, more)
    };
    for path in
        ["src/a.rs", "private/SECRETPATH.rs", ".env.SECRETENV", "SECRETKEY.pem", "/etc/../SECRETOUTSIDE"]
    {
        let path = seat.cwd.join(path);
        for event in ["PreToolUse", "PostToolUse"] {
            told(
                event,
                "Edit",
                json!({"file_path": path, "old_string": "SECRETOLD", "new_string": "SECRETNEW"}),
            )
            .await;
            told(event, "Write", json!({"file_path": path, "content": "SECRETCONTENT"})).await;
            told(event, "Read", json!({"file_path": path})).await;
        }
    }
    told(
        "PreToolUse",
        "Bash",
        json!({"command": "echo SECRETCOMMAND; git stash", "description": "SECRETDESCRIPTION"}),
    )
    .await;
    ground.write("app/private/SECRETSHELL.rs", "SECRETTEXT");
    ground.write("app/src/a.rs", "SECRETTEXT");
    ground.write("app/src/SHELLEDIT.rs", "SECRETTEXT");
    told("PostToolUse", "Bash", json!({"command": "echo SECRETCOMMAND"})).await;
    let child = json!({"agent_id": "a1", "agent_type": "explore", "prompt": "SECRETTASK"});
    seat.hook("SubagentStart", child).await;
    // In the middle of a turn, when most is written down.
    let mut found = Vec::new();
    everything_in(&ground.mesh.home().agents_path(), &mut found);
    seat.hook("SubagentStop", json!({"agent_id": "a1", "last_assistant_message": "SECRETANSWER"})).await;
    seat.hook(
        "Stop",
        json!({"last_assistant_message": "SECRETANSWER", "transcript_path": "SECRETTRANSCRIPT"}),
    )
    .await;
    seat.hook("SessionEnd", json!({"reason": "other"})).await;
    for batch in history(&ground.mesh.client(), 1).await {
        found.extend(format!("{batch:?}").bytes());
    }
    broker.kill();
    for entry in std::fs::read_dir(ground.mesh.path()).unwrap().flatten() {
        // The checkouts lie in the same directory.
        if entry.file_name() != "w" && entry.path().is_dir() {
            everything_in(&entry.path(), &mut found);
        }
    }
    found.extend(std::fs::read(ground.mesh.home().log_path()).unwrap());
    assert!(holds(&found, "src/a.rs") && holds(&found, "src/SHELLEDIT.rs"), "what may be told is");
    let at = found.windows(6).position(|window| window == b"SECRET");
    let around = at.map(|at| String::from_utf8_lossy(&found[at.saturating_sub(200)..at + 40]).into_owned());
    // A path of this machine outside of all repositories is a project of its own.
    assert_eq!(around.filter(|text| !text.contains("SECRETOUTSIDE")), None);
}
