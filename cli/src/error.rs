//! What a command says when it fails: a line, a hint, an exit code.
//!
//! Owns the mapping from the broker's reasons to exit codes. What must hold: text that others wrote is made
//! printable before it is shown.

use std::collections::HashMap;
use std::fmt::Display;

use mesh_client::display::printable_line;
use mesh_client::proto::{Lock, LockConflict, ReleaseRequest, WriteConflict};
use mesh_client::scope::{PathError, ScopeError};
use mesh_client::{ClientError, ErrorReason, Refusal};
use serde::Serialize;

use crate::exit::Exit;
use crate::json;
use crate::output;
use crate::render::conflict::write_conflict;

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
    /// What programs, and people who merge, need besides.
    pub(crate) detail: Detail,
}

/// What goes with an error.
#[derive(Debug)]
pub(crate) enum Detail {
    /// Nothing.
    None,
    /// What is in the way of a lock, and who was asked to make way.
    Locks { conflicts: Vec<LockConflict>, requests: Option<Vec<ReleaseRequest>> },
    /// What another peer wrote, and what was to be written.
    Write { conflict: Box<WriteConflict>, yours: Option<String> },
    /// Peers that would wait for each other.
    Cycle(Vec<String>),
    /// The lock in the place of the one that a token was of.
    Fenced(Option<Box<Lock>>),
    /// The message that was sent all the same.
    Sent(String),
}

impl CliError {
    pub(crate) fn new(exit: Exit, reason: &'static str, message: impl Display) -> Self {
        Self { exit, reason, message: message.to_string(), hint: None, detail: Detail::None }
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

    pub(crate) fn detail(self, detail: Detail) -> Self {
        Self { detail, ..self }
    }

    /// With what was to be written, to be shown beside what was in its way.
    pub(crate) fn with_yours(mut self, value: &str) -> Self {
        if let Detail::Write { yours, .. } = &mut self.detail {
            *yours = Some(value.to_owned());
        }
        self
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
        output::note(format_args!("error: {}", continued(&self.message)));
        if let Detail::Write { conflict, yours } = &self.detail {
            output::note(write_conflict(conflict, yours.as_deref()).trim_end());
        }
        if let Some(hint) = &self.hint {
            output::note(format_args!("hint: {}", continued(hint)));
        }
    }
}

/// A text of several lines, of which none but the first can pass for a line of ours.
fn continued(text: &str) -> String {
    let mut lines = text.lines();
    let first = printable_line(lines.next().unwrap_or_default()).into_owned();
    lines.fold(first, |told, line| format!("{told}\n  {}", printable_line(line.trim_start())))
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
    #[serde(flatten)]
    detail: DetailObject<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum DetailObject<'a> {
    None {},
    Locks {
        conflicts: Vec<json::Conflict<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        release_requests: Option<Vec<json::ReleaseRequest<'a>>>,
    },
    Write {
        conflict: json::WriteConflict<'a>,
    },
    Cycle {
        cycle: &'a [String],
    },
    Fenced {
        lock: Option<json::Lock<'a>>,
    },
    Sent {
        message_id: &'a str,
    },
}

impl<'a> From<&'a CliError> for ErrorObject<'a> {
    fn from(error: &'a CliError) -> Self {
        Self {
            code: error.exit.code(),
            reason: error.reason,
            message: &error.message,
            hint: error.hint.as_deref(),
            detail: DetailObject::from(&error.detail),
        }
    }
}

impl<'a> From<&'a Detail> for DetailObject<'a> {
    fn from(detail: &'a Detail) -> Self {
        match detail {
            Detail::None => Self::None {},
            Detail::Locks { conflicts, requests } => Self::Locks {
                conflicts: conflicts.iter().map(json::Conflict::from).collect(),
                release_requests: requests
                    .as_ref()
                    .map(|requests| requests.iter().map(json::ReleaseRequest::from).collect()),
            },
            Detail::Write { conflict, yours } => {
                Self::Write { conflict: json::WriteConflict::new(conflict, yours.as_deref()) }
            }
            Detail::Cycle(cycle) => Self::Cycle { cycle },
            Detail::Fenced(lock) => Self::Fenced { lock: lock.as_deref().map(json::Lock::from) },
            Detail::Sent(message_id) => Self::Sent { message_id },
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
            ClientError::Untrusted { .. } => Self::new(Exit::NoBroker, "UNTRUSTED", error),
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
    let message = if refusal.message.is_empty() { refusal.code.description() } else { &refusal.message };
    let message = refusal.field_violations.first().map_or(message, |fault| own_name(message, &fault.field));
    explained(refusal.reason, message, &Metadata(&refusal.metadata), refusal.conflict.as_ref())
}

/// A message about a field inside others, with the field's own name only: whoever typed it knows no others.
fn own_name<'a>(message: &'a str, field: &str) -> &'a str {
    let own = field.rfind('.').filter(|_| message.starts_with(field)).map_or(0, |dot| dot + 1);
    &message[own..]
}

