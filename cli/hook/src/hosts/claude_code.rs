//! Claude Code.
//!
//! Documented: payloads, exit codes and answers in the hooks reference of code.claude.com (as of 2.1.240); the
//! arguments of tools in the package's `sdk-tools.d.ts` (2.1.329). Session start, tool, prompt, stop and the session's
//! title have been seen to work with 2.1.329.
//!
//! Not verified: `PostToolUse` and `SubagentStart` contexts beyond the documentation, `StopFailure` (documented to
//! ignore any answer), `MultiEdit` and `NotebookRead` (tools of older versions, kept).
//!
//! VS Code runs the hooks in Claude Code's settings with payloads of its own, which are told by their camel-case names;
//! those calls are taken as VS Code's. Cursor does so too, with payloads that are not documented: they are read as
//! Claude Code's.
//!
//! * A notice is `systemMessage`. Contexts go with start, prompt, tools and sub-agents; at a stop only together with a
//!   reason to go on.
//! * No answer is given to other events: for some, such as `WorktreeCreate`, standard output has another meaning.

use super::tools::{self, Does};
use super::{Answer, Given, Specific, going_on, ruling, told, vscode};
use crate::payload::Malformed;
use crate::{Call, Event, Host, How, Output, Reply};

const EVENT: &[&str] = &["hook_event_name", "hookEventName"];
const SESSION: &[&str] = &["session_id", "sessionId", "conversation_id"];

pub(super) fn parse(given: &Given<'_>) -> Result<Call, Malformed> {
    if given.fields.text(&["hookEventName"]).is_some() && given.fields.text(&["hook_event_name"]).is_none() {
        return vscode::parse(given);
    }
    let called = given.called(EVENT)?;
    let cwd = given.cwd(&["cwd"], &["CLAUDE_PROJECT_DIR"]);
    let event = event(given, &called, |name| tools::used(does(name), &given.fields, &["tool_input"], &cwd));
    Ok(Call {
        host: Host::ClaudeCode,
        session: given.text(SESSION),
        subagent: given.subagent("agent_id", "agent_type"),
        version: given.variable("AI_AGENT").as_deref().and_then(version),
        called,
        event,
        cwd,
    })
}

/// The event of this name; `tool` makes a tool of its name.
pub(super) fn event(given: &Given<'_>, called: &str, tool: impl Fn(&str) -> crate::Tool) -> Event {
    let tool = || tool(given.fields.text(&["tool_name"]).unwrap_or_default());
    match called {
        "SessionStart" => Event::SessionStart(given.source()),
        "UserPromptSubmit" => Event::Prompt,
        "PreToolUse" => Event::BeforeTool(tool()),
        "PostToolUse" => Event::AfterTool(tool()),
        "SubagentStart" => Event::SubagentStart,
        "SubagentStop" => Event::SubagentStop,
        "Stop" => Event::Stop { again: given.fields.is_set("stop_hook_active") },
        "StopFailure" | "Interrupt" => Event::Interrupted,
        "SessionEnd" => Event::SessionEnd(given.end()),
        _ => Event::Other,
    }
}

fn does(tool: &str) -> Option<Does> {
    Some(match tool {
        "Edit" | "MultiEdit" | "NotebookEdit" => Does::Edit(How::Partial),
        "Write" => Does::Edit(How::Whole),
        "Read" | "NotebookRead" => Does::Read,
        "Bash" | "PowerShell" => Does::Shell,
        _ => return None,
    })
}

/// The version in `claude-code_2.1.329_harness`, also with dashes for dots.
fn version(agent: &str) -> Option<String> {
    let version = agent.strip_prefix("claude-code_")?.split('_').next()?.replace('-', ".");
    version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
}

pub(super) fn shape(call: &Call, reply: &Reply) -> Output {
    let mut answer = Answer { system_message: told(reply.notice.as_deref()), ..Answer::default() };
    let mut specific = Specific { hook_event_name: call.called.clone(), ..Specific::default() };
    let context = told(reply.context.as_deref());
    match &call.event {
        Event::SessionStart(_) => {
            specific.additional_context = context;
            specific.session_title = told(reply.title.as_deref());
        }
        Event::BeforeTool(_) => {
            (specific.permission_decision, specific.permission_decision_reason) =
                ruling(reply, true, None).unzip();
            specific.additional_context = context;
        }
        Event::Prompt | Event::AfterTool(_) | Event::SubagentStart => specific.additional_context = context,
        Event::Stop { .. } => {
            // As a context the model reads it once; the reason of a `block` comes twice.
            specific.additional_context = going_on(reply);
        }
        Event::SubagentStop => {}
        Event::Interrupted | Event::SessionEnd(_) | Event::Other => return Output::default(),
    }
    answer.hook_specific_output = Some(specific);
    answer.output()
}
