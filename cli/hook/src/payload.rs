//! The few fields that are read of a payload.
//!
//! Payloads carry prompts, file contents and results of tools. Only members with a known name are kept, at any depth;
//! the values of all others are skipped without being looked at, however long, deep or strange they are.

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Why a payload cannot be used. It never repeats a part of the payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not JSON, or nested too deep where it matters.
    #[error("the payload is not JSON that can be read, at line {line}, column {column}")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// JSON of another kind.
    #[error("the payload is not a JSON object")]
    NotAnObject,
    /// Neither the payload nor the command line names the event.
    #[error("neither the payload nor the command line names the event")]
    NoEvent,
}

/// A JSON value, reduced to what is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Text(String),
    Flag(bool),
    /// Not negative and whole; any other number is [`Field::Nothing`].
    Count(u64),
    List(Vec<Self>),
    Object(Fields),
    /// `null`, or a number that is no count.
    Nothing,
}

/// The known members of a JSON object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(&'static str, Field)>);

/// The members that are kept. Contents of files are not among them.
const KNOWN: &[&str] = &[
    // The call.
    "hook_event_name",
    "hookEventName",
    "event",
    "agent_action_name",
    "session_id",
    "sessionId",
    "sessionID",
    "conversation_id",
    "trajectory_id",
    "cwd",
    "working_dir",
    "workspace_roots",
    "version",
    "cursor_version",
    "source",
    "reason",
    "status",
    "stop_hook_active",
    "loop_count",
    "again",
    // Sub-agents.
    "agent_id",
    "agent_type",
    "agentName",
    "agent_name",
    "agent",
    "subagent_id",
    "subagent_type",
    "parentID",
    "parent_conversation_id",
    // Tools.
    "tool_name",
    "toolName",
    "tool",
    "tool_input",
    "toolArgs",
    "args",
    "tool_info",
    "command",
    "cmd",
    "command_line",
    "workdir",
    "working_directory",
    "dir_path",
    "directory",
    "patchText",
    "patch",
    "input",
    // Files.
    "file_path",
    "filePath",
    "filepath",
    "path",
    "notebook_path",
    "target_notebook",
    "target_file",
    "absolute_path",
    "files",
    "paths",
    "include",
    "edits",
    "replacements",
];

impl Fields {
    /// Reads a payload.
    pub(crate) fn read(payload: &[u8]) -> Result<Self, Malformed> {
        let text = String::from_utf8_lossy(payload);
        // PowerShell puts it before what it pipes.
        let text = text.trim_start_matches('\u{feff}');
        let field = field(text).map_err(|e| Malformed::NotJson { line: e.line(), column: e.column() })?;
        if let Field::Object(fields) = field { Ok(fields) } else { Err(Malformed::NotAnObject) }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Field> {
        self.0.iter().rev().find(|(n, _)| *n == name).map(|(_, field)| field)
    }

    /// The first of these members that is a text and not empty.
    pub(crate) fn text(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| match self.get(name) {
            Some(Field::Text(text)) if !text.is_empty() => Some(text.as_str()),
            _ => None,
        })
    }

    /// Whether the member is `true`, or a count above zero.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Field::Flag(true) | Field::Count(1..)))
    }

    /// The first of these members that is an object, or a text that holds one.
    pub(crate) fn object(&self, names: &[&str]) -> Option<Self> {
        names.iter().find_map(|name| {
            let member = self.get(name)?;
            let inner = member.text().and_then(|text| field(text).ok());
            inner.as_ref().unwrap_or(member).object().cloned()
        })
    }

    /// The texts of a list, or the one text that stands for a list.
    pub(crate) fn texts(&self, name: &str) -> Vec<&str> {
        self.elements(name).iter().filter_map(Field::text).collect()
    }

    /// The objects of a list.
    pub(crate) fn objects(&self, name: &str) -> Vec<&Self> {
        self.elements(name).iter().filter_map(Field::object).collect()
    }

    fn elements(&self, name: &str) -> &[Field] {
        match self.get(name) {
            Some(Field::List(list)) => list,
            Some(one) => std::slice::from_ref(one),
            None => &[],
        }
    }
}

impl Field {
    fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn object(&self) -> Option<&Fields> {
        if let Self::Object(fields) = self { Some(fields) } else { None }
    }
}

fn field(text: &str) -> serde_json::Result<Field> {
    let mut json = serde_json::Deserializer::from_str(text);
    let field = json.deserialize_any(Kept)?;
    json.end()?;
    Ok(field)
}

struct Kept;

impl<'de> Visitor<'de> for Kept {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Field, E> {
        Ok(Field::Text(text))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Field, E> {
        Ok(Field::Flag(flag))
    }

    fn visit_u64<E>(self, count: u64) -> Result<Field, E> {
        Ok(Field::Count(count))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Field, E> {
        Ok(Field::Nothing)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Field, E> {
        Ok(Field::Nothing)
    }

    fn visit_unit<E>(self) -> Result<Field, E> {
        Ok(Field::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Field, A::Error> {
        let mut kept = Vec::new();
        while let Some(Element(field)) = list.next_element()? {
            kept.push(field);
        }
        Ok(Field::List(kept))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Field, A::Error> {
        let mut kept = Fields::default();
        while let Some(Name(name)) = members.next_key()? {
            match name {
                Some(name) => {
                    let Element(field) = members.next_value()?;
                    kept.0.push((name, field));
                }
                None => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Field::Object(kept))
    }
}

struct Element(Field);

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Kept).map(Self)
    }
}

/// A member's name, if it is a known one.
struct Name(Option<&'static str>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lookup;
        impl Visitor<'_> for Lookup {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(Name(KNOWN.iter().find(|known| **known == name).copied()))
            }
        }
        deserializer.deserialize_str(Lookup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_skipped_unread() {
        // Half of a surrogate pair cannot be read; it need not be.
        let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        let payload =
            format!(r#"{{"content":"\ud800","tool_response":{deep},"cwd":"/w","cwd":"/x","n":1e999}}"#);
        let fields = Fields::read(payload.as_bytes()).unwrap();
        assert_eq!(fields.text(&["cwd"]), Some("/x"));
        assert_eq!(fields.0.len(), 2);
    }

    #[test]
    fn nesting_where_it_matters_is_bounded() {
        let deep = format!(r#"{{"args":{}1{}}}"#, r#"{"args":"#.repeat(5_000), "}".repeat(5_000));
        assert!(matches!(Fields::read(deep.as_bytes()), Err(Malformed::NotJson { .. })));
    }

    #[test]
    fn an_error_tells_the_place_and_nothing_else() {
        let error = Fields::read(b"{\"cwd\": secret}").unwrap_err();
        assert_eq!(error.to_string(), "the payload is not JSON that can be read, at line 1, column 9");
        assert_eq!(Fields::read(b"[1]"), Err(Malformed::NotAnObject));
        assert_eq!(Fields::read(b"{} {}").unwrap_err(), Malformed::NotJson { line: 1, column: 4 });
        assert!(Fields::read(b"").is_err());
    }

    #[test]
    fn marks_and_broken_text_are_no_obstacle() {
        let fields =
            Fields::read(b"\xef\xbb\xbf{\"cwd\":\"/a\xff\",\"again\":true,\"loop_count\":0}\r\n").unwrap();
        assert_eq!(fields.text(&["missing", "cwd"]), Some("/a\u{fffd}"));
        assert!(fields.is_set("again") && !fields.is_set("loop_count"));
    }
}