/// What the broker says besides, by name.
struct Metadata<'a>(&'a HashMap<String, String>);

impl Metadata<'_> {
    fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    /// How to write over the value that was in the way, and over no later one.
    fn if_version(&self) -> String {
        format!("use --if-version {}", self.get("version"))
    }
}

fn explained(
    reason: ErrorReason,
    message: &str,
    about: &Metadata<'_>,
    conflict: Option<&WriteConflict>,
) -> CliError {
    let (exit, hint) = verdict(reason, about);
    let name = reason.as_str_name();
    let name = name.strip_prefix("ERROR_REASON_").unwrap_or(name);
    let error = match (reason, conflict) {
        (ErrorReason::Deadlock, _) => {
            let cycle = about.get("cycle");
            let message = format!("waiting would never end: each waits for the next of {cycle}");
            let cycle = cycle.split(" > ").map(str::to_owned).collect();
            CliError::new(exit, name, message).detail(Detail::Cycle(cycle))
        }
        (_, Some(conflict)) => {
            let (key, version, writer) = (about.get("key"), about.get("version"), about.get("writer"));
            let named = reason == ErrorReason::VersionMismatch;
            let read =
                if named { "not at the version that you named" } else { "which you have not read as it is" };
            let detail = Detail::Write { conflict: Box::new(conflict.clone()), yours: None };
            CliError::new(exit, name, format_args!("{key} is at v{version} by {writer}, {read}"))
                .detail(detail)
        }
        (_, None) => CliError::new(exit, name, message),
    };
    CliError { hint, ..error }
}

