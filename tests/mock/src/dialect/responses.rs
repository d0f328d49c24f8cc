//! OpenAI Responses.

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::{Answer, Origin, header, named_events};
use crate::request::Purpose;
use crate::turn::{Block, Turn};

/// What Codex puts before the name of an MCP server to make the name of its tools.
const MCP: &str = "mcp__";

pub(super) fn origin(headers: &HeaderMap, body: &Value) -> Origin {
    let told = header(headers, "x-codex-turn-metadata");
    let told: Value = serde_json::from_str(told).unwrap_or_default();
    let (session, thread) = (header(headers, "session-id"), header(headers, "thread-id"));
    // Titles are made in a thread of their own, with a tool of their own.
    let turn = told["request_kind"] != "compaction"
        && told["thread_source"] != "thread_title"
        && !declared(body).is_empty();
    Origin {
        purpose: if turn { Purpose::Turn } else { Purpose::Background },
        session: session.to_owned(),
        subagent: (thread != session).then(|| thread.to_owned()),
    }
}

/// The tools of a request: a list beside the conversation, or within it.
fn declared(body: &Value) -> Vec<&Value> {
    let within = body["input"].as_array().into_iter().flatten();
    let within = within.filter(|item| item["type"] == "additional_tools").map(|item| &item["tools"]);
    let lists = std::iter::once(&body["tools"]).chain(within);
    lists.filter_map(Value::as_array).flatten().collect()
}

pub(super) fn tools(body: &Value) -> Vec<String> {
    let mut names = Vec::new();
    for tool in declared(body) {
        let name = tool["name"].as_str().or(tool["type"].as_str()).unwrap_or_default();
        match tool["tools"].as_array() {
            Some(inner) => {
                names.extend(
                    inner.iter().filter_map(|tool| Some(format!("{name}__{}", tool["name"].as_str()?))),
                );
            }
            None => names.push(name.to_owned()),
        }
    }
    names
}

pub(super) fn answer(number: usize, body: &Value, turn: &Turn) -> Answer {
    let items: Vec<Value> = turn.blocks.iter().zip(0..).map(|(part, at)| item(number, at, part)).collect();
    let usage = json!({
        "input_tokens": 1, "input_tokens_details": null, "output_tokens": 1, "output_tokens_details": null,
        "total_tokens": 2,
    });
    let id = format!("resp_{number}");
    let response =
        json!({"id": id, "object": "response", "status": "completed", "output": items, "usage": usage});
    if body["stream"] != true {
        return Answer::Json(response);
    }
    let mut events = vec![json!({"type": "response.created", "response": {"id": id}})];
    for (item, index) in items.iter().zip(0..) {
        events.push(json!({"type": "response.output_item.added", "output_index": index, "item": item}));
        events.push(json!({"type": "response.output_item.done", "output_index": index, "item": item}));
    }
    events.push(json!({"type": "response.completed", "response": response}));
    named_events(&events)
}

fn item(number: usize, at: usize, block: &Block) -> Value {
    let (id, call) = (format!("item_{number}_{at}"), format!("call_{number}_{at}"));
    match block {
        Block::Say(text) => json!({
            "type": "message", "id": id, "role": "assistant",
            "content": [{"type": "output_text", "text": text, "annotations": []}],
        }),
        Block::Call { tool, input: Value::String(text) } => {
            json!({"type": "custom_tool_call", "id": id, "call_id": call, "name": tool, "input": text})
        }
        Block::Call { tool, input } => {
            let mut item = json!({
                "type": "function_call", "id": id, "call_id": call, "name": tool, "arguments": input.to_string(),
            });
            if let Some((namespace, name)) = split(tool) {
                item["namespace"] = json!(namespace);
                item["name"] = json!(name);
            }
            item
        }
    }
}

/// `mcp__SERVER__TOOL` in two, and likewise the tools of any other namespace.
fn split(tool: &str) -> Option<(&str, &str)> {
    let from = if tool.starts_with(MCP) { MCP.len() } else { 0 };
    let at = tool[from..].find("__")? + from;
    Some((&tool[..at], &tool[at + 2..]))
}
