//! Every conversion between wire and core: texts, numbers and times here, one module per service below.
//!
//! What must hold: nothing of a request gets past here that is not within the bounds that the contract states,
//! and a refusal names the field as the contract spells it.

pub(crate) mod entries;
pub(crate) mod events;
pub(crate) mod locks;
pub(crate) mod messages;
pub(crate) mod peers;

use std::collections::BTreeSet;

use mesh_core::Rejection;
use mesh_core::id::{RequestId, check_text};
use mesh_core::record::Fingerprint;
use mesh_core::target::Target;
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
