//! What hosts say to a hook: made up, for a session that does not exist.

use std::path::Path;

use serde_json::{Value, json};

use crate::host::Host;

/// A moment of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// It begins.
    Start,
    /// A file is about to be edited.
    Edit,
    /// It ends.
    End,
}

/// The event of a host that comes nearest; none if it has none.
pub(super) const fn event(host: Host, moment: Moment) -> Option<&'static str> {
    Some(match (host, moment) {
        (Host::ClaudeCode | Host::Codex | Host::Gemini | Host::Vscode | Host::Goose, Moment::Start) => {
            "SessionStart"
        }
        (Host::ClaudeCode | Host::Codex | Host::Vscode | Host::Goose, Moment::Edit) => "PreToolUse",
        (Host::Gemini, Moment::Edit) => "BeforeTool",
        (Host::ClaudeCode | Host::Codex | Host::Gemini | Host::Goose, Moment::End) => "SessionEnd",
        (Host::Cursor | Host::Copilot, Moment::Start) => "sessionStart",
        (Host::Cursor | Host::Copilot, Moment::Edit) => "preToolUse",
        (Host::Cursor | Host::Copilot, Moment::End) => "sessionEnd",
        (Host::Opencode, Moment::Start) => "session.created",
        (Host::Opencode, Moment::Edit) => "tool.execute.before",
        (Host::Opencode, Moment::End) => "session.deleted",
        (Host::Windsurf, Moment::Start) => "pre_user_prompt",
        (Host::Windsurf, Moment::Edit) => "pre_write_code",
        (Host::Windsurf | Host::Vscode, Moment::End) | (Host::Zed, _) => return None,
    })
}

/// What the host would write to the hook.
pub(super) fn payload(host: Host, moment: Moment, session: &str, root: &Path) -> Value {
    let file = root.join("a.txt");
    let named = event(host, moment).unwrap_or_default();
    let mut payload = match host {
        Host::ClaudeCode | Host::Codex | Host::Gemini | Host::Zed => {
            json!({"session_id": session, "hook_event_name": named, "cwd": root, "transcript_path": null})
        }
        Host::Vscode => json!({"sessionId": session, "hookEventName": named, "cwd": root}),
        Host::Cursor => {
            json!({"conversation_id": session, "hook_event_name": named, "cwd": root, "workspace_roots": [root]})
        }
        Host::Opencode => json!({"event": named, "sessionID": session, "cwd": root}),
        Host::Copilot => json!({"sessionId": session, "cwd": root, "timestamp": 0}),
        Host::Windsurf => {
            json!({"agent_action_name": named, "trajectory_id": session, "tool_info": {"cwd": root}})
        }
        Host::Goose => json!({"event": named, "session_id": session, "working_dir": root}),
    };
    match moment {
        Moment::Start => payload["source"] = "startup".into(),
        Moment::End => payload["reason"] = "other".into(),
        Moment::Edit => edit(&mut payload, host, &file),
    }
    payload
}

fn edit(payload: &mut Value, host: Host, file: &Path) {
    let (name, arguments, tool, path) = match host {
        Host::ClaudeCode | Host::Zed => ("tool_name", "tool_input", "Edit", json!({"file_path": file})),
        Host::Codex => {
            let patch =
                format!("*** Begin Patch\n*** Update File: {}\n@@\n-a\n+b\n*** End Patch\n", file.display());
            ("tool_name", "tool_input", "apply_patch", json!({"command": patch}))
        }
        Host::Cursor => ("tool_name", "tool_input", "Write", json!({"file_path": file})),
        Host::Gemini => ("tool_name", "tool_input", "replace", json!({"file_path": file})),
        Host::Vscode => ("tool_name", "tool_input", "editFiles", json!({"files": [file]})),
        Host::Goose => ("tool_name", "tool_input", "developer__edit", json!({"path": file})),
        Host::Opencode => ("tool", "args", "edit", json!({"filePath": file})),
        Host::Copilot => ("toolName", "toolArgs", "edit", json!({"path": file})),
        Host::Windsurf => {
            payload["tool_info"]["file_path"] = json!(file);
            return;
        }
    };
    payload[name] = tool.into();
    payload[arguments] = path;
}
