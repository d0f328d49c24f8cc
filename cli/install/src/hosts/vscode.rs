//! VS Code with Copilot: `mcp.json` of the profile or the project, and a file of hooks.
//!
//! From its documentation and source; nothing was run. It reads hooks where Copilot CLI does, so this file is read by
//! both: its lines do nothing there. Matchers are not honoured, so there are none.

use super::{Cx, SECONDS, object};
use crate::edit::json::Entries;
use crate::host::Host;
use crate::piece::{Content, Piece};

const EVENTS: [&str; 7] = [
    "SessionStart",
    "UserPromptSubmit",
    "PreToolUse",
    "PostToolUse",
    "SubagentStart",
    "SubagentStop",
    "Stop",
];

pub(super) fn pieces(cx: &Cx<'_>) -> Vec<Piece> {
    let server = cx.path(cx.places.vscode.join("mcp.json"), ".vscode/mcp.json");
    let hooks = cx.path(cx.places.copilot.join("hooks/mesh-vscode.json"), ".github/hooks/mesh-vscode.json");
    let entries = Entries {
        server: Some(("servers", cx.server(&[("type", "stdio".into())], &[]))),
        ..Entries::default()
    };
    let hook = object([
        ("type", "command".into()),
        ("command", cx.program.hook_outside_copilot(Host::Vscode).into()),
        ("timeout", SECONDS.into()),
    ]);
    let own = Entries { hooks: EVENTS.map(|event| (event, hook.clone())).into(), ..Entries::default() };
    let hooks = cx.choice.hooks.then(|| Piece::new(hooks, Content::Json(own)));
    std::iter::once(cx.json(server, entries)).chain(hooks).collect()
}
