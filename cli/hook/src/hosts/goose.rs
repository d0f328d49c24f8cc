//! Goose.
//!
//! Verified with the source of block/goose (`crates/goose/src/hooks/mod.rs`): the payload (`event`, `session_id`,
//! `working_dir`, `tool_name`, `tool_input`), which events can block and how, and the `banner` of a start.
//!
//! Not verified: the arguments of tools (`path`, `command`) beyond the tools' own schemas; nothing was run. The source
//! does not tell whether a turn already went on once: `stop_hook_active` is read in case it comes to do so.
//!
//! * Only `PreToolUse` and `Stop` can block, with `decision: "block"`. It cannot ask: asking becomes a denial with
//!   advice. Anything else on standard output would count as a failure of the hook.
//! * No context reaches the model but with a denial or a reason to go on. A notice is shown at the start only.
//! * `BeforeReadFile`, `AfterFileEdit`, `BeforeShellExecution` and `AfterShellExecution` repeat what the tool events
//!   tell, and cannot block: they are other events.

use serde::Serialize;

use super::tools::{self, Does};
use super::{Given, going_on, json, ruling, told};
use crate::payload::Malformed;
use crate::{Call, Event, Host, How, Output, Reply};

pub(super) fn parse(given: &Given<'_>) -> Result<Call, Malformed> {
    let called = given.called(&["event", "hook_event_name"])?;
    let cwd = given.cwd(&["working_dir", "cwd"], &[]);
    let tool = || {
        let does = given.fields.text(&["tool_name"]).and_then(does);
        tools::used(does, &given.fields, &["tool_input"], &cwd)
    };
    let event = match called.as_str() {
        "SessionStart" => Event::SessionStart(given.source()),
        "UserPromptSubmit" => Event::Prompt,
        "PreToolUse" => Event::BeforeTool(tool()),
        "PostToolUse" => Event::AfterTool(tool()),
        "Stop" => Event::Stop { again: given.fields.is_set("stop_hook_active") },
        "SessionEnd" => Event::SessionEnd(given.end()),
        _ => Event::Other,
    };
    Ok(Call {
        host: Host::Goose,
        session: given.text(&["session_id"]),
        subagent: None,
        version: None,
        called,
        event,
        cwd,
    })
}

fn does(tool: &str) -> Option<Does> {
    Some(match tool.strip_prefix("developer__").unwrap_or(tool) {
        "edit" => Does::Edit(How::Partial),
        "write" => Does::Edit(How::Whole),
        "text_editor" => Does::Editor,
        "shell" => Does::Shell,
        _ => return None,
    })
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Answer {
    Block { decision: &'static str, reason: String },
    Banner { banner: String },
}

pub(super) fn shape(call: &Call, reply: &Reply) -> Output {
    let block = |reason| Answer::Block { decision: "block", reason };
    let answer = match &call.event {
        Event::BeforeTool(_) => {
            ruling(reply, false, reply.context.as_deref()).map(|(_, reason)| block(reason))
        }
        Event::Stop { .. } => going_on(reply).map(block),
        Event::SessionStart(_) => told(reply.notice.as_deref()).map(|banner| Answer::Banner { banner }),
        Event::Prompt
        | Event::AfterTool(_)
        | Event::SubagentStart
        | Event::SubagentStop
        | Event::Interrupted
        | Event::SessionEnd(_)
        | Event::Other => None,
    };
    answer.map_or_else(Output::default, |answer| json(&answer))
}
