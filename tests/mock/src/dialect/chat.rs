//! OpenAI chat completions.

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::{Answer, Origin, has_tools, header};
use crate::request::Purpose;
use crate::turn::{Block, Turn};

pub(super) fn origin(headers: &HeaderMap, body: &Value) -> Origin {
    let (own, parent) = (header(headers, "x-session-id"), header(headers, "x-parent-session-id"));
    let (session, subagent) = if parent.is_empty() { (own, None) } else { (parent, Some(own.to_owned())) };
    Origin {
        purpose: if has_tools(body) { Purpose::Turn } else { Purpose::Background },
        session: session.to_owned(),
        subagent,
    }
}

pub(super) fn answer(number: usize, body: &Value, turn: &Turn) -> Answer {
    let mut delta = json!({"role": "assistant", "content": turn.text()});
    let calls = calls(number, turn);
    let finish = if calls.is_empty() { "stop" } else { "tool_calls" };
    if !calls.is_empty() {
        delta["tool_calls"] = json!(calls);
    }
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
    let answer = |object: &str, choice: Value| {
        json!({
            "id": format!("chat_{number}"), "object": object, "created": 0, "model": body["model"],
            "choices": [choice], "usage": usage,
        })
    };
    if body["stream"] != true {
        let choice = json!({"index": 0, "message": delta, "finish_reason": finish});
        return Answer::Json(answer("chat.completion", choice));
    }
    let chunk = |delta: &Value, finish: Option<&str>| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        format!("data: {}\n\n", answer("chat.completion.chunk", choice))
    };
    Answer::Events(chunk(&delta, None) + &chunk(&json!({}), Some(finish)) + "data: [DONE]\n\n")
}

fn calls(number: usize, turn: &Turn) -> Vec<Value> {
    let calls = turn.blocks.iter().filter_map(|block| match block {
        Block::Say(_) => None,
        Block::Call { tool, input } => Some((tool, input)),
    });
    let call = |((tool, input), index): ((&String, &Value), usize)| {
        let function = json!({"name": tool, "arguments": input.to_string()});
        json!({"index": index, "id": format!("call_{number}_{index}"), "type": "function", "function": function})
    };
    calls.zip(0..).map(call).collect()
}
