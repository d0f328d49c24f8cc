//! Codex CLI.
//!
//! Verified with the JSON schemas inside the program (0.169.0), for every event's input and output, with the grammar of
//! patches there, and with the messages of its output parser. The host refuses an answer with any key that its schema
//! does not have for the event, and then the tool is used as if there had been no hook.
//!
//! Not verified: the arguments of `apply_patch` (`command`, from tests of others), of `exec_command` and of a shell
//! command as a list (older versions); that a shell command with a patch comes as `Bash`.
//!
//! * It cannot ask: `permissionDecision: "ask"` is refused, so asking becomes a denial with advice. A denial needs a
//!   reason.
//! * `SessionEnd` takes no answer; `Interrupt` a notice only. Notices are `systemMessage`.
//! * Contexts go with start, prompt, tools and sub-agents; at a stop only together with a reason to go on.

use super::tools::{self, Does};
use super::{Answer, Given, Specific, claude_code, going_on, ruling, told};
use crate::payload::Malformed;
use crate::{Call, Event, Host, Output, Reply};

pub(super) fn parse(given: &Given<'_>) -> Result<Call, Malformed> {
    let called = given.called(&["hook_event_name"])?;
    let cwd = given.cwd(&["cwd"], &[]);
    let event = claude_code::event(given, &called, |name| {
        tools::used(does(name), &given.fields, &["tool_input"], &cwd)
    });
    Ok(Call {
        host: Host::Codex,
        session: given.text(&["session_id"]),
        subagent: given.subagent("agent_id", "agent_type"),
        version: given.variable("CODEX_VERSION"),
        called,
        event,
        cwd,
    })
}

fn does(tool: &str) -> Option<Does> {
    Some(match tool {
        "apply_patch" => Does::Patch,
        "Bash" | "shell" | "local_shell" | "exec_command" | "shell_command" => Does::Shell,
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
                ruling(reply, false, None).unzip();
            specific.additional_context = context;
        }
        Event::SessionStart(_) | Event::Prompt | Event::AfterTool(_) | Event::SubagentStart => {
            specific.additional_context = context;
        }
        Event::Stop { .. } => {
            answer.reason = going_on(reply);
            answer.decision = answer.reason.as_ref().map(|_| "block");
        }
        Event::SubagentStop | Event::Interrupted => {}
        Event::SessionEnd(_) | Event::Other => return Output::default(),
    }
    answer.hook_specific_output = Some(specific);
    answer.output()
}
