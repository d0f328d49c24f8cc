//! Changing configuration without touching anything but our own entries.
//!
//! One module per language; each takes a text and gives a text. What must hold: everything else stays as it was, to
//! the byte where the language's editor allows and in meaning always, which is checked by parsing both.

pub(crate) mod json;
pub(crate) mod toml;
pub(crate) mod yaml;

use crate::program::Program;

/// Why a file is left alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// It is not what its host would read either.
    #[error("cannot be parsed: {0}")]
    Unreadable(String),
    /// It is of another shape than the host documents.
    #[error("`{0}` is not a {1}")]
    Shape(String, &'static str),
    /// An entry of our name is somebody else's.
    #[error("an entry called `{0}` is there already and starts something else")]
    Taken(String),
    /// It cannot be changed without changing more.
    #[error("cannot be changed without touching other parts of it: {0}")]
    Delicate(&'static str),
}

/// What of ours is in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// How the MCP server is started: program and arguments.
    pub(crate) server: Option<Vec<String>>,
    /// Shell lines of hooks, with their events.
    pub(crate) hooks: Vec<(String, String)>,
}

/// The name of our entry wherever entries have names.
pub(crate) const NAME: &str = "mesh";

/// The mark that some editors of another system put before a text.
const BOM: char = '\u{feff}';

/// A text without what must come back unchanged: its byte order mark.
fn without_bom(text: &str) -> (&'static str, &str) {
    text.strip_prefix(BOM).map_or(("", text), |rest| ("\u{feff}", rest))
}

/// Whether words are how our server is started.
fn is_server(program: &Program, command: Option<&str>, arguments: &[String]) -> bool {
    command.is_some_and(|command| {
        program.is_server(std::iter::once(command).chain(arguments.iter().map(String::as_str)))
    })
}
