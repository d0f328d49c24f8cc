//! Which files each host gets, and what is in them.
//!
//! Everything that is known of the hosts' formats is here, one module per host; each says where it was read and what
//! was run. What must hold: every piece that any choice makes is among those that uninstalling looks at.

mod claude_code;
mod codex;
mod copilot;
mod cursor;
mod gemini;
mod goose;
mod opencode;
mod vscode;
mod windsurf;
mod zed;

use jsonc_parser::cst::CstInputValue as Json;

use crate::edit::json::Entries;
use crate::host::Host;
use crate::piece::{Content, Piece};
use crate::places::{Places, Scope};
use crate::program::Program;

/// What the user chose.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// For whom.
    pub scope: Scope,
    /// Whether to register hooks beside the MCP server.
    pub hooks: bool,
    /// Whether Claude Code gets entries in its settings rather than a plugin.
    pub settings: bool,
}

/// Hooks answer within milliseconds; this ends one that hangs.
const SECONDS: u32 = 5;

/// The files for a choice.
pub(crate) fn pieces(host: Host, choice: Choice, places: &Places, program: &Program) -> Vec<Piece> {
    let cx = Cx { choice, places, program };
    match host {
        Host::ClaudeCode => claude_code::pieces(&cx),
        Host::Codex => codex::pieces(&cx),
        Host::Cursor => cursor::pieces(&cx),
        Host::Gemini => gemini::pieces(&cx),
        Host::Opencode => opencode::pieces(&cx),
        Host::Vscode => vscode::pieces(&cx),
        Host::Copilot => copilot::pieces(&cx),
        Host::Windsurf => windsurf::pieces(&cx),
        Host::Goose => goose::pieces(&cx),
        Host::Zed => zed::pieces(&cx),
    }
}

/// The files of any choice.
pub(crate) fn all_pieces(host: Host, scope: Scope, places: &Places, program: &Program) -> Vec<Piece> {
    let choices = [false, true].map(|settings| Choice { scope, hooks: true, settings });
    let mut all: Vec<Piece> = Vec::new();
    let made = choices.into_iter().flat_map(|choice| pieces(host, choice, places, program));
    let others = if host == Host::Opencode { opencode::others(scope, places, program) } else { Vec::new() };
    for piece in made.chain(others) {
        if !all.iter().any(|other| other.path == piece.path) {
            all.push(piece);
        }
    }
    all
}

/// What the user has to do besides, or should know.
pub fn notes(host: Host, choice: Choice) -> Vec<String> {
    let project = choice.scope == Scope::Project;
    let notes: &[&str] = match host {
        Host::ClaudeCode if project => {
            &["Claude Code asks once per person whether to use the project's MCP server"]
        }
        Host::ClaudeCode if choice.settings && choice.hooks => &[
            "VS Code and Cursor can load these hooks too; the plugin, which is the default, keeps them apart",
        ],
        Host::ClaudeCode => &["sessions that run take it up with /reload-plugins"],
        Host::Codex if choice.hooks && project => &[
            "Codex reads the project's files once the project is trusted; then review the hooks with /hooks",
        ],
        Host::Codex if choice.hooks => {
            &["Codex runs hooks once you have reviewed them: type /hooks in a session"]
        }
        Host::Gemini if project => &["Gemini CLI reads the project's settings once the folder is trusted"],
        Host::Copilot if project => &["Copilot CLI reads the project's files once the folder is trusted"],
        Host::Vscode if choice.hooks => {
            &["agent hooks are a preview in VS Code; an organisation may switch them off"]
        }
        Host::Cursor => &["Cursor reads its MCP servers when it starts"],
        Host::Zed => &["Zed has no hooks: its agent sees the mesh through tools only"],
        Host::Codex | Host::Gemini | Host::Copilot | Host::Vscode | Host::Opencode => &[],
        Host::Windsurf | Host::Goose => &[],
    };
    notes.iter().map(|note| (*note).to_owned()).collect()
}

/// What the hosts' modules work with.
struct Cx<'a> {
    choice: Choice,
    places: &'a Places,
    program: &'a Program,
}

impl Cx<'_> {
    fn is_project(&self) -> bool {
        self.choice.scope == Scope::Project
    }

    /// A file of the user, or of the project.
    fn path(&self, user: std::path::PathBuf, project: &str) -> std::path::PathBuf {
        if self.is_project() { self.places.project.join(project) } else { user }
    }

    /// The usual form of a server: the program, and its arguments apart; with what comes before and after them.
    fn server(&self, before: &[(&str, Json)], after: &[(&str, Json)]) -> Json {
        let own = [("command", self.program.command().into()), ("args", list(&["mcp"]))];
        object(before.iter().cloned().chain(own).chain(after.iter().cloned()))
    }

    /// The line for a host's hook.
    fn line(&self, host: Host, rest: &str) -> Json {
        self.program.hook(host, rest).into()
    }

    /// A piece with a server and, if wanted, hooks.
    fn json(&self, path: std::path::PathBuf, mut entries: Entries) -> Piece {
        if !self.choice.hooks {
            entries.hooks.clear();
        }
        Piece::new(path, Content::Json(entries))
    }
}

fn object<'a>(fields: impl IntoIterator<Item = (&'a str, Json)>) -> Json {
    Json::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn list(words: &[&str]) -> Json {
    Json::Array(words.iter().map(|word| (*word).into()).collect())
}

/// A hook in a group with a matcher, as Claude Code, Codex, Gemini CLI and Goose have it.
fn group(matcher: Option<&str>, hook: Json) -> Json {
    let matcher = matcher.map(|matcher| ("matcher", matcher.into()));
    object(matcher.into_iter().chain([("hooks", Json::Array(vec![hook]))]))
}

/// A command of these hosts, which ends after a few seconds.
fn command(line: Json) -> Json {
    within(line, SECONDS)
}

fn within(line: Json, seconds: u32) -> Json {
    object([("type", "command".into()), ("command", line), ("timeout", seconds.into())])
}
