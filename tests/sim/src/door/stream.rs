//! Streams of events, item by item as they leave the broker.

use bytes::Bytes;
use http_body::Frame;
use mesh_proto::v1 as pb;
use pb::watch_response::Payload;
use prost::Message;
use tonic::{Code, Status};

use super::{Visit, messages};
use crate::books::Books;
use crate::follow::Follower;

/// How far a stream is.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    follower: Follower,
    /// Where it was asked to begin; 0 for what comes next.
    start: u64,
}

impl Visit {
    /// The stream is open.
    pub fn stream_begins(&mut self) {
        let request = pb::WatchRequest::decode(self.request.clone()).unwrap_or_default();
        let follower = Follower::new(request.scopes);
        self.reader = Some(Reader { follower, start: request.start_revision });
        let at = self.clock.at();
        if let Some(session) = self.session {
            self.books.with(|books| books.model.signs.stream_began(session, at));
        }
    }

    /// The broker has let go of it.
    pub fn stream_ends(&self) {
        let at = self.clock.at();
        if let Some(session) = self.session {
            self.books.with(|books| books.model.signs.stream_ended(session, at));
        }
    }

    /// A part of it leaves.
    pub fn pass(&mut self, frame: &Frame<Bytes>) {
        let books = self.books.clone();
        let Some(reader) = &mut self.reader else { return };
        books.with(|books| {
            if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map) {
                books.note(&self.who, &format!("stream ends: {:?}", status.code()));
                if status.code() == Code::OutOfRange {
                    reader.compacted(books);
                }
            }
            for message in frame.data_ref().cloned().map(messages).unwrap_or_default() {
                let Ok(item) = pb::WatchResponse::decode(message) else { continue };
                if let Err(what) = reader.item(books, &item) {
                    books.violate("no lost event", format!("{}: {what}", self.who));
                }
            }
        });
    }
}

impl Reader {
    fn item(&mut self, books: &mut Books, item: &pb::WatchResponse) -> Result<(), String> {
        let revision = item.header.as_ref().map_or(0, |header| header.revision);
        let durable = books.durable();
        if revision > durable {
            let what = format!("revision {revision} is published, durable is {durable}");
            books.violate("durable before published", what);
        }
        match &item.payload {
            Some(Payload::Created(created)) => {
                if self.start > 0 && created.start_revision != self.start {
                    return Err(format!("asked from {}, begins at {}", self.start, created.start_revision));
                }
                self.follower.begin(created.start_revision);
                Ok(())
            }
            Some(Payload::Events(batch)) => self.follower.batch(books, batch),
            Some(Payload::Progress(_)) => self.follower.progress(books, revision),
            Some(Payload::InitialState(_) | Payload::InitialStateEnd(_)) | None => Ok(()),
        }
    }

    /// The history does not go back so far: only if it really does not.
    fn compacted(&self, books: &mut Books) {
        let (next, oldest) = (self.follower.next().unwrap_or(self.start), books.oldest_announced());
        if next >= oldest {
            let what =
                format!("a reader at {next} is told that it is late, the history goes back to {oldest}");
            books.violate("no lost event", what);
        }
    }
}
