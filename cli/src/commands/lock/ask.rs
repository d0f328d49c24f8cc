//! Asking those who are in the way to make way.

use std::convert::Infallible;

use mesh_client::display::printable_line;
use mesh_client::proto::event::Event as Kind;
use mesh_client::proto::{
    AcquireLocksRequest, EventFilter, EventType, LockReleaseAnswered, ReleaseAnswer, ReleaseRequest,
    RequestReleaseRequest,
};
use mesh_client::{ClientError, Session, WatchItem, WatchOptions};

use crate::output::Output;
use crate::render::{quoted, some_paths};

/// What to say to them.
pub(super) struct Asking {
    pub(super) why: String,
    pub(super) urgent: bool,
}

/// What came of asking.
pub(super) struct Asked {
    /// One open request for each holder.
    pub(super) requests: Vec<ReleaseRequest>,
    /// Since when they may have answered.
    revision: u64,
}

impl Asking {
    /// Asks, and tells whom.
    pub(super) async fn ask(
        &self,
        out: Output,
        session: &Session,
        request: &AcquireLocksRequest,
    ) -> Result<Asked, ClientError> {
        let request = RequestReleaseRequest {
            paths: request.paths.clone(),
            reason: self.why.clone(),
            urgent: self.urgent,
            mode: request.mode,
            request_id: String::new(),
        };
        let answer = session.request_release(request).await?;
        for request in &answer.requests {
            let holder = printable_line(&request.holder);
            let paths = some_paths(request.lock_paths.iter().map(String::as_str));
            out.tell(format_args!("asked {holder} to make way on {paths} (request {})", request.id));
        }
        let revision = answer.header.map_or(0, |header| header.revision);
        Ok(Asked { requests: answer.requests, revision })
    }
}

/// Tells what is answered to open requests, for as long as it is polled.
pub(super) async fn tell_answers(out: Output, session: &Session, asked: Option<&Asked>) -> Infallible {
    if let Some(asked) = asked.filter(|asked| !asked.requests.is_empty()) {
        let filter = EventFilter {
            types: vec![EventType::LockReleaseAnswered.into()],
            peers: vec![session.peer().name],
            paths: Vec::new(),
        };
        // An open request that was found again may be older than the answer that named it, and is unanswered.
        let start_revision = asked.revision;
        let mut watch =
            session.watch(WatchOptions { start_revision, filter: Some(filter), ..WatchOptions::default() });
        while let Some(item) = watch.next().await {
            match item {
                Ok(WatchItem::Batch(batch)) => {
                    for event in &batch.events {
                        if let Some(Kind::LockReleaseAnswered(event)) = &event.event
                            && let Some(answer) = answer_to(&asked.requests, event)
                        {
                            out.tell(answer);
                        }
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot follow the answers");
                    break;
                }
            }
        }
    }
    std::future::pending().await
}

/// One line, if it answers one of the requests.
fn answer_to(requests: &[ReleaseRequest], event: &LockReleaseAnswered) -> Option<String> {
    let answered = event.request.as_ref()?;
    requests.iter().find(|request| (request.id, &request.holder) == (answered.id, &answered.holder))?;
    let holder = printable_line(&answered.holder);
    let paths = some_paths(answered.lock_paths.iter().map(String::as_str));
    let note = match event.note.as_str() {
        "" => String::new(),
        note => format!(": {}", quoted(note)),
    };
    Some(match event.answer() {
        ReleaseAnswer::Unspecified | ReleaseAnswer::Keep => format!("{holder} keeps {paths}{note}"),
        ReleaseAnswer::Release => format!("{holder} has released {paths}{note}"),
        ReleaseAnswer::Narrow => {
            let keep = some_paths(event.keep.iter().map(String::as_str));
            format!("{holder} has narrowed {paths} to {keep}{note}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_to_ones_own_requests_are_told() {
        let request = ReleaseRequest {
            id: 7,
            holder: "amber-fox".to_owned(),
            lock_paths: vec!["src/".to_owned()],
            ..ReleaseRequest::default()
        };
        let mut event = LockReleaseAnswered {
            request: Some(request.clone()),
            answer: ReleaseAnswer::Keep.into(),
            note: "two minutes\n".to_owned(),
            ..LockReleaseAnswered::default()
        };
        let told = |event: &LockReleaseAnswered| answer_to(std::slice::from_ref(&request), event);
        assert_eq!(told(&event).as_deref(), Some("amber-fox keeps src/: \"two minutes␊\""));
        (event.answer, event.keep) = (ReleaseAnswer::Narrow.into(), vec!["src/a.rs".to_owned()]);
        event.note.clear();
        assert_eq!(told(&event).as_deref(), Some("amber-fox has narrowed src/ to src/a.rs"));
        event.request = Some(ReleaseRequest { id: 8, ..request.clone() });
        assert_eq!(told(&event), None);
    }
}
