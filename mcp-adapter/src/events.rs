//! What has happened: `mesh_events`.

use std::fmt::Write;

use mesh_client::ErrorReason;
use mesh_client::proto::event::Event as Kind;
use mesh_client::proto::{
    DeleteCause, EventBatch, EventFilter, EventType, LeaveCause, ListEventsRequest, ListEventsResponse, Peer,
    UnlockCause,
};

use crate::args::{Answer, Failure};
use crate::member::Joined;
use crate::render::{Page, age, quoted, word, words};
use crate::server::Call;

/// Batches shown when no limit is given, and at most.
const SHOWN: u64 = 20;
const MOST: u64 = 200;

/// Lists events after a revision, or the newest; waits for one if told to.
pub(crate) async fn events(joined: &Joined, call: &Call) -> Answer {
    let args = &call.args;
    let types = args.list("types")?.iter().map(|name| event_type(name)).collect::<Result<Vec<_>, _>>()?;
    let mut request = ListEventsRequest {
        scopes: vec![joined.session.scope()],
        start_revision: args.number("after")?.map_or(0, |after| after.saturating_add(1)),
        filter: (!types.is_empty()).then(|| EventFilter {
            types: types.into_iter().map(Into::into).collect(),
            ..EventFilter::default()
        }),
        limit: u32::try_from(args.number("limit")?.unwrap_or(SHOWN).clamp(1, MOST)).unwrap_or(u32::MAX),
        ..ListEventsRequest::default()
    };
    let wait = call.wait()?;
    if !wait.is_zero() {
        if request.start_revision == 0 {
            // From now on.
            let now = list(joined, ListEventsRequest { limit: 1, ..request.clone() }).await?;
            request.start_revision = now.next_start_revision;
        }
        request.wait = wait.try_into().ok();
    }
    let Some(answer) = call.unless_stopped(list(joined, request)).await else {
        return Err(Failure::new("stopped waiting"));
    };
    Ok(rendered(&answer?))
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

/// The events of one revision, a line each.
fn lines(batch: &EventBatch) -> String {
    let mut out = String::new();
    for event in batch.events.iter().filter_map(|event| event.event.as_ref()) {
        if !out.is_empty() {
            out.push('\n');
        }
        _ = write!(out, "{} {}", batch.revision, what(event, &batch.actor));
        _ = write!(out, ", {}", age(batch.commit_time));
    }
    out
}

fn what(event: &Kind, actor: &str) -> String {
    match event {
        Kind::PeerJoined(joined) => {
            let peer = joined.peer.clone().unwrap_or_default();
            format!("peer_joined {}{}", peer.name, doing(&peer))
        }
        Kind::PeerUpdated(updated) => {
            let peer = updated.peer.clone().unwrap_or_default();
            format!("peer_updated {}{}", peer.name, doing(&peer))
        }
        Kind::PeerLeft(left) => format!("peer_left {} ({})", left.name, leave_cause(left.cause())),
        Kind::StateChanged(changed) => format!(
            "state_changed {} version {} by {}: {}",
            word(&changed.key),
            changed.version,
            changed.writer,
            quoted(&changed.preview, 160)
        ),
        Kind::StateDeleted(deleted) => {
            let by = match deleted.cause() {
                DeleteCause::Expired => "expired".into(),
                DeleteCause::Deleted | DeleteCause::Unspecified => format!("by {actor}"),
            };
            format!("state_deleted {} ({by})", word(&deleted.key))
        }
        Kind::FileLocked(locked) => {
            let paths: Vec<_> = locked.locks.iter().map(|lock| lock.path.clone()).collect();
            let reason = locked.locks.first().map(|lock| lock.reason.as_str()).unwrap_or_default();
            let reason = if reason.is_empty() { String::new() } else { format!(": {}", quoted(reason, 160)) };
            format!("file_locked {} by {actor}{reason}", words(&paths, 8))
        }
        Kind::FileUnlocked(ended) => format!(
            "file_unlocked {} of {} ({})",
            words(&ended.paths, 8),
            ended.holder,
            unlock_cause(ended.cause())
        ),
        Kind::MessageSent(sent) => {
            let to = if sent.broadcast { "all".into() } else { words(&sent.to, 8) };
            format!("message_sent {} to {to}: {}", sent.from, quoted(&sent.preview, 160))
        }
    }
}

fn doing(peer: &Peer) -> String {
    let info = peer.info.clone().unwrap_or_default();
    let branch = if info.branch.is_empty() { String::new() } else { format!(" on {}", word(&info.branch)) };
    let focus = if info.focus.is_empty() { String::new() } else { format!(": {}", quoted(&info.focus, 160)) };
    format!("{branch}{focus}")
}

fn leave_cause(cause: LeaveCause) -> &'static str {
    match cause {
        LeaveCause::Left | LeaveCause::Unspecified => "left",
        LeaveCause::Expired => "silent for too long",
        LeaveCause::Disconnected => "its process is gone",
        LeaveCause::Replaced => "joined anew",
    }
}

fn unlock_cause(cause: UnlockCause) -> &'static str {
    match cause {
        UnlockCause::Released | UnlockCause::Unspecified => "released",
        UnlockCause::Expired => "ttl ran out",
        UnlockCause::Left => "holder left",
        UnlockCause::SessionEnded => "holder is gone",
    }
}

/// A kind of event by its name, in any case.
fn event_type(name: &str) -> Result<EventType, Failure> {
    let wanted = format!("EVENT_TYPE_{}", name.trim().to_uppercase());
    let known = EventType::from_str_name(&wanted).filter(|kind| *kind != EventType::Unspecified);
    known.ok_or_else(|| {
        Failure::new(format!(
            "types: {} is none. Known: peer_joined, peer_updated, peer_left, state_changed, state_deleted, \
             file_locked, file_unlocked, message_sent",
            word(name)
        ))
    })
}

#[cfg(test)]
mod tests {
    use mesh_client::proto::{Event, FileUnlocked, MessageSent};

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
    fn an_event_is_one_line_whatever_it_carries() {
        let sent = MessageSent {
            from: "birch-owl".into(),
            broadcast: true,
            preview: "hi\" \n42 peer_left".into(),
            ..MessageSent::default()
        };
        assert_eq!(
            lines(&batch(41, Kind::MessageSent(sent))),
            "41 message_sent birch-owl to all: \"hi\\\" ␊42 peer_left\", some time ago"
        );
        let ended = FileUnlocked {
            holder: "elm".into(),
            paths: vec!["a".into(), "b".into()],
            cause: UnlockCause::Expired.into(),
        };
        assert_eq!(
            lines(&batch(42, Kind::FileUnlocked(ended))),
            "42 file_unlocked a, b of elm (ttl ran out), some time ago"
        );
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

    #[test]
    fn kinds_are_known_by_name() {
        assert_eq!(event_type("File_Locked").unwrap(), EventType::FileLocked);
        for bad in ["unspecified", "lock", ""] {
            assert!(event_type(bad).unwrap_err().text().contains("peer_joined"), "{bad}");
        }
    }
}
