//! Cursor.
//!
//! Documented (cursor.com/docs/hooks, read in copies and in code of others that follows it): the members of every
//! event's payload; answers `permission`, `user_message`, `agent_message`, `additional_context`, `followup_message`.
//!
//! Not verified, nothing was run: the names of arguments in `tool_input` (`file_path` or `path`, `target_notebook`,
//! `working_directory`); whether a context at the start always reaches the model (others report that it does not);
//! whether a sub-agent's tools carry the sub-agent's conversation.
//!
//! * One event of ours has several here: a shell command comes as `preToolUse` and as `beforeShellExecution`. Only
//!   `beforeShellExecution` asks the user; elsewhere asking becomes a denial with advice.
//! * `permission` is never `allow`, which might spare the user a question of the host's own. Every answer is a JSON
//!   object, the least one `{}`.
//! * A context reaches the model at `sessionStart` and `postToolUse`, and with a denial; a notice reaches the user with a
//!   denial only. Others are dropped.
//! * The stop of a sub-agent tells its kind only, not the id of its start.
//! * At a stop `followup_message` is sent as if the user had; after an abort or an error it is not.

use serde::Serialize;

use super::tools::{self, Does};
use super::{Given, going_on, json, ruling, told};
use crate::payload::Malformed;
use crate::{Call, Edited, Event, Host, How, Output, Reply, Subagent, Tool};

pub(super) fn parse(given: &Given<'_>) -> Result<Call, Malformed> {
    let fields = &given.fields;
    let called = given.called(&["hook_event_name"])?;
    let root = fields.texts("workspace_roots").into_iter().find(|root| !root.is_empty());
    let cwd = match fields.text(&["cwd"]).or(root) {
        Some(dir) => dir.into(),
        None => given.cwd(&[], &["CURSOR_PROJECT_DIR", "CLAUDE_PROJECT_DIR"]),
    };
    let tool = || tools::used(fields.text(&["tool_name"]).and_then(does), fields, &["tool_input"], &cwd);
    let file = || fields.text(&["file_path"]).map(|path| cwd.join(path));
    let event = match called.as_str() {
        "sessionStart" => Event::SessionStart(given.source()),
        "beforeSubmitPrompt" => Event::Prompt,
        "preToolUse" => Event::BeforeTool(tool()),
        "postToolUse" => Event::AfterTool(tool()),
        "beforeShellExecution" => Event::BeforeTool(tools::shell(fields, &cwd)),
        "afterShellExecution" => Event::AfterTool(tools::shell(fields, &cwd)),
        "beforeReadFile" => Event::BeforeTool(file().map_or(Tool::Other, |path| Tool::Read(vec![path]))),
        "afterFileEdit" => {
            let edited = file().map(|path| Edited { path, how: How::Partial });
            Event::AfterTool(tools::edit(edited.into_iter().collect()))
        }
        "subagentStart" => Event::SubagentStart,
        "subagentStop" => Event::SubagentStop,
        "stop" if matches!(fields.text(&["status"]), Some("aborted" | "error")) => Event::Interrupted,
        "stop" => Event::Stop { again: fields.is_set("loop_count") },
        "sessionEnd" => Event::SessionEnd(given.end()),
        _ => Event::Other,
    };
    let kind = given.text(&["subagent_type"]);
    let id = fields.text(&["subagent_id", "subagent_type"]);
    Ok(Call {
        host: Host::Cursor,
        session: given.text(&["parent_conversation_id", "conversation_id", "session_id"]),
        subagent: id.map(|id| Subagent { id: id.to_owned(), kind }),
        version: fields
            .text(&["cursor_version"])
            .map(str::to_owned)
            .or_else(|| given.variable("CURSOR_VERSION")),
        called,
        event,
        cwd,
    })
}

fn does(tool: &str) -> Option<Does> {
    Some(match tool {
        "Write" => Does::Edit(How::Whole),
        "Edit" | "MultiEdit" | "StrReplace" | "EditNotebook" => Does::Edit(How::Partial),
        "Delete" => Does::Edit(How::Delete),
        "ApplyPatch" => Does::Patch,
        "Read" => Does::Read,
        "Shell" | "Bash" => Does::Shell,
        _ => return None,
    })
}

#[derive(Debug, Default, Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    permission: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_context: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    followup_message: Option<String>,
}

pub(super) fn shape(call: &Call, reply: &Reply) -> Output {
    let mut answer = Answer::default();
    if matches!(call.event, Event::BeforeTool(_)) {
        let ruling = ruling(reply, Host::Cursor.takes_ask(call), reply.context.as_deref());
        if let Some((permission, reason)) = ruling {
            answer.permission = Some(permission);
            answer.user_message = Some(told(reply.notice.as_deref()).unwrap_or_else(|| reason.clone()));
            // Of a read only the user is told.
            answer.agent_message = (call.called != "beforeReadFile").then_some(reason);
        }
    }
    if matches!(call.event, Event::Stop { .. }) {
        answer.followup_message = going_on(reply);
    }
    if Host::Cursor.takes_context(call) {
        answer.additional_context = told(reply.context.as_deref());
    }
    json(&answer)
}
