//! Codex CLI: a table in `config.toml`, and `hooks.json` beside it.
//!
//! Run with 0.169.0: `codex mcp list` shows the server, and the app server's `hooks/list` shows every hook without a
//! warning, as untrusted until its owner reviews it.

use super::{Cx, command, group, within};
use crate::edit::json::Entries;
use crate::host::Host;
use crate::piece::{Content, Piece};

/// It warns of more where something ends.
const LAST_SECONDS: u32 = 3;
/// It has no tool that only reads; it reads with the shell.
const TOOLS: &str = "Bash|apply_patch";

pub(super) fn pieces(cx: &Cx<'_>) -> Vec<Piece> {
    let config = cx.path(cx.places.codex.join("config.toml"), ".codex/config.toml");
    let hooks = cx.path(cx.places.codex.join("hooks.json"), ".codex/hooks.json");
    let on = |event, matcher| (event, group(matcher, command(cx.line(Host::Codex, ""))));
    let last = |event| (event, group(None, within(cx.line(Host::Codex, ""), LAST_SECONDS)));
    let entries = Entries {
        hooks: vec![
            on("SessionStart", None),
            on("UserPromptSubmit", None),
            on("PreToolUse", Some(TOOLS)),
            on("PostToolUse", Some(TOOLS)),
            on("SubagentStart", None),
            on("SubagentStop", None),
            on("Stop", None),
            last("Interrupt"),
            last("SessionEnd"),
        ],
        ..Entries::default()
    };
    let hooks = cx.choice.hooks.then(|| Piece::new(hooks, Content::Json(entries)));
    std::iter::once(Piece::new(config, Content::Toml)).chain(hooks).collect()
}
