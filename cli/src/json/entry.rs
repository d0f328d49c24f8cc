//! Entries as JSON, and what is said about writing them.

use mesh_client::proto;
use serde::Serialize;

use super::{seconds, time, word};

/// An entry; `value` is left out where the broker does not send it.
#[derive(Debug, Serialize)]
pub(crate) struct Entry<'a> {
    scope: &'a str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    version: u64,
    revision: u64,
    create_revision: u64,
    writer: &'a str,
    write_time: Option<String>,
    paths: &'a [String],
    tags: &'a [String],
    ttl_seconds: Option<f64>,
}

impl<'a> From<&'a proto::Entry> for Entry<'a> {
    fn from(entry: &'a proto::Entry) -> Self {
        Self {
            scope: &entry.scope,
            key: &entry.key,
            value: Some(&entry.value),
            version: entry.version,
            revision: entry.revision,
            create_revision: entry.create_revision,
            writer: &entry.writer,
            write_time: time(entry.write_time.as_ref()),
            paths: &entry.paths,
            tags: &entry.tags,
            ttl_seconds: seconds(entry.ttl.as_ref()),
        }
    }
}

impl Entry<'_> {
    /// As answered to a write.
    pub(crate) fn without_value(self) -> Self {
        Self { value: None, ..self }
    }
}

/// Why a write was refused: what is needed to merge.
#[derive(Debug, Serialize)]
pub(crate) struct WriteConflict<'a> {
    base: Option<Entry<'a>>,
    theirs: Option<Entry<'a>>,
    yours: Option<&'a str>,
    values_omitted: bool,
    fields: &'a [String],
}

impl<'a> WriteConflict<'a> {
    /// With what the caller wanted to write; nothing for a deletion.
    pub(crate) fn new(conflict: &'a proto::WriteConflict, yours: Option<&'a str>) -> Self {
        let entry = |entry: Option<&'a proto::Entry>| {
            let entry = entry.map(Entry::from)?;
            Some(if conflict.values_omitted { entry.without_value() } else { entry })
        };
        Self {
            base: entry(conflict.base.as_ref()),
            theirs: entry(conflict.theirs.as_ref()),
            yours,
            values_omitted: conflict.values_omitted,
            fields: &conflict.fields,
        }
    }
}

/// A policy.
#[derive(Debug, Serialize)]
pub(crate) struct Policy<'a> {
    prefix: &'a str,
    kind: String,
}

impl<'a> From<&'a proto::Policy> for Policy<'a> {
    fn from(policy: &'a proto::Policy) -> Self {
        Self { prefix: &policy.prefix, kind: word(policy.kind().as_str_name(), "POLICY_KIND_") }
    }
}
