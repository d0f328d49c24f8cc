//! The arguments of a tool call, read forgivingly.
//!
//! Models write a number as text, one path where a list is asked, a list as JSON in a string. What is meant
//! beyond doubt is taken, also under a name that stands to reason; anything else is refused with the name of the
//! argument and what it should be. Other unknown arguments are ignored, and an empty text is one that was not given.

use std::fmt::Write;
use std::time::Duration;

use mesh_client::display::printable;
use mesh_client::{ClientError, ErrorReason};

use crate::render::said;
use rmcp::model::JsonObject;
use serde_json::Value;

/// Longest failure shown: a broker that does not start tells its whole log.
const LONGEST_FAILURE: usize = 1500;
/// Other names under which models pass an argument.
const ALIASES: [(&str, &[&str]); 12] = [
    ("paths", &["path", "files", "file", "targets", "target"]),
    ("path", &["paths", "file"]),
    ("files", &["paths", "file"]),
    ("focus", &["task", "description"]),
    ("to", &["recipients", "recipient"]),
    ("body", &["message", "text", "content"]),
    ("value", &["content", "text"]),
    ("query", &["search", "words"]),
    ("types", &["type"]),
    ("wait_seconds", &["wait", "timeout_seconds", "timeout"]),
    ("wait_reply_seconds", &["wait_reply"]),
    ("ttl_seconds", &["ttl"]),
];

/// What a tool answers: text for the model either way.
pub(crate) type Answer = Result<String, Failure>;

/// Why a tool failed, with the next step.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// A failure to be shown as it is.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Another process is this peer now.
    pub(crate) fn replaced() -> Self {
        Self::new(
            "another process of this conversation has taken over your place on the mesh. \
             Next: mesh_checkin with a name of its own",
        )
    }

    /// The text for the model.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let mut text = String::new();
        match error.reason() {
            Some(ErrorReason::SessionExpired | ErrorReason::Unauthenticated) if is_replaced(&error) => {
                return Self::replaced();
            }
            Some(ErrorReason::SessionExpired) => {
                text.push_str("your session has just ended. Next: call again, which joins anew");
            }
            _ if matches!(error, ClientError::SessionLeft) => {
                text.push_str("you checked out meanwhile. Next: call again, which joins anew");
            }
            _ => text.push_str(&told(&error)),
        }
        if text.len() > LONGEST_FAILURE {
            text.truncate(text.floor_char_boundary(LONGEST_FAILURE));
            text.push('…');
            if leaves_a_quote_open(&text) {
                text.push('"');
            }
        }
        Self(text)
    }
}

/// What the broker or the way to it said, each fault of a field once.
fn told(error: &ClientError) -> String {
    let Some(refusal) = error.refusal().filter(|refusal| !refusal.message.is_empty()) else {
        let text = error.to_string();
        // The log of a broker of this machine is several lines, and nobody else's.
        return if matches!(error, ClientError::Start { .. }) {
            printable(&text).into_owned()
        } else {
            said(&text)
        };
    };
    let mut text = said(&refusal.message);
    for fault in &refusal.field_violations {
        if !refusal.message.contains(&fault.description) {
            _ = write!(text, "; {}: {}", said(&fault.field), said(&fault.description));
        }
    }
    text
}

/// Whether a text that was cut ends within quotes.
fn leaves_a_quote_open(text: &str) -> bool {
    let mut escaped = false;
    let quotes = text.chars().filter(|&c| {
        let counts = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        counts
    });
    quotes.count() % 2 == 1
}

/// Whether the session was taken over by another process with the same conversation.
pub(crate) fn is_replaced(error: &ClientError) -> bool {
    error.refusal().and_then(|refusal| refusal.metadata.get("cause")).is_some_and(|cause| cause == "REPLACED")
}

/// The arguments of one call.
#[derive(Debug, Default)]
pub(crate) struct Args(JsonObject);

impl Args {
    /// Takes the arguments as they came; none at all is none given.
    pub(crate) fn new(arguments: Option<JsonObject>) -> Self {
        Self(arguments.unwrap_or_default())
    }

    /// The raw argument; null counts as not given.
    pub(crate) fn raw(&self, name: &str) -> Option<&Value> {
        names(name).find_map(|name| self.0.get(name)).filter(|value| !value.is_null())
    }

