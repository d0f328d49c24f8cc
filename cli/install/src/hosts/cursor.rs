//! Cursor: `mcp.json` and `hooks.json`.
//!
//! From its documentation and from others' code that follows it; nothing was run. Hooks are flat, and a command
//! reaches `beforeShellExecution` as well as `preToolUse`, of which the former can ask the user.

use super::{Cx, Json, SECONDS, object};
use crate::edit::json::Entries;
use crate::host::Host;
use crate::piece::{Content, Piece};

const BEFORE: &str = "Write|Edit|MultiEdit|StrReplace|EditNotebook|ApplyPatch|Delete";
const AFTER: &str = "Read|Write|Edit|MultiEdit|StrReplace|EditNotebook|ApplyPatch|Delete|Shell";

pub(super) fn pieces(cx: &Cx<'_>) -> Vec<Piece> {
    let directory = cx.path(cx.places.home.join(".cursor"), ".cursor");
    let server = Entries { server: Some(("mcpServers", cx.server(&[], &[]))), ..Entries::default() };
    let on = |event, matcher: Option<&str>| {
        let matcher = matcher.map(|matcher| ("matcher", Json::from(matcher)));
        let own = [("command", cx.line(Host::Cursor, "")), ("timeout", SECONDS.into())];
        (event, object(own.into_iter().chain(matcher)))
    };
    let hooks = Entries {
        defaults: vec![("version", 1_u32.into())],
        hooks: vec![
            on("sessionStart", None),
            on("beforeSubmitPrompt", None),
            on("preToolUse", Some(BEFORE)),
            on("beforeShellExecution", None),
            on("postToolUse", Some(AFTER)),
            on("subagentStart", None),
            on("subagentStop", None),
            on("stop", None),
            on("sessionEnd", None),
        ],
        ..Entries::default()
    };
    let hooks = cx.choice.hooks.then(|| Piece::new(directory.join("hooks.json"), Content::Json(hooks)));
    std::iter::once(cx.json(directory.join("mcp.json"), server)).chain(hooks).collect()
}
