//! Gemini CLI.
//!
//! Verified with the documentation in the package (0.61.0, `docs/hooks/reference.md`) and with the program's code for
//! answers; names of tools and of arguments from the same code.
//!
//! Not verified: `edit` as another name of `replace`, `absolute_path` (an argument of older versions), and what a user
//! sees of `systemMessage` at each event.
//!
//! * A tool is denied with `decision` and `reason`. `decision: "ask"` is in the code, not in the documentation, and lets
//!   a session without a terminal hang: what the user should be asked is denied, and the model is told to ask.
//! * Before a tool no context reaches the model: it goes with a denial or is dropped. After one, at a prompt and at the
//!   start it is `hookSpecificOutput.additionalContext`; angle brackets in it come out escaped.
//! * Going on after a turn is a denial of `AfterAgent`: its reason is the next prompt.

use serde::Serialize;

use super::tools::{self, Does};
use super::{Given, going_on, json, ruling, told};
use crate::payload::Malformed;
use crate::{Call, Event, Host, How, Output, Reply};

pub(super) fn parse(given: &Given<'_>) -> Result<Call, Malformed> {
    let called = given.called(&["hook_event_name"])?;
    let cwd = given.cwd(&["cwd"], &["GEMINI_CWD", "GEMINI_PROJECT_DIR"]);
    let tool = || {
        let does = given.fields.text(&["tool_name"]).and_then(does);
        tools::used(does, &given.fields, &["tool_input"], &cwd)
    };
    let event = match called.as_str() {
        "SessionStart" => Event::SessionStart(given.source()),
        "BeforeAgent" => Event::Prompt,
        "BeforeTool" => Event::BeforeTool(tool()),
        "AfterTool" => Event::AfterTool(tool()),
        "AfterAgent" => Event::Stop { again: given.fields.is_set("stop_hook_active") },
        "SessionEnd" => Event::SessionEnd(given.end()),
        _ => Event::Other,
    };
    let session = given.fields.text(&["session_id"]).map(str::to_owned);
    Ok(Call {
        host: Host::Gemini,
        session: session.or_else(|| given.variable("GEMINI_SESSION_ID")).unwrap_or_default(),
        subagent: None,
        version: None,
        called,
        event,
        cwd,
    })
}

fn does(tool: &str) -> Option<Does> {
    Some(match tool {
        "write_file" => Does::Edit(How::Whole),
        "replace" | "edit" => Does::Edit(How::Partial),
        "read_file" | "read_many_files" => Does::Read,
        "run_shell_command" => Does::Shell,
        _ => return None,
    })
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook_specific_output: Option<Specific>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Specific {
    hook_event_name: String,
    additional_context: String,
}

pub(super) fn shape(call: &Call, reply: &Reply) -> Output {
    let mut answer = Answer { system_message: told(reply.notice.as_deref()), ..Answer::default() };
    match &call.event {
        Event::BeforeTool(_) => {
            // `ask` makes a session without a terminal wait for ever.
            (answer.decision, answer.reason) = ruling(reply, false, reply.context.as_deref()).unzip();
        }
        Event::SessionStart(_) | Event::Prompt | Event::AfterTool(_) => {
            answer.hook_specific_output = told(reply.context.as_deref()).map(|additional_context| Specific {
                hook_event_name: call.called.clone(),
                additional_context,
            });
        }
        Event::Stop { .. } => {
            answer.reason = going_on(reply);
            answer.decision = answer.reason.as_ref().map(|_| "deny");
        }
        Event::SessionEnd(_) => {}
        Event::SubagentStart | Event::SubagentStop | Event::Interrupted | Event::Other => {
            return Output::default();
        }
    }
    let Answer { decision, system_message, hook_specific_output, .. } = &answer;
    let silent = decision.is_none() && system_message.is_none() && hook_specific_output.is_none();
    if silent { Output::default() } else { json(&answer) }
}