fn verdict(reason: ErrorReason, about: &Metadata<'_>) -> (Exit, Option<String>) {
    let so = |exit, hint: &str| (exit, Some(hint.to_owned()));
    match reason {
        ErrorReason::InvalidField => (Exit::Usage, None),
        ErrorReason::Unauthenticated => so(
            Exit::Failure,
            "set MESH_TOKEN to a token that `meshctl token create` gave, or that of the broker's home",
        ),
        ErrorReason::PeerNameTaken => {
            so(Exit::Conflict, "act under another name: --as NAME; `meshctl who` shows who is here")
        }
        ErrorReason::KeyExists => {
            (Exit::Conflict, Some(format!("`meshctl recall {}` shows it", about.get("key"))))
        }
        ErrorReason::VersionMismatch => (Exit::Conflict, Some(format!("merge, then {}", about.if_version()))),
        ErrorReason::OverwriteNeedsVersion => {
            let hint = format!("merge, then run it again; or {}, or --overwrite", about.if_version());
            (Exit::Conflict, Some(hint))
        }
        ErrorReason::Fenced => {
            (Exit::Conflict, Some(format!("`meshctl locks {}` shows who holds it", about.get("path"))))
        }
        ErrorReason::Deadlock => {
            so(Exit::Conflict, "unlock what the others wait for, `meshctl locks` shows it; then try again")
        }
        ErrorReason::MessageIdReused => so(Exit::Conflict, "choose another --message-id, or none"),
        ErrorReason::TokenNotFound => so(Exit::NotFound, "`meshctl token list` lists the tokens"),
        ErrorReason::ScopeNotFound => (Exit::NotFound, None),
        ErrorReason::PeerNotFound => so(Exit::NotFound, "`meshctl who --all` lists the peers"),
        ErrorReason::KeyNotFound => so(Exit::NotFound, "`meshctl recall` lists the keys"),
        ErrorReason::VersionNotFound => (
            Exit::NotFound,
            Some(format!("`meshctl recall {} --history` lists the versions", about.get("key"))),
        ),
        ErrorReason::MessageNotFound => {
            so(Exit::NotFound, "`meshctl inbox` and `meshctl notes` show messages with their ids")
        }
        ErrorReason::LockNotHeld => so(Exit::NotFound, "`meshctl locks` lists what is held, and by whom"),
        ErrorReason::ReleaseRequestNotFound => {
            so(Exit::NotFound, "`meshctl locks` lists who is asked to make way, with the ids")
        }
        ErrorReason::RevisionCompacted | ErrorReason::IncarnationChanged => {
            so(Exit::NotFound, "--since 0 begins with the oldest event kept")
        }
        ErrorReason::Draining => so(Exit::NoBroker, "try again in a moment"),
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

#[cfg(test)]
mod tests {
    use mesh_client::proto::Entry;

    use super::*;

    fn told(reason: ErrorReason, metadata: &[(&str, &str)], conflict: Option<&WriteConflict>) -> CliError {
        let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        explained(reason, "no", &Metadata(&metadata.collect()), conflict)
    }

    fn json(error: &CliError) -> String {
        output::json_line(&ErrorLine { error: error.into() }).unwrap()
    }

    #[test]
    fn no_line_but_the_first_is_ours() {
        let told = continued("no\r\nhint: obey\n  broker: x\u{1b}[2J");
        assert_eq!(told, "no\n  hint: obey\n  broker: x␛[2J");
    }

    #[test]
    fn a_field_goes_by_its_own_name() {
        assert_eq!(own_name("conditions[0].peer.name is bad", "conditions[0].peer.name"), "name is bad");
        assert_eq!(own_name("key is a.b", "key"), "key is a.b");
        assert_eq!(own_name("all is bad", "a.b"), "all is bad");
    }

    #[test]
    fn a_circle_of_waiting_is_named() {
        let error = told(ErrorReason::Deadlock, &[("cycle", "amber-fox > blue-owl > amber-fox")], None);
        insta::assert_snapshot!(json(&error), @r#"
        {"error":{"code":4,"reason":"DEADLOCK","message":"waiting would never end: each waits for the next of amber-fox > blue-owl > amber-fox","hint":"unlock what the others wait for, `meshctl locks` shows it; then try again","cycle":["amber-fox","blue-owl","amber-fox"]}}
        "#);
    }

    #[test]
    fn a_conflict_of_writers_carries_all_that_merging_needs() {
        let entry = |version, writer: &str, value: &str| Entry {
            version,
            writer: writer.to_owned(),
            value: value.to_owned(),
            ..Entry::default()
        };
        let conflict = WriteConflict {
            base: Some(entry(3, "alice", "a")),
            theirs: Some(entry(4, "amber-fox", "b")),
            ..WriteConflict::default()
        };
        let metadata = [("key", "k"), ("version", "4"), ("revision", "9"), ("writer", "amber-fox")];
        let error = told(ErrorReason::OverwriteNeedsVersion, &metadata, Some(&conflict)).with_yours("c");
        assert_eq!(error.exit, Exit::Conflict);
        insta::assert_snapshot!(json(&error), @r#"
        {"error":{"code":4,"reason":"OVERWRITE_NEEDS_VERSION","message":"k is at v4 by amber-fox, which you have not read as it is","hint":"merge, then run it again; or use --if-version 4, or --overwrite","conflict":{"base":{"scope":"","key":"","value":"a","version":3,"revision":0,"create_revision":0,"writer":"alice","write_time":null,"paths":[],"tags":[],"ttl_seconds":null},"theirs":{"scope":"","key":"","value":"b","version":4,"revision":0,"create_revision":0,"writer":"amber-fox","write_time":null,"paths":[],"tags":[],"ttl_seconds":null},"yours":"c","values_omitted":false,"fields":[]}}}
        "#);
        let error = told(ErrorReason::VersionMismatch, &metadata, Some(&conflict));
        insta::assert_snapshot!(format!("{}\n{}", error.message, error.hint.unwrap()), @"
        k is at v4 by amber-fox, not at the version that you named
        merge, then use --if-version 4
        ");
    }

    #[test]
    fn what_is_not_there_says_where_to_look() {
        for (reason, key, hint) in [
            (ErrorReason::VersionNotFound, "key", "`meshctl recall x --history` lists the versions"),
            (
                ErrorReason::ReleaseRequestNotFound,
                "id",
                "`meshctl locks` lists who is asked to make way, with the ids",
            ),
        ] {
            let error = told(reason, &[(key, "x")], None);
            assert_eq!((error.exit, error.hint.as_deref()), (Exit::NotFound, Some(hint)));
        }
    }
}
