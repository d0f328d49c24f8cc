//! One file of one host, and what we want in it.

use std::path::PathBuf;

use crate::edit::{Fault, Found, json, toml, yaml};
use crate::program::Program;

/// A file that a host reads, and what it is to find there.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// Where the host looks.
    pub(crate) path: PathBuf,
    /// What is to be there.
    pub(crate) content: Content,
}

/// What is to be in a file.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Entries in a JSON file.
    Json(json::Entries),
    /// Our server in Codex's TOML.
    Toml,
    /// Our extension in Goose's YAML.
    Yaml,
    /// The whole file is ours.
    Whole(String),
}

/// Every file that is wholly ours names the program.
const MARK: &str = "meshctl";

impl Piece {
    pub(crate) fn new(path: PathBuf, content: Content) -> Self {
        Self { path, content }
    }

    /// The file with what we want in it; `None` is no file.
    pub(crate) fn install(&self, text: Option<&str>, program: &Program) -> Result<Option<String>, Fault> {
        let old = text.unwrap_or_default();
        match &self.content {
            Content::Json(entries) => json::install(old, entries, program).map(Some),
            Content::Toml => toml::install(old, program).map(Some),
            Content::Yaml => yaml::install(old, program).map(Some),
            Content::Whole(_) if text.is_some_and(|text| !self.is_ours(text, program)) => {
                Err(Fault::Taken(self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()))
            }
            Content::Whole(whole) => Ok(Some(whole.clone())),
        }
    }

    /// The file without anything of ours; `None` is no file. `original` is what was there before us, if that is
    /// known, and within it `None` if there was no file.
    pub(crate) fn remove(
        &self,
        text: &str,
        program: &Program,
        original: Option<Option<&str>>,
    ) -> Result<Option<String>, Fault> {
        let before = original.map(Option::unwrap_or_default);
        let there_was_none = original == Some(None);
        match &self.content {
            Content::Json(entries) => {
                let rest = json::remove(text, entries, program, before)?;
                let bare =
                    json::is_bare(&rest, entries) && (there_was_none || original.is_none() && rest != text);
                Ok((!bare).then_some(rest))
            }
            Content::Toml | Content::Yaml => {
                let rest = if matches!(self.content, Content::Toml) {
                    toml::remove(text, program, before)?
                } else {
                    yaml::remove(text, program, before)?
                };
                let bare = rest.trim().is_empty() && there_was_none;
                Ok((!bare).then_some(rest))
            }
            Content::Whole(_) => Ok((!self.is_ours(text, program)).then(|| text.to_owned())),
        }
    }

    /// What of ours is in it.
    pub(crate) fn find(&self, text: &str, program: &Program) -> Found {
        match &self.content {
            Content::Json(entries) => json::find(text, entries.server.as_ref().map(|(at, _)| *at), program),
            Content::Toml => toml::find(text, program),
            Content::Yaml => yaml::find(text, program),
            Content::Whole(_) if self.path.extension().is_some_and(|extension| extension == "json") => {
                json::find(text, Some("mcpServers"), program)
            }
            Content::Whole(_) if self.path.extension().is_some_and(|extension| extension == "js") => {
                let line =
                    text.lines().find_map(|line| line.strip_prefix("const MESHCTL = ")?.strip_suffix(';'));
                let command = line.and_then(|text| serde_json::from_str::<String>(text).ok());
                let hook = command.map(|command| Program::new(command).hook(crate::Host::Opencode, ""));
                Found {
                    server: None,
                    hooks: hook.map(|hook| ("plugin".to_owned(), hook)).into_iter().collect(),
                }
            }
            Content::Whole(_) => Found::default(),
        }
    }

    /// What to add by hand.
    pub(crate) fn snippet(&self, program: &Program) -> String {
        match &self.content {
            Content::Json(entries) => json::snippet(entries, program),
            Content::Toml => toml::snippet(program),
            Content::Yaml => yaml::snippet(program),
            Content::Whole(whole) => whole.clone(),
        }
    }

    fn is_ours(&self, text: &str, program: &Program) -> bool {
        text.contains(MARK)
            || program.names().any(|name| text.contains(name))
            || matches!(&self.content, Content::Whole(whole) if whole == text)
    }
}
