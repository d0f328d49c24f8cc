//! The broker's door: every call that comes in and every answer that leaves is looked at here, in the moment it passes.
//!
//! An answer is held against what is durable in that moment, and against the model. What must hold: this also sees the
//! answers that the network loses afterwards, for a broker must not even try to say what a crash could take back.

mod answers;
mod stream;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use mesh_broker::clock::Clock;
use mesh_core::id::SessionId;
use mesh_proto::v1 as pb;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::books::{Books, Shared};
use stream::Reader;

/// A call on its way through the door.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Whose.
    pub who: String,
    /// What is called.
    pub path: String,
    /// The request's message.
    pub request: Bytes,
    /// On behalf of which session.
    pub session: Option<SessionId>,
    /// What the broker knew to be durable when it was sent on its way.
    pub asked: u64,
    /// The broker's clock.
    pub clock: Clock,
    /// The books.
    pub books: Shared,
    /// Of a stream: how far it is.
    reader: Option<Reader>,
}

/// What every answer begins with.
#[derive(Clone, PartialEq, prost::Message)]
struct Headed {
    #[prost(message, optional, tag = "1")]
    header: Option<pb::ResponseHeader>,
}

/// The session that a token names: the token begins with it.
#[must_use]
pub fn session_of(token: &[u8]) -> Option<SessionId> {
    let id = token.get(..32)?;
    Some(SessionId(Uuid::try_parse_ascii(id).ok()?))
}

/// The messages in a stretch of a gRPC body.
fn messages(mut body: Bytes) -> Vec<Bytes> {
    let mut found = Vec::new();
    while body.len() >= 5 {
        body.advance(1);
        let length = usize::try_from(body.get_u32()).unwrap_or(usize::MAX);
        found.push(body.split_to(length.min(body.len())));
    }
    found
}

impl Visit {
    /// A call that is about to come in.
    #[must_use]
    pub fn new(
        who: &str,
        path: &str,
        body: Bytes,
        session: Option<SessionId>,
        clock: &Clock,
        books: &Shared,
    ) -> Self {
        Self {
            who: who.to_owned(),
            path: path.to_owned(),
            request: messages(body).into_iter().next().unwrap_or_default(),
            session,
            asked: books.with(|books| books.confirmed()),
            clock: clock.clone(),
            books: books.clone(),
            reader: None,
        }
    }

    /// The call comes in.
    pub fn arrive(&self) {
        let at = self.clock.at();
        self.books.with(|books| {
            if let Some(session) = self.session {
                books.model.signs.heard(session, at);
            }
            books.note(&self.who, &format!("calls {}", self.method()));
        });
    }

    fn method(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// An answer leaves.
    pub fn leave(&self, headers: &HeaderMap, trailers: Option<&HeaderMap>, body: &Bytes) {
        let status = Status::from_header_map(headers).filter(|status| status.code() != Code::Ok);
        let trailers = trailers.and_then(Status::from_header_map);
        let status = status.or(trailers.filter(|status| status.code() != Code::Ok));
        self.books.with(|books| {
            books.answers += 1;
            *books.operations.entry(self.method().to_owned()).or_default() += 1;
            if let Some(status) = status {
                let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
                books.note(&self.who, &format!("{} refused: {:?} {reason}", self.method(), status.code()));
                return self.refused(books, &status, &reason);
            }
            let answer = messages(body.clone()).into_iter().next().unwrap_or_default();
            let headed = Headed::decode(answer.clone()).unwrap_or_default();
            let revision = headed.header.map_or(0, |header| header.revision);
            books.note(&self.who, &format!("{} answered at {revision}", self.method()));
            let durable = books.durable();
            if revision > durable {
                let what = format!("{} answers revision {revision}, durable is {durable}", self.method());
                books.violate("durable before answered", what);
            }
            if let Err((invariant, what)) = self.answered(books, revision, &answer) {
                let what = format!("{} of {}: {what}", self.method(), self.who);
                books.violate(invariant, what);
            }
        });
    }

    /// A refusal leaves.
    fn refused(&self, books: &mut Books, status: &Status, reason: &str) {
        let durable = books.durable();
        if let Some(conflict) = conflict(status)
            && let Some(theirs) = &conflict.theirs
        {
            if theirs.revision > durable {
                let what = format!(
                    "{} is refused for revision {}, durable is {durable}",
                    self.method(),
                    theirs.revision
                );
                books.violate("durable before refused", what);
            }
            self.show(books, theirs);
        }
        if matches!(status.code(), Code::DataLoss | Code::Internal | Code::Unknown) {
            books.violate("never corrupt", format!("{}: {status:?}", self.method()));
        }
        let put = pb::PutRequest::decode(self.request.clone()).unwrap_or_default();
        let on_purpose = self.method() == "Put" && books.reused.contains(&put.request_id);
        if reason == "REQUEST_ID_REUSED" && !on_purpose {
            books.violate("retry is safe", format!("{} counts as another request", self.method()));
        }
    }

    /// The session has been shown an entry.
    fn show(&self, books: &mut Books, entry: &pb::Entry) {
        if let (Some(session), Ok(scope)) = (self.session, mesh_core::id::ScopeId::parse(&entry.scope)) {
            books.model.entries.show(session, &scope, &entry.key, entry.revision);
        }
    }
}

/// What a refused write is told to merge with.
fn conflict(status: &Status) -> Option<pb::WriteConflict> {
    let details = tonic_types::Status::decode(status.details()).ok()?.details;
    let own = details.into_iter().find(|detail| detail.type_url == mesh_proto::WRITE_CONFLICT_TYPE)?;
    pb::WriteConflict::decode(own.value.as_slice()).ok()
}
