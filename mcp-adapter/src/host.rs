//! Who started this process: which agent, which conversation, in which directory.
//!
//! Owns the environment: nothing else in this crate reads it. Environment variables are inherited, so an agent
//! started from another agent's shell sees both; a client's own name, sent with every connection, is the better
//! witness. What must hold: a conversation is only taken from the agent that it belongs to, since joining with
//! its key means taking its peer over.

use std::ffi::OsString;
use std::path::PathBuf;

use mesh_client::agent::{Identity, Process};
use rmcp::model::{Implementation, RequestMetaObject};
use serde_json::Value;

use crate::wake::Inbox;

/// Longest kind and version of an agent that the contract takes.
const LONGEST: usize = 64;
/// Longest id of a session that is taken for one.
const LONGEST_ID: usize = 100;
/// Kinds of agent that have hooks: their processes meet in the registry.
const HOOKED: [&str; 9] =
    ["claude-code", "codex", "cursor", "gemini", "opencode", "vscode", "copilot", "windsurf", "goose"];

/// Beginnings of client names, in lower case, and the kinds of agent they stand for; the first match counts.
const CLIENTS: &[(&str, &str)] = &[
    ("claude-code", "claude-code"),
    ("claude", "claude-desktop"),
    ("codex", "codex"),
    ("gemini-cli", "gemini"),
    ("opencode", "opencode"),
    ("cursor", "cursor"),
    ("visual studio code", "vscode"),
    ("vscode", "vscode"),
    ("copilot", "copilot"),
    ("github-copilot", "copilot"),
    ("goose", "goose"),
    ("windsurf", "windsurf"),
    ("zed", "zed"),
    ("cline", "cline"),
];

/// Variables that agents set for the MCP servers they start.
const VARIABLES: &[(&str, &str)] =
    &[("CLAUDECODE", "claude-code"), ("GEMINI_CLI", "gemini"), ("OPENCODE", "opencode")];

/// What is known of the host before a client speaks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    /// Directory of the project.
    pub(crate) directory: PathBuf,
    /// Name of this machine.
    pub(crate) machine: String,
    /// The process of the agent.
    pub(crate) process: Option<Process>,
    kind: Option<&'static str>,
    version: Option<String>,
    claude_session: Option<String>,
    inbox: Option<Inbox>,
    /// The process was started by a command of an agent, not by the agent.
    child: bool,
}

/// The agent behind a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Agent {
    /// Kind, as in `PeerInfo.agent_kind`.
    pub(crate) kind: String,
    /// Version; empty when unknown.
    pub(crate) version: String,
    /// The host's id of the session; a secret.
    pub(crate) session: Option<String>,
    /// The id came with the call. One from the environment may be older than what runs in the process now.
    pub(crate) told_now: bool,
}

impl Host {
    /// Reads environment, working directory and machine.
    pub(crate) fn from_env() -> Self {
        let here = std::env::current_dir().unwrap_or_default();
        let process = Process::above();
        let mut host = Self {
            machine: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            process,
            ..Self::from_vars(|name| std::env::var_os(name), here)
        };
        if let Some(inbox) = &mut host.inbox {
            inbox.host = process.map(|process| process.pid);
        }
        host
    }

    /// Where the session of an agent takes messages, if its host has opened that to this process.
    pub(crate) fn inbox_of(&self, kind: &str) -> Option<&Inbox> {
        self.inbox.as_ref().filter(|_| kind == "claude-code" && !self.child)
    }

