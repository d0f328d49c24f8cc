//! What can go wrong for a user of the SDK, and the one next step.
//!
//! Owns the decoding of gRPC statuses: a refusal by the broker (`google.rpc.ErrorInfo` of domain `mesh.v1`)
//! is told apart from a failure of the way to it, since only the latter may be repeated blindly.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::proto::{ErrorReason, WriteConflict};

/// Why a call, a stream or a configuration failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The broker answered, and the answer is no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The broker did not answer.
    #[error(
        "cannot reach the broker at {endpoint}: {cause}; see whether it runs (`meshctl status`) and try again"
    )]
    Unreachable {
        /// Where it should be.
        endpoint: String,
        /// What the operating system or the transport said.
        cause: String,
    },
    /// What listens there does not prove to be the broker that is trusted.
    #[error("the broker at {endpoint} is not trusted: {cause}")]
    Untrusted {
        /// Where it should be.
        endpoint: String,
        /// What is wrong with its certificate, and the remedy.
        cause: String,
    },
    /// The broker was not running, and starting it failed.
    #[error("cannot start the broker: {cause}; see {log}{}", indented(.log_tail))]
    Start {
        /// What failed.
        cause: String,
        /// Path of the broker's log.
        log: String,
        /// What the start wrote to the log: its last lines, raw.
        log_tail: String,
    },
    /// The environment or an argument makes no sense; the text names the remedy.
    #[error("{0}")]
    Config(String),
    /// The broker sent what the contract excludes, a gap in a stream for example.
    #[error(
        "the broker broke the protocol: {0}; compare the versions of client and broker (`meshctl status`)"
    )]
    Protocol(String),
    /// The session was left; it takes no more calls.
    #[error("this session has left the mesh; join again")]
    SessionLeft,
}

/// A refusal by the broker, decoded from the gRPC status and its rich details.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The gRPC code.
    pub code: Code,
    /// Why, for programs; `Unspecified` when the broker gave none that this version knows.
    pub reason: ErrorReason,
    /// Why and what to do next, for people.
    pub message: String,
    /// What a program needs to go on; keys as documented with each reason.
    pub metadata: HashMap<String, String>,
    /// Fields at fault, when the request was malformed.
    pub field_violations: Vec<FieldViolation>,
    /// When to try again, when the broker said so.
    pub retry_after: Option<Duration>,
    /// What is needed to merge, when a write was refused because of another's.
    pub conflict: Option<WriteConflict>,
}

/// A field of the request that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field, such as `paths[2]`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl ClientError {
    /// The broker's reason, when it refused with one.
    pub fn reason(&self) -> Option<ErrorReason> {
        self.refusal().map(|refusal| refusal.reason).filter(|reason| *reason != ErrorReason::Unspecified)
    }

    /// The refusal, when the broker refused.
    pub fn refusal(&self) -> Option<&Refusal> {
        if let Self::Refused(refusal) = self { Some(refusal) } else { None }
    }

    /// Whether the same call may succeed if repeated unchanged a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Start { .. } => true,
            Self::Refused(refusal) => refusal.is_transient(),
            Self::Untrusted { .. } | Self::Config(_) | Self::Protocol(_) | Self::SessionLeft => false,
        }
    }

    pub(crate) fn config(text: impl Into<String>) -> Self {
        Self::Config(text.into())
    }

    pub(crate) fn unreachable(endpoint: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::Unreachable { endpoint: endpoint.to_string(), cause: cause.to_string() }
    }

    /// Decodes the status of a call to `endpoint`.
    pub(crate) fn from_status(status: &Status, endpoint: &str) -> Self {
        if let Some(error) = connect_failure(status) {
            return error.clone();
        }
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == mesh_proto::ERROR_DOMAIN);
        if info.is_none() && is_transport(status) {
            return Self::unreachable(endpoint, root_cause(status));
        }
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        Self::Refused(Box::new(Refusal {
            code: status.code(),
            reason: info.and_then(|info| reason_named(&info.reason)).unwrap_or(ErrorReason::Unspecified),
            message: status.message().to_owned(),
            metadata: info.map(|info| info.metadata.clone()).unwrap_or_default(),
            field_violations: violations
                .iter()
                .map(|v| FieldViolation { field: v.field.clone(), description: v.description.clone() })
                .collect(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
            conflict: write_conflict(status),
        }))
    }
}

impl Refusal {
    /// UNAVAILABLE may be repeated blindly, and so may what tells when to: a rate, met before anything was done.
    fn is_transient(&self) -> bool {
        self.code == Code::Unavailable
            || self.reason == ErrorReason::Overloaded
            || (self.reason == ErrorReason::LimitReached && self.retry_after.is_some())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            write!(f, "the broker refused: {}", self.code.description())?;
        } else {
            f.write_str(&self.message)?;
        }
        for violation in &self.field_violations {
            write!(f, "\n  {}: {}", violation.field, violation.description)?;
        }
        Ok(())
    }
}

/// The connector's own error, if the status comes from a failed connect.
fn connect_failure(status: &Status) -> Option<&ClientError> {
    causes(status).find_map(|error| error.downcast_ref::<ClientError>())
}

/// Whether the status was made by the transport, not sent by a broker (which always names a reason).
///
/// A connection that breaks under a call shows as Unknown, Internal or Cancelled with the cause attached, or,
/// when the stream just ends, as Unknown without any details.
fn is_transport(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => status.details().is_empty(),
        Code::Unknown => status.source().is_some() || status.details().is_empty(),
        Code::Internal | Code::Cancelled => status.source().is_some(),
        Code::Ok
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

/// The innermost cause: the outer ones only say "transport error".
fn root_cause(status: &Status) -> String {
    causes(status).last().map_or_else(|| status.message().to_owned(), ToString::to_string)
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |error| (**error).source())
}

