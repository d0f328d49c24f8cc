//! Anthropic Messages.

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::{Answer, Origin, has_tools, header, named_events};
use crate::request::Purpose;
use crate::turn::{Block, Turn};

/// How Claude Code asks for the summary of a conversation, which it does with all its tools on offer.
const SUMMARY: &str = "Respond with TEXT ONLY. Do NOT call any tools.";

pub(super) fn origin(path: &str, headers: &HeaderMap, body: &Value) -> Origin {
    let turn = has_tools(body) && !path.ends_with("/count_tokens") && !asks_for_summary(body);
    let subagent = header(headers, "x-claude-code-agent-id");
    Origin {
        purpose: if turn { Purpose::Turn } else { Purpose::Background },
        session: header(headers, "x-claude-code-session-id").to_owned(),
        subagent: (!subagent.is_empty()).then(|| subagent.to_owned()),
    }
}

fn asks_for_summary(body: &Value) -> bool {
    let last = body["messages"].as_array().and_then(|messages| messages.last());
    last.is_some_and(|message| message["content"].to_string().contains(SUMMARY))
}

pub(super) fn answer(number: usize, path: &str, body: &Value, turn: &Turn) -> Answer {
    if path.ends_with("/count_tokens") {
        return Answer::Json(json!({"input_tokens": 1}));
    }
    let content: Vec<Value> = turn.blocks.iter().zip(0..).map(|(part, at)| block(number, at, part)).collect();
    let calls = content.iter().any(|block| block["type"] == "tool_use");
    let message = json!({
        "id": format!("msg_{number}"), "type": "message", "role": "assistant", "model": body["model"],
        "content": content, "stop_reason": if calls { "tool_use" } else { "end_turn" }, "stop_sequence": null,
        "usage": {
            "input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        },
    });
    if body["stream"] == true { named_events(&stream(&message)) } else { Answer::Json(message) }
}

fn block(number: usize, at: usize, block: &Block) -> Value {
    match block {
        Block::Say(text) => json!({"type": "text", "text": text}),
        Block::Call { tool, input } => {
            json!({"type": "tool_use", "id": format!("toolu_{number}_{at}"), "name": tool, "input": input})
        }
    }
}

fn stream(message: &Value) -> Vec<Value> {
    let mut start = message.clone();
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    let mut events = vec![json!({"type": "message_start", "message": start})];
    for (block, index) in message["content"].as_array().into_iter().flatten().zip(0..) {
        let mut empty = block.clone();
        let delta = if block["type"] == "text" {
            empty["text"] = json!("");
            json!({"type": "text_delta", "text": block["text"]})
        } else {
            empty["input"] = json!({});
            json!({"type": "input_json_delta", "partial_json": block["input"].to_string()})
        };
        events.push(json!({"type": "content_block_start", "index": index, "content_block": empty}));
        events.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    let end = json!({"stop_reason": message["stop_reason"], "stop_sequence": null});
    events.push(json!({"type": "message_delta", "delta": end, "usage": {"output_tokens": 1}}));
    events.push(json!({"type": "message_stop"}));
    events
}
