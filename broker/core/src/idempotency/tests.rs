use uuid::Uuid;

use super::Idempotency;
use crate::command::{Command, Request};
use crate::id::{CredentialId, PeerName, RequestId, ScopeId, SessionId};
use crate::limits;
use crate::outcome::Outcome;
use crate::record::{Fingerprint, LogRecord};
use crate::rejection::Rejection;
use crate::revision::{Revision, Sequence};
use crate::time::{Timestamp, WallTime};

fn scope(text: &str) -> ScopeId {
    ScopeId::parse(text).unwrap()
}

fn ann() -> PeerName {
    PeerName::parse("ann").unwrap()
}

fn session(n: u128) -> SessionId {
    SessionId(Uuid::from_u128(n))
}

fn id(text: &str) -> Option<RequestId> {
    Some(RequestId::parse(text).unwrap())
}

/// What the first session of ann did to a scope.
fn answered(revision: u64, request_id: &str, at: &str) -> LogRecord {
    LogRecord {
        revision: Revision(revision),
        scope: scope(at),
        sequence: Sequence(revision),
        prev_revision: Revision::ZERO,
        actor: Some(ann()),
        session: Some(session(1)),
        credential: None,
        request_id: id(request_id),
        fingerprint: Fingerprint([1; 16]),
        at: Timestamp(0),
        committed: WallTime(0),
        events: Vec::new(),
        outcome: Some(Outcome::Deleted),
    }
}

fn repeat(request_id: &str, caller: u128, content: u8) -> Request {
    Request {
        caller: Some(session(caller)),
        credential: None,
        request_id: id(request_id),
        fingerprint: Fingerprint([content; 16]),
        command: Command::Leave,
    }
}

/// A memory of one request, `once`, of ann in `acme/app`, to a scope.
fn memory(at: &str) -> Idempotency {
    let mut memory = Idempotency::default();
    memory.remember(&answered(7, "once", at));
    memory
}

const FIRST: Result<Option<(Revision, Outcome)>, Rejection> = Ok(Some((Revision(7), Outcome::Deleted)));
const REUSED: Result<Option<(Revision, Outcome)>, Rejection> = Err(Rejection::RequestIdReused);

#[test]
fn a_repeat_gets_the_first_answer() {
    let own = scope("acme/app");
    let memory = memory("acme/app");
    let who = Some((&own, &ann()));
    assert_eq!(memory.first_answer(&repeat("once", 1, 1), who), FIRST);
    assert_eq!(memory.first_answer(&repeat("once", 1, 1), None), FIRST, "the session may have ended by it");
    assert_eq!(memory.first_answer(&repeat("once", 2, 1), who), FIRST, "a later session of the same peer");
    assert_eq!(memory.first_answer(&repeat("other", 1, 1), who), Ok(None));
}

#[test]
fn another_content_or_another_caller_is_a_reuse() {
    let own = scope("acme/app");
    let memory = memory("acme/app");
    assert_eq!(memory.first_answer(&repeat("once", 1, 2), Some((&own, &ann()))), REUSED);
    let bob = PeerName::parse("bob").unwrap();
    assert_eq!(memory.first_answer(&repeat("once", 2, 1), Some((&own, &bob))), REUSED);
    assert_eq!(memory.first_answer(&repeat("once", 2, 1), Some((&scope("acme/b"), &ann()))), REUSED);
    assert_eq!(memory.first_answer(&repeat("once", 2, 1), None), REUSED, "a session that is over");
}

#[test]
fn a_write_to_global_is_repeated_by_a_later_session_of_the_writer() {
    let own = scope("acme/app");
    assert_eq!(memory("global").first_answer(&repeat("once", 2, 1), Some((&own, &ann()))), FIRST);
}

#[test]
fn a_request_without_an_id_is_never_a_repeat() {
    let request = Request { request_id: None, ..repeat("once", 1, 1) };
    assert_eq!(memory("acme/app").first_answer(&request, None), Ok(None));
}

#[test]
fn the_oldest_answers_are_forgotten() {
    let mut memory = Idempotency::default();
    let count = limits::REMEMBERED_REQUESTS as u64;
    for revision in 0..=count {
        memory.remember(&answered(revision, &format!("id-{revision}"), "acme/app"));
    }
    assert_eq!(memory.first_answer(&repeat("id-0", 1, 1), None), Ok(None));
    let kept = |n: u64| memory.first_answer(&repeat(&format!("id-{n}"), 1, 1), None).unwrap();
    assert_eq!(kept(1).map(|(revision, _)| revision), Some(Revision(1)));
    assert_eq!(kept(count).map(|(revision, _)| revision), Some(Revision(count)));
}

#[test]
fn an_id_that_was_forgotten_and_used_again_is_remembered_as_new() {
    let mut memory = Idempotency::default();
    memory.remember(&answered(1, "again", "acme/app"));
    for revision in 2..limits::REMEMBERED_REQUESTS as u64 {
        memory.remember(&answered(revision, &format!("id-{revision}"), "acme/app"));
    }
    let last = limits::REMEMBERED_REQUESTS as u64;
    memory.remember(&answered(last, "again", "acme/app"));
    memory.remember(&answered(last + 1, "one-more", "acme/app"));
    let found = memory.first_answer(&repeat("again", 1, 1), None).unwrap();
    assert_eq!(found.map(|(revision, _)| revision), Some(Revision(last)), "the older use is what is evicted");
}

#[test]
fn a_repeat_under_another_credential_is_a_reuse_unless_it_is_the_owners() {
    let token = |text: &str| Some(CredentialId::parse(text).unwrap());
    let mut memory = Idempotency::default();
    memory.remember(&LogRecord { credential: token("t-00000001"), ..answered(7, "once", "acme/app") });
    let repeated = |credential| {
        let request = Request { caller: None, credential, ..repeat("once", 1, 1) };
        memory.first_answer(&request, None)
    };
    for let_in in [token("t-00000001"), Some(CredentialId::unix()), Some(CredentialId::home())] {
        assert!(repeated(let_in.clone()).is_ok_and(|answer| answer.is_some()), "{let_in:?}");
    }
    assert_eq!(repeated(token("t-00000002")), Err(Rejection::RequestIdReused));
}
