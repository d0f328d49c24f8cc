//! An agent that crashes in the middle of a turn is in nobody's way, and what it has written is not written over.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mesh_client::proto::DescribePathRequest;
use mesh_client::{Acquired, Session};
use mesh_tests::{Mesh, SCOPE, lock};
use serde_json::{Value, json};

/// A checkout with two files, and a mesh.
struct Ground {
    mesh: Mesh,
    root: PathBuf,
}

/// A session of Claude Code, whose process is one that ends when it is told to.
struct Agent<'a> {
    ground: &'a Ground,
    session: &'static str,
    process: Child,
}

impl Ground {
    fn new() -> Self {
        let mesh = Mesh::new();
        let root = mesh.path().canonicalize().unwrap().join("app");
        std::fs::create_dir(&root).unwrap();
        let git = |args: &[&str]| {
            let mut git = Command::new("git");
            git.current_dir(&root).args(args).env("GIT_CONFIG_GLOBAL", "/dev/null");
            assert!(git.output().unwrap().status.success(), "git {args:?}");
        };
        git(&["init", "-q", "-b", "main"]);
        git(&["remote", "add", "origin", &format!("https://{SCOPE}.git")]);
        for file in ["a.rs", "b.rs"] {
            std::fs::write(root.join(file), "one\n").unwrap();
        }
        Self { mesh, root }
    }

    fn agent(&self, session: &'static str) -> Agent<'_> {
        let agent = self.sitting(session);
        agent.hook("SessionStart", &json!({"source": "startup"}));
        agent.hook("UserPromptSubmit", &json!({}));
        agent
    }

    /// Two agents that have read both files.
    fn readers(&self) -> (Agent<'_>, Agent<'_>) {
        let (first, second) = (self.agent("s1"), self.agent("s2"));
        for agent in [&first, &second] {
            agent.read("a.rs");
            agent.read("b.rs");
        }
        (first, second)
    }

    fn sitting(&self, session: &'static str) -> Agent<'_> {
        let mut process = Command::new("cat");
        let process = process.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        Agent { ground: self, session, process }
    }

    async fn watcher(&self) -> Session {
        self.mesh.join_unattended("watcher").await
    }
}

impl Agent<'_> {
    /// What the hook says of a tool: why it is denied, else what there is to know.
    fn hook(&self, event: &str, more: &Value) -> Option<String> {
        let mut payload =
            json!({"hook_event_name": event, "session_id": self.session, "cwd": self.ground.root});
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut command = self.ground.mesh.meshctl(&["hook", "claude-code"]);
        command.env_remove("MESH_SCOPE").env("CLAUDE_PID", self.process.id().to_string());
        command.current_dir(&self.ground.root).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(payload.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{event}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let said = &answer["hookSpecificOutput"];
        let text = |name: &str| said[name].as_str().map(str::to_owned);
        text("permissionDecisionReason").or_else(|| text("additionalContext"))
    }

    fn before(&self, tool: &str, file: &str) -> Option<String> {
        self.hook("PreToolUse", &self.tool(tool, file))
    }

    fn after(&self, tool: &str, file: &str) -> Option<String> {
        self.hook("PostToolUse", &self.tool(tool, file))
    }

    /// As a command in the agent's own shell.
    fn lock(&self, paths: &[&str]) {
        let mut command = self.ground.mesh.meshctl(&["lock"]);
        command.args(paths).current_dir(&self.ground.root).env_remove("MESH_SCOPE");
        command.env("CLAUDE_CODE_SESSION_ID", self.session);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn read(&self, file: &str) {
        assert_eq!(self.before("Read", file), None);
        assert_eq!(self.after("Read", file), None);
    }

    fn tool(&self, tool: &str, file: &str) -> Value {
        json!({"tool_name": tool, "tool_input": {"file_path": self.ground.root.join(file)}})
    }

    fn crash(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn write(root: &Path, file: &str, text: &str) {
    std::fs::write(root.join(file), text).unwrap();
}

/// Name of the peer that has last edited a file.
async fn last_editor(session: &Session, file: &str) -> Option<String> {
    let request = DescribePathRequest { path: file.into(), peek: true, ..DescribePathRequest::default() };
    let activity = session.describe_path(request).await.unwrap().activity;
    activity.into_iter().find(|did| did.edit_revision > 0).map(|did| did.peer)
}

#[tokio::test]
async fn the_lock_of_a_crashed_agent_is_free_for_the_next_and_its_edit_is_known() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let (first, second) = ground.readers();
    for file in ["a.rs", "b.rs"] {
        assert_eq!(first.before("Write", file), None);
        let refusal = second.before("Write", file).unwrap();
        assert!(refusal.contains(&format!("{file} is locked by ")), "{refusal}");
    }
    // One of the two is written, and nobody is told.
    write(&ground.root, "a.rs", "one\ntwo\n");
    first.crash();
    let refusal = second.before("Write", "a.rs").unwrap();
    assert!(refusal.contains("a.rs was changed since you read it: "), "{refusal}");
    assert_eq!(second.before("Write", "b.rs"), None);
    let watcher = ground.watcher().await;
    let editor = last_editor(&watcher, "a.rs").await.unwrap();
    assert!(refusal.contains(&format!(": {editor} edited it")), "{refusal}");
    assert_eq!(last_editor(&watcher, "b.rs").await, None);
    second.read("a.rs");
    assert_eq!(second.before("Write", "a.rs"), None);
}

#[tokio::test]
async fn an_edit_under_a_lock_that_the_agent_took_itself_is_known_after_its_crash() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let (first, second) = ground.readers();
    first.lock(&["a.rs", "b.rs"]);
    for file in ["a.rs", "b.rs"] {
        assert_eq!(first.before("Write", file), None);
        write(&ground.root, file, "one\ntwo\n");
    }
    assert_eq!(first.after("Write", "b.rs"), None);
    first.crash();
    let refusal = second.before("Write", "a.rs").unwrap();
    assert!(refusal.contains("a.rs was changed since you read it: "), "{refusal}");
    let editor = last_editor(&ground.watcher().await, "a.rs").await.unwrap();
    assert!(refusal.contains(&format!(": {editor} edited it")), "{refusal}");
}

#[tokio::test]
async fn a_resumed_session_gives_back_the_locks_of_the_turn_that_it_crashed_in() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let first = ground.agent("s1");
    first.read("a.rs");
    assert_eq!(first.before("Edit", "a.rs"), None);
    write(&ground.root, "a.rs", "two\n");
    first.crash();
    let again = ground.sitting("s1");
    let told = again.hook("SessionStart", &json!({"source": "resume"})).unwrap();
    let watcher = ground.watcher().await;
    let editor = last_editor(&watcher, "a.rs").await.unwrap();
    assert!(told.contains(&format!("you are {editor} (still)")), "{told}");
    assert!(matches!(watcher.acquire(lock(&["a.rs"])).await.unwrap(), Acquired::Granted(_)));
}

#[tokio::test]
async fn a_living_agent_keeps_its_locks_whoever_looks() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let (first, second, third) = (ground.agent("s1"), ground.agent("s2"), ground.agent("s3"));
    assert_eq!(first.before("Edit", "a.rs"), None);
    third.crash();
    for _ in 0..2 {
        assert!(second.before("Edit", "a.rs").unwrap().contains("is locked by "));
    }
    assert_eq!(first.before("Edit", "a.rs"), None);
}

#[tokio::test]
async fn what_a_host_runs_for_one_hook_only_is_not_taken_for_the_agent() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let second = ground.agent("s2");
    for (event, more) in [("SessionStart", json!({"source": "startup"})), ("UserPromptSubmit", json!({}))] {
        let helper = ground.sitting("s1");
        helper.hook(event, &more);
        helper.crash();
    }
    let helper = ground.sitting("s1");
    assert_eq!(helper.before("Edit", "a.rs"), None);
    helper.crash();
    assert!(second.before("Edit", "a.rs").unwrap().contains("is locked by "));
}

