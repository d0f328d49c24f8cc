//! Every conversion between wire and core: texts, numbers and times here, one module per service below.
//!
//! What must hold: nothing of a request gets past here that is not within the bounds that the contract states,
//! and a refusal names the field as the contract spells it.

pub(crate) mod entries;
pub(crate) mod events;
pub(crate) mod locks;
pub(crate) mod messages;
pub(crate) mod paths;
pub(crate) mod peers;
pub(crate) mod tokens;
pub(crate) mod touches;

use std::collections::BTreeSet;

use mesh_core::Rejection;
use mesh_core::id::{RequestId, check_text};
use mesh_core::record::Fingerprint;
use mesh_core::target::{Target, check_globs};
use mesh_core::time::{Millis, WallTime};
use prost::Message;

/// A request's own id, and what tells its repeat from a reuse of the id.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestKey {
    pub(crate) id: Option<RequestId>,
    pub(crate) fingerprint: Fingerprint,
}

/// The key of a request whose id was taken out of it.
pub(crate) fn request_key(method: &str, id: &str, rest: &impl Message) -> Result<RequestKey, Rejection> {
    let Some(id) = unless_empty(id, RequestId::parse)? else { return Ok(RequestKey::default()) };
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(method.len() as u64).to_be_bytes());
    hasher.update(method.as_bytes());
    hasher.update(&rest.encode_to_vec());
    let mut fingerprint = Fingerprint::default();
    hasher.finalize_xof().fill(&mut fingerprint.0);
    Ok(RequestKey { id: Some(id), fingerprint })
}

/// Parses a text that stands for nothing when it is empty.
pub(crate) fn unless_empty<T>(
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, Rejection>,
) -> Result<Option<T>, Rejection> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

/// Names the field that a refusal is about.
pub(crate) fn in_field<T>(field: &'static str, parsed: Result<T, Rejection>) -> Result<T, Rejection> {
    parsed.map_err(|rejection| {
        if let Rejection::InvalidField { problem, .. } = rejection {
            return Rejection::InvalidField { field, problem };
        }
        rejection
    })
}

/// A text of free form.
pub(crate) fn text(field: &'static str, text: String, max: usize) -> Result<String, Rejection> {
    check_text(field, &text, max).map(|()| text)
}

/// Refuses a list with too many items.
pub(crate) fn at_most(field: &'static str, items: usize, max: usize) -> Result<(), Rejection> {
    if items > max {
        return Err(Rejection::invalid(field, format!("has {items} items; at most {max} are allowed")));
    }
    Ok(())
}

/// Targets, in the order given, none twice.
pub(crate) fn targets(field: &'static str, paths: &[String], max: usize) -> Result<Vec<Target>, Rejection> {
    at_most(field, paths.len(), max)?;
    let mut seen = BTreeSet::new();
    let mut targets = Vec::with_capacity(paths.len());
    for path in paths {
        let target = Target::parse(field, path)?;
        if seen.insert(target.clone()) {
            targets.push(target);
        }
    }
    Ok(targets)
}

/// As [`targets`], where each is going to be compared with many: of globs only a few.
pub(crate) fn few_globs(field: &'static str, paths: &[String], max: usize) -> Result<Vec<Target>, Rejection> {
    let targets = targets(field, paths, max)?;
    check_globs(field, &targets)?;
    Ok(targets)
}

/// Targets as texts.
pub(crate) fn paths(targets: &[Target]) -> Vec<String> {
    targets.iter().map(Target::to_string).collect()
}

