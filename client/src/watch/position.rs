//! Where a reader of events is, and the proof that it lost nothing on the way.
//!
//! Pure: items in, verdicts out. What must hold: the position moves only past what was delivered.

use std::collections::HashMap;

use super::{Cursor, WatchItem, WatchOptions};
use crate::ClientError;
use crate::proto::watch_response::Payload;
use crate::proto::{EventBatch, EventFilter, ResponseHeader, WatchCreated, WatchRequest, WatchResponse};

/// Where a reader is, and the proof that it lost nothing on the way.
#[derive(Debug)]
pub(super) struct Position {
    incarnation: String,
    /// The next revision to be delivered; 0 while it is not known (from now on, or an incomplete state).
    next: u64,
    /// The first revision of this watch: batches before it were not asked for.
    floor: u64,
    /// The last batch of each scope; `None` when a filter makes gaps lawful.
    chain: Option<HashMap<String, u64>>,
    state_pending: bool,
}

impl Position {
    pub(super) fn new(options: &WatchOptions) -> Self {
        let filtered = options.filter.as_ref().is_some_and(|filter| *filter != EventFilter::default());
        Self {
            incarnation: options.incarnation.clone(),
            next: options.start_revision,
            floor: options.start_revision,
            chain: (!filtered).then(HashMap::new),
            state_pending: options.initial_state,
        }
    }

    pub(super) fn cursor(&self) -> Cursor {
        Cursor { incarnation: self.incarnation.clone(), revision: self.next.saturating_sub(1) }
    }

    /// The first request, changed so that it goes on from here.
    pub(super) fn resume(&self, first: &WatchRequest) -> WatchRequest {
        WatchRequest {
            start_revision: self.next,
            incarnation: if self.next == 0 { String::new() } else { self.incarnation.clone() },
            send_initial_state: self.state_pending,
            ..first.clone()
        }
    }

    pub(super) fn accept(&mut self, response: WatchResponse) -> Result<Option<WatchItem>, ClientError> {
        let Some(header) = response.header else {
            return Err(ClientError::Protocol("an item of a stream has no header".into()));
        };
        match response.payload {
            Some(Payload::Created(created)) => self.created(header, &created).map(Some),
            Some(Payload::InitialState(item)) => Ok(Some(WatchItem::State(Box::new(item)))),
            Some(Payload::InitialStateEnd(_)) => {
                self.state_pending = false;
                self.begin(header.revision.saturating_add(1));
                Ok(Some(WatchItem::StateEnd(header.revision)))
            }
            Some(Payload::Events(batch)) => self.batch(batch),
            Some(Payload::Progress(_)) => {
                self.next = self.next.max(header.revision.saturating_add(1));
                Ok(Some(WatchItem::Progress(self.next - 1)))
            }
            // A kind of item that a later broker knows.
            None => Ok(None),
        }
    }

    fn created(&mut self, header: ResponseHeader, created: &WatchCreated) -> Result<WatchItem, ClientError> {
        let known = self.next > 0;
        if known && created.start_revision > self.next {
            let (asked, got) = (self.next, created.start_revision);
            return Err(ClientError::Protocol(format!(
                "a stream asked from revision {asked} starts at {got}"
            )));
        }
        if known && !self.incarnation.is_empty() && self.incarnation != header.incarnation {
            return Err(ClientError::Protocol("a stream goes on in another history".into()));
        }
        self.incarnation = header.incarnation;
        if !known && !self.state_pending {
            self.begin(created.start_revision.max(1));
        }
        Ok(WatchItem::Created)
    }

    fn begin(&mut self, next: u64) {
        self.next = next;
        self.floor = next;
    }