    fn from_vars(var: impl Fn(&str) -> Option<OsString>, here: PathBuf) -> Self {
        let set = |name: &str| var(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name).and_then(|value| value.into_string().ok());
        // `claude-code_2.1.329_harness`, or `claude-code_2-1-329_harness`
        let version = text("AI_AGENT").and_then(|agent| {
            let version = agent.split('_').nth(1)?;
            version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.replace('-', "."))
        });
        Self {
            directory: set("CLAUDE_PROJECT_DIR")
                .map(PathBuf::from)
                .filter(|dir| dir.is_dir())
                .unwrap_or(here),
            kind: VARIABLES.iter().find(|(name, _)| set(name).is_some()).map(|(_, kind)| *kind),
            version,
            claude_session: text("CLAUDE_CODE_SESSION_ID"),
            inbox: set("CLAUDE_CODE_MESSAGING_SOCKET").map(|path| Inbox {
                path: path.into(),
                token: text("CLAUDE_CODE_MESSAGING_TOKEN"),
                sessions: set("CLAUDE_CONFIG_DIR")
                    .map(PathBuf::from)
                    .or_else(|| Some(PathBuf::from(set("HOME")?).join(".claude")))
                    .map(|config| config.join("sessions")),
                host: None,
            }),
            child: set("CLAUDE_CODE_CHILD_SESSION").is_some(),
            ..Self::default()
        }
    }

    /// The agent behind a call, from what its client says, then from what the host showed.
    pub(crate) fn agent(&self, client: Option<&Implementation>, meta: &RequestMetaObject) -> Agent {
        let named = client.and_then(|client| known_client(&client.name));
        let from_host = self.kind.filter(|_| !self.child);
        let kind = named.or(from_host).map(str::to_owned).unwrap_or_else(|| other_client(client));
        let version = match (client, from_host) {
            (_, Some(host)) if host == kind && self.version.is_some() => self.version.clone(),
            (Some(client), _) if named.is_some() || from_host.is_none() => Some(client.version.clone()),
            _ => None,
        };
        let conversation = match kind.as_str() {
            "claude-code" => self.claude_session.clone(),
            "codex" => codex_session(meta),
            _ => None,
        };
        let session = conversation.filter(|id| id.len() <= LONGEST_ID);
        let told_now = kind == "codex" && session.is_some();
        Agent { version: short(version.unwrap_or_default()), kind, session, told_now }
    }
}

impl Agent {
    /// Whether hooks may report on the same session.
    pub(crate) fn may_be_hooked(&self) -> bool {
        HOOKED.contains(&self.kind.as_str())
    }

    /// Whether each call of such an agent says which session it comes from, of several that its process may run.
    pub(crate) fn names_its_calls(&self) -> bool {
        self.kind == "codex"
    }

    /// What the registry is asked for.
    pub(crate) fn identity(&self, process: Option<Process>) -> Identity {
        Identity { kind: self.kind.clone(), session: self.session.clone(), process }
    }
}

fn known_client(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    CLIENTS.iter().find(|(beginning, _)| name.starts_with(beginning)).map(|(_, kind)| *kind)
}

/// The name of a client that is not in the table.
fn other_client(client: Option<&Implementation>) -> String {
    let name = client.map(|client| short(client.name.trim().to_lowercase())).unwrap_or_default();
    if name.is_empty() { "mcp".into() } else { name }
}

/// The id of the session that a call of Codex comes from, which is that of its hooks; a sub-agent is a thread of its
/// own in its parent's session.
fn codex_session(meta: &RequestMetaObject) -> Option<String> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    if let Some(id) = ["sessionId", "threadId"].iter().find_map(|key| meta.get(*key).and_then(text)) {
        return Some(id);
    }
    let turn = meta.get("x-codex-turn-metadata")?;
    let turn = turn.as_str().map_or_else(|| Some(turn.clone()), |json| serde_json::from_str(json).ok())?;
    ["session_id", "thread_id"].iter().find_map(|key| turn.get(key).and_then(text))
}