    /// An argument that goes by none of these names: there may have been more to it than was understood.
    pub(crate) fn besides(&self, known: &[&str]) -> Option<&str> {
        let known = |given: &str| known.iter().any(|name| names(name).any(|name| name == given));
        self.0.keys().map(String::as_str).find(|given| !known(given))
    }

    /// A text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Failure> {
        let text = match self.raw(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(_) | Value::Array(_) | Value::Object(_) | Value::Null) => {
                return Err(wrong(name, "a text"));
            }
        };
        Ok(Some(text).filter(|text| !text.trim().is_empty()))
    }

    /// A list of texts; one text is a list of one.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<String>, Failure> {
        let Some(value) = self.raw(name) else { return Ok(Vec::new()) };
        let texts = match value {
            Value::String(text) => texts_in_json(text).unwrap_or_else(|| vec![text.clone()]),
            Value::Array(_) => texts(value).ok_or_else(|| wrong(name, "a list of texts"))?,
            Value::Number(_) | Value::Bool(_) | Value::Object(_) | Value::Null => {
                return Err(wrong(name, "a list of texts"));
            }
        };
        Ok(texts.into_iter().filter(|text| !text.trim().is_empty()).collect())
    }

    /// A list of texts; one text may name several of them, unless a pattern's braces give its commas another meaning.
    pub(crate) fn several(&self, name: &str, separator: &str) -> Result<Vec<String>, Failure> {
        match (self.list(name)?.as_slice(), self.raw(name)) {
            ([text], Some(Value::String(_))) if !text.contains('{') => {
                let parts = text.split(separator).map(str::trim).filter(|part| !part.is_empty());
                Ok(parts.map(str::to_owned).collect())
            }
            (texts, _) => Ok(texts.to_vec()),
        }
    }

    /// A whole number, not negative.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        let number = match value {
            Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(whole)),
            Value::String(text) if text.trim().is_empty() => return Ok(None),
            Value::String(text) => text.trim().parse().ok(),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) | Value::Null => None,
        };
        number.map(Some).ok_or_else(|| wrong(name, "a whole number"))
    }

    /// A span in whole seconds. One beyond every bound is the longest there is, for the broker to refuse.
    pub(crate) fn span(&self, name: &str) -> Result<Option<Duration>, Failure> {
        let longest = i64::MAX.unsigned_abs();
        Ok(self.number(name)?.map(|seconds| Duration::from_secs(seconds.min(longest))))
    }

    /// A switch; off when not given.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Failure> {
        match self.raw(name) {
            None => Ok(false),
            Some(Value::Bool(on)) => Ok(*on),
            Some(Value::String(text)) if matches!(text.as_str(), "true" | "yes" | "1") => Ok(true),
            Some(Value::String(text)) if matches!(text.as_str(), "false" | "no" | "0" | "") => Ok(false),
            Some(_) => Err(wrong(name, "true or false")),
        }
    }
}

/// What is asked by a switch that may carry words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Off.
    No,
    /// On.
    Yes,
    /// On, with these words.
    With(String),
}

impl Args {
    /// A switch, or a text that turns it on.
    pub(crate) fn wish(&self, name: &str) -> Result<Wish, Failure> {
        match (self.flag(name), self.raw(name)) {
            (Ok(false), _) => Ok(Wish::No),
            (Ok(true), _) => Ok(Wish::Yes),
            (Err(_), Some(Value::String(words))) => Ok(Wish::With(words.clone())),
            (Err(failure), _) => Err(failure),
        }
    }
}

/// The name of an argument, and those that it also goes by.
fn names(name: &str) -> impl Iterator<Item = &str> {
    let others = ALIASES.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, others)| others);
    std::iter::once(name).chain(others.iter().copied())
}

