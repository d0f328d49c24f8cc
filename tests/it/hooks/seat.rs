//! The ground that hooks are tested on: repositories with worktrees, links and nested repositories, and seats, which are
//! agent sessions as their host would run them.
//!
//! What must hold, checked for every hook of every test: it never writes anything but its answer on standard output, and
//! an answer is one JSON object or nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use mesh_client::proto::{ListLocksRequest, ListMessagesRequest, ListPeersRequest, Lock, Peer, PeerStatus};
use mesh_client::{JoinOptions, Session};
use mesh_tests::{Mesh, SCOPE, unattended, within};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

/// A mesh, and below its home the repository `app` on `main` with a file in `src/`.
pub(crate) struct Ground {
    pub(crate) mesh: Mesh,
    pub(crate) base: PathBuf,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let mesh = Mesh::new();
        let base = mesh.path().canonicalize().unwrap().join("w");
        std::fs::create_dir(&base).unwrap();
        let ground = Self { mesh, base };
        ground.repository("app", "git@example.com:acme/app.git");
        ground
    }

    /// A repository with `src/a.rs` and `src/b.rs` committed.
    pub(crate) fn repository(&self, name: &str, remote: &str) {
        let root = self.path(name);
        std::fs::create_dir_all(root.join("src")).unwrap();
        for file in ["src/a.rs", "src/b.rs"] {
            std::fs::write(root.join(file), "one\n").unwrap();
        }
        git(&root, &["init", "-q", "-b", "main"]);
        git(&root, &["remote", "add", "origin", remote]);
        git(&root, &["add", "."]);
        git(&root, &["commit", "-q", "-m", "one"]);
    }

    /// A worktree of `app` on a branch of its own.
    pub(crate) fn worktree(&self, name: &str, branch: &str) {
        git(&self.path("app"), &["worktree", "add", "-q", "-b", branch, &format!("../{name}")]);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// A session of Claude Code in `app`.
    pub(crate) fn seat(&self) -> Seat {
        self.seat_of("claude-code", "app")
    }

    pub(crate) fn seat_of(&self, host: &'static str, directory: &str) -> Seat {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Seat {
            host,
            session: format!("0f9c{number:04}-0000-4000-8000-000000000000"),
            process: Some(Process::start()),
            cwd: self.path(directory),
            home: self.mesh.path().to_owned(),
            env: Vec::new(),
        }
    }

    /// `meshctl` without a scope of its own, so that directories tell.
    pub(crate) fn meshctl(&self, arguments: &[&str]) -> Command {
        let mut command = self.mesh.meshctl(arguments);
        command.env_remove("MESH_SCOPE").current_dir(self.path("app"));
        command
    }

    /// Everybody who is or was in a scope.
    pub(crate) async fn peers_in(&self, scope: &str) -> Vec<Peer> {
        let request =
            ListPeersRequest { scope: scope.into(), include_offline: true, ..ListPeersRequest::default() };
        self.mesh.client().peers().list_peers(request).await.unwrap().into_inner().peers
    }

    pub(crate) async fn peers(&self) -> Vec<Peer> {
        self.peers_in(SCOPE).await
    }

    /// The one peer of a kind of agent that the scope of `app` has ever had.
    pub(crate) async fn only(&self, kind: &str) -> Peer {
        let of_kind = |peer: &Peer| peer.info.as_ref().is_some_and(|info| info.agent_kind == kind);
        let mut found: Vec<_> = self.peers().await.into_iter().filter(of_kind).collect();
        assert_eq!(found.len(), 1, "{found:#?}");
        found.remove(0)
    }

    /// Paths and holders of the locks of a scope.
    pub(crate) async fn locks_in(&self, scope: &str) -> Vec<Lock> {
        let request = ListLocksRequest { scope: scope.into(), ..ListLocksRequest::default() };
        self.mesh.client().locks().list_locks(request).await.unwrap().into_inner().locks
    }

    pub(crate) async fn locked(&self) -> Vec<(String, String)> {
        self.locks_in(SCOPE).await.into_iter().map(|lock| (lock.path, lock.holder)).collect()
    }

    /// Messages to a peer that it has not acknowledged, as it would be told if it came back.
    pub(crate) async fn unread(&self, name: &str) -> u32 {
        let record =
            |path: std::path::PathBuf| serde_json::from_slice::<Value>(&std::fs::read(path).ok()?).ok();
        let files = std::fs::read_dir(self.mesh.home().agents_path()).unwrap().flatten();
        let is_record = |path: &PathBuf| !path.is_symlink() && path.extension().is_none();
        let records = files.map(|file| file.path()).filter(is_record).filter_map(record);
        let memberships = records.flat_map(|record| {
            let all = record["memberships"].as_object().cloned().unwrap_or_default();
            all.into_iter().map(|(_, membership)| membership).collect::<Vec<_>>()
        });
        let mine = memberships.filter(|membership| membership["session"]["name"] == name).last().unwrap();
        let saved = serde_json::from_value(mine["session"].clone()).unwrap();
        let session = Session::adopt(&self.mesh.client(), saved, unattended(name)).unwrap();
        session.inbox(ListMessagesRequest { limit: 1, ..Default::default() }).await.unwrap().unread
    }

    /// Another peer of `app`, with no hooks, in a checkout.
    pub(crate) async fn other(&self, name: &str, checkout: &str) -> Session {
        let mut options: JoinOptions = unattended(name);
        options.info.agent_kind = "zed".into();
        options.info.worktree = self.path(checkout).to_string_lossy().into_owned();
        options.info.host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Session::join(&self.mesh.client(), options).await.unwrap()
    }
}

