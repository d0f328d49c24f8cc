//! Every refusal as a gRPC status: the one place where errors meet the wire.
//!
//! What must hold: a status carries `google.rpc.ErrorInfo` with the contract's reason, domain and metadata, its
//! code is the one that the contract gives that reason, and its message says the next step.

use std::collections::HashMap;
use std::time::Duration;

use mesh_core::Rejection;
use mesh_core::event::LeaveCause;
use mesh_core::rejection::{WriteConflict, circle};
use mesh_core::revision::Revision;
use mesh_proto::ERROR_DOMAIN;
use mesh_proto::v1::ErrorReason;
use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use uuid::Uuid;

use crate::events::ReadError;
use crate::queue::CallError;
use crate::store::StoreError;

/// When to try again after UNAVAILABLE or an overload.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// Why a call gets no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The answer is no.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Too many requests wait for the disk.
    #[error("too many requests wait for the disk; retry in a moment")]
    Overloaded,
    /// The broker is shutting down.
    #[error("the broker is shutting down; retry, with the same request_id")]
    Draining,
    /// A credential is missing, malformed or unknown.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The history no longer goes back to the revision asked for.
    #[error(
        "the history goes back to revision {} only; read the state anew (send_initial_state) and go on from there",
        oldest.0
    )]
    Compacted {
        /// The oldest revision kept.
        oldest: Revision,
        /// The newest revision.
        head: Revision,
    },
    /// The revision asked for is not of this history.
    #[error("{what}; start anew")]
    ForeignRevision {
        /// In what way.
        what: &'static str,
        /// Names this history.
        incarnation: Uuid,
        /// Its newest revision.
        head: Revision,
    },
    /// What is stored cannot be trusted.
    #[error("{0}")]
    Corrupt(String),
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Rejected(rejection) => Self::Rejected(rejection),
            CallError::Overloaded => Self::Overloaded,
            CallError::Draining => Self::Draining,
        }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Compacted { oldest, head } => Self::Compacted { oldest, head },
            ReadError::Closed => Self::Draining,
            ReadError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            // The disk may answer the next time, or the next broker.
            StoreError::Io { .. } | StoreError::Poisoned => Self::Draining,
            StoreError::Corrupt { .. }
            | StoreError::Locked { .. }
            | StoreError::TooLarge { .. }
            | StoreError::BadKey { .. }
            | StoreError::Version { .. } => Self::Corrupt(error.to_string()),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        let Shape { code, reason, metadata, extra } = shape(refusal);
        let metadata: HashMap<String, String> =
            metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let mut details = ErrorDetails::with_error_info(reason_text(reason), ERROR_DOMAIN, metadata);
        match extra {
            Extra::None => {}
            Extra::Field { field, problem } => {
                details.add_bad_request_violation(field, problem);
            }
            Extra::Quota { subject } => {
                details.add_quota_failure_violation(subject, &message);
            }
            Extra::Retry => {
                details.set_retry_info(Some(RETRY_DELAY));
            }
        }
        Self::with_error_details(code, message, details)
    }
}