/// A span within bounds; none when unset. A part of a millisecond counts as a whole one: late, never early.
pub(crate) fn span(
    field: &'static str,
    duration: Option<prost_types::Duration>,
    (min, max): (Millis, Millis),
) -> Result<Option<Millis>, Rejection> {
    let Some(duration) = duration else { return Ok(None) };
    let whole = u64::try_from(duration.seconds).ok().and_then(|seconds| seconds.checked_mul(1000));
    let part = u64::try_from(duration.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    let millis = whole.zip(part).and_then(|(whole, part)| whole.checked_add(part.div_ceil(1_000_000)));
    match millis.map(Millis) {
        Some(span) if span >= min && span <= max => Ok(Some(span)),
        Some(_) | None => {
            Err(Rejection::invalid(field, format!("must be from {} s to {} s", min.0 / 1000, max.0 / 1000)))
        }
    }
}

/// A span on the wire.
pub(crate) fn duration(span: Millis) -> prost_types::Duration {
    let (seconds, nanos) = seconds_and_nanos(span.0);
    prost_types::Duration { seconds, nanos }
}

/// A moment on the wire.
pub(crate) fn timestamp(moment: WallTime) -> prost_types::Timestamp {
    let (seconds, nanos) = seconds_and_nanos(moment.0);
    prost_types::Timestamp { seconds, nanos }
}

fn seconds_and_nanos(millis: u64) -> (i64, i32) {
    let seconds = i64::try_from(millis / 1000).unwrap_or(i64::MAX);
    (seconds, i32::try_from(millis % 1000 * 1_000_000).unwrap_or_default())
}

/// How many items, as `usize`.
pub(crate) fn size(asked: u32) -> usize {
    usize::try_from(asked).unwrap_or(usize::MAX)
}

/// A count on the wire.
pub(crate) fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use mesh_proto::v1 as pb;
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Ids;

    const BOUNDS: (Millis, Millis) = (Millis(1_000), Millis(2_000));

    fn length(seconds: i64, nanos: i32) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos })
    }

    #[test]
    fn a_span_is_within_bounds_and_never_shorter_than_asked() {
        let table = [
            (length(1, 0), Some(1_000)),
            (length(1, 1), Some(1_001)),
            (length(1, 999_999_999), Some(2_000)),
            (length(2, 0), Some(2_000)),
            (length(2, 1), None),
            (length(0, 999_999_999), Some(1_000)),
            (length(0, 998_000_000), None),
            (length(0, 2_000_000_000), None),
            (length(2, -1), None),
            (length(-1, 0), None),
            (length(i64::MAX, 999_999_999), None),
        ];
        for (given, expected) in table {
            assert_eq!(span("ttl", given, BOUNDS).ok().flatten(), expected.map(Millis), "{given:?}");
        }
        assert_eq!(span("ttl", None, BOUNDS), Ok(None));
    }

    #[test]
    fn moments_and_spans_survive_the_wire() {
        assert_eq!(length(61, 2_000_000), Some(duration(Millis(61_002))));
        assert_eq!(timestamp(WallTime(1_001)), prost_types::Timestamp { seconds: 1, nanos: 1_000_000 });
        assert_eq!(timestamp(WallTime(u64::MAX)).seconds, i64::MAX / 500);
    }

    #[test]
    fn a_repeat_has_the_same_fingerprint_and_nothing_else_has() {
        let request = pb::LeaveRequest::default();
        let print = |method, id, request: &pb::LeaveRequest| request_key(method, id, request).unwrap();
        let first = print("Leave", "1", &request);
        assert_eq!(print("Leave", "2", &request).fingerprint, first.fingerprint, "the id is not content");
        assert_ne!(print("Join", "1", &request).fingerprint, first.fingerprint);
        let other = pb::LeaveRequest { request_id: "x".into() };
        assert_ne!(print("Leave", "1", &other).fingerprint, first.fingerprint);
        assert_eq!(print("Leave", "", &request).id, None);
    }

    proptest! {
        #[test]
        fn nothing_that_a_caller_sends_is_a_panic(
            text in any::<String>(),
            texts in prop::collection::vec(".{0,12}", 0..40),
            number in any::<i32>(),
            seconds in any::<i64>(),
            flag in any::<bool>(),
        ) {
            let time = length(seconds, number);
            let info = pb::PeerInfo { focus: text.clone(), files: texts.clone(), ..Default::default() };
            let request = pb::JoinRequest {
                scope: text.clone(),
                name: text.clone(),
                info: Some(info.clone()),
                lease_ttl: time,
                ..Default::default()
            };
            let _ = peers::join(request, mesh_core::pattern::Pattern::any(), &Ids::default());
            let update_mask = Some(prost_types::FieldMask { paths: texts.clone() });
            let _ = peers::update(pb::UpdatePeerRequest { info: Some(info), update_mask, ..Default::default() });
            let _ = messages::send(pb::SendRequest {
                to: texts.clone(),
                broadcast: flag,
                body: text.clone(),
                reply_to: text.clone(),
                intent: number,
                ..Default::default()
            }, &Ids::default());
            let _ = entries::filter(pb::ListEntriesRequest {
                path: text.clone(),
                tags: texts.clone(),
                ..Default::default()
            });
            let acquired = locks::acquire(pb::AcquireLocksRequest {
                paths: texts.clone(),
                mode: number,
                ttl: time,
                reason: text,
                ..Default::default()
            });
            prop_assert!(acquired.is_err() || !texts.is_empty());
            let valid = texts.iter().all(|path| Target::parse("paths", path).is_ok());
            let renewed = locks::renew(&pb::RenewLocksRequest { paths: texts, ttl: time, ..Default::default() });
            prop_assert_eq!(renewed.is_ok(), span("ttl", time, mesh_core::limits::LOCK_TTL).is_ok() && valid);
        }
    }
}
