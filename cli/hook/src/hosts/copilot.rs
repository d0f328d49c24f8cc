//! GitHub Copilot CLI.
//!
//! Documented: events, payloads and answers in github/docs (`cli-hooks-reference.md`, `hooks-configuration.md`). A hook
//! configured with a camel-case name gets a payload that does not name its event, so the command line has to; one
//! with a Pascal-case name gets snake-case members with `hook_event_name`. Both are read.
//!
//! Not verified, nothing was run (1.0.102 needs a sign-in): the arguments of tools (`path`, `command`; from an example and
//! from the editor tool they come from), `apply_patch`, and that `ask` is honoured, which an older page denies.
//!
//! * `toolArgs` is a JSON text in examples and an open value in the reference; both are read.
//! * Only `subagentStart` takes a context. Elsewhere it goes with a denial or a reason to go on, or is dropped; so are
//!   notices.
//! * A sub-agent has a name, which is its id here.

use serde::Serialize;

use super::tools::{self, Does};
use super::{Given, going_on, json, ruling, told};
use crate::payload::Malformed;
use crate::{Call, Event, Host, How, Output, Reply, Subagent};

pub(super) fn parse(given: &Given<'_>) -> Result<Call, Malformed> {
    let fields = &given.fields;
    let called = given.called(&["hook_event_name"])?;
    let cwd = given.cwd(&["cwd"], &[]);
    let tool = || {
        let does = fields.text(&["toolName", "tool_name"]).and_then(does);
        tools::used(does, fields, &["toolArgs", "tool_input"], &cwd)
    };
    let event = match called.as_str() {
        "sessionStart" | "SessionStart" => Event::SessionStart(given.source()),
        "userPromptSubmitted" | "UserPromptSubmit" => Event::Prompt,
        "preToolUse" | "PreToolUse" => Event::BeforeTool(tool()),
        "postToolUse" | "PostToolUse" => Event::AfterTool(tool()),
        "subagentStart" | "SubagentStart" => Event::SubagentStart,
        "subagentStop" | "SubagentStop" => Event::SubagentStop,
        "agentStop" | "Stop" => Event::Stop { again: fields.is_set("stop_hook_active") },
        "sessionEnd" | "SessionEnd" => Event::SessionEnd(given.end()),
        _ => Event::Other,
    };
    let name = fields.text(&["agentName", "agent_name"]);
    Ok(Call {
        host: Host::Copilot,
        session: given.text(&["sessionId", "session_id"]),
        subagent: name.map(|name| Subagent { id: name.to_owned(), kind: name.to_owned() }),
        version: None,
        called,
        event,
        cwd,
    })
}

fn does(tool: &str) -> Option<Does> {
    Some(match tool {
        "edit" => Does::Edit(How::Partial),
        "create" => Does::Edit(How::Create),
        "str_replace_editor" => Does::Editor,
        "apply_patch" => Does::Patch,
        "view" => Does::Read,
        "bash" | "powershell" => Does::Shell,
        _ => return None,
    })
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    permission_decision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permission_decision_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_context: Option<String>,
}

pub(super) fn shape(call: &Call, reply: &Reply) -> Output {
    let mut answer = Answer::default();
    let says = match &call.event {
        Event::BeforeTool(_) => {
            let ruling = ruling(reply, true, reply.context.as_deref());
            (answer.permission_decision, answer.permission_decision_reason) = ruling.unzip();
            answer.permission_decision.is_some()
        }
        Event::Stop { .. } => {
            answer.reason = going_on(reply);
            answer.decision = answer.reason.as_ref().map(|_| "block");
            answer.decision.is_some()
        }
        Event::SubagentStart => {
            answer.additional_context = told(reply.context.as_deref());
            answer.additional_context.is_some()
        }
        Event::SessionStart(_)
        | Event::Prompt
        | Event::AfterTool(_)
        | Event::SubagentStop
        | Event::Interrupted
        | Event::SessionEnd(_)
        | Event::Other => false,
    };
    if says { json(&answer) } else { Output::default() }
}