#[tokio::test]
async fn what_somebody_outside_of_the_mesh_has_written_is_not_written_over() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let agent = ground.agent("s1");
    agent.read("a.rs");
    agent.read("b.rs");
    write(&ground.root, "a.rs", "by hand\n");
    let refusal = agent.before("Write", "a.rs").unwrap();
    assert!(refusal.contains("a.rs was changed since you read it. Read it again first"), "{refusal}");
    assert_eq!(agent.before("Write", "b.rs"), None);
    // A part can only be replaced where it still is.
    assert_eq!(agent.before("Edit", "a.rs"), None);
    write(&ground.root, "a.rs", "by the agent\n");
    assert_eq!(agent.after("Edit", "a.rs"), None);
    assert_eq!(agent.before("Write", "a.rs"), None);
}

#[tokio::test]
async fn a_change_while_a_file_is_read_is_not_taken_for_known() {
    let ground = Ground::new();
    let _broker = ground.mesh.serve(&[]);
    let agent = ground.agent("s1");
    assert_eq!(agent.before("Read", "a.rs"), None);
    write(&ground.root, "a.rs", "after it was read\n");
    assert_eq!(agent.after("Read", "a.rs"), None);
    assert!(agent.before("Write", "a.rs").unwrap().contains("Read it again first"));
    agent.read("a.rs");
    assert_eq!(agent.before("Write", "a.rs"), None);
}