    fn batch(&mut self, batch: EventBatch) -> Result<Option<WatchItem>, ClientError> {
        if batch.revision < self.next {
            return Ok(None);
        }
        if let Some(chain) = &mut self.chain {
            let before = batch.prev_revision;
            let whole = match chain.insert(batch.scope.clone(), batch.revision) {
                Some(last) => before == last,
                None => before < self.floor,
            };
            if !whole {
                return Err(ClientError::Protocol(format!(
                    "the stream of scope {} has a gap: revision {before} is missing before {}",
                    batch.scope, batch.revision
                )));
            }
        }
        self.next = batch.revision.saturating_add(1);
        Ok(Some(WatchItem::Batch(batch)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{InitialStateEnd, StateItem, WatchProgress};

    fn item(revision: u64, payload: Payload) -> WatchResponse {
        let header = ResponseHeader { incarnation: "one".into(), revision };
        WatchResponse { header: Some(header), payload: Some(payload) }
    }

    fn created(start_revision: u64) -> WatchResponse {
        item(start_revision - 1, Payload::Created(WatchCreated { start_revision, oldest_revision: 1 }))
    }

    fn batch(scope: &str, revision: u64, prev_revision: u64) -> WatchResponse {
        let batch = EventBatch { scope: scope.into(), revision, prev_revision, ..EventBatch::default() };
        item(revision, Payload::Events(batch))
    }

    fn position(start_revision: u64) -> Position {
        let mut position = Position::new(&WatchOptions { start_revision, ..WatchOptions::default() });
        position.accept(created(start_revision)).unwrap();
        position
    }

    #[test]
    fn from_now_on_resumes_where_it_first_opened() {
        let mut position = Position::new(&WatchOptions::default());
        assert_eq!(position.resume(&WatchRequest::default()).start_revision, 0);
        position.accept(created(8)).unwrap();
        let request = position.resume(&WatchRequest::default());
        assert_eq!((request.start_revision, request.incarnation.as_str()), (8, "one"));
        position.accept(batch("a", 9, 3)).unwrap();
        position.accept(item(20, Payload::Progress(WatchProgress {}))).unwrap();
        assert_eq!(position.resume(&WatchRequest::default()).start_revision, 21);
        assert_eq!(position.cursor(), Cursor { incarnation: "one".into(), revision: 20 });
    }

    #[test]
    fn repeats_are_dropped() {
        let mut position = position(5);
        assert!(position.accept(batch("a", 5, 0)).unwrap().is_some());
        assert!(position.accept(batch("a", 5, 0)).unwrap().is_none());
        assert!(position.accept(batch("a", 6, 5)).unwrap().is_some());
    }

    #[test]
    fn a_gap_is_an_error_per_scope() {
        let mut position = position(5);
        position.accept(batch("a", 5, 4)).unwrap();
        position.accept(batch("b", 6, 2)).unwrap();
        position.accept(batch("a", 7, 5)).unwrap();
        let error = position.accept(batch("b", 9, 8)).unwrap_err().to_string();
        assert!(error.contains("scope b has a gap: revision 8 is missing before 9"), "{error}");
    }

    #[test]
    fn the_first_batch_of_a_scope_must_follow_the_start() {
        assert!(position(5).accept(batch("a", 9, 6)).is_err());
    }

    #[test]
    fn a_filter_makes_gaps_lawful() {
        let filter = Some(EventFilter { paths: vec!["src/".into()], ..EventFilter::default() });
        let mut position =
            Position::new(&WatchOptions { filter, start_revision: 5, ..WatchOptions::default() });
        assert!(position.accept(batch("a", 9, 6)).unwrap().is_some());
    }

    #[test]
    fn an_incomplete_state_is_asked_for_again_and_a_complete_one_is_not() {
        let mut position = Position::new(&WatchOptions { initial_state: true, ..WatchOptions::default() });
        position.accept(created(8)).unwrap();
        position.accept(item(7, Payload::InitialState(StateItem::default()))).unwrap();
        let request = position.resume(&WatchRequest::default());
        assert!(request.send_initial_state && request.start_revision == 0);
        let end = position.accept(item(7, Payload::InitialStateEnd(InitialStateEnd {}))).unwrap();
        assert_eq!(end, Some(WatchItem::StateEnd(7)));
        let request = position.resume(&WatchRequest::default());
        assert!(!request.send_initial_state && request.start_revision == 8);
    }

    #[test]
    fn a_stream_may_not_start_late_or_in_another_history() {
        let mut position = position(5);
        assert!(position.accept(created(6)).is_err());
        let header = ResponseHeader { incarnation: "two".into(), revision: 4 };
        let payload = Some(Payload::Created(WatchCreated { start_revision: 5, oldest_revision: 1 }));
        assert!(position.accept(WatchResponse { header: Some(header), payload }).is_err());
    }
}