/// The reason as the wire spells it: without the enum's prefix.
fn reason_text(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

/// What a status is made of, besides its message.
struct Shape {
    code: Code,
    reason: ErrorReason,
    metadata: Vec<(&'static str, String)>,
    extra: Extra,
}

/// The detail that comes with the reason.
enum Extra {
    None,
    Field { field: &'static str, problem: String },
    Quota { subject: String },
    Retry,
}

impl Shape {
    fn plain(code: Code, reason: ErrorReason) -> Self {
        Self { code, reason, metadata: Vec::new(), extra: Extra::None }
    }

    fn with(mut self, key: &'static str, value: &impl ToString) -> Self {
        self.metadata.push((key, value.to_string()));
        self
    }

    fn and(mut self, extra: Extra) -> Self {
        self.extra = extra;
        self
    }
}

fn shape(refusal: Refusal) -> Shape {
    match refusal {
        Refusal::Rejected(rejection) => rejection_shape(rejection),
        Refusal::Overloaded => Shape::plain(Code::Unavailable, ErrorReason::Overloaded).and(Extra::Retry),
        Refusal::Draining => Shape::plain(Code::Unavailable, ErrorReason::Draining).and(Extra::Retry),
        Refusal::Unauthenticated(_) => Shape::plain(Code::Unauthenticated, ErrorReason::Unauthenticated),
        Refusal::Compacted { oldest, head } => Shape::plain(Code::OutOfRange, ErrorReason::RevisionCompacted)
            .with("oldest_revision", &oldest.0)
            .with("current_revision", &head.0),
        Refusal::ForeignRevision { incarnation, head, .. } => {
            Shape::plain(Code::OutOfRange, ErrorReason::IncarnationChanged)
                .with("incarnation", &incarnation)
                .with("current_revision", &head.0)
        }
        Refusal::Corrupt(_) => Shape::plain(Code::DataLoss, ErrorReason::Corrupt),
    }
}

/// The name of a cause in the contract, without its prefix.
fn cause_name(cause: LeaveCause) -> &'static str {
    match cause {
        LeaveCause::Left => "LEFT",
        LeaveCause::Expired => "EXPIRED",
        LeaveCause::Disconnected => "DISCONNECTED",
        LeaveCause::Replaced => "REPLACED",
    }
}

/// What is in conflict, in words and, for whoever merges, in whole.
fn conflicting(shape: Shape, conflict: &WriteConflict) -> Shape {
    let theirs = &conflict.theirs;
    shape
        .with("key", &theirs.key)
        .with("version", &theirs.version.0)
        .with("revision", &theirs.revision.0)
        .with("writer", &theirs.writer)
}

fn rejection_shape(rejection: Rejection) -> Shape {
    use ErrorReason as Reason;
    match rejection {
        Rejection::InvalidField { field, problem } => {
            Shape::plain(Code::InvalidArgument, Reason::InvalidField).and(Extra::Field { field, problem })
        }
        Rejection::RequestIdReused => Shape::plain(Code::InvalidArgument, Reason::RequestIdReused)
            .and(Extra::Field { field: "request_id", problem: "was used for another request".to_owned() }),
        Rejection::SessionRequired => Shape::plain(Code::FailedPrecondition, Reason::SessionRequired),
        Rejection::SessionExpired { cause } => {
            let shape = Shape::plain(Code::FailedPrecondition, Reason::SessionExpired);
            match cause.map(cause_name) {
                Some(name) => shape.with("cause", &name),
                None => shape,
            }
        }
        Rejection::PermissionDenied { .. } => Shape::plain(Code::PermissionDenied, Reason::PermissionDenied),
        Rejection::PeerNameTaken { name } => {
            Shape::plain(Code::AlreadyExists, Reason::PeerNameTaken).with("name", &name)
        }
        Rejection::PeerNotFound { name } => {
            Shape::plain(Code::NotFound, Reason::PeerNotFound).with("name", &name)
        }
        Rejection::KeyNotFound { key } => Shape::plain(Code::NotFound, Reason::KeyNotFound).with("key", &key),
        Rejection::KeyExists { key, version, revision } => {
            Shape::plain(Code::AlreadyExists, Reason::KeyExists)
                .with("key", &key)
                .with("version", &version.0)
                .with("revision", &revision.0)
        }
        Rejection::VersionMismatch(conflict) => {
            conflicting(Shape::plain(Code::Aborted, Reason::VersionMismatch), &conflict)
        }
        Rejection::OverwriteNeedsVersion(conflict) => {
            conflicting(Shape::plain(Code::FailedPrecondition, Reason::OverwriteNeedsVersion), &conflict)
        }
        Rejection::VersionNotFound { key, version } => Shape::plain(Code::NotFound, Reason::VersionNotFound)
            .with("key", &key)
            .with("version", &version.0),
        Rejection::Fenced { path, token, current } => {
            let shape = Shape::plain(Code::FailedPrecondition, Reason::Fenced)
                .with("path", &path)
                .with("token", &token.0.0);
            match current {
                Some(lock) => shape.with("holder", &lock.holder).with("current_token", &lock.token.0.0),
                None => shape,
            }
        }
        Rejection::Deadlock { cycle } => {
            Shape::plain(Code::Aborted, Reason::Deadlock).with("cycle", &circle(&cycle))
        }
        Rejection::MessageNotFound { id } => {
            Shape::plain(Code::NotFound, Reason::MessageNotFound).with("message_id", &id)
        }
        Rejection::MessageIdReused => Shape::plain(Code::AlreadyExists, Reason::MessageIdReused),
        Rejection::ReleaseRequestNotFound { id } => {
            Shape::plain(Code::NotFound, Reason::ReleaseRequestNotFound).with("id", &id.0)
        }
        Rejection::LockNotHeld { path } => {
            Shape::plain(Code::FailedPrecondition, Reason::LockNotHeld).with("path", &path)
        }
        Rejection::InboxFull { name } => Shape::plain(Code::ResourceExhausted, Reason::InboxFull)
            .with("name", &name)
            .and(Extra::Quota { subject: format!("unread messages of {name}") }),
        Rejection::LimitReached { what, .. } => Shape::plain(Code::ResourceExhausted, Reason::LimitReached)
            .and(Extra::Quota { subject: what.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::id::{EntryKey, PeerName};
    use mesh_core::revision::Version;
    use mesh_core::target::Target;

    use super::*;

    struct Row {
        refusal: Refusal,
        code: Code,
        reason: &'static str,
        metadata: &'static [(&'static str, &'static str)],
    }

    fn row(
        refusal: impl Into<Refusal>,
        code: Code,
        reason: &'static str,
        metadata: &'static [(&'static str, &'static str)],
    ) -> Row {
        Row { refusal: refusal.into(), code, reason, metadata }
    }

    /// Every refusal with its code, reason and metadata, as the contract lists them.
    fn table() -> Vec<Row> {
        use Rejection as R;
        let name = PeerName::parse("fox").unwrap();
        let key = EntryKey::parse("k").unwrap();
        let path = Target::parse("path", "a/").unwrap();
        let (version, revision, writer) = (Version(2), Revision(9), name.clone());
        let (oldest, head, incarnation) = (Revision(3), Revision(9), Uuid::nil());
        let missing = R::KeyNotFound { key: key.clone() };
        let exists = R::KeyExists { key: key.clone(), version, revision };
        let mismatch = R::VersionMismatch { key, version, revision, writer };
        let ended = |cause| R::SessionExpired { cause };
        let replaced = ended(Some(LeaveCause::Replaced));
        let denied = R::PermissionDenied { what: "no".into() };
        let foreign = Refusal::ForeignRevision { what: "it is another's", incarnation, head };
        let full = R::LimitReached { what: "peers", limit: 1 };
        let named = &[("name", "fox")];
        let at = &[("key", "k"), ("version", "2"), ("revision", "9")];
        let by = &[("key", "k"), ("version", "2"), ("revision", "9"), ("writer", "fox")];
        let kept = &[("oldest_revision", "3"), ("current_revision", "9")];
        let here = &[("incarnation", "00000000-0000-0000-0000-000000000000"), ("current_revision", "9")];
        let taken = R::PeerNameTaken { name: name.clone() };
        let unknown = R::PeerNotFound { name: name.clone() };
        vec![
            row(R::invalid("key", "is bad"), Code::InvalidArgument, "INVALID_FIELD", &[]),
            row(R::RequestIdReused, Code::InvalidArgument, "REQUEST_ID_REUSED", &[]),
            row(Refusal::Unauthenticated("who?"), Code::Unauthenticated, "UNAUTHENTICATED", &[]),
            row(denied, Code::PermissionDenied, "PERMISSION_DENIED", &[]),
            row(R::SessionRequired, Code::FailedPrecondition, "SESSION_REQUIRED", &[]),
            row(ended(None), Code::FailedPrecondition, "SESSION_EXPIRED", &[]),
            row(replaced, Code::FailedPrecondition, "SESSION_EXPIRED", &[("cause", "REPLACED")]),
            row(taken, Code::AlreadyExists, "PEER_NAME_TAKEN", named),
            row(unknown, Code::NotFound, "PEER_NOT_FOUND", named),
            row(missing, Code::NotFound, "KEY_NOT_FOUND", &[("key", "k")]),
            row(exists, Code::AlreadyExists, "KEY_EXISTS", at),
            row(mismatch, Code::Aborted, "VERSION_MISMATCH", by),
            row(R::LockNotHeld { path }, Code::FailedPrecondition, "LOCK_NOT_HELD", &[("path", "a/")]),
            row(Refusal::Compacted { oldest, head }, Code::OutOfRange, "REVISION_COMPACTED", kept),
            row(foreign, Code::OutOfRange, "INCARNATION_CHANGED", here),
            row(R::InboxFull { name }, Code::ResourceExhausted, "INBOX_FULL", named),
            row(full, Code::ResourceExhausted, "LIMIT_REACHED", &[]),
            row(Refusal::Draining, Code::Unavailable, "DRAINING", &[]),
            row(Refusal::Overloaded, Code::Unavailable, "OVERLOADED", &[]),
            row(Refusal::Corrupt("the disk lies".into()), Code::DataLoss, "CORRUPT", &[]),
        ]
    }

    #[test]
    fn every_refusal_has_the_code_reason_and_details_of_the_contract() {
        for Row { refusal, code, reason, metadata } in table() {
            let message = refusal.to_string();
            let status = Status::from(refusal);
            assert_eq!((status.code(), status.message()), (code, message.as_str()));
            let info = status.get_details_error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "mesh.v1"));
            let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            assert_eq!(info.metadata, metadata.collect());
            let details = status.get_error_details();
            assert_eq!(details.bad_request().is_some(), code == Code::InvalidArgument, "{reason}");
            assert_eq!(details.quota_failure().is_some(), code == Code::ResourceExhausted, "{reason}");
            assert_eq!(details.retry_info().is_some(), code == Code::Unavailable, "{reason}");
        }
    }

    #[test]
    fn every_reason_of_the_contract_has_a_refusal() {
        let named: Vec<_> = table().into_iter().map(|row| row.reason).collect();
        for reason in (1..).map_while(|value| ErrorReason::try_from(value).ok()) {
            assert!(named.contains(&reason_text(reason)), "{reason:?}");
        }
    }

    #[test]
    fn a_store_that_may_answer_later_is_not_a_damaged_one() {
        assert_eq!(Refusal::from(StoreError::Poisoned), Refusal::Draining);
        let damaged = StoreError::Corrupt { what: "bytes".into() };
        assert!(matches!(Refusal::from(damaged), Refusal::Corrupt(_)));
    }
}