fn wrong(name: &str, expected: &str) -> Failure {
    Failure::new(format!("{name}: expected {expected}. Nothing was done; call again with that"))
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

/// A list that came as JSON in a text. File names may begin with a bracket, so only what parses counts.
fn texts_in_json(text: &str) -> Option<Vec<String>> {
    text.trim_start().starts_with('[').then(|| serde_json::from_str(text).ok())?.as_ref().and_then(texts)
}

fn whole(number: f64) -> Option<u64> {
    // Exact in an f64 up to 2^53, and no argument is larger.
    (number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number)).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn args(value: &Value) -> Args {
        Args::new(value.as_object().cloned())
    }

    #[test]
    fn lists_come_in_many_shapes() {
        for (given, taken) in [
            (json!({"paths": ["a", "b"]}), vec!["a", "b"]),
            (json!({"paths": "a"}), vec!["a"]),
            (json!({"paths": "[\"a\", \"b\"]"}), vec!["a", "b"]),
            (json!({"paths": "[id].tsx"}), vec!["[id].tsx"]),
            (json!({"paths": null}), vec![]),
            (json!({"paths": ""}), vec![]),
            (json!({}), vec![]),
        ] {
            assert_eq!(args(&given).list("paths").unwrap(), taken, "{given}");
        }
        for bad in [json!({"paths": 1}), json!({"paths": ["a", 2]}), json!({"paths": {"a": 1}})] {
            let failure = args(&bad).list("paths").unwrap_err();
            assert!(failure.text().starts_with("paths: expected a list of texts"), "{}", failure.text());
        }
    }

    #[test]
    fn one_text_may_name_several_paths() {
        for (given, taken) in [
            (json!({"paths": "a.rs, b c.rs"}), vec!["a.rs", "b c.rs"]),
            (json!({"paths": "a,v.rs"}), vec!["a,v.rs"]),
            (json!({"paths": "src/{a, b}.rs"}), vec!["src/{a, b}.rs"]),
            (json!({"paths": ["a, b"]}), vec!["a, b"]),
        ] {
            assert_eq!(args(&given).several("paths", ", ").unwrap(), taken, "{given}");
        }
        assert_eq!(args(&json!({"tags": "a,b"})).several("tags", ",").unwrap(), ["a", "b"]);
    }

    #[test]
    fn arguments_go_by_names_that_stand_to_reason() {
        let given = args(&json!({"file": "a.rs", "message": "hi", "timeout": "5", "colour": "red"}));
        assert_eq!(given.list("paths").unwrap(), ["a.rs"]);
        assert_eq!(given.text("body").unwrap().as_deref(), Some("hi"));
        assert_eq!(given.number("wait_seconds").unwrap(), Some(5));
        assert_eq!(args(&json!({"paths": "a", "path": "b"})).list("paths").unwrap(), ["a"]);
        assert_eq!(given.besides(&["paths", "body", "wait_seconds"]), Some("colour"));
        assert_eq!(given.besides(&["paths", "body", "wait_seconds", "colour"]), None);
    }

    #[test]
    fn numbers_texts_and_switches_are_taken_as_meant() {
        let given = args(&json!({"n": "30", "f": 30.0, "t": 7, "on": "true", "off": "", "empty": " "}));
        assert_eq!(given.number("n").unwrap(), Some(30));
        assert_eq!(given.number("f").unwrap(), Some(30));
        assert_eq!(given.number("empty").unwrap(), None);
        assert_eq!(given.text("t").unwrap().as_deref(), Some("7"));
        assert_eq!(given.text("empty").unwrap(), None);
        assert!(given.flag("on").unwrap());
        let longest = args(&json!({"ttl": u64::MAX})).span("ttl").unwrap().unwrap();
        assert_eq!(longest.as_secs(), i64::MAX.unsigned_abs(), "the contract can hold it, and refuses it");
        assert!(!given.flag("off").unwrap() && !given.flag("missing").unwrap());
        for bad in [json!({"n": -1}), json!({"n": 1.5}), json!({"n": "soon"}), json!({"n": true})] {
            assert!(args(&bad).number("n").is_err(), "{bad}");
        }
        assert!(args(&json!({"urgent": "maybe"})).flag("urgent").is_err());
        assert!(args(&json!({"body": ["a"]})).text("body").is_err());
        for (ask, wish) in [
            (json!(true), Wish::Yes),
            (json!("yes"), Wish::Yes),
            (json!(""), Wish::No),
            (json!("please, a fix"), Wish::With("please, a fix".into())),
        ] {
            assert_eq!(args(&json!({"ask": ask})).wish("ask").unwrap(), wish);
        }
        assert!(args(&json!({"ask": 7})).wish("ask").is_err());
    }

    #[test]
    fn a_failure_is_bounded_and_printable() {
        let failure = Failure::from(ClientError::Config("\u{1b}[31m".to_owned() + &"é".repeat(2000)));
        assert!(failure.text().starts_with("\"␛[31m"));
        assert!(failure.text().len() < LONGEST_FAILURE + 4);
    }
}
