//! opencode, which runs no hooks: a plugin of ours calls, so both forms here are ours.
//!
//! The plugin sends one JSON object:
//!
//! | member | meaning |
//! |---|---|
//! | `event` | `session.created`, `session.compacted`, `chat.message`, `tool.execute.before`, `tool.execute.after`, `session.idle`, `session.error`, `session.deleted`: opencode's own names, each where opencode calls the plugin |
//! | `sessionID` | the session it is about |
//! | `parentID`, `agent` | of a session that another one started: that one's id, and the agent's name |
//! | `cwd` | the plugin's `directory` |
//! | `version` | opencode's version, if known |
//! | `source` | with `session.created`: `startup` or `resume` |
//! | `again` | with `session.idle`: whether the turn already went on once |
//! | `tool`, `args` | with the tool events: name and arguments, whose contents the plugin may leave out |
//!
//! The answer is nothing, or one JSON object, each member only if there is something to say:
//!
//! | member | what the plugin does |
//! |---|---|
//! | `deny` | before a tool: throws an error with this text, which the model reads |
//! | `context` | adds this text to what the model reads next: the prompt's parts, or the tool's result |
//! | `go_on` | prompts the session with this text |
//! | `notice` | shows this text to the user as a toast |
//! | `title` | names the session |
//!
//! A session with a `parentID` is a sub-agent of it: its `session.created` is a sub-agent's start, its `session.idle`,
//! `session.error` and `session.deleted` are its stop. Arguments of tools are read in opencode's source (`apply_patch`: `patchText`)
//! and its documentation (`filePath`, `command`, `workdir`); nothing was run. A plugin cannot ask the user: asking
//! becomes a denial with advice.

use serde::Serialize;

use super::tools::{self, Does};
use super::{Given, going_on, json, ruling, told};
use crate::payload::Malformed;
use crate::{Call, End, Event, Host, How, Output, Reply, Source, Subagent};

pub(super) fn parse(given: &Given<'_>) -> Result<Call, Malformed> {
    let fields = &given.fields;
    let called = given.called(&["event"])?;
    let cwd = given.cwd(&["cwd"], &[]);
    let parent = fields.text(&["parentID"]);
    let tool = || tools::used(fields.text(&["tool"]).and_then(does), fields, &["args"], &cwd);
    let event = match (called.as_str(), parent) {
        ("session.created", Some(_)) => Event::SubagentStart,
        ("session.idle" | "session.error" | "session.deleted", Some(_)) => Event::SubagentStop,
        ("session.created", None) => Event::SessionStart(given.source()),
        ("session.compacted", None) => Event::SessionStart(Source::Compact),
        ("chat.message", None) => Event::Prompt,
        ("tool.execute.before", _) => Event::BeforeTool(tool()),
        ("tool.execute.after", _) => Event::AfterTool(tool()),
        ("session.idle", None) => Event::Stop { again: fields.is_set("again") },
        ("session.error", None) => Event::Interrupted,
        ("session.deleted", None) => Event::SessionEnd(End::Quit),
        _ => Event::Other,
    };
    let own = given.text(&["sessionID"]);
    let (session, subagent) = match parent {
        Some(parent) => (parent.to_owned(), Some(Subagent { id: own, kind: given.text(&["agent"]) })),
        None => (own, None),
    };
    let version = fields.text(&["version"]).map(str::to_owned);
    Ok(Call { host: Host::Opencode, session, subagent, version, called, event, cwd })
}

fn does(tool: &str) -> Option<Does> {
    Some(match tool {
        "edit" | "multiedit" => Does::Edit(How::Partial),
        "write" => Does::Edit(How::Whole),
        "apply_patch" | "patch" => Does::Patch,
        "read" => Does::Read,
        "bash" | "shell" => Does::Shell,
        _ => return None,
    })
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    deny: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    go_on: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
}

pub(super) fn shape(call: &Call, reply: &Reply) -> Output {
    let mut answer = Answer { notice: told(reply.notice.as_deref()), ..Answer::default() };
    let context = told(reply.context.as_deref());
    match &call.event {
        // A tool that is denied has no result to add a context to.
        Event::BeforeTool(_) => match ruling(reply, false, reply.context.as_deref()) {
            Some((_, reason)) => answer.deny = Some(reason),
            None => answer.context = context,
        },
        Event::SessionStart(_) => {
            answer.context = context;
            answer.title = told(reply.title.as_deref());
        }
        Event::Prompt | Event::AfterTool(_) | Event::SubagentStart => answer.context = context,
        Event::Stop { .. } => answer.go_on = going_on(reply),
        Event::SubagentStop | Event::Interrupted | Event::SessionEnd(_) => {}
        Event::Other => return Output::default(),
    }
    if answer == Answer::default() { Output::default() } else { json(&answer) }
}