fn short(mut text: String) -> String {
    text.retain(|c| !c.is_control());
    text.truncate(text.floor_char_boundary(LONGEST));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn host(vars: &[(&str, &str)]) -> Host {
        let find = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into());
        Host::from_vars(find, "/work".into())
    }

    fn meta(value: &Value) -> RequestMetaObject {
        serde_json::from_value(value.clone()).unwrap()
    }

    const CLAUDE: &[(&str, &str)] = &[
        ("CLAUDECODE", "1"),
        ("AI_AGENT", "claude-code_2.1.329_harness"),
        ("CLAUDE_CODE_SESSION_ID", "0f9c"),
    ];

    #[test]
    fn agents_are_told_apart() {
        let nested = [CLAUDE, &[("GEMINI_CLI", "1")]].concat();
        let shell = [CLAUDE, &[("CLAUDE_CODE_CHILD_SESSION", "1")]].concat();
        let claude_id = Some("0f9c");
        // Environment, client name and version; kind, version, session.
        type Case<'a> =
            (&'a [(&'a str, &'a str)], Option<(&'a str, &'a str)>, (&'a str, &'a str, Option<&'a str>));
        let table: &[Case<'_>] = &[
            (CLAUDE, Some(("claude-code", "2.1.329")), ("claude-code", "2.1.329", claude_id)),
            (CLAUDE, None, ("claude-code", "2.1.329", claude_id)),
            (&[], Some(("codex-mcp-client", "0.169.0")), ("codex", "0.169.0", None)),
            (&nested, Some(("codex-mcp-client", "0.169.0")), ("codex", "0.169.0", None)),
            (&nested, Some(("gemini-cli-mcp-client-x", "0.61.0")), ("gemini", "0.61.0", None)),
            (&[("GEMINI_CLI", "1")], Some(("mcp-test-client", "1")), ("gemini", "", None)),
            (&[("OPENCODE", "1")], Some(("opencode", "1.18.33")), ("opencode", "1.18.33", None)),
            (&shell, Some(("inspector-cli", "2.12.0")), ("inspector-cli", "2.12.0", None)),
            (&[], Some(("Visual Studio Code", "1.2")), ("vscode", "1.2", None)),
            (&[], Some(("claude-ai", "1")), ("claude-desktop", "1", None)),
            (&[], Some((" My Agent\n", "3")), ("my agent", "3", None)),
            (&[], None, ("mcp", "", None)),
        ];
        for (vars, client, (kind, version, id)) in table {
            let client = client.map(|(name, version)| Implementation::new(name, version));
            let agent = host(vars).agent(client.as_ref(), &RequestMetaObject::new());
            let expected = Agent {
                kind: (*kind).into(),
                version: (*version).into(),
                session: id.map(str::to_owned),
                told_now: false,
            };
            assert_eq!(agent, expected, "{vars:?} {client:?}");
        }
    }

    #[test]
    fn a_version_has_points_however_the_environment_spells_it() {
        for spelt in ["claude-code_2.1.329_harness", "claude-code_2-1-329_harness"] {
            let agent =
                host(&[("CLAUDECODE", "1"), ("AI_AGENT", spelt)]).agent(None, &RequestMetaObject::new());
            assert_eq!(agent.version, "2.1.329");
        }
    }

    #[test]
    fn codex_names_its_thread_in_each_call() {
        let client = Implementation::new("codex-mcp-client", "0.169.0");
        for (sent, key) in [
            (json!({"threadId": "t1"}), Some("t1")),
            (json!({"sessionId": "s1", "threadId": "t2"}), Some("s1")),
            (json!({"x-codex-turn-metadata": {"session_id": "s2", "thread_id": "t3"}}), Some("s2")),
            (json!({"x-codex-turn-metadata": "{\"session_id\":\"s\"}"}), Some("s")),
            (json!({"x-codex-turn-metadata": "nonsense"}), None),
            (json!({"threadId": "t".repeat(300)}), None),
        ] {
            let agent = host(&[]).agent(Some(&client), &meta(&sent));
            assert_eq!(agent.session.as_deref(), key, "{sent}");
        }
        let other = Implementation::new("other", "1");
        assert_eq!(host(&[]).agent(Some(&other), &meta(&json!({"threadId": "t1"}))).session, None);
    }

    #[test]
    fn the_project_directory_wins_when_it_exists() {
        assert_eq!(host(&[("CLAUDE_PROJECT_DIR", "/")]).directory, PathBuf::from("/"));
        assert_eq!(host(&[("CLAUDE_PROJECT_DIR", "/no/such/dir")]).directory, PathBuf::from("/work"));
        assert_eq!(host(&[]).directory, PathBuf::from("/work"));
    }

    #[test]
    fn an_inbox_is_that_of_the_agent_that_started_the_server() {
        let socket = [("CLAUDE_CODE_MESSAGING_SOCKET", "/tmp/1.sock"), ("HOME", "/home/u")];
        let own = host(&[CLAUDE, &socket].concat());
        let inbox = own.inbox_of("claude-code").unwrap();
        assert_eq!((inbox.path.as_path(), &inbox.token), ("/tmp/1.sock".as_ref(), &None));
        assert_eq!(inbox.sessions, Some("/home/u/.claude/sessions".into()));
        assert!(own.inbox_of("codex").is_none(), "another agent in its shell");
        let shell = [CLAUDE, &socket, &[("CLAUDE_CODE_CHILD_SESSION", "1")]].concat();
        assert!(host(&shell).inbox_of("claude-code").is_none());
        assert!(host(CLAUDE).inbox_of("claude-code").is_none());
    }

    #[test]
    fn what_clients_say_is_bounded() {
        let client = Implementation::new("x".repeat(500), "9".repeat(500));
        let agent = host(&[]).agent(Some(&client), &RequestMetaObject::new());
        assert_eq!((agent.kind.len(), agent.version.len()), (LONGEST, LONGEST));
    }
}
