//! Gemini's `generateContent`.

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::{Answer, Origin, has_tools};
use crate::request::Purpose;
use crate::turn::{Block, Turn};

pub(super) fn origin(path: &str, _headers: &HeaderMap, body: &Value) -> Origin {
    let turn = has_tools(body) && !path.ends_with(":countTokens");
    Origin {
        purpose: if turn { Purpose::Turn } else { Purpose::Background },
        session: String::new(),
        subagent: None,
    }
}

pub(super) fn answer(path: &str, turn: &Turn) -> Answer {
    if path.ends_with(":countTokens") {
        return Answer::Json(json!({"totalTokens": 1}));
    }
    let part = |block: &Block| match block {
        Block::Say(text) => json!({"text": text}),
        Block::Call { tool, input } => json!({"functionCall": {"name": tool, "args": input}}),
    };
    let parts: Vec<Value> = turn.blocks.iter().map(part).collect();
    let candidate = json!({"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0});
    let usage = json!({"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2});
    let answer = json!({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "mock"});
    if path.contains(":stream") {
        Answer::Events(format!("data: {answer}\n\n"))
    } else {
        Answer::Json(answer)
    }
}
