//! Windsurf (Cascade hooks).
//!
//! Documented (docs.windsurf.com, "Cascade Hooks", and a library that follows it): `agent_action_name`,
//! `trajectory_id`, `tool_info` with `file_path`, or `command_line` and `cwd`; a hook before an action denies it with exit
//! code 2 and the reason on standard error.
//!
//! Not verified, nothing was run: what the model sees of the reason; relative paths. There is no event for the start
//! or the end of a session, and the payload names no directory but for commands: hooks run in the workspace's.
//!
//! * It cannot ask: asking becomes a denial with advice. It cannot go on after a turn.
//! * A context goes with a denial or is dropped. A notice is standard error, which the user sees if the hook is set to
//!   show its output.

use super::{Given, ruling, told, tools};
use crate::payload::{Fields, Malformed};
use crate::{Call, Edited, Event, Host, How, Output, Reply, Tool};

pub(super) fn parse(given: &Given<'_>) -> Result<Call, Malformed> {
    let called = given.called(&["agent_action_name"])?;
    let info = given.fields.object(&["tool_info"]).unwrap_or_default();
    let cwd = match info.text(&["cwd"]) {
        Some(dir) => dir.into(),
        None => given.cwd(&["cwd"], &[]),
    };
    let file = |info: &Fields| info.text(&["file_path"]).map(|path| cwd.join(path));
    let write =
        || tools::edit(file(&info).map(|path| Edited { path, how: How::Partial }).into_iter().collect());
    let read = || file(&info).map_or(Tool::Other, |path| Tool::Read(vec![path]));
    let event = match called.as_str() {
        "pre_user_prompt" => Event::Prompt,
        "pre_write_code" => Event::BeforeTool(write()),
        "post_write_code" => Event::AfterTool(write()),
        "pre_read_code" => Event::BeforeTool(read()),
        "post_read_code" => Event::AfterTool(read()),
        "pre_run_command" => Event::BeforeTool(tools::shell(&info, &cwd)),
        "post_run_command" => Event::AfterTool(tools::shell(&info, &cwd)),
        "pre_mcp_tool_use" => Event::BeforeTool(Tool::Other),
        "post_mcp_tool_use" => Event::AfterTool(Tool::Other),
        "post_cascade_response" => Event::Stop { again: false },
        _ => Event::Other,
    };
    Ok(Call {
        host: Host::Windsurf,
        session: given.text(&["trajectory_id"]),
        subagent: None,
        version: None,
        called,
        event,
        cwd,
    })
}

pub(super) fn shape(call: &Call, reply: &Reply) -> Output {
    if call.event == Event::Other {
        return Output::default();
    }
    if matches!(call.event, Event::BeforeTool(_))
        && let Some((_, reason)) = ruling(reply, false, reply.context.as_deref())
    {
        return Output { stderr: reason, code: 2, ..Output::default() };
    }
    Output { stderr: told(reply.notice.as_deref()).unwrap_or_default(), ..Output::default() }
}
