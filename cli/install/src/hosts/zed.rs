//! Zed: an entry in its settings. From its documentation; nothing was run. It has no hooks.

use super::{Cx, Json};
use crate::edit::json::Entries;
use crate::piece::Piece;

pub(super) fn pieces(cx: &Cx<'_>) -> Vec<Piece> {
    let path = cx.path(cx.places.zed.join("settings.json"), ".zed/settings.json");
    let server = cx.server(&[], &[("env", Json::Object(Vec::new()))]);
    vec![cx.json(path, Entries { server: Some(("context_servers", server)), ..Entries::default() })]
}
