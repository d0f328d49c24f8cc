//! The hosts: their payloads and their answers.

mod claude_code;
mod codex;
mod copilot;
mod cursor;
mod gemini;
mod goose;
mod opencode;
mod tools;
mod vscode;
mod windsurf;

use std::ffi::OsString;
use std::path::PathBuf;
use std::{fmt, str};

use serde::Serialize;

use crate::payload::{Fields, Malformed};
use crate::reply::{joined, said};
use crate::{Call, End, Event, Output, Reply, Source, Subagent, Verdict};

/// The environment of the hook's process: the value of a variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A program that runs agents and calls hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Claude Code.
    ClaudeCode,
    /// Codex CLI.
    Codex,
    /// Cursor.
    Cursor,
    /// Gemini CLI.
    Gemini,
    /// opencode, by way of a plugin of ours.
    Opencode,
    /// Visual Studio Code.
    Vscode,
    /// GitHub Copilot CLI.
    Copilot,
    /// Windsurf.
    Windsurf,
    /// Goose.
    Goose,
}

/// A name that is no host's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such host; there are {}", Host::ALL.map(|host| host.name()).join(", "))]
pub struct UnknownHost;

impl Host {
    /// All hosts.
    pub const ALL: [Self; 9] = [
        Self::ClaudeCode,
        Self::Codex,
        Self::Cursor,
        Self::Gemini,
        Self::Opencode,
        Self::Vscode,
        Self::Copilot,
        Self::Windsurf,
        Self::Goose,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
            Self::Cursor => "cursor",
            Self::Gemini => "gemini",
            Self::Opencode => "opencode",
            Self::Vscode => "vscode",
            Self::Copilot => "copilot",
            Self::Windsurf => "windsurf",
            Self::Goose => "goose",
        }
    }

    /// The kind of agent that it runs, as peers are listed with: the same that the MCP adapter finds.
    pub const fn agent_kind(self) -> &'static str {
        self.name()
    }

    /// Reads a payload. `event` is the event's name from the command line, for payloads that do not name it.
    ///
    /// # Errors
    /// The payload is of no use: [`Host::silence`] is the answer then. An unknown event is no error.
    pub fn parse(self, event: Option<&str>, payload: &[u8], env: Env<'_>) -> Result<Call, Malformed> {
        let given = Given { fields: Fields::read(payload)?, event, env };
        match self {
            Self::ClaudeCode => claude_code::parse(&given),
            Self::Codex => codex::parse(&given),
            Self::Cursor => cursor::parse(&given),
            Self::Gemini => gemini::parse(&given),
            Self::Opencode => opencode::parse(&given),
            Self::Vscode => vscode::parse(&given),
            Self::Copilot => copilot::parse(&given),
            Self::Windsurf => windsurf::parse(&given),
            Self::Goose => goose::parse(&given),
        }
    }

    /// The answer to `call` in the form of this host, which is that of [`Call::host`].
    pub fn shape(self, call: &Call, reply: &Reply) -> Output {
        match self {
            Self::ClaudeCode => claude_code::shape(call, reply),
            Self::Codex => codex::shape(call, reply),
            Self::Cursor => cursor::shape(call, reply),
            Self::Gemini => gemini::shape(call, reply),
            Self::Opencode => opencode::shape(call, reply),
            Self::Vscode => vscode::shape(call, reply),
            Self::Copilot => copilot::shape(call, reply),
            Self::Windsurf => windsurf::shape(call, reply),
            Self::Goose => goose::shape(call, reply),
        }
    }

    /// The answer without a word, for a payload that could not be read: nothing, or the least that the host takes.
    pub fn silence(self) -> Output {
        if self == Self::Cursor { json(&serde_json::Map::new()) } else { Output::default() }
    }

    /// Whether a context alone, with no verdict, reaches the model at this event.
    pub fn takes_context(self, call: &Call) -> bool {
        let event = &call.event;
        let starts = matches!(event, Event::SessionStart(_) | Event::SubagentStart);
        let uses = matches!(event, Event::BeforeTool(_) | Event::AfterTool(_));
        match self {
            Self::ClaudeCode | Self::Codex | Self::Opencode => starts || uses || *event == Event::Prompt,
            Self::Vscode => starts || uses,
            Self::Gemini => {
                matches!(event, Event::SessionStart(_) | Event::Prompt | Event::AfterTool(_))
            }
            Self::Cursor => matches!(call.called.as_str(), "sessionStart" | "postToolUse"),
            Self::Copilot => *event == Event::SubagentStart,
            Self::Windsurf | Self::Goose => false,
        }
    }

    /// Whether a turn goes on when a hook says so at its end.
    pub const fn takes_go_on(self) -> bool {
        !matches!(self, Self::Windsurf)
    }

    /// Whether [`Verdict::Ask`] makes the host ask its user at this event; if not it denies.
    pub fn takes_ask(self, call: &Call) -> bool {
        matches!(call.event, Event::BeforeTool(_))
            && match self {
                Self::ClaudeCode | Self::Vscode | Self::Copilot => true,
                Self::Cursor => call.called == "beforeShellExecution",
                Self::Codex | Self::Gemini | Self::Opencode | Self::Windsurf | Self::Goose => false,
            }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl str::FromStr for Host {
    type Err = UnknownHost;

    fn from_str(name: &str) -> Result<Self, UnknownHost> {
        Self::ALL.into_iter().find(|host| host.name() == name).ok_or(UnknownHost)
    }
}

/// What there is to read a call from.
struct Given<'a> {
    fields: Fields,
    event: Option<&'a str>,
    env: Env<'a>,
}

