//! Entries on the wire.

use mesh_core::Rejection;
use mesh_core::command::{Delete, Precondition, Put};
use mesh_core::id::{EntryKey, ScopeId, check_text};
use mesh_core::limits;
use mesh_core::outcome::EntryMeta;
use mesh_core::record::EntryRecord;
use mesh_core::revision::{Revision, Version};
use mesh_core::state::entries::EntryFilter;
use mesh_core::target::Target;
use mesh_proto::v1 as pb;
use pb::precondition::Condition;

use super::{at_most, duration, paths, span, targets, text, timestamp, unless_empty};

/// Longest search text: every word of it is looked for in every value.
const QUERY_BYTES: usize = 512;

/// What a Put asks.
pub(crate) fn put(request: pb::PutRequest) -> Result<Put, Rejection> {
    if request.value.len() > limits::VALUE_BYTES {
        let (found, max) = (request.value.len(), limits::VALUE_BYTES);
        return Err(Rejection::invalid("value", format!("is {found} bytes long; at most {max} are allowed")));
    }
    Ok(Put {
        scope: unless_empty(&request.scope, ScopeId::parse)?,
        key: EntryKey::parse(&request.key)?,
        precondition: precondition(request.precondition)?,
        ttl: span("ttl", request.ttl, limits::ENTRY_TTL)?,
        paths: targets("paths", &request.paths, limits::ENTRY_PATHS)?,
        tags: tags(request.tags)?,
        value: request.value.into(),
    })
}

/// What a Delete asks.
pub(crate) fn delete(request: &pb::DeleteRequest) -> Result<Delete, Rejection> {
    let precondition = precondition(request.precondition)?;
    if precondition == Precondition::MustNotExist {
        let problem = "makes no sense for a deletion; give a version or a revision";
        return Err(Rejection::invalid("precondition.must_not_exist", problem));
    }
    let scope = unless_empty(&request.scope, ScopeId::parse)?;
    Ok(Delete { scope, key: EntryKey::parse(&request.key)?, precondition })
}

fn precondition(given: Option<pb::Precondition>) -> Result<Precondition, Rejection> {
    match given.and_then(|precondition| precondition.condition) {
        None => Ok(Precondition::Any),
        Some(Condition::MustNotExist(true)) => Ok(Precondition::MustNotExist),
        Some(Condition::MustNotExist(false)) => {
            let problem = "is false; leave the precondition out, or ask for a version";
            Err(Rejection::invalid("precondition.must_not_exist", problem))
        }
        Some(Condition::Version(version)) => Ok(Precondition::Version(Version(version))),
        Some(Condition::Revision(revision)) => Ok(Precondition::Revision(Revision(revision))),
    }
}

fn tags(tags: Vec<String>) -> Result<Vec<String>, Rejection> {
    at_most("tags", tags.len(), limits::ENTRY_TAGS)?;
    tags.into_iter().map(|tag| text("tags", tag, limits::TAG_BYTES)).collect()
}

/// Which entries a ListEntries asks for.
pub(crate) fn filter(request: pb::ListEntriesRequest) -> Result<EntryFilter, Rejection> {
    check_text("query", &request.query, QUERY_BYTES)?;
    Ok(EntryFilter {
        prefix: text("prefix", request.prefix, limits::KEY_BYTES)?,
        path: unless_empty(&request.path, |path| Target::parse("path", path))?,
        words: request.query.split_whitespace().map(str::to_lowercase).collect(),
        tags: tags(request.tags)?,
    })
}

/// An entry with its value.
pub(crate) fn entry(entry: &EntryRecord) -> pb::Entry {
    pb::Entry {
        scope: entry.scope.to_string(),
        key: entry.key.to_string(),
        value: entry.value.to_string(),
        version: entry.version.0,
        revision: entry.revision.0,
        create_revision: entry.create_revision.0,
        writer: entry.writer.to_string(),
        write_time: Some(timestamp(entry.written)),
        paths: paths(&entry.paths),
        tags: entry.tags.clone(),
        ttl: entry.ttl.map(duration),
    }
}

/// An entry without its value.
pub(crate) fn meta(meta: EntryMeta) -> pb::Entry {
    pb::Entry {
        scope: meta.scope.to_string(),
        key: meta.key.to_string(),
        value: String::new(),
        version: meta.version.0,
        revision: meta.revision.0,
        create_revision: meta.create_revision.0,
        writer: meta.writer.to_string(),
        write_time: Some(timestamp(meta.written)),
        paths: paths(&meta.paths),
        tags: meta.tags,
        ttl: meta.ttl.map(duration),
    }
}

/// Roughly how many bytes an entry takes in an answer.
pub(crate) fn entry_size(entry: &EntryRecord) -> usize {
    let paths: usize = entry.paths.iter().map(|path| path.as_str().len()).sum();
    entry.value.len() + entry.key.as_str().len() + paths
}
