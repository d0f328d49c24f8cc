//! Visual Studio Code (agent hooks, a preview).
//!
//! Documented: the eight events, `sessionId` and `hookEventName`, and the answers, in microsoft/vscode-docs
//! (`docs/agent-customization/hooks.md`). The documentation names the tools `editFiles`, `createFile` and
//! `runTerminalCommand`, with `files`, `path` and `command`.
//!
//! Not verified: the names and arguments of the model's own tools (`create_file`, `replace_string_in_file`,
//! `multi_replace_string_in_file`, `insert_edit_into_file`, `apply_patch`, `edit_notebook_file`, `read_file`,
//! `run_in_terminal`), which hooks of others expect; snake-case names of members, read as well. Nothing was run.
//!
//! * A prompt takes no context, only a notice: it is dropped.
//! * The documentation puts the decision of `Stop` into `hookSpecificOutput`, that of `SubagentStop` beside it; a stop
//!   is answered in both places.

use super::tools::{self, Does};
use super::{Answer, Given, Specific, claude_code, going_on, ruling, told};
use crate::payload::Malformed;
use crate::{Call, Event, Host, How, Output, Reply};

pub(super) fn parse(given: &Given<'_>) -> Result<Call, Malformed> {
    let called = given.called(&["hookEventName", "hook_event_name"])?;
    let cwd = given.cwd(&["cwd"], &[]);
    let event = claude_code::event(given, &called, |name| {
        tools::used(does(name), &given.fields, &["tool_input"], &cwd)
    });
    Ok(Call {
        host: Host::Vscode,
        session: given.text(&["sessionId", "session_id"]),
        subagent: given.subagent("agent_id", "agent_type"),
        version: None,
        called,
        event,
        cwd,
    })
}

/// By the letters of the name: it comes in camel and in snake case, with and without `copilot_` before it.
fn does(tool: &str) -> Option<Does> {
    let letters: String =
        tool.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    Some(match letters.strip_prefix("copilot").unwrap_or(&letters) {
        "editfiles"
        | "editfile"
        | "replacestringinfile"
        | "multireplacestringinfile"
        | "replacestring"
        | "multireplacestring"
        | "insertedit"
        | "inserteditintofile"
        | "editnotebookfile"
        | "editnotebook" => Does::Edit(How::Partial),
        "createfile" => Does::Edit(How::Create),
        "deletefile" => Does::Edit(How::Delete),
        "applypatch" => Does::Patch,
        "readfile" => Does::Read,
        "runterminalcommand" | "runinterminal" => Does::Shell,
        _ => return None,
    })
}

pub(super) fn shape(call: &Call, reply: &Reply) -> Output {
    let mut answer = Answer { system_message: told(reply.notice.as_deref()), ..Answer::default() };
    let mut specific = Specific { hook_event_name: call.called.clone(), ..Specific::default() };
    let context = told(reply.context.as_deref());
    match &call.event {
        Event::BeforeTool(_) => {
            (specific.permission_decision, specific.permission_decision_reason) =
                ruling(reply, true, None).unzip();
            specific.additional_context = context;
        }
        Event::SessionStart(_) | Event::AfterTool(_) | Event::SubagentStart => {
            specific.additional_context = context;
        }
        Event::Stop { .. } => {
            answer.reason = going_on(reply);
            answer.decision = answer.reason.as_ref().map(|_| "block");
            (specific.decision, specific.reason) = (answer.decision, answer.reason.clone());
        }
        Event::Prompt | Event::SubagentStop => {}
        Event::Interrupted | Event::SessionEnd(_) | Event::Other => return Output::default(),
    }
    answer.hook_specific_output = Some(specific);
    answer.output()
}
