//! Every refusal as a gRPC status: the one place where errors meet the wire.
//!
//! What must hold: a status carries `google.rpc.ErrorInfo` with the contract's reason, domain and metadata, its
//! code is the one that the contract gives that reason, and its message says the next step.

mod conflict;

use std::collections::HashMap;
use std::time::Duration;

use mesh_core::Rejection;
use mesh_core::event::LeaveCause;
use mesh_core::rejection::{WriteConflict, circle};
use mesh_core::revision::Revision;
use mesh_proto::v1::{self as pb, ErrorReason};
use mesh_proto::{ERROR_DOMAIN, WRITE_CONFLICT_TYPE};
use prost::Message;
use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use uuid::Uuid;

pub(crate) use self::conflict::shows_values;
use crate::events::ReadError;
use crate::queue::CallError;
use crate::store::StoreError;

/// When to try again after UNAVAILABLE or an overload.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// What a caller that calls too often has too many of.
const CALLS: &str = "calls per second";

/// Longest message, in bytes: a status travels in headers, where each may take three times as many.
const MESSAGE: usize = 1_200;

/// Why a call gets no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The answer is no.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Too many requests wait for the disk.
    #[error("too many requests wait for the disk; retry in a moment")]
    Overloaded,
    /// The disk takes too long.
    #[error("the disk takes long; retry with the same request_id, which gets the answer of this one")]
    Slow,
    /// The caller calls too often.
    #[error(
        "too many calls: at most {per_second} a second in the long run; make the next in {} ms",
        retry_after.as_millis()
    )]
    TooFast {
        /// When the next call may come.
        retry_after: Duration,
        /// How many there may be in a second.
        per_second: usize,
    },
    /// A subscriber takes too long to read the state.
    #[error("the initial state was not read in time, and is given up; watch anew")]
    Stalled,
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
            StoreError::SnapshotBusy | StoreError::SnapshotLost => Self::Overloaded,
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
        let message = short(refusal.to_string());
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
            Extra::Pace { retry_after } => {
                details.add_quota_failure_violation(CALLS, &message);
                details.set_retry_info(Some(retry_after));
            }
            Extra::Conflict(conflict) => {
                let status = Self::with_error_details(code, message, details);
                return with_conflict(&status, &conflict);
            }
        }
        Self::with_error_details(code, message, details)
    }
}

/// The text, or its beginning.
fn short(mut text: String) -> String {
    if text.len() > MESSAGE {
        text.truncate(text.floor_char_boundary(MESSAGE));
        text.push('…');
    }
    text
}

/// The status with one more detail, after those that the library knows: the contract's own.
fn with_conflict(status: &Status, conflict: &pb::WriteConflict) -> Status {
    let value = conflict.encode_to_vec();
    let detail = prost_types::Any { type_url: WRITE_CONFLICT_TYPE.to_owned(), value };
    let more = tonic_types::Status { details: vec![detail], ..tonic_types::Status::default() };
    // Messages one after the other are one message: what repeats in them is put together.
    let details = [status.details(), &more.encode_to_vec()].concat();
    Status::with_details(status.code(), status.message(), details.into())
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
    Pace { retry_after: Duration },
    Conflict(Box<pb::WriteConflict>),
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
        Refusal::Overloaded | Refusal::Slow | Refusal::Stalled => {
            Shape::plain(Code::Unavailable, ErrorReason::Overloaded).and(Extra::Retry)
        }
        Refusal::TooFast { retry_after, per_second } => {
            Shape::plain(Code::ResourceExhausted, ErrorReason::LimitReached)
                .with("limit", &per_second)
                .and(Extra::Pace { retry_after })
        }
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
        LeaveCause::Revoked => "REVOKED",
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
        .and(Extra::Conflict(Box::new(conflict::detail(conflict))))
}

