//! Starting the server as a host does, and asking hosts that can be asked.

use std::ffi::OsStr;
use std::process::Command;
use std::time::Instant;

use serde_json::json;

use super::run::run;
use super::{Check, Conversation, Failure, Probing, Registered};
use crate::host::Host;
use crate::places::Places;

/// The latest revision that every host and every version of the server knows.
const REVISION: &str = "2025-06-18";

/// Starts the server, shakes hands, and asks for its tools.
pub(super) fn server(
    host: Host,
    words: &[String],
    install: &str,
    places: &Places,
    probing: &Probing,
) -> Check {
    let (program, arguments) = words.split_first().map_or((String::new(), &[][..]), |(p, a)| (p.clone(), a));
    let began = Instant::now();
    let command = words.join(" ");
    match tools(&program, arguments, places, probing) {
        Ok((version, tools)) => {
            let took = began.elapsed().as_millis();
            let found = format!("{command}: {tools} tools, version {version}, {took} ms");
            if tools > 0 {
                return Check::good(Some(host), "server", found);
            }
            Check::bad(Some(host), "server", found, format!("{install} with a meshctl that offers tools"))
        }
        Err(failure @ Failure::Start(..)) => Check::bad(
            Some(host),
            "server",
            failure.to_string(),
            format!("{install} registers the meshctl that runs it"),
        ),
        Err(failure @ (Failure::Ended(_) | Failure::Silent(_) | Failure::Refused(_))) => {
            let fix = format!("run `{command}` in a project and read what it says");
            Check::bad(Some(host), "server", format!("{command} {failure}"), fix)
        }
    }
}

fn tools(
    program: &str,
    arguments: &[String],
    places: &Places,
    probing: &Probing,
) -> Result<(String, usize), Failure> {
    let mut server = Conversation::start(program.as_ref(), arguments, &places.project, probing)?;
    let client = json!({"name": "meshctl-doctor", "version": env!("CARGO_PKG_VERSION")});
    let hello = json!({"protocolVersion": REVISION, "capabilities": {}, "clientInfo": client});
    let hello = server.ask(1, "initialize", &hello)?;
    server.tell("notifications/initialized", &json!({}))?;
    let listed = server.ask(2, "tools/list", &json!({}))?;
    let version = hello["serverInfo"]["version"].as_str().unwrap_or("unknown").to_owned();
    Ok((version, listed["tools"].as_array().map_or(0, Vec::len)))
}

/// What the host itself says, where it can be asked without a session.
pub(super) fn own(host: Host, places: &Places, registered: &Registered, probing: &Probing) -> Option<Check> {
    let program = host.programs().iter().find_map(|name| places.program(name))?;
    match host {
        Host::ClaudeCode => Some(claude(program.as_os_str(), registered, places, probing)),
        Host::Codex if !registered.hooks.is_empty() => Some(codex(program.as_os_str(), places, probing)),
        Host::Codex
        | Host::Cursor
        | Host::Gemini
        | Host::Opencode
        | Host::Vscode
        | Host::Copilot
        | Host::Windsurf
        | Host::Goose
        | Host::Zed => None,
    }
}

/// Claude Code starts its servers and says how they are.
fn claude(program: &OsStr, registered: &Registered, places: &Places, probing: &Probing) -> Check {
    const WHAT: &str = "claude mcp list";
    let host = Some(Host::ClaudeCode);
    let mut command = Command::new(program);
    command.args(["mcp", "list"]).current_dir(&places.project).envs(probing.variables.iter().cloned());
    // It starts every server, and waits for each.
    let output = match run(&mut command, b"", probing.patience * 3) {
        Ok(ended) => ended.out,
        Err(why) => return Check::open(host, WHAT, why, None),
    };
    let server = registered.server.as_deref().unwrap_or_default().join(" ");
    let line = output.lines().find(|line| line.contains(&server));
    match line.map(str::trim) {
        None => Check::bad(
            host,
            WHAT,
            "does not show the mesh",
            "/reload-plugins in a session, or start a new one",
        ),
        Some(line) if line.contains("Connected") => Check::good(host, WHAT, line),
        Some(line) if line.contains("Pending") => {
            Check::bad(host, WHAT, line, "start claude in the project and choose to use the server")
        }
        Some(line) => Check::bad(host, WHAT, line, "claude --debug mcp tells more"),
    }
}

/// Codex runs no hook that its owner has not reviewed.
fn codex(program: &OsStr, places: &Places, probing: &Probing) -> Check {
    const WHAT: &str = "hooks reviewed";
    let host = Some(Host::Codex);
    match codex_hooks(program, places, probing) {
        Err(failure) => Check::open(host, WHAT, format!("codex app-server {failure}"), None),
        Ok((ours, trusted)) if ours == trusted && ours > 0 => {
            Check::good(host, WHAT, format!("all {ours} are trusted"))
        }
        Ok((0, _)) => Check::bad(
            host,
            WHAT,
            "Codex does not see them",
            "trust the project, or set features.hooks = true",
        ),
        Ok((ours, trusted)) => {
            let found = format!("{trusted} of {ours} are trusted; Codex passes over the others");
            Check::bad(host, WHAT, found, "type /hooks in a Codex session and trust those of meshctl")
        }
    }
}

/// How many hooks of ours Codex knows, and how many it runs.
fn codex_hooks(program: &OsStr, places: &Places, probing: &Probing) -> Result<(usize, usize), Failure> {
    let mut server = Conversation::start(program, &["app-server".to_owned()], &places.project, probing)?;
    let client = json!({"name": "meshctl-doctor", "version": env!("CARGO_PKG_VERSION")});
    server.ask(1, "initialize", &json!({"clientInfo": client}))?;
    server.tell("initialized", &json!({}))?;
    let listed = server.ask(2, "hooks/list", &json!({"cwds": [places.project]}))?;
    let hooks =
        listed["data"].as_array().into_iter().flatten().filter_map(|of| of["hooks"].as_array()).flatten();
    let ours = hooks.filter(|hook| hook["command"].as_str().is_some_and(|line| line.contains(" hook codex")));
    let runs = |hook: &&serde_json::Value| {
        hook["enabled"] == true && (hook["isManaged"] == true || hook["trustStatus"] == "trusted")
    };
    let ours: Vec<_> = ours.collect();
    Ok((ours.len(), ours.iter().filter(|hook| runs(hook)).count()))
}
