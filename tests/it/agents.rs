//! Real agents on the mesh: their own command lines, with a model that the test scripts.
//!
//! They need `cargo xtask install-agents`; without it they fail and say so.

use std::path::PathBuf;

use mesh_mock::{Hold, Model, Turn};
use mesh_tests::agents::{Claude, Desk, Running};
use mesh_tests::meshctl;
use serde_json::{Value, json};

use self::colleague::Colleague;

mod claude;
mod codex;
mod colleague;
mod gemini;
mod guarded;
mod informed;
mod one_peer;
mod opencode;
mod outage;
mod registered;
mod reported;
mod together;
mod woken;

/// The answer of `mesh_who` to one who is alone.
fn is_alone(who: &str) -> bool {
    who.contains("(you, ") && who.lines().filter(|line| line.contains("(you, ")).count() == 1
}

/// What a hook of Claude Code's form answers to add to what the model knows.
fn context(event: &str, text: &str) -> Value {
    json!({"hookSpecificOutput": {"hookEventName": event, "additionalContext": text}})
}

/// What a hook of Claude Code's form answers before a tool that may not run.
fn refusal(reason: &str) -> Value {
    let verdict = json!({"permissionDecision": "deny", "permissionDecisionReason": reason});
    let mut answer = json!({"hookSpecificOutput": verdict});
    answer["hookSpecificOutput"]["hookEventName"] = json!("PreToolUse");
    answer
}

/// Who starts the hooks and the MCP server of an agent: what binds the two together where nothing else does.
struct Parents {
    dir: PathBuf,
    script: String,
}

impl Parents {
    fn new(desk: &Desk) -> Self {
        let dir = desk.tmp();
        let script = format!("echo $PPID > {}/server; exec {} mcp", dir.display(), meshctl().display());
        Self { dir, script }
    }

    /// The command of the MCP server.
    fn server(&self) -> [&str; 3] {
        ["/bin/sh", "-c", &self.script]
    }

    /// The command line of the hook.
    fn hook(&self) -> String {
        format!("echo $PPID > {}/hook", self.dir.display())
    }

    /// The parents of the hook and of the server.
    fn read(&self) -> (u32, u32) {
        ["hook", "server"]
            .map(|who| {
                let text = std::fs::read_to_string(self.dir.join(who))
                    .unwrap_or_else(|error| panic!("{who}: {error}"));
                text.trim().parse().unwrap()
            })
            .into()
    }
}

/// What Codex patches in `a.txt`.
const PATCH: &str = "*** Begin Patch\n*** Update File: a.txt\n@@\n one\n-two\n+dos\n*** End Patch\n";

/// Claude Code reads a file of the project.
fn read(desk: &Desk, file: &str) -> Turn {
    Turn::call("Read", json!({"file_path": desk.path(file)}))
}

/// Claude Code replaces a text in a file of the project.
fn edit(desk: &Desk, file: &str, old: &str, new: &str) -> Turn {
    Turn::call("Edit", json!({"file_path": desk.path(file), "old_string": old, "new_string": new}))
}

/// A session of Claude Code that has changed `one` to `uno` in `a.txt`, and is not done with its turn.
struct Busy {
    running: Running,
    hold: Hold,
    name: String,
    _model: Model,
}

impl Busy {
    async fn start(desk: &Desk, colleague: &mut Colleague) -> Self {
        let model = Model::start().await;
        let (busy, hold) = Turn::say("Done.").held();
        model.script([read(desk, "a.txt"), edit(desk, "a.txt", "one", "uno"), busy]);
        let running = Claude::new(desk).print(&model, "Change a.txt.", &[]);
        let name = running.meanwhile("it to join", colleague.until_joined("claude-code")).await;
        let edited = model.request(|request| request.last_result().contains("has been updated"));
        running.meanwhile("its edit", edited).await;
        Self { running, hold, name, _model: model }
    }

    /// Lets its turn and its session end.
    async fn end(self) {
        self.hold.release();
        self.running.finish().await.ok();
    }
}