/// The contract's own detail, which the library for the standard ones does not know.
fn write_conflict(status: &Status) -> Option<WriteConflict> {
    let details = tonic_types::Status::decode(status.details()).ok()?.details;
    let conflict = details.into_iter().find(|detail| detail.type_url == mesh_proto::WRITE_CONFLICT_TYPE)?;
    WriteConflict::decode(conflict.value.as_slice()).ok()
}

fn reason_named(reason: &str) -> Option<ErrorReason> {
    ErrorReason::from_str_name(&format!("ERROR_REASON_{reason}"))
}

fn indented(lines: &str) -> String {
    lines.lines().map(|line| format!("\n  {line}")).collect()
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;
    use crate::proto::Entry;

    fn decode(status: &Status) -> ClientError {
        ClientError::from_status(status, "unix:///run/mesh.sock")
    }

    #[test]
    fn a_refusal_carries_reason_metadata_and_fields() {
        let mut details = ErrorDetails::with_error_info(
            "INVALID_FIELD",
            mesh_proto::ERROR_DOMAIN,
            HashMap::from([("key".to_owned(), "value".to_owned())]),
        );
        details.add_bad_request_violation("paths[2]", "is empty");
        details.set_retry_info(Some(Duration::from_millis(250)));
        let error =
            decode(&Status::with_error_details(Code::InvalidArgument, "paths: one is empty", details));
        assert_eq!(error.reason(), Some(ErrorReason::InvalidField));
        let refusal = error.refusal().unwrap();
        assert_eq!(refusal.metadata["key"], "value");
        assert_eq!(refusal.retry_after, Some(Duration::from_millis(250)));
        assert_eq!(refusal.field_violations[0].field, "paths[2]");
        assert_eq!(error.to_string(), "paths: one is empty\n  paths[2]: is empty");
        assert!(!error.is_transient());
    }

    #[test]
    fn a_rate_is_waited_for_and_another_limit_is_not() {
        let mut details = ErrorDetails::with_error_info("LIMIT_REACHED", mesh_proto::ERROR_DOMAIN, []);
        let status = |details| Status::with_error_details(Code::ResourceExhausted, "too many", details);
        assert!(!decode(&status(details.clone())).is_transient());
        details.set_retry_info(Some(Duration::from_millis(250)));
        assert!(decode(&status(details)).is_transient());
    }

    #[test]
    fn a_conflict_comes_with_what_is_needed_to_merge() {
        let theirs = Entry { key: "plan".into(), value: "tabs".into(), version: 4, ..Entry::default() };
        let conflict = WriteConflict {
            theirs: Some(theirs),
            fields: vec!["/indent".into()],
            ..WriteConflict::default()
        };
        let info = ErrorDetails::with_error_info("OVERWRITE_NEEDS_VERSION", mesh_proto::ERROR_DOMAIN, []);
        let plain = Status::with_error_details(Code::FailedPrecondition, "merge", info);
        assert_eq!(decode(&plain).refusal().unwrap().conflict, None);
        let mut details = tonic_types::Status::decode(plain.details()).unwrap();
        let value = conflict.encode_to_vec();
        details.details.push(prost_types::Any { type_url: mesh_proto::WRITE_CONFLICT_TYPE.into(), value });
        let status = Status::with_details(Code::FailedPrecondition, "merge", details.encode_to_vec().into());
        let error = decode(&status);
        assert_eq!(error.reason(), Some(ErrorReason::OverwriteNeedsVersion));
        assert_eq!(error.refusal().unwrap().conflict, Some(conflict));
    }

    #[test]
    fn draining_and_overloaded_are_transient() {
        for (code, reason) in [(Code::Unavailable, "DRAINING"), (Code::ResourceExhausted, "OVERLOADED")] {
            let details = ErrorDetails::with_error_info(reason, mesh_proto::ERROR_DOMAIN, HashMap::new());
            let error = decode(&Status::with_error_details(code, "later", details));
            assert!(error.refusal().is_some() && error.is_transient(), "{reason}");
        }
    }

    #[test]
    fn an_unknown_reason_is_still_a_refusal() {
        let details =
            ErrorDetails::with_error_info("FROM_THE_FUTURE", mesh_proto::ERROR_DOMAIN, HashMap::new());
        let error = decode(&Status::with_error_details(Code::NotFound, "no", details));
        assert_eq!(error.reason(), None);
        assert_eq!(error.refusal().unwrap().code, Code::NotFound);
    }

    #[test]
    fn a_broken_connection_is_unreachable() {
        let broken = Status::from_error(Box::new(std::io::Error::other("broken pipe")));
        assert!(matches!(decode(&broken), ClientError::Unreachable { cause, .. } if cause == "broken pipe"));
        assert!(matches!(decode(&Status::unavailable("gone")), ClientError::Unreachable { .. }));
        assert!(matches!(decode(&Status::unknown("no trailers")), ClientError::Unreachable { .. }));
        assert!(matches!(decode(&Status::internal("a bug")), ClientError::Refused(_)));
        assert!(matches!(decode(&Status::unimplemented("older broker")), ClientError::Refused(_)));
    }

    #[test]
    fn the_connectors_error_survives_the_transport() {
        let start = ClientError::Start { cause: "no".into(), log: "/l".into(), log_tail: "a\nb".into() };
        let error = decode(&Status::from_error(Box::new(start)));
        assert_eq!(error.to_string(), "cannot start the broker: no; see /l\n  a\n  b");
    }
}