impl Given<'_> {
    /// The event's name: of the payload, or else of the command line.
    fn called(&self, names: &[&str]) -> Result<String, Malformed> {
        let called = self.fields.text(names).or(self.event).map(str::trim).filter(|name| !name.is_empty());
        called.map(str::to_owned).ok_or(Malformed::NoEvent)
    }

    /// The value of the first of these members, or nothing.
    fn text(&self, names: &[&str]) -> String {
        self.fields.text(names).unwrap_or_default().to_owned()
    }

    /// The directory that the payload names, or else the first of these variables, or else the process's.
    fn cwd(&self, names: &[&str], variables: &[&str]) -> PathBuf {
        let named = self.fields.text(names).map(PathBuf::from);
        let set = || {
            variables
                .iter()
                .chain(&["PWD"])
                .find_map(|name| (self.env)(name).filter(|value| !value.is_empty()))
        };
        named.or_else(|| set().map(PathBuf::from)).unwrap_or_default()
    }

    /// A variable of the environment that is text and not empty.
    fn variable(&self, name: &str) -> Option<String> {
        (self.env)(name)?.into_string().ok().filter(|value| !value.is_empty())
    }

    /// The sub-agent with its id in the first and its kind in the second member, if there is an id.
    fn subagent(&self, id: &str, kind: &str) -> Option<Subagent> {
        let id = self.fields.text(&[id])?.to_owned();
        Some(Subagent { id, kind: self.text(&[kind]) })
    }

    fn source(&self) -> Source {
        match self.fields.text(&["source"]) {
            Some("resume") => Source::Resume,
            Some("clear") => Source::Clear,
            Some("compact") => Source::Compact,
            _ => Source::Startup,
        }
    }

    fn end(&self) -> End {
        match self.fields.text(&["reason"]) {
            Some("clear") => End::Clear,
            Some("resume") => End::Resume,
            _ => End::Quit,
        }
    }
}

/// An answer in the form of Claude Code, which Codex and VS Code have taken over.
#[derive(Debug, Default, PartialEq, Serialize)]
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

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Specific {
    hook_event_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permission_decision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permission_decision_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_context: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_title: Option<String>,
}

impl Answer {
    /// The answer as output; nothing if it says nothing.
    fn output(mut self) -> Output {
        self.hook_specific_output = self
            .hook_specific_output
            .filter(|s| *s != Specific { hook_event_name: s.hook_event_name.clone(), ..Specific::default() });
        if self == Self::default() { Output::default() } else { json(&self) }
    }
}

/// The verdict of `reply` as the host's words for it. `asks` is whether the host can ask its user; `context` goes with
/// the reason where the model has no other way to it.
fn ruling(reply: &Reply, asks: bool, context: Option<&str>) -> Option<(&'static str, String)> {
    const DENIED: &str = "The mesh does not allow this.";
    const ASK: &str = "The user has to decide about this. Ask, and do it another way until then.";
    match &reply.verdict {
        Verdict::Pass => None,
        Verdict::Deny(reason) => {
            Some(("deny", joined([Some(reason.as_str()), context]).unwrap_or_else(|| DENIED.to_owned())))
        }
        Verdict::Ask(reason) if asks => {
            Some(("ask", said(Some(reason)).map_or_else(|| ASK.to_owned(), std::borrow::Cow::into_owned)))
        }
        Verdict::Ask(reason) => Some((
            "deny",
            joined([Some(reason.as_str()), Some(ASK), context]).unwrap_or_else(|| ASK.to_owned()),
        )),
    }
}

/// The reason to go on, with the context, which has no other way to the model when an agent stops.
fn going_on(reply: &Reply) -> Option<String> {
    said(reply.go_on.as_deref())?;
    joined([reply.go_on.as_deref(), reply.context.as_deref()])
}

/// `text` as it is said, owned.
fn told(text: Option<&str>) -> Option<String> {
    said(text).map(std::borrow::Cow::into_owned)
}

fn json(value: &impl Serialize) -> Output {
    // Only maps with keys of other types than text fail, and there are none.
    Output { stdout: serde_json::to_vec(value).unwrap_or_default(), ..Output::default() }
}
