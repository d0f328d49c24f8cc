//! What has happened: `mesh_events`; waiting for something that has not, in `until`.

mod kinds;
mod until;

use std::time::Duration;

use mesh_client::ErrorReason;
use mesh_client::proto::{EventFilter, ListEventsRequest, ListEventsResponse};

use self::kinds::{event_type, lines};
use crate::args::{Answer, Failure};
use crate::call::Call;
use crate::member::Joined;
use crate::render::Page;

/// Batches shown when no limit is given, and at most.
const SHOWN: u64 = 20;
const MOST: u64 = 200;

/// Lists events after a revision, or the newest; waits for one, or until something else holds, if told to.
pub(crate) async fn events(joined: &Joined, call: &Call) -> Answer {
    let args = &call.args;
    let types = args.list("types")?.iter().map(|name| event_type(name)).collect::<Result<Vec<_>, _>>()?;
    let filter = (!types.is_empty()).then(|| EventFilter {
        types: types.into_iter().map(Into::into).collect(),
        ..EventFilter::default()
    });
    let after = args.number("after")?;
    let until = args.list("until")?;
    if !until.is_empty() {
        return until::wait(joined, call, &until, filter, after.unwrap_or_default()).await;
    }
    let mut request = ListEventsRequest {
        scopes: vec![joined.session.scope()],
        start_revision: after.map_or(0, |after| after.saturating_add(1)),
        filter,
        limit: u32::try_from(args.number("limit")?.unwrap_or(SHOWN).clamp(1, MOST)).unwrap_or(u32::MAX),
        ..ListEventsRequest::default()
    };
    let wait = call.wait()?;
    if !wait.is_zero() && request.start_revision == 0 {
        // From now on.
        let now = list(joined, ListEventsRequest { limit: 1, ..request.clone() }).await?;
        request.start_revision = now.next_start_revision;
    }
    let ask = |wait: Option<Duration>| {
        let wait = wait.and_then(|wait| wait.try_into().ok());
        list(joined, ListEventsRequest { wait, ..request.clone() })
    };
    let answer = call.until_there(wait, ask, |answer| !answer.batches.is_empty()).await;
    Ok(rendered(&answer.ok_or_else(|| Failure::new("stopped waiting"))??))
}

async fn list(joined: &Joined, request: ListEventsRequest) -> Result<ListEventsResponse, Failure> {
    let wait = crate::render::duration(request.wait);
    let client = joined.session.client();
    let answer = client.call_waiting(wait, |client| {
        let request = request.clone();
        async move { client.events().list_events(request).await }
    });
    answer.await.map_err(|error| {
        let oldest = error.refusal().and_then(|refusal| refusal.metadata.get("oldest_revision"));
        match (error.reason(), oldest.and_then(|oldest| oldest.parse::<u64>().ok())) {
            (Some(ErrorReason::RevisionCompacted), Some(oldest)) => Failure::new(format!(
                "events before revision {oldest} are no longer kept. Next: mesh_events {{after: {}}}",
                oldest.saturating_sub(1)
            )),
            (Some(ErrorReason::RevisionCompacted | ErrorReason::IncarnationChanged), None) => {
                Failure::new("after: no event has come that far yet. Next: mesh_events without after")
            }
            _ => error.into(),
        }
    })
}

fn rendered(answer: &ListEventsResponse) -> String {
    let mut page = Page::default();
    let shown = answer.batches.iter().take_while(|batch| page.push(&lines(batch)));
    let (number, last) = shown.fold((0, 0), |(number, _), batch| (number + 1, batch.revision));
    let all = number == answer.batches.len();
    let next = if all { answer.next_start_revision.saturating_sub(1) } else { last };
    let more = answer.more || !all;
    let nothing = if answer.batches.is_empty() { "no events. " } else { "" };
    let more = if more { "more" } else { "later ones" };
    page.close(&format!("{nothing}{more}: mesh_events {{after: {next}}}"))
}

#[cfg(test)]
mod tests {
    use mesh_client::proto::event::Event as Kind;
    use mesh_client::proto::{Event, EventBatch, MessageSent};

    use super::*;

    fn batch(revision: u64, kind: Kind) -> EventBatch {
        EventBatch {
            revision,
            actor: "birch-owl".into(),
            events: vec![Event { event: Some(kind) }],
            ..EventBatch::default()
        }
    }

    #[test]
    fn a_long_log_goes_on_where_it_was_cut() {
        let sent = |_| MessageSent { preview: "x".repeat(160), ..MessageSent::default() };
        let batches = (1..=100).map(|n| batch(n, Kind::MessageSent(sent(n)))).collect();
        let answer =
            ListEventsResponse { batches, next_start_revision: 101, ..ListEventsResponse::default() };
        let text = rendered(&answer);
        let shown = text.lines().count() - 1;
        assert!(
            text.len() < 8400 && text.ends_with(&format!("more: mesh_events {{after: {shown}}}")),
            "{text}"
        );
        let empty = ListEventsResponse { next_start_revision: 8, ..ListEventsResponse::default() };
        assert_eq!(rendered(&empty), "no events. later ones: mesh_events {after: 7}");
    }
}
