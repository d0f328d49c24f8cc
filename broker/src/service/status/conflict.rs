//! What a refused writer needs to merge, within what a status can carry.
//!
//! A status travels in HTTP/2 headers, of which clients accept 16 KiB in all: with base64 and the message, that leaves
//! room for a detail of 6.5 KiB.

use mesh_core::record::EntryRecord;
use mesh_core::rejection::WriteConflict;
use mesh_proto::v1 as pb;
use prost::Message;

use crate::service::convert::entries;

/// Most bytes of the two values together.
const VALUES: usize = 4_096;
/// Most bytes of the names of fields together.
const FIELDS: usize = 512;
/// Most bytes of the whole.
const DETAIL: usize = 6_656;

/// True when the detail holds the values, so that the caller has read them.
pub(crate) fn shows_values(conflict: &WriteConflict) -> bool {
    let base = conflict.base.as_ref().map_or(0, |base| base.value.len());
    base + conflict.theirs.value.len() <= VALUES
}

/// The detail. Where room is short, paths and tags are left out, those of the base first.
pub(super) fn detail(conflict: &WriteConflict) -> pb::WriteConflict {
    let shown = shows_values(conflict);
    let mut theirs = bare(&conflict.theirs, shown);
    let mut base = conflict.base.as_ref().map(|base| bare(base, shown));
    let mut detail = pb::WriteConflict {
        base: base.clone(),
        theirs: Some(theirs.clone()),
        values_omitted: !shown,
        fields: some_of(&conflict.fields, &mut FIELDS.clone()),
    };
    // What frames an entry grows by some bytes when the entry does.
    let mut room = DETAIL.saturating_sub(detail.encoded_len() + 16);
    label(&mut theirs, &conflict.theirs, &mut room);
    if let (Some(base), Some(record)) = (&mut base, &conflict.base) {
        label(base, record, &mut room);
    }
    detail.theirs = Some(theirs);
    detail.base = base;
    detail
}

/// An entry without its labels, and with its value only if that is to be shown.
fn bare(record: &EntryRecord, with_value: bool) -> pb::Entry {
    let entry = entries::entry(record);
    let value = if with_value { entry.value } else { String::new() };
    pb::Entry { value, paths: Vec::new(), tags: Vec::new(), ..entry }
}

fn label(entry: &mut pb::Entry, record: &EntryRecord, room: &mut usize) {
    entry.tags = some_of(&record.tags, room);
    entry.paths = some_of(&record.paths, room);
}

/// As many texts as there is room for, which they then take up.
fn some_of(texts: &[impl ToString], room: &mut usize) -> Vec<String> {
    let mut taken = Vec::new();
    for text in texts {
        let text = text.to_string();
        // A tag byte and a length of at most three.
        let Some(left) = room.checked_sub(text.len() + 4) else { break };
        *room = left;
        taken.push(text);
    }
    taken
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use mesh_core::id::{EntryKey, PeerName, ScopeId};
    use mesh_core::revision::{Revision, Version};
    use mesh_core::target::Target;
    use mesh_core::time::{Millis, Timestamp, WallTime};

    use super::*;

    /// A small entry.
    pub(crate) fn entry(value: &str) -> EntryRecord {
        EntryRecord {
            scope: ScopeId::parse("a/b").unwrap(),
            key: EntryKey::parse("k").unwrap(),
            value: value.into(),
            version: Version(2),
            revision: Revision(9),
            create_revision: Revision(4),
            writer: PeerName::parse("fox").unwrap(),
            at: Timestamp(0),
            written: WallTime(1_000),
            paths: vec![Target::parse("path", "src/a.rs").unwrap()],
            tags: vec!["fact".to_owned()],
            ttl: None,
        }
    }

    /// An entry of which everything is as large as it may be, in letters that a header cannot carry as they are.
    pub(crate) fn large(value: &str) -> EntryRecord {
        let path = |n: usize| Target::parse("path", &format!("{}/{n:03}", "é".repeat(510))).unwrap();
        EntryRecord {
            scope: ScopeId::parse(&"s".repeat(256)).unwrap(),
            key: EntryKey::parse(&"\u{300}".repeat(256)).unwrap(),
            version: Version(u64::MAX),
            revision: Revision(u64::MAX),
            create_revision: Revision(u64::MAX),
            writer: PeerName::parse(&"w".repeat(64)).unwrap(),
            written: WallTime(u64::MAX / 2_000),
            paths: (0..32).map(path).collect(),
            tags: (0..16).map(|n| format!("{}{n:04}", "t".repeat(60))).collect(),
            ttl: Some(Millis::days(365)),
            ..entry(value)
        }
    }

    fn conflict(base: Option<EntryRecord>, theirs: EntryRecord) -> WriteConflict {
        WriteConflict { base: base.map(Arc::new), theirs: Arc::new(theirs), fields: Vec::new() }
    }

    #[test]
    fn a_small_conflict_is_told_in_whole() {
        let told = conflict(Some(entry("old")), EntryRecord { version: Version(3), ..entry("new") });
        let detail = detail(&told);
        assert!(shows_values(&told) && !detail.values_omitted);
        assert_eq!(detail.base, told.base.as_ref().map(|base| entries::entry(base)));
        assert_eq!(detail.theirs, Some(entries::entry(&told.theirs)));
    }

    #[test]
    fn values_are_told_together_or_not_at_all() {
        let half = "x".repeat(2_048);
        let just = conflict(Some(entry(&half)), entry(&half));
        assert!(shows_values(&just));
        let over = conflict(Some(entry(&half)), entry(&format!("{half}x")));
        let detail = detail(&over);
        assert!(!shows_values(&over) && detail.values_omitted);
        let theirs = detail.theirs.unwrap();
        assert_eq!((theirs.value.as_str(), theirs.version), ("", 2));
        assert_eq!(theirs.paths, ["src/a.rs"]);
        assert_eq!(detail.base.unwrap().value, "");
        assert!(shows_values(&conflict(None, entry(&half.repeat(2)))));
    }

    #[test]
    fn labels_give_way_where_room_is_short_those_of_the_base_first() {
        let half = "x".repeat(2_048);
        let fields = (0..16).map(|n| format!("/{}{n}", "f".repeat(100))).collect();
        let told = WriteConflict { fields, ..conflict(Some(large(&half)), large(&half)) };
        let told = detail(&told);
        assert!(told.encoded_len() <= DETAIL, "{}", told.encoded_len());
        let (base, theirs) = (told.base.unwrap(), told.theirs.unwrap());
        assert_eq!((base.value.len(), theirs.value.len()), (2_048, 2_048), "the values stay");
        assert!(base.tags.len() <= theirs.tags.len());
        assert!(base.paths.is_empty() && theirs.paths.is_empty());
        assert_eq!(told.fields.len(), 4);

        let roomy = detail(&conflict(Some(large("")), large("")));
        assert!(roomy.encoded_len() <= DETAIL && roomy.encoded_len() > DETAIL - 1_100);
        assert_eq!(roomy.theirs.as_ref().unwrap().tags.len(), 16);
        assert!(!roomy.theirs.unwrap().paths.is_empty());
    }
}
