//! The protocols, each told apart by the path of a request.

mod anthropic;
mod chat;
mod gemini;
mod responses;

use axum::http::HeaderMap;
use serde_json::Value;

use crate::request::Purpose;
use crate::turn::Turn;

/// A protocol between a host and its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Anthropic Messages, as Claude Code speaks it.
    Anthropic,
    /// OpenAI Responses, as Codex speaks it.
    Responses,
    /// Gemini's `generateContent`, as Gemini CLI speaks it.
    Gemini,
    /// OpenAI chat completions, as opencode speaks it.
    Chat,
}

/// Who asks, and for what.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) purpose: Purpose,
    pub(crate) session: String,
    pub(crate) subagent: Option<String>,
}

/// An answer on its way: one JSON value, or events of a stream.
#[derive(Debug)]
pub(crate) enum Answer {
    Json(Value),
    /// The body of a `text/event-stream`.
    Events(String),
}

impl Dialect {
    /// The protocol of a path; none if no host asks its model for an answer there.
    pub(crate) fn of(path: &str) -> Option<Self> {
        if path.ends_with("/messages") || path.ends_with("/messages/count_tokens") {
            Some(Self::Anthropic)
        } else if path.ends_with("/responses") {
            Some(Self::Responses)
        } else if path.ends_with("/chat/completions") {
            Some(Self::Chat)
        } else if path.contains("enerateContent") || path.ends_with(":countTokens") {
            Some(Self::Gemini)
        } else {
            None
        }
    }

    pub(crate) fn origin(self, path: &str, headers: &HeaderMap, body: &Value) -> Origin {
        match self {
            Self::Anthropic => anthropic::origin(path, headers, body),
            Self::Responses => responses::origin(headers, body),
            Self::Gemini => gemini::origin(path, headers, body),
            Self::Chat => chat::origin(headers, body),
        }
    }

    /// The parts of a request that the model sees.
    pub(crate) fn seen(self, body: &Value) -> impl Iterator<Item = &Value> {
        let names: [&str; 2] = match self {
            Self::Anthropic => ["system", "messages"],
            Self::Responses => ["instructions", "input"],
            Self::Gemini => ["systemInstruction", "contents"],
            Self::Chat => ["", "messages"],
        };
        // Codex declares tools within the conversation; they are no text of it.
        let shown = |item: &&Value| item["type"] != "additional_tools";
        names.into_iter().filter_map(|name| body.get(name)).flat_map(move |part| {
            part.as_array().map_or_else(|| vec![part], |items| items.iter().filter(shown).collect())
        })
    }

    /// The conversation, item by item.
    pub(crate) fn conversation(self, body: &Value) -> &[Value] {
        let name = match self {
            Self::Anthropic | Self::Chat => "messages",
            Self::Responses => "input",
            Self::Gemini => "contents",
        };
        body[name].as_array().map_or(&[], Vec::as_slice)
    }

    /// Whether an item of the conversation is what the model answered earlier.
    pub(crate) fn is_models(self, item: &Value) -> bool {
        let role = item["role"].as_str().unwrap_or_default();
        match self {
            Self::Anthropic | Self::Chat => role == "assistant",
            Self::Gemini => role == "model",
            Self::Responses => {
                let kind = item["type"].as_str().unwrap_or_default();
                role == "assistant" || matches!(kind, "function_call" | "custom_tool_call" | "reasoning")
            }
        }
    }

    /// What the tools returned, in order.
    pub(crate) fn results(self, body: &Value) -> Vec<&Value> {
        let items = self.conversation(body).iter();
        match self {
            Self::Anthropic => items
                .flat_map(|item| item["content"].as_array().into_iter().flatten())
                .filter(|block| block["type"] == "tool_result")
                .map(|block| &block["content"])
                .collect(),
            Self::Responses => items.map(|item| &item["output"]).filter(|output| !output.is_null()).collect(),
            Self::Gemini => items
                .flat_map(|item| item["parts"].as_array().into_iter().flatten())
                .map(|part| &part["functionResponse"]["response"])
                .filter(|response| !response.is_null())
                .collect(),
            Self::Chat => items.filter(|item| item["role"] == "tool").map(|item| &item["content"]).collect(),
        }
    }

    /// The names of the tools on offer.
    pub(crate) fn tools(self, body: &Value) -> Vec<String> {
        let name = |tool: &Value| tool["name"].as_str().map(str::to_owned);
        let tools = body["tools"].as_array().into_iter().flatten();
        match self {
            Self::Anthropic => tools.filter_map(name).collect(),
            Self::Responses => responses::tools(body),
            Self::Gemini => {
                let functions = tools.flat_map(|tool| tool["functionDeclarations"].as_array());
                functions.flatten().filter_map(name).collect()
            }
            Self::Chat => tools.filter_map(|tool| name(&tool["function"])).collect(),
        }
    }

    /// Puts a turn into the form the request wants.
    pub(crate) fn answer(self, number: usize, path: &str, body: &Value, turn: &Turn) -> Answer {
        match self {
            Self::Anthropic => anthropic::answer(number, path, body, turn),
            Self::Responses => responses::answer(number, body, turn),
            Self::Gemini => gemini::answer(path, turn),
            Self::Chat => chat::answer(number, body, turn),
        }
    }
}

/// The value of a header, empty if it is absent.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn has_tools(body: &Value) -> bool {
    body["tools"].as_array().is_some_and(|tools| !tools.is_empty())
}

/// A stream whose events are named by their `type`.
fn named_events(events: &[Value]) -> Answer {
    let event = |event: &Value| {
        let name = event["type"].as_str().unwrap_or_default();
        format!("event: {name}\ndata: {event}\n\n")
    };
    Answer::Events(events.iter().map(event).collect())
}
