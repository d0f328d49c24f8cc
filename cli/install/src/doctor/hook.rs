//! Firing a host's hooks: a session that begins, is about to edit a file in a repository of its own, and ends.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::payload::{Moment, event, payload};
use super::run::run;
use super::{Check, Probing};
use crate::host::Host;

const WHAT: &str = "hooks";

/// Fires the hooks that a host has.
pub(super) fn fire(host: Host, hooks: &[(String, String)], install: &str, probing: &Probing) -> Check {
    if hooks.is_empty() {
        let fix = Some(format!("`{install}`, if you want locks and news without asking for them"));
        return Check::open(Some(host), WHAT, "none are registered", fix);
    }
    let failed = |found: String, fix: String| Check::bad(Some(host), WHAT, found, fix);
    let repository = match repository() {
        Ok(repository) => repository,
        Err(error) => {
            return Check::open(Some(host), WHAT, format!("cannot make a repository: {error}"), None);
        }
    };
    let session = format!("doctor-{}", std::process::id());
    let (mut fired, mut slowest) = (Vec::new(), Duration::ZERO);
    for moment in [Moment::Start, Moment::Edit, Moment::End] {
        let Some(event) = event(host, moment) else { continue };
        let Some(line) = line_of(hooks, event) else {
            return failed(format!("none for {event}"), format!("{install} renews them"));
        };
        let payload = payload(host, moment, &session, repository.path());
        match answer(line, &payload, repository.path(), probing) {
            Err(found) => {
                let fix = format!("make `{line}` run; `{install}` registers the meshctl that runs it");
                return failed(format!("{event}: {found}"), fix);
            }
            Ok(took) => slowest = slowest.max(took),
        }
        fired.push(event);
    }
    let found =
        format!("{} fired and were answered, the slowest in {} ms", fired.join(", "), slowest.as_millis());
    Check::good(Some(host), WHAT, found)
}

/// opencode's plugin calls one line for all.
fn line_of<'a>(hooks: &'a [(String, String)], event: &str) -> Option<&'a str> {
    let fits = |(of, line): &&(String, String)| {
        (of == event || of == "plugin") && !line.ends_with(" wait") && !line.ends_with(" monitor")
    };
    hooks.iter().find(fits).map(|(_, line)| line.as_str())
}

fn repository() -> std::io::Result<tempfile::TempDir> {
    let directory = tempfile::Builder::new().prefix("mesh-doctor-").tempdir()?;
    fs::write(directory.path().join("a.txt"), "a\n")?;
    let made = Command::new("git").args(["init", "--quiet"]).current_dir(directory.path()).status()?;
    if made.success() { Ok(directory) } else { Err(std::io::Error::other("git init failed")) }
}

/// Runs a line as hosts do, and says how long it took or what is wrong with its answer.
fn answer(line: &str, payload: &Value, directory: &Path, probing: &Probing) -> Result<Duration, String> {
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(directory).envs(probing.variables.iter().cloned());
    command.env_remove("COPILOT_CLI").env_remove("MESH_HOOKS");
    let ended = run(&mut command, payload.to_string().as_bytes(), probing.patience)?;
    judge(ended.code, &ended.out, &ended.err).map(|()| ended.took)
}

fn judge(code: Option<i32>, out: &str, err: &str) -> Result<(), String> {
    let said = err.lines().next().unwrap_or_default();
    if code != Some(0) {
        let code = code.map_or("a signal".to_owned(), |code| format!("code {code}"));
        return Err(format!("ended with {code}: {said}"));
    }
    // It fails open, and says why.
    if !said.is_empty() {
        return Err(said.to_owned());
    }
    let out = out.trim();
    if out.is_empty() || serde_json::from_str::<Value>(out).is_ok_and(|answer| answer.is_object()) {
        return Ok(());
    }
    Err(format!("answered with what is no JSON object: {}", out.lines().next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_nothing_or_an_object() {
        assert_eq!(judge(Some(0), "", ""), Ok(()));
        assert_eq!(judge(Some(0), "{\"a\": 1}\n", ""), Ok(()));
        for (code, out, err, found) in [
            (Some(0), "hello", "", "no JSON object"),
            (Some(0), "[]", "", "no JSON object"),
            (Some(0), "", "mesh: the broker is away\n", "the broker is away"),
            (Some(2), "", "unknown command", "code 2: unknown command"),
            (None, "", "", "a signal"),
        ] {
            let error = judge(code, out, err).unwrap_err();
            assert!(error.contains(found), "{error}");
        }
    }
}
