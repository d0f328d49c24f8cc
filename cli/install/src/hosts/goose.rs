//! Goose: an extension in `config.yaml`, and a plugin directory with hooks.
//!
//! From its documentation and source; nothing was run. Extensions are the user's: there is no file of a project for
//! them, so a project gets the hooks only.

use super::{Cx, command, group};
use crate::edit::json::Entries;
use crate::host::Host;
use crate::piece::{Content, Piece};

/// An unanchored regular expression.
const TOOLS: &str = "^developer__(edit|write|shell|text_editor)$";
const MANIFEST: &str = include_str!("../../assets/goose/plugin.json");

pub(super) fn pieces(cx: &Cx<'_>) -> Vec<Piece> {
    let plugin = cx.path(cx.places.home.join(".agents/plugins/mesh"), ".agents/plugins/mesh");
    let on = |event, matcher| (event, group(matcher, command(cx.line(Host::Goose, ""))));
    let entries = Entries {
        hooks: vec![
            on("SessionStart", None),
            on("UserPromptSubmit", None),
            on("PreToolUse", Some(TOOLS)),
            on("PostToolUse", Some(TOOLS)),
            on("Stop", None),
            on("SessionEnd", None),
        ],
        ..Entries::default()
    };
    let mut pieces = Vec::new();
    if !cx.is_project() {
        pieces.push(Piece::new(cx.places.config.join("goose/config.yaml"), Content::Yaml));
    }
    if cx.choice.hooks {
        pieces.push(Piece::new(plugin.join("plugin.json"), Content::Whole(MANIFEST.to_owned())));
        pieces.push(Piece::new(plugin.join("hooks/hooks.json"), Content::Json(entries)));
    }
    pieces
}
