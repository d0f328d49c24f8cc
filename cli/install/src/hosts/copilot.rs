//! Copilot CLI: `mcp-config.json`, and a file of hooks.
//!
//! Run with 1.0.102 against a model of our own: hooks of the user and, in a trusted folder, of the project fire, with
//! matchers. Two things that its documentation does not stress: a hook whose program is missing *denies* the tool, so
//! the line never fails; and a `linux` line, meant for VS Code, wins over `bash`. `exec` is understood by Copilot CLI
//! alone, so VS Code, which reads the same directory, passes over these hooks.

use super::{Cx, Json, SECONDS, list, object};
use crate::edit::json::Entries;
use crate::host::Host;
use crate::piece::{Content, Piece};

const BEFORE: &str = "edit|create|str_replace_editor|apply_patch|bash|powershell";
const AFTER: &str = "view|edit|create|str_replace_editor|apply_patch|bash|powershell";

pub(super) fn pieces(cx: &Cx<'_>) -> Vec<Piece> {
    let server = cx.path(cx.places.copilot.join("mcp-config.json"), ".github/mcp.json");
    let hooks = cx.path(cx.places.copilot.join("hooks/mesh.json"), ".github/hooks/mesh.json");
    let entry = cx.server(&[("type", "local".into())], &[("tools", list(&["*"]))]);
    let entries = Entries { server: Some(("mcpServers", entry)), ..Entries::default() };
    let on = |event: &'static str, matcher: Option<&str>| {
        let line = cx.program.sure_hook(Host::Copilot, event);
        let matcher = matcher.map(|matcher| ("matcher", Json::from(matcher)));
        let own = [("type", "command".into()), ("exec", "sh".into()), ("args", list(&["-c", &line]))];
        (event, object(own.into_iter().chain(matcher).chain([("timeoutSec", SECONDS.into())])))
    };
    let own = Entries {
        defaults: vec![("version", 1_u32.into())],
        hooks: vec![
            on("sessionStart", None),
            on("userPromptSubmitted", None),
            on("preToolUse", Some(BEFORE)),
            on("postToolUse", Some(AFTER)),
            on("subagentStart", None),
            on("subagentStop", None),
            on("agentStop", None),
            on("sessionEnd", None),
        ],
        ..Entries::default()
    };
    let hooks = cx.choice.hooks.then(|| Piece::new(hooks, Content::Json(own)));
    std::iter::once(cx.json(server, entries)).chain(hooks).collect()
}