/// Something is not there, for the caller at least.
fn missing(reason: ErrorReason, key: &'static str, value: &impl ToString) -> Shape {
    Shape::plain(Code::NotFound, reason).with(key, value)
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
        Rejection::CredentialOver => Shape::plain(Code::Unauthenticated, Reason::Unauthenticated),
        Rejection::ScopeNotFound { scope } => missing(Reason::ScopeNotFound, "scope", &scope),
        Rejection::TokenNotFound { id } => missing(Reason::TokenNotFound, "id", &id),
        Rejection::PeerNameTaken { name } => {
            Shape::plain(Code::AlreadyExists, Reason::PeerNameTaken).with("name", &name)
        }
        Rejection::PeerNotFound { name } => missing(Reason::PeerNotFound, "name", &name),
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
            Shape::plain(Code::Aborted, Reason::Deadlock).with("cycle", &short(circle(&cycle)))
        }
        Rejection::MessageNotFound { id } => missing(Reason::MessageNotFound, "message_id", &id),
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
        Rejection::LimitReached { what, limit } => {
            Shape::plain(Code::ResourceExhausted, Reason::LimitReached)
                .with("limit", &limit)
                .and(Extra::Quota { subject: what.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mesh_core::id::{CredentialId, EntryKey, MessageId, PeerName, ScopeId, SessionId};
    use mesh_core::record::{EntryRecord, LockMode, LockRecord};
    use mesh_core::revision::{FencingToken, Version};
    use mesh_core::target::Target;
    use mesh_core::time::{Millis, WallTime};

    use super::conflict::tests::{entry, large};
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
        let (oldest, head, incarnation) = (Revision(3), Revision(9), Uuid::nil());
        let foreign = Refusal::ForeignRevision { what: "it is another's", incarnation, head };
        let kept = &[("oldest_revision", "3"), ("current_revision", "9")];
        let here = &[("incarnation", "00000000-0000-0000-0000-000000000000"), ("current_revision", "9")];
        let too_fast = Refusal::TooFast { retry_after: Duration::from_millis(700), per_second: 4_000 };
        let mut rows = vec![
            row(Refusal::Unauthenticated("who?"), Code::Unauthenticated, "UNAUTHENTICATED", &[]),
            row(Refusal::Compacted { oldest, head }, Code::OutOfRange, "REVISION_COMPACTED", kept),
            row(foreign, Code::OutOfRange, "INCARNATION_CHANGED", here),
            row(Refusal::Draining, Code::Unavailable, "DRAINING", &[]),
            row(Refusal::Overloaded, Code::Unavailable, "OVERLOADED", &[]),
            row(Refusal::Slow, Code::Unavailable, "OVERLOADED", &[]),
            row(Refusal::Stalled, Code::Unavailable, "OVERLOADED", &[]),
            row(too_fast, Code::ResourceExhausted, "LIMIT_REACHED", &[("limit", "4000")]),
            row(Refusal::Corrupt("the disk lies".into()), Code::DataLoss, "CORRUPT", &[]),
        ];
        rows.extend(rejections());
        rows.extend(rejections_of_writes());
        rows.extend(rejections_of_locks());
        rows.extend(rejections_of_tokens());
        rows
    }

    fn rejections() -> Vec<Row> {
        use Rejection as R;
        let name = PeerName::parse("fox").unwrap();
        let ended = |cause| R::SessionExpired { cause };
        let replaced = ended(Some(LeaveCause::Replaced));
        let denied = R::PermissionDenied { what: "no".into() };
        let full = R::LimitReached { what: "peers", limit: 1 };
        let named = &[("name", "fox")];
        let taken = R::PeerNameTaken { name: name.clone() };
        let unknown = R::PeerNotFound { name: name.clone() };
        let lost = R::MessageNotFound { id: MessageId(Uuid::nil()) };
        let message = &[("message_id", "00000000-0000-0000-0000-000000000000")];
        vec![
            row(R::invalid("key", "is bad"), Code::InvalidArgument, "INVALID_FIELD", &[]),
            row(R::RequestIdReused, Code::InvalidArgument, "REQUEST_ID_REUSED", &[]),
            row(denied, Code::PermissionDenied, "PERMISSION_DENIED", &[]),
            row(R::SessionRequired, Code::FailedPrecondition, "SESSION_REQUIRED", &[]),
            row(ended(None), Code::FailedPrecondition, "SESSION_EXPIRED", &[]),
            row(replaced, Code::FailedPrecondition, "SESSION_EXPIRED", &[("cause", "REPLACED")]),
            row(taken, Code::AlreadyExists, "PEER_NAME_TAKEN", named),
            row(unknown, Code::NotFound, "PEER_NOT_FOUND", named),
            row(R::InboxFull { name }, Code::ResourceExhausted, "INBOX_FULL", named),
            row(full, Code::ResourceExhausted, "LIMIT_REACHED", &[("limit", "1")]),
            row(lost, Code::NotFound, "MESSAGE_NOT_FOUND", message),
            row(R::MessageIdReused, Code::AlreadyExists, "MESSAGE_ID_REUSED", &[]),
        ]
    }

    fn rejections_of_tokens() -> Vec<Row> {
        use Rejection as R;
        let hidden = R::ScopeNotFound { scope: ScopeId::global() };
        let unknown = R::TokenNotFound { id: CredentialId::unix() };
        let ended = R::SessionExpired { cause: Some(LeaveCause::Revoked) };
        vec![
            row(R::CredentialOver, Code::Unauthenticated, "UNAUTHENTICATED", &[]),
            row(hidden, Code::NotFound, "SCOPE_NOT_FOUND", &[("scope", "global")]),
            row(unknown, Code::NotFound, "TOKEN_NOT_FOUND", &[("id", "unix")]),
            row(ended, Code::FailedPrecondition, "SESSION_EXPIRED", &[("cause", "REVOKED")]),
        ]
    }

    fn rejections_of_writes() -> Vec<Row> {
        use Rejection as R;
        let key = EntryKey::parse("k").unwrap();
        let (version, revision) = (Version(2), Revision(9));
        let missing = R::KeyNotFound { key: key.clone() };
        let exists = R::KeyExists { key: key.clone(), version, revision };
        let at = &[("key", "k"), ("version", "2"), ("revision", "9")];
        let by = &[("key", "k"), ("version", "2"), ("revision", "9"), ("writer", "fox")];
        let gone = R::VersionNotFound { key, version };
        let unread = R::OverwriteNeedsVersion(Box::new(write_conflict()));
        vec![
            row(missing, Code::NotFound, "KEY_NOT_FOUND", &[("key", "k")]),
            row(exists, Code::AlreadyExists, "KEY_EXISTS", at),
            row(R::VersionMismatch(Box::new(write_conflict())), Code::Aborted, "VERSION_MISMATCH", by),
            row(unread, Code::FailedPrecondition, "OVERWRITE_NEEDS_VERSION", by),
            row(gone, Code::NotFound, "VERSION_NOT_FOUND", &[("key", "k"), ("version", "2")]),
        ]
    }

    fn rejections_of_locks() -> Vec<Row> {
        use Rejection as R;
        let path = Target::parse("path", "a/").unwrap();
        let (fox, lynx) = (PeerName::parse("fox").unwrap(), PeerName::parse("lynx").unwrap());
        let lock = LockRecord {
            scope: ScopeId::global(),
            target: path.clone(),
            holder: fox.clone(),
            session: SessionId(Uuid::nil()),
            mode: LockMode::Exclusive,
            token: FencingToken(Revision(9)),
            reason: String::new(),
            ttl: Millis(1),
            acquired: WallTime(1),
            ticket: None,
        };
        let token = FencingToken(Revision(4));
        let fenced = |current| R::Fenced { path: path.clone(), token, current };
        let by = &[("path", "a/"), ("token", "4"), ("holder", "fox"), ("current_token", "9")];
        let circle = R::Deadlock { cycle: vec![fox.clone(), lynx, fox] };
        let nobody = R::ReleaseRequestNotFound { id: Revision(7) };
        let path = path.clone();
        vec![
            row(fenced(None), Code::FailedPrecondition, "FENCED", &[("path", "a/"), ("token", "4")]),
            row(fenced(Some(Arc::new(lock))), Code::FailedPrecondition, "FENCED", by),
            row(circle, Code::Aborted, "DEADLOCK", &[("cycle", "fox > lynx > fox")]),
            row(nobody, Code::NotFound, "RELEASE_REQUEST_NOT_FOUND", &[("id", "7")]),
            row(R::LockNotHeld { path }, Code::FailedPrecondition, "LOCK_NOT_HELD", &[("path", "a/")]),
        ]
    }

    fn write_conflict() -> WriteConflict {
        WriteConflict { base: None, theirs: Arc::new(entry("theirs")), fields: Vec::new() }
    }

    /// The contract's own detail, read as a client reads it.
    fn detail(status: &Status) -> Option<pb::WriteConflict> {
        let all = tonic_types::Status::decode(status.details()).unwrap().details;
        let own = all.into_iter().skip(1).find(|detail| detail.type_url == WRITE_CONFLICT_TYPE)?;
        Some(pb::WriteConflict::decode(own.value.as_slice()).unwrap())
    }

    #[test]
    fn every_refusal_has_the_code_reason_and_details_of_the_contract() {
        for Row { refusal, code, reason, metadata } in table() {
            let message = refusal.to_string();
            let waits = matches!(refusal, Refusal::TooFast { .. });
            let status = Status::from(refusal);
            assert_eq!((status.code(), status.message()), (code, message.as_str()));
            let info = status.get_details_error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "mesh.v1"));
            let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            assert_eq!(info.metadata, metadata.collect());
            let details = status.get_error_details();
            assert_eq!(details.bad_request().is_some(), code == Code::InvalidArgument, "{reason}");
            assert_eq!(details.quota_failure().is_some(), code == Code::ResourceExhausted, "{reason}");
            let retried = waits || code == Code::Unavailable;
            assert_eq!(details.retry_info().is_some(), retried, "{reason}");
            let merges = ["VERSION_MISMATCH", "OVERWRITE_NEEDS_VERSION"].contains(&reason);
            assert_eq!(detail(&status).is_some(), merges, "{reason}");
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
    fn a_refused_write_carries_what_a_merge_needs() {
        let conflict = WriteConflict {
            base: Some(Arc::new(EntryRecord { version: Version(1), ..entry("base") })),
            fields: vec!["/a/b".to_owned()],
            ..write_conflict()
        };
        let status =
            Status::from(Refusal::from(Rejection::OverwriteNeedsVersion(Box::new(conflict.clone()))));
        let told = detail(&status).unwrap();
        assert_eq!(told, conflict::detail(&conflict));
        let (base, theirs) = (told.base.unwrap(), told.theirs.unwrap());
        assert_eq!((base.value.as_str(), base.version), ("base", 1));
        assert_eq!((theirs.value.as_str(), theirs.writer.as_str(), theirs.version), ("theirs", "fox", 2));
        assert_eq!((told.values_omitted, told.fields), (false, vec!["/a/b".to_owned()]));
    }

    #[test]
    fn the_largest_refusal_fits_into_the_headers_that_a_client_accepts() {
        let value = "\u{1f98a}".repeat(512);
        let conflict = WriteConflict {
            base: Some(Arc::new(large(&value))),
            theirs: Arc::new(large(&value)),
            fields: vec!["f".repeat(500); 16],
        };
        let refusal = Rejection::OverwriteNeedsVersion(Box::new(conflict));
        let response = Status::from(Refusal::from(refusal)).into_http::<()>();
        // As HTTP/2 counts them.
        let size = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            name.as_str().len() + value.as_bytes().len() + 32
        };
        let bytes: usize = response.headers().iter().map(size).sum();
        assert!(bytes < 14_500, "{bytes}");
    }

    #[test]
    fn a_store_that_may_answer_later_is_not_a_damaged_one() {
        assert_eq!(Refusal::from(StoreError::Poisoned), Refusal::Draining);
        let damaged = StoreError::Corrupt { what: "bytes".into() };
        assert!(matches!(Refusal::from(damaged), Refusal::Corrupt(_)));
    }
}
