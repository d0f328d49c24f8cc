//! Gemini CLI: `settings.json` for both.
//!
//! Run with 0.61.0: `gemini mcp list` reads the server. Hooks from its documentation: groups as in Claude Code, other
//! events, and a timeout in milliseconds.

use super::{Cx, SECONDS, group, object};
use crate::edit::json::Entries;
use crate::host::Host;
use crate::piece::Piece;

const BEFORE: &str = "write_file|replace|edit|run_shell_command";
const AFTER: &str = "read_file|read_many_files|write_file|replace|edit|run_shell_command";

pub(super) fn pieces(cx: &Cx<'_>) -> Vec<Piece> {
    let path = cx.path(cx.places.home.join(".gemini/settings.json"), ".gemini/settings.json");
    let on = |event, matcher| {
        let hook = object([
            ("name", "mesh".into()),
            ("type", "command".into()),
            ("command", cx.line(Host::Gemini, "")),
            ("timeout", (SECONDS * 1000).into()),
        ]);
        (event, group(matcher, hook))
    };
    let entries = Entries {
        server: Some(("mcpServers", cx.server(&[], &[]))),
        hooks: vec![
            on("SessionStart", None),
            on("BeforeAgent", None),
            on("BeforeTool", Some(BEFORE)),
            on("AfterTool", Some(AFTER)),
            on("AfterAgent", None),
            on("SessionEnd", None),
        ],
        ..Entries::default()
    };
    vec![cx.json(path, entries)]
}
