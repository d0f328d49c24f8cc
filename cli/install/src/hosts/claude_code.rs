//! Claude Code: a plugin, or entries in its settings.
//!
//! Run with 2.1.329: the plugin in `~/.claude/skills/mesh/`, which needs no marketplace, was loaded with its hooks, its
//! MCP server, its monitor (also with telemetry switched off) and its commands; in a project's `.claude/skills/` with
//! all but the monitor, which Claude Code does not arm there; `asyncRewake` with a timeout of a day. So an idle session
//! is woken by the monitor where there is one, and by `asyncRewake` elsewhere, never by both.
//!
//! The plugin is the default: other hosts read Claude Code's settings and would run its hooks as well. Lines are for a
//! shell, not `command` with `args`, since a version that knows no `args` would run the bare program, whose exit code
//! then blocks every tool.

use super::{Cx, Json, command, group, object};
use crate::edit::json::{self, Entries};
use crate::host::Host;
use crate::piece::{Content, Piece};

/// Tools that write.
const BEFORE: &str = "Edit|MultiEdit|Write|NotebookEdit|Bash|PowerShell";
/// Tools that read or write.
const AFTER: &str = "Read|NotebookRead|Edit|MultiEdit|Write|NotebookEdit|Bash|PowerShell";
/// Longer than a session is idle.
const DAY: u32 = 86_400;

/// The files of the plugin that are the same for everybody.
const FIXED: [(&str, &str); 6] = [
    ("README.md", include_str!("../../assets/claude-plugin/README.md")),
    ("skills/mesh/SKILL.md", include_str!("../../assets/claude-plugin/skills/mesh/SKILL.md")),
    ("commands/who.md", include_str!("../../assets/claude-plugin/commands/who.md")),
    ("commands/inbox.md", include_str!("../../assets/claude-plugin/commands/inbox.md")),
    ("commands/locks.md", include_str!("../../assets/claude-plugin/commands/locks.md")),
    ("commands/about.md", include_str!("../../assets/claude-plugin/commands/about.md")),
];
const MANIFEST: &str = include_str!("../../assets/claude-plugin/.claude-plugin/plugin.json");

/// How an idle session is woken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waker {
    /// A process beside the session, a line per message.
    Monitor,
    /// A hook that ends when there is mail.
    Rewake,
}

pub(super) fn pieces(cx: &Cx<'_>) -> Vec<Piece> {
    if cx.choice.settings { settings(cx) } else { plugin(cx) }
}

fn settings(cx: &Cx<'_>) -> Vec<Piece> {
    let server = cx.path(cx.places.claude_json.clone(), ".mcp.json");
    let hooks = cx.path(cx.places.claude.join("settings.json"), ".claude/settings.json");
    let server = cx.json(server, Entries { server: Some(("mcpServers", mcp(cx))), ..Entries::default() });
    let entries = Entries { hooks: events(cx, Waker::Rewake), ..Entries::default() };
    let hooks = Piece::new(hooks, Content::Json(entries));
    std::iter::once(server).chain(cx.choice.hooks.then_some(hooks)).collect()
}

fn plugin(cx: &Cx<'_>) -> Vec<Piece> {
    let root = cx.path(cx.places.claude.join("skills/mesh"), ".claude/skills/mesh");
    let waker = if cx.is_project() { Waker::Rewake } else { Waker::Monitor };
    let entries = Entries { server: Some(("mcpServers", mcp(cx))), ..Entries::default() };
    let mut files = vec![
        (".claude-plugin/plugin.json", manifest(cx, waker)),
        (".mcp.json", json::snippet(&entries, cx.program)),
    ];
    files.extend(FIXED.map(|(path, text)| (path, text.to_owned())));
    if cx.choice.hooks {
        let entries = Entries { hooks: events(cx, waker), ..Entries::default() };
        files.push(("hooks/hooks.json", json::snippet(&entries, cx.program)));
        if waker == Waker::Monitor {
            files.push(("monitors/monitors.json", monitors(cx)));
        }
    }
    files.into_iter().map(|(path, text)| Piece::new(root.join(path), Content::Whole(text))).collect()
}

/// Its few tools are worth more at hand than found by a search.
fn mcp(cx: &Cx<'_>) -> Json {
    cx.server(&[("type", "stdio".into())], &[("alwaysLoad", true.into())])
}

fn events(cx: &Cx<'_>, waker: Waker) -> Vec<(&'static str, Json)> {
    let on = |event, matcher| (event, group(matcher, command(cx.line(Host::ClaudeCode, ""))));
    let mut events = vec![
        on("SessionStart", None),
        on("UserPromptSubmit", None),
        on("PreToolUse", Some(BEFORE)),
        on("PostToolUse", Some(AFTER)),
        on("SubagentStart", None),
        on("SubagentStop", None),
        on("Stop", None),
        on("StopFailure", None),
        on("SessionEnd", None),
    ];
    if waker == Waker::Rewake {
        events.extend(["SessionStart", "Stop"].map(|event| {
            let hook = object([
                ("type", "command".into()),
                ("command", cx.line(Host::ClaudeCode, "wait")),
                ("asyncRewake", true.into()),
                ("timeout", DAY.into()),
            ]);
            (event, group(None, hook))
        }));
    }
    events
}

fn manifest(cx: &Cx<'_>, waker: Waker) -> String {
    if waker == Waker::Monitor && cx.choice.hooks {
        return MANIFEST.to_owned();
    }
    // A manifest that names a file which is not there would be reported as broken.
    let start = MANIFEST.find(",\n  \"experimental\"").unwrap_or(MANIFEST.len());
    format!("{}\n}}\n", &MANIFEST[..start])
}

fn monitors(cx: &Cx<'_>) -> String {
    let monitor = serde_json::json!([{
        "name": "mail",
        "command": cx.program.hook(Host::ClaudeCode, "monitor"),
        "description": "Mail from other agents in this project",
    }]);
    format!("{monitor:#}\n")
}
