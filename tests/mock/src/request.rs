//! What reached the model.

use axum::http::HeaderMap;
use serde_json::Value;

use crate::dialect::Dialect;

/// What a host asked its model for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The next answer in a session or of one of its sub-agents.
    Turn,
    /// A title, a summary, a count of tokens, a probe.
    Background,
}

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its place among all requests, from 0.
    pub number: usize,
    /// The protocol it came in.
    pub dialect: Dialect,
    /// The path of its URL.
    pub path: String,
    /// What it was for.
    pub purpose: Purpose,
    /// The host's id of the session; empty if the host does not say.
    pub session: String,
    /// The host's id of the sub-agent that asks, if it is not the session itself.
    pub subagent: Option<String>,
    /// Whether the answer came from a script, and not from the default.
    pub scripted: bool,
    /// The body.
    pub body: Value,
}

impl Request {
    pub(crate) fn read(dialect: Dialect, path: &str, headers: &HeaderMap, body: Value) -> Self {
        let origin = dialect.origin(path, headers, &body);
        Self {
            number: 0,
            dialect,
            path: path.to_owned(),
            purpose: origin.purpose,
            session: origin.session,
            subagent: origin.subagent,
            scripted: false,
            body,
        }
    }

    /// Whether it is a turn of the session itself.
    #[must_use]
    pub fn is_main(&self) -> bool {
        self.purpose == Purpose::Turn && self.subagent.is_none()
    }

    /// Every text that the model sees, in order: instructions, then the conversation. The list of tools is not part of it.
    #[must_use]
    pub fn texts(&self) -> Vec<&str> {
        let mut texts = Vec::new();
        for part in self.dialect.seen(&self.body) {
            leaves(part, &mut texts);
        }
        texts
    }

    /// How often a text occurs in what the model sees.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        self.texts().into_iter().map(|seen| seen.matches(text).count()).sum()
    }

    /// Whether a text occurs in what the model sees.
    #[must_use]
    pub fn holds(&self, text: &str) -> bool {
        self.count(text) > 0
    }

    /// What came since the model spoke last, as one text.
    #[must_use]
    pub fn news(&self) -> String {
        let items = self.dialect.conversation(&self.body);
        let after = items.iter().rposition(|item| self.dialect.is_models(item)).map_or(0, |at| at + 1);
        let mut texts = Vec::new();
        for item in &items[after..] {
            leaves(item, &mut texts);
        }
        texts.join("\n")
    }

    /// The results of tools so far, each as one text, in order.
    #[must_use]
    pub fn tool_results(&self) -> Vec<String> {
        let results = self.dialect.results(&self.body);
        let text = |result: &Value| {
            let mut texts = Vec::new();
            leaves(result, &mut texts);
            texts.join("\n")
        };
        results.into_iter().map(text).collect()
    }

    /// The result of the tool that ran last; empty if none did.
    #[must_use]
    pub fn last_result(&self) -> String {
        self.tool_results().pop().unwrap_or_default()
    }

    /// The names of the tools that the model is offered, as a [`Turn`](crate::Turn) would call them.
    #[must_use]
    pub fn tools(&self) -> Vec<String> {
        self.dialect.tools(&self.body)
    }
}

/// Fields that say what a part is, and are no text of it.
const STRUCTURE: [&str; 7] =
    ["cache_control", "call_id", "id", "role", "tool_call_id", "tool_use_id", "type"];

/// Collects the texts within a value, in order.
fn leaves<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, texts)),
        Value::Object(fields) => {
            let shown = fields.iter().filter(|(name, _)| !STRUCTURE.contains(&name.as_str()));
            shown.for_each(|(_, field)| leaves(field, texts));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
