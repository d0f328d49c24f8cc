//! opencode: an entry in `opencode.json`, and a plugin of ours beside it.
//!
//! Run with 1.18.33: `opencode mcp list` shows the server connected, and a session loads the plugin. What its hooks
//! are given is from the types of `@opencode-ai/plugin` of that version.

use std::path::{Path, PathBuf};

use super::{Cx, Json, object};
use crate::edit::json::Entries;
use crate::piece::{Content, Piece};
use crate::places::{Places, Scope};
use crate::program::Program;

const PLUGIN: &str = include_str!("../../assets/opencode/mesh.js");
/// The one line of it that differs.
const COMMAND: &str = "const MESHCTL = \"meshctl\";";

pub(super) fn pieces(cx: &Cx<'_>) -> Vec<Piece> {
    let directory = cx.path(cx.places.config.join("opencode"), "");
    let plugins = cx.path(cx.places.config.join("opencode/plugins"), ".opencode/plugins");
    let command = format!("const MESHCTL = {};", serde_json::Value::from(cx.program.command()));
    let plugin = PLUGIN.replacen(COMMAND, &command, 1);
    let plugin = cx.choice.hooks.then(|| Piece::new(plugins.join("mesh.js"), Content::Whole(plugin)));
    let server = Piece::new(config(&directory), Content::Json(entries(cx.program)));
    std::iter::once(server).chain(plugin).collect()
}

/// The other names of the configuration, of which one may have been there when we came.
pub(super) fn others(scope: Scope, places: &Places, program: &Program) -> Vec<Piece> {
    let directory = match scope {
        Scope::User => places.config.join("opencode"),
        Scope::Project => places.project.clone(),
    };
    let names = ["opencode.json", "opencode.jsonc"];
    names.map(|name| Piece::new(directory.join(name), Content::Json(entries(program)))).into()
}

/// With comments if its owner wants some.
fn config(directory: &Path) -> PathBuf {
    let commented = directory.join("opencode.jsonc");
    let plain = directory.join("opencode.json");
    if commented.exists() && !plain.exists() { commented } else { plain }
}

fn entries(program: &Program) -> Entries {
    let command = Json::Array(vec![program.command().into(), "mcp".into()]);
    let server = object([("type", "local".into()), ("command", command), ("enabled", true.into())]);
    // It adds this by itself, after which a file that we made would count as changed.
    let schema = ("$schema", "https://opencode.ai/config.json".into());
    Entries { server: Some(("mcp", server)), fresh: vec![schema], ..Entries::default() }
}
