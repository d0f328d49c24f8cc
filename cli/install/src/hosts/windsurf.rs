//! Windsurf: `mcp_config.json` and `hooks.json`.
//!
//! From its documentation and others' code; nothing was run. It tells of no start and no end of a session.

use super::{Cx, object};
use crate::edit::json::Entries;
use crate::host::Host;
use crate::piece::{Content, Piece};

const EVENTS: [&str; 7] = [
    "pre_user_prompt",
    "pre_write_code",
    "pre_run_command",
    "post_read_code",
    "post_write_code",
    "post_run_command",
    "post_cascade_response",
];

pub(super) fn pieces(cx: &Cx<'_>) -> Vec<Piece> {
    let directory = cx.path(cx.places.home.join(".codeium/windsurf"), ".windsurf");
    let server = Entries { server: Some(("mcpServers", cx.server(&[], &[]))), ..Entries::default() };
    let hook = object([("command", cx.line(Host::Windsurf, "")), ("show_output", false.into())]);
    let own = Entries { hooks: EVENTS.map(|event| (event, hook.clone())).into(), ..Entries::default() };
    let hooks = cx.choice.hooks.then(|| Piece::new(directory.join("hooks.json"), Content::Json(own)));
    std::iter::once(cx.json(directory.join("mcp_config.json"), server)).chain(hooks).collect()
}
