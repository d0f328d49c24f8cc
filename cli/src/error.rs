//! What a command says when it fails: a line, a hint, an exit code.
//!
//! Owns the mapping from the broker's reasons to exit codes. What must hold: text that others wrote is made
//! printable before it is shown.

use std::fmt::Display;

use mesh_client::display::printable;
use mesh_client::proto::LockConflict;
use mesh_client::scope::{PathError, ScopeError};
use mesh_client::{ClientError, ErrorReason, Refusal};
use serde::Serialize;

use crate::exit::Exit;
use crate::json;
use crate::output;

/// Why a command ends without having done what was asked.
#[derive(Debug)]
pub(crate) struct CliError {
    /// The exit code; [`Exit::Ok`] when there is nothing to report.
    pub(crate) exit: Exit,
    /// For programs: the broker's reason, or one of this program's own.
    pub(crate) reason: &'static str,
    /// What happened.
    pub(crate) message: String,
    /// The next step.
    pub(crate) hint: Option<String>,
    /// The locks in the way, if that is why.
    pub(crate) conflicts: Vec<LockConflict>,
}

impl CliError {
    pub(crate) fn new(exit: Exit, reason: &'static str, message: impl Display) -> Self {
        Self { exit, reason, message: message.to_string(), hint: None, conflicts: Vec::new() }
    }

    /// Anything that has no code of its own.
    pub(crate) fn failure(message: impl Display) -> Self {
        Self::new(Exit::Failure, "FAILURE", message)
    }

    /// The arguments or the environment make no sense.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(Exit::Usage, "USAGE", message)
    }

    /// Whoever read the output is gone: the end, but not a failure.
    pub(crate) fn reader_gone() -> Self {
        Self::new(Exit::Ok, "READER_GONE", "")
    }

    pub(crate) fn hint(self, hint: impl Display) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }

    /// Tells about it on stderr.
    pub(crate) fn report(&self, json: bool) {
        if self.exit == Exit::Ok {
            return;
        }
        if json {
            // Strings and numbers: serializing them cannot fail.
            let line = output::json_line(&ErrorLine { error: self.into() }).unwrap_or_default();
            return output::note(line.trim_end());
        }
        output::note(format_args!("error: {}", printable(&self.message)));
        if let Some(hint) = &self.hint {
            output::note(format_args!("hint: {}", printable(hint)));
        }
    }
}

#[derive(Serialize)]
struct ErrorLine<'a> {
    error: ErrorObject<'a>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    code: u8,
    reason: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conflicts: Vec<json::Conflict<'a>>,
}

impl<'a> From<&'a CliError> for ErrorObject<'a> {
    fn from(error: &'a CliError) -> Self {
        Self {
            code: error.exit.code(),
            reason: error.reason,
            message: &error.message,
            hint: error.hint.as_deref(),
            conflicts: error.conflicts.iter().map(json::Conflict::from).collect(),
        }
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(refusal) => refused(&refusal),
            ClientError::Unreachable { endpoint, cause } => {
                let message = format!("cannot reach the broker at {endpoint}: {cause}");
                Self::new(Exit::NoBroker, "UNREACHABLE", message)
                    .hint("`meshctl status` tells whether it runs")
            }
            ClientError::Start { cause, log, log_tail } => {
                let tail: String = log_tail.lines().map(|line| format!("\n  {line}")).collect();
                let message = format!("cannot start the broker: {cause}{tail}");
                Self::new(Exit::NoBroker, "START_FAILED", message).hint(format!("its log is {log}"))
            }
            ClientError::Config(text) => Self::usage(text),
            other @ (ClientError::Protocol(_) | ClientError::SessionLeft | _) => Self::failure(other),
        }
    }
}

impl From<ScopeError> for CliError {
    fn from(error: ScopeError) -> Self {
        Self::usage(error)
    }
}

impl From<PathError> for CliError {
    fn from(error: PathError) -> Self {
        Self::usage(error)
    }
}

/// The broker's message says what to do in terms of the protocol; the hint says it in terms of this program.
fn refused(refusal: &Refusal) -> CliError {
    let (exit, hint) = verdict(refusal);
    let reason = refusal.reason.as_str_name();
    let reason = reason.strip_prefix("ERROR_REASON_").unwrap_or(reason);
    let message = if refusal.message.is_empty() { refusal.code.description() } else { &refusal.message };
    CliError { hint, ..CliError::new(exit, reason, message) }
}

fn verdict(refusal: &Refusal) -> (Exit, Option<String>) {
    let about = |key: &str| refusal.metadata.get(key).map_or("", String::as_str);
    match refusal.reason {
        ErrorReason::InvalidField => (Exit::Usage, None),
        ErrorReason::Unauthenticated => (
            Exit::Failure,
            Some("set MESH_TOKEN to the broker's token (the file `token` in its home)".into()),
        ),
        ErrorReason::PeerNameTaken => (
            Exit::Conflict,
            Some("act under another name: --as NAME; `meshctl who` shows who is here".into()),
        ),
        ErrorReason::KeyExists => {
            (Exit::Conflict, Some(format!("`meshctl recall {}` shows it", about("key"))))
        }
        ErrorReason::VersionMismatch => (
            Exit::Conflict,
            Some(format!(
                "`meshctl recall {}` shows what {} wrote; merge, then use --if-version {}",
                about("key"),
                about("writer"),
                about("version")
            )),
        ),
        ErrorReason::PeerNotFound => (Exit::NotFound, Some("`meshctl who --all` lists the peers".into())),
        ErrorReason::KeyNotFound => (Exit::NotFound, Some("`meshctl recall` lists the keys".into())),
        ErrorReason::LockNotHeld => {
            (Exit::NotFound, Some("`meshctl locks` lists what is held, and by whom".into()))
        }
        ErrorReason::RevisionCompacted | ErrorReason::IncarnationChanged => {
            (Exit::NotFound, Some("--since 0 begins with the oldest event kept".into()))
        }
        ErrorReason::Draining => (Exit::NoBroker, Some("try again in a moment".into())),
        ErrorReason::Unspecified
        | ErrorReason::RequestIdReused
        | ErrorReason::PermissionDenied
        | ErrorReason::SessionRequired
        | ErrorReason::SessionExpired
        | ErrorReason::InboxFull
        | ErrorReason::LimitReached
        | ErrorReason::Overloaded
        | ErrorReason::Corrupt => (Exit::Failure, None),
    }
}