/// Whether a peer has a live session.
pub(crate) fn is_online(peer: &Peer) -> bool {
    peer.status() == PeerStatus::Online
}

pub(crate) fn git(directory: &Path, arguments: &[&str]) {
    let mut git = Command::new("git");
    git.current_dir(directory).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null");
    for who in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{who}_NAME"), "t").env(format!("GIT_{who}_EMAIL"), "t@example.com");
    }
    let output = git.output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A process that stands for an agent's, and lives until it is told to end.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start() -> Self {
        let mut command = Command::new("cat");
        Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// What a hook left.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) json: Value,
    pub(crate) stderr: String,
}

impl Answer {
    /// What the model is told, in the form of Claude Code.
    pub(crate) fn context(&self) -> &str {
        self.json["hookSpecificOutput"]["additionalContext"].as_str().unwrap_or_default()
    }

    pub(crate) fn decision(&self) -> &str {
        self.json["hookSpecificOutput"]["permissionDecision"].as_str().unwrap_or("pass")
    }

    pub(crate) fn reason(&self) -> &str {
        self.json["hookSpecificOutput"]["permissionDecisionReason"].as_str().unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn denied(&self) -> &str {
        assert_eq!(self.decision(), "deny", "{self:?}");
        self.reason()
    }

    #[track_caller]
    pub(crate) fn passed(&self) -> &str {
        assert_eq!(self.decision(), "pass", "{self:?}");
        self.context()
    }

    /// Why the turn should go on.
    pub(crate) fn go_on(&self) -> &str {
        let specific = &self.json["hookSpecificOutput"];
        if specific["hookEventName"] == "Stop"
            && let Some(text) = specific["additionalContext"].as_str()
        {
            return text;
        }
        if self.json["decision"] == "block" { self.json["reason"].as_str().unwrap() } else { "" }
    }

    /// What the user is told.
    pub(crate) fn notice(&self) -> &str {
        self.json["systemMessage"].as_str().unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn silent(&self) {
        assert_eq!((&self.json, self.code, self.stderr.as_str()), (&Value::Null, Some(0), ""), "{self:?}");
    }
}

/// One session of an agent, as its host runs it.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) host: &'static str,
    pub(crate) session: String,
    /// The agent's process, which the host names; without one, hooks take the process that runs them.
    pub(crate) process: Option<Process>,
    pub(crate) cwd: PathBuf,
    pub(crate) env: Vec<(&'static str, OsString)>,
    pub(crate) home: PathBuf,
}

impl Seat {
    /// The same session in a process of its own, as when it is resumed.
    pub(crate) fn resumed(&self) -> Self {
        Self { process: Some(Process::start()), ..self.twin() }
    }

    fn twin(&self) -> Self {
        let Self { host, session, cwd, home, env, .. } = self;
        Self {
            host,
            session: session.clone(),
            process: None,
            cwd: cwd.clone(),
            env: env.clone(),
            home: home.clone(),
        }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(mesh_tests::meshctl());
        command.args(arguments).env_clear().current_dir(&self.cwd).stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &self.home).env("MESH_HOME", &self.home).env("USER", "tester");
        if self.host == "claude-code" {
            command.env("CLAUDECODE", "1").env("CLAUDE_CODE_SESSION_ID", &self.session);
            command.env("AI_AGENT", "claude-code_2-1-329_harness");
            if let Some(process) = &self.process {
                command.env("CLAUDE_PID", process.pid().to_string());
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A payload with what all have.
    pub(crate) fn payload(&self, event: &str, more: Value) -> Value {
        let mut payload = json!({
            "session_id": self.session,
            "transcript_path": "/nowhere/transcript.jsonl",
            "cwd": self.cwd,
            "permission_mode": "acceptEdits",
            "hook_event_name": event,
        });
        let Value::Object(more) = more else { panic!("an object") };
        payload.as_object_mut().unwrap().extend(more);
        payload
    }

    /// Runs a hook with any input.
    pub(crate) async fn raw(&self, arguments: &[&str], input: &[u8]) -> Answer {
        let mut command = tokio::process::Command::from(self.command(&[&["hook"], arguments].concat()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        // One that has no use for its input may have ended.
        let _ = child.stdin.take().unwrap().write_all(input).await;
        let output = within("a hook", child.wait_with_output()).await.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let json = match output.stdout.as_slice() {
            [] => Value::Null,
            out => serde_json::from_slice(out)
                .unwrap_or_else(|_| panic!("not JSON: {} {stderr}", String::from_utf8_lossy(out))),
        };
        Answer { code: output.status.code(), json, stderr }
    }

    /// Runs the hook of an event, which must not go wrong.
    pub(crate) async fn hook(&self, event: &str, more: Value) -> Answer {
        let answer = self.any_hook(event, more).await;
        assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{event}: {answer:?}");
        answer
    }

    /// Runs the hook of an event.
    pub(crate) async fn any_hook(&self, event: &str, more: Value) -> Answer {
        self.raw(&[self.host], self.payload(event, more).to_string().as_bytes()).await
    }

    pub(crate) async fn start(&self) -> Answer {
        self.starts("startup").await
    }

    pub(crate) async fn starts(&self, source: &str) -> Answer {
        self.hook("SessionStart", json!({"source": source, "model": "m"})).await
    }

    /// Starts the session; its name.
    pub(crate) async fn name_at_start(&self) -> String {
        self.start().await;
        self.name()
    }

    pub(crate) async fn prompt(&self) -> Answer {
        self.hook("UserPromptSubmit", json!({"prompt": "do it"})).await
    }

    pub(crate) async fn stop(&self) -> Answer {
        self.hook("Stop", json!({"stop_hook_active": false, "last_assistant_message": "done"})).await
    }

    pub(crate) async fn end(&self, reason: &str) -> Answer {
        self.hook("SessionEnd", json!({"reason": reason})).await
    }

    pub(crate) async fn tool(&self, event: &str, tool: &str, input: Value) -> Answer {
        self.hook(event, json!({"tool_name": tool, "tool_input": input, "tool_use_id": "t1"})).await
    }

    /// Before a part of a file is replaced.
    pub(crate) async fn edits(&self, path: impl AsRef<Path>) -> Answer {
        let input = json!({"file_path": self.cwd.join(path), "old_string": "one", "new_string": "two"});
        self.tool("PreToolUse", "Edit", input).await
    }

    pub(crate) async fn edited(&self, path: impl AsRef<Path>) -> Answer {
        let input = json!({"file_path": self.cwd.join(path), "old_string": "one", "new_string": "two"});
        self.tool("PostToolUse", "Edit", input).await
    }

    /// Before a file is written as a whole.
    pub(crate) async fn writes(&self, path: impl AsRef<Path>) -> Answer {
        let input = json!({"file_path": self.cwd.join(path), "content": "two\n"});
        self.tool("PreToolUse", "Write", input).await
    }

    pub(crate) async fn read(&self, path: impl AsRef<Path>) -> Answer {
        self.tool("PostToolUse", "Read", json!({"file_path": self.cwd.join(path)})).await
    }

    pub(crate) async fn runs(&self, command: &str) -> Answer {
        self.tool("PreToolUse", "Bash", json!({"command": command})).await
    }

    pub(crate) async fn ran(&self, command: &str) -> Answer {
        self.tool("PostToolUse", "Bash", json!({"command": command})).await
    }

    /// A command of the agent's shell, in whose environment the host names the session.
    pub(crate) fn shell(&self, arguments: &[&str]) -> Value {
        let mut command = self.command(&[&["--json"], arguments].concat());
        if self.host == "codex" {
            command.env("CODEX_SESSION_ID", &self.session);
        }
        let output = command.output().unwrap();
        match output.stdout.as_slice() {
            [] => Value::Null,
            out => serde_json::from_slice(out).unwrap_or_else(|_| panic!("{arguments:?}: {output:?}")),
        }
    }

    /// The name under which the session is on the mesh, as its shell sees it.
    pub(crate) fn name(&self) -> String {
        let locked = self.shell(&["lock", "task:probe"]);
        self.shell(&["unlock", "task:probe"]);
        locked["holder"].as_str().unwrap().to_owned()
    }
}
